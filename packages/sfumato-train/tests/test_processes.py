"""Several processes on one run: the same training, whatever their number and layout."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from sfumato import InputError
from sfumato_train import checkpoint, files, open_run, start
from sfumato_train.processes import joined

STEPS = 12
WORDS = [f"steps={STEPS}", "save=6", "log=2", "batch=24", "lr=0.01", "warmup=2", "dropout=0.1"]
WORDS += ["ema=0.6"]
AVERAGES = ["decays=0.9,", "widths=0.1,"]
CHILD = """
import json, sys
from sfumato import InputError
from sfumato_train import start
for out, name, words, options in json.loads(sys.argv[1]):
    start(name, words, None, out, device="cpu", **options)
"""


@pytest.fixture
def together(site):
    """Train under torchrun; each job is (out, recipe, words, options of `start`)."""

    def run(jobs, processes=2, fails=False):
        import json

        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node", str(processes), "--no-python", sys.executable, "-c", CHILD]
        ended = subprocess.run(
            [*command, json.dumps([[str(out), *rest] for out, *rest in jobs])],
            env=os.environ | {"PYTHONPATH": site, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert bool(ended.returncode) == fails, ended.stderr
        return ended.stderr

    return run


def rows(out):
    return [
        {k: v for k, v in row.items() if k != "items_per_s"}
        for row in files.rows(out / "metrics.jsonl")
    ]


def close(one, other, since=0, averages=False):
    """Rows and weights agree up to the order of sums; buffers are those of the first process."""
    mine, others = ([row for row in rows(run) if row["step"] > since] for run in (one, other))
    for a, b in zip(mine[since:], others[since:], strict=True):
        assert a["parts"] == pytest.approx(b["parts"], rel=1e-4)
        for key in a.keys() - {"parts", "held_levels"}:
            assert a[key] == pytest.approx(b[key], rel=1e-4), key
        for level, expected in zip(a.get("held_levels", ()), b.get("held_levels", ()), strict=True):
            assert level == pytest.approx(expected, rel=1e-3)
    for stem in ("model", "ema", "training", *(["ema-0.9"] if averages else [])):
        values, others = (
            checkpoint.read(run / "checkpoints" / f"step-{STEPS:06d}", stem) for run in (one, other)
        )
        assert values.keys() == others.keys()
        for name in values.keys() - {"denoiser.net.calls"}:
            assert torch.allclose(values[name], others[name], rtol=1e-3, atol=2e-5), (stem, name)


def alone(out, words=(), save=6, **options):
    words = [*WORDS, "accumulation=2", *words]
    words[1] = f"save={save}"
    start("toy/points", words, None, out, device="cpu", **options)


def test_two_processes_train_what_one_does(toy, together, tmp_path):
    """Copies and shards of the weights, one player and two: the loss curve of one process."""
    jobs = [
        (tmp_path / "copies", "toy/points", [*WORDS, *AVERAGES], {}),
        (tmp_path / "duel", "toy/duel", WORDS, {}),
        (tmp_path / "shards", "toy/points", [*WORDS, *AVERAGES], {"layout": "shard"}),
    ]
    together(jobs)
    alone(tmp_path / "one", words=AVERAGES)
    close(tmp_path / "copies", tmp_path / "one", averages=True)
    close(tmp_path / "shards", tmp_path / "one", averages=True)

    start("toy/duel", [*WORDS, "accumulation=2"], None, tmp_path / "alone")
    one, two = rows(tmp_path / "alone"), rows(tmp_path / "duel")
    for a, b in zip(one, two, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
        assert a["parts"] == pytest.approx(b["parts"], rel=1e-3)

    shards = tmp_path / "shards" / "checkpoints" / f"step-{STEPS:06d}"
    assert len(list((shards / "model").glob("*.safetensors"))) == 2
    for which in ("ema", "live", "ema-0.9", "power-0.1", "power-0.15"):
        one, other = (
            open_run(tmp_path / name).model(which, device="cpu") for name in ("one", "shards")
        )
        for a, b in zip(one.denoiser.parameters(), other.denoiser.parameters(), strict=True):
            assert torch.allclose(a, b, rtol=1e-3, atol=2e-5)


def test_a_run_goes_on_with_another_number_of_processes(toy, together, tmp_path):
    """Two with shards, then one; one, then two with shards; two with copies, then one."""
    alone(tmp_path / "whole")
    half = {"minutes": 1e-9}  # over after the first step
    words = [*WORDS[:1], "save=1", *WORDS[2:]]
    together(
        [
            (tmp_path / "shards", "toy/points", words, {"layout": "shard", **half}),
            (tmp_path / "copies", "toy/points", words, half),
        ]
    )
    for name in ("shards", "copies"):
        assert open_run(tmp_path / name).checkpoints()[-1].step == 1
        alone(tmp_path / name, resume=True)
    alone(tmp_path / "one", **half)
    together([(tmp_path / "one", "toy/points", WORDS, {"layout": "shard", "resume": True})])
    for name in ("shards", "copies", "one"):
        close(tmp_path / name, tmp_path / "whole", since=1)


def test_what_processes_cannot_share_is_said(toy, together, tmp_path, monkeypatch):
    alone(tmp_path / "one", minutes=1e-9)
    told = together(
        [(tmp_path / "one", "toy/points", WORDS, {"resume": True})], processes=3, fails=True
    )
    assert "in 2 part(s) cannot be shared equally by 3 processes" in told
    with pytest.raises(InputError, match="need several processes"):
        start("toy/points", WORDS, None, tmp_path / "new", layout="shard")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="WORLD_SIZE is set, but RANK, .* is not"):
        joined()
