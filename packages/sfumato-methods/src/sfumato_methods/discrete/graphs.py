"""The process of graphs: nodes and pairs are noised independently, towards laws of their own.

Its states are those of `sfumato_nn.graphs.state`: `Fields(nodes=Padded, edges=Padded)` of ids.
"""

from __future__ import annotations

__all__ = ["GraphProcess", "absorbing", "fill", "marginal", "uniform"]

from collections.abc import Callable

import torch
from torch import Tensor

from sfumato import Fields, Padded, Product

from .kernels import RankOne
from .process import Discrete
from .schedules import CosineKeep
from .sizes import Sizes


class GraphProcess(Product):
    """Classes of nodes and of pairs, each resampled from a law of its own.

    The kernels are those of Vignac et al. 2022 (DiGress, arXiv:2209.14734), sections 3 and 4.1: a
    class stays or is drawn anew from `law`. How many nodes graphs have is part of the process too:
    it is never noised.

    Args:
        nodes: (K,) law of the nodes at t = 1.
        edges: (L,) law of the pairs at t = 1.
        largest: nodes of the largest graph.
    """

    def __init__(self, nodes: Tensor, edges: Tensor, largest: int) -> None:
        super().__init__({"nodes": Discrete(_kernel(nodes)), "edges": Discrete(_kernel(edges))})
        self.sizes = Sizes(largest)


def _kernel(law: Tensor) -> RankOne:
    return RankOne(law, CosineKeep())


def marginal(counts: Tensor) -> Tensor:
    """The law of the data: the share of each class."""
    return counts / counts.sum()


def uniform(counts: Tensor) -> Tensor:
    """All classes alike."""
    return torch.full_like(counts, 1 / len(counts))


def absorbing(counts: Tensor) -> Tensor:
    """All mass on the first class: no edge, where it is that of pairs."""
    law = torch.zeros_like(counts)
    law[0] = 1
    return law


def fill(process: GraphProcess, x: Fields, law: Callable[[Tensor], Tensor]) -> None:
    """Set the laws and the sizes of a process to those of training data, in place.

    Args:
        process: of as many classes as the data has.
        x: the graphs.
        law: from counts of classes to the law at t = 1: `marginal`, `uniform` or `absorbing`.
    """
    for name in ("nodes", "edges"):
        part: Padded = x[name]
        discrete = process.part(name)
        assert isinstance(discrete, Discrete)
        own = discrete.kernel.limit()
        own.copy_(law(torch.bincount(part.data[part.mask], minlength=len(own)).double()))
    process.sizes.fill(x["nodes"].mask.sum(1))
