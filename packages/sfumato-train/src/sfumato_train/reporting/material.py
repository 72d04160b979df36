"""What a report is made from: each thing is made once, when it is first needed."""

from __future__ import annotations

__all__ = ["CodecMaterial", "Material", "Spatial"]

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from sfumato import Batch, Dataset, InputError, Model, Unsupported
from sfumato_data import alike, gather, move
from sfumato_eval import Metric
from sfumato_eval.report import Block, Note, Picture, Scene

from ..checkpoint import Saved
from ..coding import reconstruct
from ..drawing import draw
from ..ema import Trained
from ..guards import Watch
from ..pairing import asked, is_paired, restored
from ..pinning import SOURCE
from ..runs import Run
from ..yardstick import Yardstick, yardstick

MOST = 1000
"""Samples of a report, unless more are asked for."""

WITHOUT = 64
"""Samples of a report of a run without data to compare with."""


@runtime_checkable
class Spatial(Protocol):
    """What a domain adds whose items are in space."""

    def scenes(self, batch: Batch, about: Mapping[str, Any]) -> Sequence[Scene]:
        """Some of the items, to be turned by the reader of a report."""


class Material:
    """A run, its samples and its yardstick.

    Args:
        run: the run.
        model: of its last checkpoint.
        saved: that checkpoint.
        rows: of its metrics.jsonl.
        n: samples; None: half of the held-out items, at most 1,000.
        steps: step counts at which quality is measured.
        seed: of the samples, and of the choice of real items.
        guidance: see `draw`; None: the model's own.
        batch: see `draw`.
        watch: is told how many of the samples of all draws are done.

    Raises:
        InputError: if half of the held-out items are fewer than n.
    """

    def __init__(
        self,
        run: Run,
        model: Model,
        saved: Saved,
        rows: Sequence[Mapping[str, Any]],
        n: int | None,
        steps: Sequence[int],
        seed: int,
        guidance: float | None,
        batch: int | None,
        watch: Watch | None,
    ) -> None:
        self._begin(run, model, saved, rows, n, seed, batch, watch)
        self.asked = guidance
        self.steps = sorted({*steps, model.steps})

    def _begin(
        self,
        run: Run,
        model: Trained,
        saved: Saved,
        rows: Sequence[Mapping[str, Any]],
        n: int | None,
        seed: int,
        batch: int | None,
        watch: Watch | None,
    ) -> None:
        """What all kinds of run have in common."""
        self.run, self.saved, self.rows = run, saved, rows
        self.model: Any = model
        self.seed, self.batch, self.watch = seed, batch, watch
        self.missing: list[tuple[str, str]] = []
        self.speed: dict[int, float] = {}  # samples per second by step count
        self._drawn = 0
        self.n = self._count(n)

    def _count(self, n: int | None) -> int:
        if n is not None and n < 1:
            raise InputError(f"n must be at least 1, but is {n}")
        try:
            train, held = self.data
        except Exception:  # told where the data is needed
            return n or WITHOUT
        most = len(held) // 2
        if n is not None and most and n > most:
            raise InputError(
                f"n must be at most {most}, half of the {len(held)} held-out items, but is {n}"
            )
        return n or min(most or WITHOUT, MOST)

    @cached_property
    def data(self) -> tuple[Dataset, Dataset]:
        """(train, held) of the run, such as it samples; raises `InputError` if unreadable."""
        train, held = self.run.data()
        return alike(train), alike(held)

    @cached_property
    def yardstick(self) -> Yardstick:
        """What samples are measured with; raises `InputError` where nothing was held out."""
        train, held = self.data
        return yardstick(self.run.domain, train, held, self.n, self.seed)

    @cached_property
    def metrics(self) -> Sequence[Metric[Any]]:
        """The metrics of the domain, fitted on the training items."""
        train, held = self.data
        return self.yardstick.metrics if len(held) > 1 else self.run.domain.metrics(train)

    @cached_property
    def condition(self) -> Mapping[str, Any]:
        """What the samples are asked for with."""
        try:
            return self.yardstick.condition
        except Exception:  # told where the data itself is needed
            if is_paired(self.run.about):
                return asked(*self.data, self.n).condition
            return self.run.domain.condition({}, self.n, self.run.about)

    @property
    def guidance(self) -> float | None:
        """The guidance asked for or the model's own, where there is something to strengthen."""
        own = self.model.guidance if self.asked is None else self.asked
        return own if self.condition.keys() - {SOURCE} else None

    @cached_property
    def samples(self) -> Batch:
        """The n samples, as the model is meant to be sampled."""
        return self.draw(self.model.steps)

    def draw(self, steps: int) -> Batch:
        """The n samples at a step count, from the same seed as those at any other."""
        condition = self.condition  # made before the clock starts
        before, began = self._drawn, time.monotonic()
        found = draw(
            self.model,
            self.n,
            steps=steps,
            seed=self.seed,
            condition=condition,
            guidance=self.guidance,
            batch=self.batch,
            watch=lambda step, total, loss, rate: self.tell(before + step, rate),
        )
        self.speed[steps] = self.n / max(time.monotonic() - began, 1e-9)
        self._drawn = before + self.n
        return found

    @property
    def paired(self) -> bool:
        """Whether the samples were made of the sources of pairs."""
        return not self.run.codes and is_paired(self.run.about)

    @property
    def restored(self) -> Batch:
        """The samples of a model of pairs, with the targets of their sources."""
        return restored(self.samples, self.yardstick.pairs)

    def tell(self, done: int, rate: float | None = None) -> None:
        """Tell the watch how many samples are done; all that follows counts as one more draw."""
        if self.watch is not None:
            self.watch(done, self.total, None, rate)

    @property
    def total(self) -> int:
        """What the watch counts to."""
        return (len(self.steps) + 1) * self.n

    def picture(self, batch: Batch, alt: str) -> Picture:
        """How the domain shows a batch.

        Raises:
            InputError: if its preview is no PNG file.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "preview.png")
            written = self.run.domain.preview(move(batch, "cpu"), path, self.run.about)
            return Picture.read(Path(written), alt)

    def scenes(self, batch: Batch) -> Sequence[Scene]:
        """What of a batch can be turned in space, where the domain shows that."""
        if not isinstance(self.run.domain, Spatial):
            return []
        return self.run.domain.scenes(move(batch, "cpu"), self.run.about)

    def attempt(self, what: str, make: Callable[[], Sequence[Block]]) -> list[Block]:
        """Blocks of the report, or a sentence that says why they are missing.

        Plugins have a say in nearly every part, and a defect in one part is no reason to be silent
        about the others: whatever goes wrong is told in the report.
        """
        try:
            with torch.no_grad():
                return list(make())
        except (InputError, Unsupported) as error:
            why = str(error)
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
        why = " ".join(why.split()).rstrip(".")
        self.missing.append((what, why))
        return [Note(f"{what}: not in this report. {why[:1].upper()}{why[1:]}.", missing=True)]


class CodecMaterial(Material):
    """A run of a codec; what it makes of held-out items stands for samples.

    Args:
        run: the run.
        model: the codec of its last checkpoint.
        saved: see `Material`, like all that follow.
        rows: see there.
        n: see there.
        seed: see there.
        batch: see there.
        watch: see there.

    Raises:
        InputError: as `Material`.
    """

    def __init__(
        self,
        run: Run,
        model: nn.Module,
        saved: Saved,
        rows: Sequence[Mapping[str, Any]],
        n: int | None,
        seed: int,
        batch: int | None,
        watch: Watch | None,
    ) -> None:
        self._begin(run, model, saved, rows, n, seed, batch, watch)
        self.steps = []

    @property
    def guidance(self) -> None:
        return None

    @cached_property
    def samples(self) -> Batch:
        """What the codec makes of the items of the yardstick."""
        real = gather(self.yardstick.real)
        return reconstruct(
            self.model,
            real,
            self.seed,
            batch=self.batch,
            watch=lambda step, total, loss, rate: self.tell(step, rate),
        )
