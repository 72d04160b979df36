"""Molecules as graphs of bonds: what the network is told, and the way of a user in small."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import one_hot

from sfumato import Fields, Padded, random
from sfumato_methods.discrete.graphs import GraphProcess
from sfumato_molecules import formats
from sfumato_molecules.domain import domain
from sfumato_molecules.graphs import TOLD, BondDenoiser, most_bonds
from sfumato_molecules.state import graph_of, molecules_of
from sfumato_nn.graphs.transformer import GraphTransformer
from sfumato_train import draw, open_run, start

SMILES = ["CCO", "CC(=O)O", "C1CC1N", "OC1CCC1", "CC(C)=O", "C[N+](C)(C)C", "NCC#N", "OCCO"]
ABOUT = {"classes": [["C", 0], ["N", 0], ["N", 1], ["O", 0]]}


def molecules(words):
    read = formats.FORMATS[".smi"].parse
    return [read(formats.Record(1, word, kind="smiles"), word, "drop") for word in words]


def graphs(words):
    x = graph_of(molecules(words), ABOUT)
    return Fields(x)


def denoiser(structural=True, seed=0):
    process = GraphProcess(torch.full((4,), 0.25), torch.full((5,), 0.2), 6)
    torch.manual_seed(seed)
    net = GraphTransformer(
        4, 5, width=16, pair_width=8, depth=2, heads=2, structural=structural,
        told=TOLD if structural else 0,
    )  # fmt: skip
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return BondDenoiser(net, process, most_bonds(ABOUT), {}).eval()


def test_classes_have_the_valences_of_their_charge():
    assert most_bonds(ABOUT).tolist() == [4, 3, 4, 2]


def test_aromatic_bonds_count_one_and_a_half():
    x = graphs(["c1ccncc1C"])
    node, *_ = denoiser().shown(x, torch.tensor(0.5).double())
    torch.testing.assert_close(node[0, :, 4] * 4, torch.tensor([3.0, 3, 3, 3, 3, 4, 1]))


def test_the_network_is_told_what_each_atom_has_and_lacks():
    x = graphs(["CC(=O)O", "C[N+](C)(C)C"])
    node, *_ = denoiser().shown(x, torch.tensor(0.5).double())
    assert torch.equal(node[..., :4], one_hot(x["nodes"].data, 4).float())
    has = torch.tensor([[1.0, 4, 2, 1, 0], [1, 4, 1, 1, 1]])
    most = torch.tensor([[4.0, 4, 2, 2], [4, 4, 4, 4]])
    torch.testing.assert_close(node[..., 4] * 4, has)
    torch.testing.assert_close(node[:, :4, 5] * 4, most - has[:, :4])
    assert denoiser(structural=False).shown(x, torch.tensor(0.5).double())[0].shape[-1] == 4


@torch.no_grad()
def test_atoms_in_another_order_are_answered_in_that_order():
    x = graphs(["CC(=O)O"])
    order = torch.tensor([2, 0, 3, 1])
    nodes = x["nodes"].data[:, order]
    ends = [(i, j) for j in range(4) for i in range(j)]
    place = {pair: k for k, pair in enumerate(ends)}
    kept = [place[tuple(sorted((int(order[i]), int(order[j]))))] for i, j in ends]
    moved = Fields(
        nodes=Padded(nodes, x["nodes"].mask),
        edges=Padded(x["edges"].data[:, kept], x["edges"].mask),
    )
    model, t = denoiser(), torch.tensor([0.3]).double()
    q, other = model(x, t), model(moved, t)
    for name, index in (("nodes", order), ("edges", torch.tensor(kept))):
        torch.testing.assert_close(
            other[name].probs.data, q[name].probs.data[:, index], rtol=0, atol=1e-5
        )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("moses")
    (folder / "mine.smi").write_text("\n".join(SMILES * 4))
    words = [
        "width=16", "pair_width=8", "depth=1", "heads=2", "sampling_steps=3", "batch=8", "steps=4",
        "held=0.25", "conditions=logp",
    ]  # fmt: skip
    return open_run(
        start("molecules/moses", words, data_path=folder / "mine.smi", out=folder / "r")
    )


def test_samples_are_molecules_of_the_classes_and_sizes_of_the_data(run, tmp_path):
    made = draw(run, 6, seed=1)
    assert {str(n) for n in made.x["nodes"].mask.sum(1).tolist()} <= set(run.about["sizes"])
    assert {m.bonds_from for m in molecules_of(made.x, run.about)} <= {"model", ""}
    (file,) = domain.write(made, tmp_path / "out.csv", run.about)
    assert len(file.read_text().splitlines()) == 7


def test_samples_are_asked_for_by_size_and_property(run):
    told = domain.condition({"atoms": "4", "logp": "0.5"}, 3, run.about)
    made = draw(run, 3, condition=told, seed=2)
    assert made.x["nodes"].mask.sum(1).tolist() == [4] * 3
    model = run.model(device="cpu")
    x = made.x
    noisy = model.process.draw(x, torch.full((3,), 0.5).double(), random.derive(0, "n")).x
    t = torch.tensor(0.5).double()
    plain = model.denoiser(noisy, t)["nodes"].probs.data
    given = model.denoiser.given(logp=told["logp"])(noisy, t)["nodes"].probs.data
    assert not torch.equal(plain, given)
