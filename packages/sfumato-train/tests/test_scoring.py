"""Measuring a run against the items that it never saw."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sfumato import Batch, InputError
from sfumato_data import Tensors, gather
from sfumato_eval import Score
from sfumato_train import evaluate, open_run, start


@pytest.fixture(scope="module")
def run(site, tmp_path_factory):
    import sfumato.plugins

    sfumato.plugins._installed.cache_clear()
    words = ["steps=300", "lr=5e-3", "held=0.4", "width=32"]
    yield open_run(
        start("toy/points", words, None, tmp_path_factory.mktemp("runs") / "run", device="cpu")
    )
    sfumato.plugins._installed.cache_clear()


@pytest.fixture
def many(toy, run, monkeypatch, tmp_path):
    """A path at which the domain reads points that no run has seen, with their labels."""
    monkeypatch.setattr(type(run.domain), "read", lambda self, path: toy.points(2000, seed=7))
    return tmp_path / "many"


def test_a_trained_run_comes_near_the_floor(run, many, tmp_path):
    """Trained points are within 4 floors of unseen ones, and twice as near as untrained ones."""
    (row,) = evaluate(run, data_path=many, device="cpu")
    assert row["name"] == "sliced-wasserstein" and row["n"] == 1000
    assert row["floor"] > 0 and row["ratio"] < 4
    words = ["steps=1", "held=0.4", "width=32"]
    raw = open_run(start("toy/points", words, None, tmp_path / "raw", device="cpu"))
    (rough,) = evaluate(raw, data_path=many, device="cpu")
    assert rough["value"] > 2 * row["value"]


def test_the_same_seed_gives_the_same_row(run):
    one, two, three = (evaluate(run, 50, seed=seed, device="cpu") for seed in (0, 0, 1))
    assert one == two != three


def test_samples_are_independent_of_the_items_they_are_compared_with(run, monkeypatch):
    """Their conditions are those of the half that the floor is of, and the halves are disjoint."""
    asked, sides = {}, []

    def fake(source, n, *, condition, **options):
        asked.update(condition)
        return Batch(torch.zeros(n, 2), condition)

    def spy(metrics, samples, held, other, **options):
        sides.append((held, other))
        return {"one": Score(1.0, 70, 1.0, "")}

    monkeypatch.setattr("sfumato_train.scoring.draw", fake)
    monkeypatch.setattr("sfumato_train.yardstick.measure_all", spy)
    evaluate(run, 70, device="cpu")
    ((held, other),) = sides
    assert len(held) == len(other) == 70 and not set(held.index) & set(other.index)
    assert torch.equal(asked["label"], gather(other).condition["label"])


def test_half_of_the_held_out_items_are_taken_by_default(run):
    train, held = run.data()
    (row,) = evaluate(run, steps=1, device="cpu")
    assert row["n"] == len(held) // 2


def test_other_data_can_be_compared_with(run, tmp_path):
    np.save(tmp_path / "far.npy", np.full((40, 2), 50.0, np.float32))
    (row,) = evaluate(run, data_path=tmp_path / "far.npy", steps=2, device="cpu")
    assert row["n"] == 20 and row["value"] > 10


def test_other_data_must_be_of_the_same_kind(run, monkeypatch, tmp_path):
    np.save(tmp_path / "far.npy", np.full((40, 2), 50.0, np.float32))
    other = Tensors(torch.zeros(40, 2), about={"classes": ["a", "b"], "shape": (2,)})
    monkeypatch.setattr(type(run.domain), "read", lambda self, path: other)
    with pytest.raises(InputError, match=r"far.npy has classes \['a', 'b'\], but .* trained for"):
        evaluate(run, data_path=tmp_path / "far.npy", steps=2, device="cpu")


def test_more_items_than_there_are_is_an_error(run, toy, tmp_path):
    for n in (0, 10_000):
        with pytest.raises(InputError, match=rf"n must be between 1 and \d+, .*but is {n}"):
            evaluate(run, n)
    none = open_run(
        start("toy/points", ["steps=1", "held=0"], None, tmp_path / "none", device="cpu")
    )
    with pytest.raises(InputError, match=r"0 item\(s\) were held out"):
        evaluate(none)
