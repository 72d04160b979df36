"""Graphs of PyTorch Geometric, in and out: `Data`, `Batch` and lists of them (extra `pyg`)."""

from __future__ import annotations

__all__ = ["from_pyg", "to_pyg"]

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import networkx as nx
import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato import InputError
from sfumato_nn.graphs.state import pairs, take

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data


def from_pyg(
    source: Data | Iterable[Data], *, node: str | None = "x", edge: str | None = "edge_attr"
) -> list[nx.Graph]:
    """Networkx graphs, which `data.graphs_of` takes, of one `Data`, a `Batch` or several `Data`.

    Classes become attributes of these names, a single number in `y` the attribute `label` of the
    graph. Classes are whole numbers, (n,) or (n, 1), or rows of which one number is 1 and the
    others 0.

    Args:
        source: undirected: every edge stands there in both directions.
        node: of the classes of nodes, where graphs have them; None: they are left out.
        edge: the same for edges.

    Raises:
        InputError: for heterogeneous or directed graphs, edges that come twice or lead to nodes
            that are not there, and features that are no classes; names the graph.
    """
    from torch_geometric.data import Batch, Data

    if isinstance(source, Batch):
        several: Iterable[Any] = source.to_data_list()
    else:
        several = [source] if isinstance(source, Data) else source
    found = []
    for number, data in enumerate(several):
        title = f"graph {number}"
        if not isinstance(data, Data):
            raise InputError(
                f"{title} is a {type(data).__name__}; accepted are Data and Batch, whose nodes are "
                "of one kind"
            )
        found.append(_network(title, data, node, edge))
    return found


def _network(title: str, data: Data, node: str | None, edge: str | None) -> nx.Graph:
    count = int(data.num_nodes or 0)
    network = nx.Graph(name=title)
    label = getattr(data, "y", None)
    if isinstance(label, Tensor) and label.numel() == 1:
        value = label.item()
        network.graph["label"] = int(value) if float(value).is_integer() else value
    kinds = _classes(title, "node", node, getattr(data, node or "", None), count)
    network.add_nodes_from((i, {node: kinds[i]} if kinds else {}) for i in range(count))
    index = data.edge_index if data.edge_index is not None else torch.empty(2, 0).long()
    ends = list(zip(*index.tolist(), strict=True))
    kinds = _classes(title, "edge", edge, getattr(data, edge or "", None), len(ends))
    there = dict(zip(ends, kinds or [None] * len(ends), strict=True))
    if len(there) < len(ends):
        raise InputError(f"{title} has several edges between two nodes; merge them first")
    for (a, b), kind in there.items():
        if not (0 <= a < count and 0 <= b < count):
            raise InputError(f"{title} has an edge from {a} to {b}, but {count} nodes")
        if there.get((b, a), there) != kind:
            raise InputError(
                f"{title} has an edge from {a} to {b} but none like it from {b} to {a}: it is "
                "directed; torch_geometric's ToUndirected converts it"
            )
        network.add_edge(a, b, **({edge: kind} if kinds else {}))
    return network


def _classes(title: str, what: str, name: str | None, values: Any, count: int) -> list[int] | None:
    """Whole numbers, or the places of the ones in rows; None where there are none."""
    if name is None or not isinstance(values, Tensor) or values.numel() == 0:
        return None
    if len(values) == count:
        if not values.is_floating_point() and values.numel() == count:
            return [int(value) for value in values.flatten().tolist()]
        if values.ndim == 2 and bool(
            ((values == 0) | (values == 1)).all() and (values.sum(1) == 1).all()
        ):
            return [int(place) for place in values.argmax(1).tolist()]
    raise InputError(
        f"{title}: {name} of shape {tuple(values.shape)} gives no classes of its {count} {what}s: "
        f"whole numbers or one-hot rows; {what}=None leaves it out"
    )


def to_pyg(graphs: Any, about: Mapping[str, Any]) -> Batch:
    """A `Batch` of graphs: one-hot `x` and, where edges have classes, `edge_attr`.

    Args:
        graphs: a state, such as `sfumato_train.draw(...).x`.
        about: the facts of the data, such as those of a run.
    """
    from torch_geometric.data import Batch, Data

    kinds, joined = (len(about[side]["classes"]) for side in ("nodes", "edges"))
    found = []
    for item in range(len(graphs["nodes"].data)):
        nodes, edges = take(graphs, item)
        there = edges > 0
        ends = torch.stack(pairs(len(nodes), nodes.device))[:, there]
        data = Data(
            x=F.one_hot(nodes, kinds).float(), edge_index=torch.cat((ends, ends.flip(0)), 1)
        )
        if joined > 2:
            data.edge_attr = F.one_hot(edges[there] - 1, joined - 1).float().repeat(2, 1)
        found.append(data)
    return Batch.from_data_list(found)
