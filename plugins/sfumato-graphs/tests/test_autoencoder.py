"""Codes of graphs follow the graph and not the order of its nodes; a machine reads them."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch

from sfumato import Batch, InputError, random
from sfumato_graphs import autoencoder, commands, completing, data, writing
from sfumato_graphs.probing import accuracy
from sfumato_graphs.recipes import AutoEncoder, Files
from sfumato_graphs.systems.graphddae import classed
from sfumato_nn.graphs.encoder import GraphEncoder, PairEncoder
from sfumato_nn.graphs.order import ordered
from sfumato_train import open_run, start
from sfumato_train.runs import fresh

SMALL = ["width=16", "pair_width=8", "depth=2", "heads=2", "sampling_steps=3", "code=5"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    networks = []
    for i in range(24):
        network = nx.path_graph(3 + i % 4) if i % 2 else nx.star_graph(3 + i % 3)
        network.graph["label"] = i % 2
        networks.append(network)
    writing.write(networks, folder / "graphs.json")
    words = [*SMALL, "batch=8", "steps=4"]
    out = start("graphs/autoencoder", words, data_path=folder / "graphs.json", out=folder / "r")
    return open_run(out), folder / "graphs.json"


def _moved(network, order):
    moved = nx.Graph()
    moved.add_nodes_from(range(len(network)))
    moved.add_edges_from((order[a], order[b]) for a, b in network.edges)
    return moved


@pytest.mark.parametrize("kind", [GraphEncoder, PairEncoder])
def test_a_code_is_that_of_the_graph_whatever_its_order_and_neighbours(kind):
    torch.manual_seed(0)
    encoder = kind(1, 2, width=8, length=3).double()
    network = nx.gnp_random_graph(7, 0.5, seed=1)
    order = [3, 0, 6, 1, 5, 2, 4]
    both = data.graphs_of([network, _moved(network, order), nx.path_graph(9)]).batch(range(3)).x
    z = encoder(both)
    assert torch.allclose(z[0], z[1], atol=1e-12) and not torch.allclose(z[0], z[2], atol=1e-3)
    alone = data.graphs_of([network]).batch([0]).x
    assert torch.allclose(encoder(alone)[0], z[0], atol=1e-12)
    spoiled = both["edges"].data + (~both["edges"].mask).long()
    both["edges"].data.copy_(spoiled)
    assert torch.allclose(encoder(both)[:2], z[:2], atol=1e-12)


@pytest.mark.parametrize("kind", [GraphEncoder, PairEncoder])
def test_classes_of_edges_are_told_apart(kind):
    torch.manual_seed(0)
    encoder = kind(1, 3, width=8, length=3)
    networks = [nx.path_graph(3), nx.path_graph(3)]
    for network, order in zip(networks, (1, 2), strict=True):
        nx.set_edge_attributes(network, order, "order")
    z = encoder(data.graphs_of(networks).batch([0, 1]).x)
    assert not torch.allclose(z[0], z[1], atol=1e-4)


def test_pairs_tell_apart_what_sums_over_neighbours_cannot():
    """Two triangles and a hexagon: all nodes have two neighbours."""
    twice = nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3))
    x = data.graphs_of([twice, nx.cycle_graph(6)]).batch([0, 1]).x
    for kind, told in ((GraphEncoder, False), (PairEncoder, True)):
        torch.manual_seed(0)
        with torch.no_grad():
            z = kind(1, 2, width=8, length=3).double()(x)
        apart = float((z[0] - z[1]).abs().max())
        assert apart > 1e-6 if told else apart < 1e-12


def test_the_denoiser_is_told_the_code_of_the_very_graph_and_the_encoder_learns_from_it():
    graphs = data.graphs_of([nx.path_graph(4), nx.star_graph(4), nx.cycle_graph(5)])
    torch.manual_seed(0)
    recipe = AutoEncoder(width=16, pair_width=8, depth=2, heads=2, code=5)
    training = recipe.build(graphs)
    for parameter in training.model.denoiser.net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    loss = training.objective.loss("denoiser", graphs.batch([0, 1, 2]), random.derive(0, "g"))
    loss.each.mean().backward()
    for parameter in training.model.denoiser.encoder.parameters():
        assert bool(parameter.grad.isfinite().all()) and float(parameter.grad.abs().max()) > 0
    plain = Files(width=16, pair_width=8, depth=2, heads=2).build(graphs).objective
    assert not isinstance(plain, autoencoder.Autoencoding)


def test_embeddings_have_length_one_and_do_not_depend_on_the_batch(run):
    opened, path = run
    graphs = opened.domain.read(path)
    for part, width in (("z", 5), ("both", 21)):
        z = autoencoder.embed(opened, graphs, part=part)
        assert z.shape == (24, width)
        assert torch.allclose(z.norm(dim=1), torch.ones(24), atol=1e-5)
        model = opened.model(device="cpu")
        alone = model.denoiser.embed(graphs.batch([3]).x, part)
        assert torch.allclose(alone[0], z[3], atol=1e-5)


def test_the_verb_writes_codes_names_and_labels(run, tmp_path):
    opened, path = run
    commands.embed(opened.path, path, tmp_path / "z.npz")
    with np.load(tmp_path / "z.npz", allow_pickle=False) as found:
        assert found["z"].shape == (24, 5) and found["labels"].tolist() == [0, 1] * 12
        assert len(found["names"]) == 24
    with pytest.raises(InputError, match=r"written to an \.npz file"):
        commands.embed(opened.path, path, tmp_path / "z.csv")


def test_a_run_without_an_encoder_is_told(run, tmp_path):
    opened, path = run
    words = [word for word in SMALL if not word.startswith("code")]
    words = [*words, "batch=8", "steps=1"]
    out = start("graphs/files", words, data_path=path, out=tmp_path / "r")
    with pytest.raises(InputError, match="makes no representations; train graphs/autoencoder"):
        autoencoder.embed(open_run(out), opened.domain.read(path))


def test_a_run_of_ordered_nodes_completes_nothing(run):
    opened, path = run
    part = opened.domain.read(path).graphs[0]
    with pytest.raises(InputError, match="places in an order.*places=false"):
        completing.complete(opened, part, 1)


def test_the_denoiser_sees_graphs_in_their_order_with_places(run):
    opened, path = run
    training = opened.recipe.build(opened.domain.read(path))
    denoiser = training.model.denoiser
    x = opened.domain.read(path).batch(range(24)).x
    node = denoiser.shown(x, torch.ones((), dtype=torch.float64))[0]
    places = node[..., -autoencoder.PLACES :]
    assert (
        torch.equal(places[0], places[1]) and float(torch.cdist(places[0], places[0])[0, 1]) > 0.1
    )
    loss = [
        training.objective.loss("denoiser", Batch(made), random.derive(0, "g")).each
        for made in (x, ordered(x))
    ]
    assert torch.equal(*loss)


def test_a_class_is_told_neither_by_nodes_nor_by_edges():
    """Of four nodes and four edges: a cycle has no triangle, a triangle with a tail one."""
    square, paw = nx.cycle_graph(4), nx.Graph([(0, 1), (1, 2), (2, 0), (2, 3)])
    complete, paths = nx.complete_graph(5), [nx.path_graph(5), nx.star_graph(4)]
    graphs, labels = classed([complete, paw, *paths, square])
    assert graphs == [paw, square] and labels == [1, 0]
    graphs, labels = classed([square, square, paw])
    assert labels == [0, 0, 1]


def test_codes_of_a_new_encoder_differ_from_graph_to_graph():
    """Before, what graphs share is twice and more of what tells them apart."""
    graphs = data.graphs_of(nx.graph_atlas_g()[20:200])
    encoder = fresh(0, lambda: GraphEncoder(1, 2, width=16, length=8))
    x = graphs.batch(range(len(graphs))).x
    with torch.no_grad():
        before = encoder(x)
        encoder.spread(x)
        z = encoder(x)
    assert float((before.std(0) / before.mean(0).abs()).median()) < 0.5
    assert torch.allclose(z.mean(0), torch.zeros(8), atol=1e-3)
    assert torch.allclose(z.var(0, correction=0), torch.ones(8), atol=1e-2)


def test_codes_of_pairs_are_not_amplified_much():
    """Training stopped with codes of 20,000, when the offset of a new encoder was 2,000."""
    graphs = data.graphs_of(nx.graph_atlas_g()[200:])
    for seed in range(3):
        encoder = fresh(seed, lambda: PairEncoder(1, 2))
        encoder.spread(graphs.batch(range(0, len(graphs), 5)).x)
        assert float(encoder.outward.bias.abs().max()) < 300


def test_graphs_that_are_all_alike_leave_the_codes_as_they_are():
    encoder = fresh(0, lambda: GraphEncoder(1, 2, width=16, length=8))
    x = data.graphs_of([nx.cycle_graph(5)] * 3).batch(range(3)).x
    with torch.no_grad():
        before = encoder(x)
        encoder.spread(x)
        assert torch.equal(encoder(x), before)


def test_a_recipe_spreads_the_codes_of_its_data():
    graphs = data.graphs_of(nx.graph_atlas_g()[20:200])
    recipe = AutoEncoder(width=16, pair_width=8, depth=2, heads=2, code=5)
    encoder = recipe.build(graphs).model.denoiser.encoder
    with torch.no_grad():
        z = encoder(graphs.batch(range(len(graphs))).x)
    assert torch.allclose(z.mean(0), torch.zeros(5), atol=1e-3)


def test_a_machine_reads_what_is_there_and_nothing_where_there_is_nothing():
    """40 items of 4 labels: chance is 1/4, with a deviation of 0.07."""
    labels = [i % 4 for i in range(40)]
    z = torch.nn.functional.one_hot(torch.tensor(labels), 4).double()
    assert accuracy(z, labels) == (1.0, 0.0)
    noise = random.normal(torch.zeros(40, 4), random.derive(0, "z"))
    assert accuracy(noise, labels)[0] < 0.25 + 4.5 * 0.07
    with pytest.raises(InputError, match="the rarest of the 2 has 3"):
        accuracy(z[:23], [0] * 20 + [1] * 3)
    with pytest.raises(InputError, match="3 labels for 40 items"):
        accuracy(z, [0, 1, 2])


def test_the_encoder_batch_is_not_changed(run):
    opened, path = run
    batch = opened.domain.read(path).batch([0, 1])
    before = batch.x["edges"].data.clone()
    opened.model(device="cpu").denoiser.embed(Batch(batch.x).x)
    assert torch.equal(before, batch.x["edges"].data)
