"""An equivariant network on ligand and receptor, whose forces move, turn and twist the ligand.

The network of `sfumato_nn.equivariant` gives a vector f_i to each ligand atom. What a rigid motion
or the turn of a bond explains of these vectors, by least squares, is what is told of that part:

    translation  sum f_i / n,
    rotation     I^-1 sum r_i x f_i,         r_i from the middle, I = sum |r_i|^2 - r_i r_i^T,
    torsion      sum (a x r_i) . f_i / sum |a x r_i|^2,    a along the bond, over what it moves.

The last two are of vectors scaled by a number of each atom, since the noise of rotations and of
torsions has scales of its own. So rotations are vectors that a mirror turns round, and torsions
change sign in it, as they must.
"""

from __future__ import annotations

__all__ = ["Chooser", "ForceNetwork", "Scene", "largest", "log_softmax", "scene"]

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sfumato import Fields, Ragged
from sfumato_nn.equivariant import EquivariantNetwork, Geometry, pairs

from .chemistry import FEATURES
from .pose import arm, centred

SCALE = 4.0
"""Angstrom in a unit of the network, whose own functions of a distance d are of exp(-d)."""

BONDS = 5
"""Numbers of a pair: single, double, triple; both in the ligand; between ligand and receptor."""

NODES = 2 + sum(FEATURES)
"""Numbers of an atom besides those of the known elements."""

SHELLS = 24
"""More numbers of a pair: bumps of log(1 + d), d from 0.5 to 12.5 angstrom. Forces that bring atoms
to a tenth of an angstrom change with distance faster than a small network learns by itself."""

VECTORS = 8
"""Vectors that all atoms of a complex share. The force on a ligand atom is a sum of vectors that
point to its neighbours; where it belongs when it is far away is told from the receptor alone. So
to each atom a mix sum_c a_ic V_c + b_i x_i is added, V_c = sum_j p_jc (x_j + c_jc f_j) with weights
p_jc that sum to 1 over the complex, as in attention, x_j from the middle of the receptor."""

LITTLE = 0.005
"""Of the square of a unit, added to what motions are divided by."""


class Motion(NamedTuple):
    """What the network tells of a batch."""

    move: Tensor  # (B, 3) translation
    turn: Tensor  # (B, 3) rotation
    twist: Tensor  # (T,) torsions
    force: Tensor  # (L, 3) of each ligand atom, whose mean is `move`


class Scene(NamedTuple):
    """Ligand and receptor as the points of one graph, those of the ligand first in each item."""

    points: Ragged  # (N, 3) in units of the network
    nodes: Tensor  # (N, elements + NODES) one-hot class, in the ligand or not, one-hot features
    bonds: Tensor  # (U, BONDS + SHELLS)
    ligand: Tensor  # (L,) rows of the ligand atoms, in the order of the state


def scene(told: Fields, places: Ragged, elements: int) -> Scene:
    """The graph of complexes, the ligand atoms standing at `places`."""
    kinds: Ragged = told["kinds"]
    owner = torch.cat((places.owner, kinds.owner))
    order = torch.argsort(owner, stable=True)
    here = len(places.data)
    points = torch.cat((places.data, told["receptor"].data.to(places.data)))[order] / SCALE
    classes = torch.cat((told["atoms"].data[:, 0], kinds.data)).clamp(max=elements)[order]
    inside = order < here
    nodes = torch.cat(
        (F.one_hot(classes, elements + 1), inside[:, None], _hot(told["features"].data)), -1
    ).to(points)
    merged = Ragged(points, owner[order], places.items)
    ligand = torch.empty_like(order)
    ligand[order] = torch.arange(len(order), device=order.device)
    return Scene(merged, nodes, _bonds(told["bonds"], merged, inside), ligand[:here])


def _hot(features: Tensor) -> Tensor:
    """(N, sum of `FEATURES`) one-hot, zeros where a feature is not known."""
    parts = (
        F.one_hot(column + 1, count + 1)[:, 1:]
        for column, count in zip(features.unbind(1), FEATURES, strict=True)
    )
    return torch.cat(tuple(parts), -1)


def _bonds(bonds: Ragged, merged: Ragged, inside: Tensor) -> Tensor:
    every = pairs(merged)
    one, two = inside[every.later], inside[every.earlier]
    found = merged.data.new_zeros(len(one), BONDS + SHELLS)
    gap = merged.data[every.later] - merged.data[every.earlier]
    near = (SCALE * (gap.square().sum(-1, keepdim=True) + 1e-8).sqrt()).log1p()
    bumps = torch.linspace(0.4, 2.6, SHELLS, dtype=near.dtype, device=near.device)
    found[:, BONDS:] = (-0.5 * ((near - bumps) / (bumps[1] - bumps[0])).square()).exp()
    found[:, 3], found[:, 4] = (one & two).to(found), (one ^ two).to(found)
    counts = merged.counts
    sizes = counts * (counts - 1) // 2
    i, j, kind = bonds.data.unbind(1)
    low, high = torch.minimum(i, j), torch.maximum(i, j)
    row = (sizes.cumsum(0) - sizes)[bonds.owner] + high * (high - 1) // 2 + low
    found[row, kind - 1] = 1.0
    return found


class ForceNetwork(nn.Module):
    """What moves, turns and twists ligands: see the module.

    Args:
        elements: classes of atoms; one more stands for all others.
        latents: indicators of each atom, 0 for none.
        width: channels.
        depth: layers.
        radius: angstrom; atoms farther apart send no messages, None: all do.
    """

    def __init__(
        self, elements: int, latents: int, *, width: int, depth: int, radius: float | None
    ) -> None:
        super().__init__()
        self.elements, self.latents = elements, latents
        self.net = EquivariantNetwork(
            elements + NODES + latents, 3 + 3 * VECTORS, pairs=BONDS + SHELLS, width=width,
            depth=depth, radius=None if radius is None else radius / SCALE,
        )  # fmt: skip
        last = self.net.node_out[1]
        assert isinstance(last, nn.Linear)
        last.reset_parameters()  # products of zeros would stay so

    def forward(
        self, told: Fields, places: Ragged, clock: Tensor, chosen: Ragged | None = None
    ) -> Motion:
        """What moves the ligands, numbers of order 1.

        Args:
            told: `complex` of a state.
            places: (L, 3) of the ligand atoms, angstrom.
            clock: (B,).
            chosen: (N, latents) indicators, where the network has them.
        """
        graph = scene(told, places, self.elements)
        nodes = graph.nodes
        if self.latents and chosen is not None:
            nodes = torch.cat((nodes, chosen.data.to(nodes)), -1)
        out = self.net(graph.points, clock, nodes, graph.bonds)
        force = (out.shift + _shared(graph.points, out))[graph.ligand]
        gates = 1 + out.nodes[graph.ligand, :2]
        own = Ragged(graph.points.data[graph.ligand], places.owner, places.items)
        return Motion(*_explained(own, told["axes"], told["moves"], force, gates), force)


def _shared(points: Ragged, out: Geometry) -> Tensor:
    """(N, 3) see `VECTORS`."""
    mix, lean, score = out.nodes[:, 3:].chunk(3, -1)
    weight = log_softmax(Ragged(score, points.owner, points.items)).exp()
    each = points.data[:, None] + lean[:, :, None] * out.shift[:, None]
    vectors = each.new_zeros(points.items, VECTORS, 3).index_add(
        0, points.owner, weight[:, :, None] * each
    )
    shared: Tensor = (mix[:, :, None] * vectors[points.owner]).sum(1)
    return shared + out.nodes[:, 2:3] * points.data


def log_softmax(x: Ragged) -> Tensor:
    """(N, C) logs of numbers that sum to 1 over the rows of each item."""
    top = largest(x).detach()[x.owner]
    total = x.data.new_zeros(x.items, x.data.shape[1]).index_add(0, x.owner, (x.data - top).exp())
    return x.data - top - total.log()[x.owner]


def largest(x: Ragged) -> Tensor:
    """(B, C) the largest of the rows of each item."""
    owner = x.owner[:, None].expand_as(x.data)
    blank = x.data.new_full((x.items, x.data.shape[1]), -torch.inf)
    return blank.scatter_reduce(0, owner, x.data, "amax")


def _explained(
    places: Ragged, axes: Ragged, moves: Ragged, force: Tensor, gates: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """What a shift, a rotation and turns of bonds explain of vectors (L, 3), one after the other.

    The shift is taken out before the rotation is told, and both before the bonds are, which
    neither shift nor rotate a ligand; so no number of an atom (L, 2) lets one pass for the other.
    """
    r = centred(places).data
    move, spin = _rigid(places, force)
    rest = force - move[places.owner]
    _, turn = _rigid(places, rest * gates[:, :1])
    inner = rest - torch.linalg.cross(spin[places.owner], r)
    return move, turn, _twist(places, axes, moves, inner * gates[:, 1:])


def _rigid(places: Ragged, force: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 3) the mean of vectors, and the rotation about the middle that they make."""
    owner, count = places.owner, places.counts.clamp_min(1)[:, None].to(force)

    def total(rows: Tensor) -> Tensor:
        return rows.new_zeros(places.items, *rows.shape[1:]).index_add(0, owner, rows)

    r = centred(places).data
    eye = torch.eye(3, dtype=r.dtype, device=r.device)
    inertia = total(r.square().sum(-1)[:, None, None] * eye - r[:, :, None] * r[:, None, :])
    torque = total(torch.linalg.cross(r, force))
    # about the axis of a straight ligand nothing turns: a little keeps the inverse there
    spread = inertia + (LITTLE * count[..., None]) * eye
    return total(force) / count, torch.linalg.solve(spread, torque[..., None])[..., 0]


def _twist(places: Ragged, axes: Ragged, moves: Ragged, force: Tensor) -> Tensor:
    """(T,) what the vectors turn each bond by."""
    counts = places.counts
    u, v = (axes.data + (counts.cumsum(0) - counts)[axes.owner, None]).unbind(1)
    axis = places.data[v] - places.data[u]
    axis = axis / (axis.square().sum(-1, keepdim=True) + 1e-12).sqrt()
    bit = axes.position
    pair = (places.owner[:, None] == axes.owner) & ((moves.data[:, None] >> bit) & 1).bool()
    atom, bond = pair.nonzero().unbind(1)
    lever = arm(places.data[atom], places.data[v][bond], axis[bond])
    work = (lever * force[atom]).sum(-1)
    zero = force.new_zeros(len(u))
    size = zero.index_add(0, bond, lever.square().sum(-1))
    return zero.index_add(0, bond, work) / (size + LITTLE)


class Chooser(nn.Module):
    """Numbers of each atom of a complex, from which a latent picks one.

    Args:
        elements: see `ForceNetwork`.
        latents: numbers asked for.
        given: indicators of the latents that are known.
        width: channels.
        depth: layers.
        radius: see `ForceNetwork`.
    """

    def __init__(
        self, elements: int, latents: int, given: int, *, width: int, depth: int,
        radius: float | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.elements = elements
        self.net = EquivariantNetwork(
            elements + NODES + given, latents, pairs=BONDS + SHELLS, width=width, depth=depth,
            radius=None if radius is None else radius / SCALE,
        )  # fmt: skip

    def forward(self, told: Fields, places: Ragged, given: Tensor | None = None) -> Ragged:
        """(N, latents) logits of all atoms of each complex."""
        graph = scene(told, places, self.elements)
        nodes = (
            graph.nodes if given is None else torch.cat((graph.nodes, given.to(graph.nodes)), -1)
        )
        clock = graph.points.data.new_zeros(places.items)
        out = self.net(graph.points, clock, nodes, graph.bonds)
        return Ragged(out.nodes, graph.points.owner, places.items)
