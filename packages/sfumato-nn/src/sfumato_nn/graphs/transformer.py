"""The network: a transformer over nodes whose attention is told the pairs, and which tells them."""

from __future__ import annotations

__all__ = ["GraphDenoiser", "GraphTransformer"]

from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato import Categorical, Joint, Padded, Process
from sfumato.denoiser import NetworkDenoiser
from sfumato.state import Time

from ..embed import ClockEmbedding, Condition, Conditioner
from ..layers import SwiGLU, zeroed
from . import features
from .state import dense, pairs


class GraphTransformer(nn.Module):
    """A transformer over nodes and pairs of nodes, for graphs of classes and of real values alike.

    In each block nodes attend to each other with biases that come from the pairs, and each pair
    learns from the product of its two nodes, so that it stays symmetric. The whole graph is one
    vector, which scales and shifts both. So in Vignac et al. 2022, arXiv:2209.14734, appendix B.2,
    but for dot products in place of elementwise ones, which have fused kernels. Permuting the nodes
    permutes what comes out; padded nodes are never read.

    Args:
        nodes: numbers of a node, in and out.
        pairs: numbers of a pair, in and out.
        width: channels of a node.
        pair_width: channels of a pair.
        depth: number of blocks.
        heads: of the attention.
        structural: tell the network `features` of the noisy graph.
        told: numbers of a node that are told beyond those that come out again.
        classes: values of a condition `label`; 0: it takes none.
        vector: length of a condition `vector`; 0: it takes none.
    """

    def __init__(
        self,
        nodes: int,
        pairs: int,
        *,
        width: int = 96,
        pair_width: int = 32,
        depth: int = 4,
        heads: int = 4,
        structural: bool = True,
        told: int = 0,
        classes: int = 0,
        vector: int = 0,
    ) -> None:
        super().__init__()
        self.structural = structural
        extra = (features.NODE, features.PAIR, features.GRAPH) if structural else (0, 0, 1)
        self.clock = ClockEmbedding(width)
        self.conditioner = Conditioner(width, classes, vector)
        self.node_in = nn.Linear(nodes + told + extra[0], width)
        self.pair_in = nn.Linear(pairs + extra[1], pair_width)
        self.graph_in = nn.Linear(extra[2], width)
        self.blocks = nn.ModuleList(Block(width, pair_width, heads) for _ in range(depth))
        self.node_out = nn.Sequential(nn.LayerNorm(width), zeroed(nn.Linear(width, nodes)))
        self.pair_out = nn.Sequential(
            nn.LayerNorm(pair_width), zeroed(nn.Linear(pair_width, pairs))
        )

    def encode(self, **condition: Condition) -> dict[str, Tensor]:
        """What conditions are told as: a context (B, width), see `Conditioner.encode`."""
        return {"context": self.conditioner.encode(**condition)}

    def forward(
        self,
        node: Tensor,
        pair: Tensor,
        joined: Tensor,
        mask: Tensor,
        clock: Tensor,
        context: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """What is known of nodes and pairs, to what is told of them.

        Args:
            node: (B, N, nodes + told).
            pair: (B, P, pairs), in the order of `state.pairs`.
            joined: (B, P) bool, which pairs count as edges, for the features.
            mask: (B, N) bool, which nodes are real.
            clock: (B,).
            context: what `encode` made of conditions; None: there are none.

        Returns:
            (B, N, nodes) and (B, P, pairs).
        """
        h, e, signal, keys = self._begun(node, pair, joined, mask, clock, context)
        for block in self.blocks:
            h, e = block(h, e, signal, keys)
        return self.node_out(h), self.pair_out(e)

    def middle(
        self, shown: tuple[Tensor, Tensor, Tensor, Tensor, Tensor], context: Tensor | None = None
    ) -> Tensor:
        """(B, N, width) nodes after half of the blocks, of what `forward` takes."""
        h, e, signal, keys = self._begun(*shown, context)
        for block in self.blocks[: (len(self.blocks) + 1) // 2]:
            h, e = block(h, e, signal, keys)
        return h

    def _begun(
        self,
        node: Tensor,
        pair: Tensor,
        joined: Tensor,
        mask: Tensor,
        clock: Tensor,
        context: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Nodes, pairs and the signal for the blocks, and -inf at padding."""
        weight, count = self.node_in.weight, mask.shape[1]
        node, pair = node.to(weight.dtype), pair.to(weight.dtype)
        if self.structural:
            smaller, larger = pairs(count, mask.device)
            there = dense(joined, count) & mask[:, :, None] & mask[:, None]
            own = [f.to(weight.dtype) for f in features.features(there, mask)]
            node, graph = torch.cat((node, own[0]), -1), own[2]
            pair = torch.cat((pair, own[1][:, smaller, larger]), -1)
        else:
            graph = mask.sum(1, keepdim=True).to(weight.dtype).log()
        signal = F.silu(self.conditioner(self.clock(clock) + self.graph_in(graph), context))
        keys = torch.zeros_like(mask, dtype=weight.dtype).masked_fill(~mask, -torch.inf)
        return self.node_in(node), self.pair_in(pair), signal, keys[:, None, None]


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
        """Nodes h (B, N, W), pairs e (B, P, V), the graph (B, W); `keys` is -inf at padding."""
        width = h.shape[-1]
        told = self.told(signal)[:, None]
        s1, b1, g1, s2, b2, g2 = told[..., : 6 * width].chunk(6, -1)
        gain, shift = told[..., 6 * width :].chunk(2, -1)
        pair = self.pair_norms[0](e) * (1 + gain) + shift
        q, k, v = (
            self.inward(self.node_norms[0](h) * (1 + s1) + b1)
            .unflatten(-1, (3, self.heads, -1))
            .permute(2, 0, 3, 1, 4)
        )
        mixed = F.scaled_dot_product_attention(
            q, k, v, attn_mask=dense(self.bias(pair), h.shape[1]).permute(0, 3, 1, 2) + keys
        )
        h = h + (1 + g1) * self.outward(mixed.transpose(1, 2).flatten(2))
        h = h + (1 + g2) * self.node_mlp(self.node_norms[1](h) * (1 + s2) + b2)
        sums, factors = self.ends(h).chunk(2, -1)
        smaller, larger = pairs(h.shape[1], h.device)
        both = sums[:, smaller] + sums[:, larger]
        product = factors[:, smaller] * factors[:, larger]
        e = e + self.pair_mix(torch.cat((pair * both, product), -1))
        return h, e + self.pair_mlp(self.pair_norms[1](e))


class GraphDenoiser(NetworkDenoiser):
    """A network as a denoiser of classes: probabilities for every node and pair.

    Args:
        net: with as many numbers in and out as there are classes of nodes and of pairs.
        process: of nodes and edges.
        classes: of nodes and of pairs.
    """

    def __init__(self, net: GraphTransformer, process: Process, classes: tuple[int, int]) -> None:
        super().__init__(net, process)
        self.classes = classes

    def given(self, **condition: Any) -> Self:
        """A view told a condition; `nodes`, the size, is left out: the network sees it."""
        return super().given(**{k: v for k, v in condition.items() if k != "nodes"})

    def shown(self, x: Any, t: Time) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """What the network is called with: one-hot classes, edges, the mask, the clock."""
        nodes, edges = x["nodes"].data, x["edges"].data
        clock = self.process.clock(t)["edges"].to(nodes.device, torch.float32)
        classes = (F.one_hot(nodes, self.classes[0]), F.one_hot(edges, self.classes[1]))
        return (*classes, edges > 0, x["nodes"].mask, clock.expand(len(nodes)))

    def output(self, x: Any, t: Time) -> tuple[Tensor, Tensor]:
        """Logits of the clean classes."""
        shown = self.shown(x, t)
        device = x["nodes"].data.device.type
        with torch.autocast(device, self.autocast, enabled=self.autocast is not None):
            node, pair = self.net(*shown, **self._context)
        return node, pair

    def forward(self, x: Any, t: Time) -> Joint:
        nodes, edges = self.output(x, t)
        return Joint(
            nodes=Categorical(logits=Padded(nodes, x["nodes"].mask)),
            edges=Categorical(logits=Padded(edges, x["edges"].mask)),
        )
