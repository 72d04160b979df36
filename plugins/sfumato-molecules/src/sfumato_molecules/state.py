"""Molecules as states that models noise, and back.

In space a molecule is `Fields(positions, atoms, bonds)`, all `Ragged`: places (N, 3) in angstrom,
the mean of each molecule at 0, the class of each atom, and, where the bonds of all data are known,
the order of that of each pair of atoms. As a graph it is `Fields(nodes, edges)`, both `Padded`: the
class of each atom, and of each pair of atoms that of its bond: 0 for none, its order, or aromatic
(`rings`). Pairs stand by their larger atom: (0, 1), (0, 2), (1, 2), (0, 3), and so on.

A class of atoms is an element with a formal charge; `about["classes"]` lists them.
"""

from __future__ import annotations

__all__ = ["graph_of", "molecules_of", "pair_orders", "points_of"]

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sfumato import Fields, InputError, Padded, Ragged

from . import bonds
from .molecule import NUMBERS, SYMBOLS, Molecule
from .rings import kekulised, perceived

Array = NDArray[Any]


def classes_of(molecule: Molecule, about: Mapping[str, Any]) -> Array:
    """(n,) the class of each atom.

    Raises:
        InputError: for an element with a charge that the classes do not have.
    """
    place = {(NUMBERS[symbol], charge): i for i, (symbol, charge) in enumerate(about["classes"])}
    pairs = zip(molecule.elements.tolist(), molecule.charges.tolist(), strict=True)
    try:
        return np.array([place[pair] for pair in pairs], dtype=np.int64)
    except KeyError as error:
        number, charge = error.args[0]
        raise InputError(
            f"{molecule.source}: {SYMBOLS[number]} of charge {charge:+d} is not one of "
            f"{', '.join(named(*c) for c in about['classes'])}"
        ) from None


def named(symbol: str, charge: int) -> str:
    """An element with its charge in one word: C, N+, O-, Ca+2."""
    sign = "+" if charge > 0 else "-"
    return symbol if not charge else f"{symbol}{sign}{abs(charge) if abs(charge) > 1 else ''}"


def points_of(molecules: Sequence[Molecule], about: Mapping[str, Any]) -> Fields:
    """Molecules in space as one state.

    Raises:
        InputError: if one has no places, or an atom of another class.
    """
    for molecule in molecules:
        if molecule.positions is None:
            raise InputError(f"{molecule.source} has no coordinates, which a model in space needs")
    counts = torch.tensor([len(molecule) for molecule in molecules])
    owner = torch.repeat_interleave(counts)
    places = [_centred(molecule.positions) for molecule in molecules]
    atoms = [classes_of(molecule, about) for molecule in molecules]
    count = len(molecules)
    found = {
        "positions": Ragged(torch.from_numpy(np.concatenate(places)), owner, count),
        "atoms": Ragged(torch.from_numpy(np.concatenate(atoms)), owner, count),
    }
    if "none" not in about["bonds"]:
        orders = [pair_orders(molecule) for molecule in molecules]
        pairs = torch.repeat_interleave(counts * (counts - 1) // 2)
        found["bonds"] = Ragged(torch.from_numpy(np.concatenate(orders)), pairs, count)
    return Fields(found)


def _centred(positions: Array | None) -> Array:
    assert positions is not None
    places = positions.astype(np.float64)
    centred: Array = (places - places.mean(0)).astype(np.float32)
    return centred


def pair_orders(molecule: Molecule) -> Array:
    """(n (n - 1) / 2,) the order of the bond of each pair of atoms, 0 for none."""
    return _paired(molecule, molecule.bonds[:, 2].astype(np.int64))


def _paired(molecule: Molecule, kinds: Array) -> Array:
    """(n (n - 1) / 2,) what is told of the bonds (m,), by pairs of atoms."""
    size = len(molecule)
    found = np.zeros(size * (size - 1) // 2, np.int64)
    first, second = molecule.bonds[:, :2].astype(np.int64).T
    found[second * (second - 1) // 2 + first] = kinds
    return found


def graph_of(molecules: Sequence[Molecule], about: Mapping[str, Any]) -> Fields:
    """Molecules as graphs, as one state.

    Raises:
        InputError: if one has an atom of another class.
    """
    nodes = [torch.from_numpy(classes_of(molecule, about)) for molecule in molecules]
    edges = [torch.from_numpy(_paired(molecule, perceived(molecule))) for molecule in molecules]
    return Fields(nodes=_padded(nodes), edges=_padded(edges))


def _padded(values: Sequence[Tensor]) -> Padded:
    data = pad_sequence(list(values), batch_first=True)
    counts = torch.tensor([len(value) for value in values])
    return Padded(data, torch.arange(data.shape[1]) < counts[:, None])


def molecules_of(x: Fields, about: Mapping[str, Any], source: str = "sample") -> list[Molecule]:
    """The molecules of a state, named `source 0` and on.

    Orders of bonds in a state are the model's, aromatic ones made single and double; molecules in
    space without a field `bonds` get bonds from their distances (`bonds.inferred`). Where places
    are not finite there are none.

    Args:
        x: a state as `points_of` or `graph_of` make.
        about: facts of the data: the classes.
        source: what they are from.
    """
    kinds = np.array([(NUMBERS[symbol], charge) for symbol, charge in about["classes"]])
    if "nodes" in x:
        return [
            _of_graph(nodes[there], edges[shown], kinds, f"{source} {i}")
            for i, (nodes, there, edges, shown) in enumerate(
                zip(*_rows(x["nodes"]), *_rows(x["edges"]), strict=True)
            )
        ]
    counts = x["atoms"].counts.tolist()
    places = _host(x["positions"].data).astype(np.float32)
    atoms = _host(x["atoms"].data)
    orders = _host(x["bonds"].data) if "bonds" in x else None
    found, at, pairs = [], 0, 0
    for i, count in enumerate(counts):
        own, between = slice(at, at + count), slice(pairs, pairs + count * (count - 1) // 2)
        at, pairs = own.stop, between.stop
        elements, charges = kinds[atoms[own]].reshape(-1, 2).T
        finite = bool(count) and bool(np.isfinite(places[own]).all())
        rows = np.zeros((0, 3), np.int16)
        if orders is not None and finite:
            rows = _bonded(orders[between])
        molecule = Molecule(
            elements.astype(np.uint8), places[own], charges.astype(np.int8), rows, {},
            f"{source} {i}", "model" if len(rows) else "",
        )  # fmt: skip
        found.append(bonds.inferred(molecule) if orders is None and finite else molecule)
    return found


def _host(values: Tensor) -> Array:
    found: Array = values.detach().cpu().numpy()
    return found


def _rows(part: Padded) -> tuple[Array, Array]:
    return _host(part.data), _host(part.mask)


def _bonded(orders: Array) -> Array:
    """Rows (i, j, order) of the orders of all pairs."""
    there = np.flatnonzero(orders)
    larger = ((1 + np.sqrt(1 + 8 * there)) / 2).astype(np.int64)
    smaller = there - larger * (larger - 1) // 2
    rows = np.column_stack([smaller, larger, orders[there]]).astype(np.int16)
    found: Array = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    return found


def _of_graph(nodes: Array, orders: Array, kinds: Array, source: str) -> Molecule:
    """A molecule of the classes of its atoms and pairs."""
    elements, charges = kinds[nodes].reshape(-1, 2).T
    rows = kekulised(elements, charges, _bonded(orders))
    return Molecule(
        elements.astype(np.uint8), None, charges.astype(np.int8), rows, {}, source,
        "model" if len(rows) else "",
    )  # fmt: skip
