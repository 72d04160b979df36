"""Killed at any moment, a run goes on from its last checkpoint to the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from sfumato_train import checkpoint, files, open_run, start

STEPS = 40
WORDS = [f"steps={STEPS}", "save=1", "log=4", "dropout=0.1", "batch=8", "keep=3"]
NURSERY = """
import os, sys
import torch, toy_things
from sfumato_train import start
torch.optim.AdamW([torch.zeros(1)])  # its first use imports seconds' worth of modules
for line in sys.stdin:
    child = os.fork()
    if not child:
        start("toy/points", sys.argv[2:], None, sys.argv[1], resume=True, device="cpu")
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture
def nursery(site, tmp_path):
    """A process that has imported everything; for each line that it reads it trains in a child."""
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY, str(tmp_path / "killed"), *WORDS],
        env=os.environ | {"PYTHONPATH": site, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.stdin.close()


def train(nursery, kill=None):
    """Let a child train; `kill` says when it is killed. Returns how it ended."""
    print("go", file=nursery.stdin, flush=True)
    child = int(nursery.stdout.readline())
    if kill is not None:
        kill()
        os.kill(child, signal.SIGKILL)
    return int(nursery.stdout.readline())


def test_killed_and_resumed_is_uninterrupted_bit_for_bit(toy, nursery, tmp_path):
    """Most of the time goes into writing checkpoints, so that is where most kills fall."""
    out, whole = tmp_path / "killed", tmp_path / "whole"

    def seen():
        return [int(path.name[5:]) for path in (out / "checkpoints").glob("step-*")]

    def wait(after, pause):
        while max(seen(), default=0) < after:
            time.sleep(0.002)
        time.sleep(pause)

    last = 0
    for pause in (0.0, 0.013, 0.007, 0.021):
        code = train(nursery, kill=lambda last=last, pause=pause: wait(last + 3, pause))
        assert code == -signal.SIGKILL
        found = open_run(out).checkpoints()
        for one in found:  # what can be seen is whole
            for stem in ("model", "ema", "training"):
                assert checkpoint.read(one.path, stem)
        last = found[-1].step
    assert last < STEPS and train(nursery) == 0

    start("toy/points", WORDS, None, whole, device="cpu")
    for name in ("model", "ema", "training"):
        one, other = (
            run / "checkpoints" / f"step-{STEPS:06d}" / f"{name}.safetensors"
            for run in (out, whole)
        )
        assert one.read_bytes() == other.read_bytes()
    one, other = (
        [{**row, "items_per_s": None} for row in files.rows(run / "metrics.jsonl")]
        for run in (out, whole)
    )
    assert one == other
    assert not list((out / "checkpoints").glob(".step-*"))
