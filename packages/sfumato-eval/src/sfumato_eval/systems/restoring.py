"""The desk of restoration: real 8 x 8 digits, damaged, and small networks that mend them.

Images are in [-1, 1]; 500 are held out, half of them to be mended and half to be compared with, so
that distances are those between different images, like their floor. Every network is the same small
U-Net, shown the damaged image beside the state, trained on the same batches with Adam and a cosine
schedule of its rate.
"""

from __future__ import annotations

__all__ = ["Desk", "blurred", "holed", "trained", "unet"]

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .codeexec import halves

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from sfumato import Denoiser, Process, Sampler

BATCH, RATE = 128, 2e-3


def blurred(x: Tensor) -> Tensor:
    """Images (B, 1, 8, 8) under the kernel (1, 4, 6, 4, 1)/16 both ways, edges repeated."""
    import torch
    from torch.nn import functional as F

    line = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    kernel = (line[:, None] * line).to(x)[None, None]
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="replicate"), kernel)


def holed(x: Tensor) -> Tensor:
    """Images without the four middle columns, which are grey."""
    import torch

    columns = torch.arange(x.shape[-1])
    return torch.where((columns >= 2) & (columns < 6), torch.zeros_like(x), x)


def unet(extra: int = 1, out: int = 1) -> nn.Module:
    """A U-Net of some 0.25 M weights on a state with `extra` more channels, its source included."""
    from sfumato_nn.beside import Beside
    from sfumato_nn.sizes import unet as sized

    return Beside(sized("tiny", channels=1 + extra, out=out, blocks=1))


def trained(
    denoiser: Denoiser,
    process: Process,
    weight: Callable[[Process, Tensor], Tensor],
    desk: Desk,
    steps: int,
) -> Denoiser:
    """The denoiser, its weights drawn and trained from the seed of the desk."""
    import torch

    from sfumato import random

    seed = desk.seed
    _reset(denoiser, random.derive(seed, "weights"))
    generator = random.derive(seed, "training")
    adam = torch.optim.Adam(denoiser.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    for _ in range(steps):
        pick = random.integers(0, len(desk.clean), (BATCH,), generator)
        x0, source = desk.clean[pick], desk.damaged[pick]
        own = process.given(source=source) if process.context else process
        t = (torch.arange(BATCH) + random.uniform((BATCH,), generator)) / BATCH
        t = t.clamp(1e-3, 1 - 1e-3)
        x = own.marginal(x0, t).sample(generator)
        each = denoiser.given(source=source)(x, t).loss(x0)
        loss = (each * weight(process, t)).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
    return denoiser.eval()


def _reset(module: nn.Module, generator: Generator) -> None:
    """Draw the weights anew; what begins at zero stays there."""
    import torch

    from sfumato import random

    with torch.no_grad():
        for weight in module.parameters():
            if weight.ndim > 1 and bool((weight != 0).any()):
                weight.copy_(random.normal(weight, generator) * weight[0].numel() ** -0.5)


class Desk:
    """Digits and their damaged images, and what a sampler makes of those held out.

    Args:
        seed: of everything.
        damage: what is done to the images.
        most: held-out images to mend, at most 250, and as many to compare with.
    """

    def __init__(self, seed: int, damage: Callable[[Tensor], Tensor], most: int = 250) -> None:
        from sfumato_data import fetch
        from sfumato_eval.sliced import SlicedWasserstein

        train, held = halves(fetch("digits8"), seed)
        self.seed = seed
        self.clean, self.damaged = train.x, damage(train.x)
        self.truth, other = held.x[:most], held.x[most : 2 * most]
        self.source = damage(self.truth)
        self._metric = SlicedWasserstein(directions=128)
        self._data = self._summary(other, damage(other))
        self.floor = self.distance(self.truth)

    @property
    def n(self) -> int:
        """Images that are mended."""
        return len(self.truth)

    def _summary(self, x: Tensor, source: Tensor) -> Any:
        import torch

        from sfumato import Batch

        return self._metric.summary(Batch(torch.cat([x, source], 1)))

    def end(self, process: Process, denoiser: Denoiser, sampler: Sampler, grid: Tensor) -> Tensor:
        """What a sampler makes of the damaged images."""
        from sfumato import random, sample

        own = process.given(source=self.source) if process.context else process
        x: Tensor = sample(
            own,
            denoiser.given(source=self.source),
            self.source,
            sampler=sampler,
            grid=grid,
            generator=random.derive(self.seed, "noise"),
        )
        return x

    def distance(self, x: Tensor) -> float:
        """Sliced 2-Wasserstein distance of (image, damaged image) to pairs of other images."""
        return self._metric.between(self._summary(x, self.source), self._data).value

    def error(self, x: Tensor) -> float:
        """Mean squared error per pixel to the images as they were."""
        return float((x.double() - self.truth.double()).square().mean())
