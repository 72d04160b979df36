"""Files of graphs: read as they were written, and told about where they cannot be read."""

from __future__ import annotations

import json

import networkx as nx
import numpy as np
import pytest
from scipy import sparse

from sfumato import InputError
from sfumato_graphs import data, files, writing
from sfumato_graphs.domain import domain


def _same(a, b):
    return nx.utils.graphs_equal(nx.convert_node_labels_to_integers(a), b)


def _molecule():
    network = nx.Graph()
    network.add_nodes_from([(0, {"atom": "C"}), (1, {"atom": "O"}), (2, {"atom": "C"})])
    network.add_edges_from([(0, 1, {"order": 1}), (1, 2, {"order": 2})])
    return network


PLAIN = [nx.path_graph(4), nx.cycle_graph(5), nx.empty_graph(2)]


@pytest.mark.parametrize("suffix", [".graphml", ".json", ".g6", ".s6"])
def test_many_graphs_in_one_file(tmp_path, suffix):
    (file,) = writing.write(PLAIN, tmp_path / f"all{suffix}")
    found = data.graphs_of(files.read(file))
    want = data.graphs_of(PLAIN)
    assert len(found) == 3
    for a, b in zip(found.graphs, want.graphs, strict=True):
        assert np.array_equal(a.nodes, b.nodes) and np.array_equal(a.edges, b.edges)


def test_dot_holds_the_graphs_with_all_texts_quoted(tmp_path):
    network = nx.Graph(name='a "b"', label=3)
    network.add_node(0, atom="C\\")
    network.add_node(1, atom="N")
    network.add_edge(0, 1, order=2)
    (file,) = writing.write([network, nx.path_graph(2)], tmp_path / "all.dot")
    assert file.read_text().splitlines() == [
        r'graph "a \"b\"" {', '  "label"="3";', r'  "0" ["atom"="C\\"];',
        '  "1" ["atom"="N"];', '  "0" -- "1" ["order"="2"];', "}",
        'graph "" {', '  "0";', '  "1";', '  "0" -- "1";', "}",
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", [".gml", ".gexf", ".npz", ".mtx", ".csv"])
def test_files_of_one_graph_are_numbered(tmp_path, suffix):
    written = writing.write(PLAIN[:2], tmp_path / f"one{suffix}")
    assert [f.name for f in written] == [f"one-000{suffix}", f"one-001{suffix}"]
    for file, network in zip(written, PLAIN, strict=False):
        (found,) = files.read(file)
        assert nx.is_isomorphic(found, network)


@pytest.mark.parametrize("suffix", [".npz", ".mtx", ".csv"])
def test_weights_and_lone_nodes_survive(tmp_path, suffix):
    network = nx.Graph()
    network.add_nodes_from(range(4))
    network.add_weighted_edges_from([(0, 1, 2), (1, 3, 300)])
    (file,) = writing.write([network], tmp_path / f"one{suffix}")
    found = data.graphs_of(files.read(file))
    assert found.about["edges"] == {"attribute": "weight", "classes": ["none", 2, 300]}
    assert found.about["largest"] == 4
    (lone,) = files.read(writing.write([nx.empty_graph(3)], tmp_path / f"lone{suffix}")[0])
    assert len(lone) == 3 and not lone.edges
    nx.set_edge_attributes(network, "a", "weight")  # no number: a matrix keeps the edges alone
    (file,) = writing.write([network], tmp_path / f"text{suffix}")
    assert len(files.read(file)[0].edges) == 2


def test_what_stands_beside_samples_is_no_graph(tmp_path):
    writing.write(PLAIN, tmp_path / "a")
    for name in ("samples.json", "job.json"):
        (tmp_path / "a" / name).write_text('{"n": 3}')
    assert len(files.read(tmp_path / "a")) == 3


@pytest.mark.parametrize("suffix", [".graphml", ".json", ".gml", ".gexf"])
def test_attributes_survive_as_classes(tmp_path, suffix):
    (file,) = writing.write([_molecule()], tmp_path / f"mol{suffix}")
    found = data.graphs_of(files.read(file), node="atom", edge="order")
    assert found.about["nodes"] == {"attribute": "atom", "classes": ["C", "O"]}
    assert found.about["edges"] == {"attribute": "order", "classes": ["none", 1, 2]}
    (graph,) = found.graphs
    assert graph.nodes.tolist() == [0, 1, 0] and graph.edges.tolist() == [1, 0, 2]
    back = data.networks(found.graphs, found.about)[0]
    assert back.nodes[1]["atom"] == "O" and back.edges[1, 2]["order"] == 2


def test_the_only_attribute_is_found_by_itself():
    found = data.graphs_of([_molecule(), _molecule()])
    assert found.about["nodes"]["attribute"] == "atom"
    assert found.about["edges"]["attribute"] == "order"
    both = _molecule()
    nx.set_node_attributes(both, 1, "charge")
    assert data.graphs_of([both]).about["nodes"]["attribute"] is None


def test_a_weighted_matrix_has_weights_as_classes(tmp_path):
    matrix = np.array([[0, 2, 0], [2, 0, 1], [0, 1, 0]])
    np.savez(tmp_path / "a.npz", adjacency=matrix)
    sparse.save_npz(tmp_path / "b.npz", sparse.csr_array(matrix))
    for name in ("a.npz", "b.npz"):
        found = data.graphs_of(files.read(tmp_path / name))
        assert found.about["edges"] == {"attribute": "weight", "classes": ["none", 1, 2]}
        assert found.graphs[0].edges.tolist() == [2, 0, 1]


def test_a_tu_folder(tmp_path):
    lines = {
        "A": "1, 2\n2, 1\n2, 3\n3, 2\n4, 5\n5, 4\n",
        "graph_indicator": "1\n1\n1\n2\n2\n",
        "node_labels": "0\n3\n0\n3\n3\n",
        "edge_labels": "1\n1\n0\n0\n1\n1\n",
        "graph_labels": "1\n-1\n",
    }
    for name, text in lines.items():
        (tmp_path / f"TOY_{name}.txt").write_text(text)
    networks = files.read(tmp_path)
    assert [g.graph["label"] for g in networks] == [1, -1]
    found = data.graphs_of(networks)
    assert found.about["nodes"] == {"attribute": "label", "classes": [0, 3]}
    assert [g.nodes.tolist() for g in found.graphs] == [[0, 1, 0], [1, 1]]
    assert [g.edges.tolist() for g in found.graphs] == [[2, 0, 1], [2]]
    (tmp_path / "TOY_A.txt").write_text("1, 4\n" + 5 * "4, 5\n")
    with pytest.raises(InputError, match="line 1: no edge joins 1 and 4"):
        files.read(tmp_path)


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path):
    (tmp_path / "b").mkdir()
    writing.write([PLAIN[0]], tmp_path / "b" / "1.g6")
    writing.write([PLAIN[1]], tmp_path / "a.graphml")
    (tmp_path / "notes.md").write_text("no graph")
    (tmp_path / ".hidden.g6").write_text("???")
    assert [len(g) for g in files.read(tmp_path)] == [5, 4]


BROKEN = {
    "bad.graphml": ("<graphml>", "bad.graphml cannot be read"),
    "bad.g6": ("Cr\n\x01\x02\n", r"bad.g6, line 2: "),
    "bad.json": ('{"nodes": []}', "graph 0: node-link graphs have the keys"),
    "lost.json": (
        '{"nodes": [{"id": 0}], "edges": [{"source": 0, "target": 7}]}',
        "lost.json, graph 0: nodes and edges name 2 nodes, but 1 stand among the nodes",
    ),
    "lost.gexf": (
        '<gexf xmlns="http://www.gexf.net/1.2draft" version="1.2"><graph><nodes><node id="a"/>'
        '</nodes><edges><edge id="0" source="a" target="b"/></edges></graph></gexf>',
        "lost.gexf, graph 0: nodes and edges name 2 nodes, but 1 stand among the nodes",
    ),
    "lost.graphml": (
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns"><graph edgedefault="undirected">'
        '<node id="a"/><edge source="a" target="b"/></graph></graphml>',
        "lost.graphml, graph 0: nodes and edges name 2 nodes, but 1 stand among the nodes",
    ),
    "bad.csv": ("source,target,kind\na,b,x\na,b\n", "line 3: 2 columns in place of 3"),
    "twice.csv": ("a,b\nb,a\n", "line 2: the edge b to a is there already"),
    "half.csv": ("a,b\n,b\n", "line 2: the first of the two names is missing"),
    "none.txt": ("# nothing\n", "holds no edges"),
    "bad.mtx": ("%%MatrixMarket", "bad.mtx cannot be read"),
    "bad.npz": ("PK", "bad.npz cannot be read"),
    "bad.gml": ("graph [", "bad.gml cannot be read"),
    "odd.pdf": ("", "is of no kind that holds graphs"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_is_told(tmp_path, name):
    text, said = BROKEN[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=said):
        files.read(tmp_path / name)


def test_a_missing_file_and_an_empty_folder(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        files.read(tmp_path / "not there.g6")
    with pytest.raises(InputError, match="holds no graphs; accepted are .graphml"):
        files.read(tmp_path)


def test_pickles_are_not_opened(tmp_path):
    np.savez(tmp_path / "a.npz", adjacency=np.array([{"code": 1}], dtype=object))
    with pytest.raises(InputError, match="cannot be read"):
        files.read(tmp_path / "a.npz")


def _loop():
    return nx.Graph([(0, 0), (0, 1)])


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (nx.DiGraph([(0, 1)]), "is directed"),
        (nx.MultiGraph([(0, 1), (0, 1)]), "several edges between two nodes"),
        (_loop(), r"1 edge\(s\) from a node to itself"),
        (nx.Graph(), "has 0 nodes; accepted are 1 to 1,000"),
        (nx.empty_graph(1001), "has 1001 nodes"),
    ],
    ids=["directed", "multi", "loop", "empty", "large"],
)
def test_graphs_of_another_kind_are_told(network, said):
    with pytest.raises(InputError, match=said):
        data.graphs_of([nx.path_graph(2), network])


def test_a_schema_is_kept_to():
    about = data.graphs_of([_molecule()]).about
    other = _molecule()
    other.nodes[0]["atom"] = "Xe"
    with pytest.raises(InputError, match="the node class 'Xe' is not one of 'C', 'O'"):
        data.graphs_of([other], schema=about)
    del other.nodes[0]["atom"]
    with pytest.raises(InputError, match="node 0 has no attribute 'atom'"):
        data.graphs_of([other], schema=about)
    real = _molecule()
    nx.set_node_attributes(real, 0.5, "atom")
    with pytest.raises(InputError, match=r"is 0\.5; classes are text or whole numbers"):
        data.graphs_of([real], node="atom")


def test_nothing_half_written(tmp_path, monkeypatch):
    target = tmp_path / "out.json"
    target.write_text("old")
    monkeypatch.setattr(json, "dumps", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        writing.write(PLAIN, target)
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


TU = {
    "A": "1, 2\n2, 1\n3, 4\n4, 3\n",
    "graph_indicator": "1\n1\n2\n2\n",
    "edge_labels": "1\n1\n0\n0\n",
    "graph_labels": "1\n0\n",
    "graph_attributes": "0.5, 2\n1.5, 3\n",
}
TU_BROKEN = {
    "three columns": ({"A": "1, 2, 3\n"}, r"TU_A\.txt, line 1: '1, 2, 3' is not 2 whole numbers"),
    "owner of two": ({"graph_indicator": "1, 1\n"}, "'1, 1' is not 1 whole number"),
    "owner far away": ({"graph_indicator": "1\n1\n2\n99999999999\n"}, "4 nodes cannot belong to 9"),
    "owner 0": ({"graph_indicator": "0\n1\n2\n2\n"}, "node 1 belongs to graph 0, counted from 1"),
    "labels missing": ({"graph_labels": "1\n"}, "TU_graph_labels.txt has 1 lines"),
    "label of text": ({"graph_labels": "1\nx\n"}, "line 2: 'x' is no whole number"),
    "edge both ways": (
        {"edge_labels": "1\n2\n0\n0\n"},
        "line 2: the edge 2 to 1 has another label",
    ),
    "edge outside": ({"A": "1, 9\n" * 4}, "line 1: no edge joins 1 and 9"),
    "no numbers": ({"graph_attributes": "0.5\nx\n"}, "line 2: these are no numbers"),
}


def _tu(folder, **changed):
    for name, text in (TU | changed).items():
        (folder / f"TU_{name}.txt").write_text(text)
    return folder


def test_graphs_of_a_tu_folder_have_their_labels_and_numbers(tmp_path):
    first, second = files.read(_tu(tmp_path))
    assert first.graph == {"name": "TU 0", "label": 1, "value0": 0.5, "value1": 2.0}
    assert second.edges[3, 4] == {"label": 0} and second.graph["value1"] == 3
    graphs = data.graphs_of([first, second], label="label", properties=("value0",))
    assert graphs.batch([0, 1]).condition["label"].tolist() == [1, 0]


def test_a_tu_folder_is_written_and_read_back(tmp_path):
    """By our reader and by that of PyTorch Geometric; text is numbered, and the note says how."""
    from torch_geometric.io import read_tu_data

    ring, pair = nx.cycle_graph(3), nx.Graph([("x", "y")])
    nx.set_node_attributes(ring, dict(enumerate("CNC")), "atom")
    nx.set_node_attributes(pair, {"x": "O", "y": "C"}, "atom")
    nx.set_edge_attributes(ring, 1, "order")
    nx.set_edge_attributes(pair, 2, "order")
    ring.graph.update(label=1, weight=0.5, size=3)
    pair.graph.update(label=0, weight=1.5, size=2)
    (out,) = writing.write([ring, pair], tmp_path / "mine.tu")
    first, second = files.read(out)
    assert nx.utils.graphs_equal(nx.Graph(first.edges), nx.cycle_graph([1, 2, 3]))
    assert nx.get_node_attributes(first, "label") == {1: 0, 2: 1, 3: 0}
    assert second.nodes[4] == {"label": 2} and second.edges[4, 5] == {"label": 2}
    assert first.graph == {"name": "mine 0", "label": 1, "value0": 0.5, "value1": 3.0}
    assert (out / "README.txt").read_text() == "node labels, atom:\n  0  C\n  1  N\n  2  O\n"
    whole, slices, _ = read_tu_data(str(out), "mine")
    assert slices["edge_index"].tolist() == [0, 6, 8] and whole.x.argmax(1).tolist() == [
        0,
        1,
        0,
        2,
        0,
    ]
    writing.write([pair], out)  # in the place of the earlier one
    assert len(files.read(out)) == 1 and list(tmp_path.iterdir()) == [out]


UNHELD = {
    "two attributes": ({1: {"a": 1, "b": 2}}, {}, "one label of every node, but these have a, b"),
    "some without": ({1: {"a": 1}, 2: {}}, {}, "but these have a, and some have none"),
    "a fraction": ({1: {"a": 0.5}}, {}, "'a' of a node is something else"),
    "text of a graph": ({1: {}}, {"note": "x"}, "all of them numbers, but these have note"),
    "no nodes": ({}, {}, "graphs of at least one node"),
}


@pytest.mark.parametrize("name", UNHELD)
def test_what_a_tu_folder_cannot_hold_is_told(tmp_path, name):
    nodes, facts, said = UNHELD[name]
    network = nx.Graph(**facts)
    network.add_nodes_from(nodes.items())
    with pytest.raises(InputError, match=said):
        writing.write([network], tmp_path / "mine.tu")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", TU_BROKEN)
def test_a_tu_folder_that_is_broken_is_told(tmp_path, name):
    changed, said = TU_BROKEN[name]
    with pytest.raises(InputError, match=said):
        files.read(_tu(tmp_path, **changed))


def test_a_tu_folder_without_owners_is_told(tmp_path):
    (tmp_path / "TU_A.txt").write_text(TU["A"])
    with pytest.raises(InputError, match=r"lacks TU_graph_indicator\.txt"):
        files.read(tmp_path)


def test_wrong_records_are_counted_and_listed_or_the_first_is_an_error(tmp_path):
    """Of a folder: a line, a graph of a list, a whole file, graphs with loops and directed ones."""
    (tmp_path / "a.g6").write_bytes(b"Cr\n\x01\x02\nCF\n")
    good = nx.node_link_data(nx.path_graph(3), edges="edges")
    (tmp_path / "b.json").write_text(json.dumps([good, {"nodes": []}]))
    (tmp_path / "c.gml").write_text("graph [")
    nx.write_graphml(nx.Graph([(0, 0), (0, 1)]), tmp_path / "d.graphml")
    nx.write_graphml(nx.DiGraph([(0, 1)]), tmp_path / "e.graphml")
    with pytest.raises(InputError, match="line 2"):
        domain.read(tmp_path)
    found = domain.read(tmp_path, strict=False)
    assert len(found) == 3 and found.about["skipped"]["rejected"] == 5
    for sentence, part in zip(
        found.about["skipped"]["first"],
        ("a.g6, line 2: ", "b.json, graph 1: ", "c.gml cannot be read", "d.graphml has 1 edge(s)",
         "e.graphml is directed"),
        strict=True,
    ):  # fmt: skip
        assert part in sentence
    assert "skipped" not in data.graphs_of([nx.path_graph(3)], rejects=[]).about
    (tmp_path / "f").mkdir()
    nx.write_graphml(nx.DiGraph([(0, 1)]), tmp_path / "f" / "e.graphml")
    with pytest.raises(InputError, match="there are no graphs: e.graphml is directed"):
        domain.read(tmp_path / "f", strict=False)


def test_a_graph_larger_than_the_schema_is_told():
    about = data.graphs_of([nx.path_graph(3)]).about
    with pytest.raises(InputError, match="has 4 nodes; accepted are 1 to 3"):
        data.graphs_of([nx.path_graph(4)], schema=about)


def test_small_files_that_ask_for_much_memory_are_refused(tmp_path):
    """Headers that promise 68 thousand million nodes, matrices of 10^9 rows, a zip bomb."""
    (tmp_path / "a.g6").write_bytes(b"~~" + b"~" * 6 + b"\n")
    (tmp_path / "b.s6").write_bytes(b":~" + b"~" * 3 + b"\n")
    (tmp_path / "c.mtx").write_text(
        "%%MatrixMarket matrix array real general\n1000000000 1000000000\n"
    )
    sparse.save_npz(tmp_path / "d.npz", sparse.coo_array((10**9, 10**9)))
    np.savez_compressed(tmp_path / "e.npz", adjacency=np.zeros((17000, 17000), dtype=np.int8))
    for name, said in (
        ("a.g6", "more than 1,000 nodes"), ("b.s6", "more than 1,000 nodes"),
        ("c.mtx", "1000000000 nodes"), ("d.npz", "1000000000 nodes"), ("e.npz", "unpacks to 276"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            files.read(tmp_path / name)


def test_numbers_that_are_not_finite_are_told(tmp_path):
    for wrong in (np.inf, np.nan):
        np.savez(tmp_path / "a.npz", adjacency=np.array([[0, wrong], [wrong, 0]]))
        with pytest.raises(InputError, match="numbers that are not finite"):
            files.read(tmp_path / "a.npz")
