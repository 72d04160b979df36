r"""Exponential Adams-Bashforth for coupled states: the linear motion exact, the data extrapolated.

The probability flow of a `Phase` process is du/dt = c(t) x_0 + F(t) u. Told posterior means D at
the last points, a step solves it with D replaced by the polynomial in log(alpha/sigma) of what is
observed that goes through them. Chen et al. 2023 (arXiv:2310.07805, section 4.2) do so for the
acceleration of AGM, in time; here the whole linear part is exact, for every coupled process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Can, Fields, Multistep, PerPart, Process, Product, Unsupported
from sfumato.random import Source
from sfumato.sampling import Point
from sfumato.state import Time, axpy, scale

from ..gaussian import Phase
from ..gaussian.matrix import magnus
from .affine import half_logsnr
from .exponential import check_order

__all__ = ["PhaseAB"]


@dataclass(frozen=True)
class PhaseAB(Multistep):
    """The last `order` posterior means, interpolated in log-SNR; one call a step.

    The order is built up in the first steps, and starts again from 1 after a rest and at an end
    where log-SNR is infinite. The step to t = 0 returns the posterior mean as data.

    Args:
        order: 1 to 3.
        cells: pieces of a step in log t, in which its linear motion is integrated to order 4.
    """

    order: int = 2
    cells: int = 12
    needs: ClassVar[Can] = Can.VELOCITY

    def __post_init__(self) -> None:
        check_order(self, self.order, 3)

    @property
    def memory(self) -> int:  # type: ignore[override]
        return self.order

    def plan(self, process: Process, grid: Time) -> Sequence[Any]:
        if isinstance(process, Product):
            return PerPart(default=self).on(process).plan(process, grid)
        if not isinstance(process, Phase):
            raise Unsupported(
                f"PhaseAB is for coupled states such as cld() or agm(), which {process} has not. "
                "Use ExponentialAB() or Ancestral()"
            )
        assert isinstance(grid, Tensor)
        moved, weights = self._integrated(process, grid)
        rest, land = grid[1:] == grid[:-1], (grid[1:] == 0) & (grid[:-1] > 0)
        size = moved.shape[-1]
        eye = torch.eye(size).to(moved).expand_as(moved)
        mean = torch.zeros_like(weights)
        mean[..., 0, 0] = 1.0
        still = (rest | land)[..., None, None].to(moved.device)
        keep = torch.where(still, eye, moved)
        keep = torch.where(land[..., None, None].to(moved.device), _without_first(eye), keep)
        weights = torch.where(still, 0.0, weights) + land[..., None, None].to(mean) * mean
        if grid.ndim == 1 and not (keep.requires_grad or weights.requires_grad):
            return list(zip(keep.tolist(), weights.tolist(), strict=True))
        return [
            ([row.unbind(-1) for row in k.unbind(-2)], [row.unbind(-1) for row in w.unbind(-2)])
            for k, w in zip(keep, weights, strict=True)
        ]

    def _integrated(self, process: Phase, grid: Tensor) -> tuple[Tensor, Tensor]:
        """(N, ..., K, K) what keeps of u, and (N, ..., K, order) weights of the means."""
        steps = half_logsnr(process.observed, grid)
        depth = steps.depth(self.order - 1)
        nodes = steps.nodes(self.order - 1, depth)
        start, end = grid[:-1], grid[1:]
        moves = (start > 0) & (end > 0) & (start != end)
        start, end = torch.where(moves, start, 0.7), torch.where(moves, end, 0.3)
        low, high = start.log(), end.log()
        size, width = len(process.names), len(process.names) + self.order

        def rate(share: float) -> Tensor:
            t = (low + share * (high - low)).exp()
            data, keep = process.flow(t)
            inside = steps.usable & moves
            level = 0.5 * process.observed.logsnr(torch.where(inside, t, 0.5))
            basis = _lagrange((level - steps.at[:-1]) / steps.h, nodes, depth).to(data)
            block = data.new_zeros(*data.shape[:-1], width, width)
            block[..., :size, :size] = keep
            block[..., :size, size:] = data[..., None] * basis[..., None, :]
            return block * (t * (high - low)).to(data)[..., None, None]

        total = magnus(rate, self.cells)
        return total[..., :size, :size], total[..., :size, size:]

    def advance(
        self, row: Any, process: Process, past: Sequence[Point], s: Time, generator: Source
    ) -> Any:
        if isinstance(process, Product):
            return PerPart(default=self).on(process).advance(row, process, past, s, generator)
        keep, weights = row
        x = past[-1].x
        means = [point.posterior.mean for point in reversed(past)]
        found = {}
        for name, own, data in zip(x, keep, weights, strict=True):
            total = scale(data[0], means[0])
            for w, mean in zip(data[1:], means[1:], strict=False):
                total = axpy(w, mean, total)
            for k, part in zip(own, x.values(), strict=True):
                total = axpy(k, part, total)
            found[name] = total
        return Fields(found)


def _without_first(eye: Tensor) -> Tensor:
    kept = eye.clone()
    kept[..., 0, 0] = 0.0
    return kept


def _lagrange(u: Tensor, nodes: Sequence[Tensor], depth: Tensor) -> Tensor:
    """(..., order) values at u of the polynomials that are 1 at one of the first depth + 1 nodes.

    They are 0 at the others of these, and 0 altogether for the nodes beyond.
    """
    found = []
    for j, node in enumerate(nodes):
        value = torch.where(depth >= j, 1.0, 0.0)
        for i, other in enumerate(nodes):
            if i != j:
                factor = (u - other) / (node - other)
                value = value * torch.where((depth >= i) & (depth >= j), factor, 1.0)
        found.append(value)
    return torch.stack(found, -1)
