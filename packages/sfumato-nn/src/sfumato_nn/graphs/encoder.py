"""From a graph to one vector, whatever the order of its nodes."""

from __future__ import annotations

__all__ = ["Encoder", "GraphEncoder", "PairEncoder"]

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .state import dense

RELATIVE = 0.01
"""Deviations below this share of the largest are hardly amplified further, see `spread`."""

ALIKE = 1e-10
"""Variances below this share of the squared mean are rounding."""


class Encoder(nn.Module):
    """Means over the nodes of a graph, and of these the vector.

    Args:
        width: channels of a node.
        length: of the vector.
    """

    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        self.length = length
        self.outward = nn.Linear(width, length)

    def each(self, x: Any) -> Tensor:
        """(B, N, width) of each node; of padded ones 0."""
        raise NotImplementedError

    @torch.no_grad()
    def spread(self, x: Any) -> None:
        """Make codes have mean 0 and variance 1 in each component, over graphs like these.

        When the weights are new, codes of unlike graphs differ by a small part of what they share:
        what reads them is told a constant, and sends nothing back. The last layer takes whitened
        means instead, whose smallest deviations are amplified at most by `1 / RELATIVE` against the
        largest (data-dependent initialisation: Salimans & Kingma 2016, arXiv:1602.07868, section
        3). Graphs that are all alike change nothing.
        """
        mean = self._mean(x).double()
        centre = mean.mean(0)
        covariance = (mean - centre).T.cov(correction=0)
        variances, axes = torch.linalg.eigh(covariance)
        largest = variances.max()
        if largest <= ALIKE * centre.square().sum():
            return
        scale = (variances.clamp_min(0) + RELATIVE**2 * largest).rsqrt()
        rows = self.outward.weight.double() @ (axes * scale) @ axes.T
        rows /= (rows @ covariance * rows).sum(1, keepdim=True).sqrt()
        self.outward.weight.copy_(rows)
        self.outward.bias.copy_(-rows @ centre)

    def forward(self, x: Any) -> Tensor:
        """(B, length) of graphs, `Fields(nodes=Padded, edges=Padded)` of ids."""
        z: Tensor = self.outward(self._mean(x))
        return z

    def _mean(self, x: Any) -> Tensor:
        """(B, width), over the nodes of each graph."""
        mean: Tensor = self.each(x).sum(1) / x["nodes"].mask.sum(1, keepdim=True)
        return mean


class GraphEncoder(Encoder):
    """Sums over neighbours and small MLPs in turn, then the mean over the nodes.

    h_i <- MLP((1 + eps) h_i + sum_j W_{c(i, j)} h_j) over the neighbours j, with a matrix for each
    class of edges: the graph isomorphism network of Xu et al. 2019, arXiv:1810.00826, eq. 4.1, for
    edges with classes as Schlichtkrull et al. 2018, arXiv:1703.06103, have them. A layer norm
    stands before each MLP, in place of a batch norm, so that a graph does not depend on others.

    Args:
        nodes: classes of nodes.
        edges: classes of pairs; class 0 is no edge.
        width: channels of a node.
        depth: number of layers.
        length: of the vector.
    """

    def __init__(
        self,
        nodes: int,
        edges: int,
        *,
        width: int = 64,
        depth: int = 2,
        length: int = 64,
    ) -> None:
        super().__init__(width, length)
        self.nodes, self.edges = nodes, edges
        self.inward = nn.Linear(nodes + 1, width)
        self.own = nn.Parameter(torch.zeros(depth))
        self.messages = nn.ModuleList(
            nn.Linear(width, width * (edges - 1), bias=False) for _ in range(depth)
        )
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
            )
            for _ in range(depth)
        )

    def each(self, x: Any) -> Tensor:
        mask = x["nodes"].mask
        count = mask.shape[1]
        classes = dense(x["edges"].data * x["edges"].mask, count)
        joined = F.one_hot(classes, self.edges)[..., 1:].to(self.inward.weight.dtype)
        shown = [F.one_hot(x["nodes"].data, self.nodes), joined.sum((2, 3)).log1p()[..., None]]
        h = self.inward(torch.cat([part.to(joined.dtype) for part in shown], -1))
        real = mask[..., None].to(h.dtype)
        for own, message, layer in zip(self.own, self.messages, self.layers, strict=True):
            told = message(h * real).unflatten(-1, (self.edges - 1, -1))
            h = layer((1 + own) * h + torch.einsum("bijc,bjcw->biw", joined, told))
        each: Tensor = h * real
        return each


class PairEncoder(Encoder):
    """Products over third nodes and small MLPs in turn, on pairs; then the means over them.

    h_ij <- h_ij + MLP(h_ij, sum_k a_ik b_kj / sqrt(n)), with a and b linear in what a layer norm
    makes of h and products component by component: the network of Maron et al. 2019,
    arXiv:1905.11136, section 6, which counts cycles that sums over neighbours cannot tell (it knows
    graphs apart as the two-dimensional Weisfeiler-Leman test does). A node is told by its pair with
    itself and by the mean of its pairs. It costs n^3 where `GraphEncoder` costs n^2. New weights
    are larger than usual: with small ones graphs differ by a few percent of what all share, and
    `spread` has to amplify that, and every later change of what is shared, a thousand times.

    Args:
        nodes: classes of nodes.
        edges: classes of pairs; class 0 is no edge.
        width: channels of a node, twice those of a pair.
        depth: number of layers.
        length: of the vector.
    """

    def __init__(
        self, nodes: int, edges: int, *, width: int = 64, depth: int = 2, length: int = 64
    ) -> None:
        super().__init__(width, length)
        self.nodes, self.edges, wide = nodes, edges, width // 2
        self.inward = nn.Linear(2 * nodes + edges + 1, wide)
        self.norms = nn.ModuleList(nn.LayerNorm(wide) for _ in range(depth))
        self.factors = nn.ModuleList(nn.Linear(wide, 2 * wide) for _ in range(depth))
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * wide, wide), nn.SiLU(), nn.Linear(wide, wide))
            for _ in range(depth)
        )
        nn.init.normal_(self.inward.weight, std=0.5)
        for module in (*self.factors.modules(), *self.layers.modules()):
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=2 * module.in_features**-0.5)

    def each(self, x: Any) -> Tensor:
        mask = x["nodes"].mask
        count = mask.shape[1]
        classes = dense(x["edges"].data * x["edges"].mask, count)
        own = F.one_hot(x["nodes"].data, self.nodes)[:, :, None].expand(-1, -1, count, -1)
        itself = torch.eye(count, dtype=torch.long, device=mask.device)[None, :, :, None]
        shown = (own, own.transpose(1, 2), F.one_hot(classes, self.edges))
        itself = itself.expand_as(classes[..., None])
        h = self.inward(torch.cat((*shown, itself), -1).to(self.inward.weight.dtype))
        there = (mask[:, :, None] & mask[:, None])[..., None].to(h.dtype)
        size = mask.sum(1)[:, None, None, None].to(h.dtype)
        for norm, factors, layer in zip(self.norms, self.factors, self.layers, strict=True):
            a, b = (factors(norm(h)) * there).chunk(2, -1)
            product = torch.einsum("bikc,bkjc->bijc", a, b) / size.sqrt()
            h = h + layer(torch.cat((h, product), -1))
        h = h * there
        alone = h.diagonal(dim1=1, dim2=2).transpose(1, 2)
        each: Tensor = torch.cat((alone, h.sum(2) / size[:, 0]), -1)
        return each
