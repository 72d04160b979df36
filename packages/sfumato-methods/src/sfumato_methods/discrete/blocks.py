"""Block by block: semi-autoregressive generation with any sampler inside a block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Can, Categorical, InputError, Padded, Process, Sampler
from sfumato.random import Source
from sfumato.sampling import Denoise, Frame, Trajectory
from sfumato.state import Time, apply, leaf

from .kernels import RankOne
from .orders import Confident, Ordered, TopProbability
from .tokens import Recall, Tokens
from .unmasking import masking

__all__ = ["Blocks"]


@dataclass(frozen=True)
class Blocks:
    """Finish a block of tokens, then the next one, from left to right (LLaDA).

    Nie et al. 2025, arXiv:2502.09992, section 2.4. The sampler inside sees the tokens of the block
    alone, and the denoiser the whole state: finished blocks before it and masks after it. Each
    block gets an equal share of the steps and runs the whole grid in them. The times of the frames
    and of the network are those at which a chain has as many masks, so that they descend from one
    block to the next.

    Where the posterior has a memory (`Tokens.recall`; see `TokenDenoiser`), the rest of the state
    is put into it once a block, and each step costs the tokens of the block alone (Wu et al. 2025,
    arXiv:2505.22618). Its frames then hold the posterior of the block.

    Args:
        inside: sampler of a block.
        length: tokens of a block.

    Raises:
        InputError: for a grid with fewer steps than blocks, or a state that is not (B, L).
    """

    inside: Sampler = Ordered(TopProbability(), Confident())
    length: int = 32

    needs: ClassVar[Can] = Can.STEP

    def __post_init__(self) -> None:
        if self.length < 1:
            raise InputError(f"a block has at least one token, not {self.length}")

    @property
    def deterministic(self) -> bool:
        return False

    def trajectory(
        self, process: Process, denoiser: Denoise, x: Any, grid: Time, generator: Source
    ) -> Trajectory:
        """See `sfumato.Sampler`."""
        kernel = masking(self, process)
        if leaf(x).ndim != 2 or not isinstance(x, Tensor | Padded):
            raise InputError("blocks are cut from tokens (B, L), a Tensor or Padded")
        if not isinstance(grid, Tensor) or grid.ndim != 1:
            raise InputError("blocks take one shared grid of times")
        count = -(-leaf(x).shape[1] // self.length)
        steps = len(grid) - 1
        if steps < count:
            raise InputError(
                f"{count} blocks of {self.length} tokens need at least {count} steps, not {steps}"
            )
        recall: Recall | None = None
        for block in range(count):
            window = _Window(kernel, denoiser, x, block, count, self.length, recall)
            own = _stretched(grid, steps // count + (block < steps % count))
            part = window.cut(x)
            walk = self.inside.trajectory(process, window, part, own, generator)
            frame = next(walk, None)
            while frame is not None:
                t, s = window.time(frame.t), window.time(frame.s)
                x = yield Frame(t, s, x, window.said, window.paste(frame.after))
                window.state = x
                try:
                    frame = walk.send(window.cut(x))
                except StopIteration:
                    frame = None
            recall = window.recall


class _Window:
    """The denoiser of one block, as the sampler inside sees it; it lives as long as the block."""

    def __init__(
        self,
        kernel: RankOne,
        denoiser: Denoise,
        state: Any,
        block: int,
        count: int,
        length: int,
        recall: Recall | None,
    ) -> None:
        self.kernel, self.denoiser, self.state = kernel, denoiser, state
        self.block, self.count, self.recall = block, count, recall
        self.span = slice(block * length, (block + 1) * length)
        self.said: Any = None
        self._memory: Callable[[Any, Tensor], Any] | None = None
        self._around: Tensor | None = None

    def __call__(self, part: Any, t: Tensor) -> Any:
        u = self.time(t)
        if self.recall is not None:
            return self._remembered(self.recall, part, u)
        q = self.said = self.denoiser(self.paste(part), u)
        if isinstance(q, Tokens):
            self.recall = q.recall
            return q.within(self.span, part)
        return Categorical(logits=apply(q.logits, lambda v: v[:, self.span]))

    def _remembered(self, recall: Recall, part: Any, u: Tensor) -> Any:
        around = leaf(self.state).clone()
        around[:, self.span] = 0
        if self._memory is None or self._around is None or not torch.equal(around, self._around):
            self._memory = recall(self.paste(part), u, self.span)
            self._around = around
        self.said = self._memory(part, u)
        return self.said

    def cut(self, x: Any) -> Any:
        """The block of a state."""
        if isinstance(x, Padded):
            return Padded(x.data[:, self.span], x.mask[:, self.span])
        return x[:, self.span]

    def paste(self, part: Any) -> Any:
        """The state with another block."""

        def put(whole: Tensor, block: Tensor) -> Tensor:
            end = self.span.start + block.shape[1]
            return torch.cat([whole[:, : self.span.start], block, whole[:, end:]], 1)

        return apply(self.state, put, part)

    def time(self, t: Tensor) -> Tensor:
        """When a chain has as large a share of masks as this block at t and the blocks to come."""
        keep = self.kernel.keep
        u = keep.inverse((self.block + keep(t)) / self.count).clamp(0, 1)
        return torch.where((t == 0) & (self.block == self.count - 1), 0.0, u)


def _stretched(grid: Tensor, steps: int) -> Tensor:
    """The grid in fewer steps, from its first time to its last."""
    place = torch.linspace(0, len(grid) - 1, steps + 1, dtype=torch.float64, device=grid.device)
    low = place.floor().long().clamp(max=len(grid) - 2)
    return torch.lerp(grid[low], grid[low + 1], place - low)
