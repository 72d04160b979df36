"""The objective of codecs that are learned: to reconstruct, with little in the latents."""

from __future__ import annotations

__all__ = ["Autoencoding", "Critic", "LearnedCodec", "reconstruct", "side_by_side"]

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from sfumato import Batch, Codec, InputError, Streams, random, state
from sfumato_data import concatenate, move, select

from .guards import Watch, throttled
from .objective import Loss, Objective

CHUNK = 64
"""Items that are reconstructed at a time, unless told."""

Look = Callable[[Tensor], Tensor]
"""Maps data (B, ...) to features (B, d), differentiably."""


class _Coded(Protocol):
    """What a codec tells of a reconstruction in training."""

    @property
    def x(self) -> Tensor:
        """The reconstruction, like the data."""

    @property
    def z(self) -> Tensor:
        """What the encoder gave."""

    @property
    def cost(self) -> Tensor:
        """(B,) what is added to the loss per element of the data."""

    @property
    def parts(self) -> Mapping[str, Tensor]:
        """Named numbers to follow."""


class LearnedCodec(Codec, Protocol):
    """A codec that is a module and can be trained, such as `sfumato_nn.autoencoder.KL`."""

    def __call__(self, x: Any, generator: Generator) -> _Coded:
        """Reconstruct data, for training."""

    def observe(self, z: Tensor, generator: Generator) -> None:
        """Let statistics, code books and the like follow what the encoder gave."""


class Autoencoding(Objective):
    """Trains a codec: mean |x - x'| + mean (x - x')^2 + what the codec itself asks for.

    On demand features of x and x' are compared too, and a critic that looks at patches learns to
    tell x' from x, as in Rombach et al. 2021, arXiv:2112.10752, section 3.1 and appendix G. By the
    hinge loss the critic minimises mean relu(1 - D(x)) + mean relu(1 + D(x')), and the codec
    -mean D(x') (Esser et al. 2020, arXiv:2012.09841). Held-out items are judged by the
    reconstruction alone.

    Args:
        codec: what is trained, a module.
        look: features whose squared distance counts, averaged over their dimensions.
        look_weight: how much it counts.
        critic: maps data (B, C, ...) to a verdict on each patch (B, 1, ...).
        critic_weight: how much the critic's verdict counts.
        critic_start: the step from which the critic takes part.

    Raises:
        InputError: for a codec that is no module, or weights below 0.
    """

    def __init__(
        self,
        codec: LearnedCodec,
        *,
        look: Look | None = None,
        look_weight: float = 1.0,
        critic: nn.Module | None = None,
        critic_weight: float = 0.1,
        critic_start: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(codec, nn.Module):
            raise InputError(f"{type(codec).__name__} is no module and has nothing to be trained")
        if look_weight < 0 or critic_weight < 0:
            raise InputError(f"weights are positive, not {look_weight} and {critic_weight}")
        self.codec = codec
        self.look, self.look_weight = look, look_weight
        self.critic, self.critic_weight, self.critic_start = critic, critic_weight, critic_start
        self.register_buffer("begun", torch.zeros((), dtype=torch.long))

    begun: Tensor
    """Steps of the codec so far."""

    def players(self) -> dict[str, nn.Module]:
        found: dict[str, nn.Module] = {"autoencoder": self.codec}
        return found if self.critic is None else {**found, "critic": self.critic}

    def turns(self, step: int) -> Sequence[str]:
        return ("autoencoder", "critic") if self._judged(step) else ("autoencoder",)

    def loss(self, player: str, batch: Batch, generator: Generator) -> Loss:
        x = batch.x
        if player == "critic":
            with torch.no_grad():
                made = self.codec(x, generator).x
            return self._verdict(x, made)
        coded = self.codec(x, generator)
        self.codec.observe(coded.z.detach(), generator)
        error = _error(x, coded.x)
        each, parts = error + coded.cost, {"error": error.detach(), **coded.parts}
        if self.look is not None:
            far = (self.look(coded.x) - self.look(x).detach()).square().mean(1)
            each, parts = each + self.look_weight * far, parts | {"features": far.detach()}
        if self.critic is not None and self._judged(int(self.begun)):
            verdict = self.critic(coded.x).flatten(1).mean(1)
            each, parts = each - self.critic_weight * verdict, parts | {"verdict": verdict.detach()}
        return Loss(each, parts)

    def after(self, player: str, step: int) -> None:
        if player == "autoencoder":
            self.begun.fill_(step + 1)
            _agree(self.codec)

    def validate(self, batch: Batch, generator: Generator) -> Loss:
        return Loss(_error(batch.x, reconstructed(self.codec, batch.x, generator)))

    def _judged(self, step: int) -> bool:
        return self.critic is not None and step >= self.critic_start

    def _verdict(self, x: Tensor, made: Tensor) -> Loss:
        assert self.critic is not None
        real, fake = (F.relu(1 - sign * self.critic(y)).flatten(1).mean(1)
                      for sign, y in ((1, x), (-1, made)))  # fmt: skip
        return Loss(real + fake)


class Critic(nn.Sequential):
    """Judges patches of images (B, channels, H, W): convolutions that see about 30 pixels a side.

    Isola et al. 2016, arXiv:1611.07004, without norms.

    Args:
        channels: of the images.
        width: channels of the first convolution, doubled twice.
    """

    def __init__(self, channels: int, width: int = 32) -> None:
        widths = (channels, width, 2 * width, 4 * width)
        layers: list[nn.Module] = []
        for i, (before, after) in enumerate(pairwise(widths)):
            stride = 1 if i == 2 else 2
            layers += [nn.Conv2d(before, after, 4, stride, 1), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Conv2d(4 * width, 1, 3, 1, 1))


@torch.no_grad()
def reconstructed(codec: Codec, x: Any, source: random.Source) -> Any:
    """Data that went through a codec and back."""
    return codec.decode(codec.encode(x, source))


def reconstruct(
    codec: Any, data: Batch, seed: int, *, batch: int | None = None, watch: Watch | None = None
) -> Batch:
    """What a codec makes of items, with their conditions, on the CPU; `batch` at a time."""
    count, home = state.items(data.x), next(codec.parameters()).device
    tell, began, found = throttled(watch, count), time.monotonic(), []
    for index in torch.split(torch.arange(count), batch or CHUNK):
        part = move(select(data, index), home)
        source = Streams.derive(seed, "reconstruct", index.tolist())
        made = state.to(reconstructed(codec, part.x, source), "cpu")
        found.append(Batch(made, move(part, "cpu").condition))
        done = int(index[-1]) + 1
        tell(done, None, done / max(time.monotonic() - began, 1e-9), over=done == count)
    return concatenate(found)


def side_by_side(codec: Any, data: Batch, seed: int) -> Batch:
    """Items, each before what a codec makes of it, on the CPU."""
    both = [Batch(one.x) for one in (data, reconstruct(codec, data, seed))]
    order = torch.arange(2 * state.items(data.x)).view(2, -1).T.flatten()
    return select(concatenate(both), order)


@torch.no_grad()
def _agree(module: nn.Module) -> None:
    """Average the buffers of a module over the processes that train together.

    What `observe` follows are sums over the parts of a batch that a process has; all processes must
    quantise by one code book.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    for value in module.buffers():
        if value.is_floating_point():
            torch.distributed.all_reduce(value)
            value /= torch.distributed.get_world_size()


def _error(x: Tensor, made: Tensor) -> Tensor:
    """(B,) mean absolute plus mean squared error of each item."""
    gap = (made - x).flatten(1)
    return gap.abs().mean(1) + gap.square().mean(1)
