"""A bridge to diffusers: its models as our denoisers, our samplers as its schedulers.

Names are loaded on first use: importing this package loads neither torch nor diffusers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .adapters import Adapter
    from .codec import Autoencoder
    from .conventions import Convention, convention
    from .denoiser import DiffusersDenoiser
    from .grids import SchedulerGrid
    from .models import from_model, from_pipeline, load
    from .scheduler import SfumatoScheduler

_MODULE_OF = {
    "Adapter": "adapters",
    "Autoencoder": "codec",
    "Convention": "conventions",
    "DiffusersDenoiser": "denoiser",
    "SchedulerGrid": "grids",
    "SfumatoScheduler": "scheduler",
    "convention": "conventions",
    "from_model": "models",
    "from_pipeline": "models",
    "load": "models",
}

__all__ = [
    "Adapter",
    "Autoencoder",
    "Convention",
    "DiffusersDenoiser",
    "SchedulerGrid",
    "SfumatoScheduler",
    "convention",
    "from_model",
    "from_pipeline",
    "load",
]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'sfumato_diffusers' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
