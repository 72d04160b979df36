"""Workers of one machine that we start ourselves: one that dies does not stop the others."""

from __future__ import annotations

__all__ = ["share"]

import os
import subprocess
import sys
import time
from contextlib import suppress

from sfumato import InputError

from ..guards import Watch
from ..runs import Run
from .claiming import tidy
from .queues import LEASE, PATIENCE, store_at
from .shards import Job
from .workers import following

HOST = "127.0.0.1"
LOOK = 0.2  # seconds between two looks at the workers


def share(job: Job, run: Run, workers: int, minutes: float | None, watch: Watch | None) -> None:
    """Start workers, keep their queue, and wait until they have ended.

    They get the environment that torchrun would give them, and end by themselves if this process
    is killed: at their next shard the queue is gone.

    Raises:
        InputError: if shards are missing, although no time was over.
    """
    store = store_at(HOST, 0, keeps=True, patience=PATIENCE)
    command = [sys.executable, "-m", "sfumato_train.jobs", str(job.path), str(run.path)]
    command += [] if minutes is None else [str(minutes)]
    crew = [
        subprocess.Popen(command, env=_environment(rank, workers, store.port))
        for rank in range(workers)
    ]
    told = following(job, watch)
    try:
        while any(worker.poll() is None for worker in crew):
            time.sleep(LOOK)
            told(0, job.facts["shard"], None, None)
            if any(worker.returncode == 0 for worker in crew) and not job.missing():
                break
        for worker in crew:  # one that hangs is not waited for: its shard is there
            with suppress(subprocess.TimeoutExpired):
                worker.wait(LEASE)
    finally:
        for worker in crew:
            worker.kill()
            worker.wait()
        tidy(job.path)
    if job.missing() and (minutes is None or any(worker.returncode for worker in crew)):
        codes = ", ".join(str(worker.returncode) for worker in crew)
        raise InputError(
            f"all workers have ended (exit codes {codes}; below zero: killed by that signal), but "
            f"only {job.told()} are there: mend the cause and run the same again to go on"
        )


def _environment(rank: int, workers: int, port: int) -> dict[str, str]:
    return {
        "TORCH_CPP_LOG_LEVEL": "FATAL",  # of the store, whose end we tell ourselves
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(workers),
        "MASTER_ADDR": HOST,
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # this process keeps the store
    }
