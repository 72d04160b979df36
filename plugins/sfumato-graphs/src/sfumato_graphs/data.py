"""Graphs with classes on their nodes and pairs of nodes, as one data set in memory."""

from __future__ import annotations

__all__ = ["NONE", "Graph", "Graphs", "demo", "graph_of", "graphs_of", "homeless", "networks"]

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato import Batch, Fields, InputError
from sfumato_nn.graphs.state import pair_count, pairs, state_of, take

from . import conditions
from .conditions import Labelled, described, tensors
from .identity import fingerprint
from .rejects import reject, skipped

NONE = "none"
"""Class 0 of pairs: no edge."""

LARGEST = 1000
"""Nodes of the largest graph that is read: its state has half a million pairs."""

Ids = NDArray[np.int64]
Value = str | int


@dataclass(frozen=True, eq=False)
class Graph:
    """One undirected graph.

    Attributes:
        nodes: (n,) class of each node.
        edges: (n (n - 1) / 2,) class of each pair, 0 where there is no edge; see
            `sfumato_nn.graphs.state` for the order.
        name: where it comes from.
        known: its label and properties.
    """

    nodes: Ids
    edges: Ids
    name: str = ""
    known: Labelled = Labelled()


@dataclass(frozen=True, eq=False)
class Graphs:
    """A data set of graphs, and the schema that they share.

    The facts `about`: `nodes` and `edges`, each with the `attribute` that the classes are values
    of (None: there is one kind) and the `classes`; `smallest` and `largest`, the nodes of those
    graphs; and `label` and `properties` where graphs have them, see `conditions.described`.
    """

    graphs: Sequence[Graph]
    about: Mapping[str, Any]

    def __len__(self) -> int:
        """Number of graphs."""
        return len(self.graphs)

    def batch(self, index: Sequence[int]) -> Batch:
        """The graphs at `index`, padded to the largest of them.

        Where they have labels or properties, these are the conditions, with the size as `nodes`:
        whoever asks for graphs like these asks for both.
        """
        chosen = [self.graphs[i] for i in index]
        x = state_of([(torch.from_numpy(g.nodes), torch.from_numpy(g.edges)) for g in chosen])
        condition = tensors([g.known for g in chosen], self.about)
        return Batch(x, {**condition, "nodes": x["nodes"].mask.sum(1)} if condition else {})

    def sizes(self) -> Sequence[int]:
        """Nodes of each graph: batches are of graphs of like size."""
        return [len(graph.nodes) for graph in self.graphs]

    def keys(self) -> Sequence[str]:
        """One key for graphs that are the same up to the order of their nodes, as a hash tells.

        A split puts them on one side, so that what is held out was not seen.
        """
        return [fingerprint(network) for network in networks(self.graphs, self.about)]


def demo() -> Graphs:
    """The 1,252 graphs with one to seven nodes of Read and Wilson, "An Atlas of Graphs", 1998."""
    return graphs_of(nx.graph_atlas_g()[1:], name="atlas")


def graphs_of(
    sources: Iterable[nx.Graph],
    *,
    node: str | None = None,
    edge: str | None = None,
    label: str | None = None,
    properties: Sequence[str] = (),
    name: str = "graph",
    schema: Mapping[str, Any] | None = None,
    rejects: list[str] | None = None,
) -> Graphs:
    """Networkx graphs as a data set.

    Args:
        sources: undirected graphs without loops and multiple edges.
        node: attribute whose values become the classes of nodes; None: the only one that the nodes
            of all graphs have, if there is one and its values are text or whole numbers.
        edge: the same for edges.
        label: attribute of the graphs whose values are classes to be asked for.
        properties: attributes of the graphs that are numbers to be asked for, or names of
            `conditions.COMPUTED`.
        name: of the data, for the names of the graphs.
        schema: facts of other data that these have to fit; None: made from these.
        rejects: takes a sentence for each graph that is wrong in itself, which is then left out;
            the facts tell of them. None: the first one is an error.

    Raises:
        InputError: for no graphs, a graph that is directed, has no nodes, loops, multiple edges or
            more nodes than 1,000 or than the schema has, an attribute that is missing or has too
            many values, classes or labels that the schema does not have. The graph is named.
    """
    several = [(str(g.graph.get("name") or f"{name} {i}"), g) for i, g in enumerate(sources)]
    most = LARGEST if schema is None else int(schema["largest"])
    sound = _sound(several, lambda title, g: _check(title, g, most), rejects)
    if schema is None:
        given = [g for _, g in sound]
        node, edge = node or _of_nodes(given), edge or _of_edges(given)
    else:
        node, edge = schema["nodes"]["attribute"], schema["edges"]["attribute"]
    columns: list[tuple[list[Value], dict[tuple[int, int], Value]]] = []
    sound = _sound(
        sound,
        lambda title, g: columns.append(
            (_column(title, "node", node, g.nodes(data=True)), _edges(title, edge, g))
        ),
        rejects,
    )
    if not sound:
        raise InputError(f"{name}: there are no graphs{f': {rejects[0]}' if rejects else ''}")
    if schema is None:
        about = _schema(node, edge, columns) | described(sound, label, properties)
        about |= skipped(rejects) if rejects else {}
    else:
        about = dict(schema)
    places = [{c: i for i, c in enumerate(about[side]["classes"])} for side in ("nodes", "edges")]
    known = conditions.columns(sound, about)
    graphs = [
        _packed(title, *own, places, labelled)
        for (title, _), own, labelled in zip(sound, columns, known, strict=True)
    ]
    return Graphs(graphs, about)


def _sound(
    several: Iterable[tuple[str, nx.Graph]],
    look: Callable[[str, nx.Graph], None],
    rejects: list[str] | None,
) -> list[tuple[str, nx.Graph]]:
    """The graphs that are looked at without an error."""
    found = []
    for title, network in several:
        try:
            look(title, network)
        except InputError as error:
            reject(str(error), rejects)
        else:
            found.append((title, network))
    return found


def _schema(
    node: str | None,
    edge: str | None,
    columns: Sequence[tuple[Sequence[Value], Mapping[tuple[int, int], Value]]],
) -> dict[str, Any]:
    """The facts of data: what the classes are, and how large graphs are."""
    edges = _classes("edge", edge, (own.values() for _, own in columns))
    if NONE in edges:
        raise InputError(f"the edge class {NONE!r} means no edge here; rename it in the data")
    return {
        "nodes": {
            "attribute": node,
            "classes": _classes("node", node, (own for own, _ in columns)),
        },
        "edges": {"attribute": edge, "classes": [NONE, *edges]},
        "smallest": min(len(own) for own, _ in columns),
        "largest": max(len(own) for own, _ in columns),
    }


def _check(title: str, network: nx.Graph, most: int) -> None:
    if network.is_directed():
        raise InputError(
            f"{title} is directed; these models are of undirected graphs: convert it first, for "
            "instance by networkx's to_undirected"
        )
    if network.is_multigraph() and any(n > 1 for n in _multiplicities(network)):
        raise InputError(f"{title} has several edges between two nodes; merge them first")
    if (loops := nx.number_of_selfloops(network)) > 0:
        raise InputError(f"{title} has {loops} edge(s) from a node to itself; remove them first")
    if not 1 <= len(network) <= most:
        raise InputError(f"{title} has {len(network)} nodes; accepted are 1 to {most:,}")


def _multiplicities(network: nx.MultiGraph) -> Iterable[int]:
    return (network.number_of_edges(a, b) for a, b in nx.Graph(network).edges())


def homeless(sources: Sequence[nx.Graph], schema: Mapping[str, Any]) -> str | None:
    """The attribute with classes of nodes or edges that graphs have and a schema has not; or None.

    Args:
        sources: networkx graphs.
        schema: facts of other data, see `graphs_of`.
    """
    for side, own in (("nodes", _of_nodes(sources)), ("edges", _of_edges(sources))):
        if own is not None and schema[side]["attribute"] is None:
            return own
    return None


def _of_nodes(sources: Sequence[nx.Graph]) -> str | None:
    return _only(g.nodes(data=True) for g in sources)


def _of_edges(sources: Sequence[nx.Graph]) -> str | None:
    return _only([(e, d) for *e, d in g.edges(data=True)] for g in sources)


def _only(sides: Iterable[Iterable[tuple[Any, Mapping[str, Any]]]]) -> str | None:
    """The attribute that all entries share, if there is exactly one and its values are classes."""
    shared: set[str] | None = None
    values: dict[str, list[Any]] = {}
    for side in sides:
        for _, attributes in side:
            shared = set(attributes) if shared is None else shared & set(attributes)
            for key in shared:
                values.setdefault(key, []).append(attributes[key])
    fit = [k for k in shared or () if all(isinstance(v, str | int) for v in values[k])]
    return fit[0] if len(fit) == 1 else None


def _column(
    title: str, side: str, attribute: str | None, entries: Iterable[tuple[Any, Mapping[str, Any]]]
) -> list[Value]:
    """The class of each entry; one class where there is no attribute."""
    if attribute is None:
        return [side for _ in entries]
    found = []
    for key, attributes in entries:
        if attribute not in attributes:
            there = ", ".join(sorted(map(str, attributes))) or "none"
            raise InputError(
                f"{title}: {side} {key} has no attribute {attribute!r}; it has {there}"
            )
        value = attributes[attribute]
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise InputError(
                f"{title}: the attribute {attribute!r} of {side} {key} is {value!r}; classes are "
                "text or whole numbers"
            )
        found.append(value)
    return found


def _edges(title: str, attribute: str | None, network: nx.Graph) -> dict[tuple[int, int], Value]:
    """Class of each edge by the places of its nodes, the smaller first."""
    place = {node: i for i, node in enumerate(network)}
    ends = [((a, b), data) for a, b, data in network.edges(data=True)]
    classes = _column(title, "edge", attribute, ends)
    joined = [sorted((place[a], place[b])) for (a, b), _ in ends]
    return {(a, b): c for (a, b), c in zip(joined, classes, strict=True)}


def _classes(side: str, attribute: str | None, columns: Iterable[Iterable[Value]]) -> list[Value]:
    values = {value for column in columns for value in column}
    found = sorted(values, key=lambda value: (isinstance(value, str), value))
    if len(found) > 1000:
        raise InputError(
            f"the {side} attribute {attribute!r} has {len(found)} values; classes are at most "
            f"1,000: choose another attribute, or group its values"
        )
    return found or [side]


def _packed(
    title: str,
    nodes: Sequence[Value],
    edges: Mapping[tuple[int, int], Value],
    places: Sequence[Mapping[Value, int]],
    labelled: Labelled,
) -> Graph:
    def known(side: int, value: Value) -> int:
        if value not in places[side]:
            what, there = ("node", "edge")[side], ", ".join(map(repr, places[side]))
            raise InputError(f"{title}: the {what} class {value!r} is not one of {there}")
        return places[side][value]

    ids = np.array([known(0, value) for value in nodes], dtype=np.int64)
    own = np.zeros(pair_count(len(nodes)), dtype=np.int64)
    for (i, j), value in edges.items():
        own[j * (j - 1) // 2 + i] = known(1, value)
    return Graph(ids, own, title, labelled)


def graph_of(nodes: Tensor, edges: Tensor, name: str = "") -> Graph:
    """One graph of a state, see `state.take`."""
    return Graph(nodes.cpu().numpy(), edges.cpu().numpy(), name)


def networks(graphs: Iterable[Graph] | Fields, about: Mapping[str, Any]) -> list[nx.Graph]:
    """Networkx graphs: nodes 0, 1, ..., with the attributes of the schema.

    Every node and edge also has its `class`, by number.

    Args:
        graphs: graphs, or a state of them.
        about: the facts of the data.
    """
    if isinstance(graphs, Fields):
        graphs = [graph_of(*take(graphs, i)) for i in range(len(graphs["nodes"].data))]
    return [_network(graph, about) for graph in graphs]


def _network(graph: Graph, about: Mapping[str, Any]) -> nx.Graph:
    network = nx.Graph(name=graph.name) if graph.name else nx.Graph()
    named, joined = about["nodes"]["attribute"], about["edges"]["attribute"]
    for i, value in enumerate(graph.nodes.tolist()):
        own = {"class": value}
        network.add_node(i, **own | ({named: about["nodes"]["classes"][value]} if named else {}))
    smaller, larger = pairs(len(graph.nodes))
    there = np.flatnonzero(graph.edges)
    for i, j, value in zip(
        smaller[there].tolist(), larger[there].tolist(), graph.edges[there].tolist(), strict=True
    ):
        own = {"class": value}
        network.add_edge(
            i, j, **own | ({joined: about["edges"]["classes"][value]} if joined else {})
        )
    return network
