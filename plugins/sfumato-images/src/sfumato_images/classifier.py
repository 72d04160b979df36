"""A small classifier trained in the same run, whose inner features the metrics look at.

It learns the classes where there are any. Without classes it learns to tell by how many quarter
turns an image was rotated (Gidaris et al. 2018, arXiv:1803.07728), which needs no labels.
"""

from __future__ import annotations

__all__ = ["Classifier", "fit"]

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from sfumato import Dataset, random

LARGEST = 64
"""Images are reduced to at most this many pixels a side before they are looked at."""

_STEPS, _BATCH, _KEEP, _MEMORY = 400, 64, 20_000, 1 << 26
_WIDTH = 64


class Classifier(nn.Module):
    """Convolutions at falling resolutions, a mean over the image, a linear layer.

    Args:
        channels: channels of the images.
        size: shorter side of the images, which decides the number of resolutions.
        classes: number of classes.
    """

    def __init__(self, channels: int, size: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before, side = channels, min(size, LARGEST)
        for width, stride in _plan(side):
            layers += [nn.Conv2d(before, width, 3, stride, 1), nn.GroupNorm(8, width), nn.SiLU()]
            before = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(before, classes)

    def features(self, x: Tensor) -> Tensor:
        """(B, 64) what the last layer sees of images (B, C, H, W) in [-1, 1]."""
        seen: Tensor = self.body(_reduced(x))
        return seen.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, classes) logits."""
        logits: Tensor = self.head(self.features(x))
        return logits


def _plan(side: int) -> list[tuple[int, int]]:
    """(width, stride) of the convolutions: down to 4 to 7 pixels a side."""
    plan = [(32, 2 if side > 32 else 1)]
    side = -(-side // plan[0][1])
    while side > 7:
        plan.append((_WIDTH, 2))
        side = -(-side // 2)
    return [*plan, (_WIDTH, 1), (_WIDTH, 1)]


def _reduced(x: Tensor) -> Tensor:
    height, width = x.shape[2:]
    if max(height, width) <= LARGEST:
        return x
    scale = LARGEST / max(height, width)
    return F.interpolate(
        x, size=(max(1, round(height * scale)), max(1, round(width * scale))), mode="area"
    )


def fit(train: Dataset, seed: int = 0) -> Classifier:
    """A classifier of the classes of `train`, or of rotations where it has none.

    Deterministic: a function of the data and the seed. Takes 400 steps of 64 images, each moved
    by up to an eighth of its side; of more than 20,000 images, that many are used.
    """
    about = train.about
    classes, (height, width) = len(about["classes"]), about["size"]
    x, labels = _loaded(train, classes > 0, random.derive(seed, "classifier", "items"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = Classifier(about["channels"], min(height, width), classes or 4)
    generator = random.derive(seed, "classifier", "steps")
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=_STEPS)
    with torch.enable_grad():
        for _ in range(_STEPS):
            index = random.integers(0, len(x), (_BATCH,), generator)
            some, target = _task(x[index], None if labels is None else labels[index], generator)
            loss = F.cross_entropy(net(_shifted(some, generator)), target, label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return net.eval().requires_grad_(False)


def _loaded(train: Dataset, labelled: bool, generator: Generator) -> tuple[Tensor, Tensor | None]:
    """Images (N, C, H, W), reduced, and labels (N,): all, or as many as memory allows."""
    channels, (height, width) = train.about["channels"], train.about["size"]
    values = channels * min(height, LARGEST) * min(width, LARGEST)
    keep = min(len(train), _KEEP, max(1, _MEMORY // values))
    index = random.permutation(len(train), generator)[:keep].sort().values.tolist()
    parts = [train.batch(index[i : i + 256]) for i in range(0, keep, 256)]
    x = torch.cat([_reduced(part.x) for part in parts])
    return x, torch.cat([part.condition["label"] for part in parts]) if labelled else None


def _task(x: Tensor, labels: Tensor | None, generator: Generator) -> tuple[Tensor, Tensor]:
    """Images and what is to be learned of them; without labels they are cut square and turned."""
    if labels is not None:
        return x, labels
    height, width = x.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    x = x[:, :, top : top + side, left : left + side].clone()
    turns = random.integers(0, 4, (len(x),), generator)
    for turn in range(1, 4):
        x[turns == turn] = x[turns == turn].rot90(turn, (2, 3))
    return x, turns


def _shifted(x: Tensor, generator: Generator) -> Tensor:
    """The images moved by up to an eighth of their size, the edge repeated."""
    height, width = x.shape[2:]
    tall, wide = height // 8, width // 8
    padded = F.pad(x, (wide, wide, tall, tall), mode="replicate")
    top, left = (int(random.integers(0, 2 * most + 1, (), generator)) for most in (tall, wide))
    return padded[:, :, top : top + height, left : left + width]
