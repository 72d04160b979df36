"""What the command line knows of graphs."""

from __future__ import annotations

__all__ = ["GraphDomain", "domain"]

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Batch, Dataset, InputError

from . import data, files, metrics, writing
from .preview import preview


class GraphDomain:
    """The `sfumato.domain.Domain` of graphs; see the functions that its methods call."""

    name: ClassVar[str] = "graphs"
    suffixes: ClassVar[Sequence[str]] = writing.WRITTEN

    def read(self, path: Path, **options: Any) -> Dataset:
        """Graphs at `path` (`files.read`); takes the options of `data.graphs_of`."""
        return data.graphs_of(files.read(Path(path)), name=Path(path).stem, **options)

    def demo(self) -> Dataset:
        """The atlas: all graphs of one to seven nodes."""
        return data.demo()

    def write(self, batch: Batch, path: Path, about: Mapping[str, Any]) -> list[Path]:
        """The kind of file that the suffix says; GraphML in a folder."""
        return writing.write(data.networks(batch.x, about), Path(path))

    def preview(self, batch: Batch, path: Path, about: Mapping[str, Any]) -> Path:
        """Drawings of graphs."""
        return preview(batch, Path(path), about)

    def metrics(self, train: Dataset) -> Sequence[Any]:
        """MMD of degrees, clustering, orbits and spectra; unique and novel graphs."""
        return metrics.metrics(train)

    def condition(
        self, values: Mapping[str, str], n: int, about: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        """What n samples are asked for with: `nodes=12`, `nodes=12..20` or `nodes=5,9`, or nothing.

        The samples go through the sizes in turn; without them sizes are drawn from those of the
        training graphs.

        Raises:
            InputError: for another condition, a size that is not a whole number, below 1, or above
                the largest that training has seen.
        """
        for name in values:
            if name != "nodes":
                raise InputError(f"there is no condition {name!r}; this model takes nodes")
        if "nodes" not in values:
            return {}
        sizes = _sizes(values["nodes"], int(about["largest"]))
        return {"nodes": torch.tensor([sizes[i % len(sizes)] for i in range(n)])}


def _sizes(text: str, largest: int) -> list[int]:
    found: list[int] = []
    for word in text.split(","):
        low, dots, high = word.strip().partition("..")
        if not low.isdecimal() or (dots and not high.isdecimal()):
            raise InputError(
                f"nodes={text}: {word.strip()!r} is no number of nodes, such as 12..20"
            )
        found += range(int(low), int(high if dots else low) + 1)
    if not found or min(found) < 1 or max(found) > largest:
        raise InputError(f"nodes={text}: this model makes graphs of 1 to {largest} nodes")
    return found


domain = GraphDomain()
