"""Trained, sampled, completed: the way of a user, in small."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sfumato import InputError
from sfumato_cli.main import application
from sfumato_graphs import completing, data, files, writing
from sfumato_graphs.domain import domain
from sfumato_graphs.real import Numbers
from sfumato_graphs.recipes import sizes_of
from sfumato_nn.graphs.state import pair_count, take
from sfumato_train import draw, open_run, start

SMALL = ["width=16", "pair_width=8", "depth=1", "heads=2", "sampling_steps=3"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    networks = []
    for i in range(30):
        network = nx.path_graph(3 + i % 4)
        nx.set_node_attributes(network, {v: "ab"[v % 2] for v in network}, "kind")
        nx.set_edge_attributes(network, 1, "order")
        networks.append(network)
    writing.write(networks, folder / "paths.graphml")
    words = [*SMALL, "batch=8", "steps=4", "held=0.5"]
    return open_run(
        start("graphs/files", words, data_path=folder / "paths.graphml", out=folder / "r")
    )


def test_samples_have_sizes_and_classes_of_the_training_data(run, tmp_path):
    made = draw(run, 40, seed=1)
    sizes = made.x["nodes"].mask.sum(1)
    assert set(sizes.tolist()) <= {3, 4, 5, 6}
    (file,) = domain.write(made, tmp_path / "out.graphml", run.about)
    back = data.graphs_of(files.read(file), schema=run.about)
    for i, graph in enumerate(back.graphs):
        nodes, edges = take(made.x, i)
        assert np.array_equal(graph.nodes, nodes) and np.array_equal(graph.edges, edges)
    assert domain.preview(made, tmp_path / "p.png", run.about).stat().st_size > 1000


def test_a_graph_does_not_depend_on_its_neighbours(run):
    condition = domain.condition({"nodes": "4,6"}, 4, run.about)
    whole = draw(run, 4, condition=condition, seed=5)
    assert whole.x["nodes"].mask.sum(1).tolist() == [4, 6, 4, 6]
    parts = draw(run, 4, condition=condition, seed=5, batch=1)
    for i in range(4):
        for a, b in zip(take(whole.x, i), take(parts.x, i), strict=True):
            assert torch.equal(a, b)


def test_completion_keeps_what_is_known(run):
    about = run.about
    part = nx.Graph([(0, 1), (1, 2), (2, 0)], name="triangle")
    nx.set_node_attributes(part, {0: "b", 1: "a", 2: "b"}, "kind")
    nx.set_edge_attributes(part, 1, "order")
    graph = data.graphs_of([part], schema=about).graphs[0]
    asked = torch.tensor([6, 4, 6, 5, 6])
    drawn = completing.complete(run, graph, 40, seed=2).x
    made = completing.complete(run, graph, 5, nodes=asked, seed=2).x
    seen = sizes_of(run.model(device="cpu")).shares.nonzero()[:, 0].tolist()
    assert set(drawn["nodes"].mask.sum(1).tolist()) == {size for size in seen if size > 3}
    assert made["nodes"].mask.sum(1).tolist() == asked.tolist()
    for x, count in ((made, 5), (drawn, 40)):
        for i in range(count):
            nodes, edges = take(x, i)
            assert nodes[:3].tolist() == graph.nodes.tolist() and len(nodes) > 3
            assert edges[: pair_count(3)].tolist() == graph.edges.tolist()
    with pytest.raises(InputError, match="leaves nothing to draw"):
        completing.complete(run, graph, 1, nodes=torch.tensor([3]))
    with pytest.raises(InputError, match="trained on graphs of . to 6 nodes, not 7 to 7"):
        completing.complete(run, graph, 1, nodes=torch.tensor([7]))
    long = nx.path_graph(max(seen))
    nx.set_node_attributes(long, "a", "kind")
    nx.set_edge_attributes(long, 1, "order")
    with pytest.raises(InputError, match=f"{max(seen)} nodes are known, but the model makes"):
        completing.complete(run, data.graphs_of([long], schema=about).graphs[0], 1)


@pytest.mark.parametrize("suffix", [".graphml", ".gexf", ".gml", ".json"])
def test_an_attribute_that_a_run_does_not_make_is_not_lost_silently(run, tmp_path, suffix):
    plain = {side: {"attribute": None} for side in ("nodes", "edges")}
    path = nx.path_graph(3)
    for name, side in (("kind", "nodes"), ("order", "edges")):
        own = nx.path_graph(3)
        for entry in getattr(own, side):
            getattr(own, side)[entry][name] = 1
        (file,) = writing.write([own], tmp_path / f"{side}{suffix}")
        found = files.read(file)
        assert data.homeless(found, plain) == name
        assert data.homeless(found, run.about) is None
    (file,) = writing.write([path], tmp_path / f"plain{suffix}")
    assert data.homeless(files.read(file), plain) is None


def test_the_verb_tells_of_an_attribute_that_would_be_lost(tmp_path):
    writing.write([nx.path_graph(4)] * 8, tmp_path / "paths.graphml")
    words = [*SMALL, "batch=4", "steps=1"]
    where = start("graphs/files", words, data_path=tmp_path / "paths.graphml", out=tmp_path / "r")
    part = nx.path_graph(2)
    nx.set_node_attributes(part, "red", "colour")
    writing.write([part], tmp_path / "part.graphml")
    words = ["complete", where, "--graph", tmp_path / "part.graphml", "--nodes", "4"]
    result = CliRunner().invoke(application(), [str(w) for w in (*words, "--out", tmp_path / "o")])
    assert result.exit_code == 1 and "'colour', which" in " ".join(result.output.split())
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        *((v, "training graphs have 3 to 6 nodes") for v in ("0", "2..4", "5..7")),
        ("5..4", "ends before it begins"),
        ("x", "no number of nodes"),
    ],
)
def test_sizes_that_cannot_be_are_told(value, said):
    with pytest.raises(InputError, match=said):
        domain.condition({"nodes": value}, 1, {"smallest": 3, "largest": 6})


def test_other_conditions_are_told():
    with pytest.raises(InputError, match="no condition 'label'"):
        domain.condition({"label": "1"}, 1, {"smallest": 3, "largest": 6})


@pytest.mark.parametrize("noise", ["marginal", "uniform", "absorbing"])
def test_every_noise_trains_and_lowers_the_loss(noise, tmp_path):
    words = [*SMALL, f"noise={noise}", "steps=60", "lr=5e-3", "batch=32", "log=10", "warmup=5"]
    out = start("graphs/atlas", words, out=tmp_path / noise)
    rows = [row["loss"] for row in _rows(out) if "loss" in row]
    assert rows[-1] < 0.95 * rows[0]


@pytest.mark.parametrize(
    ("process", "sampler"), [("vp", "predictor-corrector"), ("ve", "dpmpp-2m"), ("vp", "heun")]
)
def test_graphs_as_numbers_train_and_sample(process, sampler, tmp_path):
    words = [*SMALL, f"process={process}", "steps=60", "lr=5e-3", "batch=32", "log=10", "warmup=5"]
    out = start("graphs/scores", words, out=tmp_path / process)
    rows = [row["loss"] for row in _rows(out) if "loss" in row]
    assert rows[-1] < 0.95 * rows[0]
    run = open_run(out)
    made = draw(run, 6, sampler=sampler, condition=domain.condition({"nodes": "4"}, 6, run.about))
    assert made.x["edges"].data.dtype == torch.long and made.x["edges"].data.shape == (6, 6)
    assert int(made.x["edges"].data.max()) <= 1


def test_numbers_come_back_as_the_classes_that_they_were():
    x = data.demo().batch([5, 900, 30]).x
    codec = Numbers(1, 2, 7)
    z = codec.encode(x, torch.Generator())
    back = codec.decode(z + z * 0.4)  # 1.4 is an edge, as 0.6 is
    assert all(torch.equal(back[k].data, x[k].data) for k in ("nodes", "edges"))
    assert z["nodes"].data.shape == (3, 7, 1) and z["edges"].data.dtype == torch.float32


def _rows(folder):
    from sfumato_train.files import rows

    return rows(folder / "metrics.jsonl")
