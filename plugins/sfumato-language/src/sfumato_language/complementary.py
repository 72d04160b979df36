"""Training on complementary masks: a picture, and its text twice, each token hidden once."""

from __future__ import annotations

__all__ = ["Complementary"]

from typing import Literal

import torch
from torch import Generator, Tensor, nn

from sfumato import Batch, Padded, random
from sfumato_train import Loss, Objective
from sfumato_train.times import stratified

from .canvas import CANVAS
from .denoiser import TextDenoiser
from .objective import cross_entropy, hide, maskable


class Complementary(Objective):
    """Mean cross-entropy of two rows, of which one shows what the other hides.

    Li et al. 2025, arXiv:2505.16839, section 3.2: n tokens of a text are hidden in the first row, n
    uniform on 1..L, and the L - n others in the second. Each token is learned from in every step,
    and the picture, which both rows read, is encoded once. Where the data has a condition `canvas`,
    L counts its masks, as for `AnyOrder`.

    Args:
        denoiser: what is trained; its network has a condition `copies`, as `PicturedTokens` has.
        weights: "even": the mean over the L tokens, as in the published code; "bound": the mean of
            the two rows' means, which in expectation is the bound of `AnyOrder` but for n = L.
    """

    def __init__(self, denoiser: TextDenoiser, weights: Literal["even", "bound"] = "even") -> None:
        super().__init__()
        self.denoiser, self.weights = denoiser, weights

    def players(self) -> dict[str, nn.Module]:
        return {"denoiser": self.denoiser}

    def masks(self, free: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """What the two rows hide, (B, L) bool each, of the tokens `free` (B, L) bool."""
        share = stratified(len(free), generator).to(free.device)
        noise = random.uniform(free.shape, generator).to(free.device)
        first, _ = hide(free, share, noise)
        return first, free & ~first

    def loss(self, player: str, batch: Batch, generator: Generator) -> Loss:
        free = maskable(self.denoiser, batch)
        first, second = self.masks(free, generator)
        at = torch.cat((first, second))
        each = cross_entropy(self.denoiser, _twice(batch), at, torch.cat((free, free)))
        nats, count = (v.view(2, *free.shape).sum(2) for v in (each, at))
        if self.weights == "bound":
            mean = (nats / count.clamp_min(1)).sum(0) / (count > 0).sum(0)
        else:
            mean = nats.sum(0) / count.sum(0)
        level = (count[0] / free.sum(1)).double()
        return Loss(mean, clock=self.denoiser.process.clock(level))


def _twice(batch: Batch) -> Batch:
    """The texts twice, the second behind the first; all else once, and the word that it is so."""

    def both(x: Padded) -> Padded:
        return Padded(torch.cat((x.data, x.data)), torch.cat((x.mask, x.mask)))

    condition = dict(batch.condition) | {"copies": 2}
    if CANVAS in condition:
        condition[CANVAS] = both(condition[CANVAS])
    return Batch(both(batch.x), condition)
