"""One picture of many graphs."""

from __future__ import annotations

__all__ = ["preview"]

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import networkx as nx
from matplotlib import colormaps
from matplotlib.figure import Figure

from sfumato import Batch
from sfumato_train.files import write_bytes

from .data import networks

MOST, ACROSS = 24, 6


def preview(batch: Batch, path: Path, about: Mapping[str, Any]) -> Path:
    """Write a PNG file with up to 24 graphs: colours of nodes are classes, widths of edges too.

    The nodes are laid out by Kamada & Kawai, every component for itself.
    """
    shown = networks(batch.x, about)[:MOST]
    down = -(-len(shown) // ACROSS)
    figure = Figure(figsize=(1.6 * ACROSS, 1.6 * down), layout="constrained")
    colours = colormaps["tab10"]
    for axes in figure.subplots(down, ACROSS, squeeze=False).ravel()[len(shown) :]:
        axes.set_axis_off()
    for axes, network in zip(figure.axes, shown, strict=False):
        places = _laid_out(network)
        nx.draw_networkx_edges(
            network, places, ax=axes, edge_color="0.5",
            width=[0.8 * value for *_, value in network.edges(data="class")],
        )  # fmt: skip
        nx.draw_networkx_nodes(
            network, places, ax=axes, node_size=22,
            node_color=[colours(value % 10) for _, value in network.nodes(data="class")],
        )  # fmt: skip
        axes.set_axis_off()
        axes.set_aspect("equal")
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=90)
    write_bytes(path, drawn.getvalue())
    return path


def _laid_out(network: nx.Graph) -> dict[int, Any]:
    """Places of the nodes, components side by side."""
    places: dict[int, Any] = {}
    left = 0.0
    for part in sorted(nx.connected_components(network), key=len, reverse=True):
        size = len(part) ** 0.5
        own = nx.kamada_kawai_layout(network.subgraph(part), scale=size / 2)
        for node, (x, y) in own.items():
            places[node] = (left + size / 2 + x, y)
        left += size + 0.4
    return places
