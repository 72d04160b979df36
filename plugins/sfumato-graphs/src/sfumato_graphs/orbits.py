"""Counts of the 15 orbits of connected graphs with up to four nodes, by powers of the adjacency.

The orbits are numbered as by Przulj 2007 ("Biological network comparison using graphlet degree
distribution"): 0 an edge; 1, 2 ends and middle of a path of three; 3 a triangle; 4, 5 ends and
middles of a path of four; 6, 7 leaves and centre of a star; 8 a square; 9, 10, 11 the tail, the far
corners and the joint of a triangle with a tail; 12, 13 the corners of a square with a diagonal; 14
the complete graph. All are counted as induced subgraphs.
"""

from __future__ import annotations

__all__ = ["orbit_counts"]

import torch
from torch import Tensor


def orbit_counts(adjacency: Tensor) -> Tensor:
    """How often each node is in each orbit.

    Every orbit is first counted whatever further edges there are between its nodes, in closed
    form; then those with more edges are taken off, from the complete graph down. N^4 operations.

    Args:
        adjacency: (N, N), symmetric, 0 and 1, 0 on the diagonal.

    Returns:
        (N, 15) float64, exact.
    """
    a = adjacency.double()
    d = a.sum(1)
    a2 = a @ a
    joint = a * a2  # triangles of each edge
    t = joint.sum(1) / 2
    near = a[:, :, None] * a[:, None] * a  # for each node the graph of its neighbours
    complete = (near * (near @ near)).sum((1, 2)) / 6

    diagonal = (joint * (a2 - 1)).sum(1) / 2 - 3 * complete
    across = (near * (a2 - 1)).sum((1, 2)) / 2 - 3 * complete
    other = a2 - torch.diag_embed(a2.diagonal())
    square = (other * (other - 1)).sum(1) / 2 - across - diagonal - 3 * complete

    knot = t * (d - 2) - 2 * diagonal - 3 * complete
    far = joint @ (d - 2) - 2 * diagonal - 2 * across - 6 * complete
    tail = a @ t - joint.sum(1) - 2 * across - 3 * complete

    centre = d * (d - 1) * (d - 2) / 6 - knot - diagonal - complete
    leaf = a @ ((d - 1) * (d - 2)) / 2 - tail - far - diagonal - 2 * across - 3 * complete

    middle = (d - 1) * (a @ (d - 1)) - 2 * t
    middle = middle - 2 * square - 2 * knot - far - 4 * diagonal - 2 * across - 6 * complete
    end = a @ (a @ (d - 1)) - d * (d - 1) - 2 * t
    end = end - 2 * square - 2 * tail - far - 2 * diagonal - 4 * across - 6 * complete

    wing, hinge = a @ (d - 1) - 2 * t, d * (d - 1) / 2 - t
    return torch.stack(
        (
            d, wing, hinge, t, end, middle, leaf, centre, square, tail, far, knot, across,
            diagonal, complete,
        ),
        1,
    )  # fmt: skip
