"""Latents of molecules in space: places that turn with the molecule, and numbers of each atom."""

from __future__ import annotations

__all__ = ["LatentProcess", "PointCodec", "Staged"]

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from sfumato import Batch, Denoiser, Fields, Product, Ragged, random
from sfumato.random import Source
from sfumato.state import item_sum
from sfumato_methods.discrete.sizes import Sizes
from sfumato_methods.gaussian import Centred
from sfumato_nn.equivariant import EquivariantNetwork
from sfumato_train import Jointly, Loss, Objective

from .process import late
from .space import Placed

SPREAD = 0.0032
"""Standard deviation of latents around what the encoder says, as published."""

SHAKEN = {"positions": 0.015, "atoms": 0.8}
"""That of what the decoder is trained on: so it takes latents as a diffusion makes them, a little
off. Trained with `SPREAD` it amplifies what is off. Numbers are shaken so much that classes are
read from where the atoms are as well: one in seven becomes another than the nearest, and most of
what the decoder is worth is in these."""

SHARE = 0.1
"""Deviation of the numbers of an atom in a latent, places having 1. With as much as places, classes
would be decided early and places have to suit them; so scaled one-hot classes come late too."""

KL = 0.01
"""Weight of the divergence of latent numbers from the standard normal, per element, as published.
Places are left out, which have a unit of their own: it would only make them shrink."""

PLACED = 20.0
"""Weight of the squared error of places in their unit. By 1 they come back with errors that cost
bonds, though the encoder could leave them where they are."""

PASSES = 2
"""Times that a latent is read: what was read is coded and read again, so that atoms are judged
beside neighbours that were put right. More passes put more of what is drawn right, but change real
molecules: by three, 1.3 % of their atoms were given back as others in the worst of three runs."""

MEMORY = 0.01
"""Of the moving mean squares of the latents."""


class PointCodec(nn.Module):
    """An equivariant autoencoder of places and atoms (Xu et al. 2023, GeoLDM, arXiv:2305.01140).

    The encoder moves places and says `latent` numbers of each atom, both with noise of a fixed
    spread, more of it in training; the decoder moves them again and says classes, and what it says
    is coded and decoded anew. Latent places have zero mean. Bonds are told by the distances when
    samples are written.

    Args:
        classes: of atoms.
        latent: numbers of an atom.
        width: channels of both networks.
        depth: layers of the decoder; the encoder has one, as published.
    """

    exact: float | None = None

    def __init__(self, classes: int, latent: int, width: int, depth: int) -> None:
        super().__init__()
        self.classes = classes
        self.placed = Placed()
        self.encoder = EquivariantNetwork(classes, latent, width=width, depth=1)
        self.decoder = EquivariantNetwork(latent, classes, width=width, depth=depth)
        nn.init.normal_(self.encoder.node_out[1].weight, std=width**-0.5)  # type: ignore[arg-type]
        self.register_buffer("square", torch.ones(2, dtype=torch.float64))  # places, numbers
        self.square: Tensor

    def encode(self, x: Any, generator: Source) -> Fields:
        """Latents: places of unit variance, numbers of deviation `SHARE`."""
        places, numbers = self._spoken(x)
        z = _noised(places, numbers, {"positions": SPREAD, "atoms": SPREAD}, generator)
        units = self._units(places)
        return Fields(positions=z["positions"] / units[0], atoms=z["atoms"] / units[1])

    def decode(self, z: Any) -> Fields:
        """Places in angstrom and the likeliest classes, read `PASSES` times."""
        units = self._units(z["positions"])
        x = self._read(z["positions"] * units[0], z["atoms"] * units[1])
        for _ in range(PASSES - 1):
            x = self._read(*self._spoken(x))
        return x

    def layout(self, like: Any) -> Fields:
        atoms: Ragged = like["atoms"]
        places = self.placed.layout({"positions": like["positions"]})["positions"]
        numbers = places.data.new_zeros(len(atoms.data), self.decoder.nodes)
        return Fields(positions=places, atoms=Ragged(numbers, atoms.owner, atoms.items))

    def mask(self, m: Any) -> Any:
        return m

    def loss(self, x: Any, generator: Generator) -> Loss:
        """Squared error of places, cross entropy of atoms, and the divergence of numbers."""
        wanted = self.placed.layout({"positions": x["positions"]})["positions"]
        places, numbers = self._spoken(x)
        z = _noised(places, numbers, SHAKEN, generator)
        made, logits = self._told(z["positions"], z["atoms"])
        gap = made - wanted
        count = wanted.counts.clamp_min(1)
        error = PLACED * item_sum(gap * gap) / (3 * count)
        cross = F.cross_entropy(logits.data, x["atoms"].data, reduction="none")
        kinds = item_sum(Ragged(cross, wanted.owner, wanted.items)) / count
        size = item_sum(numbers * numbers) / (self.decoder.nodes * count)
        parts = {"error": error.detach(), "atoms": kinds.detach(), "size": size.detach()}
        return Loss(error + kinds + 0.5 * KL * size, parts)

    @torch.no_grad()
    def observe(self, x: Any) -> None:
        """Let the units of latent places and numbers follow data."""
        places, numbers = self._spoken(x)
        free = Centred().dims(places).sum().clamp_min(1)
        spread = places.data.double().square().sum() / free
        found = torch.stack([spread, numbers.data.double().square().mean()])
        self.square.lerp_(found.to(self.square), MEMORY)

    def _units(self, like: Ragged) -> Tensor:
        """(2,) what latent places and numbers are divided by."""
        units = self.square.sqrt().clamp_min(1e-3)
        return (units / units.new_tensor([1.0, SHARE])).to(like.data)

    def _spoken(self, x: Any) -> tuple[Ragged, Ragged]:
        places = self.placed.layout({"positions": x["positions"]})["positions"]
        hot = F.one_hot(x["atoms"].data, self.classes)
        out = self.encoder(places, _still(places), hot)
        moved = Centred().project(places + Ragged(out.shift, places.owner, places.items))
        return moved, Ragged(out.nodes, places.owner, places.items)

    def _read(self, places: Ragged, numbers: Ragged) -> Fields:
        moved, logits = self._told(places, numbers)
        atoms = Ragged(logits.data.argmax(-1), logits.owner, logits.items)
        return self.placed.decode(Fields(positions=moved, atoms=atoms))

    def _told(self, places: Ragged, numbers: Ragged) -> tuple[Ragged, Ragged]:
        out = self.decoder(places, _still(places), numbers.data)
        moved = Centred().project(places + Ragged(out.shift, places.owner, places.items))
        return moved, Ragged(out.nodes, places.owner, places.items)


def _noised(
    places: Ragged, numbers: Ragged, spread: Mapping[str, float], generator: Source
) -> Fields:
    return Fields(
        positions=places + Centred().normal(places, generator) * spread["positions"],
        atoms=numbers + random.normal(numbers, generator) * spread["atoms"],
    )


def _still(places: Ragged) -> Tensor:
    """The clock of networks that know of no noise."""
    return places.data.new_zeros(places.items)


class LatentProcess(Product):
    """Latent places and numbers with Gaussian noise; the sizes of molecules beside.

    Args:
        largest: atoms of the largest molecule.
    """

    def __init__(self, largest: int) -> None:
        super().__init__({"positions": late(Centred()), "atoms": late()})
        self.sizes = Sizes(largest)


class Staged(Objective):
    """First encoder and decoder, then the decoder further, beside the diffusion of the latents.

    The encoder is stopped early, as published. One that is not trained at all leaves places where
    they are and gives each class numbers that are drawn once: of what was tried these latents are
    the easiest to diffuse, and the decoder, which sees where the atoms came to lie, tells classes
    that are close.

    Args:
        codec: encoder and decoder.
        process: noises latents.
        denoiser: trained on them, from the step on at which the encoder is left.
        coding: steps of the encoder.
    """

    def __init__(
        self, codec: PointCodec, process: Product, denoiser: Denoiser, coding: int
    ) -> None:
        super().__init__()
        self.codec, self.coding = codec, coding
        weight = {"positions": 1.0, "atoms": 1.0}
        self.latent = Jointly(process, denoiser, weight, codec)

    def players(self) -> dict[str, nn.Module]:
        coders = {"autoencoder": self.codec, "decoder": self.codec.decoder}
        return coders | self.latent.players()

    def turns(self, step: int) -> Sequence[str]:
        return ("autoencoder",) if step < self.coding else ("decoder", "denoiser")

    def loss(self, player: str, batch: Batch, generator: Generator) -> Loss:
        if player == "denoiser":
            return self.latent.loss(player, batch, generator)
        self.codec.observe(batch.x)
        return self.codec.loss(batch.x, generator)

    def validate(self, batch: Batch, generator: Generator) -> Loss:
        coded = self.codec.loss(batch.x, generator)
        made = self.latent.loss("denoiser", batch, generator)
        parts: Mapping[str, Tensor] = {"reconstruction": coded.each, "latent": made.each}
        return Loss(coded.each + made.each, parts)
