"""One network as a denoiser of places, atoms and bonds."""

from __future__ import annotations

__all__ = ["MoleculeDenoiser", "Weighted", "vector_of"]

from collections.abc import Mapping
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato import Categorical, Dirac, InputError, Joint, Maybe, Product, Ragged
from sfumato.denoiser import NetworkDenoiser
from sfumato.laws import Posterior
from sfumato.state import Time, expand
from sfumato_methods.discrete import Discrete
from sfumato_methods.gaussian import Centred, Gaussian
from sfumato_nn.equivariant import EquivariantNetwork

TINY = 1e-30


class MoleculeDenoiser(NetworkDenoiser):
    """An `EquivariantNetwork` as a denoiser of all fields of a molecule.

    Places are preconditioned as those of Karras et al. 2022, arXiv:2206.00364, table 1, for data of
    unit variance. The posterior of a class k is proportional to
    exp(logit_k) law_k q(x_t | x_0 = k): a network that says 0 is the exact denoiser of independent
    atoms and bonds.

    What is `Kept` by the process is known, and only told to the network.

    Args:
        net: of as many numbers of atoms and pairs as there are classes.
        process: of `positions` and `atoms`, and of `bonds` or not.
        told: mean and mean absolute deviation of each property that the denoiser may be told.
    """

    process: Product

    def __init__(
        self,
        net: EquivariantNetwork,
        process: Product,
        told: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        super().__init__(net, process)
        self.told = dict(told or {})

    def given(self, **condition: Any) -> Self:
        """A private view that is told properties, (B,) each or a `Maybe`, in their own units.

        Raises:
            InputError: for a property that the model was not trained with.
        """
        return super().given(**vector_of(condition, self.told))

    def forward(self, x: Any, t: Time) -> Joint:
        part = self.process.part("positions")
        assert isinstance(part, Gaussian) and isinstance(t, Tensor)
        alpha, sigma = part.alpha(t), part.sigma(t)
        places: Ragged = x["positions"]
        square = 1 / (alpha.square() + sigma.square())
        shown = places * expand(places, square.sqrt())
        clock = part.clock(t).to(places.data.device, torch.float32).expand(places.items)
        atoms = F.one_hot(x["atoms"].data, self.net.nodes)
        pairs = F.one_hot(x["bonds"].data, self.net.pairs) if self.net.pairs else None
        with torch.autocast(clock.device.type, self.autocast, enabled=self.autocast is not None):
            out = self.net(shown, clock, atoms, pairs, **self._context)
        shift = Centred().project(Ragged(out.shift.to(places.data), places.owner, places.items))
        mean = places * expand(places, alpha * square) + shift * expand(
            places, sigma * square.sqrt()
        )
        laws: dict[str, Posterior] = {"positions": Weighted(mean, 1 / (sigma.square() * square))}
        for name, logits in (("atoms", out.nodes), ("bonds", out.pairs)):
            if name in self.process.parts:
                own = self.process.part(name)
                laws[name] = (
                    _classes(own, logits, x[name], t)
                    if isinstance(own, Discrete)
                    else Dirac(x[name])
                )
        return Joint(laws)


def _classes(part: Discrete, logits: Tensor, seen: Ragged, t: Tensor) -> Categorical:
    kernel = part.kernel
    likely = kernel.columns(seen, torch.zeros_like(t), t).data * kernel.limit()
    known = likely.clamp_min(TINY).log().to(logits)
    return Categorical(logits=Ragged(logits + known, seen.owner, seen.items))


def vector_of(
    condition: Mapping[str, Any], told: Mapping[str, tuple[float, float]]
) -> dict[str, Maybe]:
    """Properties as the one condition `vector` of networks: value and presence of each.

    Args:
        condition: (B,) each, or a `Maybe`, in their own units.
        told: mean and mean absolute deviation of each property that a model knows.

    Raises:
        InputError: for another property.
    """
    if unknown := condition.keys() - told.keys():
        raise InputError(
            f"this model was not trained with {', '.join(sorted(unknown))}; it may be told "
            f"{', '.join(told) or 'nothing'}"
        )
    if not condition:
        return {}
    columns = {name: _column(value, *told[name]) for name, value in condition.items()}
    absent = torch.zeros_like(next(iter(columns.values())))
    vector = torch.cat([columns.get(name, absent) for name in told], 1)
    return {"vector": Maybe(vector, vector[:, 1::2].any(1))}


def _column(value: Any, mean: float, mad: float) -> Tensor:
    """(B, 2) a property without unit, and whether it is there; zeros where it is not."""
    there = value.present if isinstance(value, Maybe) else None
    number = (value.value if isinstance(value, Maybe) else value).double()
    there = torch.ones_like(number, dtype=torch.bool) if there is None else there
    scaled = torch.where(there, (number - mean) / (mad or 1.0), 0.0)
    return torch.stack((scaled, there.double()), 1)


class Weighted(Dirac):
    """A point estimate whose loss is weighted: as that of what the network predicts.

    Args:
        mean: state.
        weight: (B,) or () of the squared error.
    """

    __slots__ = ("weight",)

    def __init__(self, mean: Any, weight: Tensor) -> None:
        super().__init__(mean)
        self.weight = weight

    def loss(self, target: Any) -> Tensor:
        plain = super().loss(target)
        return plain * self.weight.to(plain)
