"""Discrete processes over any kernel, with both published reverse forms."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Can, Categorical, Implicit, InputError, Law, Process
from sfumato.process import odds_clock
from sfumato.state import Time, apply

from .kernels import Kernel

__all__ = ["Discrete", "JointDiscrete", "Ratios"]


class Ratios(Categorical):
    """A posterior that was given as ratios p_t(y)/p_t(x).

    Args:
        probs: the posterior that they amount to.
        ratios: (..., K), 1 at the token that is seen.
    """

    __slots__ = ("ratios",)

    def __init__(self, probs: Any, ratios: Any) -> None:
        super().__init__(probs=probs)
        self.ratios = ratios


class Discrete(Process):
    """Tokens noised independently by a Markov chain; the state holds ids (long).

    Bridge: q(x_s | x_0, x_t) = T(s->t)[x_s, x_t] T(0->s)[x_0, x_s] / T(0->t)[x_0, x_t].
    Transition: that bridge averaged over the posterior of x_0 (Austin et al. 2021,
    arXiv:2107.03006, section 3.1, in its exact form): p(x_s | x_t) is proportional to
    T(s->t)[x_s, x_t] sum_{x_0} w(x_0) T(0->s)[x_0, x_s] with w = p(x_0 | x_t) / T(0->t)[x_0, x_t].

    Args:
        kernel: the chain.
    """

    can = Can.STEP | Can.BRIDGE | Can.LIKELIHOOD
    accepts: ClassVar[tuple[type[Law], ...]] = (Categorical, Implicit)

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self.kernel = kernel

    def extra_repr(self) -> str:
        return repr(self.kernel)

    def clock(self, t: Time) -> Tensor:
        return odds_clock(1 - self.kernel.kept(_one_clock(t)))

    def prior(self, like: Any) -> Categorical:
        law = self.kernel.limit()
        return Categorical(probs=apply(_ids(like), lambda i: law.expand(*i.shape, len(law))))

    def marginal(self, x0: Any, t: Time) -> Categorical:
        u = _one_clock(t)
        return Categorical(probs=self.kernel.rows(_ids(x0), torch.zeros_like(u), u))

    def bridge(self, x0: Any, x: Any, t: Time, s: Time, row: Any = None) -> Categorical:
        v = _one_clock(s)
        return self._reverse(self.kernel.rows(x0, torch.zeros_like(v), v), x, t, v)

    def transition(self, q: Any, x: Any, t: Time, s: Time, row: Any = None) -> Law:
        if isinstance(q, Implicit):
            return super().transition(q, x, t, s, row)
        u, v = _one_clock(t), _one_clock(s)
        seen = self.kernel.columns(x, torch.zeros_like(u), u)
        likely = apply(q.probs, _ratio, seen)
        return self._reverse(self.kernel.push(likely, torch.zeros_like(v), v), x, u, v)

    def ratios(self, q: Any, x: Any, t: Time) -> Any:
        """p_t(y)/p_t(x) for every class y at each place, the others held: (..., K), 1 at y = x.

        sum over x_0 of p(x_0 | x) T(0->t)[x_0, y]/T(0->t)[x_0, x]: the "concrete score" (Lou et al.
        2023, arXiv:2310.16834, eq. 4) of a posterior, or what `Ratios` hold. Where y cannot turn
        into x, as from one token to another without the mask, a posterior does not tell the ratio.
        """
        if isinstance(q, Ratios):
            return q.ratios
        u = _one_clock(t)
        seen = self.kernel.columns(x, torch.zeros_like(u), u)
        return self.kernel.push(apply(q.probs, _ratio, seen), torch.zeros_like(u), u)

    def rates(self, q: Any, x: Any, t: Time) -> Any:
        """Rates of the reversed chain from x to every class at each place: (..., K), 0 at x.

        R_t(y -> x) p_t(y)/p_t(x) (Campbell et al. 2022, arXiv:2205.14987, proposition 1). Times are
        taken to be at most 1 - 1e-6, beyond which rates may be infinite.

        Raises:
            Unsupported: if the kernel is no chain in continuous time.
        """
        u = _one_clock(t).clamp(max=1 - 1e-6)
        flow = self.kernel.inflow(x, u)

        def rate(r: Tensor, c: Tensor, i: Tensor) -> Tensor:
            return (r * c).scatter(-1, i[..., None], 0.0)

        return apply(self.ratios(q, x, u), rate, flow, x)

    def _reverse(self, at_s: Any, x: Any, t: Time, s: Tensor) -> Categorical:
        """T(s->t)[., x] times an unnormalised law at s, normalised."""
        column = self.kernel.columns(x, s, _one_clock(t))
        return Categorical(probs=apply(at_s, _product, column))


class JointDiscrete(Discrete):
    """The same chain with the joint reverse form, T(s->t)[x_s, x_t] (p T(0->s))[x_s].

    The form of D3PM's released code, sum over x_0 of q(x_s, x_t | x_0) p(x_0 | x_t). It equals
    `Discrete` for absorbing kernels and differs from it for all others: what its denoiser has to
    return is not the posterior but p(x_0 | x_t) / q(x_t | x_0), normalised. A network trained for
    one form is wrong for the other.
    """

    def transition(self, q: Any, x: Any, t: Time, s: Time, row: Any = None) -> Law:
        if isinstance(q, Implicit):
            return Process.transition(self, q, x, t, s, row)
        v = _one_clock(s)
        pushed = self.kernel.push(apply(q.probs, Tensor.double), torch.zeros_like(v), v)
        return self._reverse(pushed, x, t, v)

    def ratios(self, q: Any, x: Any, t: Time) -> Any:
        """(p T(0->t))[y] / (p T(0->t))[x]."""
        if isinstance(q, Ratios):
            return q.ratios
        u = _one_clock(t)
        pushed = self.kernel.push(apply(q.probs, Tensor.double), torch.zeros_like(u), u)
        return apply(pushed, lambda p, i: _ratio(p, p.gather(-1, i[..., None])), x)


def _ratio(p: Tensor, seen: Tensor) -> Tensor:
    """P / seen, 0 where x_t cannot come from that x_0 whatever the denoiser says."""
    possible = seen > 0
    return torch.where(possible, p.double() / torch.where(possible, seen, 1.0), 0.0)


def _product(law: Tensor, column: Tensor) -> Tensor:
    """Law * column, normalised; where the denoiser excludes all that is possible, the column."""
    joint = law * column
    total = joint.sum(-1, keepdim=True)
    joint = torch.where(total > 0, joint, column)
    return joint / torch.where(total > 0, total, column.sum(-1, keepdim=True))


def _one_clock(t: Time) -> Tensor:
    if not isinstance(t, Tensor):
        raise InputError("a discrete process has one clock, but was given a mapping of times")
    return t.double()


def _ids(x: Any) -> Any:
    def check(i: Tensor) -> Tensor:
        if i.dtype != torch.long:
            raise InputError(f"a discrete state holds ids of dtype long, but this one is {i.dtype}")
        return i

    return apply(x, check)
