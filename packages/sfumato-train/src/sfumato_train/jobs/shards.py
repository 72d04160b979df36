"""Large sampling jobs: a folder of shards, each made whole or not at all, by anybody, in any order.

A job folder holds `job.json` (everything that the samples depend on), `shard-000000/` and so on in
the files of the domain, each with a `samples.json`, and a `samples.json` of its own once all shards
are there; the first samples are shown in a picture beside it. A shard is a function of `job.json`
and the weights alone. That includes the batch and the number of threads, since kernels round
differently by both; so the result depends neither on the number of workers nor on interruptions.
"""

from __future__ import annotations

__all__ = [
    "FORMAT",
    "JOB",
    "NOTE",
    "SHARD",
    "Asked",
    "Job",
    "finish",
    "job_batches",
    "make",
    "open_job",
]

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch

from sfumato import Batch, InputError, Model
from sfumato_data import select

from ..drawing import draw
from ..files import read_json, write_json
from ..folders import placed
from ..guards import Watch
from ..runs import Run, read_more

FORMAT = 1
"""Of job.json. A job is finished by the version that began it, so there are no migrations."""

JOB, NOTE = "job.json", "samples.json"
SHARD = 1000
"""Samples in a shard, unless told."""

SHOWN = 64
"""Samples in the picture, at most."""


@dataclass(frozen=True)
class Asked:
    """What a job is to make; None leaves a choice to the job or to the model.

    Attributes:
        n: samples in all.
        shard: samples in a shard; None: 1,000.
        batch: samples in memory at a time; None: what fits when the job begins, at most 256.
        sampler: a registered name; None: the model's own.
        grid: a registered name; None: the model's own.
        steps: of the sampler; None: the model's own.
        seed: of the samples.
        guidance: scale of classifier-free guidance.
        condition: `name=value` words, as `Domain.condition` takes them.
        precision: arithmetic of the network.
        device: where to compute; None: a GPU if there is one. A job keeps to its kind.
        weights: which of the run's, see `Run.model`.
    """

    n: int
    shard: int | None = None
    batch: int | None = None
    sampler: str | None = None
    grid: str | None = None
    steps: int | None = None
    seed: int = 0
    guidance: float | None = None
    condition: Mapping[str, str] = field(default_factory=dict)
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str | None = None
    weights: str = "ema"

    def __post_init__(self) -> None:
        for name in ("n", "shard", "batch", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, but is {value}")


@dataclass(frozen=True)
class Job:
    """A job folder.

    Attributes:
        path: the folder.
        facts: the content of `job.json`.
    """

    path: Path
    facts: Mapping[str, Any]

    @property
    def n(self) -> int:
        """Samples in all."""
        return int(self.facts["n"])

    @property
    def count(self) -> int:
        """Shards in all."""
        return -(-self.n // int(self.facts["shard"]))

    @property
    def picture(self) -> Path:
        """Where the first samples are shown."""
        return self.path.with_name(f"{self.path.name}.png")

    def folder(self, shard: int) -> Path:
        """Where a shard stands when it is made."""
        return self.path / f"shard-{shard:06d}"

    def numbers(self, shard: int) -> range:
        """The numbers of its samples, counted over the whole job."""
        size = self.facts["shard"]
        return range(shard * size, min((shard + 1) * size, self.n))

    def made(self, shard: int) -> bool:
        """Whether a shard is there."""
        return self.folder(shard).is_dir()

    def missing(self) -> list[int]:
        """The shards that are not there, ascending; reads the names in the folder once."""
        there = set(os.listdir(self.path))
        return [i for i in range(self.count) if self.folder(i).name not in there]

    def told(self) -> str:
        """How far it is, in words."""
        return f"{self.count - len(self.missing())} of {self.count} shards"


def open_job(path: Path) -> Job:
    """The job in a folder.

    Raises:
        InputError: if there is none, or `job.json` is damaged or of another format.
    """
    facts = read_json(path / JOB)
    if facts.get("format") != FORMAT:
        raise InputError(
            f"{path} is a sampling job of format {facts.get('format')}, and this sfumato works on "
            f"format {FORMAT}; finish it with the version that began it, or name another folder"
        )
    needed = {*asdict(Asked(1)), "recipe", "checkpoint", "threads", "versions"}
    if missing := sorted(needed - facts.keys()):
        raise InputError(f"{path / JOB} is damaged: it lacks {', '.join(missing)}")
    return Job(path, facts)


def make(job: Job, run: Run, model: Model, shard: int, watch: Watch | None = None) -> None:
    """Draw and write one shard; one that another worker has made meanwhile stays.

    With the first shard comes the picture, of its first 64 samples.

    Raises:
        InputError: if it cannot be written (disk full); what was there stays.
    """
    numbers, facts = job.numbers(shard), job.facts
    drawn = draw(
        model,
        len(numbers),
        first=numbers.start,
        condition=_condition(job, run, numbers),
        watch=watch,
        **{k: facts[k] for k in ("sampler", "grid", "steps", "seed", "guidance", "batch")},
    )
    batch = replace(drawn, about={"number": list(numbers)})
    try:
        if shard == 0:
            beside = job.picture.with_name(f".{os.getpid()}.{job.picture.name}")
            try:
                first = select(batch, torch.arange(min(SHOWN, len(numbers))))
                os.replace(run.domain.preview(first, beside, run.about), job.picture)
            finally:
                beside.unlink(missing_ok=True)
        with placed(job.folder(shard)) as folder:
            run.domain.write(batch, folder, run.about)
            write_json(folder / NOTE, {"first": numbers.start, "n": len(numbers)})
    except OSError as error:
        raise InputError(
            f"shard {shard} of {job.path} could not be written ({error.strerror or error}); "
            f"{job.told()} are there: mend the cause and run the same again to go on"
        ) from error


def finish(job: Job) -> None:
    """Write the `samples.json` of a job whose shards are all there."""
    facts = {k: v for k, v in job.facts.items() if k != "format"}
    write_json(job.path / NOTE, facts)


def job_batches(run: Run, folder: Path, size: int = 256) -> Iterator[Batch]:
    """What `sfumato sample` wrote, read back in order with its conditions, in bounded memory.

    Args:
        run: the run, whose domain reads.
        folder: a finished job, or a folder of samples without shards.
        size: samples in a batch, at most.

    Raises:
        InputError: if there are no samples, the job is not finished or of another recipe, or
            samples are missing.
    """
    if not (folder / NOTE).is_file():
        more = f"only {open_job(folder).told()} are made" if (folder / JOB).is_file() else ""
        raise InputError(f"{folder} holds no finished samples: {more or f'it has no {NOTE}'}")
    if (folder / JOB).is_file():
        job = open_job(folder)
        places = [(job.folder(i), job.numbers(i)) for i in range(job.count)]
    else:
        job = Job(folder, read_json(folder / NOTE))
        places = [(folder, range(job.n))]
    if job.facts.get("recipe", run.name) != run.name:
        raise InputError(f"{folder} holds samples of {job.facts['recipe']}, and not of {run.name}")
    for place, numbers in places:
        data = read_more(run, place)
        if len(data) != len(numbers):
            raise InputError(f"{place} holds {len(data)} of its {len(numbers)} samples")
        for first in range(0, len(data), size):
            index = range(first, min(first + size, len(data)))
            some = range(numbers.start + index.start, numbers.start + index.stop)
            yield Batch(data.batch(index).x, _condition(job, run, some))


def _condition(job: Job, run: Run, numbers: range) -> Mapping[str, Any]:
    """The conditions of some samples; those of sample i do not depend on how many follow it."""
    words = job.facts["condition"]
    condition = run.domain.condition(words, numbers.stop, run.about)
    asked = Batch(torch.empty(numbers.stop, 0), condition)
    return select(asked, torch.arange(numbers.start, numbers.stop)).condition
