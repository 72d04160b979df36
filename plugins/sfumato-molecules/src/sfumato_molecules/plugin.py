"""What this plugin announces: the domain of molecules and its verbs."""

from __future__ import annotations

__all__ = ["sfumato_register"]

from sfumato import hook
from sfumato.plugins import Add


@hook
def sfumato_register(add: Add) -> None:
    """Announce the domain and the verbs."""
    add(
        "domain",
        "molecules",
        "sfumato_molecules.domain:domain",
        summary="SMILES, SELFIES, InChI, tables, SD files, mol2, XYZ, PDB, mmCIF",
    )
    add(
        "command",
        "molecules/molecule-statistics",
        "sfumato_molecules.commands:statistics",
        summary="tell what molecules are in your files: elements, sizes, lengths of bonds",
    )
    add(
        "command",
        "molecules/relax",
        "sfumato_molecules.commands:relax",
        summary="bring molecules to the minimum of energy nearby",
        source="Halgren 1996 (MMFF94); Bannwarth et al. 2019, doi:10.1021/acs.jctc.8b01176",
    )
