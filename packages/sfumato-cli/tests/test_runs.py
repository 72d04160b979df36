"""`train`, `sample` and `evaluate` on a domain made for the test: points in the plane."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PLANE = """
    import os
    import time
    from pathlib import Path
    from typing import ClassVar

    import torch
    from pydantic import Field
    from torch import nn

    from sfumato import Batch, InputError, Model, Preconditioned
    from sfumato.sampling import Ancestral
    from sfumato_data import Tensors
    from sfumato_eval import SlicedWasserstein
    from sfumato_methods.gaussian import vp
    from sfumato_methods.grids import uniform
    from sfumato_train import Recipe

    class Plane:
        name = "plane"

        def read(self, path, **options):
            if not path.exists():
                raise InputError(f"{path} does not exist; give a file of points")
            values = [[float(v) for v in line.split()] for line in path.read_text().splitlines()]
            return Tensors(torch.tensor(values), {}, {"dims": 2})

        def demo(self):
            x = torch.linspace(-1, 1, 60)
            return Tensors(torch.stack([x, x * x], 1), {"right": (x > 0).long()}, {"dims": 2})

        def write(self, batch, path, about):
            lines = [" ".join(str(v) for v in row) for row in batch.x.tolist()]
            (path / "points.txt").write_text("\\n".join(lines))
            time.sleep(float(os.environ.get("PLANE_PAUSE", "0")))  # time to be killed in
            return [path / "points.txt"]

        def preview(self, batch, path, about):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"a picture")
            return path

        def metrics(self, train):
            return [SlicedWasserstein()]

        def condition(self, values, n, about):
            if set(values) - {"right"}:
                raise InputError("there is no such condition; this model takes right")
            return {"right": torch.full((n,), int(values["right"]))} if values else {}

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.side = nn.Embedding(3, 8)
            self.body = nn.Sequential(nn.Linear(11, 32), nn.SiLU(), nn.Linear(32, 2))

        def encode(self, right=None):
            if right is None:
                return {}
            present = getattr(right, "present", None)
            value = right if present is None else torch.where(present, right.value, 2)
            return {"side": self.side(value)}

        def forward(self, x, clock, side=None):
            side = self.side(torch.full((len(x),), 2)) if side is None else side
            return self.body(torch.cat([x, clock[:, None], side], 1))

    class Curve(Recipe):
        \"\"\"Points on a parabola.\"\"\"

        domain: ClassVar[str] = "plane"
        steps: int = Field(3, ge=1)
        batch: int = 8

        def model(self, about):
            process = vp()
            return Model(process, Preconditioned(Net(), process, "v"), Ancestral(), uniform, 4,
                         lambda n, generator: torch.zeros(n, 2))
"""


@pytest.fixture
def plane(site):
    site.module("plane", PLANE)
    site.plugin(
        "plane",
        ("domain", "plane", "plane:Plane", "points"),
        ("recipe", "plane/curve", "plane:Curve", "a parabola"),
        ("sampler", "ancestral", "sfumato.sampling:Ancestral", "step by step"),
        ("sampler", "ddim", "sfumato_methods.solvers.ddim:DDIM", "first order"),
        ("grid", "uniform", "sfumato_methods.grids:uniform", "equal steps"),
    )
    return site


@pytest.fixture
def run(plane):
    result = plane.run("train", "plane/curve", "--out", "runs/mine", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    return plane


def outside(site) -> dict[str, str]:
    """The environment of a process that has this plugin alone: it announces names of ours."""
    path = os.pathsep.join([str(site.path), *sys.path])
    return {**os.environ, "PYTHONPATH": path, "SFUMATO_PLUGINS": "plane"}


def points(folder: str) -> list[list[float]]:
    text = Path(folder, "points.txt").read_text()
    return [[float(v) for v in line.split()] for line in text.splitlines()]


def test_train_has_a_default_folder_and_resumes(plane):
    assert plane.run("train", "plane/curve", "steps=2").stdout == "trained runs/curve\n"
    again = plane.run("train", "plane/curve")
    assert again.exit_code == 1
    assert "runs/curve already holds a run" in again.stderr
    longer = plane.run("train", "plane/curve", "steps=4", "--resume")
    assert longer.exit_code == 0
    assert "training 4/4 100 %" in longer.stderr


def test_train_passes_data_batch_and_fields(plane, tmp_path):
    (tmp_path / "points").write_text("\n".join(f"{i} {i}" for i in range(20)))
    words = ["--data", "points", "--batch", "4", "--precision", "fp32", "lr=0.25", "seed=3"]
    assert plane.run("train", "plane/curve", *words).exit_code == 0
    facts = json.loads(Path("runs/curve/recipe.json").read_text())
    assert facts["data"]["items"] == 20
    assert (facts["values"]["accumulation"], facts["values"]["lr"]) == (2, 0.25)
    assert facts["values"]["seed"] == 3


def test_minutes_end_a_training_with_a_checkpoint(plane):
    result = plane.run("train", "plane/curve", "steps=100000000", "--minutes", "0.01")
    assert result.exit_code == 0, result.stderr
    assert len(list(Path("runs/curve/checkpoints").iterdir())) >= 1


def test_sample_writes_files_a_note_and_a_picture(run):
    result = run.run("sample", "runs/mine", "-n", "6", "--seed", "7", "right=1", "--steps", "3")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "wrote 6 samples to runs/mine/samples, and runs/mine/samples.png\n"
    assert len(points("runs/mine/samples")) == 6
    assert Path("runs/mine/samples.png").read_bytes() == b"a picture"
    note = json.loads(Path("runs/mine/samples/samples.json").read_text())
    assert (note["n"], note["seed"], note["steps"]) == (6, 7, 3)
    assert note["condition"] == {"right": "1"} and note["sampler"] == "Ancestral()"
    assert "sampling 6/6" in result.stderr


def test_samples_depend_on_the_seed_and_not_on_batch_or_time_limit(run):
    def draw(*words: str) -> list[list[float]]:
        assert run.run("sample", "runs/mine", "-n", "40", "--out", "out", *words).exit_code == 0
        return points("out")

    first = draw("right=1", "--guidance", "2")
    assert draw("right=1", "--guidance", "2", "--batch", "7", "--minutes", "5") == [
        pytest.approx(row, abs=1e-5) for row in first
    ]
    assert draw("right=1", "--guidance", "2", "--seed", "1") != first
    assert draw("right=0", "--guidance", "2") != first
    assert draw("--sampler", "ddim", "--grid", "uniform") != first


def test_a_time_limit_keeps_the_shards_that_are_done(run):
    result = run.run("sample", "runs/mine", "-n", "50", "--batch", "5", "--minutes", "0")
    assert result.stdout.startswith("wrote 5 samples of the 50 asked for, in 0 minutes to runs/")
    assert len(points("runs/mine/samples")) == 5


def test_sample_replaces_samples_and_nothing_else(run, tmp_path):
    assert run.run("sample", "runs/mine", "-n", "5", "--out", "out").exit_code == 0
    assert run.run("sample", "runs/mine", "-n", "3", "--out", "out").exit_code == 0
    assert len(points("out")) == 3
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "dear.jpg").write_text("mine")
    wrong = run.run("sample", "runs/mine", "--out", "photos")
    assert wrong.exit_code == 1 and "photos holds files that are no samples" in wrong.stderr
    assert [p.name for p in (tmp_path / "photos").iterdir()] == ["dear.jpg"]


def test_a_failed_write_leaves_the_earlier_samples(run, monkeypatch):
    import plane

    assert run.run("sample", "runs/mine", "-n", "5", "--out", "out").exit_code == 0

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(plane.Plane, "preview", full)
    wrong = run.run("sample", "runs/mine", "-n", "3", "--out", "out")
    assert wrong.exit_code == 1
    assert wrong.stderr.splitlines()[-1] == "Error: cannot write or read: No space left on device"
    assert len(points("out")) == 5
    assert not [p.name for p in Path().iterdir() if p.name.startswith(".out")]


def test_ctrl_c_while_sampling_says_that_nothing_was_written(run, monkeypatch):
    import sfumato_train

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sfumato_train, "draw", interrupted)
    result = run.run("sample", "runs/mine", "--out", "out")
    assert result.exit_code == 130
    assert result.stderr == "Error: interrupted: no samples were written\n"
    assert not Path("out").exists()


def test_many_samples_are_a_job_that_goes_on(run):
    words = ["sample", "runs/mine", "-n", "50", "--out", "out", "right=1", "--seed", "7"]
    result = run.run(*words, "--shard", "20", "--minutes", "0")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "1 of 3 shards are in out; run the same again to go on\n"
    result = run.run(*words)
    assert result.stdout == "wrote 50 samples in 3 shards to out, and out.png\n"
    assert "sampling 50/50 100 %" in result.stderr
    found = [row for i in range(3) for row in points(f"out/shard-{i:06d}")]
    words[5] = "small"
    assert run.run(*words).exit_code == 0
    assert found == [pytest.approx(row, abs=1e-5) for row in points("small")]
    wrong = run.run("sample", "runs/mine", "-n", "6", "--out", "out")
    assert wrong.exit_code == 1 and "n=50" in wrong.stderr and "now it is n=6" in wrong.stderr


def test_more_than_a_thousand_samples_are_a_job_unasked(run):
    result = run.run("sample", "runs/mine", "-n", "1001", "--steps", "1", "--out", "out")
    assert result.stdout == "wrote 1001 samples in 2 shards to out, and out.png\n", result.stderr
    assert [len(points(f"out/shard-{i:06d}")) for i in range(2)] == [1000, 1]


@pytest.mark.slow
def test_torchrun_workers_one_of_them_killed_write_what_one_process_writes(run, tmp_path):
    """With restarts: torchrun ends all workers when one dies, and starts them again."""
    words = ["sample", "runs/mine", "-n", "60", "--shard", "3", "--out"]
    assert run.run(*words, "alone").exit_code == 0
    environment = outside(run)
    launch = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    with subprocess.Popen(
        [sys.executable, "-m", *launch, "-m", "sfumato_cli", *words, "several"],
        env=environment | {"PLANE_PAUSE": "0.05"}, cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        while process.poll() is None:
            if halves := list(Path("several").glob(".shard-*")):
                os.kill(int(halves[0].name.rpartition(".")[2]), signal.SIGKILL)
                break
            time.sleep(0.005)
        assert process.stdout is not None
        text = process.stdout.read()
    assert process.returncode == 0 and "exitcode: -9" in text, text
    assert "wrote 60 samples in 20 shards to several, and several.png" in text

    def tree(folder):
        return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    assert tree(Path("several")) == tree(Path("alone"))


def test_evaluate_prints_and_keeps_the_table(run):
    result = run.run("evaluate", "runs/mine", "-n", "4", "--steps", "2")
    assert result.exit_code == 0, result.stderr
    head, row, *_ = result.stdout.splitlines()
    assert head.split() == ["metric", "value", "floor", "ratio", "better", "n", "protocol"]
    name, value, floor, _, better, n = row.split()[:6]
    assert (better, n) == ("lower", "4") and float(value) > 0 and float(floor) > 0
    (kept,) = json.loads(Path("runs/mine/evaluation.json").read_text())["scores"]
    assert kept["name"] == name and kept["value"] == pytest.approx(float(value), rel=1e-3)
    assert name in Path("runs/mine/evaluation.md").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "plane/curv"], "no recipe 'plane/curv'; did you mean plane/curve?"),
        (["train", "curve"], "did you mean plane/curve?"),
        (["train", "plane/curve", "step=3"], "there is no field 'step'; did you mean steps?"),
        (["train", "plane/curve", "steps=no", "--out", "x"], "accepted: int >= 1"),
        (["train", "plane/curve", "--data", "nowhere", "--out", "x"], "nowhere does not exist"),
        (["train", "plane/curve", "--device", "abacus", "--out", "x"], "'abacus'"),
        (["sample", "nowhere"], "nowhere is not a folder"),
        (["sample", "runs"], "runs is not a run: it holds no recipe.json"),
        (["sample", "runs/mine", "colour=3"], "this model takes right"),
        (["sample", "runs/mine", "right"], "'right' is not a condition, which is written name="),
        (["sample", "runs/mine", "right=1", "right=0"], "'right' is given twice"),
        (["sample", "runs/mine", "--sampler", "ancestrel"], "did you mean ancestral?"),
        (["sample", "runs/mine", "--grid", "uniforn"], "did you mean uniform?"),
        (["sample", "runs/mine", "--guidance", "3"], "guidance=3"),
        (["sample", "runs/mine", "--out", "runs/mine/recipe.json"], "is a file"),
        (["sample", "runs/mine", "--out", "runs/mine/recipe.json/x"], "takes no new folder"),
        (["sample", "runs/mine", "--shard", "3", "--sampler", "ancestrel"], "did you mean ances"),
        (["sample", "runs/mine", "--shard", "3", "--guidance", "3"], "guidance=3"),
        (["sample", "runs/mine", "--shard", "3", "--out", "/dev/null/x"], "takes no new folder"),
        (["evaluate", "runs/mine", "-n", "9999"], "n must be between 1 and"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_changes_nothing(run, words, says):
    before = sorted(str(p) for p in Path().rglob("*") if "site" not in p.parts)
    result = run.run(*words)
    assert result.exit_code == 1
    lines = result.stderr.splitlines()
    assert says in lines[-1] and lines[-1].startswith("Error: ")
    assert not [line for line in lines[:-1] if "Error" in line]
    assert sorted(str(p) for p in Path().rglob("*") if "site" not in p.parts) == before


def test_ctrl_c_ends_a_training_with_a_sentence_and_a_checkpoint(plane, tmp_path):
    """In a real process, as a terminal does it."""
    command = "from sfumato_cli.main import main; main()"
    environment = outside(plane)
    words = ["train", "plane/curve", "steps=100000000", "--out", "run"]
    with subprocess.Popen(
        [sys.executable, "-c", command, *words],
        env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        seen = process.stderr.readline()
        assert seen.startswith("training "), seen + process.stderr.read()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert rest.splitlines()[-1].startswith("Error: interrupted: stopped at step"), rest
    assert "Traceback" not in rest
    assert list((tmp_path / "run" / "checkpoints").glob("step-*"))


def test_compare_prints_a_table_and_writes_a_page(run):
    words = ["--samplers", "ddim,ancestral", "--steps", "2,3", "-n", "3", "--device", "cpu"]
    result = run.run("compare", "runs/mine", *words)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].split()[:2] == ["sampler", "steps"] and len(lines) == 6
    assert [line.split()[:3] for line in lines[1:5]] == [
        ["ddim", "2", "2"], ["ddim", "3", "3"], ["ancestral", "2", "2"], ["ancestral", "3", "3"],
    ]  # fmt: skip
    assert lines[5] == "wrote runs/mine/compare.html"
    assert "<svg" in Path("runs/mine/compare.html").read_text()
    wrong = run.run("compare", "runs/mine", "--samplers", "dimm")
    assert wrong.exit_code == 1 and "did you mean ddim?" in wrong.stderr


def test_a_tuned_grid_is_kept_with_the_run_and_used(run):
    words = ["--steps", "3", "--sampler", "ddim", "-n", "12", "--rounds", "2", "--device", "cpu"]
    result = run.run("tune-grid", "runs/mine", *words)
    assert result.exit_code == 0, result.stderr
    told, use = result.stdout.splitlines()
    assert told.startswith("the distance to 64 steps of ddim fell from ")
    assert use.startswith("use it: sfumato sample runs/mine --sampler ddim --steps 3 --grid ")
    made = run.run(*use.removeprefix("use it: sfumato ").split(), "--out", "out")
    assert made.exit_code == 0, made.stderr
    assert len(points("out")) == 16
    missing = run.run("sample", "runs/mine", "--grid", "nowhere.json", "--out", "other")
    assert missing.exit_code == 1 and "nowhere.json is missing" in missing.stderr
