"""Samplers of masked chains against enumerated laws, and what must hold of every one of them."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from sfumato import Ancestral, Categorical, InputError, Known, Padded, Ragged, Streams, random, run
from sfumato import sample as draw
from sfumato.state import apply, leaf
from sfumato_methods.discrete import (
    Blocks,
    CachedAncestral,
    Cap,
    Confident,
    CosineKeep,
    Discrete,
    Entropy,
    Factor,
    FirstHitting,
    LeftToRight,
    Loop,
    Margin,
    MaskGIT,
    Nucleus,
    Ordered,
    Prompt,
    RandomOrder,
    RateEuler,
    Remasking,
    Rescale,
    TauLeaping,
    Temperature,
    TokenDenoiser,
    Tokens,
    TopProbability,
    absorbing,
    tokens,
    uniform,
)
from sfumato_methods.discrete.orders import Seen
from sfumato_methods.discrete.places import at
from sfumato_testing import Enumerated

F64 = torch.float64
EXACT = {  # with one token a call, or with exact laws of when masks fall
    "first-hitting": (FirstHitting(), 1),
    "first-hitting in frames": (FirstHitting(), 7),
    "left to right": (Ordered(LeftToRight()), 4),
    "random order": (Ordered(RandomOrder()), 4),
    "top probability": (Ordered(TopProbability()), 4),
    "margin": (Ordered(Margin()), 4),
    "entropy": (Ordered(Entropy()), 4),
    "noisy margin": (Ordered(Margin(), noise=2.0), 4),
    "confident": (Ordered(TopProbability(), Confident(1.0)), 4),
    "factor": (Ordered(TopProbability(), Factor(0.0)), 4),
    "blocks": (Blocks(Ordered(Margin()), 2), 4),
    "blocks of first-hitting": (Blocks(FirstHitting(), 3), 2),
}
OTHERS = {
    "cached": (CachedAncestral(), 5),
    "several a step": (Ordered(Margin()), 2),
    "maskgit": (MaskGIT(1.0), 3),
    "cap": (Remasking(Cap(0.3)), 6),
    "rescale": (Remasking(Rescale(0.5)), 6),
    "doubt": (Remasking(Rescale(1.0), by_confidence=True), 6),
    "loop": (Remasking(Loop(eta=0.5)), 12),
    "confident early": (Ordered(TopProbability(), Confident(0.5)), 4),
    "factor early": (Ordered(TopProbability(), Factor(1.0)), 4),
    "blocks of one step": (Blocks(Ordered(Margin()), 2), 2),
    "euler": (RateEuler(), 6),
    "tau-leaping": (TauLeaping(), 6),
}
EVERY = EXACT | OTHERS
WORDS = torch.tensor(list(itertools.product(range(3), repeat=4)))
WEIGHTS = torch.rand(81, generator=random.derive(0, "weights"), dtype=F64).square()
WEIGHTS = WEIGHTS * (1 + 4 * (WORDS[:, 0] == WORDS[:, 2])) * (1 + 2 * (WORDS[:, 1] != WORDS[:, 3]))
WEIGHTS = WEIGHTS / WEIGHTS.sum()
PROCESS = Discrete(absorbing(3))
TARGET = Enumerated(WORDS, WEIGHTS.tolist())


def grid(steps):
    return torch.linspace(1, 0, steps + 1, dtype=F64)


class Oracle:
    """Exact conditionals of the words, looked up; counts its calls."""

    def __init__(self):
        codes = torch.tensor(list(itertools.product(range(4), repeat=4)))
        fits = ((codes[:, None] == WORDS) | (codes[:, None] == 3)).all(-1).double() * WEIGHTS
        fits = fits / fits.sum(1, keepdim=True)
        self.table = torch.einsum("cw,wlk->clk", fits, F.one_hot(WORDS, 4).double())
        self.calls = 0

    def __call__(self, x, t):
        self.calls += 1
        return Categorical(probs=self.table[(x * torch.tensor([64, 16, 4, 1])).sum(1)])


def counted(sampler, steps, n, seed, **options):
    """Numbers of each word among n samples, and the calls made."""
    oracle, like = Oracle(), torch.zeros(n, 4, dtype=torch.long)
    generator = random.derive(seed, "counted")
    ids = draw(
        PROCESS, oracle, like, sampler=sampler, grid=grid(steps), generator=generator, **options
    )
    assert bool((ids < 3).all())
    code = (ids * torch.tensor([27, 9, 3, 1])).sum(1)
    return torch.bincount(code, minlength=81).double(), oracle.calls


def chi_square(counts, probs):
    """(statistic - dof)/sqrt(2 dof), near to a standard normal for these 80 degrees of freedom."""
    expected = counts.sum() * probs
    statistic = float(((counts - expected) ** 2 / expected).sum())
    dof = len(probs) - 1
    return (statistic - dof) / (2 * dof) ** 0.5


@pytest.mark.parametrize("name", EXACT)
def test_one_token_a_call_draws_the_exact_law(name):
    """Chi-square over 81 words, n = 40,000, bound 5.5: false alarms below 1e-5 a sampler."""
    sampler, steps = EXACT[name]
    counts, calls = counted(sampler, steps, 40_000, 1)
    assert chi_square(counts, WEIGHTS) < 5.5
    assert calls == 4 or (steps == 7 and calls > 4)  # items wait for each other at the frames


def test_the_check_of_laws_can_fail():
    for sampler, steps in ((CachedAncestral(), 1), (Ordered(Margin()), 2), (MaskGIT(), 4)):
        counts, _ = counted(sampler, steps, 40_000, 1)
        assert chi_square(counts, WEIGHTS) > 20


@pytest.mark.parametrize("sampler", [CachedAncestral(), Remasking(Rescale(0.0))], ids=repr)
def test_cached_ancestral_has_the_law_of_ancestral_in_few_steps(sampler):
    """Both against each other in 3 steps; n = 40,000 each, bound 5.5."""
    one, _ = counted(sampler, 3, 40_000, 2)
    two, _ = counted(Ancestral(), 3, 40_000, 3)
    total = one + two
    statistic = float(((one - two) ** 2 / total.clamp_min(1)).sum())
    assert (statistic - 80) / 160**0.5 < 5.5


def test_masks_left_half_way_are_as_many_as_the_chain_leaves():
    """First hitting down to t = 0.4, in two frames: binomial, 5 standard errors of n = 20,000."""
    process, n = Discrete(absorbing(3, CosineKeep())), 20_000
    x, times = torch.full((n, 4), 3), torch.tensor([1.0, 0.7, 0.4], dtype=F64)
    for frame in run(FirstHitting(), process, Oracle(), x, times, random.derive(0, "half")):
        kept = float(process.kernel.keep(frame.s))
        left = (frame.after == 3).double().sum(1)
        assert abs(float(left.mean()) - 4 * (1 - kept)) < 5 * (4 * kept * (1 - kept) / n) ** 0.5
        spread = 4 * kept * (1 - kept)
        assert float(left.var()) == pytest.approx(spread, rel=0.06)


def test_calls_are_made_only_where_a_mask_falls():
    _, calls = counted(CachedAncestral(), 1000, 1, 4)
    assert 4 <= calls <= 5  # and one for the first frame
    _, calls = counted(Ancestral(), 1000, 1, 4)
    assert calls == 1000


@pytest.mark.parametrize(
    "sampler", [Remasking(Cap(0.3)), Remasking(Rescale(0.7)), Remasking(Loop(eta=0.4))], ids=repr
)
def test_remasking_keeps_the_marginals(sampler):
    """A single token has its law at every number of steps; n = 100,000, 5 standard errors."""
    law = torch.tensor([0.6, 0.3, 0.1, 0.0], dtype=F64)

    def denoise(x, t):
        shown = F.one_hot(x, 4).double()
        return Categorical(probs=torch.where((x == 3)[..., None], law, shown))

    n, redone = 100_000, 0
    x = torch.full((n, 1), 3)
    clocks = [s for _, s, _ in sampler.schedule.plan(PROCESS.kernel, grid(20))]
    frames = run(sampler, PROCESS, denoise, x, grid(20), random.derive(0, "remask"))
    for s, frame in zip(clocks, frames, strict=True):
        kept = float(PROCESS.kernel.keep(s))
        share = float((frame.after != 3).double().mean())
        assert abs(share - kept) < 5 * (kept * (1 - kept) / n) ** 0.5 + 1e-12
        redone += int(((frame.before != 3) & (frame.after == 3)).sum())
        x = frame.after
    share = torch.bincount(x[:, 0], minlength=4) / n
    assert bool(((share - law).abs() <= 5 * (law * (1 - law) / n).sqrt()).all())
    assert redone > n / 100


def test_remasking_mends_what_few_steps_break():
    """One step draws all four tokens at once; remasking in many more draws them again."""
    gaps = [
        float((counted(sampler, 48, 10_000, 5)[0] / 10_000 - WEIGHTS).abs().sum())
        for sampler in (Remasking(Loop(eta=0.9, held=0.5)), Remasking(Cap(0.5)))
    ]
    rough = float((counted(CachedAncestral(), 1, 10_000, 5)[0] / 10_000 - WEIGHTS).abs().sum())
    assert max(gaps) < 0.4 * rough


@pytest.mark.parametrize("name", EVERY)
def test_no_mask_is_left_and_prompts_hold(name):
    sampler, steps = EVERY[name]
    values = torch.tensor([[0, 1, 2, 2], [2, 0, 1, 0], [1, 1, 1, 1]])
    mask = torch.tensor([[True, False, False, True], [False] * 4, [True] * 4])
    like, shown = torch.zeros(3, 4, dtype=torch.long), []

    def spy(x, t):
        shown.append(x)
        return Oracle()(x, t)

    for constraint, start in (
        (Known(values, mask), None),
        (prompt := Prompt(values, mask), prompt.start(PROCESS)),
    ):
        shown.clear()
        ids = draw(
            PROCESS,
            spy,
            like,
            sampler=sampler,
            grid=grid(steps),
            generator=random.derive(0, name),
            constraint=constraint,
            start=start,
        )
        assert torch.equal(ids[mask], values[mask]) and bool((ids < 3).all())
        if start is not None:
            assert all(torch.equal(x[mask], values[mask]) for x in shown)


@pytest.mark.parametrize("name", EVERY)
def test_items_of_other_lengths_and_layouts_do_not_matter(name):
    """An item alone, in a padded batch and in a ragged one: the same bits."""
    sampler, steps = EVERY[name]
    law = torch.tensor([0.5, 0.3, 0.2, 0.0], dtype=F64)

    def denoise(x, t):
        def row(i):
            cue = torch.where((i == 3)[..., None], law, F.one_hot(i, 4).double())
            return cue

        return Categorical(probs=apply(x, row))

    def run_on(like, numbers):
        return draw(
            PROCESS,
            denoise,
            like,
            sampler=sampler,
            grid=grid(steps),
            generator=Streams.derive(3, name, numbers),
        )

    lengths = [4, 2, 3]
    mask = torch.arange(4) < torch.tensor(lengths)[:, None]
    padded = run_on(Padded(torch.zeros(3, 4, dtype=torch.long), mask), range(3))
    alone = [run_on(torch.zeros(1, n, dtype=torch.long), [i]) for i, n in enumerate(lengths)]
    if not isinstance(sampler, Blocks):  # blocks of an item depend on the longest
        assert torch.equal(padded.data[mask], torch.cat([a[0] for a in alone]))
        owner = torch.repeat_interleave(torch.arange(3), torch.tensor(lengths))
        ragged = run_on(Ragged(torch.zeros(9, dtype=torch.long), owner, 3), range(3))
        assert torch.equal(ragged.data, padded.data[mask])
    assert bool((leaf(padded)[mask] < 3).all())


def test_scheduled_orders_show_k_tokens_a_step():
    x, seen = torch.full((2, 12), 3), []
    even = Categorical(probs=torch.tensor([0.4, 0.3, 0.3, 0.0], dtype=F64).expand(2, 12, 4))
    for steps, want in ((4, [9, 6, 3, 0]), (5, [10, 7, 5, 2, 0]), (12, list(range(11, -1, -1)))):
        seen = [
            (frame.after == 3).sum(1).tolist()
            for frame in run(
                Ordered(), PROCESS, lambda x, t: even, x, grid(steps), random.derive(0, "k")
            )
        ]
        assert seen == [[n, n] for n in want]


def test_orders_show_the_places_they_name():
    probs = torch.tensor(
        [[50, 48, 2, 0], [45, 25, 30, 0], [34, 33.5, 32.5, 0], [48, 44, 8, 0]], dtype=F64
    )
    probs = probs / probs.sum(1, keepdim=True)
    q, x = Categorical(probs=probs[None]), torch.full((1, 4), 3)

    def order(rule):
        frames = run(Ordered(rule), PROCESS, lambda x, t: q, x, grid(4), random.derive(0, "o"))
        left = [frame.after[0] == 3 for frame in frames]
        hidden = [torch.ones(4, dtype=torch.bool), *left]
        return [int((a & ~b).nonzero()) for a, b in itertools.pairwise(hidden)]

    assert order(TopProbability()) == [0, 3, 1, 2]
    assert order(Margin()) == [1, 3, 0, 2]
    entropy = -(probs * probs.clamp_min(1e-300).log()).sum(1)
    assert order(Entropy()) == entropy.argsort().tolist()
    assert order(LeftToRight()) == [0, 1, 2, 3]


@pytest.mark.parametrize("classes", [3, 127, 128, 300, 1024])
def test_the_scores_of_orders_are_those_of_the_law(classes):
    """Against float64, with several chunks of rows, ties, and a law that excludes tokens."""
    length, mask = 2 * tokens._CHUNK // classes if classes > 1000 else 40, classes - 1
    logits = 3 * random.normal(torch.zeros(1, length, classes), random.derive(0, "logits"))
    logits[0, 0, : min(2, mask)] = 9.0  # a tie
    logits[0, 1, 1:] = -torch.inf
    logits[0, 2] = 0.0
    logits[0, 3, mask] = 40.0  # what a network says of the mask counts for nothing
    x = torch.full((1, length), mask)
    seen = Seen(Tokens(logits, mask, x), at(x), mask)
    p = logits[0].double().index_fill(-1, torch.tensor(mask), -torch.inf).softmax(-1)
    top = p.topk(2).values
    entropy = torch.special.entr(p).sum(-1)
    for order, want in (
        (TopProbability(), top[:, 0]),
        (Margin(), top[:, 0] - top[:, 1]),
        (Entropy(), (-entropy).exp()),
    ):
        score = order(seen, random.derive(0, "none")).exp()
        assert torch.allclose(score, want, rtol=0, atol=2e-6), type(order).__name__


def test_what_is_said_of_a_place_does_not_depend_on_those_beside_it():
    """Rows side by side are not copied; a mask of much weight is taken out before the softmax."""
    logits = 3 * random.normal(torch.zeros(1, 6, 300), random.derive(0, "logits"))
    logits[0, 2, 299] = 40.0
    logits[0, 4, 7] = 100.0
    x = torch.full((1, 6), 299)
    every = at(x)

    def said(places):
        seen = Seen(Tokens(logits, 299, x), places, 299)
        scores = [order(seen, random.derive(0, "none")) for order in (Margin(), Entropy())]
        rows = list(tokens.row_chunks(seen.q, places, 299))
        assert all(torch.allclose(w.sum(-1).double(), total) for _, w, total in rows)
        return torch.stack([seen.top, *scores], 1), torch.cat([w for _, w, _ in rows])

    scores, weights = said(every)
    assert bool((weights[:, 299] == 0).all()), "the mask is never drawn"
    for some in ([0, 1], [0, 2, 5], [1, 3, 4], [2], [3]):
        alone, weight = said(every.pick(torch.tensor(some)))
        assert torch.equal(alone, scores[some]) and torch.equal(weight, weights[some])
    assert float(logits[0, 2, 299]) == 40.0, "and nothing is written over"
    with pytest.raises(InputError, match="excludes every token"):
        list(tokens.row_chunks(Tokens(logits - torch.inf), every, None))


def test_draws_keep_their_law_with_gradients_on():
    """Rows are written over in turn, which must not reach what the network said."""
    logits = torch.zeros(2, 5, 4, requires_grad=True)
    x = torch.full((2, 5), 3)
    q = Tokens(logits, 3, x)
    ids, told = tokens.draw(q, at(x), 3, random.derive(0, "ids"))
    assert bool((ids < 3).all()) and torch.allclose(told.exp(), torch.full((10,), 1 / 3).double())
    assert bool((logits == 0).all())


def test_the_paces_follow_their_rules():
    top = torch.tensor([0.99, 0.97, 0.95, 0.6], dtype=F64)
    rest = (1 - top) / 2
    q = Categorical(probs=torch.stack([top, rest, rest, 0 * top], 1)[None])
    x = torch.full((1, 4), 3)

    def shown(pace):
        sampler = Ordered(TopProbability(), pace)
        first = next(run(sampler, PROCESS, lambda x, t: q, x, grid(4), random.derive(0, "p")))
        return (first.after[0] != 3).tolist()

    assert shown(Confident(0.96)) == [True, True, False, False]
    assert shown(Confident(0.999)) == [True, False, False, False]
    # (n + 1)(1 - c_n): 0.02, 0.09, 0.2, 2.0
    assert shown(Factor(0.1)) == [True, True, False, False]
    assert shown(Factor(0.21)) == [True, True, True, False]
    assert shown(Factor(0.001)) == [True, False, False, False]


class Table(torch.nn.Module):
    """A network with a memory: logits that depend on the whole text, recalled for a span."""

    def __init__(self):
        super().__init__()
        self.whole = self.memories = self.parts = 0

    @staticmethod
    def logits(ids, total):
        place = torch.arange(3.0)
        return F.pad(torch.cos(total[:, None, None] + ids[..., None] * place), (0, 1))

    def forward(self, ids, clock):
        self.whole += 1
        return self.logits(ids, ids.sum(1))

    def recall(self, ids, clock, span):
        self.memories += 1
        outside = ids.sum(1) - ids[:, span].sum(1)

        def inside(part, clock):
            self.parts += 1
            return self.logits(part, outside + part.sum(1))

        return inside


def test_blocks_with_a_memory_equal_blocks_without():
    like = torch.zeros(3, 12, dtype=torch.long)
    outs, nets = [], []
    for cached in (True, False):
        net = Table()
        nets.append(net)
        denoiser = TokenDenoiser(net if cached else Forgets(net), PROCESS)
        outs.append(
            draw(
                PROCESS,
                Nucleus(Temperature(denoiser, 0.7), 0.9),
                like,
                sampler=Blocks(Ordered(Margin()), 4),
                grid=grid(12),
                generator=random.derive(0, "memory"),
            )
        )
    assert torch.equal(*outs)
    assert (nets[0].whole, nets[0].memories, nets[0].parts) == (1, 3, 11)
    assert nets[1].whole == 12


class Forgets(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, ids, clock):
        return self.net(ids, clock)


def test_the_clock_of_blocks_descends_and_tells_the_share_of_masks():
    process = Discrete(absorbing(3, CosineKeep()))
    x = torch.full((1, 8), 3)
    even = Categorical(probs=torch.tensor([0.4, 0.3, 0.3, 0.0], dtype=F64).expand(1, 8, 4))
    clocks, hidden = [], []

    def spy(x, t):
        clocks.append(float(t))
        hidden.append(float((x == 3).double().mean()))
        return even

    for frame in run(Blocks(Ordered(), 4), process, spy, x, grid(4), random.derive(0, "b")):
        assert float(frame.s) < float(frame.t)
    assert float(frame.s) == 0.0
    assert clocks[0] == 1.0 and hidden[2] == 0.5
    kept = 1 - process.kernel.keep(torch.tensor(clocks[2], dtype=F64))
    assert float(kept) == pytest.approx(0.5)


def test_what_samplers_of_masks_cannot_take_is_refused():
    x = torch.full((2, 8), 3)
    even = Categorical(probs=torch.tensor([0.4, 0.3, 0.3, 0.0], dtype=F64).expand(2, 8, 4))
    nothing = Categorical(probs=torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=F64).expand(2, 8, 4))

    def go(sampler, q=even, times=None, process=PROCESS, x=x):
        times = grid(2) if times is None else times
        list(run(sampler, process, lambda x, t: q, x, times, random.derive(0, "no")))

    for sampler, _ in EVERY.values():
        if not isinstance(sampler, RateEuler | TauLeaping):
            with pytest.raises(Exception, match="needs a chain that only masks.*Use Ancestral"):
                go(sampler, process=Discrete(uniform(4)))
    with pytest.raises(InputError, match="excludes every token"):
        go(FirstHitting(), nothing)
    with pytest.raises(InputError, match="4 blocks of 2 tokens need at least 4 steps, not 2"):
        go(Blocks(Ordered(), 2))
    with pytest.raises(InputError, match="not per frame"):
        go(FirstHitting(), times=grid(2)[:, None, None].expand(3, 2, 8))
    with pytest.raises(InputError, match="the mask itself, id 3"):
        Prompt(x, x == 3).start(PROCESS)
    with pytest.raises(InputError, match="shown to a chain that only masks"):
        Prompt(x, x == 3).start(Discrete(uniform(4)))
    with pytest.raises(InputError, match="0 < off < on < 1"):
        Loop(on=0.1, off=0.2)


def test_posteriors_over_tokens_are_the_same_whole_and_by_rows():
    raw = torch.randn(2, 5, 6, generator=random.derive(0, "raw"))
    seen = torch.tensor([[5, 0, 5, 2, 5], [1, 5, 5, 4, 3]])
    q = Tokens(raw, 5, seen)
    want = raw[..., :5].double().softmax(-1)
    hidden = seen == 5
    assert torch.allclose(q.probs[hidden][:, :5], want[hidden], atol=1e-6)
    assert torch.equal(q.probs[~hidden], F.one_hot(seen, 6).double()[~hidden])
    index = hidden.flatten().nonzero()[:, 0]
    assert torch.allclose(q.rows(index).softmax(-1)[:, :5].double(), want[hidden], atol=1e-6)
    target = torch.where(hidden, 3, seen)
    told = torch.where(hidden, -want[..., 3].log(), 0.0).sum(1)
    assert torch.allclose(q.nll(target).double(), told, atol=1e-5)
    assert bool(q.nll(torch.where(hidden, 3, 0)).isinf().all())
    mask = torch.tensor([[True, True, True, False, False], [True] * 5])
    padded = Tokens(Padded(raw, mask), 5, Padded(seen, mask))
    assert float(padded.nll(Padded(target, mask))[0]) == pytest.approx(
        float(-want[0, [0, 2], 3].log().sum()), rel=1e-5
    )


def test_gradients_reach_the_logits_of_masked_places_only():
    raw = torch.randn(1, 4, 4, generator=random.derive(0, "raw")).requires_grad_()
    seen, target = torch.tensor([[3, 1, 3, 0]]), torch.tensor([[2, 1, 0, 0]])
    (slope,) = torch.autograd.grad(Tokens(raw, 3, seen).nll(target).sum(), raw)
    probs = raw.detach()[..., :3].softmax(-1)
    want = F.pad(probs - F.one_hot(target, 3), (0, 1)) * (seen == 3)[..., None]
    assert torch.allclose(slope, want, atol=1e-6)


def test_temperature_and_nucleus_edit_the_law():
    raw = torch.randn(3, 7, 6, generator=random.derive(0, "raw"))
    x = torch.full((3, 7), 5)
    net = torch.nn.Module()
    net.forward = lambda ids, clock: raw
    plain = TokenDenoiser(net, Discrete(absorbing(5)))
    t = torch.tensor(0.5, dtype=F64)
    p = plain(x, t).probs
    cool = Temperature(plain, 0.5)(x, t).probs
    assert torch.allclose(cool, p**2 / (p**2).sum(-1, keepdim=True), atol=1e-6)
    cut = Nucleus(plain, 0.6)(x, t).probs
    top, place = p.sort(-1, descending=True)
    count = ((top.cumsum(-1) - top) < 0.6).sum(-1)
    assert torch.equal((cut > 0).sum(-1), count)
    first = torch.zeros_like(p).scatter(-1, place, (torch.arange(6) < count[..., None]).double())
    assert torch.allclose(cut, p * first / (p * first).sum(-1, keepdim=True), atol=1e-6)
    assert torch.allclose(Nucleus(plain, 1.0)(x, t).probs, p, atol=1e-6)
    both = Nucleus(Temperature(plain, 0.5), 0.6)(x, t)
    assert torch.allclose(
        both.rows(torch.arange(21)).softmax(-1).reshape(3, 7, 6), both.probs, atol=1e-6
    )
    for wrong in (lambda: Temperature(plain, 0.0), lambda: Nucleus(plain, 1.5)):
        with pytest.raises(InputError):
            wrong()


def test_a_token_is_drawn_by_its_law_and_never_one_of_probability_zero():
    """Chi-square over classes in three blocks, n = 50,000; 5.5 standard deviations."""
    p = torch.zeros(301, dtype=F64)
    some = torch.tensor([1, 2, 126, 127, 128, 129, 130, 255, 256, 299])
    p[some] = torch.tensor([0.3, 1e-3, 0.1, 0.05, 0.05, 0.2, 1e-4, 0.2, 0.0489, 0.05]).double()
    p = p / p.sum()
    process, n = Discrete(absorbing(300)), 50_000
    ids = draw(
        process,
        lambda x, t: Categorical(probs=p.expand(*x.shape, 301)),
        torch.zeros(n, 1, dtype=torch.long),
        sampler=FirstHitting(),
        grid=grid(1),
        generator=random.derive(0, "tokens"),
    )
    counts = torch.bincount(ids[:, 0], minlength=301).double()
    assert float(counts[some].sum()) == n
    assert chi_square(counts[some], p[some]) < 5.5


@pytest.mark.parametrize("sampler", [RateEuler(), TauLeaping()], ids=repr)
@pytest.mark.parametrize("kernel", [uniform(3), absorbing(3)], ids=["uniform", "absorbing"])
def test_leaps_along_rates_draw_the_law_in_the_limit(sampler, kernel):
    """One token, n = 20,000: within 0.02 and 5 standard errors in 32 steps; 2 steps are off."""
    law = F.pad(torch.tensor([0.7, 0.25, 0.05], dtype=F64), (0, kernel.classes - 3))

    def denoise(x, t):
        joint = kernel.columns(x, torch.zeros_like(t), t) * law
        return Categorical(probs=joint / joint.sum(-1, keepdim=True))

    def off(steps):
        process, n = Discrete(kernel), 20_000
        half = torch.linspace(
            1, 0.3, steps + 1, dtype=F64
        )  # an end with noise, before the last draw
        x = process.prior(torch.zeros(n, 1, dtype=torch.long)).sample(random.derive(0, "prior"))
        for frame in run(sampler, process, denoise, x, half, random.derive(steps, "leap")):
            x = frame.after
        want = law @ kernel.rows(torch.arange(kernel.classes), torch.zeros(()).double(), half[-1])
        share = torch.bincount(x[:, 0], minlength=kernel.classes) / n
        return (share - want).abs(), 5 * (want * (1 - want) / n).sqrt()

    fine, error = off(32)
    assert bool((fine < 0.02 + error).all())
    coarse, _ = off(2)
    assert float(coarse.max()) > 0.02 or isinstance(sampler, RateEuler)


def test_leaps_are_the_published_formulas():
    rates = torch.tensor([[0.0, 0.3, 0.5], [0.0, 2.0, 3.0]], dtype=F64)
    euler, leap = RateEuler().moves(rates), TauLeaping().moves(rates)
    assert torch.allclose(euler[0], rates[0]) and torch.allclose(euler[1], rates[1] / 5)
    # a Poisson number of jumps to each class, exactly one in all
    one = rates * torch.exp(-rates) * torch.exp(-(rates.sum(1, keepdim=True) - rates))
    assert torch.allclose(leap, one)
