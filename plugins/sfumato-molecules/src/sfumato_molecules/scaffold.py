"""Molecules around a known part: what is known stays, the rest is drawn."""

from __future__ import annotations

__all__ = ["Scaffold", "numbers", "open_up", "scaffold"]

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sfumato import Batch, Fields, InputError, Known, Process, Product, Ragged, random
from sfumato.random import Source
from sfumato.sampling import Frame
from sfumato.state import expand
from sfumato_train import Run, draw

from .molecule import Molecule
from .process import MoleculeProcess
from .space import Placed, blank
from .state import points_of

HYDROGEN = 1


def numbers(text: str) -> list[int]:
    """The atoms in `3,5`, counted from 1.

    Raises:
        InputError: for something else.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words):
        raise InputError(f"--attach {text!r}: accepted are numbers of atoms from 1, as in 3,5")
    return [int(word) for word in words]


def open_up(core: Molecule, attach: Collection[int]) -> tuple[Molecule, list[int]]:
    """The core without one hydrogen of each atom that something may be attached to.

    Args:
        core: with places and bonds.
        attach: atoms, counted from 1 as files do.

    Returns:
        The core, and where these atoms are in it, counted from 0.

    Raises:
        InputError: for an atom that is not there, or is a hydrogen.
    """
    taken = []
    for number in attach:
        if not 1 <= number <= len(core) or core.elements[number - 1] == HYDROGEN:
            raise InputError(
                f"{core.source}: atom {number} is "
                f"{'a hydrogen' if 1 <= number <= len(core) else 'not there'}; parts are attached "
                f"to heavy atoms, counted from 1 to {len(core)}"
            )
        ends = core.bonds[(core.bonds[:, :2] == number - 1).any(1), :2].ravel()
        taken += [i for i in ends.tolist() if core.elements[i] == HYDROGEN and i not in taken][:1]
    kept = np.setdiff1d(np.arange(len(core)), taken)
    place = np.full(len(core), -1)
    place[kept] = np.arange(len(kept))
    inside = (place[core.bonds[:, :2]] >= 0).all(1)
    bonds = core.bonds[inside].copy()
    bonds[:, :2] = place[bonds[:, :2]]
    if core.positions is None:
        raise InputError(f"{core.source} has no coordinates, so that nothing can be placed at it")
    opened = replace(
        core, elements=core.elements[kept], positions=core.positions[kept],
        charges=core.charges[kept], bonds=bonds,
    )  # fmt: skip
    return opened, [int(place[number - 1]) for number in attach]


@dataclass(frozen=True)
class Scaffold:
    """The first atoms of every molecule are known, with the bonds among them.

    Atoms and bonds follow the forward law, as in `Known`. So do places, up to where the part as a
    whole is: places are relative to the mean of the whole molecule, which is not known before the
    rest is there. The known places, noised, are laid on the mean of those that the sampler has at
    their atoms; the mean of the molecule stays at 0.

    Attributes:
        core: one item: the known part, in the space of the process.
        attach: atoms of it that the rest may have bonds with; None: all.
    """

    core: Fields
    attach: Collection[int] | None = None

    def __call__(self, process: Process, frame: Frame, generator: Source) -> Fields:
        assert isinstance(process, Product)
        after, s = frame.after, frame.s
        made = {"positions": self._places(process, after["positions"], s, generator)}
        for name in after:
            if name != "positions":
                values, mask = self._known(name, after[name])
                part, sub = process.part(name), frame._replace(after=after[name])
                made[name] = Known(values, mask)(part, sub, generator)
        return Fields(made)

    def _places(self, process: Product, x: Ragged, s: Any, generator: Source) -> Ragged:
        part: Any = process.part("positions")
        known = self.core["positions"].data.to(x.data)
        first = x.position < len(known)
        values = torch.zeros_like(x.data)
        values[first] = known.repeat(x.items, 1)
        noise = random.normal(x, generator)
        noised = values * expand(x, part.alpha(s)) + noise.data * expand(x, part.sigma(s))
        owner = x.owner[first]
        gap = torch.zeros(x.items, 3, dtype=x.data.dtype, device=x.data.device)
        gap = gap.index_add(0, owner, x.data[first] - noised[first]) / len(known)
        data = x.data.clone()
        data[first] = noised[first] + gap[owner]
        return Ragged(data, x.owner, x.items)

    def _known(self, name: str, x: Ragged) -> tuple[Ragged, Ragged]:
        """Values and mask of a field of ids."""
        own = self.core[name].data.to(x.data)
        first = x.position < len(own)
        values = torch.zeros_like(x.data)
        values[first] = own.repeat(x.items)
        if name == "bonds" and self.attach is not None:
            earlier, later = _ends(x.position)
            size = len(self.core["atoms"].data)
            free = torch.tensor(sorted(self.attach), device=x.data.device)
            first = first | ((later >= size) & (earlier < size) & ~torch.isin(earlier, free))
        return Ragged(values, x.owner, x.items), Ragged(first, x.owner, x.items)


def _ends(place: Tensor) -> tuple[Tensor, Tensor]:
    """The earlier and the later atom of the pairs at these places of a molecule."""
    later = ((1 + (1 + 8 * place.double()).sqrt()) / 2).floor().long()
    return place - later * (later - 1) // 2, later


def scaffold(
    run: Run,
    core: Molecule,
    n: int,
    *,
    attach: Collection[int] | None = None,
    atoms: Tensor | None = None,
    **options: Any,
) -> Batch:
    """Draw n molecules that contain a part in its very places.

    Args:
        run: of a recipe of molecules in space.
        core: the part, its hydrogens as atoms.
        n: how many.
        attach: atoms of the part, from 1, that the rest is attached to; each gives up a hydrogen
            for it. None: anywhere, and nothing is taken away.
        atoms: (n,) sizes of the whole molecules; None: drawn from those of the training data that
            are larger than the part.
        options: of `sfumato_train.draw`: sampler, steps, seed and so on.

    Returns:
        The molecules; their first atoms are the part.

    Raises:
        InputError: if the part does not fit the run, or the whole is not larger than the part.
    """
    model = run.model(options.get("weights", "ema"), device="cpu")
    if not isinstance(model.process, MoleculeProcess) or not isinstance(model.codec, Placed):
        raise InputError(f"{run.path} makes no molecules in space with atoms of its own")
    places = None
    if attach is not None:
        core, places = open_up(core, attach)
    known = points_of([core], run.about)
    sizes = _sizes(model.process, len(core), n, options.get("seed", 0), atoms)
    fields = {k: v for k, v in known.items() if k in model.process.parts}
    held = Scaffold(model.codec.layout(Fields(fields)), places)
    made = draw(run, n, like=blank(sizes), constraint=held, **options)
    return Batch(_laid(made.x, core), made.condition, made.about)


def _sizes(process: MoleculeProcess, own: int, n: int, seed: int, asked: Tensor | None) -> Tensor:
    largest = process.sizes.largest
    if own >= largest:
        raise InputError(
            f"the part has {own} atoms, but the model makes molecules of at most {largest}"
        )
    if asked is not None:
        if int(asked.min()) <= own or int(asked.max()) > largest:
            raise InputError(
                f"the part has {own} atoms; the whole may have {own + 1} to {largest}, not "
                f"{int(asked.min())} to {int(asked.max())}"
            )
    return process.sizes.draw(n, random.derive(seed, "sizes"), asked, above=own)


def _laid(x: Fields, core: Molecule) -> Fields:
    """The molecules moved so that the known atoms are where they were."""
    places: Ragged = x["positions"]
    wanted = torch.from_numpy(np.asarray(core.positions)).to(places.data)
    first = places.position < len(wanted)
    middle = places.data[first].view(places.items, -1, 3).mean(1)
    data = places.data + (wanted.mean(0) - middle)[places.owner]
    data[first] = wanted.repeat(places.items, 1)
    return Fields({**x, "positions": Ragged(data, places.owner, places.items)})
