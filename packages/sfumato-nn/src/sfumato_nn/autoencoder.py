"""Convolutional autoencoders: codecs that are learned, from data to small latents and back."""

from __future__ import annotations

__all__ = ["KL", "VQ", "Autoencoder", "Coded"]

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato import Normal, kl
from sfumato.errors import InputError
from sfumato.random import Source

from .layers import Conv, convolution, zeroed
from .quantiser import Quantiser
from .shapes import check_state, crop

_MEMORY = 20  # batches that the running moments of the latents look back on


class Coded(NamedTuple):
    """What training sees of an autoencoder.

    Attributes:
        x: (B, channels, *size) the reconstruction.
        z: (B, latent, *grid) what the encoder gave, not standardised.
        cost: (B,) what is added to the loss per element of the data.
        parts: named numbers to follow.
    """

    x: Tensor
    z: Tensor
    cost: Tensor
    parts: Mapping[str, Tensor]


class Autoencoder(nn.Module):
    """Residual convolutions at falling, and back at rising resolutions: a `sfumato.Codec`.

    Data of any size is continued by its edge up to a multiple of the factor inside, and what is
    decoded is cut back. There is no norm and no attention, so that a latent depends on nearby data
    only. Latents are standardised per channel by their running moments in training, so that a
    diffusion model sees zero mean and unit variance (Rombach et al. 2021, arXiv:2112.10752, G).

    Args:
        channels: of the data.
        size: spatial size of the data. No weight depends on it.
        latent: channels of the latents.
        widths: channels per level, finest first; the factor is 2^(levels - 1).
        blocks: residual blocks per level, on either side.
        outputs: channels that the encoder ends with.

    Raises:
        InputError: for a size that is not one to three positive numbers, or no level.
    """

    mean: Tensor
    variance: Tensor
    seen: Tensor

    def __init__(
        self,
        channels: int,
        size: Sequence[int],
        *,
        latent: int,
        widths: Sequence[int],
        blocks: int,
        outputs: int,
    ) -> None:
        super().__init__()
        if len(size) not in (1, 2, 3) or min(size) < 1:
            raise InputError(f"the size of data is one to three positive numbers, not {size}")
        if not widths or min(channels, latent, blocks, *widths) < 1:
            raise InputError(
                "an autoencoder needs at least one channel, latent channel, block and width, got "
                f"{channels}, {latent}, {blocks} and {tuple(widths)}"
            )
        self.channels, self.size, self.latent = channels, tuple(size), latent
        self.factor = 2 ** (len(widths) - 1)
        space = len(size)
        self.encoder = _encoder(space, channels, outputs, widths, blocks)
        self.decoder = _decoder(space, latent, channels, widths, blocks)
        self.register_buffer("mean", torch.zeros(latent))
        self.register_buffer("variance", torch.ones(latent))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))

    @property
    def exact(self) -> None:
        """Unknown: a learned codec loses something."""
        return None

    def forward(self, x: Tensor, generator: Source) -> Coded:
        """Reconstruct x (B, channels, *space) for training; raises `InputError` for others."""
        raise NotImplementedError

    def raw(self, x: Tensor, generator: Source) -> Tensor:
        """(B, latent, *grid) latents before they are standardised."""
        raise NotImplementedError

    def encode(self, x: Tensor, generator: Source) -> Tensor:
        """Data (B, channels, *space) to standardised latents (B, latent, *grid)."""
        return (self.raw(x, generator) - _channel(self.mean, x)) / _channel(self._std, x)

    def decode(self, z: Tensor) -> Tensor:
        """Latents to data: of `size` where they have its grid, else the factor times theirs."""
        return self._restored(z * _channel(self._std, z) + _channel(self.mean, z))

    def layout(self, like: Tensor) -> Tensor:
        """Zeros of the shape that data like `like` has when encoded."""
        grid = (-(-side // self.factor) for side in like.shape[2:])
        return like.new_zeros(len(like), self.latent, *grid)

    def mask(self, m: Tensor) -> Tensor:
        """Which latents are known where the data entries in m (B, channels, *space; bool) are.

        A latent stands for a cell of factor^space places. It is known where its cell and all cells
        that touch it are known in all channels; what lies outside the data counts as known. What
        is farther away has some influence on it too, which this rule neglects.
        """
        unknown = (~m.all(1, keepdim=True)).float()
        pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(self.size) - 1]
        cells = pool(unknown, self.factor, ceil_mode=True)
        known = pool(cells, 3, stride=1, padding=1) == 0
        return known.expand(-1, self.latent, *known.shape[2:])

    @torch.no_grad()
    def observe(self, z: Tensor, generator: Source) -> None:
        """Let what follows the latents (here their running moments) see the z of a batch.

        Training calls it, once for each `forward`.
        """
        rate = max(1 / (int(self.seen) + 1), 1 / _MEMORY)
        places = z.transpose(0, 1).flatten(1)
        self.mean.lerp_(places.mean(1), rate)
        self.variance.lerp_((places - self.mean[:, None]).square().mean(1), rate)
        self.seen += 1

    @property
    def _std(self) -> Tensor:
        return self.variance.sqrt().clamp_min(1e-6)

    def _encoded(self, x: Tensor) -> Tensor:
        check_state(x, self.channels, len(self.size))
        lack = [-side % self.factor for side in x.shape[2:]]
        if any(lack):
            x = F.pad(x, [n for end in reversed(lack) for n in (0, end)], mode="replicate")
        y: Tensor = self.encoder(x)
        return y

    def _restored(self, z: Tensor) -> Tensor:
        x: Tensor = self.decoder(z)
        grid = tuple(-(-side // self.factor) for side in self.size)
        return crop(x, self.size) if z.shape[2:] == grid else x


class KL(Autoencoder):
    """An autoencoder whose latents are drawn from normals kept near N(0, I), very loosely.

    Kingma & Welling 2013, arXiv:1312.6114; the small weight is that of Rombach et al. 2021,
    arXiv:2112.10752, which leaves hardly more than a limit to how far latents may spread.

    Args:
        channels: see `Autoencoder`, like the next four.
        size: see there.
        latent: see there.
        widths: see there.
        blocks: see there.
        weight: of the divergence in nats, in a loss that is summed over an item's elements.
    """

    def __init__(
        self,
        channels: int,
        size: Sequence[int],
        *,
        latent: int = 4,
        widths: Sequence[int] = (32, 64, 64),
        blocks: int = 1,
        weight: float = 1e-6,
    ) -> None:
        super().__init__(
            channels, size, latent=latent, widths=widths, blocks=blocks, outputs=2 * latent
        )
        self.weight = weight

    def posterior(self, x: Tensor) -> Normal:
        """q(z | x) for x (B, channels, *space), latents not standardised."""
        mean, logvar = self._encoded(x).chunk(2, dim=1)
        return Normal(mean, (0.5 * logvar.clamp(-30, 20)).exp())

    def forward(self, x: Tensor, generator: Source) -> Coded:
        q = self.posterior(x)
        z = q.sample(generator)
        nats = kl(q, Normal(torch.zeros_like(z), 1.0))
        elements = math.prod(x.shape[1:])
        cost = self.weight / elements * nats
        return Coded(crop(self.decoder(z), x.shape[2:]), z, cost, {"kl": nats.detach()})

    def raw(self, x: Tensor, generator: Source) -> Tensor:
        z: Tensor = self.posterior(x).sample(generator)
        return z


class VQ(Autoencoder):
    """An autoencoder whose latents are the nearest of a few learned vectors.

    van den Oord et al. 2017, arXiv:1711.00937. As latents of a continuous diffusion, vectors are
    brought back to the nearest code before they are decoded, as in Rombach et al. 2021, section 3;
    `codes` and `from_codes` are for discrete models.

    Args:
        channels: see `Autoencoder`, like the next four.
        size: see there.
        latent: see there.
        widths: see there.
        blocks: see there.
        codes: how many vectors.
        weight: of the commitment, the squared distance of the encoder's vectors from their codes.
    """

    def __init__(
        self,
        channels: int,
        size: Sequence[int],
        *,
        latent: int = 4,
        widths: Sequence[int] = (32, 64, 64),
        blocks: int = 1,
        codes: int = 512,
        weight: float = 0.25,
    ) -> None:
        super().__init__(
            channels, size, latent=latent, widths=widths, blocks=blocks, outputs=latent
        )
        self.quantiser = Quantiser(codes, latent)
        self.weight = weight

    def forward(self, x: Tensor, generator: Source) -> Coded:
        free = self._encoded(x)
        z, ids = self.quantiser(free)
        commitment = (free - z.detach()).square().flatten(1).mean(1)
        parts = {"commitment": commitment.detach(), "perplexity": self.quantiser.perplexity(ids)}
        return Coded(crop(self.decoder(z), x.shape[2:]), free, self.weight * commitment, parts)

    def observe(self, z: Tensor, generator: Source) -> None:
        nearest, ids = self.quantiser(z.detach())
        super().observe(nearest, generator)
        self.quantiser.observe(z, ids, generator)

    def raw(self, x: Tensor, generator: Source) -> Tensor:
        z: Tensor = self.quantiser(self._encoded(x))[0]
        return z

    def decode(self, z: Tensor) -> Tensor:
        free = z * _channel(self._std, z) + _channel(self.mean, z)
        return self._restored(self.quantiser(free)[0])

    def codes(self, x: Tensor) -> Tensor:
        """(B, *grid) long, the code of each latent of data (B, channels, *space)."""
        ids: Tensor = self.quantiser(self._encoded(x))[1]
        return ids

    def from_codes(self, ids: Tensor) -> Tensor:
        """Codes (B, *grid) to data, as `decode` does with latents."""
        return self._restored(self.quantiser.vectors(ids))


def _lively(layer: Conv) -> Conv:
    """The convolution with first weights that keep the variance: there are no norms to do so."""
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class _Residual(nn.Module):
    """x + conv(silu(conv(silu(x)))), the identity at first."""

    def __init__(self, space: int, width: int) -> None:
        super().__init__()
        self.inward = _lively(convolution(space, width, width))
        self.outward = zeroed(convolution(space, width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, width, *space) to the same shape."""
        y: Tensor = x + self.outward(F.silu(self.inward(F.silu(x))))
        return y


def _encoder(
    space: int, channels: int, out: int, widths: Sequence[int], blocks: int
) -> nn.Sequential:
    layers: list[nn.Module] = [_lively(convolution(space, channels, widths[0]))]
    for before, width in zip((None, *widths), widths, strict=False):
        if before is not None:
            layers.append(_lively(convolution(space, before, width, stride=2)))
        layers += [_Residual(space, width) for _ in range(blocks)]
    return nn.Sequential(*layers, nn.SiLU(), _lively(convolution(space, widths[-1], out)))


def _decoder(
    space: int, latent: int, channels: int, widths: Sequence[int], blocks: int
) -> nn.Sequential:
    layers: list[nn.Module] = [_lively(convolution(space, latent, widths[-1]))]
    for before, width in zip((None, *reversed(widths)), reversed(widths), strict=False):
        if before is not None:
            layers += [nn.Upsample(scale_factor=2), _lively(convolution(space, before, width))]
        layers += [_Residual(space, width) for _ in range(blocks)]
    return nn.Sequential(*layers, nn.SiLU(), _lively(convolution(space, widths[0], channels)))


def _channel(values: Tensor, x: Tensor) -> Tensor:
    """Values per channel, shaped to meet x (B, C, *space)."""
    return values.view(-1, *[1] * (x.ndim - 2))
