"""Random graphs that papers train on, made as they say."""

from __future__ import annotations

__all__ = ["GENERATORS", "community", "ego", "generate", "grid", "lobster", "planar", "sbm", "tree"]

from collections.abc import Callable, Mapping

import networkx as nx
from torch import Generator

from sfumato import InputError, random
from sfumato.components import close_matches

COMMUNITIES, COMMUNITY = (2, 5), (20, 40)
"""How many communities `sbm` has, and of how many nodes."""

WITHIN, BETWEEN = 0.3, 0.005
"""Shares of the pairs of `sbm` that are edges."""


def community(source: Generator) -> nx.Graph:
    """Two communities of 6 to 10 nodes, joined with probability 0.7, and 0.05 n edges between.

    "Community-small": You et al. 2018 (GraphRNN, arXiv:1802.08773), section 4.1, with the 0.7 of
    their code and of what followed it, where the text has 0.3.
    """
    half = _between(source, 6, 10)
    both = nx.disjoint_union(*(_connected(source, half, 0.7) for _ in "ab"))
    between = [(i, j) for i in range(half) for j in range(half, 2 * half)]
    many = max(1, round(0.05 * 2 * half))
    chosen = random.permutation(len(between), source)[:many]
    both.add_edges_from(between[i] for i in chosen.tolist())
    return both


def _connected(source: Generator, n: int, share: float) -> nx.Graph:
    """An Erdos-Renyi graph, drawn until it is connected."""
    while True:
        network = nx.gnp_random_graph(n, share, seed=_seed(source))
        if nx.is_connected(network):
            return network


def ego(source: Generator) -> nx.Graph:
    """Who is joined to one node, with 4 to 18 nodes in all, in a random network with triangles.

    "Ego-small" takes the neighbourhoods in Citeseer, which cannot be had here; the network is one
    of Holme & Kim 2002 (arXiv:cond-mat/0110452) of 500 nodes instead.
    """
    while True:
        network = nx.powerlaw_cluster_graph(500, 2, 0.5, seed=_seed(source))
        centre = _between(source, 0, 499)
        found = nx.ego_graph(network, centre)
        if 4 <= len(found) <= 18:
            return nx.convert_node_labels_to_integers(found)


def grid(source: Generator) -> nx.Graph:
    """A grid whose sides have 10 to 19 nodes: 100 to 361 nodes (GraphRNN, arXiv:1802.08773)."""
    sides = (_between(source, 10, 19) for _ in "ab")
    return nx.convert_node_labels_to_integers(nx.grid_2d_graph(*sides))


def sbm(source: Generator) -> nx.Graph:
    """2 to 5 communities of 20 to 40 nodes, edges with probability 0.3 within and 0.005 between.

    Martinkus et al. 2022 (SPECTRE, arXiv:2204.01613), appendix; connected graphs alone.
    """
    while True:
        sizes = [_between(source, *COMMUNITY) for _ in range(_between(source, *COMMUNITIES))]
        places = range(len(sizes))
        shares = [[WITHIN if i == j else BETWEEN for j in places] for i in places]
        network = nx.stochastic_block_model(sizes, shares, seed=_seed(source))
        if nx.is_connected(network):
            return nx.Graph(network.edges)


def planar(source: Generator) -> nx.Graph:
    """The Delaunay triangulation of 64 points in a square (SPECTRE, arXiv:2204.01613)."""
    from scipy.spatial import Delaunay

    corners = Delaunay(random.uniform((64, 2), source).numpy()).simplices
    network = nx.Graph()
    network.add_nodes_from(range(64))
    for a, b, c in corners.tolist():
        network.add_edges_from(((a, b), (b, c), (c, a)))
    return network


def tree(source: Generator) -> nx.Graph:
    """A tree of 64 nodes, uniform among the labelled ones."""
    return nx.random_labeled_tree(64, seed=_seed(source))


def lobster(source: Generator) -> nx.Graph:
    """A path with branches of at most two steps; 10 to 100 nodes (GRAN, arXiv:1910.00760)."""
    while True:
        network = nx.random_lobster_graph(80, 0.7, 0.7, seed=_seed(source))
        if 10 <= len(network) <= 100:
            return network


GENERATORS: Mapping[str, Callable[[Generator], nx.Graph]] = {
    "community": community,
    "ego": ego,
    "grid": grid,
    "lobster": lobster,
    "planar": planar,
    "sbm": sbm,
    "tree": tree,
}
"""By name."""


def generate(kind: str, n: int, seed: int) -> list[nx.Graph]:
    """N graphs of a kind; graph i is a function of (kind, seed, i) alone.

    Raises:
        InputError: for a kind that is not there; gives close matches.
    """
    if kind not in GENERATORS:
        close = close_matches(kind, GENERATORS)
        hint = (
            f"did you mean {' or '.join(close)}?" if close else f"there is {', '.join(GENERATORS)}"
        )
        raise InputError(f"there is no kind of graph {kind!r}; {hint}")
    make = GENERATORS[kind]
    found = []
    for i in range(n):
        network = make(random.derive(seed, kind, i))
        network.graph["name"] = f"{kind} {i}"
        found.append(network)
    return found


def _between(source: Generator, low: int, high: int) -> int:
    """A whole number from low to high, both included."""
    return int(random.integers(low, high + 1, (), source))


def _seed(source: Generator) -> int:
    """For generators of networkx, which take a number."""
    return _between(source, 0, 2**31 - 1)
