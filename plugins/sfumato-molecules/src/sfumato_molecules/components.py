"""Chemical components in mmCIF and BinaryCIF: the dictionary of the wwPDB, or one of your own."""

from __future__ import annotations

__all__ = ["demo_path", "dump_components", "read_cif"]

import importlib.util
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfumato import InputError

from .molecule import LARGEST, NUMBERS, SYMBOLS, Molecule, checked, symbols

Array = NDArray[Any]

ORDERS = {"SING": 1, "DOUB": 2, "TRIP": 3}


def demo_path() -> Path:
    """The Chemical Component Dictionary as the installed biotite has it: 49,195 components.

    Westbrook et al., "The chemical component dictionary", Bioinformatics 31 (2015); CC0.
    """
    found = importlib.util.find_spec("biotite")
    folder = next(iter(found.submodule_search_locations or ())) if found else ""
    return Path(folder, "structure", "info", "components.bcif")


def read_cif(
    path: Path, *, elements: Collection[str] | None, heavy: int | None
) -> Iterator[Molecule | tuple[str, str]]:
    """The molecules of a file, or for one that cannot be read where and why; see `files.read`.

    Of a file with `_chem_comp_atom` each component with its ideal places, else those of the model;
    of a file with `_atom_site` each model as one molecule. Components that have other elements or
    more heavy atoms than asked for are passed over unread.

    Raises:
        InputError: if the file is none of these.
    """
    from biotite.structure.io import pdbx

    file = (pdbx.BinaryCIFFile if path.suffix.lower() == ".bcif" else pdbx.CIFFile).read(path)
    for name, block in file.items():
        if "chem_comp_atom" in block and "atom_site" not in block:
            yield from _components(block, elements, heavy)
        elif "atom_site" in block:
            yield from _models(pdbx, file, name, "pdbx_formal_charge" in block["atom_site"])
        else:
            raise InputError("it holds neither _chem_comp_atom nor _atom_site")


def _components(
    block: Any, elements: Collection[str] | None, heavy: int | None
) -> Iterator[Molecule | tuple[str, str]]:
    atoms = block["chem_comp_atom"]
    numbers = _numbers(_text(atoms, "type_symbol"))
    owner = _text(atoms, "comp_id")
    start, count = _runs(owner)
    asked = count <= LARGEST
    if elements is not None:
        taken = np.isin(np.arange(len(SYMBOLS)), [NUMBERS[e] for e in elements])[numbers]
        asked &= np.minimum.reduceat(taken, start).astype(bool)
    if heavy is not None:
        asked &= np.add.reduceat(numbers != 1, start) <= heavy
    rows_of = np.repeat(asked, count)
    numbers, ids = numbers[rows_of], _text(atoms, "atom_id")[rows_of].tolist()
    ideal = _places(atoms, "pdbx_model_Cartn_{}_ideal", rows_of)
    model = _places(atoms, "model_Cartn_{}", rows_of)
    finite = np.isfinite(ideal.sum(1))
    charges = np.zeros(len(numbers), np.int64)
    if "charge" in atoms:
        charges = atoms["charge"].as_array(np.int64, masked_value=0)[rows_of]
    bonds = _bonds(block, owner[start[asked]])
    names = _names(block)
    first = 0
    for component, n in zip(owner[start[asked]].tolist(), count[asked].tolist(), strict=True):
        own = slice(first, first + n)
        first += n
        places = ideal[own] if finite[own].all() else model[own]
        index = {atom: i for i, atom in enumerate(ids[own])}
        try:
            rows = [(index[a], index[b], ORDERS[order]) for a, b, order in bonds.get(component, ())]
            yield checked(
                numbers[own], places, charges[own], rows,
                {"id": component, "name": names.get(component, "")}, f"component {component}",
                "file",
            )  # fmt: skip
        except InputError as error:
            yield f"component {component}", str(error)
        except KeyError as error:
            yield f"component {component}", f"a bond has {error}, which is no atom or order"


def _runs(owner: Array) -> tuple[Array, Array]:
    """(starts, lengths) of the runs of equal entries."""
    start = np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]]))
    return start, np.diff(np.append(start, len(owner)))


def _numbers(symbol: Array) -> Array:
    """Atomic numbers of symbols in capitals or not; 0 of what is no element."""
    letters = symbol.astype("<U2").view(np.uint32).reshape(-1, 2)
    table = np.zeros((128, 128), np.int64)
    for name, number in NUMBERS.items():
        pair = (ord(name[0]), ord(name[1:] or "\0"))
        table[pair] = table[pair[0], ord(name[1:].upper() or "\0")] = number
    return table[letters[:, 0] % 128, letters[:, 1] % 128]


def _text(category: Any, name: str) -> Array:
    if name not in category:
        raise InputError(f"_chem_comp lacks the column {name}")
    found: Array = category[name].as_array()
    return found if found.dtype.kind == "U" else found.astype(str)


def _places(atoms: Any, name: str, rows: Array) -> Array:
    """(n, 3) the places in some rows, not a number where there are none."""
    columns = [
        atoms[name.format(axis)].as_array(np.float64, masked_value=np.nan)[rows]
        if name.format(axis) in atoms
        else np.full(int(rows.sum()), np.nan)
        for axis in "xyz"
    ]
    return np.stack(columns, -1)


def _bonds(block: Any, asked: Array) -> dict[str, list[tuple[str, str, str]]]:
    """Rows (atom, atom, order) of each of the components asked for."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    if "chem_comp_bond" not in block:
        return found
    rows = block["chem_comp_bond"]
    owner = _text(rows, "comp_id")
    start, count = _runs(owner)
    wanted = np.repeat(np.isin(owner[start], asked), count)
    names = ("comp_id", "atom_id_1", "atom_id_2", "value_order")
    columns = [_text(rows, name)[wanted].tolist() for name in names]
    for owner, a, b, order in zip(*columns, strict=True):
        found.setdefault(owner, []).append((a, b, order.upper()))
    return found


def _names(block: Any) -> dict[str, str]:
    if "chem_comp" not in block or "name" not in block["chem_comp"]:
        return {}
    rows = block["chem_comp"]
    return dict(zip(_text(rows, "id").tolist(), _text(rows, "name").tolist(), strict=True))


def _models(pdbx: Any, file: Any, name: str, charged: bool) -> Iterator[Molecule | tuple[str, str]]:
    """Each model of a structure, with the bonds that the file and the residues tell."""
    extra = ["charge"] if charged else []
    stack = pdbx.get_structure(file, data_block=name, extra_fields=extra, include_bonds=True)
    numbers = [NUMBERS.get(str(e).capitalize(), 0) for e in stack.element.tolist()]
    rows = [
        (i, j, {1: 1, 2: 2, 3: 3, 5: 1, 6: 2, 7: 3}.get(order, 0))
        for i, j, order in stack.bonds.as_array().tolist()
    ]
    for number, places in enumerate(stack.coord, start=1):
        where = f"{name}, model {number}"
        try:
            charges = stack.charge if charged else None
            told = "file" if rows else ""
            yield checked(numbers, places, charges, rows, {"name": name}, where, told)
        except InputError as error:
            yield where, str(error)


def dump_components(molecules: Sequence[Molecule]) -> str:
    """Molecules in space as chemical components, each a data block of mmCIF."""
    from biotite.structure.io import pdbx

    names = {order: name for name, order in ORDERS.items()}
    file = pdbx.CIFFile()
    for number, molecule in enumerate(molecules, start=1):
        assert molecule.positions is not None
        own = f"M{number}"
        ids = [f"{symbol}{i}" for i, symbol in enumerate(symbols(molecule), start=1)]
        columns = {
            f"pdbx_model_Cartn_{axis}_ideal": [
                f"{v:.4f}" for v in molecule.positions[:, i].tolist()
            ]
            for i, axis in enumerate("xyz")
        }
        atoms = {
            "comp_id": [own] * len(molecule), "atom_id": ids,
            "type_symbol": [symbol.upper() for symbol in symbols(molecule)],
            "charge": [str(c) for c in molecule.charges.tolist()], **columns,
        }  # fmt: skip
        rows = molecule.bonds.tolist()
        title = str(molecule.properties.get("name", molecule.source)) or own
        block = pdbx.CIFBlock()
        block["chem_comp"] = pdbx.CIFCategory({"id": [own], "name": [title]})
        block["chem_comp_atom"] = pdbx.CIFCategory(atoms)
        if rows:
            block["chem_comp_bond"] = pdbx.CIFCategory(
                {
                    "comp_id": [own] * len(rows),
                    "atom_id_1": [ids[i] for i, _, _ in rows],
                    "atom_id_2": [ids[j] for _, j, _ in rows],
                    "value_order": [names[order] for *_, order in rows],
                }
            )
        file[own] = block
    return str(file.serialize())
