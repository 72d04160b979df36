"""What the command line knows of complexes."""

from __future__ import annotations

__all__ = ["DockingDomain", "domain"]

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from sfumato import Batch, Dataset, InputError

from .. import writing
from ..components import demo_path
from . import data, metrics
from .complexes import ligands_of
from .pose import posed
from .preview import preview


class DockingDomain:
    """The `sfumato.domain.Domain` of complexes; see the functions that its methods call."""

    name: ClassVar[str] = "molecules/docking"
    suffixes: ClassVar[Sequence[str]] = tuple(
        s for s in writing.WRITTEN if s in (".sdf", ".mol2", ".xyz", ".pdb")
    )

    def read(self, path: Path, **options: Any) -> Dataset:
        """Complexes at `path`; takes the options of `data.read`."""
        return data.read(Path(path), **options)

    def follow(self, path: Path, about: Mapping[str, Any], **options: Any) -> Dataset:
        """Other complexes for a model of data with the facts `about`."""
        return data.read(Path(path), about=about, **options)

    def demo_path(self) -> Path:
        """The Chemical Component Dictionary of the wwPDB, as biotite has it."""
        return demo_path()

    def demo(self) -> Dataset:
        """Its molecules, each cut in two: see `data.pieces`."""
        return data.read(demo_path())

    def write(self, batch: Batch, path: Path, about: Mapping[str, Any]) -> list[Path]:
        """The ligands in the frame of their receptors; an SD file in a folder."""
        names = batch.about.get("name", ())
        return writing.write(ligands_of(batch.x, posed(batch.x).data, about, names), Path(path),
                             explicit=False)  # fmt: skip

    def preview(self, batch: Batch, path: Path, about: Mapping[str, Any]) -> Path:
        """Drawings of poses."""
        return preview(batch, Path(path), about)

    def metrics(self, train: Dataset) -> Sequence[Any]:
        """Shares of poses that are near the truth."""
        return metrics.metrics(train)

    def condition(
        self, values: Mapping[str, str], n: int, about: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Nothing: `sfumato dock` says what is docked.

        Raises:
            InputError: for any condition.
        """
        if values:
            raise InputError(
                f"poses take no condition; given were {', '.join(values)}. Use sfumato dock"
            )
        return {}


domain = DockingDomain()
