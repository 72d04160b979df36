"""A key for each sample: which are the same, and which were seen before."""

from __future__ import annotations

__all__ = ["Names"]

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Names:
    """Keys of samples, "" for one that is not valid; adding joins them.

    Attributes:
        keys: equal for samples that are the same.
    """

    keys: tuple[str, ...]

    @property
    def n(self) -> int:
        """Samples."""
        return len(self.keys)

    def __add__(self, other: Names) -> Names:
        return Names(self.keys + other.keys)

    @property
    def valid(self) -> tuple[str, ...]:
        """The keys of the valid ones."""
        return tuple(key for key in self.keys if key)
