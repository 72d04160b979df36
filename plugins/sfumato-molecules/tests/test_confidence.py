"""The confidence of poses: its network, labels, data that do not leak, and ranks by it."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from torch import nn

from sfumato import Batch, Fields, InputError, Ragged, random, state
from sfumato_cli import runs, sampling
from sfumato_methods.manifolds import rotation
from sfumato_molecules import chem, files, writing
from sfumato_molecules.docking import commands, data, docking, drawn, metrics
from sfumato_molecules.docking.complexes import state_of
from sfumato_molecules.docking.confidence import (
    ConfidenceNetwork,
    ConfidenceObjective,
    confidences,
    judge_of,
)
from sfumato_molecules.docking.pose import posed
from sfumato_molecules.docking.recipes import Confidence
from sfumato_molecules.molecule import checked
from sfumato_train import open_run, parse_words, start
from sfumato_train.linked import CodecOf, digest
from sfumato_train.runs import fresh

SMILES = (
    "CCOc1ccccc1CCNC(=O)CC1CCCCC1", "OC(=O)CCc1ccc(OCc2ccncc2)cc1", "CC(C)CC(N)C(=O)NCCSCC",
    "c1ccccc1CCNC(=O)CCc1ccccc1", "CC(=O)OCCCCN1CCOCC1", "Fc1ccc(CCOC(=O)C2CCCC2)cc1",
    "NC(=O)CCCC(=O)Oc1ccccc1", "CCSCCC(=O)NCCc1ccncc1",
)  # fmt: skip


def cut(smiles):
    made = Chem.AddHs(Chem.MolFromSmiles(smiles))
    assert rdDistGeom.EmbedMolecule(made, randomSeed=3) == 0
    found = data.cut(chem.from_rdkit(made, source=smiles, properties={"id": smiles}))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def complexes():
    return [cut(smiles) for smiles in SMILES]


@pytest.fixture(scope="module")
def home(tmp_path_factory, complexes):
    """A folder with complexes, a run that docks them and one that judges the poses."""
    home = tmp_path_factory.mktemp("docking")
    for i, one in enumerate(complexes):
        folder = home / "data" / f"{i}abc"
        folder.mkdir(parents=True)
        writing.write([one.ligand], folder / "ligand.sdf", explicit=False)
        writing.write([checked(one.receptor, one.places)], folder / "receptor.pdb")
    small = ["width=8", "depth=1", "steps=2", "batch=2", "warmup=1"]
    start("molecules/docking", [*small, "sampling_steps=2", "held=0.4", "seed=3"],
          home / "data", home / "dock")  # fmt: skip
    start("molecules/confidence", words(home, *small), home / "data", home / "sure")
    return home


def words(home, *more):
    return [f"docking={home / 'dock'}", "draws=3", "seed=1", *more]


def network(elements=5, seed=5, **fields):
    net = ConfidenceNetwork(elements, **{"width": 16, "depth": 2, "radius": 7.0, **fields})
    g = random.derive(seed, "weights")
    with torch.no_grad():  # a fresh network tells of all poses the same
        for p in net.parameters():
            p.copy_(0.3 * random.normal(p, g))
    return net


def at(x, seed=1, size=1.0):
    """The state at another pose, its torsions turned."""
    g, turns = random.derive(seed, "pose"), x["torsions"]
    turned = Ragged(2 * size * random.normal(turns.data, g), turns.owner, turns.items)
    return Fields({
        **x, "translation": x["translation"] + size * random.normal(x["translation"], g),
        "rotation": rotation(size * random.normal(x["translation"], g)), "torsions": turned,
    })  # fmt: skip


def logits(net, x):
    with torch.inference_mode():
        return net(x)


@pytest.mark.parametrize("mirrored", [False, True], ids=["turned", "mirrored"])
def test_the_logit_does_not_change_with_the_frame(complexes, mirrored):
    items = data.dataset(complexes)
    net, x = network(len(items.about["elements"])), at(items.batch(range(8)).x)
    turn = rotation(torch.tensor([0.4, -1.3, 0.8]))
    turn = -turn if mirrored else turn
    shift = torch.tensor([3.0, -5.0, 2.0])
    told = x["complex"]
    receptor = told["receptor"]
    moved = Ragged(receptor.data @ turn.T + shift, receptor.owner, receptor.items)
    given = told["places"]
    ligand = Ragged(given.data @ turn.T, given.owner, given.items)
    sign = -1.0 if mirrored else 1.0  # the places carry the mirror, the rotation stays one
    other = Fields({
        **x, "translation": x["translation"] @ turn.T + shift,
        "rotation": turn @ x["rotation"] @ turn.T,
        "torsions": Ragged(sign * x["torsions"].data, x["torsions"].owner, 8),
        "complex": Fields({**told, "receptor": moved, "places": ligand}),
    })  # fmt: skip
    assert float((posed(other).data - posed(x).data @ turn.T - shift).abs().max()) < 1e-4
    a, b = logits(net, x), logits(net, other)
    assert float(a.std()) > 1e-2
    assert float((a - b).abs().max()) < 1e-5 * max(1.0, float(a.abs().max()))
    assert float((a - logits(net, at(x, 2))).abs().min()) > 1e-5  # but with the pose it does


def test_the_logit_does_not_change_with_the_order_of_atoms(complexes):
    items = data.dataset(complexes)
    net = network(len(items.about["elements"]))
    for seed, one in enumerate(complexes):
        n, m = len(one.ligand), len(one.receptor)
        p, q = (random.permutation(k, random.derive(seed, k)).numpy() for k in (n, m))
        back = np.argsort(p)
        bonds = one.ligand.bonds.copy()
        bonds[:, :2] = back[bonds[:, :2]]
        ligand = checked(one.ligand.elements[p], one.ligand.positions[p], one.ligand.charges[p],
                         bonds, {}, "other", "file")  # fmt: skip
        other = replace(one, ligand=ligand, receptor=one.receptor[q], places=one.places[q],
                        features=one.features[np.concatenate((p, n + q))])  # fmt: skip
        g = random.derive(seed, "pose")
        move, turn = (random.normal(torch.empty(1, 3), g) for _ in range(2))
        found = []
        for made in (one, other):
            x = state_of([made], items.about)
            found.append(logits(net, Fields({**x, "translation": x["translation"] + move,
                                             "rotation": rotation(turn)})))  # fmt: skip
        assert float((found[0] - found[1]).abs()) < 1e-5 * max(1.0, float(found[0].abs()))


def test_a_batch_tells_what_its_poses_tell_alone(complexes):
    """Of each the sigmoid of its logit, in float64."""
    items = data.dataset(complexes)
    net, x = network(len(items.about["elements"])), at(items.batch(list(range(8)) * 5).x)
    sure = confidences(net, x)
    assert sure.shape == (40,) and sure.dtype == np.float64
    for i in (0, 17, 39):
        alone = float(logits(net, state.select(x, torch.tensor([i]))))
        assert sure[i] == pytest.approx(1 / (1 + math.exp(-alone)), abs=1e-5)


class Said(nn.Module):
    """Logits that are the state itself."""

    def forward(self, x):
        return x


def test_the_loss_is_the_cross_entropy():
    objective = ConfidenceObjective(Said())
    batch = Batch(torch.tensor([0.3, -2.0, 1.5]), {"near": torch.tensor([1.0, 0.0, 0.0])})
    loss = objective.loss("confidence", batch, random.derive(0, "loss"))
    want = [math.log1p(math.exp(-0.3)), math.log1p(math.exp(-2.0)), math.log1p(math.exp(1.5))]
    assert loss.each.tolist() == pytest.approx(want, rel=1e-6)
    assert loss.parts["right"].tolist() == [1, 1, 0]


def test_labels_know_symmetries(place):
    """A ring turned by a sixth is where it was; one moved by 2.1 angstrom is not near."""
    made = chem.from_rdkit(Chem.RemoveAllHs(chem.to_rdkit(place("c1ccccc1"))))
    own = np.full((1, 3), 6.0, np.float32)
    told = np.full((len(made) + 1, 5), -1, np.int64)
    one = data.dataset([data.Complex(made, np.array([6], np.uint8), own, told)])
    like = one.batch([0]).x
    given = like["complex"]["places"].data
    poses = [given, given.roll(1, 0), given.flip(0), given + torch.tensor([1.9, 0, 0]),
             given + torch.tensor([0, 2.1, 0])]  # fmt: skip
    every = torch.zeros(5, dtype=torch.long)
    rows = Ragged(torch.cat(poses), every.new_tensor(range(5)).repeat_interleave(len(made)), 5)
    far = drawn._distances(like, rows, 5, one.about)
    assert far.tolist() == pytest.approx([0, 0, 0, 1.9, 2.1], abs=1e-4)
    assert float((given - poses[1]).square().sum(1).mean().sqrt()) > 1.3
    kept = state.select(like, every)
    found = drawn.Drawn(one, 5, Fields({name: kept[name] for name in drawn.PARTS}), far)
    assert found.batch([4, 0, 3]).condition["near"].tolist() == [0, 1, 1]


def test_what_is_held_out_of_docking_is_held_out_here(home):
    dock, sure = open_run(home / "dock"), open_run(home / "sure")
    assert (dock.recipe.seed, sure.recipe.seed) == (3, 1)
    learned, held = (set(part.keys()) for part in dock.data())
    poses, apart = sure.data()
    assert len(held) >= 2 and len(learned) >= 2
    assert set(poses.keys()) == learned and set(apart.keys()) == held
    assert len(poses) == 3 * len(learned) and len(apart) == 3 * len(held)
    names = poses.batch(range(len(poses))).about["name"]
    assert set(names) == learned and names == sorted(names)


def test_the_poses_are_those_that_the_run_draws(home):
    """Each drawn pose's distance is the RMSD to where the ligand of the file is."""
    _, apart = open_run(home / "sure").data()
    batch = apart.batch(range(len(apart)))
    places, names = posed(batch.x), batch.about["name"]
    about, source = apart.about, apart.source.source
    ligands = docking.ligands_of(batch.x, places.data, about)
    for i, (made, name) in enumerate(zip(ligands, names, strict=True)):
        true = data.ligand_of(home / "data" / name / "ligand.sdf")
        far = metrics.rmsds(made.positions[None], true.positions, metrics.symmetries(true))[0]
        assert far == pytest.approx(float(source.rmsd[apart.index[i]]), abs=2e-3)
        assert far > 1e-2
    assert len(torch.unique(source.rmsd)) == len(source)


def test_held_out_poses_are_shown_with_what_is_told_of_them(home):
    run = open_run(home / "sure")
    assert [path.name for path in (run.path / "previews").iterdir()] == ["step-000002.png"]
    net, apart = run.trained(), run.data()[1]
    batch = apart.batch(range(len(apart)))
    near = ["near" if hit else "far" for hit in batch.condition["near"].tolist()]
    told = zip(confidences(net, batch.x), near, strict=True)
    assert net.shown(batch).about["title"] == [f"{p:.2f}, {word}" for p, word in told]


def test_poses_are_drawn_once_and_by_seed_alone(home, monkeypatch):
    run = open_run(home / "sure")
    (path,) = (home / "dock" / "poses").glob("*-3-1.safetensors")
    first = path.read_bytes()
    path.unlink()
    run.data()
    assert path.read_bytes() == first
    other = run.recipe.model_copy(update={"seed": 2})
    moved = other.prepared(run.domain.read(home / "data"))
    assert float((moved.rmsd - run.data()[0].source.source.rmsd).abs().min()) > 1e-4
    monkeypatch.setattr(drawn, "drawn", None)
    run.data()


def test_a_run_goes_on_with_the_same_poses_to_the_same_bits(home, tmp_path):
    small = words(home, "width=8", "depth=1", "batch=2", "warmup=1", "steps=4", "save=2")
    ends = []
    for name, minutes in (("whole", None), ("parted", 1e-9)):
        out = tmp_path / name
        start("molecules/confidence", small, home / "data", out, minutes=minutes)
        start("molecules/confidence", small, home / "data", out, resume=True)
        ends.append(digest(open_run(out).trained()))
        assert open_run(out).checkpoints()[-1].step == 4
    assert ends[0] == ends[1]
    assert math.isfinite(open_run(tmp_path / "whole").checkpoints()[-1].held_loss)


def test_poses_are_ranked_by_their_confidence(home, tmp_path, capsys, complexes):
    receptor, ligand = (home / "data/0abc" / name for name in ("receptor.pdb", "ligand.sdf"))
    by = {}
    for name, sure in (("plain", None), ("sure", home / "sure")):
        out = tmp_path / f"{name}.sdf"
        commands.dock(home / "dock", receptor, ligand, out, n=6, confidence=sure)
        by[name] = files.read(out).molecules
    sure = [m.properties["confidence"] for m in by["sure"]]
    assert sure == sorted(sure, reverse=True) and all(0 < p < 1 for p in sure)
    assert [m.properties["rank"] for m in by["sure"]] == [1, 2, 3, 4, 5, 6]
    assert all("confidence" not in m.properties for m in by["plain"])
    ends = [sorted(m.positions.sum().item() for m in found) for found in by.values()]
    assert ends[0] == pytest.approx(ends[1], abs=1e-3)  # the same poses
    agree = {round(m.positions.sum().item(), 2): m.properties["agreement"] for m in by["plain"]}
    for m in by["sure"]:
        assert m.properties["agreement"] == agree[round(m.positions.sum().item(), 2)]
    capsys.readouterr()
    commands.dock(home / "dock", data=home / "data", n=2, confidence=home / "sure")
    told = capsys.readouterr().out
    assert "ranked by confidence" in told and "AUROC" in told and "top-5" in told
    commands.dock(home / "dock", data=home / "data", n=2)
    assert "confidence" not in capsys.readouterr().out


def test_ways_to_choose_a_pose(complexes):
    """Two ligands of four poses, at the truth or 9 angstrom off."""

    def poses(one, near, agreement, confidence):
        return [
            replace(one.ligand, positions=one.ligand.positions + (0 if hit else 9),
                    properties={"agreement": a, "confidence": c})
            for hit, a, c in zip(near, agreement, confidence, strict=True)
        ]  # fmt: skip

    found = docking.rankings(complexes[:2], [
        poses(complexes[0], (1, 0, 0, 0), (0.5, 0.5, 0.1, 0.0), (0.9, 0.2, 0.3, 0.4)),
        poses(complexes[1], (0, 0, 1, 0), (0.9, 0.5, 0.1, 0.0), (0.1, 0.2, 0.3, 0.4)),
    ])  # fmt: skip
    want = {"by chance": 0.25, "by agreement": 0.25, "by confidence": 0.5, "best": 1.0,
            "AUROC": (6 + 3 + 0.5) / 12}  # fmt: skip
    assert found == pytest.approx(want)


def test_the_area_under_the_curve():
    """By its definition over all pairs; ties count half; without both kinds there is none."""
    g = random.derive(7, "auroc")
    score = random.integers(0, 12, (200,), g).numpy() / 4
    hit = random.uniform((200,), g).numpy() < 0.3
    a, b = score[hit][:, None], score[~hit]
    assert metrics.auroc(score, hit) == pytest.approx(((a > b) + 0.5 * (a == b)).mean())
    assert metrics.auroc(np.array([1.0, 2.0]), np.array([False, True])) == 1
    assert math.isnan(metrics.auroc(score, np.zeros(200, bool)))


def test_the_network_learns_which_poses_are_near(complexes):
    """200 steps on poses near and far of eight ligands; other poses of these are told apart."""
    items = data.dataset(complexes)
    x = items.batch(list(range(8)) * 2).x
    near = torch.tensor([1.0] * 8 + [0.0] * 8)
    recipe = Confidence(width=16, depth=2)

    def shaken(seed):
        small, large = at(x, seed, 0.1), at(x, seed, 2.0)
        return Fields({
            **x, **{name: torch.where(near.view(-1, *[1] * (small[name].dim() - 1)) > 0,
                                      small[name], large[name])
                    for name in ("translation", "rotation")},
        })  # fmt: skip

    training = fresh(100, lambda: recipe.build(items))
    objective, net = training.objective, training.model
    optimiser = torch.optim.AdamW(net.parameters(), lr=4e-3)
    for step in range(200):
        loss = objective.loss("confidence", Batch(shaken(step), {"near": near}),
                              random.derive(0, "unused"))  # fmt: skip
        optimiser.zero_grad()
        loss.each.mean().backward()
        optimiser.step()
    sure = np.concatenate([confidences(net, shaken(1000 + k)) for k in range(5)])
    assert metrics.auroc(sure, near.repeat(5).numpy() > 0) > 0.9


def test_what_does_not_fit_is_said(home, tmp_path):
    sure, dock = open_run(home / "sure"), open_run(home / "dock")
    for wrong in (lambda: sure.model(), lambda: sampling.sample(home / "sure"),
                  lambda: runs.evaluate(home / "sure"),
                  lambda: commands.dock(home / "sure", data=home / "data", n=1)):  # fmt: skip
        with pytest.raises(InputError, match="molecules/confidence, which draws no samples"):
            wrong()
    with pytest.raises(InputError, match="no codec"):
        CodecOf.of(home / "sure")
    with pytest.raises(InputError, match="draws no samples"):
        parse_words(Confidence, [f"docking={home / 'sure'}"])
    with pytest.raises(InputError, match="tells no confidence"):
        judge_of(home / "dock", dock)
    with pytest.raises(InputError, match="give docking=RUN"):
        start("molecules/confidence", (), home / "data", tmp_path / "none")
    with pytest.raises(InputError, match=r"held=0\.2: what the run .* held out is held out"):
        parse_words(Confidence, words(home, "held=0.2"))
    with pytest.raises(InputError, match=r"nowhere is not a folder; give the folder of a run$"):
        parse_words(Confidence, ["docking=nowhere"])
    few = tmp_path / "few"
    few.mkdir()
    (few / "0abc").symlink_to(home / "data" / "0abc")
    with pytest.raises(InputError, match=f"not the complexes .* give --data {home / 'data'}"):
        start("molecules/confidence", words(home), few, tmp_path / "other")
    assert not (tmp_path / "other").exists() and not (tmp_path / "none").exists()
    start("molecules/docking", ["width=8", "depth=1", "steps=1", "batch=1", "held=0"], few,
          tmp_path / "dock")  # fmt: skip
    with pytest.raises(InputError, match=f"docking={tmp_path / 'dock'}"):
        judge_of(home / "sure", open_run(tmp_path / "dock"))


def test_damaged_poses_and_changed_runs_are_told(home, tmp_path):
    shutil.copytree(home, tmp_path / "home")
    home = tmp_path / "home"
    small = words(home, "width=8", "depth=1", "steps=1", "batch=2")
    start("molecules/confidence", small, home / "data", home / "again")
    (path,) = (home / "dock" / "poses").glob("*-3-1.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="is damaged"):
        open_run(home / "again").data()
    path.write_bytes(whole)
    source = data.read(home / "data")
    with pytest.raises(InputError, match="does not hold 2 poses of each of 8"):
        drawn.load(path, source, 2)
    path.unlink()
    Path(home / "dock").rename(home / "gone")
    with pytest.raises(InputError, match="gone"):
        open_run(home / "again").data()
