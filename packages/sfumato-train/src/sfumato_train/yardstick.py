"""What samples of a run are measured with: real items, and metrics that are fitted once."""

from __future__ import annotations

__all__ = ["Compares", "Yardstick", "yardstick"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

from sfumato import Batch, Dataset, Domain, InputError, random
from sfumato_data import gather, subset
from sfumato_eval import Memorisation, Metric, Score, Source, apart, measure, measure_all

from .pinning import SOURCE

MOST = 5000
"""Items on each side, unless more are asked for."""

FLOOR = "two held-out halves"


@runtime_checkable
class Compares(Protocol):
    """What a domain adds that can tell how close items are to what they were made from."""

    def fidelity(self, original: Batch, made: Batch) -> Mapping[str, Score]:
        """Named scores of items against their originals, one by one."""


@dataclass(frozen=True, eq=False)
class Yardstick:
    """Measures any number of sets of samples on the same real items.

    Attributes:
        domain: whose metrics are taken.
        train: what the model was trained on; the metrics are fitted on it.
        real: n held-out items that samples are compared with.
        other: n further held-out items, which the floor compares with `real`.
    """

    domain: Domain
    train: Dataset
    real: Dataset
    other: Dataset

    @property
    def n(self) -> int:
        """Items on each side."""
        return len(self.real)

    @property
    def condition(self) -> Mapping[str, Any]:
        """What n samples are asked for with: the conditions of `other`.

        They are independent of the items that the samples are compared with, and a model without
        fault would be as far from those as `other` is, which is the floor.
        """
        return self.pairs.condition

    @cached_property
    def pairs(self) -> Batch:
        """The items of `other` with their conditions, which samples are asked for with."""
        return gather(self.other)

    @cached_property
    def metrics(self) -> Sequence[Metric[Any]]:
        """The metrics of the domain, fitted when they are first needed."""
        return self.domain.metrics(self.train)

    def score(self, metric: Metric[Any], samples: Batch) -> Score:
        """One of the metrics on n samples."""
        real, other = self.real, self.other
        return measure(metric, samples, real, other, n=self.n, floor=FLOOR)

    def fidelity(self, made: Batch) -> Mapping[str, Score]:
        """How close items are to those of `real` that they were made from, one by one."""
        if not isinstance(self.domain, Compares):
            return {}
        return self.domain.fidelity(gather(self.real), made)

    def restoration(self, made: Batch) -> Mapping[str, Score]:
        """How close what was made of the sources of pairs is to their targets, one by one.

        Below each score stands that of the sources themselves, as if nothing had been done: what
        the domain tells (`Compares`), and the distance in the features of its metrics.
        """
        source = self._close(Batch(self.pairs.condition[SOURCE]))
        found: dict[str, Score] = {}
        for name, score in self._close(made).items():
            found |= {name: score, f"{name} of the source": source[name]}
        return found

    def _close(self, made: Batch) -> Mapping[str, Score]:
        pairs = self.pairs
        found = self.domain.fidelity(pairs, made) if isinstance(self.domain, Compares) else {}
        seen = next((m.features for m in self.metrics if isinstance(m, Memorisation)), None)
        return found if seen is None else {**found, "feature-distance": apart(seen, pairs, made)}

    def scores(self, samples: Source) -> dict[str, Score]:
        """All metrics, by name, in one pass over n samples."""
        real, other = self.real, self.other
        return measure_all(self.metrics, samples, real, other, n=self.n, floor=FLOOR)


def yardstick(
    domain: Domain, train: Dataset, held: Dataset, n: int | None = None, seed: int = 0
) -> Yardstick:
    """The yardstick of a domain for models trained on `train`.

    Samples are compared with one half of the held-out data, drawn at random. The floor of each
    metric is the other half against that one, at the same n: features that are fitted to training
    items treat both alike.

    Args:
        domain: whose metrics are taken.
        train: what the model was trained on.
        held: real items that it has not seen.
        n: items on each side; None: half of the held-out items, at most 5,000.
        seed: of the choice of real items.

    Raises:
        InputError: if half of the held-out items are fewer than n, or are none.
    """
    most = len(held) // 2
    if most == 0:
        raise InputError(f"{len(held)} item(s) were held out, and two are needed at least")
    n = min(most, MOST) if n is None else n
    if not 1 <= n <= most:
        raise InputError(
            f"n must be between 1 and {most}, half of the {len(held)} held-out items, but is {n}"
        )
    order = random.permutation(len(held), random.derive(seed, "evaluate")).tolist()
    real, other = subset(held, sorted(order[:n])), subset(held, sorted(order[n : 2 * n]))
    return Yardstick(domain, train, real, other)
