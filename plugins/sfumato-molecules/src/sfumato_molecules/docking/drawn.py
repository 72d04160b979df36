"""Poses that a model drew of the complexes of a data set, and how far each is from the truth."""

from __future__ import annotations

__all__ = ["Drawn", "drawn", "load", "save"]

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as packed
from torch import Tensor

from sfumato import Batch, Dataset, Fields, InputError, Model, Ragged, random, state
from sfumato_data import join, keys_of
from sfumato_train import draw
from sfumato_train.files import make_folder, write_bytes

from .complexes import ligands_of
from .metrics import NEAR, rmsds, symmetries
from .pose import posed

CHUNK = 256
"""Complexes whose poses are drawn at a time."""

PARTS = ("translation", "rotation", "torsions")
"""Of a state, what a pose is."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """A data set of poses, those of one complex one after the other.

    A batch has the states of complexes at their poses, and the condition `near` (B,).

    Attributes:
        source: the complexes.
        draws: poses of each.
        poses: `PARTS` of all poses.
        rmsd: (N,) angstrom from the truth, over symmetries.
        apart: complexes that are held out, with all of their poses.
    """

    source: Dataset
    draws: int
    poses: Fields
    rmsd: Tensor
    apart: Sequence[int] = ()

    @cached_property
    def near(self) -> Tensor:
        """(N,) 1 where a pose is within 2 angstrom of the truth, else 0."""
        return (self.rmsd <= NEAR).float()

    @property
    def about(self) -> Mapping[str, Any]:
        """The facts of the complexes."""
        return self.source.about

    def __len__(self) -> int:
        """Number of poses."""
        return len(self.source) * self.draws

    def batch(self, index: Sequence[int]) -> Batch:
        """The poses at `index`."""
        rows = torch.as_tensor(index, dtype=torch.long)
        told = self.source.batch((rows // self.draws).tolist())
        x = Fields({**told.x, **state.select(self.poses, rows)})
        return Batch(x, {"near": self.near[rows]}, told.about)

    def keys(self) -> Sequence[str] | None:
        """Those of the complexes."""
        keys = keys_of(self.source)
        return None if keys is None else [key for key in keys for _ in range(self.draws)]

    def test_part(self) -> Sequence[int]:
        """The poses of complexes that are held out."""
        return [i * self.draws + k for i in self.apart for k in range(self.draws)]


def drawn(model: Model, source: Dataset, draws: int, seed: int) -> Drawn:
    """Draw poses of each complex of a data set.

    Args:
        model: of the recipe `molecules/docking`.
        source: complexes.
        draws: poses of each.
        seed: of the draws; poses of a complex depend on its place in the data.
    """
    # not those that `sfumato dock` draws of other complexes with the same seed
    own = random.derive(seed, "poses").initial_seed()
    poses, far = [], []
    for first in range(0, len(source), CHUNK):
        index = range(first, min(first + CHUNK, len(source)))
        like = source.batch(index).x
        every = torch.arange(len(index)).repeat_interleave(draws)
        made = draw(
            model, len(every), like=state.select(like, every), seed=own, first=first * draws
        ).x
        poses.append(Fields({name: made[name] for name in PARTS}))
        far.append(_distances(like, posed(made), draws, source.about))
    return Drawn(source, draws, join(poses), torch.cat(far))


def _distances(like: Fields, made: Ragged, draws: int, about: Mapping[str, Any]) -> Tensor:
    """(N,) RMSD over symmetries of poses from where the ligands of a state are given."""
    given: Ragged = like["complex"]["places"]
    found, first = [], 0
    for item, ligand in enumerate(ligands_of(like, given.data, about)):
        true = given.data[given.owner == item].numpy()
        rows = made.data[first : first + draws * len(true)]
        first += len(rows)
        found.append(rmsds(rows.view(draws, -1, 3).numpy(), true, symmetries(ligand)))
    return torch.from_numpy(np.concatenate(found)).float()


def save(poses: Drawn, path: Path) -> None:
    """Write poses, whole or not at all, without the complexes that they are of."""
    turns: Ragged = poses.poses["torsions"]
    rows = {name: poses.poses[name].contiguous() for name in PARTS if name != "torsions"}
    make_folder(path.parent)
    write_bytes(
        path, packed({**rows, "torsions": turns.data, "turns": turns.counts, "rmsd": poses.rmsd})
    )


def load(path: Path, source: Dataset, draws: int, apart: Sequence[int] = ()) -> Drawn:
    """Poses that `save` wrote, of the same complexes.

    Raises:
        InputError: if the file is damaged, or holds other poses than so many of each complex.
    """
    count = len(source) * draws
    shapes = {"translation": (count, 3), "rotation": (count, 3, 3), "turns": (count,),
              "rmsd": (count,)}  # fmt: skip
    try:
        held = load_file(path)
        found = {name: tuple(held[name].shape) for name in shapes}
        whole = found == shapes and held["torsions"].shape == (int(held["turns"].sum()),)
    except (SafetensorError, KeyError) as error:
        raise InputError(f"{path} is damaged ({error}); delete it, to draw poses again") from None
    if not whole:
        raise InputError(
            f"{path} does not hold {draws} poses of each of {len(source)} complexes; delete it, to "
            "draw poses again"
        )
    owner = torch.repeat_interleave(held["turns"])
    poses = Fields(
        translation=held["translation"],
        rotation=held["rotation"],
        torsions=Ragged(held["torsions"], owner, count),
    )
    return Drawn(source, draws, poses, held["rmsd"], apart)
