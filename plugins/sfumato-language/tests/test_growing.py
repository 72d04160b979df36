"""Texts that grow: mazes, brackets, canvases, the objective, the recipe and its samples."""

from __future__ import annotations

import itertools
import json

import pytest
import torch

from sfumato import Batch, InputError, Padded, random
from sfumato_language.growing import KEPT, GrowingDenoiser, Grown, Nothing
from sfumato_language.systems import flexmdm
from sfumato_language.systems.brackets import balanced, brackets
from sfumato_language.systems.lengths import Counted, dropped, filled, full, grown
from sfumato_language.systems.mazes import Maze, leads
from sfumato_methods.discrete import Discrete, Tokens, absorbing
from sfumato_methods.discrete.insertion import Growth, Insertion


def rows(x):
    return [ids[real].tolist() for ids, real in zip(x.data, x.mask, strict=True)]


@pytest.fixture(scope="module")
def maze():
    return Maze(5, random.derive(0, "maze"))


def test_a_maze_is_a_tree_with_one_way_between_any_two_cells(maze):
    assert int(maze.open.sum()) == 2 * 24 and torch.equal(maze.open, maze.open.T)
    assert int(maze.steps.min()) == 0 and torch.equal(maze.steps, maze.steps.T)
    a, b = maze.open.nonzero().T
    assert bool(((a // 5 - b // 5).abs() + (a % 5 - b % 5).abs() == 1).all())  # neighbours only
    cell = torch.arange(25)
    for _ in range(25):  # going onward ends at the target, a step nearer each time
        nearer = maze.onward[cell, 7]
        assert bool((maze.steps[nearer, 7] == (maze.steps[cell, 7] - 1).clamp_min(0)).all())
        cell = nearer
    assert bool((cell == 7).all())
    assert not torch.equal(maze.open, Maze(5, random.derive(1, "maze")).open)
    with pytest.raises(InputError, match="two cells"):
        Maze(1, random.derive(0, "maze"))


def test_a_way_leads_through_openings_from_goal_to_goal(maze):
    ends = (maze.steps == int(maze.steps.max())).nonzero()[:1]
    x = maze.ways(ends[:, 0], ends[:, 1], 30)
    (way,) = rows(x)
    assert len(way) == int(maze.steps.max()) + 1 and [way[0], way[-1]] == ends[0].tolist()
    goals = torch.tensor([[way[0], way[3], way[6], way[-1]]])
    assert leads(maze, x, goals).tolist() == [True]
    detour = [*way[:2], way[1], way[0], *way[1:]]

    def right(cells, wanted=goals):
        padded = torch.full((1, 40), 99)
        padded[0, : len(cells)] = torch.tensor(cells)
        return bool(leads(maze, Padded(padded, torch.arange(40)[None] < len(cells)), wanted)[0])

    assert right(way) and not right(detour) and right([*way[:2], way[0], *way[1:]])
    assert not right([*way[:3], *way[4:]]) and not right(way[1:]) and not right(way[:-1])
    assert not right([]) and not right(way[::-1])
    assert not right(way, goals[:, [0, 2, 1, 3]]), "the goals are passed in the wrong order"
    with pytest.raises(InputError, match="does not fit"):
        maze.ways(ends[:, 0], ends[:, 1], 5)


def test_strings_of_brackets_are_balanced_and_of_one_length_equally_likely():
    """Chi-square over the 8 strings of two pairs and over lengths; false alarm 1 in 1,000 each."""
    from scipy.stats import chi2

    x = brackets(8000, 4, random.derive(0, "brackets"))
    assert bool(balanced(x).all())
    counts = torch.bincount(x.mask.sum(1) // 2, minlength=5)[1:].double()
    law = 0.8 ** torch.arange(4, dtype=torch.float64)
    expected = 8000 * law / law.sum()
    assert float(((counts - expected) ** 2 / expected).sum()) < chi2.ppf(0.999, 3)
    four = x.data[x.mask.sum(1) == 4][:, :4]
    _, each = four.unique(dim=0, return_counts=True)
    assert len(each) == 8
    assert float(((each - len(four) / 8) ** 2 / (len(four) / 8)).sum()) < chi2.ppf(0.999, 7)


@pytest.mark.parametrize("text", [[], [0], [2], [0, 3], [0, 1, 2, 3], [2, 0], [0, 0, 2]], ids=str)
def test_what_is_not_balanced(text):
    ids = torch.zeros(1, 5, dtype=torch.long)
    ids[0, : len(text)] = torch.tensor(text, dtype=torch.long)
    assert not balanced(Padded(ids, torch.arange(5)[None] < len(text))).any()


def test_canvases_hold_goals_ways_and_padding(maze):
    ends = (maze.steps >= 5).nonzero()
    ways = flexmdm._ways(maze, ends, 40, 0, "ways")
    assert bool(leads(maze, ways.x, ways.goals).all()) and bool((ways.kept.sum(1) == 4).all())
    room = int(maze.steps.max()) - 3
    whole, asked = flexmdm._canvases(ways, room), flexmdm._canvases(ways, room, 65)
    assert rows(dropped(whole, 64)) == rows(ways.x)
    assert torch.equal(asked[asked != 65].view(40, 4), ways.goals)
    assert bool(((asked == whole) | (asked == 65)).all())
    assert whole.shape[1] == 4 + 3 * room


def test_tokens_that_are_worked_on_are_counted_text_by_text():
    """A text whose state and time are as in the call before would not have been asked for."""
    counted = Counted(lambda x, t: None, extra=1)
    x = Padded(torch.tensor([[4, 4, 0], [4, 0, 0]]), torch.tensor([[1, 1, 0], [1, 0, 0]]).bool())
    counted(x, torch.tensor(1.0))
    assert counted.tokens == 3 + 2
    counted(x, torch.tensor([1.0, 0.5]))
    assert counted.tokens == 5 + 2
    counted(Padded(x.data.masked_fill(x.data == 4, 1), x.mask), torch.tensor([1.0, 0.5]))
    assert counted.tokens == 7 + 5
    counted = Counted(lambda x, t: Tokens(torch.zeros(*x.shape, 3), 2, x))
    out = filled(Discrete(absorbing(2)), counted, torch.full((3, 4), 2), 0)
    assert counted.tokens == 3 * 4 * 4 and not bool((out == 2).any())


class Says(torch.nn.Module):
    """A denoiser that says the same of every state, and remembers what it saw."""

    def __init__(self):
        super().__init__()
        self.process = Insertion(3)
        self.level = torch.nn.Parameter(torch.tensor(0.0))

    def forward(self, x, t):
        self.seen, self.t = x, t
        from sfumato import Categorical

        logits = self.level + torch.tensor([0.2, 0.5, 0.1, -50.0])
        gaps = torch.full((len(x.data), x.mask.shape[1] + 1), 0.7)
        return Growth(Categorical(logits=Padded(logits.expand(*x.data.shape, 4), x.mask)), gaps)


def test_the_objective_is_the_loss_at_its_time_over_it():
    x = full(torch.randint(0, 3, (400, 5), generator=random.derive(0, "x")))
    one = Says()
    loss = Grown(one).loss("denoiser", Batch(x), random.derive(0, "loss"))
    again = random.derive(0, "loss")
    from sfumato_train.times import stratified

    t = stratified(400, again).double().clamp_min(0.01)
    noised, target = one.process.draw(x, t, again)
    assert torch.equal(one.seen.mask, noised.mask) and torch.equal(one.t, t)
    assert torch.allclose(loss.each.double(), one(noised, t).loss(target).double() / t)
    assert loss.clock.shape == (400,) and float(loss.each.detach().mean()) > 0


def test_kept_tokens_stay_in_training():
    x = full(torch.tensor([[0, 1, 2, 0, 1, 2]]).expand(200, 6))
    kept = (torch.arange(6) % 3 == 1).expand(200, 6)
    one = Says()
    Grown(one).loss("denoiser", Batch(x, {KEPT: kept}), random.derive(0, "loss"))
    shown = (one.seen.data == 1) & one.seen.mask
    assert bool((shown.sum(1) == 2).all())


def test_a_text_grows_around_what_is_kept():
    """Gaps that never close fill the room: what is kept stays in its order, no mask is left."""
    process, one = Insertion(3), Says()
    like = Padded(torch.tensor([[2, 1, 0, 0, 0, 0, 0, 0]]).expand(50, 8),
                  (torch.arange(8) < 2).expand(50, 8))  # fmt: skip
    x = grown(process.given(kept=like.mask), one, like, 0)
    for text in rows(x):
        assert 3 not in text and len(text) == 8
        assert 1 in text[text.index(2) + 1 :]
    assert len({str(text) for text in rows(x)}) > 40


def test_nothing_has_room():
    x = Nothing(7)(3, random.derive(0, "blank"))
    assert x.mask.shape == (3, 7) and not Insertion(4).prior(x).sample(None).mask.any()
    assert Nothing(7).known(x) is None


MIDDLES = [text for n in range(3) for text in itertools.product(range(2), repeat=n)]


class Pinned(GrowingDenoiser):
    """The exact posterior of texts 0..1, ends pinned; nonsense in the gaps that are closed.

    Id 2 ends a document and may not come before the suffix, id 3 is the mask.
    """

    def __init__(self, weights):
        super().__init__(torch.nn.Identity(), Insertion(3))
        self.weights = weights

    def output(self, x, t):
        logits = torch.zeros(*x.data.shape, 4, dtype=torch.float64)
        gaps = torch.full((len(x.data), x.mask.shape[1] + 1), 5.0, dtype=torch.float64)
        for item, (ids, real, time) in enumerate(zip(x.data, x.mask, t, strict=True)):
            inner = ids[real].tolist()[1:-1]
            total, missing = 1e-300, torch.zeros(len(inner) + 1, dtype=torch.float64)
            shown = torch.zeros(len(inner), 2, dtype=torch.float64)
            for text, weight in zip(MIDDLES, self.weights.tolist(), strict=True):
                for places in itertools.combinations(range(len(text)), len(inner)):
                    if all(s in (3, text[i]) for s, i in zip(inner, places, strict=True)):
                        w = weight * float(time) ** (len(text) - len(inner))
                        total += w
                        edges = itertools.pairwise([-1, *places, len(text)])
                        missing += w * torch.tensor([b - a - 1 for a, b in edges])
                        for slot, i in enumerate(places):
                            shown[slot, text[i]] += w
            logits[item, 1 : 1 + len(inner), :2] = (shown / total + 1e-300).log()
            gaps[item, 1 : 2 + len(inner)] = torch.log(torch.expm1(missing / total) + 1e-13)
        return logits, gaps


def test_what_grows_between_a_prompt_and_a_suffix_has_the_conditional_law():
    """Chi-square over the 7 middles, n = 800, 5.5 standard deviations: false alarms < 1e-5."""
    from sfumato import sample
    from sfumato_methods.discrete import EventDriven

    weights = torch.rand(7, generator=random.derive(1, "middles"), dtype=torch.float64) + 0.1
    weights = weights / weights.sum()
    n, ends = 800, torch.ones(800, dtype=torch.long)
    ids = torch.tensor([[0, 1, 0, 0]]).expand(n, 4)
    like = Padded(ids, (torch.arange(4) < 2).expand(n, 4))
    held = Nothing(4).known(like)
    x = sample(
        Insertion(3), Pinned(weights).given(opening=ends, closing=ends), like,
        sampler=EventDriven(1e-4), grid=torch.tensor([1.0, 0.0], dtype=torch.float64),
        generator=random.derive(0, "between"), constraint=held, start=held.start(Insertion(3)),
    )  # fmt: skip
    texts = [tuple(row) for row in rows(x)]
    assert all(text[0] == 0 and text[-1] == 1 for text in texts)
    counts = torch.tensor([texts.count((0, *middle, 1)) for middle in MIDDLES]).double()
    assert int(counts.sum()) == n
    statistic = float(((counts - n * weights).square() / (n * weights)).sum())
    assert (statistic - 6) / 12**0.5 < 5.5


@pytest.mark.parametrize("sampler", ["event-driven", "ancestral"])
def test_a_run_grows_between_what_is_given(folder, sampler):
    """Kept to the letter, whatever the network says; items of different prompts in one batch."""
    from sfumato_language.samples import texts_of
    from sfumato_train import draw, open_run

    run = open_run(folder)
    words = {"prompt": "They me", "suffix": "met."}
    asked = run.domain.condition(words, 6, run.about)
    made = draw(run, 6, condition=asked, seed=2, sampler=sampler, steps=6)
    texts = texts_of(made, run.about)
    assert all(text.startswith("They me") and text.endswith("met.") for text in texts)
    assert len(set(texts)) > 2 and all(len(text) <= 40 for text in texts)
    alone = run.domain.condition(words, 1, run.about)
    again = draw(run, 1, condition=alone, seed=2, sampler=sampler, steps=6, first=3)
    assert texts_of(again, run.about) == texts[3:4]


def test_infill_watches_a_text_that_grows(folder, tmp_path, capsys):
    from sfumato_language.filling import fill

    options = {"pattern": None, "allow": [], "sampler": None, "grid": None, "steps": 4, "seed": 0}
    options |= {"out": None, "device": "cpu", "weights": "ema", "trust": False, "watch": True}
    told = fill(folder, [], 2, trace=tmp_path / "way.json", **options)
    assert capsys.readouterr().out.count("\n") >= 2 and isinstance(told, str)
    with pytest.raises(InputError, match="gaps of so many tokens"):
        fill(folder, ["The [MASK*3]."], 2, trace=None, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of texts that grow, from lines of different lengths."""
    from sfumato_train import start

    root = tmp_path_factory.mktemp("grown")
    (root / "news.txt").write_text("\n".join("They met." * (i % 4 + 1) for i in range(80)))
    words = ["steps=30", "batch=16", "length=40", "tokenizer=char", "network_size=nano", "ema=0"]
    words += ["lr=1e-2", "warmup=5", "sampling_steps=1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SFUMATO_CACHE", str(root / "cache"))
        return start("language/insertions", words, root / "news.txt", root / "run", device="cpu")


def test_a_run_writes_texts_of_different_lengths(folder, tmp_path):
    """From lines to samples by the command's own functions; masks never come out."""
    from sfumato_language.domain import domain
    from sfumato_train import draw, open_run

    run = open_run(folder)
    x = draw(run, 6, seed=1)
    assert not bool((x.x.data[x.x.mask] >= run.about["vocabulary"]).any())
    lengths = x.x.mask.sum(1)
    assert len(lengths.unique()) > 1 and int(lengths.max()) <= 40
    domain.write(x, tmp_path / "out.jsonl", run.about)
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [len(row["ids"]) for row in found] == lengths.tolist()
    assert rows(draw(run, 2, seed=1, batch=1).x) == rows(x.x)[:2]


def test_what_a_model_that_inserts_does_not_take_is_told(folder):
    from sfumato_language.filling import scored
    from sfumato_train import open_run

    run = open_run(folder)
    for words, says in (
        ({"text": "The[MASK*3]"}, "neither gaps of so many tokens nor a length"),
        ({"temperature": "1"}, "there is no condition 'temperature'"),
        ({"prompt": "They[MASK]"}, "have no gaps here"),
        ({"prompt": "m" * 20, "suffix": "m" * 20}, r"20 \+ 21 tokens and leave no room in the 40"),
    ):
        with pytest.raises(InputError, match=says):
            run.domain.condition(words, 2, run.about)
    with pytest.raises(InputError, match="takes masked models"):
        scored(folder, None, 1, 0, 4, "cpu", "ema", False)
