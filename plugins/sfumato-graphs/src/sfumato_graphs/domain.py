"""What the command line knows of graphs."""

from __future__ import annotations

__all__ = ["GraphDomain", "domain"]

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor

from sfumato import Batch, Dataset

from . import conditions, data, files, metrics, writing
from .preview import preview


class GraphDomain:
    """The `sfumato.domain.Domain` of graphs; see the functions that its methods call."""

    name: ClassVar[str] = "graphs"
    suffixes: ClassVar[Sequence[str]] = writing.WRITTEN

    def read(self, path: Path, *, strict: bool = True, **options: Any) -> Dataset:
        """Graphs at `path` (`files.read`); takes the options of `data.graphs_of`.

        With `strict` the first record that is wrong is an error, else the facts tell of all.
        """
        rejects: list[str] | None = None if strict else []
        networks = files.read(Path(path), rejects)
        return data.graphs_of(networks, name=Path(path).stem, rejects=rejects, **options)

    def follow(self, path: Path, about: Mapping[str, Any], **options: Any) -> Dataset:
        """Other graphs, by the classes, labels and properties of the data with these facts."""
        del options  # the facts say it all
        return data.graphs_of(files.read(Path(path)), name=Path(path).stem, schema=about)

    def demo(self) -> Dataset:
        """The atlas: all graphs of one to seven nodes."""
        return data.demo()

    def write(self, batch: Batch, path: Path, about: Mapping[str, Any]) -> list[Path]:
        """The kind of file that the suffix says; GraphML in a folder."""
        networks = data.networks(batch.x, about)
        for item, network in enumerate(networks):
            network.graph.update(conditions.told(batch.condition, item, about))
        return writing.write(networks, Path(path))

    def preview(self, batch: Batch, path: Path, about: Mapping[str, Any]) -> Path:
        """Drawings of graphs."""
        return preview(batch, Path(path), about)

    def metrics(self, train: Dataset) -> Sequence[Any]:
        """MMD of degrees, clustering, orbits and spectra; unique and novel graphs."""
        return metrics.metrics(train)

    def condition(
        self, values: Mapping[str, str], n: int, about: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        """`nodes=12..20`, and a label and properties that training was told: `conditions.asked`."""
        return conditions.asked(values, n, about)


domain = GraphDomain()
