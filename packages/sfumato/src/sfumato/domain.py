"""What a plugin tells the command line about its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .model import Batch

__all__ = ["Dataset", "Domain"]


class Dataset(Protocol):
    """Items of data on the host, read by index."""

    @property
    def about(self) -> Mapping[str, Any]:
        """JSON-able facts that a model is built from: sizes, channels, class names."""

    def __len__(self) -> int:
        """Number of items."""

    def batch(self, index: Sequence[int]) -> Batch:
        """The items at `index`, in that order, on the CPU; several threads may call at a time."""


class Domain(Protocol):
    """Reading, writing, showing and measuring one kind of data."""

    name: str

    def read(self, path: Path, **options: Any) -> Dataset:
        """The data at `path`; raises `InputError` for what cannot be read."""

    def demo(self) -> Dataset:
        """Real data reachable with pip alone."""

    def write(self, batch: Batch, path: Path, about: Mapping[str, Any]) -> list[Path]:
        """Write samples in files of the domain, which `read` takes; returns what was written."""

    def preview(self, batch: Batch, path: Path, about: Mapping[str, Any]) -> Path:
        """Write one picture (PNG) that shows the samples."""

    def metrics(self, train: Dataset) -> Sequence[Any]:
        """The metrics of the domain; those that need a feature network fit it on `train`."""

    def condition(
        self, values: Mapping[str, str], n: int, about: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """`name=value` words as conditions for n samples; that of sample i is one for all n."""
