"""Beginning a sampling job, or going on with it: the same is asked for, and by nobody else."""

from __future__ import annotations

__all__ = ["begun", "check_same", "model_of", "tidy"]

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

import sfumato
from sfumato import Batch, InputError, Model, registry

from ..checkpoint import collect
from ..devices import pick_device
from ..drawing import draw, fitting
from ..ema import parts
from ..files import locked, write_json
from ..folders import check_place, placed, swept
from ..runs import Run
from .shards import FORMAT, JOB, NOTE, SHARD, Asked, Job, open_job


@contextmanager
def begun(path: Path, run: Run, asked: Asked) -> Iterator[Job]:
    """A job, begun or gone on with, that no other process begins or goes on with meanwhile.

    Workers need no such claim: what they write is whole, and the same whoever writes it.

    Raises:
        InputError: if the folder holds something else or cannot be made, the job there is of
            another run, version or options, or another process is at it.
    """
    if not (path / JOB).is_file():
        _begin(path, run, asked)
    with _claimed(path):
        job = open_job(path)
        check_same(job, run, asked)
        tidy(path)
        yield job


def tidy(path: Path) -> None:
    """Remove what killed workers of this machine left in a job folder."""
    swept(path, "shard-*")


def _begin(path: Path, run: Run, asked: Asked) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; samples are written to a folder")
    if path.exists() and any(path.iterdir()) and not (path / NOTE).is_file():
        raise InputError(f"{path} holds files that are no samples of ours; name a new folder")
    check_place(path)
    device = pick_device(asked.device)
    model = run.model(asked.weights, device=str(device), precision=asked.precision)
    _try(run, model, asked)
    shard = min(asked.shard or SHARD, asked.n)
    facts = asdict(asked) | {
        "format": FORMAT,
        "recipe": run.name,
        "run": str(run.path.resolve()),
        "checkpoint": {
            "step": run.checkpoints()[-1].step,
            "weights": _fingerprint(model),
            "sampler": repr(model.sampler),
        },
        "shard": shard,
        "steps": asked.steps or model.steps,
        "batch": min(shard, asked.batch or _fits(run, model, asked)),
        "device": device.type,
        "threads": max(1, int(os.environ.get("OMP_NUM_THREADS", "1") or 1)),
        "versions": _versions(run),
    }
    with placed(path, replace=(path / NOTE).is_file()) as folder:
        write_json(folder / JOB, facts)


@contextmanager
def _claimed(path: Path) -> Iterator[None]:
    claim = locked(path)
    try:
        claim.__enter__()
    except InputError:
        raise InputError(
            f"another process is at the sampling job {path}; wait until it has ended, and share "
            "the work by workers of one queue (--workers, torchrun)"
        ) from None
    try:
        yield
    finally:
        claim.__exit__(None, None, None)


def check_same(job: Job, run: Run, asked: Asked) -> None:
    """Raise `InputError`, naming the differences, unless the job is what is asked for."""
    wanted = asdict(asked) | {
        "recipe": run.name,
        "device": pick_device(asked.device).type,
        "steps": asked.steps or job.facts["steps"],
        "shard": min(asked.shard or job.facts["shard"], asked.n),
        "batch": min(asked.batch or job.facts["batch"], job.facts["shard"]),
        "versions": _versions(run),
    }
    other = [name for name in wanted if wanted[name] != job.facts[name]]
    if other:
        there = ", ".join(f"{name}={job.facts[name]}" for name in other)
        here = ", ".join(f"{name}={wanted[name]}" for name in other)
        raise InputError(
            f"{job.path} holds a sampling job with {there}, but now it is {here}; "
            "name another folder, or ask for the same"
        )


def model_of(job: Job, run: Run, device: str | None = None) -> Model:
    """The model that the job samples from.

    Args:
        job: the job.
        run: the run that it was begun with.
        device: of the job's kind, such as `cuda:1`; None: its first one.

    Raises:
        InputError: if the checkpoint is gone or other than it was.
    """
    step, weights = job.facts["checkpoint"]["step"], job.facts["checkpoint"]["weights"]
    try:
        model = run.model(
            job.facts["weights"],
            step,
            device=device or job.facts["device"],
            precision=job.facts["precision"],
        )
    except InputError as error:
        raise InputError(f"{job.path} was begun with step {step} of its run, but {error}") from None
    if _fingerprint(model) != weights:
        raise InputError(
            f"{job.path} is a sampling job of {job.facts['run']} with other weights at step {step} "
            f"than {run.path} has; name another folder"
        )
    return model


def _try(run: Run, model: Model, asked: Asked) -> None:
    """Draw one sample, so that a job that cannot be made is not begun."""
    draw(
        model,
        1,
        sampler=asked.sampler,
        grid=asked.grid,
        steps=asked.steps,
        condition=run.domain.condition(asked.condition, 1, run.about),
        guidance=asked.guidance,
        batch=1,
    )


def _fits(run: Run, model: Model, asked: Asked) -> int:
    """How many samples fit in memory at a time."""
    most = min(asked.n, asked.shard or SHARD)
    condition = run.domain.condition(asked.condition, most, run.about)
    return fitting(model, Batch(torch.empty(most, 0), condition), asked.guidance, asked.seed)


def _fingerprint(model: Model) -> str:
    """SHA-256 of all weights, their names and kinds."""
    found = hashlib.sha256()
    for name, value in sorted(collect(parts(model)).items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        raw = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        found.update(raw.numpy().data)
    return found.hexdigest()


def _versions(run: Run) -> dict[str, str]:
    """The versions that samples may depend on."""
    owner = registry().find("recipe", run.name).owner
    return {"sfumato": sfumato.__version__, owner: version(owner), "torch": torch.__version__}
