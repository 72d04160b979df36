"""Reading graphs: GraphML, GML, GEXF, edge lists, graph6, node-link JSON, matrices, TU folders."""

from __future__ import annotations

__all__ = ["SUFFIXES", "Network", "read"]

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import networkx as nx
import numpy as np

from sfumato import InputError

from .data import LARGEST

BIGGEST = 256 * 2**20
"""Bytes of the largest file that is read."""

Network: TypeAlias = nx.Graph


def read(path: Path) -> list[Network]:
    """The graphs in a file, in all files of a folder that are of a known kind, or in a TU folder.

    A folder is taken in the order of its paths, at any depth, hidden files and other kinds passed
    over; of a folder with `NAME_A.txt` and `NAME_graph_indicator.txt` (TUDataset, Morris et al.
    2020, arXiv:2007.08663) the graphs that these list. GraphML files may hold several graphs,
    `.g6` and `.s6` one in each line, `.json` one or a list of node-link graphs, `.npz` and `.mtx`
    an adjacency matrix, `.csv`, `.tsv`, `.txt` and `.edges` an edge in each line: two names and,
    in columns that a first line names, attributes.

    Raises:
        InputError: for a path that is not there, no graphs, a file that is larger than 256 MiB or
            cannot be read: the file is named, and the line where there is one.
    """
    if path.is_dir():
        tables = sorted(path.glob("*_A.txt"))
        if len(tables) == 1:
            return _tu(path, tables[0].name.removesuffix("_A.txt"))
        files = [
            f
            for f in sorted(path.rglob("*"))
            if f.suffix.lower() in SUFFIXES
            and not any(part.startswith(".") for part in f.relative_to(path).parts)
        ]
        if not files:
            raise InputError(
                f"{path} holds no graphs; accepted are {', '.join(SUFFIXES)} and TU folders"
            )
        return [network for file in files for network in _file(file)]
    return _file(path)


def _file(path: Path) -> list[Network]:
    reader = SUFFIXES.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"{path} is of no kind that holds graphs; accepted are {', '.join(SUFFIXES)}"
        )
    try:
        size = path.stat().st_size
        if size > BIGGEST:
            raise InputError(f"{path} has {size / 2**20:.0f} MiB; accepted are at most 256")
        found = reader(path)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # whatever a parser raises on a damaged file
        raise InputError(f"{path} cannot be read: {_sentence(error)}") from None
    for number, network in enumerate(found):
        if not network.graph.get("name"):
            network.graph["name"] = path.name if len(found) == 1 else f"{path.name} {number}"
    return found


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _graphml(path: Path) -> list[Network]:
    from networkx.readwrite.graphml import GraphMLReader

    return list(GraphMLReader()(path=str(path)))


def _gml(path: Path) -> list[Network]:
    return [nx.read_gml(path, label="id")]


def _gexf(path: Path) -> list[Network]:
    network = nx.read_gexf(path)
    for _, attributes in network.nodes(data=True):
        attributes.pop("label", None)  # the name that every node of the format has
    for *_, attributes in network.edges(data=True):
        attributes.pop("id", None)
    return [network]


def _sparse(parse: Callable[[bytes], Network]) -> Callable[[Path], list[Network]]:
    def read_lines(path: Path) -> list[Network]:
        found = []
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            line = line.strip().removeprefix(b">>graph6<<").removeprefix(b">>sparse6<<")
            if not line:
                continue
            try:
                found.append(parse(line))
            except Exception as error:
                raise InputError(f"{path}, line {number}: {_sentence(error)}") from None
        return found

    return read_lines


def _json(path: Path) -> list[Network]:
    value = json.loads(path.read_text(encoding="utf-8"))
    return [
        _linked(path, i, v) for i, v in enumerate(value if isinstance(value, list) else [value])
    ]


def _linked(path: Path, number: int, value: Any) -> Network:
    if not isinstance(value, dict) or "nodes" not in value or not {"links", "edges"} & set(value):
        raise InputError(
            f"{path}, graph {number}: node-link graphs have the keys 'nodes' and 'edges' (or "
            "'links')"
        )
    network: Network = nx.node_link_graph(value, edges="links" if "links" in value else "edges")
    return network


def _npz(path: Path) -> list[Network]:
    from scipy import sparse

    with np.load(path, allow_pickle=False) as arrays:
        names = set(arrays.files)
        if "format" in names:
            matrices: Iterable[Any] = [sparse.load_npz(path)]
        elif names == {"arr_0"} or names == {"adjacency"}:
            (name,) = names
            value = arrays[name]
            matrices = [value] if value.ndim == 2 else list(value)
        else:
            raise InputError(
                f"{path} holds {', '.join(sorted(names))}; accepted are a scipy sparse matrix, or "
                "one array `adjacency` of shape (n, n) or (graphs, n, n)"
            )
    return [_adjacent(path, matrix) for matrix in matrices]


def _mtx(path: Path) -> list[Network]:
    from scipy.io import mmread

    return [_adjacent(path, mmread(path))]


def _adjacent(path: Path, matrix: Any) -> Network:
    """A graph from a matrix; values other than 0 and 1 are the attribute `weight`."""
    from scipy import sparse

    table = sparse.csr_array(matrix)
    if table.ndim != 2 or table.shape[0] != table.shape[1]:
        raise InputError(f"{path}: an adjacency matrix is square, but this one is {table.shape}")
    if table.shape[0] > LARGEST:
        raise InputError(f"{path}: {table.shape[0]} nodes; accepted are at most {LARGEST:,}")
    if abs(table - table.T).max() != 0:
        raise InputError(f"{path}: the matrix is not symmetric, so the graph is directed")
    network = nx.Graph()
    network.add_nodes_from(range(table.shape[0]))
    entries = table.tocoo()
    values = entries.data.tolist()
    plain = set(values) <= {0, 1}
    for i, j, value in zip(entries.row.tolist(), entries.col.tolist(), values, strict=True):
        if value and i <= j:
            whole = int(value) if float(value).is_integer() else value
            network.add_edge(i, j, **({} if plain else {"weight": whole}))
    return network


def _edge_list(path: Path) -> list[Network]:
    """Edges in lines, separated by comma, tab or blanks; a first line may name attributes."""
    text = path.read_text(encoding="utf-8-sig")
    lines = [
        (n, line.strip())
        for n, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith(("#", "%"))
    ]
    if not lines:
        raise InputError(f"{path} holds no edges")
    first = lines[0][1]
    mark = "," if "," in first else "\t" if "\t" in first else None
    rows = [
        (n, next(csv.reader([line], delimiter=mark)) if mark else line.split()) for n, line in lines
    ]
    names: list[str] = []
    if rows[0][1][:2] in (["source", "target"], ["from", "to"]):
        names = [cell.strip() for cell in rows.pop(0)[1][2:]]
    network = nx.Graph()
    for number, cells in rows:
        cells = [cell.strip() for cell in cells]
        if len(cells) < 2 or (len(cells) != 2 + len(names) and (names or len(cells) > 3)):
            raise InputError(
                f"{path}, line {number}: {len(cells)} columns in place of {2 + len(names)}"
            )
        a, b, *rest = cells
        keys = names or (["weight"] if rest else [])
        if network.has_edge(a, b):
            raise InputError(f"{path}, line {number}: the edge {a} to {b} is there already")
        network.add_edge(a, b, **{k: _value(v) for k, v in zip(keys, rest, strict=True)})
    return [network]


def _value(text: str) -> str | int:
    return int(text) if text.lstrip("-").isdecimal() else text


def _tu(folder: Path, name: str) -> list[Network]:
    """A folder of TUDataset: edges, the graph of each node, and labels where there are files."""

    def column(what: str, needed: bool = False) -> list[list[int]] | None:
        file = folder / f"{name}_{what}.txt"
        if not file.exists():
            if needed:
                raise InputError(f"{folder} lacks {file.name}, which a TU folder has")
            return None
        rows = []
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                rows.append([int(cell) for cell in line.split(",")])
            except ValueError:
                raise InputError(
                    f"{file}, line {number}: {line[:40]!r} is not whole numbers"
                ) from None
        return rows

    edges, owners = column("A", True) or [], column("graph_indicator", True) or []
    node_labels, edge_labels = column("node_labels"), column("edge_labels")
    labels = column("graph_labels")
    for what, table, count in (
        ("node_labels", node_labels, len(owners)),
        ("edge_labels", edge_labels, len(edges)),
    ):
        if table is not None and len(table) != count:
            raise InputError(
                f"{folder}: {name}_{what}.txt has {len(table)} lines in place of {count}"
            )
    networks = [nx.Graph(name=f"{name} {i}") for i in range(max((o[0] for o in owners), default=0))]
    for node, (owner,) in enumerate(owners, start=1):
        if not 1 <= owner <= len(networks):
            raise InputError(f"{folder}: node {node} belongs to graph {owner}, counted from 1")
        own = {} if node_labels is None else {"label": node_labels[node - 1][0]}
        networks[owner - 1].add_node(node, **own)
    for number, (a, b) in enumerate(edges):
        if not (1 <= a <= len(owners) and 1 <= b <= len(owners)) or owners[a - 1] != owners[b - 1]:
            raise InputError(
                f"{folder}: {name}_A.txt, line {number + 1}: no edge joins {a} and {b}"
            )
        own = {} if edge_labels is None else {"label": edge_labels[number][0]}
        networks[owners[a - 1][0] - 1].add_edge(a, b, **own)
    for network, label in zip(networks, labels or (), strict=False):
        network.graph["label"] = label[0]
    return networks


SUFFIXES: Mapping[str, Callable[[Path], list[Network]]] = {
    ".graphml": _graphml,
    ".gml": _gml,
    ".gexf": _gexf,
    ".g6": _sparse(nx.from_graph6_bytes),
    ".s6": _sparse(nx.from_sparse6_bytes),
    ".json": _json,
    ".npz": _npz,
    ".mtx": _mtx,
    ".csv": _edge_list,
    ".tsv": _edge_list,
    ".txt": _edge_list,
    ".edges": _edge_list,
}
"""What is read, by suffix."""
