"""From the numbers of a pose to the places of its atoms.

The rotatable bonds are turned, then the ligand is laid back on how it was given, as close as it
goes (Kabsch 1976, doi:10.1107/S0567739476001873), so that torsions neither shift nor turn it as a
whole (Corso et al. 2022, DiffDock, arXiv:2210.01776, section 4.2); then it is rotated about its
middle and moved. Lengths and angles of bonds stay as they were given.
"""

from __future__ import annotations

__all__ = ["aligned", "centred", "posed", "twisted"]

import torch
from torch import Tensor

from sfumato import Fields, Ragged
from sfumato_methods.manifolds import rotation


def posed(x: Fields) -> Ragged:
    """Places (N, 3) of the ligand atoms, from the middle of the receptor, in the dtype of x."""
    told: Fields = x["complex"]
    turns: Ragged = x["torsions"]
    given = _cast(told["places"], turns.data.dtype)
    start = centred(given)
    way = aligned(twisted(start, turns, told["axes"], told["moves"]), start)
    turned = torch.einsum("nij,nj->ni", x["rotation"][way.owner], way.data)
    return Ragged(turned + x["translation"][way.owner], way.owner, way.items)


def twisted(places: Ragged, torsions: Ragged, axes: Ragged, moves: Ragged) -> Ragged:
    """Bonds turned, one after the other; the order changes a ligand as a whole alone.

    Args:
        places: (N, 3).
        torsions: (T,) radians.
        axes: (T, 2) the atoms (u, v) of each bond, counted in the item; v is on the side that goes.
        moves: (N,) bits of the bonds of its item that move an atom.
    """
    x, owner = places.data, places.owner
    counts = places.counts
    ends = axes.data + (counts.cumsum(0) - counts)[axes.owner, None]
    place = torsions.position
    for bit in range(int(torsions.counts.max()) if len(place) else 0):
        own = place == bit
        u, v = ends[own].unbind(1)
        axis = x[v] - x[u]
        axis = axis / axis.square().sum(-1, keepdim=True).sqrt()
        item = torch.zeros(places.items, dtype=torch.long, device=x.device)
        item[torsions.owner[own]] = torch.arange(len(u), device=x.device)
        some = torch.zeros(places.items, dtype=torch.bool, device=x.device)
        some[torsions.owner[own]] = True
        rows = (some[owner] & ((moves.data >> bit) & 1).bool()).nonzero()[:, 0]
        which = item[owner[rows]]
        turn = rotation(axis * torsions.data[own, None])[which]
        base = x[v][which]
        after = base + torch.einsum("nij,nj->ni", turn, x[rows] - base)
        x = x.index_copy(0, rows, after)
    return Ragged(x, owner, places.items)


def aligned(places: Ragged, target: Ragged) -> Ragged:
    """The places, moved and rotated as a whole so that their squared distance is least."""
    a, b = centred(places), centred(target)
    products = a.data[:, :, None] * b.data[:, None, :]
    sums = products.new_zeros(a.items, 3, 3).index_add(0, a.owner, products).double()
    u, _, vh = torch.linalg.svd(sums)
    sign = torch.linalg.det(u @ vh)
    u = torch.cat((u[..., :2], u[..., 2:] * sign[:, None, None]), -1)
    turn = (u @ vh).mT.to(a.data)
    middle = target.data - b.data
    return Ragged(torch.einsum("nij,nj->ni", turn[a.owner], a.data) + middle, a.owner, a.items)


def centred(places: Ragged) -> Ragged:
    """Places (N, 3) from the middle of their item."""
    total = places.data.new_zeros(places.items, 3).index_add(0, places.owner, places.data)
    middle = total / places.counts.clamp_min(1)[:, None].to(total)
    return Ragged(places.data - middle[places.owner], places.owner, places.items)


def _cast(x: Ragged, dtype: torch.dtype) -> Ragged:
    return Ragged(x.data.to(dtype), x.owner, x.items)


def arm(places: Tensor, base: Tensor, axis: Tensor) -> Tensor:
    """(N, 3) velocity of places that turn about an axis through `base` by one radian a time."""
    turned: Tensor = torch.linalg.cross(axis, places - base)
    return turned
