"""Molecules as graphs of bonds: the network is told what each atom has and lacks of its valence."""

from __future__ import annotations

__all__ = ["TOLD", "BondDenoiser", "most_bonds"]

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from sfumato.state import Time
from sfumato_methods.discrete.graphs import GraphProcess
from sfumato_nn.graphs.state import dense
from sfumato_nn.graphs.transformer import GraphDenoiser, GraphTransformer

from .denoiser import vector_of
from .molecule import NUMBERS
from .rings import ORDERS
from .valences import accepted

TOLD = 2
"""Numbers of an atom that are told: bonds that it has, and that it has too many or too few."""


def most_bonds(about: Mapping[str, Any]) -> Tensor:
    """(K,) the largest number of bonds that each class of atoms takes; 0 where none is known."""
    most = [max(accepted(NUMBERS[s], charge), default=0) for s, charge in about["classes"]]
    return torch.tensor(most, dtype=torch.float32)


class BondDenoiser(GraphDenoiser):
    """A `GraphDenoiser` that is told the valences of the noisy molecule.

    The molecular features of Vignac et al. 2022, arXiv:2209.14734: of each atom the orders of its
    bonds, aromatic ones being 1.5, added up, and how far that is from what its class takes.

    Args:
        net: with `TOLD` numbers of a node beyond the classes where it is `structural`.
        process: of nodes and edges, the latter of the classes of `rings.ORDERS`.
        most: (K,) see `most_bonds`.
        properties: mean and mean absolute deviation of each that the denoiser may be told.
    """

    net: GraphTransformer

    def __init__(
        self,
        net: GraphTransformer,
        process: GraphProcess,
        most: Tensor,
        properties: Mapping[str, tuple[float, float]],
    ) -> None:
        super().__init__(net, process, (len(most), len(ORDERS)))
        self.register_buffer("most", most)
        self.register_buffer("orders", torch.tensor(ORDERS))
        self.most: Tensor
        self.orders: Tensor
        self.properties = dict(properties)

    def given(self, **condition: Any) -> Self:
        """A private view that is told properties, see `denoiser.vector_of`."""
        return super().given(**vector_of(condition, self.properties))

    def shown(self, x: Any, t: Time) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        node, pair, joined, mask, clock = super().shown(x, t)
        if not self.net.structural:
            return node, pair, joined, mask, clock
        orders = self.orders[x["edges"].data * x["edges"].mask]
        has = dense(orders, mask.shape[1]).sum(2)
        told = torch.stack((has, self.most[x["nodes"].data] - has), -1) / self.most.max().clamp_min(
            1
        )
        return torch.cat((node.to(told), told), -1), pair, joined, mask, clock
