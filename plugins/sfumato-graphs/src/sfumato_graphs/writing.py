"""Writing graphs to files of the kinds that are read, to DOT, and to TU folders."""

from __future__ import annotations

__all__ = ["WRITTEN", "write"]

import csv
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import networkx as nx
import numpy as np

from sfumato import InputError

from . import tu
from .files import Network


def write(networks: Sequence[Network], path: Path) -> list[Path]:
    """Write graphs to a file of the kind that its suffix says, or as GraphML to a folder.

    `.graphml`, `.json`, `.dot`, `.g6` and `.s6` hold any number of graphs; `.gml`, `.gexf`, `.npz`,
    `.mtx` and `.csv` hold one: several are numbered, `out-000.gml`. graph6 and sparse6 keep no
    attributes, matrices the `weight` of edges where it is a number, edge lists those of edges. What
    exists is replaced, whole. `NAME.tu` becomes a folder of tables, see `tu.write`.

    Raises:
        InputError: for another suffix, or attributes that the kind cannot hold.
    """
    plain = [_plain(network) for network in networks]
    if path.suffix.lower() == tu.SUFFIX:
        tu.write(plain, path)
        return [path]
    if path.is_dir() or not path.suffix:
        path.mkdir(parents=True, exist_ok=True)
        return _whole(path / "samples.graphml", lambda to: _write_graphml(plain, to))
    kind = path.suffix.lower()
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind in _MANY:
        return _whole(path, lambda to: _MANY[kind](plain, to))
    if kind not in _ONE:
        raise InputError(
            f"graphs cannot be written as {kind}; accepted are {', '.join(WRITTEN)}, or a folder"
        )
    digits = max(3, len(str(len(plain) - 1)))
    names = [path] if len(plain) == 1 else [
        path.with_stem(f"{path.stem}-{i:0{digits}d}") for i in range(len(plain))
    ]  # fmt: skip
    written: list[Path] = []
    for network, name in zip(plain, names, strict=True):
        written += _whole(name, partial(_ONE[kind], network))
    return written


def _plain(network: Network) -> Network:
    """The graph with the attributes that users know, without the numbers of classes."""
    bare = nx.Graph(**network.graph)
    for node, attributes in network.nodes(data=True):
        bare.add_node(node, **{k: v for k, v in attributes.items() if k != "class"})
    for a, b, attributes in network.edges(data=True):
        bare.add_edge(a, b, **{k: v for k, v in attributes.items() if k != "class"})
    return bare


def _whole(path: Path, save: Callable[[Path], None]) -> list[Path]:
    """Written beside, then moved: never half a file."""
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=path.suffix)
    os.close(handle)
    try:
        save(Path(name))
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
    return [path]


def _write_graphml(networks: Sequence[Network], path: Path) -> None:
    from networkx.readwrite.graphml import GraphMLWriter

    writer = GraphMLWriter(encoding="utf-8", prettyprint=False)
    writer.add_graphs(networks)
    with path.open("wb") as out:
        writer.dump(out)


def _write_json(networks: Sequence[Network], path: Path) -> None:
    value = [nx.node_link_data(network, edges="edges") for network in networks]
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def _write_dot(networks: Sequence[Network], path: Path) -> None:
    """In the language of Graphviz: names and values are quoted texts."""

    def quoted(value: object) -> str:
        text = str(value).replace("\\", r"\\").replace('"', r"\"")
        return f'"{text}"'

    def told(attributes: Mapping[str, object]) -> str:
        pairs = ", ".join(f"{quoted(k)}={quoted(v)}" for k, v in attributes.items())
        return f" [{pairs}]" if pairs else ""

    lines = []
    for network in networks:
        rest = {k: v for k, v in network.graph.items() if k != "name"}
        lines.append(f"graph {quoted(network.name)} {{")
        lines += [f"  {quoted(k)}={quoted(v)};" for k, v in rest.items()]
        lines += [f"  {quoted(n)}{told(own)};" for n, own in network.nodes(data=True)]
        lines += [
            f"  {quoted(a)} -- {quoted(b)}{told(own)};" for a, b, own in network.edges(data=True)
        ]
        lines.append("}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _write_lines(dump: Callable[..., bytes]) -> Callable[[Sequence[Network], Path], None]:
    def save(networks: Sequence[Network], path: Path) -> None:
        path.write_bytes(b"".join(dump(network, header=False) for network in networks))

    return save


def _weight(network: Network) -> str | None:
    """The attribute of edges that a matrix can hold; None: where there is an edge is all."""
    values = [value for *_, value in network.edges(data="weight")]
    return "weight" if all(isinstance(v, int | float) and v != 0 for v in values) else None


def _write_npz(network: Network, path: Path) -> None:
    weight = _weight(network)
    dtype = np.int8 if weight is None else None
    np.savez_compressed(path, adjacency=nx.to_numpy_array(network, dtype=dtype, weight=weight))


def _write_mtx(network: Network, path: Path) -> None:
    from scipy.io import mmwrite

    weight = _weight(network)
    dtype = int if weight is None else None
    table = nx.to_scipy_sparse_array(network, weight=weight, dtype=dtype)
    mmwrite(path, table, symmetry="symmetric")


def _write_csv(network: Network, path: Path) -> None:
    keys = sorted({key for *_, data in network.edges(data=True) for key in data})
    alone = [node for node, degree in network.degree() if degree == 0]
    with path.open("w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["source", "target", *keys])
        rows.writerows(
            [a, b, *(data.get(k, "") for k in keys)] for a, b, data in network.edges(data=True)
        )
        rows.writerows([node, "", *("" for _ in keys)] for node in alone)


_MANY: Mapping[str, Callable[[Sequence[Network], Path], None]] = {
    ".graphml": _write_graphml,
    ".json": _write_json,
    ".dot": _write_dot,
    ".g6": _write_lines(nx.to_graph6_bytes),
    ".s6": _write_lines(nx.to_sparse6_bytes),
}
_ONE: Mapping[str, Callable[[Network, Path], None]] = {
    ".gml": nx.write_gml,
    ".gexf": nx.write_gexf,
    ".npz": _write_npz,
    ".mtx": _write_mtx,
    ".csv": _write_csv,
}

WRITTEN = (*_MANY, *_ONE, tu.SUFFIX)
"""What is written, by suffix."""
