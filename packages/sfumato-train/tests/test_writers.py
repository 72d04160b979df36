"""Rows go to TensorBoard and to Weights & Biases as they go to the file."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from sfumato import InputError
from sfumato_train import files, start
from sfumato_train.writers import flat, opened

WORDS = ["steps=6", "log=2", "save=3"]


def test_rows_become_numbers_with_names():
    row = {
        "step": 3,
        "loss": 1.5,
        "parts": {"a": 2.0, "b": None},
        "held_levels": [[0.1, None], [0.5, 4.0]],
    }
    assert flat(row) == {"loss": 1.5, "parts/a": 2.0, "held_levels/1": 4.0}


def test_tensorboard_holds_what_the_file_holds(toy, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    start("toy/points", WORDS, None, tmp_path / "run", device="cpu", writers=["tensorboard"])
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    rows = files.rows(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [2, 3, 4, 6]
    for key in ("loss", "lr", "parts/unweighted", "held_loss"):
        told = [(event.step, event.value) for event in events.Scalars(key)]
        wanted = [(row["step"], flat(row)[key]) for row in rows if key in flat(row)]
        assert told == [(step, pytest.approx(value, rel=1e-6)) for step, value in wanted]


def test_wandb_is_told_the_recipe_and_each_row(toy, tmp_path, monkeypatch):
    """Offline, as without an account; the file that would be uploaded holds the numbers."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    start("toy/points", WORDS, None, tmp_path / "run", device="cpu", writers=["wandb"])
    (record,) = (tmp_path / "run" / "wandb").rglob("*.wandb")
    rows = files.rows(tmp_path / "run" / "metrics.jsonl")
    end = time.monotonic() + 30  # its own process may write the file after `finish` has returned
    while json.dumps(rows[-1]["loss"]).encode() not in record.read_bytes():
        assert time.monotonic() < end
        time.sleep(0.05)
    told = record.read_bytes()
    for row in rows:
        assert json.dumps(row["loss"]).encode() in told
    assert b"weight_decay" in told


def test_what_is_unknown_or_not_installed_is_said(toy, tmp_path, monkeypatch):
    for name, message in (
        ("tensorbord", "no writer 'tensorbord'; there is tensorboard"),
        ("wandb", r"the writer wandb needs wandb: pip install 'sfumato-train\[wandb\]'"),
    ):
        monkeypatch.setitem(sys.modules, "wandb", None)
        with pytest.raises(InputError, match=message), opened([name], Path(tmp_path), None):
            raise AssertionError("never here")
