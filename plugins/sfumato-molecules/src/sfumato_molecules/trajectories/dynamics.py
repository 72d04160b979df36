"""Molecular dynamics with quantum-chemical forces: GFN2-xTB and a Langevin thermostat.

Bannwarth et al. 2019, doi:10.1021/acs.jctc.8b01176, through the library tblite (extra `xtb`). What
it makes has the form of MD17 (Chmiela et al. 2017, arXiv:1611.04678), whose forces are of density
functional theory.
"""

from __future__ import annotations

__all__ = ["STEP", "begun", "dynamics"]

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator

from sfumato import InputError, random
from sfumato_train.guards import Watch, throttled

from ..chem import from_rdkit, quiet, to_ase
from ..molecule import SYMBOLS, Molecule
from .data import Track

STEP = 0.5
"""Femtoseconds of one step."""

FRICTION = 0.01
"""Of the thermostat, per femtosecond."""

SETTLING = 200
"""Steps before the first frame."""


class _Normals:
    """What ASE draws from, in the place of NumPy's generator."""

    def __init__(self, generator: Generator) -> None:
        self.generator = generator

    def standard_normal(self, size: Sequence[int]) -> Any:
        like = torch.empty(tuple(size), dtype=torch.float64)
        return random.normal(like, self.generator).numpy()


def begun(smiles: str, seed: int = 0) -> Molecule:
    """A molecule in space, by distance geometry and the force field MMFF94.

    Args:
        smiles: of one molecule; hydrogens are added.
        seed: of the distance geometry.

    Raises:
        InputError: for what is no SMILES, or has no place in space that RDKit finds.
    """
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    with quiet():
        mol = Chem.MolFromSmiles(smiles)
        if mol is None:
            raise InputError(f"{smiles!r} is no system of points and no SMILES")
        mol = Chem.AddHs(mol)
        if rdDistGeom.EmbedMolecule(mol, randomSeed=seed) != 0:
            raise InputError(f"{smiles}: RDKit finds no places for its atoms")
        rdForceFieldHelpers.MMFFOptimizeMolecule(mol)
    return from_rdkit(mol, source=smiles)


def dynamics(
    molecule: Molecule,
    frames: int,
    *,
    every: int = 5,
    temperature: float = 500.0,
    seed: int = 0,
    watch: Watch | None = None,
) -> tuple[Track, list[str]]:
    """One run of a molecule.

    Args:
        molecule: with places, such as RDKit makes them.
        frames: to keep.
        every: steps of 0.5 fs between two frames.
        temperature: kelvin.
        seed: of velocities and thermostat.
        watch: is told how many frames are done.

    Returns:
        The run, and the names of its kinds, the elements.

    Raises:
        InputError: if tblite is missing, or for no places, or numbers that are not positive.
    """
    if min(frames, every, temperature) <= 0:
        raise InputError("frames, every and temperature must be positive")
    atoms = to_ase(molecule)
    try:
        from ase import units
        from ase.constraints import FixCom
        from ase.md.langevin import Langevin
        from tblite.ase import TBLite
    except ImportError:
        raise InputError(
            "tblite is missing; install it with pip install 'sfumato-molecules[xtb]'"
        ) from None
    normals = _Normals(random.derive(seed, "dynamics", molecule.source))
    charge = int(molecule.charges.astype(int).sum())
    atoms.calc = TBLite(method="GFN2-xTB", charge=charge, verbosity=0)
    spread = np.sqrt(atoms.get_masses() * units.kB * temperature)[:, None]
    atoms.set_constraint(FixCom())
    atoms.set_momenta(spread * normals.standard_normal(atoms.positions.shape))
    thermostat: Any = Langevin(
        atoms, STEP * units.fs, temperature_K=temperature, friction=FRICTION / units.fs,
        fixcm=False, rng=normals,
    )  # fmt: skip
    thermostat.run(SETTLING)
    places, tell, began = [], throttled(watch, frames), time.monotonic()
    for frame in range(frames):
        thermostat.run(every)
        places.append(atoms.positions.astype(np.float32))
        speed = (frame + 1) / max(time.monotonic() - began, 1e-9)
        tell(frame + 1, None, speed, over=frame + 1 == frames)
    numbers = molecule.elements.astype(np.int64)
    elements = sorted(set(numbers.tolist()))
    kinds = (numbers[:, None] == np.array(elements)).astype(np.float32)
    track = Track(np.stack(places, 1), kinds, molecule.source or "molecule")
    return track, [SYMBOLS[e] for e in elements]
