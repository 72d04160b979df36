"""What the command line knows of trajectories."""

from __future__ import annotations

__all__ = ["TrajectoryDomain", "domain"]

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from sfumato import Batch, Dataset, InputError
from sfumato_eval import Score

from . import files, metrics
from .data import tracks_of
from .nbody import INTERVAL, KINDS, simulate
from .preview import preview

DEMO = 1000
"""Simulated systems of the demo."""


class TrajectoryDomain:
    """The `sfumato.domain.Domain` of trajectories; see the functions that its methods call."""

    name: ClassVar[str] = "molecules/trajectories"
    suffixes: ClassVar[Sequence[str]] = files.WRITTEN

    def read(self, path: Path, **options: Any) -> Dataset:
        """Trajectories at `path`; takes the options of `files.read`."""
        return files.read(Path(path), **options)

    def follow(self, path: Path, about: Mapping[str, Any], **options: Any) -> Dataset:
        """Other trajectories, which have to fit the facts of those that a model was made for."""
        return self.read(path, **{**options, "like": about})

    def demo(self) -> Dataset:
        """Simulated charges: 1,000 systems of five points, 10 frames given and 20 to come."""
        tracks = simulate("charged", DEMO)
        return tracks_of(
            tracks, given=10, future=20, interval=INTERVAL, features=[KINDS["charged"][1]]
        )

    def sources(
        self, path: Path, values: Mapping[str, str], about: Mapping[str, Any], **options: Any
    ) -> Dataset:
        """Trajectories whose first frames are given; what they hold beyond is what happened."""
        if values:
            raise InputError(f"trajectories take no condition; given were {', '.join(values)}")
        return files.read(Path(path), **{**options, "like": about})

    def write(self, batch: Batch, path: Path, about: Mapping[str, Any]) -> list[Path]:
        """The kind of file that the suffix says; one .npz for each in a folder."""
        return files.write(batch, Path(path), about)

    def preview(self, batch: Batch, path: Path, about: Mapping[str, Any]) -> Path:
        """Drawings of trajectories."""
        return preview(batch, Path(path), about)

    def metrics(self, train: Dataset) -> Sequence[Any]:
        """Distances of the laws of speeds, of distances and of how systems move."""
        return metrics.metrics(train)

    def fidelity(self, original: Batch, made: Batch) -> Mapping[str, Score]:
        """ADE and FDE against what happened."""
        return metrics.fidelity(original, made)

    def condition(
        self, values: Mapping[str, str], n: int, about: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The kinds of points of systems of the data, in turn; nothing where frames are given.

        Raises:
            InputError: for any condition.
        """
        if values:
            raise InputError(f"trajectories take no condition; given were {', '.join(values)}")
        if "source" in about:
            return {}
        kinds = torch.tensor(about["examples"], dtype=torch.float32)
        return {"kind": kinds[torch.arange(n) % len(kinds)]}


domain = TrajectoryDomain()
