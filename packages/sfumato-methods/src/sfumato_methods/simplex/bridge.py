r"""The law of x_s given the class at 0 and x_t, drawn exactly.

Of the process of `sfumato_methods.simplex.process`, with n lines from s to 0 and m from t to s, l_j
of them in class j,

    p(x_s | x_0 = k, x_t) = sum over (n, m, l) of w(n, m, l) Dirichlet(x_s; 1 + n e_k + l)
    w = q_n(s) q_m(t - s) Multinomial(l; m, .) ..., that is, proportional to
    q_n q_m (n + K - 1)!/n! m! (m + K - 1)!/(n + m + K - 1)! (n + l_k)!/(l_k!)^2 x_k^l_k
        prod_{j != k} x_j^l_j/l_j!

which is drawn as (m, l_k), then n, then the other l_j, a multinomial. It follows from the mixture
of `lineages` for p(x_t | x_s) by Bayes' rule, and is integrated over x_s in closed form.
"""

from __future__ import annotations

import functools
import math

import torch
from scipy.special import gammaincinv, gammaln
from torch import Tensor
from torch.nn import functional as F

from sfumato import InputError

from .lineages import lines

__all__ = ["bridged"]

_MOST = 10_000
_CHUNK = 1 << 17  # numbers of a table looked at together: 1 MB


def bridged(ids: Tensor, x: Tensor, late: Tensor, early: Tensor, u: Tensor, k: int) -> Tensor:
    """Draw x_s at every place.

    Args:
        ids: (...) classes.
        x: (..., K) points at the later time.
        late: times tau of t, that broadcast to the places.
        early: times tau of s, likewise.
        u: (..., 2 K + 2) uniform numbers.
        k: K.

    Returns:
        (..., K); `x` where the times are equal, a vertex where the earlier is 0.
    """
    shape = (late + early).shape
    pairs = torch.stack([late.expand(shape), early.expand(shape)], -1).cpu()
    distinct, which = torch.unique(pairs.reshape(-1, 2), dim=0, return_inverse=True)
    which = which.reshape(pairs.shape[:-1]).expand(ids.shape).flatten().to(ids.device)
    flat_ids, flat_x, flat_u = ids.flatten(), x.reshape(-1, k), u.reshape(-1, 2 * k + 2)
    out = flat_x.clone()
    for index, (end, begin) in enumerate(distinct.tolist()):
        places = (which == index).nonzero()[:, 0]
        if end == begin or not len(places):
            continue
        if begin == 0:
            vertex = F.one_hot(flat_ids[places], k)
            out[places] = vertex.to(out)
            continue
        table = _table(k, end, begin)
        for part in places.split(max(1, _CHUNK // len(table[0]))):
            drawn = _drawn(flat_ids[part], flat_x[part].double(), flat_u[part], k, table)
            out[part] = drawn.to(out)
    return out.reshape(x.shape)


@functools.lru_cache(maxsize=8)
def _table(k: int, end: float, begin: float) -> tuple[Tensor, ...]:
    """All (m, l_k) that count, J of them, and what is known of n for each.

    Returns:
        m and l_k (J,), log of their weights without x (J,), n (N,), and the distribution function
        of n for each pair (J, N).
    """
    gap = torch.tensor(end - begin, dtype=torch.float64)
    first, many = lines(k, gap)
    m = (first + torch.arange(len(many)))[many > 1e-14]
    many = many[many > 1e-14]
    if float(m.max()) > _MOST:
        raise InputError(
            f"a step from t = {-math.expm1(-end):.9g} to {-math.expm1(-begin):.9g} is too short to "
            "be drawn exactly; take fewer steps, or the sampler Dilated()"
        )
    first, few = lines(k, torch.tensor(begin, dtype=torch.float64))
    n = (first + torch.arange(len(few)))[few > 1e-25]
    few = few[few > 1e-25]
    repeats = m.long() + 1
    row = torch.repeat_interleave(torch.arange(len(m)), repeats)
    own = torch.arange(len(row)) - torch.repeat_interleave(repeats.cumsum(0) - repeats, repeats)
    m, log_m, own = m[row], many.log()[row], own.double()
    by_n = (
        few.log() + _gamma(n + k) - _gamma(n + 1)
        + _gamma(n + own[:, None] + 1) - _gamma(n + m[:, None] + k)
    )  # fmt: skip
    weight = by_n.logsumexp(-1) + log_m + _gamma(m + 1) + _gamma(m + k)
    weight = weight - _gamma(m - own + 1) - 2 * _gamma(own + 1)
    by_n = (by_n - by_n.amax(-1, keepdim=True)).exp().cumsum(-1)
    return m, own, weight, n, by_n / by_n[:, -1:]


def _drawn(ids: Tensor, x: Tensor, u: Tensor, k: int, table: tuple[Tensor, ...]) -> Tensor:
    """(R, K) points drawn from (R,) classes, (R, K) points and (R, 2 K + 2) uniform numbers."""
    m, own, weight, n, by_n = (v.to(x.device) for v in table)
    here = F.one_hot(ids, k).bool()
    rest = x.masked_fill(here, 0.0)
    mass = rest.flip(-1).cumsum(-1).flip(-1)  # of this class and those behind it
    log_own = x.gather(1, ids[:, None]).clamp_min(1e-300).log()
    log_rest = mass[:, :1].clamp_min(1e-300).log()
    score = torch.addcmul(weight, own, log_own).addcmul_(m - own, log_rest)
    joint = score.sub_(score.amax(-1, keepdim=True)).exp_().cumsum(-1)
    pick = _first(joint, u[:, :1] * joint[:, -1:])
    left, counts = (m - own)[pick], []
    for j in range(k):
        share = torch.where(mass[:, j] > 0, rest[:, j] / mass[:, j].clamp_min(1e-300), 0.0)
        counts.append(_binomial(left, share, u[:, 2 + j]))
        left = left - counts[-1]
    to_class = n[_first(by_n[pick], u[:, 1:2])] + own[pick]
    shape = 1 + torch.where(here, to_class[:, None], torch.stack(counts, -1))
    uniform = u[:, 2 + k :].clamp(1e-300, 1 - 2.0**-53)
    gamma = torch.from_numpy(gammaincinv(shape.cpu().numpy(), uniform.cpu().numpy())).to(x)
    gamma = gamma.clamp_min(1e-300)
    return gamma / gamma.cumsum(-1)[:, -1:]


def _binomial(count: Tensor, share: Tensor, u: Tensor) -> Tensor:
    """Numbers of successes among `count` at probability `share`, by inversion."""
    most = int(count.max()) if len(count) else 0
    if most == 0:
        return torch.zeros_like(count)
    factorial = _gamma(torch.arange(1, most + 2, dtype=torch.float64)).to(u.device)
    i = torch.arange(most + 1, device=u.device)
    n = count.long()[:, None]
    log_p = factorial[n] - factorial[i] - factorial[(n - i).clamp_min(0)]
    log_p = log_p + i * share[:, None].clamp_min(1e-300).log()
    log_p = log_p + (n - i) * torch.log1p(-share[:, None].clamp(max=1 - 1e-16))
    p = torch.where(i <= n, log_p.exp(), 0.0).cumsum(-1)
    found = torch.minimum(_first(p, u[:, None] * p[:, -1:]).double(), count)
    return torch.where(share >= 1, count, found)


def _first(cumulative: Tensor, level: Tensor) -> Tensor:
    """Index of the first entry of each row that reaches the level (R, 1)."""
    found = torch.searchsorted(cumulative, level.contiguous())[:, 0]
    return found.clamp(max=cumulative.shape[-1] - 1)


def _gamma(v: Tensor) -> Tensor:
    return torch.from_numpy(gammaln(v.numpy()))
