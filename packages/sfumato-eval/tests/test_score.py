"""`measure`: equal n on every side, floors, sums of summaries, errors that name the side."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch

from sfumato import Batch, Fields, InputError, Maybe, Ragged, random
from sfumato.state import item_count, item_sum
from sfumato_data import select
from sfumato_eval import (
    C2ST,
    KID,
    MMD,
    PRDC,
    Features,
    Frechet,
    Memorisation,
    Recognised,
    Score,
    SlicedWasserstein,
    measure,
    subsample,
    summarise,
)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return random.normal(torch.empty(shape, dtype=torch.float64), random.derive(seed, "data"))


@dataclass(frozen=True)
class Seen:
    """A summary that remembers which items it saw."""

    ids: tuple[int, ...]

    @property
    def n(self):
        return len(self.ids)

    def __add__(self, other):
        return Seen(self.ids + other.ids)


class Spy:
    """A metric that records every comparison."""

    name, better = "spy", "lower"

    def __init__(self):
        self.pairs = []

    def summary(self, batch):
        return Seen(tuple(batch.x.tolist()))

    def between(self, a, b):
        self.pairs.append((a.ids, b.ids))
        return Score(float(len(self.pairs)), a.n, None, "spy")


class Numbers:
    """A dataset of consecutive numbers that notes how many items were read at a time."""

    def __init__(self, start: int, size: int):
        self.start, self.size, self.reads, self.about = start, size, [], {}

    def __len__(self):
        return self.size

    def batch(self, index):
        self.reads.append(len(index))
        return Batch(self.start + torch.tensor(index))


def test_every_side_has_the_same_n_and_the_floor_is_other_against_held():
    samples, held, other = Numbers(0, 40), Numbers(100, 30), Numbers(200, 90)
    spy, draw = Spy(), random.derive(1, "evaluate")
    found = measure(spy, samples, held, other, generator=draw, batch_size=8, floor="b against a")
    assert found.protocol == "spy; floor: b against a"
    assert (found.value, found.floor, found.n) == (1.0, 2.0, 30)
    (a, b), (c, again) = spy.pairs
    assert b == again == tuple(range(100, 130))
    assert len(set(a)) == len(set(c)) == 30
    assert list(a) == sorted(a) and list(c) == sorted(c)
    assert set(a) <= set(range(40)) and set(c) <= set(range(200, 290))
    assert max(samples.reads + held.reads + other.reads) == 8


def test_equal_generators_draw_equal_items_for_every_metric():
    spies = Spy(), Spy()
    for spy in spies:
        draw = random.derive(1, "evaluate")
        measure(spy, *[Numbers(s, 50) for s in (0, 100, 200)], n=10, generator=draw)
    assert spies[0].pairs == spies[1].pairs
    assert {len(ids) for pair in spies[0].pairs for ids in pair} == {10}


def test_subsamples_are_uniform():
    """Each item is drawn with probability 1/4: |z| < 4.5 for its 4,000 draws, times 20 items."""
    draw, counts = random.derive(2, "draws"), torch.zeros(20)
    for _ in range(4000):
        counts[subsample(Batch(torch.arange(20)), 5, draw).x] += 1
    z = (counts - 1000) / math.sqrt(4000 * 0.25 * 0.75)
    assert counts.sum() == 20_000 and z.abs().max() < 4.5


def test_items_of_a_batch_are_drawn_with_their_conditions():
    present = torch.tensor([True, False, True])
    whole = Batch(
        Fields(
            a=torch.arange(3.0), b=Ragged(torch.arange(6.0), torch.tensor([0, 1, 1, 2, 2, 2]), 3)
        ),
        {"label": torch.tensor([7, 8, 9]), "style": Maybe(torch.arange(3), present)},
        {"unit": "m"},
    )
    part = subsample(whole, 2, random.derive(3, "draws"))
    kept = part.x["a"].long()
    rows = torch.tensor([[0.0, -1], [1, 2], [3, 4], [5, -1]])[[0, 1, 3]]
    expected = [v for i in kept.tolist() for v in rows[i].tolist() if v >= 0]
    assert len(kept) == 2 and part.x["b"].data.tolist() == expected
    assert part.condition["label"].tolist() == (7 + kept).tolist() and part.about == {"unit": "m"}
    style = part.condition["style"]
    assert style.value.tolist() == kept.tolist() and torch.equal(style.present, present[kept])


def classes(batch: Batch) -> torch.Tensor:
    return batch.x.float()


METRICS = [
    SlicedWasserstein(),
    KID(),
    MMD(),
    Frechet(),
    PRDC(k=3),
    C2ST(width=8, steps=25),
    Memorisation.of(Batch(normal(5, 70, 4))),
    Recognised(classes),
]


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_summaries_add(metric):
    """Scores from parts equal scores from the whole, in any partition and either order."""
    labels = torch.arange(60) % 4
    a, b = (Batch(normal(s, 60, 4), {"label": labels}) for s in (1, 2))
    whole = metric.between(metric.summary(a), metric.summary(b))

    def parts(source, *cuts):
        index = torch.arange(60).tensor_split(cuts)
        return [
            summarise(metric.summary, select(source, i), side="part", first=int(i[0]))
            for i in index
        ]

    first, second, third = parts(a, 1, 20)
    left, right = parts(b, 33)
    for side, other in (
        (first + second + third, left + right),
        (first + (second + third), right + left),
        (third + first + second, left + right),
    ):
        assert side.n == other.n == 60
        joined = metric.between(side, other)
        assert joined.value == pytest.approx(whole.value, rel=1e-10, abs=1e-12)
        assert joined.floor == whole.floor and joined.protocol == whole.protocol


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_better_samples_score_better(metric):
    """Every metric prefers fresh draws of the data law to a wrong law (here: mode collapse)."""
    labels = torch.arange(70) % 4
    held, train, fresh = (Batch(normal(s, 70, 4), {"label": labels}) for s in (4, 5, 6))
    aimed = torch.nn.functional.one_hot(labels, 4).double()
    fresh = Batch(fresh.x + (3 * aimed if metric.name == "recognised" else 0), fresh.condition)
    collapsed = Batch(normal(5, 70, 4)[:1].expand(70, 4), {"label": labels})
    good, bad = (measure(metric, s, held, train) for s in (fresh, collapsed))
    assert good.n == bad.n == 70 and good.floor == bad.floor
    assert good.value > bad.value if metric.better == "higher" else good.value < bad.value


def test_states_of_any_kind_by_their_own_features():
    def clouds(seed):
        counts = 1 + torch.arange(30) % 4
        owner = torch.arange(30).repeat_interleave(counts)
        return Batch(Ragged(normal(seed, len(owner)), owner, 30))

    means = Features("mean of rows", lambda b: (item_sum(b.x) / item_count(b.x))[:, None])
    found = measure(SlicedWasserstein(means), clouds(1), clouds(2), clouds(3), batch_size=7)
    assert 0 < found.value < 1 and found.ratio is not None and "mean of rows" in found.protocol
    with pytest.raises(InputError, match="samples, items 0 to 29: .*'pixels'.*not Ragged"):
        measure(SlicedWasserstein(), clouds(1), clouds(2), clouds(3))


@pytest.mark.parametrize("side", ["samples", "held-out", "other"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_features_that_are_not_finite_name_their_side(side, value):
    sides = {name: normal(i, 20, 3) for i, name in enumerate(("samples", "held-out", "other"))}
    sides[side][13, 1] = value
    with pytest.raises(InputError, match=f"^{side}, items 10 to 19: .*for 1 of 10 .* number 3"):
        measure(Frechet(), *map(Batch, sides.values()), batch_size=10)


def test_sizes_that_do_not_fit_name_their_side():
    three = [Numbers(0, 5), Numbers(0, 6), Numbers(0, 6)]
    with pytest.raises(InputError, match="held-out: 6 items, but 5 are compared"):
        measure(Spy(), *three)
    with pytest.raises(InputError, match="samples: 5 items, but 6 are needed"):
        measure(Spy(), *three, n=6)
    with pytest.raises(InputError, match="samples: 0 items"):
        measure(Spy(), Numbers(0, 0), *three[1:])
    with pytest.raises(InputError, match="cannot draw 7 of 5"):
        subsample(three[0], 7, random.derive(0))
    with pytest.raises(InputError, match="train: 0 items"):
        summarise(Spy().summary, Numbers(0, 0), side="train")


def test_features_of_the_wrong_shape_and_overflow_are_refused():
    sides = [Batch(normal(i, 8, 3)) for i in range(3)]
    for function in (lambda b: b.x[0], lambda b: b.x[:4], lambda b: b.x[:, :0]):
        with pytest.raises(InputError, match=r"have shape .* for 8 items"):
            measure(KID(Features("odd", function)), *sides)
    huge = Features("huge", lambda b: 1e200 * b.x)
    memorisation = Memorisation.of(sides[2], huge)
    for metric in (SlicedWasserstein(huge), KID(huge), MMD(huge), Frechet(huge), memorisation):
        with pytest.raises(InputError, match="scale them down"):
            measure(metric, *sides)


def test_features_keep_large_integers_and_leave_no_gradient():
    ids = Features("ids", lambda b: b.x)
    assert ids(Batch(torch.tensor([[2**24 + 1]]))).item() == 2**24 + 1
    weight = torch.ones(3, requires_grad=True)
    values = Features("weighted", lambda b: b.x * weight)(Batch(torch.ones(2, 3)))
    assert not values.requires_grad and torch.is_grad_enabled()
    assert Features("half", lambda b: b.x.half())(Batch(torch.ones(2, 3))).dtype == torch.float32


def test_the_ratio_exists_where_the_floor_is_positive():
    assert Score(3.0, 10, 1.5, "p").ratio == 2
    assert Score(3.0, 10, None, "p").ratio is None
    assert Score(3.0, 10, 0.0, "p").ratio is None
    assert Score(3.0, 10, -1.0, "p").ratio is None
    assert Score(-0.02, 10, 0.001, "p").ratio is None
    assert Score(0.0, 10, 0.5, "p").ratio == 0
