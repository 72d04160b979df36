"""Training: objectives, the loop, EMA, checkpoints, recipes and runs.

Names are loaded on first use, so that importing this package loads neither torch nor pydantic.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .checkpoint import Keep as Keep
    from .coupled import Coupled as Coupled
    from .drawing import draw as draw
    from .ema import EMA as EMA
    from .jointly import Jointly as Jointly
    from .loop import Diverged as Diverged
    from .loop import Watch as Watch
    from .loop import averaged as averaged
    from .loop import fit as fit
    from .objective import Denoising as Denoising
    from .objective import Loss as Loss
    from .objective import Objective as Objective
    from .recipe import Recipe as Recipe
    from .recipe import Settings as Settings
    from .recipe import Training as Training
    from .runs import Run as Run
    from .runs import open_run as open_run
    from .scoring import evaluate as evaluate
    from .starting import start as start
    from .variational import Variational as Variational
    from .words import parse_words as parse_words

_HOME = {
    "checkpoint": ("Keep",),
    "coupled": ("Coupled",),
    "drawing": ("draw",),
    "ema": ("EMA",),
    "jointly": ("Jointly",),
    "loop": ("Diverged", "Watch", "averaged", "fit"),
    "objective": ("Denoising", "Loss", "Objective"),
    "recipe": ("Recipe", "Settings", "Training"),
    "runs": ("Run", "open_run"),
    "scoring": ("evaluate",),
    "starting": ("start",),
    "variational": ("Variational",),
    "words": ("parse_words",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "EMA", "Coupled", "Denoising", "Diverged", "Jointly", "Keep", "Loss", "Objective", "Recipe",
    "Run", "Settings", "Training", "Variational", "Watch", "averaged", "draw", "evaluate", "fit",
    "open_run", "parse_words", "start",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'sfumato_train' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
