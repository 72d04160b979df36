"""Molecules relaxed to a minimum of their energy, by MMFF94 or GFN2-xTB."""

from __future__ import annotations

__all__ = ["Relaxed", "relax", "strain"]

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from sfumato import InputError

from .chem import quiet, sanitised, to_ase
from .molecule import Molecule

Method: TypeAlias = Literal["mmff", "xtb"]

KCAL = 23.060548
"""Kilocalories per mole in one electronvolt."""


@dataclass(frozen=True, eq=False)
class Relaxed:
    """A molecule at a minimum of the energy.

    Attributes:
        molecule: with its new places.
        before: energy before, kcal/mol.
        after: energy after, kcal/mol.
    """

    molecule: Molecule
    before: float
    after: float

    @property
    def strain(self) -> float:
        """What the places were above the minimum nearby, kcal/mol."""
        return self.before - self.after


def relax(molecule: Molecule, method: Method = "mmff", steps: int = 500) -> Relaxed:
    """The molecule at the minimum of energy nearby.

    MMFF94 (Halgren 1996, doi:10.1002/(SICI)1096-987X(199604)17:5/6<490::AID-JCC1>3.0.CO;2-P) goes
    by the bonds; GFN2-xTB (Bannwarth et al. 2019, doi:10.1021/acs.jctc.8b01176), which needs the
    extra `xtb`, by the elements and places alone.

    Args:
        molecule: with places and with all hydrogens.
        method: what energy.
        steps: of the optimiser, at most.

    Raises:
        InputError: if the molecule has no places, is not valid, or the force field lacks
            parameters for it; if the extra is missing.
    """
    if molecule.positions is None:
        raise InputError(f"{molecule.source} has no coordinates to relax")
    return _xtb(molecule, steps) if method == "xtb" else _mmff(molecule, steps)


def _mmff(molecule: Molecule, steps: int) -> Relaxed:
    from rdkit.Chem import rdForceFieldHelpers as helpers

    made = sanitised(molecule, explicit=True)
    if made is None:
        raise InputError(f"{molecule.source} has impossible valences")
    with quiet():
        parameters = helpers.MMFFGetMoleculeProperties(made)
        field = None if parameters is None else helpers.MMFFGetMoleculeForceField(made, parameters)
    if field is None:
        raise InputError(f"{molecule.source} has atoms that MMFF94 has no parameters for")
    before = float(field.CalcEnergy())
    field.Minimize(maxIts=steps)
    places = made.GetConformer().GetPositions().astype(np.float32)
    return Relaxed(replace(molecule, positions=places), before, float(field.CalcEnergy()))


def _xtb(molecule: Molecule, steps: int) -> Relaxed:
    atoms = to_ase(molecule)
    try:
        from ase.optimize import LBFGS
        from tblite.ase import TBLite
    except ImportError:
        raise InputError(
            "tblite is missing; install it with pip install 'sfumato-molecules[xtb]'"
        ) from None
    charge = int(molecule.charges.astype(int).sum())
    atoms.calc = TBLite(method="GFN2-xTB", charge=charge, verbosity=0)
    before = float(atoms.get_potential_energy())
    optimiser: Any = LBFGS
    optimiser(atoms, logfile=None).run(fmax=0.05, steps=steps)
    places = atoms.positions.astype(np.float32)
    after = float(atoms.get_potential_energy())
    return Relaxed(replace(molecule, positions=places), KCAL * before, KCAL * after)


def strain(molecule: Molecule) -> float | None:
    """MMFF94 energy above the minimum nearby, kcal/mol; None where that cannot be told."""
    try:
        return relax(molecule).strain
    except InputError:
        return None
