"""A report as one HTML file: sections of charts, pictures and tables, readable offline.

The page knows nothing of models or data. Who has something to tell builds a `Page` out of blocks
and gets the text of the file from `render`. Names are loaded on first use, so that importing this
package loads neither jinja2 nor matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .charts import Chart as Chart
    from .charts import Line as Line
    from .page import Block as Block
    from .page import Charts as Charts
    from .page import Code as Code
    from .page import Figure as Figure
    from .page import Figures as Figures
    from .page import Note as Note
    from .page import Page as Page
    from .page import Scenes as Scenes
    from .page import Section as Section
    from .page import Strip as Strip
    from .page import StripRow as StripRow
    from .page import Table as Table
    from .page import render as render
    from .page import scores as scores
    from .pictures import Picture as Picture
    from .scenes import Scene as Scene

_HOME = {
    "charts": ("Chart", "Line"),
    "page": (
        "Block", "Charts", "Code", "Figure", "Figures", "Note", "Page", "Scenes", "Section",
        "Strip", "StripRow", "Table", "render", "scores",
    ),
    "pictures": ("Picture",),
    "scenes": ("Scene",),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Block", "Chart", "Charts", "Code", "Figure", "Figures", "Line", "Note", "Page", "Picture",
    "Scene", "Scenes", "Section", "Strip", "StripRow", "Table", "render", "scores",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'sfumato_eval.report' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
