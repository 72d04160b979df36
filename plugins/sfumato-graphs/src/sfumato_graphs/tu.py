"""Folders of TUDataset: tables of edges, of the graph of each node, and of labels.

Morris et al. 2020, arXiv:2007.08663. Nodes and graphs are counted from 1.
"""

from __future__ import annotations

__all__ = ["SUFFIX", "name_of", "read", "write"]

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import networkx as nx

from sfumato import InputError
from sfumato_train.folders import placed

SUFFIX = ".tu"
"""Of a folder that is to be written."""

BIGGEST = 256 * 2**20
"""Bytes of the largest table that is read."""

Table = list[list[str]]


def name_of(folder: Path) -> str | None:
    """The name of the data set in a folder; None if it holds none, or several."""
    tables = sorted(folder.glob("*_A.txt"))
    return tables[0].name.removesuffix("_A.txt") if len(tables) == 1 else None


def read(folder: Path, name: str) -> list[nx.Graph]:
    """The graphs of a folder.

    Labels of nodes, edges and graphs become the attribute `label`; the numbers of
    `NAME_graph_attributes.txt` the attributes `value`, or `value0`, `value1`, ... of graphs.

    Raises:
        InputError: for a table that is missing, too large, of another length, or refers to what is
            not there: the file is named, and the line.
    """
    edges, owners = _whole(folder, name, "A", 2), _whole(folder, name, "graph_indicator", 1)
    if edges is None or owners is None:
        what = "A" if edges is None else "graph_indicator"
        raise InputError(f"{folder} lacks {name}_{what}.txt, which a TU folder has")
    count = max((owner for (owner,) in owners), default=0)
    if not owners or count > len(owners):
        raise InputError(f"{folder}: {len(owners)} nodes cannot belong to {count} graphs")
    node_labels = _labels(folder, name, "node_labels", len(owners))
    edge_labels = _labels(folder, name, "edge_labels", len(edges))
    labels = _labels(folder, name, "graph_labels", count)
    numbers = _numbers(folder, name, count)
    networks = [nx.Graph(name=f"{name} {i}") for i in range(count)]
    for node, (owner,) in enumerate(owners, start=1):
        if owner < 1:
            raise InputError(f"{folder}: node {node} belongs to graph {owner}, counted from 1")
        own = {} if node_labels is None else {"label": node_labels[node - 1]}
        networks[owner - 1].add_node(node, **own)
    for line, (a, b) in enumerate(edges, start=1):
        where = f"{folder}: {name}_A.txt, line {line}"
        if not (1 <= a <= len(owners) and 1 <= b <= len(owners)) or owners[a - 1] != owners[b - 1]:
            raise InputError(f"{where}: no edge joins {a} and {b}")
        network = networks[owners[a - 1][0] - 1]
        own = {} if edge_labels is None else {"label": edge_labels[line - 1]}
        if network.has_edge(a, b) and network.edges[a, b] != own:
            raise InputError(f"{where}: the edge {a} to {b} has another label than that back")
        network.add_edge(a, b, **own)
    for i, network in enumerate(networks):
        if labels is not None:
            network.graph["label"] = labels[i]
        if numbers is not None:
            row = numbers[i]
            keys = ["value"] if len(row) == 1 else [f"value{k}" for k in range(len(row))]
            network.graph.update(zip(keys, row, strict=True))
    return networks


def write(networks: Sequence[nx.Graph], folder: Path) -> None:
    """Write graphs to a folder, whole, in the place of an earlier one; `read` gives them back.

    The one attribute of nodes becomes their label, that of edges theirs, `label` that of graphs,
    and their other attributes the numbers of `NAME_graph_attributes.txt`, whose names the folder
    does not keep. Labels are whole numbers there: text is numbered in its order, and `README.txt`
    says how, as that of TUDataset does.

    Raises:
        InputError: for no graphs, a graph without nodes, or attributes that such folders cannot
            hold.
    """
    if not networks or not all(map(len, networks)):
        raise InputError("a TU folder holds at least one graph, and graphs of at least one node")
    whole = nx.disjoint_union_all(networks)
    # both ways, by the first node: loaders such as PyTorch Geometric's take blocks of lines
    both = sorted(whole.to_directed(as_view=True).edges(data=True), key=lambda edge: edge[:2])
    numbers = [
        {k: v for k, v in network.graph.items() if k not in ("name", "label")}
        for network in networks
    ]
    tables = {
        "A": [f"{a + 1}, {b + 1}" for a, b, _ in both],
        "graph_indicator": [str(i) for i, g in enumerate(networks, start=1) for _ in g],
    }
    notes: list[str] = []
    labels = {
        "node": [own for _, own in whole.nodes(data=True)],
        "edge": [own for *_, own in both],
        "graph": [{k: v for k, v in g.graph.items() if k == "label"} for g in networks],
    }
    for what, attributes in labels.items():
        if any(attributes):
            tables[f"{what}_labels"] = _numbered(what, attributes, notes)
    if any(numbers):
        tables["graph_attributes"] = _rows(numbers)
    with placed(folder, replace=True) as beside:
        for name, lines in tables.items():
            text = "".join(f"{line}\n" for line in lines)
            (beside / f"{folder.stem}_{name}.txt").write_text(text, encoding="utf-8")
        if notes:
            (beside / "README.txt").write_text("\n".join(notes) + "\n", encoding="utf-8")


def _numbered(what: str, attributes: Sequence[dict[str, Any]], notes: list[str]) -> list[str]:
    """Lines of labels; what they stand for is added to the notes where they are text."""
    keys = sorted(set(chain.from_iterable(attributes)))
    if len(keys) > 1 or not all(attributes):
        raise InputError(
            f"a TU folder holds one label of every {what}, but these have "
            f"{', '.join(keys)}{'' if all(attributes) else ', and some have none'}; "
            "write .graphml or .json in its place"
        )
    values = [own[keys[0]] for own in attributes]
    if all(type(value) is int for value in values):
        return [str(value) for value in values]
    if not all(isinstance(value, str) for value in values):
        raise InputError(
            f"a TU folder holds labels that are whole numbers or text, but {keys[0]!r} of a "
            f"{what} is something else; write .graphml or .json in its place"
        )
    number = {value: i for i, value in enumerate(sorted(set(values)))}
    notes.append(f"{what} labels, {keys[0]}:")
    notes += [f"  {i}  {value}" for value, i in number.items()]
    return [str(number[value]) for value in values]


def _rows(numbers: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of the numbers of graphs."""
    keys = list(numbers[0])
    if any(list(own) != keys for own in numbers) or not all(
        type(value) in (int, float) for own in numbers for value in own.values()
    ):
        raise InputError(
            "a TU folder holds the same attributes of every graph, all of them numbers, but "
            f"these have {', '.join(sorted(set(chain.from_iterable(numbers))))}; write .graphml or "
            ".json in its place"
        )
    return [", ".join(map(repr, own.values())) for own in numbers]


def _table(folder: Path, name: str, what: str) -> Table | None:
    """The cells of a table; None if it is not there."""
    file = folder / f"{name}_{what}.txt"
    if not file.exists():
        return None
    try:
        if (size := file.stat().st_size) > BIGGEST:
            raise InputError(f"{file} has {size / 2**20:.0f} MiB; accepted are at most 256")
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}") from None
    return [line.split(",") for line in text.splitlines()]


def _whole(folder: Path, name: str, what: str, columns: int) -> list[list[int]] | None:
    """A table of whole numbers, so many in each line."""
    table = _table(folder, name, what)
    rows = []
    for number, cells in enumerate(table or (), start=1):
        try:
            rows.append([int(cell) for cell in cells])
        except ValueError:
            rows.append([])
        if len(rows[-1]) != columns:
            file, line = folder / f"{name}_{what}.txt", ",".join(cells)[:40]
            raise InputError(
                f"{file}, line {number}: {line!r} is not {columns} whole number"
                f"{'' if columns == 1 else 's'}"
            )
    return None if table is None else rows


def _labels(folder: Path, name: str, what: str, count: int) -> list[int] | None:
    """The first column of a table of labels, one for each of so many things."""
    table = _table(folder, name, what)
    if table is None:
        return None
    _check(folder, name, what, len(table), count)
    found = []
    for number, cells in enumerate(table, start=1):
        try:
            found.append(int(cells[0]))
        except ValueError:
            raise InputError(
                f"{folder / f'{name}_{what}.txt'}, line {number}: {cells[0][:40]!r} is no whole "
                "number"
            ) from None
    return found


def _numbers(folder: Path, name: str, count: int) -> list[list[float]] | None:
    table = _table(folder, name, "graph_attributes")
    if table is None:
        return None
    _check(folder, name, "graph_attributes", len(table), count)
    found = []
    for number, cells in enumerate(table, start=1):
        try:
            found.append([float(cell) for cell in cells])
        except ValueError:
            raise InputError(
                f"{folder / f'{name}_graph_attributes.txt'}, line {number}: these are no numbers"
            ) from None
    return found


def _check(folder: Path, name: str, what: str, lines: int, count: int) -> None:
    if lines != count:
        raise InputError(f"{folder}: {name}_{what}.txt has {lines} lines in place of {count}")
