"""A network on points in space whose output turns, mirrors and moves with them.

Items are rows of a `Ragged` state: the points of an item are told of each other in pairs, and of
those of no other item. The pairs of a batch are listed once, so that a layer costs the sum of
n_i^2 and nothing is padded.
"""

from __future__ import annotations

__all__ = ["EquivariantNetwork", "Geometry", "MessageLayer", "Pairs", "pairs"]

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato import InputError, Ragged

from .embed import ClockEmbedding, Condition, Conditioner
from .layers import zeroed

RADIAL = 16
"""Radial functions of a distance."""

VALENCE = 4.0
"""What sums over neighbours are divided by: about so many pass the gates."""


class Pairs(NamedTuple):
    """Unordered pairs of different rows of the same item.

    They stand item by item, and in an item in the order (0, 1), (0, 2), (1, 2), (0, 3), ...: by
    their later row, then by their earlier one.
    """

    later: Tensor  # (U,) long, rows
    earlier: Tensor  # (U,) long, rows
    owner: Tensor  # (U,) long, item of each pair


def pairs(points: Ragged) -> Pairs:
    """All pairs of a ragged state; an item of n rows has n (n - 1) / 2."""
    place = points.position
    later = torch.repeat_interleave(place)
    inside = torch.arange(len(later), device=place.device) - (place.cumsum(0) - place)[later]
    return Pairs(later, later - place[later] + inside, points.owner[later])


class Geometry(NamedTuple):
    """What the network says of a batch."""

    shift: Tensor  # (N, 3) displacement of each point: turns with the points
    nodes: Tensor  # (N, nodes_out) numbers of each point: do not change when the points turn
    pairs: Tensor  # (U, pairs_out) numbers of each pair of `pairs(points)`, likewise


class EquivariantNetwork(nn.Module):
    """An E(3)-equivariant graph network over all pairs of points of an item.

    A layer sends m_ij = phi_m(h_i, h_j, |x_i - x_j|, e_ij), and with gates g in (0, 1) and weights
    w, both linear in m_ij, updates

        h_i <- h_i + phi_h(h_i, sum_j g_ij m_ij),
        f_i <- f_i + sum_j w_ij (x_i - x_j) / (|x_i - x_j| + 1),    x_i = start_i + c f_i,

    where f is the displacement that is returned. It is in units of the noise: c = sigma/(alpha^2 +
    sigma^2)^(1/2), as the clock tells it. So in Satorras et al. 2021, arXiv:2102.09844, with the
    attention and the damped steps of Hoogeboom et al. 2022, arXiv:2203.17003, appendix B. Distances
    enter as radial functions of exp(-d) (Unke & Meuwly 2019, arXiv:1902.08408), clock and
    conditions as scale and shift of each layer. The two ends of a pair share what is symmetric, and
    the first map of a message is applied to points instead of pairs. A fresh network moves nothing
    and says 0.

    Mirrored points are not told apart unless the network is `chiral`: then a term
    w'_ij (x_i - c) x (x_j - c) / (|.| + 1), with the mean point c, is added to the shift of x_i
    (Schneuing et al. 2022, arXiv:2210.13695), and only rotations and moves are symmetries.

    Args:
        nodes: numbers of a point that are given, 0 for none.
        nodes_out: numbers of a point that are asked for.
        pairs: numbers of a pair that are given (bonds), 0 for none.
        pairs_out: numbers of a pair that are asked for.
        width: channels.
        depth: layers.
        radius: points farther apart send no messages; None: all do. It is in units of the input.
        chiral: tell mirrored points apart.
        classes: labels of an item that the network may be told, see `Conditioner`.
        vector: length of the vector that it may be told.
    """

    def __init__(
        self,
        nodes: int,
        nodes_out: int,
        *,
        pairs: int = 0,
        pairs_out: int = 0,
        width: int = 64,
        depth: int = 4,
        radius: float | None = None,
        chiral: bool = False,
        classes: int = 0,
        vector: int = 0,
    ) -> None:
        super().__init__()
        if radius is not None and not radius > 0:
            raise InputError(f"radius must be positive, but is {radius}")
        self.nodes, self.pairs, self.radius = nodes, pairs, radius
        self.clock = ClockEmbedding(width)
        self.conditioner = Conditioner(width, classes, vector)
        self.node_in = nn.Linear(nodes + 1, width)
        self.layers = nn.ModuleList(MessageLayer(width, pairs, chiral) for _ in range(depth))
        self.node_out = nn.Sequential(nn.LayerNorm(width), zeroed(nn.Linear(width, nodes_out)))
        self.pair_out = _PairOut(width, pairs, pairs_out) if pairs_out else None

    def encode(self, **condition: Condition) -> dict[str, Tensor]:
        """The `context` that `forward` takes; see `Conditioner.encode`."""
        return {"context": self.conditioner.encode(**condition)} if condition else {}

    def forward(
        self,
        points: Ragged,
        clock: Tensor,
        nodes: Tensor | None = None,
        bonds: Tensor | None = None,
        context: Tensor | None = None,
    ) -> Geometry:
        """Displacements of points and numbers for points and pairs.

        Args:
            points: (N, 3) in space, of about unit variance.
            clock: (B,).
            nodes: (N, nodes) what is known of each point.
            bonds: (U, pairs) what is known of each pair, in the order of `pairs(points)`.
            context: (B, width) or (1, width) of `encode`; None: unconditional.

        Raises:
            InputError: if the numbers of points or pairs are not as many as the network takes.
        """
        self._check(points, nodes, bonds)
        weight = self.node_in.weight
        start = x = _centred(points.data, points).to(weight.dtype)  # far from 0 digits are lost
        own = points.counts.to(x).log1p()[points.owner, None]
        h = self.node_in(own if nodes is None else torch.cat((nodes.to(x), own), -1))
        signal = F.silu(self.conditioner(self.clock(clock), context))
        all_pairs = pairs(points)
        bonds = None if bonds is None else bonds.to(x)
        near, told = self._near(x, all_pairs, bonds)
        noise = (1 + (-2 * clock.to(x)).exp()).rsqrt()[points.owner, None]
        shift = torch.zeros_like(x)
        for layer in self.layers:
            h, step = layer(h, x, signal, near, told, points)
            shift = shift + step
            x = start + noise * shift
        last = (
            x.new_zeros(len(all_pairs.owner), 0)
            if self.pair_out is None
            else self.pair_out(h, x, all_pairs, bonds)
        )
        return Geometry(shift, self.node_out(h), last)

    def _near(self, x: Tensor, every: Pairs, bonds: Tensor | None) -> tuple[Pairs, Tensor | None]:
        """The pairs that send messages, and what is known of them."""
        if self.radius is None:
            return every, bonds
        gap = x.index_select(0, every.later) - x.index_select(0, every.earlier)
        kept = (gap.square().sum(-1) <= self.radius**2).nonzero()[:, 0]
        return Pairs(*(part[kept] for part in every)), None if bonds is None else bonds[kept]

    def _check(self, points: Ragged, nodes: Tensor | None, bonds: Tensor | None) -> None:
        place = points.position
        wanted = {"nodes": (len(points.data), self.nodes), "pairs": (int(place.sum()), self.pairs)}
        for name, given in (("nodes", nodes), ("pairs", bonds)):
            shape = tuple(given.shape) if given is not None else (wanted[name][0], 0)
            if shape != wanted[name]:
                raise InputError(f"this network takes {name} {wanted[name]}, but got {shape}")


class MessageLayer(nn.Module):
    """One round of messages."""

    def __init__(self, width: int, pairs: int, chiral: bool) -> None:
        super().__init__()
        self.chiral = chiral
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.told = zeroed(nn.Linear(width, 2 * width))
        self.ends = nn.Linear(width, 2 * width)
        self.edge = nn.Linear(RADIAL + pairs, width, bias=False)
        self.message = nn.Linear(width, width)
        self.gate = nn.Linear(width, 1)
        self.moves = zeroed(nn.Linear(width, 2 if chiral else 1))
        self.node = nn.Sequential(
            nn.Linear(2 * width, width), nn.SiLU(), zeroed(nn.Linear(width, width))
        )
        # Two or three radial functions are far from 0 at a time: with the usual small weights a
        # message would hardly depend on the distance, and training begin far slower.
        nn.init.normal_(self.edge.weight, std=0.7)
        nn.init.kaiming_normal_(self.message.weight)
        nn.init.kaiming_normal_(self.ends.weight, nonlinearity="linear")

    def forward(
        self,
        h: Tensor,
        x: Tensor,
        signal: Tensor,
        pair: Pairs,
        bonds: Tensor | None,
        points: Ragged,
    ) -> tuple[Tensor, Tensor]:
        """Points h (N, W) at x (N, 3) of items told `signal` (B, W): h anew, and steps (N, 3)."""
        later, earlier = pair.later, pair.earlier
        gain, shift = self.told(signal).index_select(0, points.owner).chunk(2, -1)
        a = torch.addcmul(shift, self.norm(h), 1 + gain)
        to, by = self.ends(a).chunk(2, -1)
        gap = x.index_select(0, later) - x.index_select(0, earlier)
        d = _distance(gap)
        edge = self.edge(_features(d, bonds))
        message = torch.cat(
            (
                to.index_select(0, later) + by.index_select(0, earlier) + edge,
                to.index_select(0, earlier) + by.index_select(0, later) + edge,
            )
        )
        message = F.silu(self.message(F.silu(message)))
        ends = torch.cat((later, earlier))
        gated = message * self.gate(message).sigmoid()
        sums = torch.zeros_like(h).index_add(0, ends, gated) / VALENCE
        h = h + self.node(torch.cat((a, sums), -1))
        moves = self.moves(message)
        unit = gap / (d + 1)
        step = torch.cat((unit, -unit)) * moves[:, :1]
        if self.chiral:
            step = step + self._turned(x, pair, points) * moves[:, 1:]
        return h, torch.zeros_like(x).index_add(0, ends, step)

    @staticmethod
    def _turned(x: Tensor, pair: Pairs, points: Ragged) -> Tensor:
        """(2U, 3) damped cross products of the two ends of each pair, seen from their middle."""
        y = _centred(x, points)
        cross = torch.linalg.cross(y.index_select(0, pair.later), y.index_select(0, pair.earlier))
        cross = cross / (_distance(cross) + 1)
        return torch.cat((cross, -cross))


class _PairOut(nn.Module):
    """Numbers of pairs that do not depend on the order of their ends."""

    def __init__(self, width: int, pairs: int, out: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.ends = nn.Linear(width, width)
        self.edge = nn.Linear(RADIAL + pairs, width, bias=False)
        self.inner = nn.Linear(width, width)
        self.outward = zeroed(nn.Linear(width, out))

    def forward(self, h: Tensor, x: Tensor, pair: Pairs, bonds: Tensor | None) -> Tensor:
        """Points h (N, W) at x (N, 3) to (U, out)."""
        end = self.ends(self.norm(h))
        gap = x.index_select(0, pair.later) - x.index_select(0, pair.earlier)
        both = end.index_select(0, pair.later) + end.index_select(0, pair.earlier)
        z = F.silu(both + self.edge(_features(_distance(gap), bonds)))
        y: Tensor = self.outward(F.silu(self.inner(z)))
        return y


def _centred(x: Tensor, points: Ragged) -> Tensor:
    """Rows (N, 3) minus the mean of their item."""
    total = x.new_zeros(points.items, 3).index_add(0, points.owner, x)
    middle = total / points.counts.clamp_min(1)[:, None].to(x)
    return x - middle.index_select(0, points.owner)


def _distance(gap: Tensor) -> Tensor:
    """(U, 1) lengths; a little is added to their squares, so that gradients stay finite at 0."""
    return (gap.square().sum(-1, keepdim=True) + 1e-8).sqrt()


def _features(d: Tensor, bonds: Tensor | None) -> Tensor:
    """exp(-((exp(-d) - mu_k) / width)^2) with mu_k even on [0, 1], and what else is known."""
    centres = torch.linspace(0, 1, RADIAL, dtype=d.dtype, device=d.device)
    radial = (-(((-d).exp() - centres) * (RADIAL / math.sqrt(2))).square()).exp()
    return radial if bonds is None else torch.cat((radial, bonds), -1)
