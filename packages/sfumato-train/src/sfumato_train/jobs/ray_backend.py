"""Shards as Ray tasks, for clusters that run Ray already: `pip install sfumato-train[ray]`.

Ray knows the machines and tries a task again where one is lost; the shards, and all promises about
them, are the same as with the queue. The folder has to be on a disk that all machines see.
"""

from __future__ import annotations

__all__ = ["share"]

import time
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from sfumato import InputError, Model

from ..guards import Watch
from ..runs import Run, open_run
from .claiming import model_of
from .shards import Job, make, open_job
from .workers import following, threads

TRIES = 3
"""How often a task is tried again whose process or machine was lost."""

AHEAD = 2
"""Tasks that wait for each processor, so that none is idle and the list of tasks stays short."""


def share(job: Job, run: Run, minutes: float | None, watch: Watch | None) -> None:
    """Make the missing shards as tasks of one processor, or GPU, each.

    Joins the cluster that RAY_ADDRESS names, or starts one on this machine.

    Raises:
        InputError: if Ray is not installed, or a task has failed or was lost too often.
    """
    try:
        ray: Any = import_module("ray")
    except ModuleNotFoundError:
        raise InputError(
            "the backend ray needs Ray, an extra: pip install 'sfumato-train[ray]'"
        ) from None
    began, told = time.monotonic(), following(job, watch)
    if not ray.is_initialized():
        ray.init(log_to_driver=False)
    kind = "GPU" if job.facts["device"] == "cuda" else "CPU"
    needs = {"num_gpus": 1} if kind == "GPU" else {"num_cpus": 1}
    task: Any = ray.remote(max_retries=TRIES, **needs)(_shard)
    where = str(job.path.resolve()), str(run.path.resolve())
    most = AHEAD * max(1, int(ray.cluster_resources().get(kind, 1)))
    waiting: list[Any] = []
    left = iter(job.missing())
    while True:
        late = minutes is not None and time.monotonic() - began > 60 * minutes
        while not late and len(waiting) < most and (shard := next(left, None)) is not None:
            waiting.append(task.remote(*where, shard))
        if not waiting:
            break
        done, waiting = ray.wait(waiting, timeout=1)
        try:
            ray.get(done)
        except ray.exceptions.RayError as error:
            cause = str(error).strip().splitlines()[-1]
            raise InputError(
                f"a task of Ray has failed ({cause}); {job.told()} are there: mend the cause and "
                "run the same again to go on"
            ) from error
        told(0, job.facts["shard"], None, None)


def _shard(folder: str, run: str, shard: int) -> None:
    """The task."""
    job, source, model = _loaded(folder, run)
    with threads(job.facts["threads"]):
        make(job, source, model, shard)


@lru_cache(maxsize=1)
def _loaded(folder: str, run: str) -> tuple[Job, Run, Model]:
    """Read once in each process of Ray."""
    job, source = open_job(Path(folder)), open_run(run)
    return job, source, model_of(job, source)
