"""Networks that are shown other states beside their own."""

from __future__ import annotations

__all__ = ["Beside"]

from typing import Any

import torch
from torch import Tensor, nn

from sfumato.errors import InputError

_NONE = "the network is shown a source beside each state, but none was given"


class Beside(nn.Module):
    """Runs a network on a state with its source beside it, as further channels.

    The condition ``source`` is joined to the state along dimension 1, the channels of images or the
    numbers of vectors; all other conditions are those of the network, which is made for the
    channels of both: ``Beside(unet("tiny", channels=2 * c, out=c))``.

    Saharia et al., 2021, arXiv:2104.07636; Zhou et al., 2023, arXiv:2309.16948.

    Args:
        net: called as ``net(x, clock, **context)``.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def encode(self, **condition: Any) -> dict[str, Any]:  # noqa: ANN401
        """The context: the source as it is, and what the network makes of the rest.

        Raises:
            InputError: if there is no source.
        """
        if "source" not in condition:
            raise InputError(_NONE)
        source = condition.pop("source")
        encode = getattr(self.net, "encode", None)
        rest = encode(**condition) if condition and encode is not None else condition
        return {"source": source, **rest}

    def forward(
        self,
        x: Tensor,
        clock: Tensor,
        source: Tensor | None = None,
        **context: Any,  # noqa: ANN401
    ) -> Tensor:
        """Map x (B, C, ...), beside source (B, D, ...), to what the network says of both.

        Raises:
            InputError: if there is no source, or they differ in more than the channels.
        """
        if source is None:  # nothing at all was asked for, so that there was nothing to encode
            raise InputError(_NONE)
        if source.shape[:1] + source.shape[2:] != x.shape[:1] + x.shape[2:]:
            raise InputError(
                f"a source of shape {tuple(source.shape)} does not lie beside a state of shape "
                f"{tuple(x.shape)}"
            )
        y: Tensor = self.net(torch.cat((x, source.to(x)), 1), clock, **context)
        return y
