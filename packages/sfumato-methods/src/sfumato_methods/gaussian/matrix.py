r"""Linear diffusions of coupled states: critically damped Langevin, ALDA, MALDA, learned ones.

du = A(t) u dt + B(t) dW with u = (x, v, v2, ...), each matrix entry times the identity of the data
(Singhal, Goldstein & Ranganath 2023, arXiv:2302.07261; Dockhorn, Vahdat & Kreis 2021,
arXiv:2112.07068). From s to t a state goes to N(Phi u, V) with

    exp \int [[A, B B^T], [0, -A^T]] = [[Phi, V Phi^-T], [0, Phi^-T]]

(Van Loan 1978), or by the series of dV/dh = A V + V A^T + B B^T, whose entries are exact however
short the step. Long times are built from short ones by doubling, V(2h) = V + Phi V Phi^T, so that
nothing grows and nothing cancels; square roots of covariances are combined by orthogonal
transformations, so that steps of any length and starts at t = 0 stay exact to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sfumato import InputError
from sfumato.laws import Space

from .phase import Phase

__all__ = [
    "LinearSDE",
    "MatrixDiffusion",
    "TimeVarying",
    "alda",
    "cld",
    "combined",
    "magnus",
    "malda",
    "paired",
    "right_solve",
]


class LinearSDE(Phase):
    """du = A(t) u dt + B(t) dW from (x_0, v_0), v_0 ~ N(0, start) integrated out.

    Args:
        start: variance of each velocity at t = 0, positive: K - 1 of them.
        space: subspace of the noise; None: all of it.

    Raises:
        InputError: where a covariance is not positive, so that noise does not reach every field.
    """

    start: Tensor

    def __init__(self, start: Sequence[float], space: Space | None = None) -> None:
        super().__init__(1 + len(start), space)
        if not all(value > 0 and math.isfinite(value) for value in start):
            raise InputError(f"variances at the start must be positive, but are {list(start)}")
        self.register_buffer("start", torch.tensor(start, dtype=torch.float64))

    def between(self, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(..., K, K) Phi and V of the law N(Phi u_s, V) of u_t, for s < t; float64."""
        raise NotImplementedError

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(..., K, K) A and B B^T at time t."""
        raise NotImplementedError

    def _diagonal(self, power: float) -> Tensor:
        return torch.diag(self.start.double() ** power)

    def moments(self, t: Tensor) -> tuple[Tensor, Tensor]:
        t = t.to(self.start.device)
        clean = t == 0
        phi, v = self.between(torch.zeros_like(t), torch.where(clean, 0.5, t))
        spread = phi[..., 1:] @ self._diagonal(0.5)
        factor = combined(spread, _factor(self, v))
        a = phi[..., 0]
        first = torch.zeros_like(a)
        first[..., 0] = 1.0
        ends = torch.diag(torch.cat([t.new_zeros(1), self.start.double().sqrt()]))
        where = clean[..., None]
        return torch.where(where, first, a), torch.where(where[..., None], ends, factor)

    def step(self, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        t, s = paired(t.to(self.start.device), s.to(self.start.device))
        rest, land = s == t, (s == 0) & (t > 0)
        plain = ~(rest | land)
        inner = self._inner(torch.where(plain, t, 0.7), torch.where(plain, s, 0.3))
        landing = self._landing(torch.where(land, t, 0.7))
        zero = [torch.zeros_like(column) for column in inner]
        eye = torch.eye(len(self.names), dtype=torch.float64, device=t.device).expand_as(inner[1])
        chosen = []
        for a, b, c in zip(inner, landing, (zero[0], eye, zero[2]), strict=True):
            shape = t.shape + (1,) * (a.ndim - t.ndim)
            ended = torch.where(land.reshape(shape), b, c)
            chosen.append(torch.where(plain.reshape(shape), a, ended))
        return chosen[0], chosen[1], chosen[2]

    def _inner(self, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The product of q(u_s | x_0) and q(u_t | u_s), in roots of their precisions."""
        phi, v = self.between(s, t)
        a, factor = self.moments(s)
        eye = torch.eye(len(self.names), dtype=torch.float64, device=t.device).expand_as(phi)
        first = torch.linalg.solve_triangular(factor, eye, upper=False)
        noise = _factor(self, v)
        second = torch.linalg.solve_triangular(noise, phi, upper=False)
        root = _information_factor(torch.cat([first, second], -2))
        covariance = root @ root.mT
        keep = right_solve(covariance @ second.mT, noise)
        data = covariance @ (first.mT @ (first @ a[..., None]))
        return data[..., 0], keep, root

    def _landing(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The law of (x_0, v_0) given x_0 and u_t: the velocities alone are not known."""
        phi, v = self.between(torch.zeros_like(t), t)
        size = len(self.names)
        data, keep = torch.zeros_like(phi[..., 0]), torch.zeros_like(phi)
        factor = torch.zeros_like(phi)
        data[..., 0] = 1.0
        if size == 1:
            return data, keep, factor
        noise = _factor(self, v)
        seen = torch.linalg.solve_triangular(noise, phi[..., 1:], upper=False)
        own = self._diagonal(-0.5).expand(*t.shape, size - 1, size - 1)
        root = _information_factor(torch.cat([own, seen], -2))
        gain = right_solve(root @ root.mT @ seen.mT, noise)
        data[..., 1:] = -(gain @ phi[..., :1])[..., 0]
        keep[..., 1:, :] = gain
        factor[..., 1:, 1:] = root
        return data, keep, factor

    def flow(self, t: Tensor) -> tuple[Tensor, Tensor]:
        t = t.to(self.start.device)
        drift, noise = self.coefficients(t)
        a, factor = self.moments(t)
        pull = 0.5 * right_solve(right_solve(noise, factor.mT, upper=True), factor)
        return -(pull @ a[..., None])[..., 0], drift + pull


class MatrixDiffusion(LinearSDE):
    """A = -beta(t) (D + Q) M^-1, B B^T = 2 beta(t) D: all linear SDEs that leave N(0, M) alone.

    D = R R^T is positive semi-definite, Q skew; beta(t) = beta_min + t (beta_max - beta_min).

    Args:
        damping: (K, K) lower triangular R.
        rotation: (K, K) skew Q.
        mass: (K,) the diagonal of M, the variances at the end.
        start: (K - 1,) variances of the velocities at t = 0.
        beta: rate of time, at its start and end.
        learn: whether R and Q are learned (through the bound, or through what denoises).
        space: subspace of the noise.

    Raises:
        InputError: for shapes that disagree, a Q that is not skew, or rates that are not positive.
    """

    mass: Tensor

    def __init__(
        self,
        damping: Sequence[Sequence[float]],
        rotation: Sequence[Sequence[float]],
        mass: Sequence[float],
        start: Sequence[float],
        beta: tuple[float, float],
        *,
        learn: bool = False,
        space: Space | None = None,
    ) -> None:
        super().__init__(start, space)
        root, skew = (torch.tensor(m, dtype=torch.float64) for m in (damping, rotation))
        size = len(self.names)
        if root.shape != (size, size) or skew.shape != (size, size) or len(mass) != size:
            raise InputError(
                f"{size - 1} velocities at the start make {size} x {size} matrices and {size} "
                f"masses, but damping is {tuple(root.shape)}, rotation {tuple(skew.shape)}, "
                f"mass ({len(mass)},)"
            )
        if not torch.equal(skew, -skew.mT) or not torch.equal(root, root.tril()):
            raise InputError("damping must be lower triangular and rotation skew")
        if min(*mass, *beta) <= 0:
            raise InputError(f"mass and beta must be positive, but are {mass} and {beta}")
        self.damping = nn.Parameter(root, requires_grad=learn)
        self.rotation = nn.Parameter(skew, requires_grad=learn)
        self.register_buffer("mass", torch.tensor(mass, dtype=torch.float64))
        self.beta = (float(beta[0]), float(beta[1]))

    def extra_repr(self) -> str:
        shown = [
            [[round(value, 4) + 0.0 for value in row] for row in matrix.tolist()]
            for matrix in (self.damping.detach(), self.rotation.detach())
        ]
        return f"damping={shown[0]}, rotation={shown[1]}, beta={self.beta}"

    def _matrices(self) -> tuple[Tensor, Tensor]:
        """A and B B^T at beta = 1."""
        root, skew = self.damping.double().tril(), self.rotation.double().tril(-1)
        both = root @ root.mT
        return -(both + skew - skew.mT) / self.mass.double(), 2 * both

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor]:
        drift, noise = self._matrices()
        beta = (self.beta[0] + t * (self.beta[1] - self.beta[0]))[..., None, None]
        return beta * drift, beta * noise

    def between(self, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        drift, noise = self._matrices()
        span = (t - s) * (self.beta[0] + 0.5 * (t + s) * (self.beta[1] - self.beta[0]))
        doublings = 0 if drift.is_meta else _doublings(drift.detach(), span.detach())
        phi, v = _short_step(drift, noise, span * 0.5**doublings)
        for _ in range(doublings):
            v = v + phi @ v @ phi.mT
            phi = phi @ phi
        return phi, v


class TimeVarying(LinearSDE):
    """Any A(t) and B B^T(t): the block matrix of the module, integrated by `magnus`.

    Exact where A and B B^T are cubic in t and commute with themselves, else of order 4 in the
    cells. Its exponentials grow with the norm of the integral of A: it is for norms up to some 10.

    Args:
        drift: maps times (...) to A, (..., K, K), float64.
        noise: maps times to B B^T, likewise.
        start: (K - 1,) variances of the velocities at t = 0.
        cells: number of cells between any two times.
        space: subspace of the noise.
    """

    def __init__(
        self,
        drift: Callable[[Tensor], Tensor],
        noise: Callable[[Tensor], Tensor],
        start: Sequence[float],
        cells: int = 64,
        space: Space | None = None,
    ) -> None:
        super().__init__(start, space)
        if cells < 1:
            raise InputError(f"cells must be at least 1, but are {cells}")
        self.drift, self.noise, self.cells = drift, noise, cells

    def extra_repr(self) -> str:
        names = (getattr(f, "__qualname__", type(f).__name__) for f in (self.drift, self.noise))
        return f"{', '.join(names)}, cells={self.cells}"

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return self.drift(t), self.noise(t)

    def between(self, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        length = (t - s)[..., None, None]

        def rate(share: float) -> Tensor:
            return length * _block(*self.coefficients(s + share * (t - s)))

        total = magnus(rate, self.cells)
        phi = total[..., : len(self.names), : len(self.names)]
        return phi, total[..., : len(self.names), len(self.names) :] @ phi.mT


def magnus(rate: Callable[[float], Tensor], cells: int) -> Tensor:
    """The solution operator of dz/dr = X(r) z from r = 0 to 1 by the Magnus series of order 4.

    Args:
        rate: maps r in [0, 1] to X(r), (..., n, n).
        cells: number of equal cells; each takes the exponential of (X_1 + X_2)/(2 c) +
            3^(1/2) [X_2, X_1]/(12 c^2) with X at its two Gauss points (Blanes et al. 2009,
            arXiv:0810.5488, section 5.3).
    """
    total: Tensor | None = None
    for cell in range(cells):
        one, two = (rate((cell + place) / cells) for place in _GAUSS)
        turn = (two @ one - one @ two) * (math.sqrt(3) / (12 * cells * cells))
        moved = torch.linalg.matrix_exp((one + two) * (0.5 / cells) + turn)
        total = moved if total is None else moved @ total
    assert total is not None
    return total


_SHORT, _TERMS = 0.25, 18  # norm of A h up to which the series is taken; its terms, 1e-18 after
_GAUSS = (0.5 - math.sqrt(3) / 6, 0.5 + math.sqrt(3) / 6)


def _doublings(drift: Tensor, span: Tensor) -> int:
    reach = float(drift.abs().sum(-1).max() * span.max()) if span.numel() else 0.0
    return max(0, math.ceil(math.log2(max(reach, 1e-300) / _SHORT)))


def _block(drift: Tensor, noise: Tensor) -> Tensor:
    """[[A, B B^T], [0, -A^T]]."""
    above = torch.cat([drift, noise], -1)
    return torch.cat([above, torch.cat([torch.zeros_like(drift), -drift.mT], -1)], -2)


def _short_step(drift: Tensor, noise: Tensor, span: Tensor) -> tuple[Tensor, Tensor]:
    """Phi and V by their Taylor series, for spans h with |A| h <= 1/4."""
    phis, vs = [torch.eye(len(drift)).to(drift)], [torch.zeros_like(noise), noise]
    for k in range(1, _TERMS):
        phis.append(drift @ phis[-1] / k)
        vs.append((drift @ vs[-1] + vs[-1] @ drift.mT) / (k + 1))
    powers = span[..., None] ** torch.arange(_TERMS + 1).to(span)
    phi = torch.einsum("...n,nij->...ij", powers[..., :-1], torch.stack(phis))
    return phi, torch.einsum("...n,nij->...ij", powers, torch.stack(vs))


def _factor(process: LinearSDE, v: Tensor) -> Tensor:
    """The lower Cholesky factor of a covariance, its rows scaled to unit variance first."""
    scale = v.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt()
    some = torch.where(scale > 0, scale, 1.0)
    factor, wrong = torch.linalg.cholesky_ex(v / (some[..., None] * some[..., None, :]))
    if not wrong.is_meta and bool((wrong > 0).any()):
        raise InputError(
            f"{process}: the covariance of a step is not positive, so that noise does not reach "
            "every field; give D more rank, or a Q that couples the fields without noise"
        )
    scaled: Tensor = factor * some[..., None]
    return scaled


def combined(first: Tensor, second: Tensor) -> Tensor:
    """The lower factor of first first^T + second second^T."""
    return _triangle(torch.cat([first, second], -1).mT).mT


def _information_factor(root: Tensor) -> Tensor:
    """The lower factor of (root^T root)^-1, root being of full column rank."""
    upper = _triangle(root.flip(-1))
    eye = torch.eye(upper.shape[-1], dtype=upper.dtype, device=upper.device).expand_as(upper)
    inverse: Tensor = torch.linalg.solve_triangular(upper, eye, upper=True).flip(-1, -2)
    return inverse


def _triangle(rows: Tensor) -> Tensor:
    """The upper triangle of the QR decomposition, its diagonal positive."""
    upper: Tensor = torch.linalg.qr(rows, mode="reduced")[1]
    sign = upper.detach().diagonal(dim1=-2, dim2=-1).sign()
    return upper * torch.where(sign < 0, -1.0, 1.0)[..., None]


def paired(t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Two times of one shape."""
    return t + 0 * s, s + 0 * t


def right_solve(x: Tensor, factor: Tensor, upper: bool = False) -> Tensor:
    """The product of x and the inverse of a triangular factor."""
    solved: Tensor = torch.linalg.solve_triangular(factor, x, upper=upper, left=False)
    return solved


def cld(learn: bool = False) -> MatrixDiffusion:
    """Critically damped Langevin: x and v, noise on v alone, Gamma^2 = 4 M.

    Dockhorn, Vahdat & Kreis 2021, arXiv:2112.07068, section 5: beta = 4, M = 1/4, Gamma = 1,
    v_0 ~ N(0, 0.04 M).
    """
    return MatrixDiffusion(
        [[0, 0], [0, 1]], [[0, -1], [1, 0]], [1, 0.25], [0.01], (4, 4), learn=learn
    )


def alda(learn: bool = False) -> MatrixDiffusion:
    """Accelerated Langevin of third order: noise on the last of x, v, v2 alone.

    Q = [[0, -1, 0], [1, 0, -g], [0, g, 0]], D = diag(0, 0, xi) (Mou et al. 2019,
    arXiv:1908.10859), here with g = 8^(1/2) and xi = 27^(1/2): all eigenvalues are then -3^(1/2).
    """
    return _third(0.0, learn)


def malda(learn: bool = False) -> MatrixDiffusion:
    """`alda` with noise on all three fields: D = diag(1, 1, xi).

    Modified ALDA (Singhal et al. 2023, arXiv:2302.07261) keeps Q and adds noise to each row; its
    strengths there are not 1.
    """
    return _third(1.0, learn)


def _third(other: float, learn: bool) -> MatrixDiffusion:
    g, last = math.sqrt(8), math.sqrt(math.sqrt(27))
    return MatrixDiffusion(
        [[other, 0, 0], [0, other, 0], [0, 0, last]],
        [[0, -1, 0], [1, 0, -g], [0, g, 0]],
        [1, 1, 1],
        [0.04, 0.04],
        (6, 6),
        learn=learn,
    )
