"""Classifier two-sample test: can a small network tell samples from real items?"""

from __future__ import annotations

__all__ = ["C2ST", "Verdict", "tell_apart"]

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato import Batch, InputError, random

from .features import Features, pixels
from .score import Better, Score
from .sketch import MOST, Vectors, counted

_FEWEST = 10  # items on each side: with fewer, no outcome of the test half would be significant


@dataclass(frozen=True)
class Verdict:
    """How well two sets were told apart on items that the classifier had not seen.

    Attributes:
        accuracy: share of test items whose side was told, half of them from each side.
        p_value: chance of an accuracy as high or higher if both laws are equal, exact.
        tested: items that the accuracy is of.
    """

    accuracy: float
    p_value: float
    tested: int


def tell_apart(a: Tensor, b: Tensor, *, seed: int, width: int, steps: int) -> Verdict:
    """Train on one half of both sets and test on the other.

    The p-value is Fisher's exact test. If both laws are equal, the true sides are a random
    labelling of the test items whatever was learned, so that the number of items of side b among
    those called b is hypergeometric; p <= alpha then has a chance of at most alpha, at any n.

    Args:
        a: (n, d) vectors.
        b: (m, d) vectors; of the longer side, n (or m) are used.
        seed: decides the halves, the first weights and the batches.
        width: hidden units.
        steps: steps of training, of 128 items each.

    Raises:
        InputError: if a side has fewer than 10 items.
    """
    count = min(len(a), len(b))
    if count < _FEWEST:
        raise InputError(
            f"a classifier two-sample test needs at least {_FEWEST} items on each side, not "
            f"{len(a)} and {len(b)}"
        )
    generator = random.derive(seed, "c2st")
    a, b = (x[random.permutation(len(x), generator)[:count]].float() for x in (a, b))
    half = count // 2
    train = torch.cat([a[:half], b[:half]])
    centre, scale = train.mean(0), train.std(0)
    scale = scale.where(scale > 0, 1)
    labels = torch.arange(2).repeat_interleave(half)
    net = _fit((train - centre) / scale, labels, width, steps, seed)
    with torch.no_grad():
        called_b = [net((x[half:] - centre) / scale)[:, 0] > 0 for x in (a, b)]
    false_b, true_b = (int(called.sum()) for called in called_b)
    each = count - half
    accuracy = (true_b + each - false_b) / (2 * each)
    return Verdict(accuracy, _fisher(true_b, true_b + false_b, each), 2 * each)


def _fit(x: Tensor, labels: Tensor, width: int, steps: int, seed: int) -> nn.Module:
    """A perceptron with one hidden layer; its output is above 0 for label 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(x.shape[1], width), nn.SiLU(), nn.Linear(width, 1))
    generator = random.derive(seed, "c2st", "steps")
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    target = labels.float()
    with torch.enable_grad():
        for _ in range(steps):
            index = random.integers(0, len(x), (min(128, len(x)),), generator)
            loss = F.binary_cross_entropy_with_logits(net(x[index])[:, 0], target[index])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return net


def _fisher(hits: int, called: int, each: int) -> float:
    """P(H >= hits), H hypergeometric: `called` drawn of 2 x `each`, `each` of which count."""

    def log_choose(n: int, k: int) -> float:
        return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

    whole = log_choose(2 * each, called)
    return min(
        1.0,
        math.fsum(
            math.exp(log_choose(each, h) + log_choose(each, called - h) - whole)
            for h in range(max(hits, called - each), min(called, each) + 1)
        ),
    )


@dataclass(frozen=True)
class C2ST:
    """Accuracy of a small classifier that tells samples from real items, on items it has not seen.

    Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests", 2017, arXiv:1610.06545. 0.5 for
    equal laws, 1 for laws apart. A p-value below alpha, the chance of which is at most alpha for
    equal laws, says that the laws differ; a large one only that this network did not see it. A
    model that copies the items it is compared with gets less than 0.5.

    Attributes:
        features: what the classifier sees; each is scaled to unit variance.
        width: its hidden units.
        steps: its steps of training.
        seed: of the halves, the first weights and the batches.
        most: items kept of each side, see `Vectors`; None keeps all.
    """

    features: Features = pixels
    width: int = 64
    steps: int = 300
    seed: int = 0
    most: int | None = MOST
    name: ClassVar[str] = "c2st"
    better: ClassVar[Better] = "lower"

    def __post_init__(self) -> None:
        if self.width < 1 or self.steps < 1:
            raise InputError(
                f"C2ST takes width >= 1 and steps >= 1, not {self.width} and {self.steps}"
            )

    def summary(self, batch: Batch) -> Vectors:
        """The features of each item."""
        return self.features.vectors(batch, self.most)

    def between(self, a: Vectors, b: Vectors) -> Score:
        """The accuracy, with its p-value and its standard error.

        Raises:
            InputError: if a side has fewer than 10 items.
        """
        a.check(b)
        found = tell_apart(a.rows, b.rows, seed=self.seed, width=self.width, steps=self.steps)
        protocol = (
            f"held-out accuracy of a perceptron ({self.width} hidden units, {self.steps} steps, "
            f"seed {self.seed}) on {found.tested} items, features {self.features.name} "
            f"(d={a.dimensions}){counted(a, b)}"
        )
        p = (found.accuracy * found.tested + 1) / (found.tested + 2)  # all told is not certainty
        error = math.sqrt(p * (1 - p) / found.tested)
        parts = {"p-value": found.p_value, "standard error": error}
        return Score(found.accuracy, min(a.kept, b.kept), None, protocol, self.better, parts)
