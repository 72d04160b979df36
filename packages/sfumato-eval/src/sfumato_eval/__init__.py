"""Metrics for generative models that report n and their real-vs-real floor.

A metric summarises batches (summaries add) and compares two summaries; `measure` compares samples
with held-out data and, for the floor, further real data with held-out data, at the same n on every
side. Names are loaded on first use, so that importing this package loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bits import bits_per_dim as bits_per_dim
    from .bits import dequantise as dequantise
    from .c2st import C2ST as C2ST
    from .efficientnet import efficientnet_lite0 as efficientnet_lite0
    from .features import Features as Features
    from .features import pixels as pixels
    from .features import remembered as remembered
    from .frechet import Frechet as Frechet
    from .frechet import Moments as Moments
    from .frechet import frechet_distance as frechet_distance
    from .kernels import KID as KID
    from .kernels import MMD as MMD
    from .kernels import unbiased_mmd as unbiased_mmd
    from .memorisation import Memorisation as Memorisation
    from .memorisation import Nearest as Nearest
    from .memorisation import nearest as nearest
    from .pairwise import apart as apart
    from .prdc import PRDC as PRDC
    from .recognised import Hits as Hits
    from .recognised import Recognised as Recognised
    from .score import Metric as Metric
    from .score import Score as Score
    from .score import measure as measure
    from .score import measure_all as measure_all
    from .sketch import MOST as MOST
    from .sketch import Vectors as Vectors
    from .sliced import SlicedWasserstein as SlicedWasserstein
    from .sliced import wasserstein as wasserstein
    from .sources import Source as Source
    from .sources import Summary as Summary
    from .sources import subsample as subsample
    from .sources import summarise as summarise
    from .tables import render as render
    from .tables import table as table
    from .tables import write as write

_HOME = {
    "bits": ("bits_per_dim", "dequantise"),
    "c2st": ("C2ST",),
    "efficientnet": ("efficientnet_lite0",),
    "features": ("Features", "pixels", "remembered"),
    "frechet": ("Frechet", "Moments", "frechet_distance"),
    "kernels": ("KID", "MMD", "unbiased_mmd"),
    "memorisation": ("Memorisation", "Nearest", "nearest"),
    "pairwise": ("apart",),
    "prdc": ("PRDC",),
    "recognised": ("Hits", "Recognised"),
    "score": ("Metric", "Score", "measure", "measure_all"),
    "sketch": ("MOST", "Vectors"),
    "sliced": ("SlicedWasserstein", "wasserstein"),
    "sources": ("Source", "Summary", "subsample", "summarise"),
    "tables": ("render", "table", "write"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "C2ST", "KID", "MMD", "MOST", "PRDC", "Features", "Frechet", "Hits", "Memorisation", "Metric",
    "Moments", "Nearest", "Recognised", "Score", "SlicedWasserstein", "Source", "Summary",
    "Vectors", "apart", "bits_per_dim", "dequantise", "efficientnet_lite0", "frechet_distance",
    "measure", "measure_all", "nearest", "pixels", "remembered", "render", "subsample", "summarise",
    "table", "unbiased_mmd", "wasserstein", "write",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'sfumato_eval' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
