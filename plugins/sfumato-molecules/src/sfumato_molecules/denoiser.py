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

    Places, and atoms where they are numbers, are preconditioned as by Karras et al. 2022,
    arXiv:2206.00364, table 1, for data of unit variance. The posterior of a class k is proportional
    to exp(logit_k) law_k q(x_t | x_0 = k): a network that says 0 is the exact denoiser of
    independent atoms and bonds.

    What is `Kept` by the process is known, and only told to the network.

    Args:
        net: of as many numbers of atoms and pairs as there are classes.
        process: of `positions` and `atoms`, and of `bonds` or not.
        told: mean and mean absolute deviation of each property that the denoiser may be told.
    """

    net: EquivariantNetwork
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
        places: Ragged = x["positions"]
        clock = part.clock(t).to(places.data.device, torch.float32).expand(places.items)
        shown = places * expand(places, _coefficients(part, t)[0])
        atoms = self._shown("atoms", x, t, self.net.nodes)
        pairs = self._shown("bonds", x, t, self.net.pairs) if self.net.pairs else None
        with torch.autocast(clock.device.type, self.autocast, enabled=self.autocast is not None):
            out = self.net(shown, clock, atoms, pairs, **self._context)
        shift = Centred().project(Ragged(out.shift, places.owner, places.items)).data
        told = {"positions": shift, "atoms": out.nodes, "bonds": out.pairs}
        return Joint({name: self._law(name, told[name], x[name], t) for name in self.process.parts})

    def _shown(self, name: str, x: Any, t: Tensor, classes: int) -> Tensor:
        """What the network sees of a field: one-hot ids, or numbers of unit variance."""
        seen: Ragged = x[name]
        if not seen.data.is_floating_point():
            return F.one_hot(seen.data, classes)
        part = self.process.part(name)
        assert isinstance(part, Gaussian)
        scaled: Ragged = seen * expand(seen, _coefficients(part, t)[0])
        return scaled.data

    def _law(self, name: str, told: Tensor, seen: Ragged, t: Tensor) -> Posterior:
        part = self.process.part(name)
        if isinstance(part, Discrete):
            kernel = part.kernel
            likely = kernel.columns(seen, torch.zeros_like(t), t).data * kernel.limit()
            known = likely.clamp_min(TINY).log().to(told)
            return Categorical(logits=Ragged(told + known, seen.owner, seen.items))
        if not isinstance(part, Gaussian):
            return Dirac(seen)
        _, keep, gain = _coefficients(part, t)
        out = Ragged(told.to(seen.data), seen.owner, seen.items)
        return Weighted(seen * expand(seen, keep) + out * expand(seen, gain), 1 / gain.square())


def _coefficients(part: Gaussian, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(c_in, c_skip, c_out) for data of unit variance."""
    alpha, sigma = part.alpha(t), part.sigma(t)
    norm = (alpha.square() + sigma.square()).sqrt()
    return 1 / norm, alpha / norm.square(), sigma / norm


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
