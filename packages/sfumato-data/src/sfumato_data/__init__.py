"""Data on the way to training: fetched by name, split, and batches as a function of the step.

Names are loaded on first use, so that importing this package loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .batches import Batches as Batches
    from .batches import prefetched as prefetched
    from .collate import concatenate as concatenate
    from .collate import gather as gather
    from .collate import move as move
    from .collate import select as select
    from .datasets import Grouped as Grouped
    from .datasets import Keyed as Keyed
    from .datasets import Parted as Parted
    from .datasets import Sizable as Sizable
    from .datasets import Spanning as Spanning
    from .datasets import Tensors as Tensors
    from .datasets import alike as alike
    from .datasets import groups_of as groups_of
    from .datasets import keys_of as keys_of
    from .datasets import sizes_of as sizes_of
    from .datasets import spans_of as spans_of
    from .datasets import split as split
    from .datasets import subset as subset
    from .joining import join as join
    from .sources import Source as Source
    from .sources import fetch as fetch
    from .sources import where as where

_HOME = {
    "batches": ("Batches", "prefetched"),
    "collate": ("concatenate", "gather", "move", "select"),
    "datasets": (
        "Grouped", "Keyed", "Parted", "Sizable", "Spanning", "Tensors", "alike", "groups_of",
        "keys_of", "sizes_of", "spans_of", "split", "subset",
    ),
    "joining": ("join",),
    "sources": ("Source", "fetch", "where"),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Batches", "Grouped", "Keyed", "Parted", "Sizable", "Source", "Spanning", "Tensors", "alike",
    "concatenate", "fetch", "gather", "groups_of", "join", "keys_of", "move", "prefetched",
    "select", "sizes_of", "spans_of", "split", "subset", "where",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'sfumato_data' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
