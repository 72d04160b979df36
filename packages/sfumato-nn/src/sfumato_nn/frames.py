"""Networks for states that have frames, or positions, before channels."""

from __future__ import annotations

__all__ = ["FramesFirst"]

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sfumato import Padded
from sfumato.errors import InputError, Unsupported

from .dit import DiT
from .embed import Condition
from .unet import UNet


class FramesFirst(nn.Module):
    """Runs a network on states (B, F, channels, ...) as if they were (B, channels, F, ...).

    A time (B, F) aligns with the leading dimensions of a state and so does the mask of a
    `Padded` one, while the networks have channels second. This wrapper stands between: for
    video, for sequences of vectors, for both with a clock per frame and with padding (a DiT).
    """

    def __init__(self, net: DiT | UNet) -> None:
        super().__init__()
        self.net = net

    def encode(self, **condition: Condition) -> dict[str, Tensor]:
        """As the wrapped network."""
        return self.net.encode(**condition)

    def forward(self, x: Any, clock: Tensor, context: Tensor | None = None) -> Any:  # noqa: ANN401
        """Map x, a tensor (B, F, channels, ...) or `Padded` with a mask (B, F), to its like.

        Raises:
            InputError: for any other shape.
            Unsupported: for a padded state, unless the network is a `DiT`.
        """
        if not isinstance(x, Padded):
            return self.net(_swap(x), clock, context).transpose(1, 2)
        if not isinstance(self.net, DiT):
            raise Unsupported(f"{type(self.net).__name__} cannot skip padding; use a DiT")
        data = _swap(x.data)
        if x.mask.shape != (data.shape[0], data.shape[2]):
            raise InputError(
                f"a padded state of {data.shape[0]} items and {data.shape[2]} frames needs a mask "
                f"of this shape, got {tuple(x.mask.shape)}"
            )
        mask = x.mask.view(*x.mask.shape, *[1] * (data.ndim - 3))
        mask = mask.expand(data.shape[0], *data.shape[2:])
        return replace(x, data=self.net(data, clock, context, mask).transpose(1, 2))


def _swap(data: Tensor) -> Tensor:
    if data.ndim < 3:
        raise InputError(
            f"a state has frames and channels, (B, F, C, ...), got {tuple(data.shape)}"
        )
    return torch.transpose(data, 1, 2)
