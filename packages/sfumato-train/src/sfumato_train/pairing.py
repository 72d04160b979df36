"""Runs of pairs: what they are asked for with, and what is made of it beside what it should be."""

from __future__ import annotations

__all__ = ["Restores", "asked", "is_paired", "restored", "takes_sources"]

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from sfumato import Batch, Dataset
from sfumato_data import alike, gather

from .pinning import SOURCE


@runtime_checkable
class Restores(Protocol):
    """What a domain adds that can read what a run makes something of: see `takes_sources`."""

    def sources(
        self, path: Path, values: Mapping[str, str], about: Mapping[str, Any], **options: Any
    ) -> Dataset:
        """What is at `path`, as conditions (of pairs `source`) of items laid out like the targets.

        Args:
            path: a folder or a file.
            values: `name=value` words, further conditions of the items.
            about: the facts of the data that the run was trained on.
            options: of the `reading` of the recipe.

        Returns:
            Items of which each batch has the facts `name`, a name for what is made of each (where
            they have names), and `target`, what should be made of each (where that is known).
        """


def is_paired(about: Mapping[str, Any]) -> bool:
    """Whether data with these facts has a source for each item."""
    return SOURCE in about


def takes_sources(about: Mapping[str, Any]) -> bool:
    """Whether something can be made of files: those of pairs, or what the fact `sources` names."""
    return is_paired(about) or "sources" in about


def restored(made: Batch, pairs: Batch) -> Batch:
    """What was made of the sources of pairs, with the targets of these as the fact `target`."""
    return replace(made, about={**made.about, "target": list(pairs.x)})


def asked(train: Dataset, held: Dataset, n: int) -> Batch:
    """Pairs, n spread evenly over those held out; gone through in turn where they are fewer.

    Of those trained on, where none were held out; of data with groups, those of group 0.
    """
    data = alike(held if len(held) else train)
    count = len(data)
    return gather(data, [i * count // n if n <= count else i % count for i in range(n)])
