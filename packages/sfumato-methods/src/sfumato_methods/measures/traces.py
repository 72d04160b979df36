"""Divergence of a vector field on states: the trace of its Jacobian, exact or from probes.

All rules ask for products u^T J with rows u, by reverse-mode differentiation, so that they serve
whatever autograd can differentiate. Items are taken to be independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from sfumato import InputError, Unsupported, random
from sfumato.laws import Space
from sfumato.random import Source
from sfumato.state import apply, item_count

from .layout import Rows, values

__all__ = [
    "Exact", "HutchPP", "Hutchinson", "Products", "Trace", "divergence", "standard_error",
]  # fmt: skip


class Products:
    """Products with the transposed Jacobian A = P J^T P of a field at a state.

    Args:
        x: where, its tensors leaves that the field was computed from.
        field: the field at x, with its graph.
        space: whose projection P is; None: P = I.

    Attributes:
        like: x, without its graph.
        rows: its layout.
        free: (B,) numbers of each item, or dimensions of its subspace, float64.

    Raises:
        Unsupported: if the field does not depend on x in a way that autograd knows.
    """

    def __init__(self, x: Any, field: Any, space: Space | None = None) -> None:
        self.like = apply(x, torch.detach)
        self.rows = Rows(self.like)
        self._inputs, self._outputs = values(x), values(field)
        self._space = space
        self.free = item_count(self.like) if space is None else space.dims(self.like)
        if not any(v.requires_grad for v in self._outputs):
            raise Unsupported(
                "the divergence needs a field that autograd can differentiate, but this one was "
                "computed without a graph; call the network outside of no_grad and inference_mode"
            )

    def __call__(self, u: Tensor, chunk: int) -> Tensor:
        """(P, B, D) products A u of the rows u (P, B, D), `chunk` of them at a time."""
        if not u.numel():
            return u
        return torch.cat([self._pulled(part) for part in torch.split(u, chunk)])

    def _pulled(self, u: Tensor) -> Tensor:
        batched = len(u) > 1
        u = self.project(u)
        parts = self.rows.tensors(u if batched else u[0])
        pairs = [(o, v) for o, v in zip(self._outputs, parts, strict=True) if o.requires_grad]
        found = torch.autograd.grad(
            [o for o, _ in pairs],
            self._inputs,
            [v.to(o) for o, v in pairs],
            retain_graph=True,
            is_grads_batched=batched,
            allow_unused=True,
            materialize_grads=True,
        )
        pulled = self.rows.of(*found)
        return self.project(pulled if batched else pulled[None])

    def project(self, u: Tensor) -> Tensor:
        """(P, B, D) rows projected onto the subspace."""
        if self._space is None:
            return u
        states = [self._space.project(self.rows.state(row)) for row in u]
        return torch.stack([self.rows.of(*values(state)) for state in states])


class Trace(Protocol):
    """A rule that estimates the trace of each item's Jacobian."""

    @property
    def exact(self) -> bool:
        """Whether its estimates have no error."""

    def __call__(self, products: Products, generator: Source | None) -> Tensor:
        """(B, P) estimates, float64: their mean over P is the estimate, their spread its error."""


@dataclass(frozen=True)
class Exact:
    """The trace itself: sum_j e_j^T J e_j, D products an item; draws nothing.

    Args:
        chunk: products at a time; memory is that of so many backward passes. With 1 each is a
            backward pass of its own, for networks that `torch.vmap` cannot batch.
    """

    chunk: int = 32

    exact: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _at_least(self, chunk=(self.chunk, 1))

    def __call__(self, products: Products, generator: Source | None) -> Tensor:
        rows = products.rows
        total = torch.zeros(rows.items, dtype=torch.float64, device=values(products.like)[0].device)
        for first in range(0, rows.size, self.chunk):
            count = min(self.chunk, rows.size - first)
            basis = values(products.like)[0].new_zeros(count, rows.items, rows.size)
            basis[torch.arange(count), :, first + torch.arange(count)] = 1
            pulled = products(basis, self.chunk)
            total += (pulled.double() * basis.double()).sum((0, 2))
        return total[:, None]


@dataclass(frozen=True)
class Hutchinson:
    """E e^T J e over probes e of unit covariance (Hutchinson 1990; Grathwohl et al. 2018).

    arXiv:1810.01367. With signs ("rademacher") the variance is that of the off-diagonal numbers
    alone, and a multiple of the identity costs none; with normal probes it is more.

    Args:
        probes: number of probes, one product each.
        noise: law of the probes.
        chunk: see `Exact`.
    """

    probes: int = 1
    noise: Literal["rademacher", "gaussian"] = "rademacher"
    chunk: int = 32

    exact: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _at_least(self, probes=(self.probes, 1), chunk=(self.chunk, 1))
        if self.noise not in ("rademacher", "gaussian"):
            raise InputError(f"Hutchinson: noise is rademacher or gaussian, not {self.noise!r}")

    def __call__(self, products: Products, generator: Source | None) -> Tensor:
        e = _drawn(self, products, self.probes, self.noise == "rademacher", generator)
        return _forms(e, products(e, self.chunk))


@dataclass(frozen=True)
class HutchPP:
    """Hutch++: exact on a sketched range, probed on the rest.

    With A S = Q R for k random columns S, A = J^T and C = I - Q Q^T, the trace of A is that of
    Q^T A Q, which is exact, and that of C A C, by k probes; unbiased, and exact where the rank of J
    is at most k (Meyer et al. 2020, arXiv:2010.09649, algorithm 1). The probes here are uniform on
    a sphere in the range of C, of squared radius tr C: a multiple of the identity, which every
    velocity has, then costs no variance; with signs or normal probes it would.

    Args:
        products: number of products, 3 k.
        chunk: see `Exact`.
    """

    products: int = 12
    chunk: int = 32

    exact: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _at_least(self, products=(self.products, 3), chunk=(self.chunk, 1))
        if self.products % 3:
            raise InputError(f"HutchPP: products must be a multiple of 3, not {self.products}")

    def __call__(self, products: Products, generator: Source | None) -> Tensor:
        count = self.products // 3
        # normal columns: of signs two may be alike, and the range would be left to rounding
        sketch = _drawn(self, products, count, False, generator)
        image = products(sketch, self.chunk).permute(1, 2, 0)
        range_ = torch.linalg.qr(image.double())[0].to(image)  # (B, D, k)
        q = range_.permute(2, 0, 1).contiguous()
        known = _forms(q, products(q, self.chunk)).sum(1, keepdim=True)
        e = products.project(_drawn(self, products, count, False, generator)).permute(1, 2, 0)
        rest = (e - range_ @ (range_.mT @ e)).permute(2, 0, 1).contiguous()
        left = products.free.to(rest) - range_.square().sum((1, 2))  # tr C
        length = rest.square().sum(2)
        some = (left > 0.5) & (length > 1e-6 * left)  # else the sketch holds everything
        scale = torch.where(some, left / torch.where(some, length, 1.0), 0.0).sqrt()
        rest = rest * scale[..., None]
        return known + _forms(rest, products(rest, self.chunk))


def _at_least(owner: object, **numbers: tuple[int, int]) -> None:
    for name, (value, least) in numbers.items():
        if value < least:
            raise InputError(
                f"{type(owner).__name__}: {name} must be at least {least}, but is {value}"
            )


def _drawn(
    owner: object, products: Products, count: int, signs: bool, generator: Source | None
) -> Tensor:
    """(count, B, D) probes; each item's from its own stream, whatever the size of the others."""
    if generator is None:
        raise InputError(f"{type(owner).__name__} draws probes; give a generator, or use Exact()")
    found = []
    for _ in range(count):
        e = random.normal(products.like, generator)
        if signs:
            e = apply(e, lambda v: torch.where(v < 0, -1.0, 1.0).to(v))
        found.append(products.rows.of(*values(e)))
    return torch.stack(found)


def _forms(e: Tensor, pulled: Tensor) -> Tensor:
    """(B, P) quadratic forms of rows (P, B, D), float64."""
    return (e.double() * pulled.double()).sum(2).T


def standard_error(rule: Trace, estimates: Tensor) -> Tensor:
    """(B,) standard error of the mean of (B, P) estimates; 0 if exact, NaN for P = 1."""
    if rule.exact:
        return torch.zeros_like(estimates[:, 0])
    count = estimates.shape[1]
    gap = estimates - estimates.mean(1, keepdim=True)
    return (gap.square().sum(1) / (count * (count - 1) or math.nan)).sqrt()


def divergence(
    field: Callable[[Any], Any],
    x: Any,
    trace: Trace,
    generator: Source | None = None,
    space: Space | None = None,
) -> tuple[Any, Tensor]:
    """A vector field at x, and its divergence there.

    Args:
        field: maps a floating state to one of its layout, each item from itself alone.
        x: where.
        trace: how the trace of the Jacobian is found.
        generator: of the probes; None for `Exact`.
        space: subspace that states and field lie in; the divergence is that inside it.

    Returns:
        (field(x), (B, P) estimates of the divergence, float64), both without gradients.

    Raises:
        InputError: if x is not floating, or a rule that draws got no generator.
        Unsupported: if autograd cannot differentiate the field.
    """
    if not all(v.is_floating_point() for v in values(x)):
        raise InputError("a divergence needs a state of floating numbers, but this one holds ids")
    with torch.inference_mode(False), torch.enable_grad():
        there = apply(x, lambda v: v.detach().clone().requires_grad_())
        value = field(there)
        estimates = trace(Products(there, value, space), generator)
    return apply(value, torch.detach), estimates.detach()
