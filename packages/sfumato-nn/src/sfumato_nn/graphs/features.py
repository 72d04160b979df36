"""What a network cannot see by itself in a graph: cycles, walks, the spectrum.

Vignac et al. 2022 (DiGress, arXiv:2209.14734), section 4.2 and appendix B.3, add such features of
the noisy graph at every step. Theirs hold eigenvectors, whose signs and bases depend on the order
of the nodes; in their place are return probabilities of random walks (Dwivedi et al. 2021,
arXiv:2110.07875), so that everything is exactly equivariant.
"""

from __future__ import annotations

__all__ = ["GRAPH", "NODE", "PAIR", "cycles", "features", "laplacian"]

import torch
from torch import Tensor

STEPS = 6
"""Steps of the random walks."""

EIGENVALUES = 5

NODE = 1 + 3 + STEPS
"""Features of a node: degree, cycles of 3 to 5 nodes, return probabilities of 1 to STEPS steps."""

PAIR = 3
"""Features of a pair: common neighbours, walks of three steps, whether they are joined."""

GRAPH = 1 + 1 + 4 + 1 + EIGENVALUES
"""Features of a graph: size, density, cycles of 3 to 6 nodes, components, first eigenvalues."""


def cycles(adjacency: Tensor) -> tuple[Tensor, Tensor]:
    """Cycles that pass through each node, and cycles in the graph, by powers of the adjacency.

    Args:
        adjacency: (B, N, N), symmetric, 0 and 1, 0 on the diagonal; float64 counts exactly.

    Returns:
        (B, N, 3) cycles of 3, 4 and 5 nodes through each node; (B, 4) cycles of 3, 4, 5 and 6 nodes
        (the last by Alon, Yuster & Zwick 1997, "Finding and counting given length cycles").
    """
    a1 = adjacency
    a2 = a1 @ a1
    a3, a4 = a2 @ a1, a2 @ a2
    degree, loops3, loops4, loops5 = (m.diagonal(dim1=1, dim2=2) for m in (a2, a3, a4, a3 @ a2))
    joint = a1 * a2  # triangles of each edge
    triangles = loops3 / 2
    squares = (loops4 - degree * (degree - 1) - _along(a1, degree)) / 2
    # Closed walks of five steps that are no cycle run around a triangle and to and fro once.
    pentagons = (
        loops5
        - triangles * (4 * degree + 2)
        - 2 * (_along(joint, degree) - 4 * triangles)
        - 2 * (_along(a1, triangles) - 2 * triangles)
    ) / 2
    hexagons = (
        a3.square().sum((1, 2))
        - 3 * loops3.square().sum(1)
        + 9 * (joint * a2).sum((1, 2))
        - 6 * (degree * loops4).sum(1)
        + 6 * loops4.sum(1)
        - 4 * loops3.sum(1)
        + 4 * degree.pow(3).sum(1)
        + 3 * a3.sum((1, 2))
        - 12 * degree.square().sum(1)
        + 4 * degree.sum(1)
    ) / 12
    through = torch.stack((triangles, squares, pentagons), -1)
    whole = [triangles.sum(1) / 3, squares.sum(1) / 4, pentagons.sum(1) / 5, hexagons]
    return through, torch.stack(whole, -1)


def _along(matrix: Tensor, values: Tensor) -> Tensor:
    """(B, N) sum over neighbours of a value of nodes."""
    return (matrix @ values[..., None])[..., 0]


def features(adjacency: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Features of nodes (B, N, NODE), pairs (B, N, N, PAIR) and graphs (B, GRAPH), of order one.

    Args:
        adjacency: (B, N, N), symmetric, 0 and 1, 0 on the diagonal and at padded nodes.
        mask: (B, N) bool, which nodes are real.
    """
    a = adjacency.double()
    size = mask.sum(1).double()
    degree = a.sum(2)
    through, whole = cycles(a)
    walk = a / degree.clamp_min(1)[..., None]
    power, returns = walk, []
    for _ in range(STEPS):
        returns.append(power.diagonal(dim1=1, dim2=2))
        power = power @ walk
    a2 = a @ a
    nodes = torch.cat(
        ((degree / size[:, None])[..., None], _mild(through), torch.stack(returns, -1)), -1
    )
    pairs = torch.stack((_mild(a2), _mild(a2 @ a), a), -1)
    pairs = pairs * (1 - torch.eye(a.shape[1], device=a.device))[..., None]
    pieces, eigenvalues = _spectrum(a, mask)
    graph = torch.cat(
        (
            torch.stack((size.log(), degree.sum(1) / (size * (size - 1)).clamp_min(1)), -1),
            _mild(whole),
            pieces[:, None] / size[:, None],
            eigenvalues,
        ),
        -1,
    )
    real = mask[..., None]
    return nodes * real, pairs * (real & mask[:, None])[..., None], graph


def _mild(counts: Tensor) -> Tensor:
    """log(1 + c) / 3: counts grow with a power of the size."""
    return torch.log1p(counts.clamp_min(0)) / 3


def laplacian(a: Tensor) -> Tensor:
    """(..., N, N) the normalised Laplacian of adjacencies; nodes without edges have 0."""
    degree = a.sum(-1)
    scale = degree.clamp_min(1).rsqrt()
    joined = torch.diag_embed((degree > 0).to(a.dtype))
    return joined - scale[..., None] * a * scale[..., None, :]


def _spectrum(a: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Number of components, and the first eigenvalues above 0 of the normalised Laplacian.

    Padded nodes are moved to the eigenvalue 3, beyond all others; what a small graph lacks is 2.
    """
    values = torch.linalg.eigvalsh(laplacian(a) + torch.diag_embed(3.0 * ~mask))
    zero = values < 1e-8
    values = torch.where(zero | (values > 2.5), 2.0, values).sort(1).values
    room = EIGENVALUES - values.shape[1]
    if room > 0:
        values = torch.nn.functional.pad(values, (0, room), value=2.0)
    return zero.sum(1).double(), values[:, :EIGENVALUES]
