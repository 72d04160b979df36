"""Metrics against values worked out by hand; generators keep what they promise."""

from __future__ import annotations

import math

import networkx as nx
import pytest
import torch

from sfumato import Batch, InputError
from sfumato_graphs import data, generators, metrics
from sfumato_graphs.validity import VALID, kind_of


def _batch(networks):
    return data.graphs_of(networks).batch(range(len(networks)))


def test_degree_histograms_and_both_kernels_by_hand():
    """A path of three has degrees 1, 2, 1; a triangle 2, 2, 2: TV and EMD are both 2/3."""
    path, triangle = _batch([nx.path_graph(3)]), _batch([nx.complete_graph(3)])
    assert metrics.describe(path.x, "degree", 4).tolist() == [[0, 2 / 3, 1 / 3, 0]]
    for family in ("tv", "emd"):
        metric = metrics.GraphMMD("degree", family, 4)
        score = metric.between(metric.summary(path), metric.summary(triangle))
        assert math.isclose(score.value, 2 - 2 * math.exp(-((2 / 3) ** 2) / 2), rel_tol=1e-12)
        assert metric.between(metric.summary(path), metric.summary(path)).value < 1e-12


def test_emd_sees_how_far_and_total_variation_does_not():
    """Stars of 3 and of 5 leaves have their centre in bins 3 and 5, leaves alike in share."""
    graphs = [_batch([nx.cycle_graph(6)]), _batch([nx.complete_graph(6)])]
    tv, emd = (metrics.GraphMMD("degree", f, 6) for f in ("tv", "emd"))
    values = [m.between(*map(m.summary, graphs)).value for m in (tv, emd)]
    assert math.isclose(values[0], 2 - 2 * math.exp(-0.5), rel_tol=1e-12)
    assert math.isclose(values[1], 2 - 2 * math.exp(-9 / 2), rel_tol=1e-12)  # degrees 2 and 5


def test_clustering_spectrum_and_orbits_by_hand():
    triangle = _batch([nx.complete_graph(3)]).x
    clustering = metrics.describe(triangle, "clustering", 3)[0]
    assert float(clustering[-1]) == 1 and float(clustering.sum()) == 1
    spectrum = metrics.describe(triangle, "spectral", 3)[0]  # eigenvalues 0, 1.5, 1.5
    assert math.isclose(float(spectrum[0]), 1 / 3)
    assert math.isclose(float(spectrum[149:151].sum()), 2 / 3)
    assert metrics.describe(triangle, "orbit", 3)[0].tolist() == [2, 0, 0, 1, *[0] * 11]


def test_padding_and_order_play_no_part():
    small, large = nx.path_graph(3), nx.cycle_graph(7)
    order = [3, 0, 6, 1, 5, 2, 4]
    moved = nx.relabel_nodes(large, dict(enumerate(order)))
    for statistic in ("degree", "clustering", "orbit", "spectral"):
        both = metrics.describe(_batch([small, large]).x, statistic, 7)
        assert torch.equal(both[:1], metrics.describe(_batch([small]).x, statistic, 7))
        again = metrics.describe(_batch([moved]).x, statistic, 7)
        assert torch.allclose(both[1:], again, atol=1e-12)


def test_unique_novel_and_valid_shares():
    train = [nx.path_graph(4)]
    made = _batch([nx.path_graph(4), nx.star_graph(3), nx.star_graph(3), nx.cycle_graph(4)])
    seen = frozenset(data.graphs_of(train).keys())
    distinct = metrics.Distinct(seen)
    score = distinct.between(distinct.summary(made), distinct.summary(made))
    assert score.value == 0.5 and score.parts == {"unique": 0.75, "novel": 0.75}
    valid = metrics.Valid("tree", seen)
    score = valid.between(valid.summary(made), valid.summary(made))
    assert score.value == 0.25 and score.parts == {"valid": 0.75}
    with pytest.raises(InputError, match="not of 'ego'"):
        metrics.Valid("ego", seen)


def test_summaries_add_to_that_of_the_whole():
    networks = [nx.path_graph(n) for n in range(2, 8)]
    for metric in metrics.metrics(data.graphs_of(networks)):
        whole = metric.summary(_batch(networks))
        parts = metric.summary(_batch(networks[:2])) + metric.summary(_batch(networks[2:]))
        assert whole.n == parts.n == 6
        same = metric.between(whole, whole).value
        assert math.isclose(metric.between(parts, whole).value, same, abs_tol=1e-12)


SHAPES = {
    "community": lambda g: 12 <= len(g) <= 20 and len(g) % 2 == 0,
    "ego": lambda g: 4 <= len(g) <= 18 and max(dict(g.degree).values()) == len(g) - 1,
    "grid": VALID["grid"],
    "lobster": lambda g: VALID["lobster"](g) and 10 <= len(g) <= 100,
    "planar": lambda g: VALID["planar"](g) and len(g) == 64,
    "sbm": VALID["sbm"],
    "tree": lambda g: VALID["tree"](g) and len(g) == 64,
}


@pytest.mark.parametrize("kind", generators.GENERATORS)
def test_generated_graphs_are_of_their_kind_and_a_function_of_the_seed(kind):
    made = generators.generate(kind, 6, seed=3)
    assert all(map(SHAPES[kind], made)) and all(map(nx.is_connected, made))
    again = generators.generate(kind, 3, seed=3)
    assert all(nx.utils.graphs_equal(a, b) for a, b in zip(again, made, strict=False))
    other = generators.generate(kind, 6, seed=4)
    assert [sorted(g.edges) for g in other] != [sorted(g.edges) for g in made]


def test_communities_are_joined_by_a_twentieth_of_their_size():
    for network in generators.generate("community", 20, seed=0):
        half = len(network) // 2
        between = [(a, b) for a, b in network.edges if (a < half) != (b < half)]
        assert len(between) == max(1, round(0.05 * 2 * half))


def test_what_is_not_of_a_kind_is_seen():
    assert not VALID["tree"](nx.cycle_graph(4))
    assert not VALID["planar"](nx.complete_graph(5))
    assert not VALID["grid"](nx.cycle_graph(6))
    spider = nx.Graph([(0, i) for i in (1, 2, 3)] + [(i, i + 3) for i in range(1, 7)])
    assert nx.is_tree(spider) and not VALID["lobster"](spider)
    with pytest.raises(InputError, match="did you mean planar"):
        generators.generate("planer", 1, 0)


def test_stochastic_block_models_are_known_at_the_stated_rate_and_others_are_not():
    """60 graphs at a rate of 1 %: more than 4 errors have a chance of 3e-4.

    The others: the share of edges within communities 0.2 in place of 0.3 (each pooled over some
    2,000 pairs, 10 deviations away), edges between in place of 0.005 at 0.03, and the same number
    of edges without communities.
    """
    made = generators.generate("sbm", 60, seed=7)
    assert sum(not VALID["sbm"](g) for g in made) <= 4
    assert kind_of(made[:20]) == "sbm" and kind_of([nx.complete_graph(5)]) is None
    for i, network in enumerate(made[:10]):
        sizes = [20 + i, 40 - i, 30]
        for own, other in ((0.2, 0.005), (0.3, 0.03)):
            shares = [[own if a == b else other for a in range(3)] for b in range(3)]
            wrong = nx.Graph(nx.stochastic_block_model(sizes, shares, seed=i).edges)
            assert not VALID["sbm"](wrong)
        count = network.number_of_edges()
        assert not VALID["sbm"](nx.gnm_random_graph(len(network), count, seed=i))


def test_the_batch_is_not_changed():
    batch = _batch([nx.path_graph(3)])
    before = batch.x["edges"].data.clone()
    metrics.GraphMMD("orbit").summary(Batch(batch.x))
    assert torch.equal(before, batch.x["edges"].data)


@pytest.mark.parametrize(
    ("networks", "kind"),
    [
        ([nx.star_graph(3), nx.path_graph(4)], "valid lobster"),
        ([nx.balanced_tree(2, 3), nx.balanced_tree(3, 3)], "valid tree"),
        ([nx.grid_2d_graph(2, 3)], "valid grid"),
        ([nx.cycle_graph(5), nx.balanced_tree(3, 3)], "valid planar"),
        ([nx.complete_graph(5)], None),
    ],
    ids=["lobster", "tree", "grid", "planar", "none"],
)
def test_what_is_valid_is_what_all_training_graphs_are(networks, kind):
    train = data.graphs_of([nx.convert_node_labels_to_integers(g) for g in networks])
    names = [metric.name for metric in metrics.metrics(train)]
    assert [name for name in names if name.startswith("valid")] == ([] if kind is None else [kind])
