r"""Wright-Fisher diffusion of classes on the simplex.

    dx = (1/K)(1 - K x) dtau + (2/K)^(1/2) (diag(x) - x x^T)^(1/2) dW,    tau = -log(1 - t)

from the vertex of a class to the flat Dirichlet law, with E[x_t | x_0 = k] = (1 - t) e_k + t/K.
Broken like a stick with k first, it is the Jacobi diffusion of Avdeyev et al. (2023,
arXiv:2305.10699) in the coordinate of k, at their balanced speed s = 2/K; the other
coordinates are (1 - x_k) times an independent flat Dirichlet law, as they draw them for speed.
Unlike independent diffusions of all sticks, which give these laws only in the order that puts the
class first, this is one process that treats all classes alike.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato import Can, Categorical, Implicit, InputError, Law, Process, expand, random
from sfumato.denoiser import NetworkDenoiser
from sfumato.random import Source
from sfumato.state import Time, apply, item_sum

from .bridge import bridged
from .evidence import Series, series
from .lineages import lines

__all__ = ["Point", "Simplex", "SimplexDenoiser"]


class Point(Law):
    """The law of x_t of independent places, given their classes.

    Args:
        ids: state (...) of classes, long.
        tau: times, from `expand`.
        classes: K.
    """

    __slots__ = ("classes", "ids", "tau")

    def __init__(self, ids: Any, tau: Tensor, classes: int) -> None:
        self.ids, self.tau, self.classes = ids, tau, classes

    def sample(self, generator: Source) -> Any:
        """One n of q_n at each place, then Dirichlet(1 + n e_k), by 2 K exponentials."""
        k = self.classes
        noise = random.exponential(apply(self.ids, _wide(2 * k)), generator)
        first, q = lines(k, self.tau)

        def place(ids: Tensor, noise: Tensor) -> Tensor:
            count = first.to(ids.device) + _picked(q, torch.exp(-noise[..., 0]))
            powers = count[..., None] + torch.arange(1, k, device=ids.device)
            log_top = -(noise[..., 1:k] / powers).cumsum(-1)[..., -1:]
            own = F.one_hot(ids, k).bool()
            rest = noise[..., k:].masked_fill(own, 0.0)
            total = rest.cumsum(-1)[..., -1:].clamp_min(1e-300)  # 0 only where padded
            rest = rest / total * -torch.expm1(log_top)
            still = (self.tau == 0)[..., None].to(ids.device)
            return torch.where(still, own.double(), torch.where(own, log_top.exp(), rest))

        return apply(self.ids, place, noise)

    def nll(self, x: Any) -> Tensor:
        """Against the measure of K - 1 coordinates; infinite at t = 0."""
        h, flat = series(self.classes, self.tau), math.lgamma(self.classes)

        def place(x: Tensor, ids: Tensor) -> Tensor:
            return -h.log(x.gather(-1, ids[..., None]))[..., 0] - flat

        return item_sum(apply(x, place, self.ids))


class Simplex(Process):
    """Classes noised on the simplex, each place by itself: see the module.

    Data are ids (long, of any shape); the state has points (..., K) of the simplex in float64, and
    `project` takes the largest coordinate. A denoiser returns p(x_0 | x_t) of each place
    (`Categorical`), trained by cross-entropy; the score is the posterior mean of the scores of
    known classes,

        d log p_t/dx_k = p(x_0 = k | x_t) h'(x_k)/h(x_k),

    so that the exact posterior gives the exact score, and no network has to learn its divergence.
    A constraint (`Known`) takes a mask (..., 1), a number for each place.

    Args:
        classes: K, at least 2.
    """

    can = Can.STEP | Can.BRIDGE | Can.VELOCITY | Can.SCORE
    accepts: ClassVar[tuple[type[Law], ...]] = (Categorical, Implicit)

    def __init__(self, classes: int) -> None:
        super().__init__()
        if classes < 2:
            raise InputError(f"a simplex has at least 2 classes, not {classes}")
        self.classes = classes

    def extra_repr(self) -> str:
        return str(self.classes)

    def prior(self, like: Any) -> Point:
        ids = apply(self.project(like), torch.zeros_like)  # it is the same for all classes
        return Point(ids, torch.tensor(torch.inf, dtype=torch.float64), self.classes)

    def marginal(self, x0: Any, t: Time) -> Point:
        return Point(self._ids(x0), self._tau(x0, t), self.classes)

    def bridge(self, x0: Any, x: Any, t: Time, s: Time, row: Any = None) -> Law:
        """The exact law, by the lines that join the classes at 0, x_s and x_t; it only draws.

        Raises:
            InputError: in `sample`, for steps so short that there are more than 10,000 lines.
        """
        late, early, k = self._tau(x0, t), self._tau(x0, s), self.classes

        def draw(generator: Source) -> Any:
            u = random.exponential(apply(x0, _wide(2 * k + 2)), generator)
            return apply(x0, lambda i, v, e: bridged(i, v, late, early, torch.exp(-e), k), x, u)

        return Implicit(draw)

    def score(self, q: Any, x: Any, t: Time) -> Any:
        h = self.evidence(x, t)
        return apply(x, lambda v, p: (h.ratio(v) * p).to(v.dtype), q.mean)

    def velocity(self, q: Any, x: Any, t: Time, row: Any = None) -> Any:
        """-(1/K)(diag(x) - x x^T) score/(1 - t): the flow of a flat limit has no other term."""
        u = _clock(t).clamp(max=1 - 1e-9)
        h, rate = self.evidence(x, u), self._aligned(x, 1 / ((1 - u) * self.classes))

        def field(v: Tensor, p: Tensor) -> Tensor:
            pull = h.expected(v) * p
            share = v / v.sum(-1, keepdim=True)
            out = (share * pull.sum(-1, keepdim=True) - pull) * rate[..., None].to(v.device)
            return out.to(v.dtype)

        return apply(x, field, q.mean)

    def evidence(self, x: Any, t: Time) -> Series:
        """Likelihoods of places: `log(x)` is log p(x_t | x_0 = k) for each k, up to a constant."""
        return series(self.classes, self._tau(x, t))

    def project(self, x: Any) -> Any:
        return apply(x, lambda v: v.argmax(-1) if v.is_floating_point() else v)

    def _ids(self, x0: Any) -> Any:
        def check(i: Tensor) -> Tensor:
            if i.dtype != torch.long:
                raise InputError(f"data of {self} are ids of dtype long, but these are {i.dtype}")
            return i

        return apply(x0, check)

    def _tau(self, x: Any, t: Time) -> Tensor:
        return self._aligned(x, -torch.log1p(-_clock(t)))

    def _aligned(self, x: Any, value: Tensor) -> Tensor:
        """A coefficient in float64, shaped like the places of a state."""
        places = apply(x, lambda v: v[..., 0].long() if v.is_floating_point() else v)
        found: Tensor = expand(places, value)
        return found if value.ndim else value


class SimplexDenoiser(NetworkDenoiser):
    """A network over what each place says of itself, as a denoiser.

    By Bayes' rule p(x_0 | x_t) depends on x_t and t through the likelihoods h(x_k) alone. So the
    network is shown softmax(log h), the posterior (..., K) of each place by itself, besides the
    clock, and what it returns is added to log h: it only has to say what the other places tell.
    """

    process: Simplex

    def forward(self, x: Any, t: Time) -> Categorical:
        log_h = apply(x, self.process.evidence(x, t).log)
        told = self.output(apply(log_h, lambda v: v.softmax(-1)), t)
        return Categorical(logits=apply(told, lambda out, v: out.double() + v, log_h))


def _clock(t: Time) -> Tensor:
    if not isinstance(t, Tensor):
        raise InputError("a simplex has one clock, but was given a mapping of times")
    return t.double()


def _wide(count: int) -> Any:
    """Maps ids (...) to a blank (..., count)."""
    return lambda i: i.new_empty((*i.shape, count), dtype=torch.float64)


def _picked(q: Tensor, u: Tensor) -> Tensor:
    """Which entry of q (..., N) each uniform number u takes, as a float."""
    cumulative = q.cumsum(-1).to(u.device)
    if q.ndim > 1 and q.shape[1:-1].numel() == 1 and u.ndim > 1:  # a time for each item
        cumulative = cumulative.reshape(len(q), -1)
        found = torch.searchsorted(cumulative.expand(len(u), -1).contiguous(), u.flatten(1))
        return found.reshape(u.shape).clamp(max=q.shape[-1] - 1).double()
    if q.ndim > 1:
        cumulative = cumulative.expand(*u.shape, -1).contiguous()
        found = torch.searchsorted(cumulative, u[..., None].contiguous())[..., 0]
    else:
        found = torch.searchsorted(cumulative, u.contiguous())
    return found.clamp(max=q.shape[-1] - 1).double()
