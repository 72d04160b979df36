"""A network that sees another state beside its input, channel by channel."""

from __future__ import annotations

__all__ = ["Beside"]

from typing import Any

import torch
from torch import Tensor, nn

from sfumato.errors import InputError

from .embed import Condition


class Beside(nn.Module):
    """A network for pairs: its input and a source of the same size are joined by their channels.

    As in image-to-image diffusion (Saharia et al. 2021, arXiv:2111.05826, section 2).

    Args:
        net: takes the channels of the state and of the source together, such as
            ``UNet(2 * channels, out=channels)``.
        channels: of the source.
    """

    def __init__(self, net: nn.Module, channels: int) -> None:
        super().__init__()
        self.net = net
        self.channels = channels

    def encode(self, *, source: Tensor, **condition: Condition) -> dict[str, Any]:
        """What `forward` takes: the source (B, channels, *space) and the context of the others."""
        encode: Any = getattr(self.net, "encode", None)
        others = encode(**condition) if condition and encode is not None else condition
        return {"source": source, **others}

    def forward(
        self, x: Tensor, clock: Tensor, source: Tensor | None = None, **context: Any
    ) -> Any:  # noqa: ANN401
        """What the network makes of x (B, C, *space) and the source together.

        Raises:
            InputError: without a source, or for one of other channels, another size or number.
        """
        if source is None:
            raise InputError(
                "this network sees a source beside its input; give the condition 'source'"
            )
        if source.shape != (len(x), self.channels, *x.shape[2:]):
            raise InputError(
                f"the states {tuple(x.shape)} need sources of shape "
                f"{(len(x), self.channels, *x.shape[2:])}, but got {tuple(source.shape)}"
            )
        return self.net(torch.cat((x, source.to(x.dtype)), 1), clock, **context)
