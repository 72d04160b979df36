"""Reading graphs: GraphML, GML, GEXF, edge lists, graph6, node-link JSON, matrices, TU folders."""

from __future__ import annotations

__all__ = ["SUFFIXES", "Network", "read"]

import csv
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import networkx as nx
import numpy as np

from sfumato import InputError
from sfumato_train.jobs.shards import JOB, NOTE

from . import tu
from .data import LARGEST
from .rejects import reject

BIGGEST = 256 * 2**20
"""Bytes of the largest file that is read."""

Network: TypeAlias = nx.Graph
Reader: TypeAlias = Callable[[Path, list[str] | None], list[Network]]


def read(path: Path, rejects: list[str] | None = None) -> list[Network]:
    """The graphs in a file, in all files of a folder that are of a known kind, or in a TU folder.

    A folder is taken in the order of its paths, at any depth, hidden files, other kinds and what
    `sfumato sample` notes beside its samples passed over; of a folder with `NAME_A.txt` and
    `NAME_graph_indicator.txt` (TUDataset, Morris et al. 2020, arXiv:2007.08663) the graphs that
    these list. GraphML files may hold several graphs, `.g6` and `.s6` one in each line, `.json` one
    or a list of node-link graphs, `.npz` and `.mtx` an adjacency matrix, `.csv`, `.tsv`, `.txt` and
    `.edges` an edge in each line: two names and, in columns that a first line names, attributes.
    Where the second name is empty, the first is a node without edges.

    Args:
        path: a file or a folder.
        rejects: takes a sentence for each record that cannot be read, which is then left out: a
            file of a folder, a line of graph6, a graph of a list. None: the first one is an error.

    Raises:
        InputError: for a path that is not there, no graphs, a file that is larger than 256 MiB or
            cannot be read: the file is named, and the line where there is one.
    """
    if path.is_dir():
        name = tu.name_of(path)
        if name is not None:
            return tu.read(path, name)
        files = [
            f
            for f in sorted(path.rglob("*"))
            if f.suffix.lower() in SUFFIXES
            and f.name not in (JOB, NOTE)
            and not any(part.startswith(".") for part in f.relative_to(path).parts)
        ]
        if not files:
            raise InputError(
                f"{path} holds no graphs; accepted are {', '.join(SUFFIXES)} and TU folders"
            )
        found = []
        for file in files:
            try:
                found += _file(file, rejects)
            except InputError as error:
                reject(str(error), rejects)
        return found
    return _file(path, rejects)


def _file(path: Path, rejects: list[str] | None) -> list[Network]:
    reader = SUFFIXES.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"{path} is of no kind that holds graphs; accepted are {', '.join(SUFFIXES)}"
        )
    try:
        size = path.stat().st_size
        if size > BIGGEST:
            raise InputError(f"{path} has {size / 2**20:.0f} MiB; accepted are at most 256")
        found = reader(path, rejects)
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


def _graphml(path: Path, rejects: list[str] | None = None) -> list[Network]:
    from networkx.readwrite.graphml import GraphMLReader

    reader = GraphMLReader()
    found = list(reader(path=str(path)))
    space = f"{{{reader.NS_GRAPHML}}}"
    for number, (network, element) in enumerate(
        zip(found, reader.xml.findall(f"{space}graph"), strict=True)
    ):
        _all_there(path, number, network, len(element.findall(f"{space}node")))
    return found


def _all_there(path: Path, number: int, network: Network, nodes: int) -> None:
    """Raise where edges name nodes that are not among so many, which networkx makes up."""
    if len(network) != nodes:
        raise InputError(
            f"{path}, graph {number}: nodes and edges name {len(network)} nodes, but {nodes} stand "
            "among the nodes; every node has to, once"
        )


def _gml(path: Path, rejects: list[str] | None = None) -> list[Network]:
    network = nx.read_gml(path, label="id")
    nodes = network.nodes(data=True)
    if all(attributes.get("label") == str(node) for node, attributes in nodes):
        for _, attributes in nodes:
            del attributes["label"]  # networkx writes one for every node
    return [network]


def _gexf(path: Path, rejects: list[str] | None = None) -> list[Network]:
    network = nx.read_gexf(path)
    named = sum("label" in attributes for _, attributes in network.nodes(data=True))
    _all_there(path, 0, network, named)  # those that networkx makes up have no label
    for _, attributes in network.nodes(data=True):
        attributes.pop("label", None)  # the name that every node of the format has
    for *_, attributes in network.edges(data=True):
        attributes.pop("id", None)
    return [network]


def _sparse(parse: Callable[[bytes], Network], mark: bytes) -> Reader:
    def read_lines(path: Path, rejects: list[str] | None) -> list[Network]:
        found = []
        for number, line in enumerate(path.read_bytes().splitlines(), start=1):
            line = line.strip().removeprefix(b">>graph6<<").removeprefix(b">>sparse6<<")
            if not line:
                continue
            try:
                found.append(_small(parse, line, mark))
            except Exception as error:
                reject(f"{path}, line {number}: {_sentence(error)}", rejects)
        return found

    return read_lines


def _small(parse: Callable[[bytes], Network], line: bytes, mark: bytes) -> Network:
    """A graph in graph6 or sparse6, whose first bytes say how many nodes will be made."""
    head = line.removeprefix(mark)
    if head.startswith(b"~"):
        digits = [byte - 63 for byte in head[1:4]]
        if head.startswith(b"~~") or (digits[0] << 12) + (digits[1] << 6) + digits[2] > LARGEST:
            raise InputError(f"the graph has more than {LARGEST:,} nodes")
    return parse(line)


def _json(path: Path, rejects: list[str] | None) -> list[Network]:
    value = json.loads(path.read_text(encoding="utf-8"))
    found = []
    for number, one in enumerate(value if isinstance(value, list) else [value]):
        try:
            found.append(_linked(path, number, one))
        except Exception as error:
            known = isinstance(error, InputError)
            reject(str(error) if known else f"{path}, graph {number}: {_sentence(error)}", rejects)
    return found


def _linked(path: Path, number: int, value: Any) -> Network:
    if not isinstance(value, dict) or "nodes" not in value or not {"links", "edges"} & set(value):
        raise InputError(
            f"{path}, graph {number}: node-link graphs have the keys 'nodes' and 'edges' (or "
            "'links')"
        )
    network: Network = nx.node_link_graph(value, edges="links" if "links" in value else "edges")
    _all_there(path, number, network, len(value["nodes"]))
    return network


def _npz(path: Path, rejects: list[str] | None = None) -> list[Network]:
    from scipy import sparse

    with zipfile.ZipFile(path) as archive:
        if (size := sum(entry.file_size for entry in archive.infolist())) > BIGGEST:
            raise InputError(f"{path} unpacks to {size / 2**20:.0f} MiB; accepted are at most 256")
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


def _mtx(path: Path, rejects: list[str] | None = None) -> list[Network]:
    from scipy.io import mminfo, mmread

    rows, columns, *_ = mminfo(path)
    if max(rows, columns) > LARGEST:
        raise InputError(f"{path}: {max(rows, columns)} nodes; accepted are at most {LARGEST:,}")
    return [_adjacent(path, mmread(path))]


def _adjacent(path: Path, matrix: Any) -> Network:
    """A graph from a matrix; values other than 0 and 1 are the attribute `weight`."""
    from scipy import sparse

    if len(matrix.shape) != 2 or matrix.shape[0] != matrix.shape[1]:
        raise InputError(f"{path}: an adjacency matrix is square, but this one is {matrix.shape}")
    if matrix.shape[0] > LARGEST:
        raise InputError(f"{path}: {matrix.shape[0]} nodes; accepted are at most {LARGEST:,}")
    table = sparse.csr_array(matrix)
    if not np.isfinite(table.data).all():
        raise InputError(f"{path}: the matrix holds numbers that are not finite")
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


def _edge_list(path: Path, rejects: list[str] | None = None) -> list[Network]:
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
        if not a:
            raise InputError(f"{path}, line {number}: the first of the two names is missing")
        if not b:
            network.add_node(a)
            continue
        if network.has_edge(a, b):
            raise InputError(f"{path}, line {number}: the edge {a} to {b} is there already")
        network.add_edge(a, b, **{k: _value(v) for k, v in zip(keys, rest, strict=True)})
    return [network]


def _value(text: str) -> str | int:
    return int(text) if text.lstrip("-").isdecimal() else text


SUFFIXES: Mapping[str, Reader] = {
    ".graphml": _graphml,
    ".gml": _gml,
    ".gexf": _gexf,
    ".g6": _sparse(nx.from_graph6_bytes, b""),
    ".s6": _sparse(nx.from_sparse6_bytes, b":"),
    ".json": _json,
    ".npz": _npz,
    ".mtx": _mtx,
    ".csv": _edge_list,
    ".tsv": _edge_list,
    ".txt": _edge_list,
    ".edges": _edge_list,
}
"""What is read, by suffix."""
