"""Texts that grow: the objective of models that insert tokens, and what they grow between."""

from __future__ import annotations

__all__ = ["KEPT", "Between", "Grown", "GrowingDenoiser", "Nothing", "conditions"]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from sfumato import Batch, Categorical, Dirac, InputError, Padded, Process
from sfumato.random import Source
from sfumato.sampling import Frame
from sfumato.state import Time
from sfumato_methods.discrete import Prompt
from sfumato_methods.discrete.insertion import Growth, Insertion, InsertionDenoiser
from sfumato_train import Loss, Objective
from sfumato_train.times import stratified

from .canvas import CANVAS, ids_of, lines_of
from .tokens import rebuilt

KEPT = "kept"
"""Condition (B, M) bool: tokens that a text grows around, which are never masked nor deleted."""

OPENING, CLOSING = "opening", "closing"
"""Conditions (B,): tokens at the beginning and at the end that a text grows between."""

_EARLIEST = 0.01
"""Times in training are at least this, so that weights 1/t are at most 100."""


class Grown(Objective):
    """The bound on the nats of a text, over the largest length M, at uniform, stratified times.

    FlexMDM (Kim et al. 2025, arXiv:2509.01025, theorem 1), see `Growth.loss`: cross-entropy of the
    masked tokens and a Bregman divergence of the missing ones in each gap, times 1/t.

    Args:
        denoiser: what is trained; its process inserts.
    """

    def __init__(self, denoiser: InsertionDenoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def players(self) -> dict[str, nn.Module]:
        return {"denoiser": self.denoiser}

    def loss(self, player: str, batch: Batch, generator: Generator) -> Loss:
        x0: Padded = batch.x
        t = stratified(len(x0.data), generator).double().clamp_min(_EARLIEST).to(x0.data.device)
        process: Insertion = self.denoiser.process
        if KEPT in batch.condition:
            process = process.given(kept=batch.condition[KEPT])
        x, target = process.draw(x0, t, generator)
        each = self.denoiser(x, t).loss(target)
        return Loss(each / t.to(each), clock=process.clock(t))


class GrowingDenoiser(InsertionDenoiser):
    """An `InsertionDenoiser` by which nothing grows before a prompt or behind a suffix.

    `opening` and `closing` (B,): how many tokens these have. The expected numbers of all gaps but
    those between them become 0, and no document ends before a suffix; else it is what the network
    says, which is not told so. From the exact posterior given that the other gaps are closed,
    samples have the exact law of texts that begin and end so; a network, which was trained with all
    gaps open, approximates it.
    """

    _ends: tuple[Tensor, Tensor] | None = None

    def given(self, **condition: Any) -> Any:
        opening, closing = condition.pop(OPENING, None), condition.pop(CLOSING, None)
        view = super().given(**condition)
        if opening is not None and closing is not None:
            view._ends = opening, closing
        return view

    def forward(self, x: Any, t: Time) -> Growth:
        q = super().forward(x, t)
        if self._ends is None:
            return q
        opening, closing = (count.to(x.mask.device)[:, None] for count in self._ends)
        gap = torch.arange(x.mask.shape[1] + 1, device=x.mask.device)
        between = (gap >= opening) & (gap <= x.mask.sum(1, keepdim=True) - closing)
        logits = q.tokens.logits.data.clone()
        logits[..., self.process.vocabulary - 1].masked_fill_(closing > 0, -torch.inf)
        return Growth(Categorical(logits=Padded(logits, x.mask)), q.gaps * between)


@dataclass(frozen=True)
class Between(Prompt):
    """A prompt and a suffix that a text grows between: all there is at t = 1.

    They move apart, so that what keeps them is no place but `GrowingDenoiser`.
    """

    def start(self, process: Process) -> Dirac:
        return Dirac(self.values)

    def __call__(self, process: Process, frame: Frame, generator: Source) -> Any:
        return frame.after


@dataclass(frozen=True)
class Nothing:
    """The `Model.blank` of texts that grow (`sfumato_train.clamps.Canvas`).

    Attributes:
        length: tokens that there is room for.
    """

    length: int

    def __call__(self, n: int, generator: Generator, canvas: Padded | None = None) -> Padded:
        """N texts with what they grow between, see `conditions`; without it, none of it there."""
        ids = torch.zeros(n, self.length, dtype=torch.long)
        mask = torch.zeros_like(ids, dtype=torch.bool)
        if canvas is not None:
            width = canvas.mask.shape[1]
            ids[:, :width], mask[:, :width] = canvas.data, canvas.mask
        return Padded(ids, mask)

    def known(self, x: Padded) -> Between | None:
        """The prompt and the suffix."""
        return Between(x, x.mask) if bool(x.mask.any()) else None


def conditions(
    values: Mapping[str, str], n: int, about: Mapping[str, Any]
) -> dict[str, Padded | Tensor]:
    """`prompt=` and `suffix=` for n samples of a model that inserts tokens.

    Args:
        values: the words; `@file` is one a line, gone through in turn. With a suffix the document
            ends behind it.
        n: number of samples.
        about: facts of the data.

    Raises:
        InputError: for another name, a gap of so many tokens, or what leaves no room.
    """
    for name in values:
        if name not in ("prompt", "suffix"):
            raise InputError(
                f"there is no condition {name!r}: a model that inserts tokens takes prompt and "
                "suffix. What is between them grows as long as it likes, so that neither gaps of "
                "so many tokens nor a length or a pattern fit; train language/text for these"
            )
    if not values:
        return {}
    tokenizer, most = rebuilt(about["tokenizer"]), int(about["length"])
    several = {name: lines_of(name, value) for name, value in values.items()}
    rows, counts = [], []
    for i in range(n):
        one = {name: texts[i % len(texts)] for name, texts in several.items()}
        ends = [ids_of(one.get(name, ""), tokenizer) for name in ("prompt", "suffix")]
        ends[1] += [tokenizer.eos] if "suffix" in one else []
        if any(tokenizer.mask in end for end in ends):
            raise InputError(
                "prompt and suffix have no gaps here, [MASK] or [MASK*12]: a model that inserts "
                "tokens decides itself how many there are between them"
            )
        if len(ends[0]) + len(ends[1]) >= most:
            raise InputError(
                f"prompt and suffix have {len(ends[0])} + {len(ends[1])} tokens and leave no room "
                f"in the {most} of this model"
            )
        rows.append(ends[0] + ends[1])
        counts.append([len(end) for end in ends])
    width = max(map(len, rows), default=0)
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], dtype=torch.long)
    size = torch.tensor(counts).reshape(n, 2)
    mask = torch.arange(width) < size.sum(1, keepdim=True)
    canvas = Padded(ids.reshape(n, width), mask)
    return {CANVAS: canvas, OPENING: size[:, 0], CLOSING: size[:, 1]}
