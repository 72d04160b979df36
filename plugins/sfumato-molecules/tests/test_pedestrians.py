"""Pedestrians, whole trajectories, and what forecasts are measured with."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sfumato import Batch, InputError, random
from sfumato_cli.main import application
from sfumato_data import split
from sfumato_molecules.trajectories import files
from sfumato_molecules.trajectories.data import Track, apart, tracks_of
from sfumato_molecules.trajectories.domain import domain
from sfumato_molecules.trajectories.metrics import Distances, Speeds, closest
from sfumato_molecules.trajectories.recipes import Trajectories


def crowd(tmp_path, frames=(0, 10, 20, 30, 40, 50)):
    """Nine people at the corners and sides of a square who walk along x."""
    spots = [(3.0 * i, 3.0 * j) for i in range(3) for j in range(3)]
    rows = [f"{f} {who} {x + 0.01 * f} {y}" for f in frames for who, (x, y) in enumerate(spots)]
    path = tmp_path / "crowd.txt"
    path.write_text("\n".join(rows))
    return path


def test_frames_that_are_missing_make_no_window(tmp_path):
    path = crowd(tmp_path, (0, 10, 20, 30, 80, 90, 100))
    data = files.read(path, given=2, future=1, every=1)
    assert [t.name.split("@")[1] for t in data.tracks] == ["0", "10", "80"]


def test_crowds_are_cut_into_neighbours_each_person_once(tmp_path):
    whole = files.read(crowd(tmp_path), given=2, future=2)
    cut = files.read(crowd(tmp_path), given=2, future=2, together=4)
    assert [len(t.places) for t in whole.tracks] == [9]
    assert sorted(len(t.places) for t in cut.tracks) == [3, 3, 3]
    found = np.concatenate([t.places for t in cut.tracks])
    assert sorted(map(tuple, found[:, 0])) == sorted(map(tuple, whole.tracks[0].places[:, 0]))
    later = whole.tracks[0].places.copy()
    later[:, 2:] = 0  # what is not given yet plays no part
    again = list(apart(Track(later, whole.tracks[0].kinds), 4, 1))
    assert [t.places[:, 0].tolist() for t in again] == [t.places[:, 0].tolist() for t in cut.tracks]
    far = Track(np.array([[[0.0, 0]], [[9, 0]], [[1, 0]], [[8, 0]]]), np.ones((4, 1)), "far")
    halves = [set(t.places[:, 0, 0].tolist()) for t in apart(far, 2, 0)]
    assert halves == [{0, 1}, {8, 9}] and len({t.name for t in apart(far, 2, 0)}) == 2


def test_the_place_that_is_left_out_says_what_is_trained_on_and_held_out(tmp_path):
    for part, frames in (("train", range(0, 60, 10)), ("val", range(0, 40, 10))):
        (tmp_path / "eth" / part).mkdir(parents=True)
        crowd(tmp_path / "eth" / part, frames)
    data = files.read(tmp_path, given=2, future=2, every=1, left_out="eth")
    train, held = split(data, None, 0)
    assert (len(train), len(held)) == (3, 1)
    alone = files.read(tmp_path / "eth" / "val", given=2, future=2, left_out="eth")
    assert alone.test_part() is None


def test_the_closest_draw_is_chosen_for_each_point():
    true = torch.zeros(1, 2, 3, 2)
    near = torch.zeros(1, 2, 3, 2)
    near[0, 0] = torch.tensor([3.0, 4.0])  # one point is off by 5, the other right
    ade, fde = closest([near, near.flip(1)], true)
    assert not ade.any() and not fde.any()
    ade, fde = closest([near, near + torch.tensor([3.0, 4.0])], true)
    assert ade.tolist() == fde.tolist() == [[5, 0]]
    late = torch.zeros(1, 2, 3, 2)
    late[:, :, -1] = torch.tensor([0.0, 9.0])
    ade, fde = closest([late, near], true)  # each measure chooses on its own
    assert ade.tolist() == [[3, 0]] and fde.tolist() == [[5, 0]]


def test_marginal_distances_are_those_of_the_laws():
    generator = random.derive(0, "walk")
    steps = random.normal(torch.empty(40, 3, 6, 2), generator)
    batch, faster = Batch(steps.cumsum(2)), Batch(1.5 * steps.cumsum(2))
    for metric in (Speeds(), Distances()):
        a, b = metric.summary(batch), metric.summary(faster)
        assert metric.between(a, a).value == 0
        assert metric.between(b, a).value == pytest.approx(0.5 * float(a.rows.mean()))
        two = metric.summary(Batch(batch.x[:20])) + metric.summary(Batch(batch.x[20:]))
        assert metric.between(b, two).value == pytest.approx(metric.between(b, a).value)


def free(n=8):
    """Whole trajectories of three points, of two kinds."""
    rng = np.random.default_rng(3)
    tracks = [
        Track(
            rng.normal(size=(3, 5, 3)).astype(np.float32) + 7,
            np.array([[1.0, 0], [0, 1], [i % 2, 1 - i % 2]], np.float32),
            f"t {i}",
        )
        for i in range(n)
    ]
    return tracks_of(tracks, given=0, future=5, features=["a", "b"])


def test_whole_trajectories_are_about_their_middle():
    data = free()
    assert "source" not in data.about and len(data.about["examples"]) == 8
    batch = data.batch(range(8))
    assert batch.x.shape == (8, 3, 5, 3) and set(batch.condition) == {"kind"}
    middle = batch.x - batch.x.mean((1, 2), keepdim=True)
    assert data.about["scale"] == pytest.approx(float(middle.square().mean().sqrt()), rel=1e-5)
    alike = tracks_of([Track(t.places, np.ones((3, 1)), t.name) for t in data.tracks],
                      given=0, future=5)  # fmt: skip
    assert len(alike.about["examples"]) == 1
    told = domain.condition({}, 10, data.about)["kind"]
    assert torch.equal(told[:8], batch.condition["kind"]) and torch.equal(told[8:], told[:2])


def test_whole_trajectories_turn_with_their_noise_and_have_no_place():
    """Law of the model: denoised states turn, mirror and permute with what is denoised."""
    data = free()
    fields = {"given": 0, "future": 5, "width": 16, "depth": 2, "heads": 2}
    training = Trajectories(**fields).build(data)
    model = training.model
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.denoiser.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    batch = data.batch(range(4))
    generator = random.derive(0, "x")
    encoded = model.codec.encode(batch.x, generator)
    assert float(encoded.mean((1, 2)).abs().max()) < 1e-6
    assert torch.allclose(encoded, model.codec.encode(batch.x + 5, generator), atol=1e-5)
    t = torch.full((4,), 0.6, dtype=torch.float64)
    x = model.process.draw(encoded, t, generator).x
    assert float(x.mean((1, 2)).abs().max()) < 1e-6
    turn = torch.linalg.qr(random.normal(torch.empty(3, 3), generator)).Q
    order = torch.tensor([2, 0, 1])
    kind = batch.condition["kind"]
    with torch.no_grad():
        mean = model.denoiser.given(kind=kind)(x, t).mean
        other = model.denoiser.given(kind=kind[:, order])(x[:, order] @ turn.T, t).mean
    assert float((mean - x).abs().max()) > 0.01  # the network does something
    assert torch.allclose(other, mean[:, order] @ turn.T, atol=1e-5)
    assert float(mean.mean((1, 2)).abs().max()) < 1e-6
    with pytest.raises(InputError, match="told the kind of each point"):
        model.denoiser(x, t)


def test_a_run_makes_whole_trajectories(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = free(16)
    tracks = [Track(t.places, t.kinds, t.name) for t in data.tracks]
    files.save(tracks, tmp_path / "d.npz", ["a", "b"], "", 1.0)

    def run(*words, code=0):
        result = CliRunner().invoke(application(), list(words))
        assert result.exit_code == code, result.output
        return " ".join(result.output.split())

    words = "given=0 future=5 steps=2 batch=4 width=8 depth=1 heads=2 sampling_steps=2 held=0.5"
    run("train", "molecules/trajectories", "--data", "d.npz", "--out", "r", *words.split())
    run("sample", "r", "-n", "5", "--out", "made.npz")
    with np.load(tmp_path / "made.npz") as made:
        assert made["positions"].shape == (5, 3, 5, 3) and made["kinds"].shape == (5, 3, 2)
        assert list(made["features"]) == ["a", "b"]
    told = run("evaluate", "r", "-n", "2")
    assert "speeds W1" in told and "distances W1" in told
    assert "no forecasts" in run("apply", "molecules/forecasts", "r", code=1)


def test_forecasts_are_measured_whatever_the_number_of_points(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for part in ("train", "val", "test"):
        (tmp_path / "all/eth" / part).mkdir(parents=True)
        crowd(tmp_path / "all/eth" / part, range(0, 130, 10))

    def run(*words):
        result = CliRunner().invoke(application(), list(words))
        assert result.exit_code == 0, result.output

    words = "given=2 future=3 every=2 steps=2 batch=4 width=8 depth=1 heads=2 sampling_steps=2"
    run("train", "molecules/pedestrians", "--data", "all", "--out", "r", "together=5",
        *words.split())  # fmt: skip
    run("apply", "molecules/forecasts", "r", "data=all/eth/test", "draws=3", "n=7")
    report = json.loads((tmp_path / "r-forecasts/forecasts.json").read_text())
    assert report["trajectories"] == 7 and 28 <= report["points"] <= 35
    assert report["steady ADE"] == pytest.approx(0, abs=1e-5)  # they walk evenly
    assert 0 < report["minADE"] <= report["system minADE"]
    run("evaluate", "r", "--data", "all/eth/test", "-n", "2")
