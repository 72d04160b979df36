"""The processes of a sampling job: one, those that torchrun starts, or those that we start.

They are no process group: they share a store alone, so that none waits for another.

    python -m sfumato_train.jobs JOB RUN [MINUTES]     # one worker, in such an environment
"""

from __future__ import annotations

__all__ = ["following", "main", "sample_job", "take", "threads", "work"]

import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Literal

import torch
from torch.distributed import DistError

from sfumato import InputError, Unsupported

from ..guards import Watch, throttled
from ..places import Place, place
from ..runs import Run, open_run
from .claiming import begun, check_same, model_of
from .queues import PATIENCE, Store, join, shared
from .shards import Asked, Job, finish, make, open_job

LISTING = 2.0
"""Seconds between two looks at what other workers have made."""


def sample_job(
    run: Run,
    out: Path,
    asked: Asked,
    *,
    workers: int = 1,
    backend: Literal["queue", "ray"] = "queue",
    minutes: float | None = None,
    watch: Watch | None = None,
) -> Job:
    """Make a sampling job, or go on with it, alone or as one of several workers.

    Args:
        run: what to sample from: its last checkpoint when the job begins.
        out: the job folder; the picture stands beside it.
        asked: what to make.
        workers: processes to start on this machine; 1: this one does the work.
        backend: what shares the work, where torchrun has not started this process.
        minutes: no shard is begun after this long.
        watch: is told how many samples there are.

    Returns:
        The job. Without a time limit nothing of it is missing; with one, the same call goes on.

    Raises:
        InputError: if the folder is of another job or cannot be written, the queue or all workers
            are gone, or variables of torchrun are missing; shards that were made stay.
        KeyboardInterrupt: says what there is.
    """
    here = place()
    if here is not None:
        if workers > 1 or backend != "queue":
            raise InputError("a worker that torchrun started starts no workers of its own")
        return _joined(here, run, out, asked, minutes, watch)
    with begun(out, run, asked) as job, _told(job):
        if backend == "ray":
            from . import ray_backend

            ray_backend.share(job, run, minutes, watch)
        elif workers > 1:
            from . import crew

            crew.share(job, run, workers, minutes, watch)
        else:
            missing = (shard for shard in job.missing())
            work(job, run, missing, device=asked.device, minutes=minutes, watch=watch)
        _end(job, watch)
    return job


def _end(job: Job, watch: Watch | None) -> None:
    """Finish a job of which nothing is missing."""
    if not job.missing():
        finish(job)
        if watch is not None:
            watch(job.n, job.n, None, None)


def work(
    job: Job,
    run: Run,
    shards: Generator[int, None, None],
    *,
    device: str | None = None,
    minutes: float | None = None,
    watch: Watch | None = None,
) -> None:
    """Make shards, at least one, until there are none or the minutes are over.

    Args:
        job: the job.
        run: its run.
        shards: those to make; each is asked for when the one before is made.
        device: where to compute; None: the first device of the job's kind.
        minutes: no shard is begun after this long.
        watch: is told how many samples of the whole job there are.
    """
    began = time.monotonic()
    told = following(job, watch)
    model = model_of(job, run, device)
    with threads(job.facts["threads"]), closing(shards):
        for shard in shards:
            make(job, run, model, shard, told)
            if minutes is not None and time.monotonic() - began > 60 * minutes:
                return


def following(job: Job, watch: Watch | None) -> Watch:
    """A watch of one shard that tells `watch` of the whole job, others' shards included.

    The names in the folder are read when it is made and then every few seconds.
    """
    tell, began = throttled(watch, job.n), time.monotonic()
    size, last = job.facts["shard"], began
    first = before = size * (job.count - len(job.missing()))

    def follow(step: int, total: int, loss: float | None, items_per_s: float | None) -> None:
        nonlocal before, last
        now = time.monotonic()
        if now - last > LISTING:
            last, before = now, size * (job.count - len(job.missing()))
        done = before + step
        if done < job.n:  # the end is told when the job is finished
            tell(done, None, max(done - first, 0) / max(now - began, 1e-9), over=False)
        if step == total:
            before += total

    return follow


def _joined(
    here: Place, run: Run, out: Path, asked: Asked, minutes: float | None, watch: Watch | None
) -> Job:
    """The part of one worker; worker 0 also begins the job and finishes it."""
    store = join(here)
    if here.rank:
        _wait(here, store)
        job = open_job(out)
        check_same(job, run, asked)
        take(here, store, job, run, minutes)
        return job
    with ExitStack() as held:
        try:
            job = held.enter_context(begun(out, run, asked))
        except (InputError, Unsupported) as error:
            store.set("begun", str(error))
            raise
        store.set("begun", "")
        with _told(job):
            take(here, store, job, run, minutes, watch)
        _end(job, watch)
    return job


def _wait(here: Place, store: Store) -> None:
    """Until worker 0 has begun the job."""
    try:
        refused = store.get("begun").decode()
    except DistError as error:
        raise InputError(
            f"worker {here.rank} waited in vain for worker 0 to begin the job: it has ended, or "
            f"needs more than {PATIENCE.seconds // 60} minutes"
        ) from error
    if refused:
        raise InputError(f"worker 0 could not begin the job: {refused}")


def take(
    here: Place,
    store: Store,
    job: Job,
    run: Run,
    minutes: float | None,
    watch: Watch | None = None,
) -> None:
    """Make the shards that the queue gives; on machines with GPUs each worker has its own.

    Raises:
        InputError: if the queue is gone before the job is done.
    """
    gpus = torch.cuda.device_count() if job.facts["device"] == "cuda" else 0
    device = f"cuda:{here.local % gpus}" if gpus else None
    try:
        work(job, run, shared(store, job), device=device, minutes=minutes, watch=watch)
    except DistError as error:
        # who keeps the queue may be the first to see that nothing is missing, or the time over
        if job.missing() and minutes is None:
            raise InputError(
                f"worker {here.rank} lost the queue at {here.host}:{here.port}, whose process has "
                f"ended; {job.told()} are there: run the same again to go on"
            ) from error


@contextmanager
def _told(job: Job) -> Iterator[None]:
    """Within the block an interrupt says what there is."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{job.told()} are there; run the same again to go on") from None


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Within the block torch computes with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def main(words: Sequence[str]) -> int:
    """Be one worker of a job that is begun; returns the exit code."""
    here = place()
    folder, run, *rest = words
    if here is None:
        print("Error: a worker needs the environment that torchrun sets", file=sys.stderr)
        return 2
    try:
        job = open_job(Path(folder))
        take(here, join(here), job, open_run(run), float(rest[0]) if rest else None)
    except (InputError, Unsupported) as error:
        print(f"Error: worker {here.rank}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # who started it tells
    return 0
