"""Measuring a run against the items that it never saw."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sfumato import InputError
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


def test_a_trained_run_comes_near_the_floor(run):
    """Trained points are within 4 floors of held-out ones; prior noise of the same n is not."""
    (row,) = evaluate(run, 150, device="cpu")
    assert row["name"] == "sliced-wasserstein" and row["n"] == 150
    assert row["floor"] > 0 and row["ratio"] < 4
    (rough,) = evaluate(run, 150, steps=1, sampler="euler", device="cpu")
    assert rough["value"] > 1.5 * row["value"]


def test_the_same_seed_gives_the_same_row(run):
    one, two, three = (evaluate(run, 50, seed=seed, device="cpu") for seed in (0, 0, 1))
    assert one == two != three


def test_samples_are_asked_for_as_the_held_out_items_are(run, monkeypatch):
    asked = {}

    def fake(source, n, *, condition, **options):
        from sfumato import Batch

        asked.update(condition)
        return Batch(torch.zeros(n, 2), condition)

    monkeypatch.setattr("sfumato_train.scoring.draw", fake)
    evaluate(run, 100, device="cpu")
    _, held = run.data()
    from sfumato_data import gather

    counts = torch.bincount(asked["label"], minlength=3)
    assert (counts <= torch.bincount(gather(held).condition["label"])).all()
    assert len(asked["label"]) == 100


def test_all_items_of_the_smaller_side_are_taken_by_default(run):
    train, held = run.data()
    (row,) = evaluate(run, steps=1, device="cpu")
    assert row["n"] == min(len(train), len(held))


def test_other_data_can_be_compared_with(run, tmp_path):
    np.save(tmp_path / "far.npy", np.full((40, 2), 50.0, np.float32))
    (row,) = evaluate(run, data_path=tmp_path / "far.npy", steps=2, device="cpu")
    assert row["n"] == 40 and row["value"] > 10


def test_more_items_than_there_are_is_an_error(run, toy, tmp_path):
    for n in (0, 10_000):
        with pytest.raises(InputError, match=rf"n must be between 1 and \d+, .*but is {n}"):
            evaluate(run, n)
    none = open_run(
        start("toy/points", ["steps=1", "held=0"], None, tmp_path / "none", device="cpu")
    )
    with pytest.raises(InputError, match=r"held out no data \(held=0.0\)"):
        evaluate(none)
