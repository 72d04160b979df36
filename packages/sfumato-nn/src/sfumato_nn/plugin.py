"""What this distribution announces to sfumato: its networks, by bare name."""

from __future__ import annotations

__all__ = ["sfumato_register"]

from sfumato import hook
from sfumato.plugins import Add


@hook
def sfumato_register(add: Add) -> None:
    """Announce the networks."""
    add(
        "network",
        "unet",
        "sfumato_nn.sizes:unet",
        summary="convolutional U-Net in 1-D, 2-D and 3-D, for any spatial size",
        source="arXiv:2006.11239, arXiv:2105.05233",
    )
    add(
        "network",
        "dit",
        "sfumato_nn.sizes:dit",
        summary="diffusion transformer in 1-D, 2-D and 3-D, with masks and a clock per frame",
        source="arXiv:2212.09748",
    )
    add(
        "network",
        "tokens",
        "sfumato_nn.sizes:tokens",
        summary="bidirectional transformer over token ids, with documents, levels and a KV cache",
        source="arXiv:2406.07524, arXiv:2104.09864",
    )
    add(
        "network",
        "graph-transformer",
        "sfumato_nn.graphs.transformer:GraphTransformer",
        summary="equivariant transformer over nodes and pairs of nodes, told cycles and spectra",
        source="arXiv:2209.14734",
    )
    add(
        "network",
        "growing",
        "sfumato_nn.sizes:growing",
        summary="bidirectional transformer over texts that grow: tokens, and the gaps between them",
        source="arXiv:2509.01025",
    )
    add(
        "network",
        "equivariant",
        "sfumato_nn.equivariant:EquivariantNetwork",
        summary="points in space, their numbers and those of pairs; turns and moves with them",
        source="arXiv:2102.09844, arXiv:2203.17003",
    )
