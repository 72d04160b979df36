"""Networks by name of their size, and what a network costs."""

from __future__ import annotations

__all__ = [
    "SIZES", "count_flops", "count_parameters", "dit", "growing", "parameters_by_size", "tokens",
    "unet",
]  # fmt: skip

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sfumato.components import close_matches
from sfumato.errors import InputError

from .dit import DiT
from .growing import GrowingTransformer
from .tokens import TokenTransformer
from .unet import UNet

Entry = TypeVar("Entry")

SIZES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "unet": {
        "tiny": {"widths": (32, 64), "blocks": 2},
        "mini": {"widths": (32, 64, 128), "blocks": 2, "attention": (2,)},
        "small": {"widths": (64, 128, 256), "blocks": 2, "attention": (2,)},
        "base": {"widths": (128, 256, 256, 256), "blocks": 3, "attention": (1, 2)},
        "large": {"widths": (192, 384, 576, 768), "blocks": 3, "attention": (2, 3)},
    },
    "dit": {
        "tiny": {"width": 128, "depth": 4, "heads": 2},
        "mini": {"width": 256, "depth": 6, "heads": 4},
        "small": {"width": 384, "depth": 12, "heads": 6},
        "base": {"width": 768, "depth": 12, "heads": 12},
        "large": {"width": 1024, "depth": 24, "heads": 16},
        "xlarge": {"width": 1152, "depth": 28, "heads": 16},
    },
    "tokens": {
        "pico": {"width": 64, "depth": 1, "heads": 2},
        "nano": {"width": 64, "depth": 2, "heads": 2},
        "tiny": {"width": 128, "depth": 4, "heads": 4},
        "mini": {"width": 256, "depth": 6, "heads": 4},
        "small": {"width": 512, "depth": 6, "heads": 8},
        "base": {"width": 768, "depth": 12, "heads": 12},
    },
}


def unet(size: str = "tiny", *, channels: int, **options: Any) -> UNet:  # noqa: ANN401
    """Build a `UNet` by size; ``options`` are those of the class and win over the size.

    Raises:
        InputError: there is no such size.
    """
    return UNet(channels, **(dict(_named("size", size, SIZES["unet"])) | options))


def dit(size: str = "tiny", *, channels: int, **options: Any) -> DiT:  # noqa: ANN401
    """Build a `DiT` by size; ``options`` are those of the class and win over the size.

    Small to xlarge have the widths, depths and heads of Peebles & Xie, 2023.

    Raises:
        InputError: there is no such size.
    """
    return DiT(channels, **(dict(_named("size", size, SIZES["dit"])) | options))


def tokens(size: str = "tiny", *, vocabulary: int, **options: Any) -> TokenTransformer:  # noqa: ANN401
    """Build a `TokenTransformer` by size; ``options`` are those of the class and win over the size.

    Raises:
        InputError: there is no such size.
    """
    return TokenTransformer(vocabulary, **(dict(_named("size", size, SIZES["tokens"])) | options))


def growing(size: str = "tiny", *, vocabulary: int, **options: Any) -> GrowingTransformer:  # noqa: ANN401
    """Build a `GrowingTransformer`, with the sizes of `tokens`; ``options`` win over the size.

    Raises:
        InputError: there is no such size.
    """
    return GrowingTransformer(vocabulary, **(dict(_named("size", size, SIZES["tokens"])) | options))


def parameters_by_size(network: str, *, channels: int, **options: Any) -> dict[str, int]:  # noqa: ANN401
    """Parameter count of every size of ``"unet"`` or ``"dit"``; allocates no weights.

    Raises:
        InputError: there is no such network.
    """
    build: dict[str, Callable[..., nn.Module]] = {"unet": unet, "dit": dit}
    with torch.device("meta"):
        make = _named("network", network, build)
        return {
            size: count_parameters(make(size, channels=channels, **options))
            for size in SIZES[network]
        }


def count_parameters(net: nn.Module) -> int:
    """How many numbers a network learns; shared ones count once."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def count_flops(net: nn.Module, *example: Tensor, **keywords: Tensor) -> int:
    """Floating-point operations of one call of ``net`` in convolutions and matrix products.

    A multiplication and an addition count as two; elementwise work is not counted. On the meta
    device nothing is computed.
    """
    counter = FlopCounterMode(display=False)
    # The counter does not know the fused CPU kernel of attention; the plain one is products.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        net(*example, **keywords)
    return counter.get_total_flops()


def _named(what: str, name: str, table: Mapping[str, Entry]) -> Entry:
    if name not in table:
        close = close_matches(name, table)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there is {', '.join(table)}"
        raise InputError(f"unknown {what} {name!r}; {hint}")
    return table[name]
