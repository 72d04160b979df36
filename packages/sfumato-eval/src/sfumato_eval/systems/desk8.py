"""What systems share that train small networks on 8 x 8 digits: data, a network, its distance.

Digits are `sfumato_data`'s digits8 in [-1, 1], 1,297 for training and 500 held out. The network
has 250,000 weights, and its distance to the data is Frechet's in the 64 numbers before the last
layer of a classifier that is trained in the same run. All are functions of a seed.
"""

from __future__ import annotations

__all__ = ["Digits8", "Network"]

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

WIDTH, BLOCKS, BATCH, RATE = 192, 3, 64, 2e-3


def Network(generator: Generator) -> nn.Module:  # noqa: N802, a network
    """A residual network on 64 numbers, told the clock in each block."""
    import torch
    from torch import nn

    from sfumato import random

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frequencies = nn.Buffer(2.0 ** torch.arange(-3, 3).float())
            self.clock = nn.Sequential(nn.Linear(12, WIDTH), nn.SiLU())
            self.first = nn.Linear(64, WIDTH)
            self.told = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(BLOCKS))
            self.inner = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(BLOCKS))
            self.outer = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(BLOCKS))
            self.last = nn.Linear(WIDTH, 64)

        def forward(self, x: Tensor, clock: Tensor) -> Tensor:
            angle = clock[:, None] * self.frequencies
            seen = self.clock(torch.cat([angle.sin(), angle.cos()], 1))
            h = self.first(x.flatten(1))
            for told, inner, outer in zip(self.told, self.inner, self.outer, strict=True):
                normed = nn.functional.rms_norm(h, (WIDTH,))
                h = h + outer(nn.functional.silu(inner(normed) + told(seen)))
            out: Tensor = self.last(nn.functional.rms_norm(h, (WIDTH,))).reshape(x.shape)
            return out

    net = Net()
    with torch.no_grad():
        for weight in net.parameters():
            fan = weight.shape[-1] if weight.ndim > 1 else 1
            weight.copy_(random.normal(weight, generator) * (fan**-0.5 if weight.ndim > 1 else 0))
        net.last.weight.mul_(0.1)
    return net


class Digits8:
    """Digits, and a classifier of them.

    Args:
        seed: of the halves, the classifier and what is drawn here.
    """

    def __init__(self, seed: int) -> None:
        from sfumato_data import fetch

        from .codeexec import halves

        self.seed = seed
        train, held = halves(fetch("digits8"), seed)
        self.train, self.held = train.x, held.x
        self.sigma_data = float(self.train.std())
        self._body = _classifier(train.x, train.label, seed)

    def frechet(self, a: Tensor, b: Tensor) -> float:
        """Frechet distance between sets of digits, in the features of the classifier."""
        from sfumato import Batch
        from sfumato_eval.features import Features
        from sfumato_eval.frechet import Frechet

        metric = Frechet(Features("digits classifier", lambda batch: self._body(batch.x.float())))
        return metric.between(metric.summary(Batch(a)), metric.summary(Batch(b))).value

    def fit(
        self,
        modules: nn.Module,
        loss: Callable[[Tensor, Generator], Tensor],
        steps: int,
        seen: Callable[[int], None] = lambda step: None,
    ) -> None:
        """Adam on a loss of (digits, generator), its rate falling to 0 as a cosine.

        Args:
            modules: holds what is trained.
            loss: mean loss of a batch of training digits.
            steps: optimiser steps, of 64 digits each.
            seen: called with the number of steps made, after each.
        """
        import torch

        from sfumato import random

        generator = random.derive(self.seed, "fit")
        weights = [p for p in modules.parameters() if p.requires_grad]
        adam = torch.optim.Adam(weights, lr=RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
        for step in range(steps):
            pick = random.integers(0, len(self.train), (BATCH,), generator)
            value = loss(self.train[pick], generator)
            adam.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            adam.step()
            schedule.step()
            seen(step + 1)


def _classifier(x: Tensor, label: Tensor, seed: int) -> Any:
    """The body of a classifier, which gives 64 numbers for each digit."""
    import torch
    from torch import nn

    from sfumato import random

    generator = random.derive(seed, "classifier")
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.SiLU(), nn.Linear(128, 64), nn.SiLU())
    head = nn.Linear(64, 10)
    weights = [*body.parameters(), *head.parameters()]
    with torch.no_grad():
        for weight in weights:
            fan = weight.shape[-1] if weight.ndim > 1 else 1
            weight.copy_(random.normal(weight, generator) * (fan**-0.5 if weight.ndim > 1 else 0))
    adam = torch.optim.Adam(weights, lr=3e-3, weight_decay=1e-4)
    for _ in range(200):
        loss = nn.functional.cross_entropy(head(body(x)), label)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    return body.requires_grad_(False)
