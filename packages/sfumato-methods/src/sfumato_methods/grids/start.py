"""How much is enough? A process that is used from a time T < 1 on, with a learned start.

Franzese et al. 2022, arXiv:2206.05173. Below T = 1 noised data is no standard noise yet, but it is
far easier to model than data: a mixture of normals is fitted to it, sampled, and the reverse
process goes from T to 0 in a share T of the steps. The bound on -log p(x_0) is the sum of what the
start loses (`start_loss`), which falls with T, and what the path loses (`path_loss`), which grows.
"""

from __future__ import annotations

__all__ = ["LearnedStart", "path_loss", "start_loss"]

import math
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Generator, Tensor

from sfumato import InputError, Law, Process, Unsupported, kl, random
from sfumato.random import Source
from sfumato.sampling import Denoise, times

_TINY = 1e-300


@dataclass(frozen=True, eq=False)
class LearnedStart:
    """A mixture of normals with full covariances, for states that are one tensor.

    `sample(..., start=found.law(like), grid=T * uniform(process, steps))` begins with it.

    Attributes:
        weights: (K,) that sum to 1, float64.
        means: (K, d).
        factors: (K, d, d) lower triangular, the covariances being factors times their transposes.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor

    @classmethod
    @torch.no_grad()
    def fit(
        cls,
        process: Process,
        x0: Tensor,
        time: float,
        components: int,
        *,
        generator: Generator,
        copies: int = 4,
        rounds: int = 30,
        ridge: float = 1e-3,
    ) -> Self:
        """By expectation maximisation on data noised to a time.

        Args:
            process: noises the data.
            x0: (n, ...) clean data.
            time: T in (0, 1].
            components: K; each begins on an item drawn at random, all with one covariance.
            generator: of the noise and the first means.
            copies: times that each item is noised.
            rounds: of expectation and maximisation.
            ridge: share of the mean variance that is added to the variances.

        Raises:
            InputError: if there are more components than items, or T is not in (0, 1].
        """
        if not (0 < time <= 1 and 1 <= components <= len(x0)):
            raise InputError(
                "a start is fitted for a time in (0, 1], with at most as many components as "
                f"items; given were {time}, {components} and {len(x0)}"
            )
        t = torch.tensor(time, dtype=torch.float64)
        drawn = [process.marginal(x0, t).sample(generator) for _ in range(copies)]
        x = torch.cat(drawn).flatten(1).double()
        spread = torch.cov(x.T, correction=0).reshape(x.shape[1], x.shape[1])
        floor = ridge * spread.diagonal().mean() * torch.eye(len(spread)).to(spread)
        first = random.permutation(len(x0), generator)[:components]
        means = x[first]
        weights = x.new_full((components,), 1 / components)
        factors = torch.linalg.cholesky((spread + floor).expand(components, -1, -1))
        for _ in range(rounds):
            share = _log_terms(weights, means, factors, x).softmax(1)
            total = share.sum(0).clamp_min(_TINY)
            means = share.T @ x / total[:, None]
            gaps = [x - mean for mean in means]
            sums = [(gap * s[:, None]).T @ gap for gap, s in zip(gaps, share.T, strict=True)]
            covariance = torch.stack(sums) / total[:, None, None] + floor
            factors, weights = torch.linalg.cholesky(covariance), total / total.sum()
        return cls(weights, means, factors)

    def law(self, like: Tensor) -> Law:
        """The law of states with the shape, dtype and device of `like`."""
        if not isinstance(like, Tensor):
            raise Unsupported(
                f"a learned start is for states that are one tensor, not {type(like).__name__}"
            )
        if like[0:1].numel() != self.means.shape[1] and len(like):
            raise InputError(
                f"the start was learned for {self.means.shape[1]} numbers an item, but the state "
                f"has {like[0:1].numel()}"
            )
        return _Start(self, like)


class _Start(Law):
    __slots__ = ("like", "start")

    def __init__(self, start: LearnedStart, like: Tensor) -> None:
        self.start, self.like = start, like

    def sample(self, generator: Source) -> Tensor:
        weights, means, factors = self._parts(self.like)
        pick = random.categorical(weights.expand(len(self.like), -1), generator)
        noise: Tensor = random.normal(self.like, generator)
        wide = noise.flatten(1).double()[..., None]
        found = means[pick] + (factors[pick] @ wide).squeeze(-1)
        return found.to(noise.dtype).reshape(noise.shape)

    def nll(self, x: Tensor) -> Tensor:
        weights, means, factors = self._parts(x)
        return -_log_terms(weights, means, factors, x.flatten(1).double()).logsumexp(1)

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        start, device = self.start, x.device
        return start.weights.to(device), start.means.to(device), start.factors.to(device)


def _log_terms(weights: Tensor, means: Tensor, factors: Tensor, x: Tensor) -> Tensor:
    """(n, K) log of weight times density."""
    terms = []
    for weight, mean, factor in zip(weights, means, factors, strict=True):
        z = torch.linalg.solve_triangular(factor, (x - mean).T, upper=False)
        log_det = factor.diagonal().log().sum()
        whole = 0.5 * z.square().sum(0) + log_det + 0.5 * len(z) * math.log(2 * math.pi)
        terms.append(weight.clamp_min(_TINY).log() - whole)
    return torch.stack(terms, 1)


def start_loss(process: Process, x0: Any, time: Tensor, start: Law, generator: Generator) -> Tensor:
    """(B,) nats: log q(x_T | x_0) - log nu(x_T) at one draw of x_T, whose mean is a divergence."""
    q = process.marginal(x0, time)
    x = q.sample(generator)
    return start.nll(x) - q.nll(x)


def path_loss(
    process: Process, denoiser: Denoise, x0: Any, grid: Tensor, generator: Generator
) -> Tensor:
    """(B,) nats that the reverse process loses on a grid from T down, one KL a step.

    The terms of `sfumato.elbo` between two times, at a fresh draw of x_t each. A grid that ends in
    0 includes the reconstruction, for which the last posterior needs a density.

    Raises:
        InputError: if the grid does not descend strictly.
    """
    if grid.ndim != 1 or bool((grid.diff() >= 0).any()):
        raise InputError("the loss of a path needs one shared grid that descends strictly")
    clocks, total = times(grid.double()), torch.zeros(())
    for row, t, s in zip(process.plan(grid.double()), clocks, clocks[1:], strict=False):
        x = process.marginal(x0, t).sample(generator)
        back = process.transition(denoiser(x, t), x, t, s, row)
        step = kl(process.bridge(x0, x, t, s, row), back) if s > 0 else back.nll(x0)
        total = total + step
    return total
