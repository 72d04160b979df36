"""Block by block: semi-autoregressive generation with any sampler inside a block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Can, Categorical, InputError, Padded, Process, Sampler
from sfumato.random import Source
from sfumato.sampling import Denoise, Frame, Trajectory, times
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
    block gets an equal share of the steps of the grid, and its clock runs from 1 to 0 in them. The
    network is told the time at which a chain has as large a share of masks as the whole state.

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
        kernel = masking(type(self).__name__, process)
        if leaf(x).ndim != 2 or not isinstance(x, Tensor | Padded):
            raise InputError("blocks are cut from tokens (B, L), a Tensor or Padded")
        if not isinstance(grid, Tensor) or grid.ndim > 2:
            raise InputError("blocks take times shared or per item, not per frame or field")
        count, clocks = -(-leaf(x).shape[1] // self.length), times(grid)
        steps = len(clocks) - 1
        if steps < count:
            raise InputError(
                f"{count} blocks of {self.length} tokens need at least {count} steps, not {steps}"
            )
        recall: Recall | None = None
        for block in range(count):
            first, last = block * steps // count, (block + 1) * steps // count
            own = clocks[first : last + 1]
            span = slice(block * self.length, (block + 1) * self.length)
            window = _Window(kernel, denoiser, x, span, own, block / count, count, recall)
            part, local = window.cut(x), torch.stack([window.local(t) for t in own])
            walk = self.inside.trajectory(process, window, part, local, generator)
            frame = next(walk, None)
            for t, s in zip(own, own[1:], strict=False):
                if frame is None:
                    break
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
        span: slice,
        clocks: Sequence[Tensor],
        done: float,
        count: int,
        recall: Recall | None,
    ) -> None:
        self.keep, self.denoiser, self.state = kernel.keep, denoiser, state
        self.span, self.done, self.count, self.recall = span, done, count, recall
        self.first, self.last = self.keep(clocks[0]), self.keep(clocks[-1])
        self.said: Any = None
        self._memory: Callable[[Any, Tensor], Any] | None = None
        self._around: Tensor | None = None

    def __call__(self, part: Any, t: Tensor) -> Any:
        u = self.keep.inverse(self.done + self.keep(t) / self.count).clamp(0, 1)
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

    def local(self, t: Tensor) -> Tensor:
        """The time of the block: 1 at its first time of the grid, 0 at its last."""
        width = self.last - self.first
        kept = (self.keep(t) - self.first) / torch.where(width > 0, width, 1.0)
        time = self.keep.inverse(kept).clamp(0, 1)
        return torch.where(kept == 0, 1.0, torch.where(kept == 1, 0.0, time))
