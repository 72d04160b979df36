"""The network: a transformer over nodes whose attention is told the pairs, and which tells them."""

from __future__ import annotations

__all__ = ["GraphDenoiser", "GraphTransformer"]

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato import Categorical, Fields, Joint, Padded
from sfumato.denoiser import NetworkDenoiser
from sfumato.state import Time, items
from sfumato_nn.embed import ClockEmbedding
from sfumato_nn.layers import SwiGLU, zeroed

from . import features
from .state import dense, pairs


class GraphTransformer(nn.Module):
    """Logits of the clean classes of nodes and pairs, from noisy classes.

    In each block nodes attend to each other with biases that come from the pairs, and each pair
    learns from the product of its two nodes, so that it stays symmetric. The whole graph is one
    vector, which scales and shifts both. So in Vignac et al. 2022, arXiv:2209.14734, appendix B.2,
    but for dot products in place of elementwise ones, which have fused kernels. Permuting the nodes
    permutes what comes out; padded nodes are never read.

    Args:
        nodes: classes of nodes.
        edges: classes of pairs.
        width: channels of a node.
        pair_width: channels of a pair.
        depth: number of blocks.
        heads: of the attention.
        structural: tell the network `features` of the noisy graph.
    """

    def __init__(
        self,
        nodes: int,
        edges: int,
        *,
        width: int = 96,
        pair_width: int = 32,
        depth: int = 4,
        heads: int = 4,
        structural: bool = True,
    ) -> None:
        super().__init__()
        self.classes = nodes, edges
        self.structural = structural
        extra = (features.NODE, features.PAIR, features.GRAPH) if structural else (0, 0, 1)
        self.clock = ClockEmbedding(width)
        self.node_in = nn.Linear(nodes + extra[0], width)
        self.pair_in = nn.Linear(edges + extra[1], pair_width)
        self.graph_in = nn.Linear(extra[2], width)
        self.blocks = nn.ModuleList(Block(width, pair_width, heads) for _ in range(depth))
        self.node_out = nn.Sequential(nn.LayerNorm(width), zeroed(nn.Linear(width, nodes)))
        self.pair_out = nn.Sequential(
            nn.LayerNorm(pair_width), zeroed(nn.Linear(pair_width, edges))
        )

    def forward(self, x: Fields, clock: Tensor) -> tuple[Tensor, Tensor]:
        """A noisy graph and a clock (B,) to logits (B, N, nodes) and (B, P, edges)."""
        mask, count = x["nodes"].mask, x["nodes"].mask.shape[1]
        weight = self.node_in.weight
        ids = dense(x["edges"].data, count)
        there = mask[:, :, None] & mask[:, None]
        node = F.one_hot(x["nodes"].data, self.classes[0]).to(weight.dtype)
        pair = F.one_hot(ids, self.classes[1]).to(weight.dtype)
        if self.structural:
            joined = (ids > 0) & there
            own = [f.to(weight.dtype) for f in features.features(joined, mask)]
            node, pair, graph = torch.cat((node, own[0]), -1), torch.cat((pair, own[1]), -1), own[2]
        else:
            graph = mask.sum(1, keepdim=True).to(weight.dtype).log()
        h, e = self.node_in(node), self.pair_in(pair)
        signal = F.silu(self.clock(clock) + self.graph_in(graph))
        keys = torch.zeros_like(mask, dtype=weight.dtype).masked_fill(~mask, -torch.inf)
        for block in self.blocks:
            h, e = block(h, e, signal, keys[:, None, None])
        smaller, larger = pairs(count, mask.device)
        return self.node_out(h), self.pair_out(e[:, smaller, larger])


class Block(nn.Module):
    """Attention among the nodes, an update of the pairs, and an MLP for each."""

    def __init__(self, width: int, pair_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.node_norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in "ab")
        self.pair_norms = nn.ModuleList(nn.LayerNorm(pair_width) for _ in "ab")
        self.told = zeroed(nn.Linear(width, 6 * width + 2 * pair_width))
        self.inward = nn.Linear(width, 3 * width)
        self.bias = nn.Linear(pair_width, heads)
        self.outward = nn.Linear(width, width)
        self.ends = nn.Linear(width, 2 * pair_width)
        self.pair_mix = nn.Linear(2 * pair_width, pair_width)
        self.node_mlp, self.pair_mlp = SwiGLU(width), SwiGLU(pair_width)

    def forward(self, h: Tensor, e: Tensor, signal: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Nodes h (B, N, W), pairs e (B, N, N, V), the graph (B, W); `keys` is -inf at padding."""
        width = h.shape[-1]
        told = self.told(signal)[:, None]
        s1, b1, g1, s2, b2, g2 = told[..., : 6 * width].chunk(6, -1)
        gain, shift = told[..., 6 * width :].chunk(2, -1)
        pair = self.pair_norms[0](e) * (1 + gain[:, None]) + shift[:, None]
        q, k, v = (
            self.inward(self.node_norms[0](h) * (1 + s1) + b1)
            .unflatten(-1, (3, self.heads, -1))
            .permute(2, 0, 3, 1, 4)
        )
        mixed = F.scaled_dot_product_attention(
            q, k, v, attn_mask=self.bias(pair).permute(0, 3, 1, 2) + keys
        )
        h = h + (1 + g1) * self.outward(mixed.transpose(1, 2).flatten(2))
        h = h + (1 + g2) * self.node_mlp(self.node_norms[1](h) * (1 + s2) + b2)
        sums, factors = self.ends(h).chunk(2, -1)
        both = sums[:, :, None] + sums[:, None]
        product = factors[:, :, None] * factors[:, None]
        e = e + self.pair_mix(torch.cat((pair * both, product), -1))
        return h, e + self.pair_mlp(self.pair_norms[1](e))


class GraphDenoiser(NetworkDenoiser):
    """A network of graphs as a denoiser: class probabilities of every node and pair."""

    def output(self, x: Any, t: Time) -> tuple[Tensor, Tensor]:
        """Logits of the clean classes."""
        clock = self.process.clock(t)["edges"].to(x["edges"].data.device, torch.float32)
        clock = clock.expand(items(x)) if clock.ndim == 0 else clock
        with torch.autocast(clock.device.type, self.autocast, enabled=self.autocast is not None):
            nodes, edges = self.net(x, clock, **self._context)
        return nodes, edges

    def forward(self, x: Any, t: Time) -> Joint:
        nodes, edges = self.output(x, t)
        return Joint(
            nodes=Categorical(logits=Padded(nodes, x["nodes"].mask)),
            edges=Categorical(logits=Padded(edges, x["edges"].mask)),
        )
