"""Models of molecules in space, trained, sampled, completed: the way of a user, in small."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sfumato import Fields, InputError, Maybe, Ragged, random
from sfumato.state import select
from sfumato_cli.main import application
from sfumato_molecules import files, writing
from sfumato_molecules.conformers import conformers, of_smiles
from sfumato_molecules.denoiser import MoleculeDenoiser
from sfumato_molecules.domain import domain
from sfumato_molecules.molecule import Molecule
from sfumato_molecules.process import MoleculeProcess
from sfumato_molecules.scaffold import numbers, open_up, scaffold
from sfumato_molecules.space import ORDERS
from sfumato_molecules.state import molecules_of, points_of
from sfumato_nn.equivariant import EquivariantNetwork
from sfumato_train import draw, open_run, start

SMALL = ["width=16", "depth=2", "batch=8", "steps=4", "held=0.25", "sampling_steps=4"]
SMILES = ["CCO", "CC=O", "CC#N", "OCC=C", "NCCO", "CC(=O)O", "CCF", "C[NH3+]", "CC(C)O", "CCN"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with `some.sdf`: twenty molecules that RDKit has placed."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    place = tmp_path_factory.mktemp("molecules")
    with Chem.SDWriter(str(place / "some.sdf")) as out:
        for i in range(20):
            mol = Chem.AddHs(Chem.MolFromSmiles(SMILES[i % len(SMILES)]))
            AllChem.EmbedMolecule(mol, randomSeed=i + 1)
            mol.SetDoubleProp("heavy", mol.GetNumHeavyAtoms())
            out.write(mol)
    return place


def trained(recipe, folder, *words):
    return open_run(
        start(recipe, [*SMALL, *words], data_path=folder / "some.sdf", out=folder / recipe)
    )


@pytest.fixture(scope="module")
def run(folder):
    return trained("molecules/sdf", folder, "conditions=heavy")


@pytest.fixture(scope="module")
def shapes(folder):
    return trained("molecules/conformers", folder, "heavy=6")


@pytest.fixture
def core(folder):
    """Ethanol: C, C, O, then its hydrogens."""
    return files.read(folder / "some.sdf").molecules[0]


def network(classes=3, seed=0, **options):
    net = EquivariantNetwork(classes, classes, pairs=4, pairs_out=4, width=16, depth=2, **options)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return net


def noisy(process, x, t, seed=3):
    return process.draw(x, t, random.derive(seed, "noise")).x


def ethanols(core, run, count=3):
    return points_of([core] * count, run.about)


def test_samples_are_molecules_with_sizes_of_the_data(run, tmp_path):
    made = draw(run, 8, seed=1)
    sizes = made.x["atoms"].counts.tolist()
    assert {str(size) for size in sizes} <= set(run.about["sizes"])
    assert made.x["bonds"].counts.tolist() == [n * (n - 1) // 2 for n in sizes]
    (file,) = domain.write(made, tmp_path / "out.sdf", run.about)
    back = files.read(file, files.Reading(valences=False, fragments="keep")).molecules
    assert [len(m) for m in back] == sizes
    assert domain.preview(made, tmp_path / "p.png", run.about).stat().st_size > 1000


def test_a_molecule_does_not_depend_on_its_neighbours(run):
    condition = domain.condition({"atoms": "7,9"}, 4, run.about)
    whole = draw(run, 4, condition=condition, seed=5).x
    parts = draw(run, 4, condition=condition, seed=5, batch=1).x
    assert whole["atoms"].counts.tolist() == [7, 9, 7, 9]
    torch.testing.assert_close(whole["positions"].data, parts["positions"].data, rtol=0, atol=1e-4)
    for name in ("atoms", "bonds"):
        assert torch.equal(whole[name].data, parts[name].data)


def test_a_network_that_says_nothing_is_the_exact_denoiser_of_independent_atoms(core, run):
    """p(k | x_t) is law_k q(x_t | k), normalised, entry by entry."""
    x0 = ethanols(core, run)
    classes = len(run.about["classes"])
    process = MoleculeProcess(classes, ORDERS, 9)
    process.fill(x0)
    net = EquivariantNetwork(classes, classes, pairs=4, pairs_out=4, width=8, depth=1)
    t = torch.tensor([0.1, 0.5, 0.9]).double()
    x = noisy(process, x0, t)
    q = MoleculeDenoiser(net, process)(x, t)
    for name in ("atoms", "bonds"):
        kernel, ids = process.part(name).kernel, x[name]
        for k in range(kernel.classes):
            ones = Ragged(torch.full_like(ids.data, k), ids.owner, ids.items)
            rows = kernel.rows(ones, torch.zeros_like(t), t).data
            likely = rows.gather(1, ids.data[:, None])[:, 0] * kernel.limit()[k]
            total = sum(
                kernel.rows(
                    Ragged(torch.full_like(ids.data, j), ids.owner, ids.items),
                    torch.zeros_like(t),
                    t,
                ).data.gather(1, ids.data[:, None])[:, 0]
                * kernel.limit()[j]
                for j in range(kernel.classes)
            )
            torch.testing.assert_close(
                q[name].probs.data[:, k], likely / total, rtol=1e-5, atol=1e-7
            )


def test_the_denoiser_turns_with_the_molecule_and_keeps_its_mean(core, run):
    x0 = ethanols(core, run)
    process = MoleculeProcess(len(run.about["classes"]), ORDERS, 9)
    process.fill(x0)
    denoiser = MoleculeDenoiser(network(len(run.about["classes"])), process).eval()
    t = torch.tensor([0.2, 0.5, 0.8]).double()
    x = noisy(process, x0, t)
    turn = torch.linalg.qr(random.normal(torch.empty(3, 3), random.derive(0, "turn"))).Q
    places = x["positions"]
    turned = Fields({**x, "positions": Ragged(places.data @ turn.T, places.owner, places.items)})
    with torch.no_grad():
        q, other = denoiser(x, t), denoiser(turned, t)
    mean = q["positions"].mean
    torch.testing.assert_close(other["positions"].mean.data, mean.data @ turn.T, rtol=0, atol=2e-5)
    torch.testing.assert_close(other["bonds"].probs.data, q["bonds"].probs.data, atol=1e-5, rtol=0)
    middle = torch.zeros(3, 3).index_add(0, places.owner, mean.data)
    assert float(middle.abs().max()) < 1e-5


def test_properties_are_told_without_their_units_and_may_be_left_out(core, run):
    x0 = ethanols(core, run)
    classes = len(run.about["classes"])
    process = MoleculeProcess(classes, ORDERS, 9)
    process.fill(x0)
    told = {"a": (10.0, 2.0), "b": (0.0, 1.0)}
    denoiser = MoleculeDenoiser(network(classes, vector=4), process, told).eval()
    t = torch.tensor(0.5).double()

    def seen(**condition):
        with torch.no_grad():
            return denoiser.given(**condition)(x0, t)["positions"].mean.data

    value, plain = torch.tensor([12.0, 8.0, 11.0]), seen()
    other = MoleculeDenoiser(denoiser.net, process, {"a": (0.0, 1.0), "b": (0.0, 1.0)}).eval()
    with torch.no_grad():
        scaled = other.given(a=(value - 10) / 2)(x0, t)["positions"].mean.data
    torch.testing.assert_close(seen(a=value), scaled)
    assert float((seen(a=value) - plain).abs().max()) > 1e-4
    some = seen(a=Maybe(value, torch.tensor([True, False, True])))
    absent = x0["positions"].owner == 1
    torch.testing.assert_close(some[absent], plain[absent])
    torch.testing.assert_close(some[~absent], scaled[~absent])
    with pytest.raises(InputError, match="not trained with c; it may be told a, b"):
        denoiser.given(c=value)


def test_a_run_is_asked_for_properties(run):
    condition = domain.condition({"heavy": "4", "atoms": "9"}, 3, run.about)
    made = draw(run, 3, condition=condition, seed=2)
    assert made.x["atoms"].counts.tolist() == [9] * 3
    other = draw(run, 3, condition=domain.condition({"atoms": "9"}, 3, run.about), seed=2)
    assert not torch.equal(made.x["positions"].data, other.x["positions"].data)


def test_a_scaffold_stays_where_it_is(run, core):
    made = scaffold(run, core, 5, seed=4, atoms=torch.full((5,), 11), attach=None)
    whole = points_of([core], run.about)
    size = len(core)
    for i, molecule in enumerate(molecules_of(made.x, run.about)):
        assert len(molecule) == 11
        assert np.array_equal(molecule.positions[:size], core.positions)
        own = select(made.x, torch.tensor([i]))
        assert torch.equal(own["atoms"].data[:size], whole["atoms"].data)
        pairs = size * (size - 1) // 2
        assert torch.equal(own["bonds"].data[:pairs], whole["bonds"].data)
    alone = scaffold(run, core, 5, seed=4, atoms=torch.full((5,), 11), batch=1)
    torch.testing.assert_close(
        alone.x["positions"].data, made.x["positions"].data, rtol=0, atol=1e-4
    )


def test_the_rest_is_bonded_to_the_atoms_that_were_named_alone(run, core):
    made = scaffold(run, core, 12, seed=1, attach=[3], atoms=torch.full((12,), 11))
    size = len(core) - 1  # the hydrogen of the oxygen is gone
    bonds = [m.bonds for m in molecules_of(made.x, run.about)]
    across = np.concatenate([b[(b[:, 0] < size) & (b[:, 1] >= size)] for b in bonds])
    assert set(across[:, 0].tolist()) <= {2}
    free = scaffold(run, core, 12, seed=1, atoms=torch.full((12,), 11))
    rows = np.concatenate([m.bonds for m in molecules_of(free.x, run.about)])
    assert len({i for i, j, _ in rows.tolist() if i < size <= j}) > 1


def test_known_places_follow_the_forward_law_around_the_sample(run, core):
    """Distances among known atoms at s are those of alpha x + sigma eps; the mean stays at 0."""
    from sfumato.sampling import Frame
    from sfumato_molecules.scaffold import Scaffold

    model = run.model(device="cpu")
    items, size = 4000, len(core)
    known = model.codec.layout(points_of([core], run.about))
    x = points_of([core], run.about)
    x = select(x, torch.zeros(items, dtype=torch.long))
    noise = random.normal(x["positions"], random.derive(0, "x"))
    after = Fields({**x, "positions": model.process.part("positions").space.project(noise)})
    s = torch.tensor(0.4).double()
    made = Scaffold(known)(model.process, Frame(s, s, x, None, after), random.derive(1, "held"))[
        "positions"
    ]
    part = model.process.part("positions")
    gap = made.data.view(items, size, 3)[:, 0] - made.data.view(items, size, 3)[:, 1]
    wanted = float(part.alpha(s)) * (known["positions"].data[0] - known["positions"].data[1])
    deviation = float(part.sigma(s)) * 2**0.5
    z = (gap.mean(0) - wanted) / deviation * items**0.5
    assert float(z.abs().max()) < 5  # false alarm 2e-6
    ratio = float(gap.var(0).mean()) / deviation**2
    assert abs(ratio - 1) < 5 * (2 / (3 * items)) ** 0.5
    middle = torch.zeros(items, 3).index_add(0, made.owner, made.data) / size
    assert float(middle.abs().max()) < 1e-5


def test_an_opened_core_lacks_one_hydrogen_of_each_atom_named(core):
    opened, places = open_up(core, [3, 1])
    assert len(opened) == len(core) - 2 and places == [2, 0]
    assert (opened.elements != 1).sum() == 3
    assert len(opened.bonds) == len(core.bonds) - 2
    degree = np.bincount(opened.bonds[:, :2].ravel())
    assert degree[:3].tolist() == [3, 4, 1]


def test_a_core_of_two_parts_is_linked(run, tmp_path):
    """Water and water, 5 angstrom apart: both are in what is drawn, as they are."""
    water = of_smiles_placed("O")
    places = np.array([[0, 0, 0], [0.8, 0.6, 0], [-0.8, 0.6, 0]], np.float32)
    parts = Molecule(
        elements=np.tile(water.elements, 2),
        positions=np.concatenate([places, places + np.array([[5, 0, 0]], np.float32)]),
        charges=np.tile(water.charges, 2),
        bonds=np.concatenate([water.bonds, water.bonds + np.array([[3, 3, 0]], np.int16)]),
    )
    writing.write([parts], tmp_path / "parts.sdf")
    words = ["scaffold", run.path, "--sdf", tmp_path / "parts.sdf", "-n", 2, "--atoms", 9]
    words += ["--attach", "1,4", "--out", tmp_path / "linked.sdf"]
    result = CliRunner().invoke(application(), [str(word) for word in words])
    assert result.exit_code == 0, result.output
    made = files.read(tmp_path / "linked.sdf", files.Reading(fragments="keep", valences=False))
    gap = parts.positions[3] - parts.positions[0]
    for molecule in made.molecules:
        assert molecule.elements[:4].tolist() == [8, 1, 8, 1] and len(molecule) == 9
        assert np.linalg.norm(molecule.positions[2] - molecule.positions[0]) == pytest.approx(
            np.linalg.norm(gap), abs=1e-3
        )


@pytest.mark.parametrize(
    ("attach", "message"),
    [([9], "atom 9 is a hydrogen"), ([77], "atom 77 is not there")],
    ids=["hydrogen", "missing"],
)
def test_parts_are_attached_to_heavy_atoms(core, attach, message):
    with pytest.raises(InputError, match=message):
        open_up(core, attach)


def test_numbers_of_atoms_are_read():
    assert numbers("3, 5") == [3, 5]
    with pytest.raises(InputError, match="--attach '3;5'"):
        numbers("3;5")


def test_a_core_has_to_fit(run, shapes, core):
    with pytest.raises(InputError, match="the whole may have 10 to"):
        scaffold(run, core, 2, atoms=torch.tensor([9, 9]))
    with pytest.raises(InputError, match="makes no molecules in space"):
        scaffold(shapes, core, 2)
    with pytest.raises(InputError, match="Br of charge"):
        scaffold(run, of_smiles_placed("CBr"), 2)


def of_smiles_placed(text):
    from dataclasses import replace

    molecule = of_smiles(text)
    return replace(molecule, positions=np.zeros((len(molecule), 3), np.float32))


def test_conformers_are_of_the_molecule_that_was_asked_for(shapes):
    wanted = of_smiles("CC(=O)O")
    made = conformers(shapes, wanted, 3, seed=1)
    found = molecules_of(made.x, shapes.about)
    for molecule in found:
        assert np.array_equal(molecule.elements, wanted.elements)
        order = np.lexsort((wanted.bonds[:, 1], wanted.bonds[:, 0]))
        assert np.array_equal(molecule.bonds, wanted.bonds[order])
    assert not np.array_equal(found[0].positions, found[1].positions)
    examples = draw(shapes, 4, seed=1)
    assert {str(n) for n in examples.x["atoms"].counts.tolist()} <= set(shapes.about["sizes"])


def test_conformers_refuse_what_was_not_trained_on(run, shapes):
    with pytest.raises(InputError, match="makes no conformers"):
        conformers(run, of_smiles("CCO"), 2)
    with pytest.raises(InputError, match="Cl of charge"):
        conformers(shapes, of_smiles("CCCl"), 2)
    with pytest.raises(InputError, match="trained on molecules of at most"):
        conformers(shapes, of_smiles("CCCCCCCC"), 2)
    with pytest.raises(InputError):
        of_smiles("CC(=O")
    with pytest.raises(InputError, match=r"CCO\.O is 2 molecules; shapes are of one"):
        of_smiles("CCO.O")


def test_bonds_may_be_told_by_distances_alone(folder):
    run = open_run(
        start(
            "molecules/sdf",
            [*SMALL, "bonds=inferred"],
            data_path=folder / "some.sdf",
            out=folder / "inferred",
        )  # fmt: skip
    )
    made = draw(run, 3, seed=1)
    assert set(made.x) == {"positions", "atoms"}
    assert {m.bonds_from for m in molecules_of(made.x, run.about)} <= {"distances", ""}
