"""Labels and properties: read, told to the network, asked for by words, kept in the run."""

from __future__ import annotations

from collections import Counter

import networkx as nx
import numpy as np
import pytest
import torch

from sfumato import InputError
from sfumato_graphs import conditions, data, files, writing
from sfumato_graphs.domain import domain
from sfumato_graphs.recipes import AutoEncoder
from sfumato_train import draw, evaluate, open_run, start

SMALL = ["width=16", "pair_width=8", "depth=1", "heads=2", "sampling_steps=3", "batch=8", "steps=4"]


def _networks():
    """Paths of 3 to 5 nodes labelled "path", cycles of 5 and 6 labelled "cycle"."""
    found = [nx.path_graph(3 + i % 3) for i in range(24)]
    found += [nx.cycle_graph(5 + i % 2) for i in range(16)]
    for i, network in enumerate(found):
        network.graph |= {"name": f"graph {i}", "shape": "path" if i < 24 else "cycle", "size": i}
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    writing.write(_networks(), folder / "shapes.json")
    words = [*SMALL, "label=shape", "properties=density,size", "held=0.5"]
    path = folder / "shapes.json"
    return open_run(start("graphs/files", words, data_path=path, out=folder / "r"))


def test_facts_and_tensors_are_those_of_the_data():
    graphs = data.graphs_of(_networks(), label="shape", properties=("density", "size"))
    label, properties = graphs.about["label"], graphs.about["properties"]
    assert label["classes"] == ["cycle", "path"]
    assert label["sizes"] == [[[5, 6], [8, 8]], [[3, 4, 5], [8, 8, 8]]]
    want = np.array([[nx.density(g), g.graph["size"]] for g in _networks()])
    assert np.allclose(properties["mean"], want.mean(0))
    assert np.allclose(properties["std"], want.std(0))
    assert properties["low"] == want.min(0).tolist()
    batch = graphs.batch([0, 30, 5])
    assert batch.condition["label"].tolist() == [1, 0, 1]
    assert batch.condition["nodes"].tolist() == [3, 5, 5]
    rows = (want[[0, 30, 5]] - want.mean(0)) / want.std(0)
    assert np.allclose(batch.condition["vector"].numpy(), rows, atol=1e-6)
    assert data.graphs_of(_networks()).batch([0]).condition == {}


def test_words_become_conditions_and_sizes_have_the_shares_of_the_label(run):
    words = {"shape": "cycle,path", "density": "0.5", "size": "10"}
    asked = domain.condition(words, 200, run.about)
    assert asked["label"].tolist() == [0, 1] * 100
    # Quantiles that fill the unit interval evenly: those of every second item are off by few.
    for label, share in ((0, {5: 1 / 2, 6: 1 / 2}), (1, {3: 1 / 3, 4: 1 / 3, 5: 1 / 3})):
        sizes = Counter(asked["nodes"][asked["label"] == label].tolist())
        assert sizes.keys() == share.keys()
        assert all(abs(sizes[n] - 100 * part) <= 4 for n, part in share.items())
    again = domain.condition({"shape": "cycle,path"}, 10, run.about)
    assert torch.equal(again["nodes"], asked["nodes"][:10])
    fixed = domain.condition({"shape": "path", "nodes": "4"}, 3, run.about)
    assert fixed["nodes"].tolist() == [4, 4, 4] and "vector" not in fixed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"colour": "1"}, "no condition 'colour'; this model takes nodes, shape, density, size"),
        ({"shape": "star"}, "shape=star: 'star' is not one of cycle, path"),
        ({"density": "0.5"}, "density alone cannot be asked for"),
        ({"density": "3", "size": "1"}, r"density=3: training graphs have numbers from 0\.4 to"),
        ({"density": "nan", "size": "1"}, "density=nan: training graphs"),
        ({"density": "x", "size": "1"}, "density=x: training graphs"),
        ({"nodes": "7"}, "training graphs have 3 to 6 nodes"),
        ({"nodes": "5..4"}, "5..4 ends before it begins"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_be_asked_for_is_told(run, words, said):
    with pytest.raises(InputError, match=said):
        domain.condition(words, 2, run.about)


def test_samples_are_written_with_what_they_were_asked_for(run, tmp_path):
    words = {"shape": "path,cycle", "density": "0.5", "size": "12"}
    asked = domain.condition(words, 4, run.about)
    made = draw(run, 4, condition=asked, guidance=2.0, seed=1)
    assert made.x["nodes"].mask.sum(1).tolist() == asked["nodes"].tolist()
    (file,) = domain.write(made, tmp_path / "out.json", run.about)
    found = [network.graph for network in files.read(file)]
    assert [g["shape"] for g in found] == ["path", "cycle"] * 2
    assert all(g["density"] == 0.5 and g["size"] == 12 for g in found)


def test_the_network_listens_to_a_label_and_not_to_the_size_twice(run):
    denoiser = run.model(device="cpu").denoiser
    x, t = run.data()[0].batch([0, 1]).x, torch.tensor(0.5).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in denoiser.net.parameters():
        torch.nn.init.normal_(parameter, std=0.3, generator=generator)
    told = [
        denoiser.given(label=torch.tensor([k, k]), nodes=torch.tensor([3, 3])).output(x, t)[1]
        for k in (0, 1)
    ]
    assert not torch.allclose(told[0], told[1], atol=1e-4)
    sized = denoiser.given(nodes=torch.tensor([9, 9])).output(x, t)[1]
    assert torch.equal(sized, denoiser.output(x, t)[1])


def test_evaluation_asks_for_graphs_like_the_real_ones(run):
    rows = {row["name"] for row in evaluate(run, seed=0)}
    assert {"degree-tv", "unique and novel"} <= rows
    other = evaluate(run, data_path=run.data_path)  # told by the facts of the run
    assert {row["name"] for row in other} == rows


def test_scores_are_conditional_too(tmp_path):
    writing.write(_networks(), tmp_path / "shapes.json")
    words = [*SMALL, "label=shape"]
    path = tmp_path / "shapes.json"
    run = open_run(start("graphs/scores", words, data_path=path, out=tmp_path / "r"))
    made = draw(run, 3, condition=domain.condition({"shape": "cycle"}, 3, run.about))
    assert set(made.x["nodes"].mask.sum(1).tolist()) <= {5, 6}


def test_labels_and_properties_that_graphs_lack_are_told():
    networks = _networks()
    del networks[3].graph["shape"]
    with pytest.raises(InputError, match="graph 3: the label 'shape' of a graph is text or a whol"):
        data.graphs_of(networks, label="shape")
    networks[4].graph["size"] = "large"
    with pytest.raises(InputError, match="graph 4: the property 'size' of a graph is a finite num"):
        data.graphs_of(networks, properties=("size",))
    with pytest.raises(InputError, match="named twice in density, density"):
        data.graphs_of(networks, properties=("density", "density"))
    about = data.graphs_of(_networks(), label="shape").about
    networks = _networks()
    networks[0].graph["shape"] = "star"
    with pytest.raises(InputError, match="the label 'star' is not one of 'cycle', 'path'"):
        data.graphs_of(networks, schema=about)
    named = [(str(i), g) for i, g in enumerate(_networks())]
    properties = conditions.described(named, None, ("density",))
    with pytest.raises(InputError, match="tells a code where others"):
        AutoEncoder().model({**about, **properties})


def test_samples_drawn_without_a_label_are_read_back_by_the_facts_of_the_run(run, tmp_path):
    made = draw(run, 3, seed=4)
    (file,) = domain.write(made, tmp_path / "out.json", run.about)
    networks = files.read(file)
    assert all("shape" not in network.graph for network in networks)
    back = domain.follow(file, run.about)
    assert back.batch([0, 1, 2]).condition == {} and back.about == run.about
    networks[1].graph["shape"] = "path"
    with pytest.raises(InputError, match="the label 'shape' of a graph is text"):
        data.graphs_of(networks, schema=run.about)
