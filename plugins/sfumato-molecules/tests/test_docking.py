"""Docking: poses, forces, latents, files, measures, and the way from recipe to ranked poses."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from typer.testing import CliRunner

from sfumato import Fields, InputError, Ragged, random
from sfumato_cli.main import application
from sfumato_methods.manifolds import rotation
from sfumato_molecules import chem, files
from sfumato_molecules.docking import chemistry, commands, data, docking, metrics, pose
from sfumato_molecules.docking.complexes import (
    Complex,
    joined,
    ligands_of,
    parts_of,
    state_of,
    torsions,
)
from sfumato_molecules.docking.domain import domain
from sfumato_molecules.docking.latents import Latents, entropy, picked, softened
from sfumato_molecules.docking.nn import _explained, _hot, _rigid, _twist, log_softmax
from sfumato_molecules.docking.recipes import Docked
from sfumato_train import open_run
from sfumato_train.runs import fresh

SMILES = ("CCOc1ccccc1CCNC(=O)CC1CCCCC1", "OC(=O)CCc1ccc(OCc2ccncc2)cc1", "CC(C)CC(N)C(=O)NCCSCC")


def molecule(smiles, seed=3):
    made = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(made, randomSeed=seed) == 0
    return chem.from_rdkit(Chem.RemoveAllHs(made), source=smiles, properties={"id": smiles})


@pytest.fixture(scope="module")
def complexes():
    found = [data.cut(molecule(smiles)) for smiles in SMILES]
    assert None not in found
    return found


@pytest.fixture(scope="module")
def items(complexes):
    return data.dataset(complexes)


def double(x):
    """The state in float64."""
    if isinstance(x, Fields):
        return Fields({k: double(v) for k, v in x.items()})
    v = x.data if isinstance(x, Ragged) else x
    v = v.double() if v.is_floating_point() else v
    return Ragged(v, x.owner, x.items) if isinstance(x, Ragged) else v


def noisy(x, seed=1, size=1.0):
    """The state at another pose, its torsions turned far."""
    g = random.derive(seed, "noisy")
    turns = x["torsions"]
    return Fields(
        {
            **x,
            "translation": x["translation"] + size * random.normal(x["translation"], g),
            "rotation": rotation(size * random.normal(x["translation"], g)),
            "torsions": Ragged(2 * size * random.normal(turns.data, g), turns.owner, turns.items),
        }
    )


def lengths(places, bonds):
    counts = places.counts
    rows = bonds.data[:, :2] + (counts.cumsum(0) - counts)[bonds.owner, None]
    a, b = places.data[rows].unbind(1)
    return (a - b).square().sum(-1).sqrt()


def test_the_given_pose_is_where_the_ligand_is_given(items, complexes):
    x = double(items.batch(range(3)).x)
    told = x["complex"]
    assert float((pose.posed(x).data - told["places"].data).abs().max()) < 1e-6
    made = ligands_of(x, pose.posed(x).data, items.about)
    for got, one in zip(made, complexes, strict=True):
        assert np.abs(got.positions - one.ligand.positions).max() < 1e-5
        assert (got.elements == one.ligand.elements).all()
        assert (got.bonds == one.ligand.bonds).all()


def test_bonds_and_angles_keep_their_lengths(items):
    for x, digits in ((items.batch(range(3)).x, 2e-6), (double(items.batch(range(3)).x), 1e-13)):
        told, after = x["complex"], pose.posed(noisy(x))
        gap = lengths(after, told["bonds"]) - lengths(told["places"], told["bonds"])
        assert float(gap.abs().max()) < digits * 4
        moved = after.data - told["places"].data
        assert float(moved.abs().max()) > 1
        middle = pose.centred(after).data - after.data + noisy(x)["translation"][after.owner]
        assert float(middle.abs().max()) < digits * 8


def test_torsions_neither_shift_nor_turn_the_ligand(items):
    """Kabsch: no rotation about the middle brings a twisted ligand closer to how it was given."""
    x = double(items.batch(range(3)).x)
    told, turns = x["complex"], noisy(x)["torsions"]
    start = pose.centred(told["places"])
    after = pose.aligned(pose.twisted(start, turns, told["axes"], told["moves"]), start)
    torque = torch.linalg.cross(start.data, after.data)
    total = torch.zeros(3, 3, dtype=torch.float64).index_add(0, after.owner, torque)
    assert float(total.abs().max()) < 1e-10
    back = pose.twisted(after, Ragged(-turns.data, turns.owner, 3), told["axes"], told["moves"])
    assert float((pose.aligned(back, start).data - start.data).abs().max()) < 1e-10


def built(items, seed=5, **fields):
    recipe = Docked(width=16, depth=2, steps=2, batch=2, **fields)
    training = recipe.build(items)
    g = random.derive(seed, "weights")
    with torch.no_grad():  # a fresh network says 0
        for module in (training.model.denoiser, training.model.process):
            for p in module.parameters():
                p.copy_(0.3 * random.normal(p, g))
    return training


@pytest.mark.parametrize(("kind", "digits"), [(torch.float32, 1e-5), (torch.float64, 1e-12)],
                         ids=["single", "double"])  # fmt: skip
@pytest.mark.parametrize("mirrored", [False, True], ids=["turned", "mirrored"])
def test_the_network_turns_with_the_complex(items, kind, digits, mirrored):
    net = built(items, latents=2).model.denoiser.net.to(kind)
    x = double(noisy(items.batch(range(3)).x))
    turn = rotation(torch.tensor([0.4, -1.3, 0.8], dtype=torch.float64))
    turn = -turn if mirrored else turn
    sign = -1.0 if mirrored else 1.0
    told, places = x["complex"], pose.posed(x)

    def turned(r):
        return Ragged(r.data @ turn.T, r.owner, r.items)

    other = Fields({**told, "receptor": turned(told["receptor"])})
    clock = torch.tensor([-0.5, 0.3, 1.0], dtype=kind)
    owner = torch.zeros(len(places.data) + len(told["kinds"].data), dtype=torch.long)
    chosen = Ragged(torch.zeros(len(owner), 2), owner, 3)

    def ask(told, p):
        return net(told, Ragged(p.data.to(kind), p.owner, 3), clock, chosen)

    (move, spin, twist, force), (a, b, c, d) = ask(told, places), ask(other, turned(places))
    for got, want in ((a, move @ turn.T.to(kind)), (b, sign * spin @ turn.T.to(kind)),
                      (c, sign * twist), (d, force @ turn.T.to(kind))):  # fmt: skip
        assert float(want.abs().max()) > 1e-3
        assert float((got - want).abs().max()) < digits * max(1.0, float(want.abs().max()))


def test_forces_tell_the_motion_that_made_them(items):
    x = double(items.batch(range(3)).x)
    told, places = x["complex"], pose.centred(x["complex"]["places"])
    spin = torch.tensor([[0.3, -0.2, 0.5]] * 3, dtype=torch.float64)
    shift = torch.tensor([[1.0, 2.0, -1.0]] * 3, dtype=torch.float64)
    field = torch.linalg.cross(spin[places.owner], places.data) + shift[places.owner]
    move, turn = _rigid(places, field)
    assert float((move - shift).abs().max()) < 1e-12
    assert float((turn - spin).abs().max()) < 0.05  # of the little that keeps straight ones
    turns, small = x["torsions"], 1e-6
    for bond in range(len(turns.data)):
        one = torch.zeros_like(turns.data)
        one[bond] = small
        after = pose.twisted(places, Ragged(one, turns.owner, 3), told["axes"], told["moves"])
        got = _twist(places, told["axes"], told["moves"], (after.data - places.data) / small)
        assert 0.9 < float(got[bond]) < 1


def test_no_motion_passes_for_another(items):
    """Whatever numbers atoms have, a shift rotates nothing, and no rigid motion turns a bond."""
    x = double(items.batch(range(3)).x)
    told, places = x["complex"], pose.centred(x["complex"]["places"])
    gates = 1 + random.normal(torch.empty(len(places.data), 2).double(), random.derive(3, "gates"))
    shift = torch.tensor([[1.0, 2.0, -1.0]] * 3, dtype=torch.float64)[places.owner]
    spin = torch.linalg.cross(0.5 * shift, places.data)
    _, turn, twist = _explained(places, told["axes"], told["moves"], shift, gates)
    assert float(turn.abs().max()) < 1e-12 and float(twist.abs().max()) < 1e-12
    _, turn, twist = _explained(places, told["axes"], told["moves"], shift + spin, gates)
    assert float(turn.abs().max()) > 0.1
    assert float(twist.abs().max()) < 0.03  # of the little that keeps straight ones


def test_the_target_of_training_leads_back(items):
    """A step along the scores of a slightly noised pose, of their size in flat space."""
    process = built(items).model.process
    x0 = double(items.batch(range(3)).x)
    t = torch.full((3,), 0.15, dtype=torch.float64)
    x, target = process.draw(x0, t, random.derive(2, "draw"))
    back = dict(x)
    for name in ("rotation", "torsions"):
        part = process.part(name)
        scale = part.sigma(t[0]).square() * part.size(t[0])
        back[name] = part.move(x[name], target[name] * scale)
    back["translation"] = target["translation"]
    true = x0["complex"]["places"].data
    before, after = (float((pose.posed(Fields(s)).data - true).abs().max()) for s in (x, back))
    assert after < 0.02 * before


def test_a_small_network_learns_where_three_ligands_belong(items):
    """150 steps on three complexes; a network that says 0 has 1, and measured were 0.38
    (without the features of atoms 0.85).
    """
    recipe = Docked(width=24, depth=2, steps=150, batch=15, latents=0)
    training = fresh(6, lambda: recipe.build(items))
    denoiser, objective = training.model.denoiser, training.objective
    batch = items.batch([0, 1, 2] * 5)
    optimiser = torch.optim.AdamW(denoiser.parameters(), lr=4e-3)
    noise, told = random.derive(6, "noise"), []
    for _ in range(150):
        loss = objective.loss("denoiser", batch, noise)
        optimiser.zero_grad()
        loss.each.mean().backward()
        optimiser.step()
        told.append(float(loss.parts["translation"].mean()))
    move = sum(told[-50:]) / 50
    assert move < 0.6


def test_atoms_are_told_as_their_middle_is(items):
    """The mean over atoms of what is told of them is what is told of the middle; truth costs 0."""
    training = built(items)
    process, denoiser = training.model.process, training.model.denoiser
    x0 = items.batch(range(3)).x
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    x, _ = process.draw(x0, t, random.derive(4, "draw"))
    q = denoiser(x, t)["translation"]
    atoms = q.atoms
    total = torch.zeros(3, 3).index_add(0, atoms.owner, atoms.data) / atoms.counts[:, None]
    torch.testing.assert_close(total, q.mean, rtol=0, atol=1e-4)
    assert float(q.atoms_loss(atoms).detach().abs().max()) == 0
    part = process.part("translation")
    sigma = part.sigma(t)
    gain = sigma * denoiser.spread / (sigma**2 + denoiser.spread**2).sqrt()
    moved = Ragged(atoms.data + gain.to(atoms.data)[atoms.owner, None], atoms.owner, 3)
    torch.testing.assert_close(q.atoms_loss(moved).detach().double(), torch.ones(3).double(),
                               rtol=1e-4, atol=1e-4)  # fmt: skip


def test_latents_pick_by_the_softmax():
    """Frequencies of 20,000 draws; five standard errors, 7 classes: 5e-6."""
    n, logits = 20000, torch.tensor([0.3, -1.0, 2.0, 0.0, 0.7, 0.7, -0.5])
    rows = Ragged(logits.repeat(n)[:, None], torch.arange(n).repeat_interleave(7), n)
    soft, hard = softened(rows, 0.7, random.derive(1, "pick"))
    share = hard[:, 0].reshape(n, 7).mean(0)
    want = logits.softmax(0)
    assert bool(((share - want).abs() < 5 * (want * (1 - want) / n).sqrt()).all())
    assert torch.allclose(soft[:, 0].reshape(n, 7).sum(1), torch.ones(n), atol=1e-5)
    tied = Ragged(torch.tensor([[1.0, 0.0], [1.0, 2.0], [0.0, 2.0]]), torch.tensor([0, 0, 1]), 2)
    assert picked(tied).tolist() == [[1, 0], [0, 1], [1, 1]]
    assert float(entropy(Ragged(torch.zeros(6, 1), torch.tensor([0] * 3 + [1] * 3), 2))) == (
        pytest.approx(1.0)
    )


def test_latents_learn_and_their_model_is_a_law(items):
    process = built(items, latents=2).model.process
    latents, x = process.latents, items.batch(range(3)).x
    assert isinstance(latents, Latents)
    chosen = latents.choose(x, random.derive(3, "choose"))
    total = torch.zeros(3, 2).index_add(0, chosen.owner, chosen.data.detach())
    assert set(total.flatten().tolist()) <= {0.0, 1.0}
    (chosen.data * torch.arange(len(chosen.data))[:, None]).sum().backward()
    assert all(bool((p.grad != 0).any()) for p in list(latents.encoder.parameters())[-2:])
    # the nats of all choices of the first latent, of one item, are those of a law
    sizes, one = chosen.counts.tolist(), torch.zeros_like(chosen.data)
    likely = []
    for atom in range(sizes[0]):
        hard = one.clone()
        hard[atom, 0] = 1.0
        likely.append(float((-latents.loss(x["complex"], Ragged(hard, chosen.owner, 3))).exp()[0]))
    assert sum(likely) == pytest.approx(1.0, abs=1e-5)
    guess = latents.guess(x["complex"], random.derive(4, "guess"))
    assert torch.zeros(3, 2).index_add(0, guess.owner, guess.data).eq(1).all()
    latents.cool(1.0)
    assert float(latents.temperature) == pytest.approx(0.3)


def test_a_cut_molecule_is_all_there(complexes):
    for smiles, one in zip(SMILES, complexes, strict=True):
        whole = molecule(smiles)
        assert len(one.ligand) + len(one.receptor) == len(whole)
        assert chem.sanitised(one.ligand, explicit=False) is not None
        assert 5 <= len(one.ligand) <= 14 and len(one.receptor) >= 8
    assert data.cut(molecule("c1ccccc1")) is None


def test_features_are_those_of_rdkit():
    made = Chem.MolFromSmiles("CC(=O)Nc1ccccc1[O-]")
    assert chemistry.features(made).tolist() == [
        [1, 3, 4, 0, 0], [3, 0, 4, 0, 0], [1, 0, 2, 0, 0], [2, 1, 3, 0, 0], [3, 0, 4, 1, 1],
        *[[2, 1, 4, 1, 1]] * 4, [3, 0, 4, 1, 1], [1, 0, 1, 0, 0],
    ]  # fmt: skip


def test_only_the_atoms_of_the_cut_bond_have_a_free_valence(complexes):
    """Hydrogens are those of the whole molecule; the bond that was cut counts for none."""
    normal = Chem.GetPeriodicTable().GetDefaultValence
    for one in complexes:
        inside = len(one.ligand)
        numbers = np.concatenate((one.ligand.elements, one.receptor)).tolist()
        free = np.array([normal(n) for n in numbers]) - one.features[:, 2]
        u, v = np.flatnonzero(free)
        assert free[[u, v]].tolist() == [1, 1] and u < inside <= v
        gap = one.ligand.positions[u] - one.places[v - inside]
        assert 1.2 < np.linalg.norm(gap) < 1.9
        bonds = np.bincount(one.ligand.bonds[:, :2].ravel(), minlength=inside)
        assert one.features[:inside, 0].tolist() == bonds.tolist()


def test_residues_tell_the_features_of_a_receptor(tmp_path):
    """Alanine, twice: an amide, a free acid; a residue that nobody knows; no bonds, no features."""
    from biotite.structure.info import residue

    lines = []
    for number, (name, left) in enumerate((("ALA", {"OXT"}), ("ALA", set()), ("QQQ", set())), 1):
        for i, atom in enumerate(residue("ALA")):
            if atom.element != "H" and atom.atom_name not in left:
                x, y, z = np.array([3.0 * number, 0.2 * number, 0]) + atom.coord
                lines.append(
                    f"ATOM  {10 * number + i:5d}  {atom.atom_name:<3s} {name} A{number:4d}    "
                    f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00          {atom.element:>2s}"
                )
    (tmp_path / "r.pdb").write_text("\n".join([*lines, "END", ""]))
    found = data.receptor_of(tmp_path / "r.pdb").features.tolist()
    alpha, methyl, oxygen = [3, 1, 4, 0, 0], [1, 3, 4, 0, 0], [1, 0, 2, 0, 0]
    assert found[:5] == [[1, 2, 3, 0, 0], alpha, [3, 0, 4, 0, 0], oxygen, methyl]
    assert found[5:11] == [
        [2, 1, 3, 0, 0], alpha, [3, 0, 4, 0, 0], oxygen, methyl, [1, 1, 2, 0, 0]
    ]  # fmt: skip
    assert found[11:] == chemistry.unknown(6).tolist()


def test_the_network_sees_features(items):
    """CH3 and CH2 stand alike; where nothing is known, the one-hot numbers are 0."""
    net = built(items).model.denoiser.net
    x = noisy(items.batch(range(3)).x)
    told, places, clock = x["complex"], pose.posed(x), torch.zeros(3)
    rows = told["features"].data
    assert torch.equal(_hot(rows).sum(1), torch.full((len(rows),), 5))
    assert not _hot(torch.full_like(rows, -1)).any()
    other = rows.clone()
    other[0, 1] = 3 - other[0, 1]
    changed = Fields({**told, "features": Ragged(other, told["features"].owner, 3)})
    with torch.inference_mode():
        a, b = (net(t, places, clock) for t in (told, changed))
    assert float((a.move[0] - b.move[0]).abs().max()) > 1e-3
    assert torch.equal(a.move[1:], b.move[1:])


def test_weights_over_an_item_sum_to_one():
    rows = Ragged(
        torch.tensor([[1e3, 0.0], [999.0, -5.0], [-1e3, 2.0]]), torch.tensor([0, 0, 1]), 2
    )
    p = log_softmax(rows).exp()
    want = [torch.tensor([1e3, 999.0]).softmax(0), torch.tensor([0.0, -5.0]).softmax(0)]
    assert torch.allclose(p[:2], torch.stack(want, 1)) and p[2].tolist() == [1, 1]


def test_examples_are_the_data(items):
    process = built(items, latents=2).model.process
    made = process.examples.blank(5, random.derive(1, "blank"))
    assert made["complex"]["places"].items == 5
    known = items.batch(range(3)).x["complex"]["origin"]
    assert all(bool((known == row).all(1).any()) for row in made["complex"]["origin"])
    assert float((pose.posed(made).data - made["complex"]["places"].data).abs().max()) < 1e-5
    assert parts_of(items.complexes[0], items.about).keys() <= set(made["complex"]) | {"origin"}
    assert joined([parts_of(items.complexes[0], items.about)])["translation"].shape == (1, 3)


def protein(path, places, water=True):
    lines = [
        f"ATOM  {i:5d}  {e:<3s} GLY A{i:4d}    {x:8.3f}{y:8.3f}{z:8.3f}"
        f"  1.00  0.00          {e:>2s}"
        for i, (e, (x, y, z)) in enumerate(places, start=1)
    ]
    if water:
        lines.append(lines[0].replace("GLY", "HOH").replace("ATOM  ", "HETATM"))
    path.write_text("\n".join([*lines, "END", ""]))


def folder_of(path, name, far=0.0):
    """A complex in a folder, as PDBBind has it."""
    ligand = molecule("CCOc1ccccc1", seed=5)
    (path / name).mkdir(parents=True)
    block = Chem.MolToMolBlock(chem.to_rdkit(ligand, explicit=False))
    (path / name / f"{name}_ligand.sdf").write_text(f"{block}$$$$\n")
    (path / name / f"{name}_ligand.mol2").write_text("not read\n")
    at = ligand.positions.mean(0) + far
    around = [("C", at + (4.0, 0, i)) for i in range(5)] + [("N", at + (0, 40.0, 0)), ("H", at)]
    protein(path / name / f"{name}_protein.pdb", around)
    (path / name / f"{name}_pocket.pdb").write_text("not read\n")
    return ligand


def test_folders_of_complexes(tmp_path):
    ligand = folder_of(tmp_path, "1abc")
    folder_of(tmp_path, "2xyz")
    found = domain.read(tmp_path)
    assert [one.name for one in found.complexes] == ["1abc", "2xyz"]
    one = found.complexes[0]
    assert len(one.ligand) == len(ligand) and one.receptor.tolist() == [6] * 5
    assert np.abs(one.ligand.positions - ligand.positions).max() < 1e-3
    assert found.about["elements"] == ["C", "O"]
    near = domain.follow(tmp_path / "1abc", found.about, pocket=60.0)
    assert len(near.complexes[0].receptor) == 6
    assert int(near.batch([0]).x["complex"]["kinds"].data.max()) == 2  # nitrogen is no known one


def test_what_cannot_be_docked_is_said(tmp_path, complexes):
    with pytest.raises(InputError, match="holds no complexes"):
        domain.read(tmp_path)
    with pytest.raises(InputError, match="is no folder of complexes"):
        domain.read(tmp_path / "nothing")
    folder_of(tmp_path, "far", far=30.0)
    with pytest.raises(InputError, match="one frame"):
        domain.read(tmp_path)
    receptor, ligand = (tmp_path / "far" / f"far_{n}" for n in ("protein.pdb", "ligand.sdf"))
    two = tmp_path / "two.sdf"
    two.write_text(ligand.read_text() * 2)
    with pytest.raises(InputError, match="2 molecules"):
        data.pocket_of(receptor, two)
    flat = tmp_path / "flat.smi"
    flat.write_text("CCO\n")
    with pytest.raises(InputError, match="no places"):
        data.pocket_of(receptor, flat)
    bad = tmp_path / "bad.pdb"
    bad.write_text("ATOM      1  N   GLY A   1      xx\n")
    with pytest.raises(InputError, match=r"bad\.pdb"):
        data.receptor_of(bad)
    with pytest.raises(InputError, match="cannot be read"):
        data.receptor_of(tmp_path / "none.pdb")
    with pytest.raises(InputError, match="at most 600"):
        Complex(
            complexes[0].ligand,
            np.full(601, 6, np.uint8),
            np.zeros((601, 3), np.float32),
            chemistry.unknown(601 + len(complexes[0].ligand)),
        )
    with pytest.raises(InputError, match="features have the shape"):
        replace(complexes[0], features=chemistry.unknown(3))


def test_a_ligand_without_places_gets_them_at_the_centre(tmp_path):
    places = [("C", (float(i), 5.0, 0.0)) for i in range(4)]
    protein(tmp_path / "r.pdb", places)
    (tmp_path / "l.smi").write_text("CCOC(=O)c1ccccc1\n")
    one = data.pocket(tmp_path / "r.pdb", tmp_path / "l.smi", (1.0, 5.0, 2.0), radius=6.0)
    assert one.ligand.positions.mean(0) == pytest.approx([1.0, 5.0, 2.0], abs=1e-4)
    assert len(one.receptor) == 4


def test_distances_know_symmetries():
    ring = molecule("c1ccccc1")
    orders = metrics.symmetries(ring)
    assert len(orders) == 12 and orders[0].tolist() == list(range(6))
    normal = np.linalg.svd(ring.positions - ring.positions.mean(0))[2][2]
    turn = rotation(torch.tensor(normal * math.pi / 3).double()).numpy()
    places = (ring.positions - ring.positions.mean(0)) @ turn.T + ring.positions.mean(0)
    assert metrics.rmsds(places[None], ring.positions, orders)[0] < 0.05
    assert metrics.rmsds(places[None], ring.positions, orders[:1])[0] > 1
    moved = ring.positions + np.array([3.0, 0, 0])
    assert metrics.rmsds(moved[None], ring.positions, orders[:1])[0] == pytest.approx(3.0)
    agree = metrics.agreement(np.stack([ring.positions, places, ring.positions + 50]), orders)
    assert agree[2] < 1e-6 and agree[0] == pytest.approx(0.5, abs=1e-3)
    assert len(metrics.symmetries(molecule("OC(=O)CC"))) == 2  # both oxygens of the acid


def test_poses_are_judged_against_the_truth(complexes, items):
    one = complexes[0]
    true = metrics.judge(
        one.ligand, one.ligand, one.receptor, one.places, metrics.symmetries(one.ligand)
    )
    assert true.rmsd == 0 and true.centroid == 0 and true.sane
    at = one.places.mean(0) - one.ligand.positions.mean(0)
    inside = replace(one.ligand, positions=one.ligand.positions + at)  # amid the receptor
    orders = metrics.symmetries(one.ligand)
    bad = metrics.judge(inside, one.ligand, one.receptor, one.places, orders)
    assert not bad.sane and bad.centroid == pytest.approx(float(np.linalg.norm(at)), abs=1e-4)
    (metric,) = domain.metrics(items)
    batch = items.batch(range(3))
    score = metric.between(metric.summary(batch), metric.summary(batch))
    assert score.value == 1 and score.parts["sane"] == 1 and score.parts["median RMSD"] < 1e-4


def test_from_recipe_to_ranked_poses(tmp_path, items, capsys):
    folder_of(tmp_path / "in", "1abc")
    words = ["train", "molecules/docking", "--data", str(tmp_path / "in"), "--out",
             str(tmp_path / "run"), "width=16", "depth=2", "steps=2", "batch=1",
             "sampling_steps=3", "held=0"]  # fmt: skip
    got = CliRunner().invoke(application(), words)
    assert got.exit_code == 0, got.output
    out = tmp_path / "poses.sdf"
    receptor, ligand = (tmp_path / "in/1abc" / f"1abc_{n}" for n in ("protein.pdb", "ligand.sdf"))
    commands.dock(tmp_path / "run", receptor, ligand, out, n=4)
    made = files.read(out).molecules
    assert [m.properties["rank"] for m in made] == [1, 2, 3, 4]
    agree = [m.properties["agreement"] for m in made]
    assert agree == sorted(agree, reverse=True)
    true = data.ligand_of(ligand)
    assert all((m.bonds == true.bonds).all() for m in made)
    commands.dock(tmp_path / "run", data=tmp_path / "in", n=2)
    assert "top-5" in capsys.readouterr().out
    opened = open_run(tmp_path / "run")
    one = data.pocket_of(receptor, ligand)
    few, more = (docking.dock(opened, opened.about, one, n) for n in (2, 4))
    places = [m.positions for m in more]
    assert all(min(np.abs(m.positions - p).max() for p in places) < 1e-4 for m in few)
    with pytest.raises(InputError, match="exists already"):
        commands.dock(tmp_path / "run", receptor, ligand, out)
    with pytest.raises(InputError, match="--receptor, --ligand and --out"):
        commands.dock(tmp_path / "run", receptor)
    with pytest.raises(InputError, match="three numbers"):
        commands.dock(tmp_path / "run", receptor, ligand, tmp_path / "b.sdf", centre="1,2")


def test_torsions_of_a_ligand():
    axes, moves = torsions(molecule("CCCCc1ccccc1"))
    assert len(axes) == 3
    for bit, (_, v) in enumerate(axes.tolist()):
        assert (moves[v] >> bit) & 1 and ((moves >> bit) & 1).sum() <= 5
    assert len(torsions(molecule("c1ccccc1"))[0]) == 0
    x = state_of([data.cut(molecule(SMILES[0]))], {"elements": ["C"]})
    assert int(x["complex"]["atoms"].data[:, 0].max()) == 1
    with pytest.raises(InputError, match="not trained on"):
        ligands_of(x, x["complex"]["places"].data, {"elements": []})
