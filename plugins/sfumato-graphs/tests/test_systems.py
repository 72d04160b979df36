"""Trials of systems, in small: every claim is about a number that is measured."""

from __future__ import annotations

import math

import networkx as nx
import pytest
import torch

from sfumato.survey import Trial
from sfumato_graphs import data
from sfumato_graphs.systems import graphddae, graphsurvey


@pytest.mark.slow
@pytest.mark.parametrize("system", [graphddae.system, graphsurvey.system], ids=lambda s: s.id)
def test_a_trial_measures_what_is_claimed(system, tmp_path):
    found = system.trial(Trial(100, 0.02, "cpu", tmp_path, 5))
    for claim in system.claims:
        assert math.isfinite(found[claim.key].ratio) and found[claim.key].n > 0


def test_a_spectrum_is_that_of_the_graph_whatever_its_order():
    x = data.graphs_of([nx.cycle_graph(4), nx.star_graph(4)]).batch([0, 1]).x
    assert torch.allclose(graphddae._spectrum(x, 0), torch.tensor([-2.0, 0, 0, 2]).double())
    assert torch.allclose(graphddae._spectrum(x, 1), torch.tensor([-2.0, 0, 0, 0, 2]).double())


def test_random_graphs_have_the_sizes_and_about_the_density_of_the_training_graphs():
    """40 graphs of 10 nodes and density 1/5: 1,800 pairs, 4.5 standard errors (1e-5)."""
    train = data.graphs_of([nx.cycle_graph(10)] * 2)
    many = data.Graphs(list(train.graphs) * 20, train.about)
    made = graphsurvey._erdos_renyi(many, 3)
    density = 10 / 45
    edges = sum(g.number_of_edges() for g in made)
    deviation = (density * (1 - density) / (40 * 45)) ** 0.5
    assert all(len(g) == 10 for g in made)
    assert abs(edges / (40 * 45) - density) < 4.5 * deviation
