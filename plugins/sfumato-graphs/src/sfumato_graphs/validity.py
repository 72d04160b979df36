"""What makes a graph one of a kind, where that can be told."""

from __future__ import annotations

__all__ = ["FALSE_ALARM", "VALID", "kind_of"]

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, islice
from typing import Any

import networkx as nx

from .generators import BETWEEN, COMMUNITIES, COMMUNITY, WITHIN

FALSE_ALARM = 0.01
"""Share of graphs of the law of `generators.sbm` that `VALID["sbm"]` takes for others, about."""

RESOLUTIONS = (1.0, 0.7, 0.4)
"""Of the searches for communities: the first splits some of a graph of two."""


def _tree(network: nx.Graph) -> bool:
    return bool(nx.is_tree(network))


def _planar(network: nx.Graph) -> bool:
    return bool(nx.is_connected(network) and nx.check_planarity(network)[0])


def _lobster(network: nx.Graph) -> bool:
    """A tree that is a path once its leaves have been taken off twice."""
    if not nx.is_tree(network):
        return False
    rest: Any = network.copy()
    for _ in "ab":
        rest.remove_nodes_from([n for n, degree in dict(rest.degree()).items() if degree <= 1])
    return all(degree <= 2 for _, degree in rest.degree())


def _grid(network: nx.Graph) -> bool:
    """Isomorphic to a grid: the sides follow from the numbers of nodes and edges."""
    n, m = network.number_of_nodes(), network.number_of_edges()
    for a in range(1, n + 1):
        if n % a == 0 and 2 * n - a - n // a == m:
            return bool(nx.faster_could_be_isomorphic(network, nx.grid_2d_graph(a, n // a)))
    return False


def _sbm(network: nx.Graph) -> bool:
    """Whether communities of the right number and sizes are found, with the right shares of edges.

    As in Martinkus et al. 2022 (SPECTRE, arXiv:2204.01613), appendix, with two differences.
    Communities are sought by modularity at several resolutions (Blondel et al. 2008,
    arXiv:0803.0476), of which those are taken under which the graph is the likeliest; theirs come
    from a program that pip does not install. And the edges within each community and between each
    two are tested exactly, by the binomial law, all tests together at the level `FALSE_ALARM`;
    theirs compares a mean of p-values.
    """
    from scipy.stats import binomtest

    fewest, most = COMMUNITIES[0] * COMMUNITY[0], COMMUNITIES[1] * COMMUNITY[1]
    if not fewest <= len(network) <= most or not nx.is_connected(network):
        return False
    searches = [
        nx.community.louvain_communities(network, resolution=resolution, seed=0)
        for resolution in RESOLUTIONS
    ]
    found = max(searches, key=lambda parts: _likelihood(network, parts))
    if not COMMUNITIES[0] <= len(found) <= COMMUNITIES[1]:
        return False
    if not all(COMMUNITY[0] <= len(part) <= COMMUNITY[1] for part in found):
        return False
    tests = _counts(network, found)
    level = FALSE_ALARM / len(tests)
    return all(binomtest(*own).pvalue >= level for own in tests)


def _counts(network: nx.Graph, parts: Sequence[set[Any]]) -> list[tuple[int, int, float]]:
    """(edges, pairs, share of edges that is meant) in each part and between each two."""
    place = {node: i for i, part in enumerate(parts) for node in part}
    edges = Counter(frozenset((place[a], place[b])) for a, b in network.edges)
    sizes = list(map(len, parts))
    within = [(edges[frozenset((i,))], n * (n - 1) // 2, WITHIN) for i, n in enumerate(sizes)]
    return within + [
        (edges[frozenset((i, j))], sizes[i] * sizes[j], BETWEEN)
        for i, j in combinations(range(len(sizes)), 2)
    ]


def _likelihood(network: nx.Graph, parts: Sequence[set[Any]]) -> float:
    """Logarithm of the probability of a graph whose communities are these."""
    return sum(
        count * math.log(share) + (pairs - count) * math.log1p(-share)
        for count, pairs, share in _counts(network, parts)
    )


VALID: Mapping[str, Callable[[nx.Graph], bool]] = {
    "grid": _grid,
    "lobster": _lobster,
    "tree": _tree,
    "planar": _planar,
    "sbm": _sbm,
}
"""By kind; lobsters come before trees and trees before planar graphs, which they are as well."""

SPARED: Mapping[str, float] = {"sbm": 0.05}
"""Share of the graphs of a set that may fail a test which is not exact."""


def kind_of(networks: Sequence[nx.Graph]) -> str | None:
    """The first kind of `VALID` that all graphs are of, up to what a test spares; None: of none."""
    for kind, valid in VALID.items():
        spared = int(SPARED.get(kind, 0.0) * len(networks))
        wrong = islice((g for g in networks if not valid(g)), spared + 1)
        if len(list(wrong)) <= spared:
            return kind
    return None
