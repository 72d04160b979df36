"""Checkpoint averaging: the mean of the weights, as a run that can be used."""

from __future__ import annotations

import pytest
import torch

from sfumato import InputError
from sfumato_train import checkpoint, open_run, start
from sfumato_train.tools import average

SHORT = ["steps=30", "save=10", "log=5", "keep=3"]


@pytest.fixture
def run(toy, tmp_path):
    return open_run(start("toy/points", SHORT, None, tmp_path / "run", device="cpu"))


def stored(run, stem):
    return [checkpoint.read(one.path, stem) for one in run.checkpoints()]


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        ({}, (1 / 3, 1 / 3, 1 / 3)),
        ({"last": 2}, (0, 1 / 2, 1 / 2)),
        ({"weights": (1.0, 3.0)}, (0, 1 / 4, 3 / 4)),
        ({"weights": (-1.0, 2.0, 3.0)}, (-1 / 4, 2 / 4, 3 / 4)),
        ({"last": 2, "weights": (1.0, 1.0)}, (0, 1 / 2, 1 / 2)),
    ],
)
def test_the_weights_of_the_new_run_are_the_combination(run, tmp_path, options, shares):
    told = average(run, tmp_path / "mean", **options)
    made = open_run(tmp_path / "mean")
    for stem in ("model", "ema"):
        parts, (found,) = stored(run, stem), stored(made, stem)
        for name, value in found.items():
            if value.is_floating_point():
                wanted = sum(s * p[name].double() for s, p in zip(shares, parts, strict=True))
                assert torch.allclose(value.double(), wanted, rtol=0, atol=5e-7)
            else:  # what counts is not averaged
                assert torch.equal(value, parts[-1][name])
            assert value.dtype == parts[-1][name].dtype
    assert "steps" in told and "30" in told


def test_the_new_run_is_a_run(run, tmp_path):
    average(run, tmp_path / "mean")
    made = open_run(tmp_path / "mean")
    assert made.recipe == run.recipe and [one.step for one in made.checkpoints()] == [30]
    model, (mean,) = made.model("live", device="cpu"), stored(made, "model")
    weight = model.denoiser.net.inward.weight
    assert torch.equal(weight, mean["denoiser.net.inward.weight"])
    assert not torch.equal(weight, run.model("live", device="cpu").denoiser.net.inward.weight)
    with pytest.raises(InputError, match="training.safetensors is missing"):
        start("toy/points", ["steps=40"], None, tmp_path / "mean", resume=True, device="cpu")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"last": 4}, r"keeps 3 checkpoint\(s\), but 4 are needed"),
        ({"weights": (1.0, 1.0, 1.0, 1.0)}, "but 4 are needed"),
        ({"last": 3, "weights": (1.0, 1.0)}, "2 weights were given for 3 checkpoints"),
        ({"weights": (1.0, -1.0)}, "sum to zero"),
    ],
)
def test_what_cannot_be_combined_is_refused_and_nothing_is_written(run, tmp_path, options, says):
    with pytest.raises(InputError, match=says):
        average(run, tmp_path / "mean", **options)
    assert not (tmp_path / "mean").exists()


def test_a_single_checkpoint_is_no_average(toy, tmp_path):
    words = ["steps=10", "save=10", "log=5", "keep=1"]
    run = open_run(start("toy/points", words, None, tmp_path / "run", device="cpu"))
    with pytest.raises(InputError, match="but 2 are needed; train with a larger keep"):
        average(run, tmp_path / "mean")
