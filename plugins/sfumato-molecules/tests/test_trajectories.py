"""Trajectories: simulated systems, files, measures, and a run from data to forecasts."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sfumato import Fields, InputError
from sfumato.survey import Trial
from sfumato_cli.main import application
from sfumato_data import keys_of, spans_of, split
from sfumato_molecules.systems.geotdm import system
from sfumato_molecules.trajectories import files, nbody
from sfumato_molecules.trajectories.data import Track, constant_velocity, tracks_of
from sfumato_molecules.trajectories.domain import domain
from sfumato_molecules.trajectories.metrics import displacements, fidelity, moves
from sfumato_molecules.trajectories.recipes import Trajectories
from sfumato_train import draw, open_run
from sfumato_train.runs import read


def energy(kind, places, speeds, kinds):
    gap = places[:, None] - places[None]
    square = np.square(gap).sum(-1)
    upper = np.triu_indices(len(places), 1)
    soft = np.sqrt(square + nbody.SOFTENING**2)[upper]
    both = (kinds[:, None] * kinds)[upper]
    motion = np.square(speeds).sum(-1)
    if kind == "charged":
        return 0.5 * motion.sum() + (both / soft).sum()
    if kind == "gravity":
        return 0.5 * (kinds * motion).sum() - (both / soft).sum()
    return 0.5 * motion.sum() + 0.25 * square[upper].sum()


@pytest.mark.parametrize("kind", nbody.KINDS)
def test_energy_and_momentum_are_kept(kind, monkeypatch):
    monkeypatch.setattr(nbody, "EVERY", 1)  # every step is a frame
    (track,) = nbody.simulate(kind, 1, seed=3, frames=400)
    places = track.places.astype(np.float64)
    kinds = track.kinds[:, 0].astype(np.float64)
    speeds = (places[:, 2:] - places[:, :-2]) / (2 * nbody.STEP)
    found = [
        energy(kind, places[:, f + 1], speeds[:, f], kinds) for f in range(0, speeds.shape[1], 40)
    ]
    assert np.ptp(found) < 2e-3 * (1 + abs(found[0]))  # places are single precision
    mass = kinds if kind == "gravity" else np.ones_like(kinds)
    pushed = (mass[:, None, None] * speeds).sum(0)
    assert np.abs(pushed - pushed[:1]).max() < 2e-2


def test_forces_are_the_slopes_of_the_energy():
    generator = np.random.default_rng(0)
    places, kinds = generator.normal(size=(4, 3)), generator.uniform(0.5, 1.5, size=4)
    still = np.zeros_like(places)
    for kind, (_, _, _, force) in nbody.KINDS.items():
        own = np.ones(4) if kind == "spring" else kinds
        found = force(places[None], own[None])[0]
        mass = own if kind == "gravity" else np.ones(4)
        for i in range(4):
            for d in range(3):
                step = np.zeros_like(places)
                step[i, d] = 1e-5
                up, down = (energy(kind, places + s * step, still, own) for s in (1, -1))
                assert found[i, d] * mass[i] == pytest.approx(-(up - down) / 2e-5, abs=1e-6)


def test_each_system_is_a_function_of_its_number():
    few, many = nbody.simulate("charged", 2, 5, 4), nbody.simulate("charged", 5, 5, 4)
    for a, b in zip(few, many, strict=False):
        assert np.array_equal(a.places, b.places) and np.array_equal(a.kinds, b.kinds)
    with pytest.raises(InputError, match="charged, spring, gravity"):
        nbody.simulate("magnets", 1)


def small(n=6, points=3, given=3, future=4):
    rng = np.random.default_rng(1)
    tracks = [
        Track(
            rng.normal(size=(points, given + future, 3)).astype(np.float32),
            rng.normal(size=(points, 2)).astype(np.float32),
            f"t {i}",
        )
        for i in range(n)
    ]
    return tracks_of(tracks, given=given, future=future, features=["a", "b"], unit="metre")


def test_arrays_come_back_as_they_were_written(tmp_path):
    data = small()
    batch = data.batch(range(6))
    files.write(batch, tmp_path / "x.npz", data.about)
    found = files.read(tmp_path / "x.npz", given=3, future=4)
    assert found.about == data.about
    again = found.batch(range(6))
    assert torch.equal(again.x, batch.x)
    assert torch.equal(again.condition["source"]["kind"], batch.condition["source"]["kind"])
    written = files.write(batch, tmp_path / "each", data.about)
    assert [path.name for path in written] == [f"t-{i}.npz" for i in range(6)]
    assert len(files.read(tmp_path / "each", given=3, future=4)) == 6
    files.write(batch, tmp_path / "x.csv", data.about)
    rows = (tmp_path / "x.csv").read_text().splitlines()
    assert rows[0] == "trajectory,point,frame,x,y,z" and len(rows) == 1 + 6 * 3 * 7


def test_runs_of_atoms_are_cut_into_windows(tmp_path):
    places = np.arange(2 * 9 * 3, dtype=np.float64).reshape(9, 2, 3)
    np.savez(tmp_path / "md17.npz", R=places, z=np.array([8, 1]))
    frames = [
        "\n".join(["2", "", *(f"{s} {x} {y} {z}" for s, (x, y, z) in zip("OH", f, strict=True))])
        for f in places.tolist()
    ]
    (tmp_path / "run.xyz").write_text("\n".join(frames) + "\n")
    for name in ("md17.npz", "run.xyz"):
        data = files.read(tmp_path / name, given=2, future=2, every=3)
        assert data.about["features"] == ["H", "O"] and data.about["unit"] == "angstrom"
        assert [t.name.split("@")[1] for t in data.tracks] == ["0", "3"]
        assert np.array_equal(data.tracks[1].places, places[3:7].swapaxes(0, 1))
        assert data.tracks[0].kinds.tolist() == [[0, 1], [1, 0]]
    files.write(data.batch([0, 1]), tmp_path / "out.xyz", data.about)
    again = files.read(tmp_path / "out.xyz", given=2, future=2)
    assert np.allclose(again.tracks[1].places, data.tracks[1].places)


def seen(data):
    """All (recording, frame) of trajectories."""
    rows = zip(keys_of(data), spans_of(data), strict=True)
    return {(name, frame) for name, span in rows for frame in range(*span)}


def test_what_is_held_out_shares_no_frame_with_what_is_trained_on(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "runs" / "more").mkdir(parents=True)
    for name in ("one", "runs/a", "runs/b", "runs/more/a"):
        np.savez(tmp_path / f"{name}.npz", R=rng.normal(size=(60, 2, 3)), z=np.array([8, 1]))
    np.savez(tmp_path / "many.npz", positions=rng.normal(size=(9, 2, 12, 3)))
    rows = [f"{10 * f} {who} {f} {who}" for f in range(40) for who in range(6)]
    (tmp_path / "scene.txt").write_text("\n".join(rows))
    sizes = {}
    for name in ("one.npz", "runs", "many.npz", "scene.txt"):
        recipe = Trajectories(given=3, future=4, every=2, together=3)
        data = read(domain, recipe, tmp_path / name)
        for seed in range(4):
            train, held = split(data, 0.2, seed)
            assert len(train) and len(held) and not seen(train) & seen(held), name
        sizes[name] = len(set(keys_of(data)))
    assert sizes == {"one.npz": 1, "runs": 3, "many.npz": 9, "scene.txt": 1}


def test_pedestrians_who_are_there_throughout_make_a_window(tmp_path):
    rows = [f"{10 * f}\t{who}\t{f + 0.5 * who}\t{-f}" for f in range(5) for who in (1, 2, 7)]
    rows += ["50 1 5.5 -5"]  # the others have left
    (tmp_path / "eth.txt").write_text("\n".join(rows))
    data = files.read(tmp_path / "eth.txt", given=2, future=2, every=1)
    assert [len(t.places) for t in data.tracks] == [3, 3, 1]
    assert data.about["points"] == [3, 1] and list(data.groups()) == [0, 0, 1]
    assert data.tracks[0].places[2].tolist() == [[3.5, 0], [4.5, -1], [5.5, -2], [6.5, -3]]
    assert data.about["interval"] == 0.4


def bad(tmp_path):
    np.savez(tmp_path / "odd.npz", q=np.ones(3))
    np.savez(tmp_path / "flat.npz", positions=np.ones((2, 3)))
    np.savez(tmp_path / "short.npz", positions=np.ones((1, 2, 3, 3)))
    np.savez(tmp_path / "nan.npz", positions=np.full((1, 2, 9, 3), np.nan))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 no zip")
    (tmp_path / "rows.txt").write_text("1 2 3\n")
    (tmp_path / "two.xyz").write_text("1\n\nH 0 0 0\n1\n\nO 0 0 0\n")
    (tmp_path / "x.dcd").write_text("")
    return {
        "odd.npz": "holds q", "flat.npz": "shape", "short.npz": "no window of 9",
        "nan.npz": "not finite", "broken.npz": "cannot be read", "rows.txt": "line 1",
        "two.xyz": "other atoms", "x.dcd": "no kind", "nothing.npz": "cannot be read",
    }  # fmt: skip


def test_what_cannot_be_read_is_told_by_file_and_reason(tmp_path):
    for name, words in bad(tmp_path).items():
        with pytest.raises(InputError, match=words) as told:
            files.read(tmp_path / name, given=3, future=6)
        assert name.split(".")[0] in str(told.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no trajectories"):
        files.read(tmp_path / "empty", given=3, future=6)


def test_other_data_has_to_fit():
    data = small()
    for change, words in (
        ({"features": ["a", "c"]}, "features"), ({"given": 2, "future": 5}, "source"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            tracks_of(
                data.tracks,
                **{"given": 3, "future": 4, "features": ["a", "b"], "like": data.about, **change},
            )
    with pytest.raises(InputError, match="the model knows 3"):
        tracks_of(small(points=2).tracks, given=3, future=4, features=["a", "b"], like=data.about)
    with pytest.raises(InputError, match="0 or at least 2 frames are given"):
        tracks_of(data.tracks, given=1, future=2)


def test_measures():
    made = torch.zeros(2, 1, 3, 2)
    true = torch.tensor([3.0, 4.0]).expand(2, 1, 3, 2) * torch.tensor([1.0, 2.0, 4.0])[:, None]
    ade, fde = displacements(made, true)
    assert ade.tolist() == pytest.approx([35 / 3] * 2) and fde.tolist() == [20, 20]
    data = small()
    batch = data.batch(range(6))
    straight = Fields(past=batch.condition["source"]["past"], kind=torch.zeros(6, 3, 2))
    told = fidelity(batch, type(batch)(straight))
    steady = constant_velocity(straight["past"], 4)
    assert told["ade"].value == pytest.approx(float(displacements(steady, batch.x)[0].mean()))
    line = torch.arange(7.0)[:, None] * torch.tensor([1.0, 2.0, 3.0])
    assert torch.equal(constant_velocity(line[None, None, :3], 4)[0, 0], line[3:])
    turned = batch.x @ torch.linalg.qr(torch.randn(3, 3))[0] + 5
    assert torch.allclose(moves(batch), moves(type(batch)(turned)), atol=1e-4)


def test_a_run_forecasts_what_it_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = small(12)
    files.write(data.batch(range(12)), tmp_path / "d.npz", data.about)
    words = "given=3 future=4 steps=2 batch=4 width=8 depth=1 heads=2 sampling_steps=2 held=0.3"

    def run(*words):
        result = CliRunner().invoke(application(), list(words))
        assert result.exit_code == 0, result.output

    run("train", "molecules/trajectories", "--data", "d.npz", "--out", "r", *words.split())
    run("sample", "r", "--data", "d.npz", "-n", "1", "--out", "futures")
    written = files.read(tmp_path / "futures", given=2, future=2)
    assert len(written) == 12 and (tmp_path / "futures.png").exists()
    assert written.tracks[0].places.shape == (3, 4, 3)
    run("evaluate", "r", "-n", "1")
    opened = open_run(tmp_path / "r")
    asked = data.batch([0, 1])
    both = draw(opened, 2, condition=asked.condition, like=asked.x)
    alone = draw(opened, 1, condition=data.batch([0]).condition, like=asked.x[:1])
    assert torch.allclose(both.x[:1], alone.x, atol=1e-5)
    with pytest.raises(InputError, match="no condition"):
        domain.condition({"speed": "1"}, 1, opened.about)


@pytest.mark.slow
def test_the_trial_measures_each_claim(tmp_path):
    found = system.trial(Trial(100, 0.004, "cpu", tmp_path, 1))
    assert set(found) == {claim.key for claim in system.claims}
    assert all(m.n >= 4 and 0 < m.method < 100 and m.baseline > 0 for m in found.values())


def test_dynamics_of_a_molecule_keep_its_shape_and_are_a_function_of_the_seed():
    pytest.importorskip("tblite")
    from sfumato_molecules.trajectories.dynamics import begun, dynamics

    track, features = dynamics(begun("O"), 3, temperature=300.0)
    again, _ = dynamics(begun("O"), 3, temperature=300.0)
    assert features == ["H", "O"] and track.places.shape == (3, 3, 3)
    assert np.array_equal(track.places, again.places)
    oxygen = track.kinds[:, 1].argmax()
    bonds = np.linalg.norm(np.delete(track.places, oxygen, 0) - track.places[oxygen], axis=-1)
    assert (np.abs(bonds - 0.96) < 0.12).all() and np.ptp(bonds) > 1e-3


def test_what_cannot_be_simulated_is_told():
    from sfumato_molecules.trajectories.dynamics import begun

    with pytest.raises(InputError, match="no SMILES"):
        begun("neither")


def test_systems_are_simulated_from_the_command_line(tmp_path):
    words = ["simulate", "gravity", "-n", "2", "--frames", "4", "--out", str(tmp_path / "g.npz")]
    result = CliRunner().invoke(application(), words)
    assert result.exit_code == 0, result.output
    data = files.read(tmp_path / "g.npz", given=2, future=2)
    assert data.about["features"] == ["mass"] and data.about["interval"] == 0.1
    assert np.array_equal(data.tracks[1].places, nbody.simulate("gravity", 2, 0, 4)[1].places)
