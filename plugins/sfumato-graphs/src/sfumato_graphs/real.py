"""Graphs as real numbers: the score-based families EDP-GNN and GDSS.

Classes of nodes become one-hot vectors, that of a pair the number of its class (0: no edge; for
molecules the order of the bond), noised by a `Gaussian` as one vector; back at the data, numbers
are rounded (Niu et al. 2020, arXiv:2003.00638, section 3; Jo et al. 2022, arXiv:2202.02514,
section 3). Each pair has one number, so the noise is symmetric and of full variance.
"""

from __future__ import annotations

__all__ = ["Numbers", "RealDenoiser"]

from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato import Dirac, Fields, Padded, Preconditioned
from sfumato.random import Source
from sfumato.state import Time, expand
from sfumato_methods.discrete.sizes import Sizes


class Numbers(nn.Module):
    """A codec from classes to numbers: one-hot nodes (B, N, K), edges (B, P), and back by rounding.

    Args:
        nodes: classes of nodes.
        edges: classes of pairs.
        largest: nodes of the largest graph.
    """

    exact: float | None = 0.0

    def __init__(self, nodes: int, edges: int, largest: int) -> None:
        super().__init__()
        self.nodes, self.edges = nodes, edges
        self.sizes = Sizes(largest)

    def encode(self, x: Any, generator: Source) -> Fields:
        nodes, edges = x["nodes"], x["edges"]
        return Fields(
            nodes=Padded(F.one_hot(nodes.data, self.nodes).float(), nodes.mask),
            edges=Padded(edges.data.float(), edges.mask),
        )

    def decode(self, z: Any) -> Fields:
        """The nearest class: above 0.5 there is an edge."""
        nodes, edges = z["nodes"], z["edges"]
        near = edges.data.round().long().clamp(0, self.edges - 1)
        return Fields(
            nodes=Padded(nodes.data.argmax(-1) * nodes.mask, nodes.mask),
            edges=Padded(near * edges.mask, edges.mask),
        )

    def layout(self, like: Any) -> Fields:
        return self.encode(like, torch.Generator())

    def mask(self, m: Any) -> Fields:
        nodes, edges = m["nodes"], m["edges"]
        return Fields(
            nodes=Padded(nodes.data[..., None].expand(*nodes.data.shape, self.nodes), nodes.mask),
            edges=edges,
        )


class RealDenoiser(Preconditioned):
    """A preconditioned `GraphTransformer`, with one number in and out for each pair."""

    def given(self, **condition: Any) -> Self:
        """A view told a condition; `nodes`, the size, is left out: the network sees it."""
        return super().given(**{k: v for k, v in condition.items() if k != "nodes"})

    def forward(self, x: Any, t: Time) -> Dirac:
        process: Any = self.process
        assert isinstance(t, Tensor)
        alpha = process.alpha(t)
        keep, gain, scale_in = self._coefficients(alpha, process.sigma(t))
        nodes, edges = x["nodes"], x["edges"]
        shown = x * expand(x, scale_in)
        joined = edges.data > 0.5 * expand(edges, alpha)
        clock = process.clock(t).to(nodes.data.device, torch.float32).expand(len(nodes.data))
        with torch.autocast(clock.device.type, self.autocast, enabled=self.autocast is not None):
            node, pair = self.net(
                shown["nodes"].data, shown["edges"].data[..., None], joined, nodes.mask, clock,
                **self._context,
            )  # fmt: skip
        out = Fields(
            nodes=Padded(node.to(nodes.data), nodes.mask),
            edges=Padded(pair[..., 0].to(edges.data), edges.mask),
        )
        return Dirac(x * expand(x, keep) + out * expand(x, gain))
