r"""PFGM++: noise with heavy tails, between Poisson flows (D = 1) and diffusion (D to infinity)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from scipy.special import gammaincinv
from torch import Tensor

from sfumato import Can, InputError, Posterior, expand, random
from sfumato.laws import filled
from sfumato.state import Time, apply, item_count, item_sum

from .process import Gaussian, Step, one_clock
from .schedules import EDM, Schedule

__all__ = ["HeavyTailed", "StudentT", "pfgmpp"]


class StudentT(Posterior):
    """mean + scale n (D / g)^(1/2) with n standard normal and one g ~ chi^2_D for each item.

    With r = scale D^(1/2) this is mean + R u, u uniform on the sphere and R = r (b/(1 - b))^(1/2),
    b ~ Beta(N/2, D/2), for N numbers an item (Xu et al. 2023, arXiv:2302.04265, section 4.1).

    Args:
        mean: state.
        scale: a tensor from `expand`, or a float.
        freedom: D, positive.
    """

    __slots__ = ("_mean", "freedom", "scale")

    def __init__(self, mean: Any, scale: Any, freedom: float) -> None:
        self._mean, self.scale, self.freedom = mean, scale, freedom

    @property
    def mean(self) -> Any:
        return self._mean

    def sample(self, generator: random.Source) -> Any:
        noise = random.normal(self._mean, generator)
        stretch = random.draw(item_count(self._mean), self._stretches, generator)  # (B,)
        return self._mean + noise * expand(noise, stretch) * self.scale

    def _stretches(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """(D / g)^(1/2), by inverting the distribution function of g in float64."""
        u = random.uniform(shape, generator).clamp(2.0**-54, 1 - 2.0**-53).cpu().numpy()
        half = 0.5 * self.freedom
        return torch.as_tensor((half / gammaincinv(half, u)) ** 0.5)

    def nll(self, x: Any) -> Tensor:
        z = (x - self._mean) / self.scale
        count, d = item_count(x), self.freedom
        log_scale = item_sum(apply(filled(x, self.scale), torch.log))
        half = torch.as_tensor(0.5 * d, dtype=torch.float64, device=count.device)
        volume = torch.lgamma(half) - torch.lgamma(half + 0.5 * count)
        far = torch.log1p(item_sum(z * z).double() / d) * (0.5 * (d + count))
        total: Tensor = far + volume + 0.5 * count * math.log(d * math.pi) + log_scale
        return total


class HeavyTailed(Gaussian):
    """x_t = alpha x_0 + sigma (D/g)^(1/2) eps: the perturbation of PFGM++ in any schedule.

    Solvers of the probability flow, the network's view and the weights are those of a Gaussian
    process with the same alpha and sigma (the alignment r = sigma D^(1/2) of Xu et al. 2023,
    arXiv:2302.04265, section 4), and the bridge keeps the direction of the noise. What needs
    Gaussian noise does not apply.

    Args:
        schedule: alpha and sigma.
        freedom: D, the number of added dimensions: small is robust, large is `Gaussian`.
    """

    can = Can.STEP | Can.BRIDGE | Can.VELOCITY | Can.AFFINE

    def __init__(self, schedule: Schedule, freedom: float) -> None:
        super().__init__(schedule)
        if not (freedom > 0 and math.isfinite(freedom)):
            raise InputError(f"freedom D must be positive and finite, but is {freedom}")
        self.freedom = float(freedom)

    def extra_repr(self) -> str:
        return f"{self.schedule!r}, freedom={self.freedom:g}"

    def prior(self, like: Any) -> StudentT:  # type: ignore[override]
        blank = apply(like, torch.zeros_like)
        return self.marginal(blank, torch.ones((), dtype=torch.float64))

    def marginal(self, x0: Any, t: Time) -> StudentT:  # type: ignore[override]
        mean = x0 * expand(x0, self.alpha(t))
        return StudentT(mean, expand(x0, self.sigma(t)), self.freedom)

    def _step(self, t: Time, s: Time) -> Step:
        t, s = one_clock(t), one_clock(s)
        rest, sigma = s == t, self.sigma(t)
        keep = torch.where(rest, 1.0, self.sigma(s) / torch.where(sigma > 0, sigma, 1.0))
        data = torch.where(rest, 0.0, self.alpha(s) - keep * self.alpha(t))
        return Step(data, keep, torch.zeros_like(keep))

    def score(self, q: Any, x: Any, t: Time) -> Any:
        raise self._lacks("SCORE")


def pfgmpp(freedom: float = 2048, sigma_max: float = 80.0) -> HeavyTailed:
    """`HeavyTailed(EDM(sigma_max), freedom)`; D = 2048 is the best of Xu et al. on CIFAR-10."""
    return HeavyTailed(EDM(sigma_max), freedom)
