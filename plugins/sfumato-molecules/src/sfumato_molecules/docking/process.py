"""Noise of poses, its denoiser, and how both are trained."""

from __future__ import annotations

__all__ = ["Docking", "DockingDenoiser", "DockingObjective", "walk"]

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Generator, Tensor

from sfumato import (
    Ancestral,
    Batch,
    Can,
    Dirac,
    Fields,
    Implicit,
    Joint,
    Law,
    Noised,
    PerPart,
    Product,
    Ragged,
    Sampler,
    expand,
    state,
)  # fmt: skip
from sfumato.denoiser import NetworkDenoiser
from sfumato.process import Process
from sfumato.random import Source
from sfumato.state import Time, item_count, item_sum
from sfumato_methods.gaussian import VE, Gaussian
from sfumato_methods.manifolds import Geodesic, Rotations, Tangent, Torus
from sfumato_methods.solvers import DDIM
from sfumato_train import Jointly, times
from sfumato_train.objective import Loss

from ..denoiser import Weighted
from ..process import Kept
from .examples import Examples
from .latents import Latents
from .nn import SCALE, ForceNetwork
from .pose import posed

CLOSE, TURNED = 0.3, 0.1
"""Angstrom and radians: the smallest noise. Below it (published: 0.1 and 0.03) a quarter of the
training would go to what a pose within 2 angstrom does not need."""

WEIGHT = {"translation": 1.0, "rotation": 1.0, "torsions": 1.0}

ATOMS = 2.0
"""Of the error of the places of atoms in the loss: 3 numbers of each instead of 6 of a complex."""

SHARE = 0.1
"""Of the nats of the autoregressive model in the loss. It has weights of its own, so that this only
keeps its gradient from using up the norm at which all gradients are clipped."""


class Docking(Product):
    """Translation, rotation and torsions under noise; the complex is known, latents are drawn once.

    Translations have variance exploding noise up to `reach`, rotations that of SO(3), torsions
    wrapped normal noise (Corso et al. 2022, DiffDock, arXiv:2210.01776, section 4.3, here without
    its approximation: the parts are counted from the given ligand and do not mix). Latents are part
    of the state: the encoder draws them for training, the autoregressive model for samples, and no
    step changes them.

    Args:
        reach: angstrom, the largest noise of translations, and that of the prior.
        sizes: see `Examples`.
        latents: None: there are none.
    """

    def __init__(self, reach: float, sizes: Mapping[str, int], latents: Latents | None) -> None:
        parts: dict[str, Process] = {
            "translation": Gaussian(VE(CLOSE, reach)),
            "rotation": Rotations(TURNED),
            "torsions": Torus(TURNED),
            "complex": Kept(),
        }
        if latents is not None:
            parts["chosen"] = Kept()
        super().__init__(parts)
        self.can = Can.STEP
        self.latents = latents
        self.examples = Examples(sizes)

    def prior(self, like: Any) -> Joint:
        laws: dict[str, Law] = {
            name: self.part(name).prior(like[name]) for name in self.parts if name != "chosen"
        }
        if self.latents is not None:
            latents, told = self.latents, like["complex"]
            laws["chosen"] = Implicit(lambda generator: latents.guess(told, generator))
        return Joint(laws)

    def marginal(self, x0: Any, t: Time) -> Joint:
        laws = {
            name: self.part(name).marginal(x0[name], t) for name in self.parts if name != "chosen"
        }
        if self.latents is not None:
            latents = self.latents
            laws["chosen"] = Implicit(lambda generator: latents.choose(x0, generator))
        return Joint(laws)

    def draw(self, x0: Any, t: Time, generator: Source) -> Noised:
        if self.latents is None:
            return super().draw(x0, t, generator)
        chosen = self.latents.choose(x0, generator)
        return super().draw(Fields({**x0, "chosen": chosen}), t, generator)

    def given(self, **context: Any) -> Self:
        return Process.given(self, **context)

    def project(self, x: Any) -> Fields:
        return Fields({name: x[name] for name in self.parts if name != "chosen"})


class Placed(Weighted):
    """Where the middle of a ligand is, and each of its atoms.

    Args:
        mean: (B, 3).
        weight: (B,).
        atoms: (L, 3), the mean of which is `mean`.
    """

    __slots__ = ("atoms",)

    def __init__(self, mean: Tensor, weight: Tensor, atoms: Ragged) -> None:
        super().__init__(mean, weight)
        self.atoms = atoms

    def atoms_loss(self, target: Ragged) -> Tensor:
        """(B,) mean square of the error of a coordinate, weighted."""
        error = self.atoms - target
        return item_sum(error * error) / item_count(error) * self.weight


class DockingDenoiser(NetworkDenoiser):
    """A `ForceNetwork` as a denoiser: where the middle is, and the scores of turns and torsions.

    Args:
        net: the network.
        process: the process.
        spread: angstrom, root mean square of a number of the translations of the data.
    """

    process: Docking
    net: ForceNetwork

    def __init__(self, net: ForceNetwork, process: Docking, spread: float) -> None:
        super().__init__(net, process)
        self.spread = spread

    def forward(self, x: Any, t: Time) -> Joint:
        part = self.process.part("translation")
        assert isinstance(part, Gaussian) and isinstance(t, Tensor)
        middle: Tensor = x["translation"]
        places = posed(x)
        sigma = part.sigma(t)
        clock = (part.clock(t) - torch.tensor(SCALE).log()).to(middle.device, torch.float32)
        move, turn, twist, force = self.net(
            x["complex"], places, clock.expand(len(middle)), x.get("chosen")
        )
        norm = (sigma.square() + self.spread**2).sqrt()
        keep, gain = (self.spread / norm).square(), sigma * self.spread / norm
        centre = middle * expand(middle, keep) + move.to(middle) * expand(middle, gain)
        turns: Ragged = x["torsions"]
        pull = Ragged(force.to(middle), places.owner, places.items)
        atoms = places * expand(places, keep) + pull * expand(pull, gain)
        known = {name: Dirac(x[name]) for name in ("complex", "chosen") if name in x}
        return Joint(
            translation=Placed(centre, 1 / gain.square(), atoms),
            rotation=Tangent(turn.to(middle)),
            torsions=Tangent(Ragged(twist.to(turns.data), turns.owner, turns.items)),
            **known,
        )


class DockingObjective(Jointly):
    """Denoising of poses and of atoms, and the nats of the autoregressive model of the latents.

    Args:
        process: what noises.
        denoiser: what is trained.
        steps: of the training, over which the temperature of the latents falls.
    """

    process: Docking

    def __init__(self, process: Docking, denoiser: DockingDenoiser, steps: int) -> None:
        super().__init__(process, denoiser, WEIGHT, dropout=0.0)
        self.steps = steps

    def loss(self, player: str, batch: Batch, generator: Generator) -> Loss:
        x0, latents = batch.x, self.process.latents
        t = times.uniform(self.process, times.stratified(state.items(x0), generator))
        x, target = self.process.draw(x0, t, generator)
        q: Any = self.denoiser(x, t)
        parts = {name: weight * q[name].loss(target[name]) for name, weight in WEIGHT.items()}
        parts["atoms"] = ATOMS * q["translation"].atoms_loss(posed(x0))
        if latents is not None:
            parts["latents"] = SHARE * latents.loss(x0["complex"], x["chosen"])
        each = torch.stack([part.double() for part in parts.values()]).sum(0)
        return Loss(each, {name: part.detach() for name, part in parts.items()})

    def after(self, player: str, step: int) -> None:
        if self.process.latents is not None:
            self.process.latents.cool(step / self.steps)


def walk(eta: float) -> Sampler:
    """Steps of poses with a share of fresh noise: 0 is the probability flow, 1 the reverse SDE."""
    turning = Geodesic(eta)
    rules = {"translation": DDIM(eta), "rotation": turning, "torsions": turning}
    return Ancestral() if eta == 1 else PerPart(rules)
