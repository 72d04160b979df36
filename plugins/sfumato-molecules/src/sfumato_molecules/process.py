"""The process of molecules: places, atoms and bonds are noised together, each in its own way."""

from __future__ import annotations

__all__ = ["ConformerProcess", "Kept", "Late", "MoleculeProcess", "late"]

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Can, Dirac, Fields, Law, Process, Product
from sfumato.laws import Space
from sfumato.state import Time
from sfumato_methods.discrete import CosineKeep, Discrete, RankOne
from sfumato_methods.discrete.graphs import marginal
from sfumato_methods.discrete.sizes import Sizes
from sfumato_methods.gaussian import Centred, Cosine, Gaussian, Schedule

from .examples import Examples


@dataclass(frozen=True)
class Late:
    """Another schedule at t^power: with a power above 1 noise comes late, detail takes more time.

    Such schedules, with a power for each field, are those of Vignac et al. 2023, arXiv:2302.09048.
    """

    schedule: Schedule
    power: float

    def alpha(self, t: Tensor) -> Tensor:
        return self.schedule.alpha(t**self.power)

    def sigma(self, t: Tensor) -> Tensor:
        return self.schedule.sigma(t**self.power)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        speed = self.power * t ** (self.power - 1)
        alpha, sigma = self.schedule.rates(t**self.power)
        return alpha * speed, sigma * speed

    def logsnr(self, t: Tensor) -> Tensor:
        return self.schedule.logsnr(t**self.power)

    def time(self, logsnr: Tensor) -> Tensor:
        return self.schedule.time(logsnr) ** (1 / self.power)


def late(space: Space | None = None) -> Gaussian:
    """The Gaussian process of places: a cosine schedule at t^1.5."""
    return Gaussian(Late(Cosine(), 1.5), space)


class MoleculeProcess(Product):
    """Places with Gaussian noise around their mean, atoms and bonds drawn anew from their laws.

    Zero-mean noise is that of Hoogeboom et al. 2022, arXiv:2203.17003, section 3; that atoms and
    bonds are drawn anew from the law of the data that of Vignac et al. 2023 (MiDi,
    arXiv:2302.09048). How many atoms molecules have is part of the process too: it is never noised.

    Args:
        classes: of atoms.
        orders: classes of a pair; 0: there are no bonds in the state.
        largest: atoms of the largest molecule.
    """

    def __init__(self, classes: int, orders: int, largest: int) -> None:
        parts = {"positions": late(Centred()), "atoms": _resampled(classes)}
        super().__init__(parts | ({"bonds": _resampled(orders)} if orders else {}))
        self.sizes = Sizes(largest)

    def fill(self, x: Fields) -> None:
        """Set laws and sizes to those of training data, in place."""
        for name in ("atoms", "bonds"):
            if name in self.parts:
                law = self.law(name)
                law.copy_(marginal(torch.bincount(x[name].data, minlength=len(law)).double()))
        self.sizes.fill(x["atoms"].counts)

    def law(self, name: str) -> Tensor:
        """(K,) law of one field of ids at t = 1."""
        discrete = self.part(name)
        assert isinstance(discrete, Discrete)
        return discrete.kernel.limit()


class Kept(Process):
    """What is given and never noised, such as the bonds of a molecule whose shape is wanted."""

    can = Can.STEP | Can.BRIDGE
    accepts: ClassVar[tuple[type[Law], ...]] = (Dirac,)

    def prior(self, like: Any) -> Dirac:
        return Dirac(like)

    def marginal(self, x0: Any, t: Time) -> Dirac:
        return Dirac(x0)

    def bridge(self, x0: Any, x: Any, t: Time, s: Time, row: Any = None) -> Dirac:
        return Dirac(x)

    def transition(self, q: Any, x: Any, t: Time, s: Time, row: Any = None) -> Dirac:
        return Dirac(x)


class ConformerProcess(Product):
    """Places with Gaussian noise around their mean; atoms and bonds are known.

    Args:
        largest: atoms of the largest molecule.
    """

    def __init__(self, largest: int) -> None:
        super().__init__({"positions": late(Centred()), "atoms": Kept(), "bonds": Kept()})
        self.examples = Examples(largest)


def _resampled(classes: int) -> Discrete:
    return Discrete(RankOne(torch.full((classes,), 1 / classes), CosineKeep()))
