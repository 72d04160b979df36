"""The equivariant autoencoder and the diffusion of its latents."""

from __future__ import annotations

import pytest
import torch

from sfumato import Batch, Fields, Ragged, random
from sfumato.state import select
from sfumato_methods.gaussian import Centred
from sfumato_molecules.latents import SHARE, LatentProcess, PointCodec
from sfumato_molecules.space import blank
from sfumato_train import draw, open_run, start

SMALL = ["width=16", "depth=2", "batch=4", "held=0.25", "sampling_steps=4"]


def molecules(seed=0):
    x = blank(torch.tensor([4, 1, 6]))
    generator = random.derive(seed, "places")
    places = Centred().project(random.normal(x["positions"], generator))
    ids = random.integers(0, 3, (11,), generator)
    return Fields(positions=places, atoms=Ragged(ids, places.owner, 3))


def codec(dtype=torch.float64):
    torch.manual_seed(0)
    made = PointCodec(3, 2, 16, 2)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made.to(dtype)


def in_double(x):
    places = x["positions"]
    return Fields({**x, "positions": Ragged(places.data.double(), places.owner, places.items)})


def turned(x, turn, move=0.0):
    places = x["positions"]
    return Fields({**x, "positions": Ragged(places.data @ turn.T + move, places.owner, 3)})


@torch.no_grad()
def test_all_maps_turn_with_the_molecule():
    made, x = codec(), in_double(molecules())
    turn = torch.linalg.qr(random.normal(torch.empty(3, 3).double(), random.derive(1, "q"))).Q
    places, numbers = made._spoken(x)
    other = made._spoken(turned(x, turn, 5.0))
    torch.testing.assert_close(other[0].data, places.data @ turn.T, rtol=0, atol=1e-9)
    torch.testing.assert_close(other[1].data, numbers.data, rtol=0, atol=1e-9)
    z = Fields(positions=places, atoms=numbers)
    back, again = made.decode(z), made.decode(turned(z, turn))
    gap = again["positions"].data - back["positions"].data @ turn.T
    assert float(gap.abs().max()) < 1e-9
    assert torch.equal(again["atoms"].data, back["atoms"].data)
    for part in (places, back["positions"]):
        middle = torch.zeros(3, 3).double().index_add(0, part.owner, part.data)
        assert float(middle.abs().max()) < 1e-9


@torch.no_grad()
def test_a_molecule_is_coded_alone_as_in_a_batch():
    made, x = codec(), in_double(molecules())
    whole = made._spoken(x)
    for item in range(3):
        alone = made._spoken(select(x, torch.tensor([item])))
        for a, b in zip(alone, whole, strict=True):
            torch.testing.assert_close(a.data, b.data[b.owner == item], rtol=0, atol=1e-12)


def test_it_learns_to_give_molecules_back():
    made, x = PointCodec(3, 2, 32, 2), molecules()
    optimiser = torch.optim.Adam(made.parameters(), lr=5e-3)
    made.placed.fill(x)
    for step in range(300):
        optimiser.zero_grad()
        made.observe(x)
        made.loss(x, random.derive(step, "loss")).each.mean().backward()
        optimiser.step()
    back = made.decode(made.encode(x, random.derive(0, "encode")))
    assert torch.equal(back["atoms"].data, x["atoms"].data)
    gap = (back["positions"].data - x["positions"].data).square().sum(1).mean().sqrt()
    assert float(gap.detach()) < 0.1


def test_latents_have_their_variances_once_it_has_seen_data():
    """A decoder that amplifies shrunken latents would amplify the errors of the diffusion too."""
    made, x = codec(torch.float32), molecules()
    with torch.no_grad():
        for _ in range(2000):
            made.observe(x)
        z = made.encode(x, random.derive(0, "z"))
    free = float(Centred().dims(z["positions"]).sum())
    assert float(z["positions"].data.square().sum()) / free == pytest.approx(1, abs=0.01)
    assert float(z["atoms"].data.square().mean()) == pytest.approx(SHARE**2, rel=0.01)


def test_latents_have_the_layout_of_the_process():
    made, x = codec(torch.float32), molecules()
    z, like = made.encode(x, random.derive(0, "z")), made.layout(x)
    for name in ("positions", "atoms"):
        assert z[name].data.shape == like[name].data.shape
    process = LatentProcess(6)
    start = process.prior(like).sample(random.derive(0, "prior"))
    assert start["atoms"].data.shape == (11, 2)


def _weights(run):
    model = run.model("live")
    both = {"codec": model.codec, "denoiser": model.denoiser}
    return {
        f"{part}.{name}": value.clone()
        for part, module in both.items()
        for name, value in module.named_parameters()
    }


def test_the_encoder_comes_first_and_is_then_left(tmp_path):
    """Three steps of encoder and decoder; then, resumed, two of decoder and denoiser."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    with Chem.SDWriter(str(tmp_path / "some.sdf")) as out:
        for i, word in enumerate(["CCO", "CC=O", "CC#N", "OCC=C", "NCCO", "CCF"] * 2):
            mol = Chem.AddHs(Chem.MolFromSmiles(word))
            AllChem.EmbedMolecule(mol, randomSeed=i + 1)
            out.write(mol)
    asked = ["coding_steps=3", "latent=3", "ema=0"]
    run = open_run(
        start(
            "molecules/latent",
            [*SMALL, *asked, "steps=3"],
            data_path=tmp_path / "some.sdf",
            out=tmp_path / "r",
        )  # fmt: skip
    )
    early = _weights(run)
    where = {"data_path": tmp_path / "some.sdf", "out": tmp_path / "r", "resume": True}
    run = open_run(start("molecules/latent", [*SMALL, *asked, "steps=5"], **where))
    late = _weights(run)
    same = {name: torch.equal(early[name], late[name]) for name in early}
    assert {name.split(".")[1] for name in same if not same[name]} >= {"decoder", "net"}
    assert all(same[name] for name in same if ".encoder." in name)
    made = draw(run, 5, seed=1)
    assert {str(n) for n in made.x["atoms"].counts.tolist()} <= set(run.about["sizes"])
    assert int(made.x["atoms"].data.max()) < len(run.about["classes"])
    training = run.recipe.build(run.data()[0])
    objective = training.objective
    batch = Batch(training.data.batch(range(4)).x)
    objective.loss("denoiser", batch, random.derive(0, "l")).each.mean().backward()
    assert all(p.grad is None for p in objective.codec.parameters())
    square = objective.codec.square.clone()
    objective.validate(batch, random.derive(0, "v"))
    assert torch.equal(square, objective.codec.square)


@pytest.mark.parametrize("count", [1, 2])
def test_the_smallest_molecules_are_coded(count):
    made, x = codec(torch.float32), blank(torch.tensor([count]))
    back = made.decode(made.encode(x, random.derive(0, "z")))
    assert back["positions"].data.shape == (count, 3) and back["positions"].data.isfinite().all()


@pytest.mark.slow
def test_the_trial_runs_in_small(tmp_path):
    from sfumato.survey import Trial
    from sfumato_molecules.systems.geoldm import system

    found = system.trial(Trial(100, 0.02, "cpu", tmp_path, 1.0))
    assert set(found) == {claim.key for claim in system.claims}
    assert 0 <= found["classes"].method <= 1 and found["places"].method >= 0
