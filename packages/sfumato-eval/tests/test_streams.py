"""Streams and sketches: bounded memory, and one result whatever the batches, shards and workers."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from sfumato import Batch, InputError, random
from sfumato_data import Tensors
from sfumato_eval import (
    C2ST,
    KID,
    MMD,
    PRDC,
    Features,
    Frechet,
    Memorisation,
    SlicedWasserstein,
    Vectors,
    measure,
    measure_all,
    pixels,
    remembered,
    subsample,
    summarise,
)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return random.normal(torch.empty(shape, dtype=torch.float64), random.derive(seed, "data"))


class Shards:
    """A stream that can be read many times: `count` batches, made when they are asked for."""

    def __init__(self, count: int, size: int, width: int = 3, seed: int = 0):
        self.count, self.size, self.width, self.seed = count, size, width, seed

    def __iter__(self):
        for i in range(self.count):
            draw = random.derive(self.seed, "shard", i)
            yield Batch(random.normal(torch.empty(self.size, self.width), draw))


def numbers(*sizes: int) -> list[Batch]:
    """Batches of the given sizes, the items of which are 0, 1, 2, ... throughout."""
    return [Batch(part[:, None].double()) for part in torch.arange(sum(sizes)).split(list(sizes))]


def kept(*sizes: int, most: int = 20, batch_size: int = 256) -> Vectors:
    return summarise(
        lambda b: pixels.vectors(b, most), numbers(*sizes), side="test", batch_size=batch_size
    )


@pytest.mark.parametrize("sizes", [(1000,), (1, 999), (250,) * 4, (37,) * 27 + (1,)])
@pytest.mark.parametrize("batch_size", [1, 100, 4096])
def test_the_items_kept_do_not_depend_on_how_the_stream_was_cut(sizes, batch_size):
    whole, found = kept(1000), kept(*sizes, batch_size=batch_size)
    assert torch.equal(found.rows, whole.rows) and (found.n, found.kept) == (1000, 20)


def test_merging_is_commutative_and_associative_to_the_bit():
    first = [0, 400, 450, 900]
    parts = [
        summarise(lambda b: pixels.vectors(b, 20), batch, side="part", first=start)
        for start, batch in zip(first, numbers(400, 50, 450, 100), strict=True)
    ]
    a, b, c, d = parts
    for whole in (a + b + c + d, d + c + b + a, (a + b) + (c + d), (d + b) + (a + c)):
        assert torch.equal(whole.rows, kept(1000).rows) and whole.n == 1000


def test_sets_that_are_numbered_alike_merge_in_either_order():
    a, b = (Vectors.of(normal(s, 50, 2), 2, 20) for s in (1, 2))
    assert torch.equal((a + b).rows, (b + a).rows)
    assert len((a + b).rows) == 20 and (a + b).n == 100


def test_the_items_kept_are_a_uniform_sample():
    """Counts in 20 equal stretches are hypergeometric: |z| < 4.5, times 20: 1 in 7,000 orders."""
    for size, most in ((20_000, 5000), (4000, 200)):
        counts = torch.histc(kept(size, most=most, batch_size=size).rows, 20, 0, size)
        expected = most / 20
        error = math.sqrt(expected * (1 - 1 / 20) * (1 - most / size))
        assert counts.sum() == most and ((counts - expected) / error).abs().max() < 4.5


def test_exact_duplicates_are_items_of_their_own():
    """Of a set half of which is one item, about half the sketch is that item; |z| < 4.5."""
    for value in range(8):
        x = torch.where(torch.arange(2000) % 2 == 0, value, torch.arange(2000))[:, None].double()
        rows = summarise(lambda b: pixels.vectors(b, 200), Batch(x), side="test").rows
        share = float((rows == value).double().mean())
        assert abs(share - 0.5) < 4.5 * 0.5 / math.sqrt(200)


def test_few_items_are_all_kept():
    assert sorted(kept(7, 8).rows[:, 0].tolist()) == list(range(15))
    assert Vectors.of(torch.ones(2, 1), 1).rows.shape == (2, 1)


METRICS = [
    SlicedWasserstein(most=300),
    KID(most=300),
    MMD(most=300),
    PRDC(most=300),
    C2ST(most=300, steps=50),
    Memorisation.of(Batch(normal(5, 200, 3))),
    Frechet(),
]


def bytes_of(summary) -> int:
    """All bytes that the tensors of a summary hold alive."""
    if isinstance(summary, Vectors):
        tensors = [*summary.pieces, *summary.numbers]
    else:
        tensors = [summary.total, summary.outer]
    stores = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(stores.values())


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_memory_is_flat_in_n(metric, monkeypatch):
    """From 1,000 to 20,000 items the bytes that a sum keeps alive do not grow."""
    if isinstance(metric, Memorisation):
        metric = Memorisation(metric.training, most=300)
    seen = []
    kind = type(metric.summary(next(iter(Shards(1, 50)))))
    add = kind.__add__

    def watched(a, b):
        whole = add(a, b)
        seen.append((whole.n, bytes_of(whole)))
        return whole

    monkeypatch.setattr(kind, "__add__", watched)
    total = summarise(metric.summary, Shards(80, 250), side="test", batch_size=125)
    assert total.n == 20_000 and len(seen) == 159
    early = max(size for n, size in seen if n <= 1000)
    assert max(size for n, size in seen if n > 1000) <= early


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_workers_and_batches_do_not_change_a_score(metric):
    """Four workers, each with every fourth shard, added in another order; exact but for sums."""
    held = summarise(metric.summary, Shards(5, 200, seed=1), side="held-out")
    whole = summarise(metric.summary, Shards(8, 250), side="samples", batch_size=64)
    shards = list(Shards(8, 250))
    order = [*range(3, 8, 4), *range(0, 8, 4), *range(2, 8, 4), *range(1, 8, 4)]
    parts = [summarise(metric.summary, shards[i], side="shard", first=250 * i) for i in order]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined + part
    one, other = metric.between(whole, held), metric.between(joined, held)
    assert one.value == pytest.approx(other.value, rel=1e-12)
    assert one.protocol == other.protocol and joined.n == 2000
    if metric.name not in ("frechet", "memorisation"):
        assert one.value == other.value and one.n == 300
        assert "300 of 2000 items against 300 of 1000 items" in one.protocol


def test_measure_takes_streams_beside_data_sets():
    held, other = Tensors(normal(1, 500, 3)), Batch(normal(2, 500, 3))
    found = measure(KID(most=200), iter(Shards(9, 100)), held, other)
    assert found.n == 200 and "200 of 500 items" in found.protocol
    first = torch.cat([batch.x for batch in Shards(5, 100)])
    assert found.value == measure(KID(most=200), Batch(first), held, other).value
    endless = (batch for _ in itertools.count() for batch in Shards(1, 100))
    assert measure(Frechet(), endless, held, other).n == 500
    streams = [Shards(3, 40, seed=s) for s in (0, 1, 2)]
    assert measure(Frechet(), *streams, n=100).n == 100


def test_one_pass_serves_all_metrics_and_makes_remembered_features_once():
    looks = []

    def look(batch: Batch) -> torch.Tensor:
        looks.append(len(batch.x))
        return batch.x

    held, other = Batch(normal(1, 300, 3)), Batch(normal(2, 300, 3))
    seen = remembered(Features("seen", look))
    metrics = [Frechet(seen), KID(seen), PRDC(seen), Memorisation(normal(5, 200, 3), seen)]
    found = measure_all(metrics, iter(Shards(3, 100)), held, other, batch_size=150)
    assert looks == [100] * 3 + [150] * 4
    whole = Batch(torch.cat([batch.x for batch in Shards(3, 100)]))
    for metric in metrics:
        alone = measure(metric, whole, held, other)
        assert found[metric.name].value == pytest.approx(alone.value, rel=1e-9)
        assert found[metric.name].floor == pytest.approx(alone.floor, rel=1e-9)
        assert found[metric.name].protocol == alone.protocol
    with pytest.raises(InputError, match="have to differ in name, unlike kid, kid"):
        measure_all([KID(), KID(seen)], held, held, other)


def test_streams_that_do_not_fit_name_their_side():
    held = Batch(normal(1, 50, 3))
    with pytest.raises(InputError, match="samples: 40 items, but 50 are needed; a generator can"):
        measure(KID(), Shards(1, 40), held, held)
    spent = iter(Shards(1, 50))
    list(spent)
    with pytest.raises(InputError, match="other: 0 items, but 50 are needed; a generator can"):
        measure(KID(), Shards(1, 50), held, spent)
    with pytest.raises(InputError, match="streams, which have no length: give n"):
        measure(KID(), *[Shards(1, 40)] * 3)
    with pytest.raises(InputError, match="a stream has to yield batches, not Tensor"):
        summarise(KID().summary, [torch.ones(3, 2)], side="samples")
    with pytest.raises(InputError, match="no items can be drawn"):
        subsample(Shards(1, 40), 3, random.derive(0))
    with pytest.raises(InputError, match="samples: batch_size and n must be at least 1"):
        summarise(KID().summary, held, side="samples", batch_size=0)


def test_sketches_of_unlike_sets_are_refused():
    with pytest.raises(InputError, match="2 dimensions on one side and 3"):
        Vectors.of(torch.ones(4, 2), 2) + Vectors.of(torch.ones(4, 3), 3)
    with pytest.raises(InputError, match="at most 5 items cannot be added to one of 6"):
        Vectors.of(torch.ones(4, 2), 2, 5) + Vectors.of(torch.ones(4, 2), 2, 6)
    with pytest.raises(InputError, match="at least 1, not most=0"):
        KID(Features("x", lambda b: b.x), most=0).summary(Batch(torch.ones(4, 2)))
