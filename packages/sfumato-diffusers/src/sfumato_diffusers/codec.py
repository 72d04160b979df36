"""An autoencoder of diffusers as a codec: the space that latent models work in."""

from __future__ import annotations

__all__ = ["Autoencoder"]

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato import InputError, Unsupported, random
from sfumato.random import Source

_SHIFTED = "AutoencoderKL"
_CLASSES = (_SHIFTED, "VQModel", "AutoencoderTiny")


class Autoencoder(nn.Module):
    """z = (e - shift) scale, with e from the encoder; where it returns a normal law, a draw of it.

    Images are (B, 3, H, W) in [-1, 1], latents (B, C, H/f, W/f). A latent is known where all
    pixels under it are.

    Args:
        vae: an `AutoencoderKL`, `VQModel` or `AutoencoderTiny` of diffusers.
    """

    exact: float | None = None

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        if not any(kind.__name__ in _CLASSES for kind in type(vae).__mro__):
            raise Unsupported(
                f"{type(vae).__name__} is not an autoencoder that sfumato-diffusers can use; it "
                f"uses {', '.join(_CLASSES)}. For another write a codec (sfumato.Codec)"
            )
        self.vae = vae
        config: Any = vae.config
        # AutoencoderTiny is trained to give scaled latents
        self._scale: float | Tensor = float(config.get("scaling_factor") or 1.0)
        self._shift: float | Tensor = float(config.get("shift_factor") or 0.0)
        means, stds = config.get("latents_mean"), config.get("latents_std")
        if means and stds:
            self._scale = self._scale / torch.tensor(stds).view(-1, 1, 1)
            self._shift = torch.tensor(means).view(-1, 1, 1)
        self.channels = int(config.latent_channels)
        blocks = config.get("block_out_channels") or config.get("encoder_block_out_channels")
        self.factor = 2 ** (len(blocks) - 1)
        """Pixels per latent, along a side."""

    def encode(self, x: Any, generator: Source) -> Any:
        vae: Any = self.vae
        found = vae.encode(self._weighted(x))
        law = getattr(found, "latent_dist", None)
        if law is None:
            e = found.latents
        else:
            e = law.mean + law.std * random.normal(law.mean, generator)
        return (e.to(x.dtype) - self._placed(self._shift, x)) * self._placed(self._scale, x)

    def decode(self, z: Any) -> Any:
        vae: Any = self.vae
        e = z / self._placed(self._scale, z) + self._placed(self._shift, z)
        return vae.decode(self._weighted(e)).sample.to(z.dtype)

    def layout(self, like: Any) -> Any:
        n, _, height, width = like.shape
        if height % self.factor or width % self.factor:
            raise InputError(
                f"images for this autoencoder have sides that are multiples of {self.factor}, but "
                f"these are {height} x {width}"
            )
        return like.new_zeros(n, self.channels, height // self.factor, width // self.factor)

    def mask(self, m: Any) -> Any:
        unknown = (~m).any(1, keepdim=True).float()
        return F.max_pool2d(unknown, self.factor) == 0

    def _weighted(self, x: Tensor) -> Tensor:
        weight: Tensor = next(self.vae.parameters())
        return x.to(weight.dtype)

    @staticmethod
    def _placed(value: Any, x: Tensor) -> Any:
        return value.to(x) if isinstance(value, Tensor) else value
