"""Data on the way to training: data sets in memory, splits, and batches as a function of the step.

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
    from .datasets import Tensors as Tensors
    from .datasets import split as split
    from .datasets import subset as subset
    from .joining import join as join

_HOME = {
    "batches": ("Batches", "prefetched"),
    "collate": ("concatenate", "gather", "move", "select"),
    "datasets": ("Tensors", "split", "subset"),
    "joining": ("join",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Batches", "Tensors", "concatenate", "gather", "join", "move", "prefetched", "select",
    "split", "subset",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'sfumato_data' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
