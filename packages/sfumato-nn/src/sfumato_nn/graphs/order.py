"""An order of the nodes of a graph that does not depend on the one they come in."""

from __future__ import annotations

__all__ = ["order", "ordered"]

import torch
from torch import Tensor

from sfumato import Fields, Padded

from . import features
from .state import dense, pairs

DIGITS = 6
"""Decimals of features that count in a comparison: nodes that are alike differ by rounding."""


def order(adjacency: Tensor, mask: Tensor) -> Tensor:
    """(B, N) the nodes from the first to the last, padded ones behind all others.

    Nodes stand by their distance from the first, those that it does not reach at the end; nodes as
    far away, and the first among all, by their features: degree, cycles, return probabilities of
    walks, the larger before. Only nodes that all of these tell nothing apart of keep the order that
    they come in.

    Args:
        adjacency: (B, N, N), symmetric, 0 and 1, 0 on the diagonal and at padded nodes.
        mask: (B, N) bool, which nodes are real.
    """
    count = mask.shape[1]
    told = features.features(adjacency, mask)[0].round(decimals=DIGITS)
    last_first = [told[..., i] for i in reversed(range(told.shape[-1]))]
    first = _sorted([*last_first, mask.double()])[:, :1]
    reached = torch.zeros_like(mask).scatter(1, first, True)
    distance = torch.where(reached, 0, count)
    for step in range(1, count):
        reached = reached | ((adjacency @ reached.to(adjacency)[..., None])[..., 0] > 0)
        distance = torch.where(reached & (distance == count), step, distance)
    return _sorted([*last_first, -distance.double(), mask.double()])


def _sorted(keys: list[Tensor]) -> Tensor:
    """(B, N) places by several keys, the larger first; the last of these counts most."""
    found = torch.arange(keys[0].shape[1], device=keys[0].device).expand_as(keys[0])
    for key in keys:
        place = key.gather(1, found).argsort(dim=1, descending=True, stable=True)
        found = found.gather(1, place)
    return found


def ordered(x: Fields) -> Fields:
    """Graphs `Fields(nodes=Padded, edges=Padded)` of ids with their nodes in `order`."""
    nodes, edges = x["nodes"], x["edges"]
    count = nodes.mask.shape[1]
    classes = dense(edges.data * edges.mask, count)
    place = order((classes > 0).double(), nodes.mask)
    rows = classes.gather(1, place[:, :, None].expand_as(classes))
    moved = rows.gather(2, place[:, None].expand_as(classes))
    smaller, larger = pairs(count, place.device)
    return Fields(
        nodes=Padded(nodes.data.gather(1, place), nodes.mask),
        edges=Padded(moved[:, smaller, larger], edges.mask),
    )
