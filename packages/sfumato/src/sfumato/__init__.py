"""Sfumato: diffusion generative models on every kind of data, behind one thin contract.

A `Process` noises data and says how one step back is distributed; a `Denoiser` maps a noisy
state and a time to a `Posterior`; a `Sampler` yields frames that one driver runs. Names are
loaded on first use, so that importing this package loads neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import random as random
    from .bound import elbo as elbo
    from .codec import Affine as Affine
    from .codec import Codec as Codec
    from .constraint import Constraint as Constraint
    from .constraint import Known as Known
    from .denoiser import Denoiser as Denoiser
    from .denoiser import Preconditioned as Preconditioned
    from .domain import Dataset as Dataset
    from .domain import Domain as Domain
    from .errors import InputError as InputError
    from .errors import Unsupported as Unsupported
    from .laws import Categorical as Categorical
    from .laws import Dirac as Dirac
    from .laws import Implicit as Implicit
    from .laws import Joint as Joint
    from .laws import Law as Law
    from .laws import Mixture as Mixture
    from .laws import Normal as Normal
    from .laws import Posterior as Posterior
    from .laws import kl as kl
    from .model import Batch as Batch
    from .model import Maybe as Maybe
    from .model import Model as Model
    from .plugins import hook as hook
    from .plugins import registry as registry
    from .process import Can as Can
    from .process import Noised as Noised
    from .process import Process as Process
    from .product import PerPart as PerPart
    from .product import Product as Product
    from .random import Streams as Streams
    from .random import fork as fork
    from .sampling import Ancestral as Ancestral
    from .sampling import Frame as Frame
    from .sampling import Multistep as Multistep
    from .sampling import Sampler as Sampler
    from .sampling import run as run
    from .sampling import sample as sample
    from .state import Fields as Fields
    from .state import Padded as Padded
    from .state import Ragged as Ragged
    from .state import State as State
    from .state import Time as Time
    from .state import expand as expand
    from .survey import Claim as Claim
    from .survey import Measured as Measured
    from .survey import System as System
    from .survey import Trial as Trial

__version__ = "0.1.0"

_HOME = {
    "bound": ("elbo",),
    "codec": ("Affine", "Codec"),
    "constraint": ("Constraint", "Known"),
    "denoiser": ("Denoiser", "Preconditioned"),
    "domain": ("Dataset", "Domain"),
    "errors": ("InputError", "Unsupported"),
    "laws": (
        *("Categorical", "Dirac", "Implicit", "Joint", "Law", "Mixture", "Normal", "Posterior"),
        "kl",
    ),
    "model": ("Batch", "Maybe", "Model"),
    "plugins": ("hook", "registry"),
    "process": ("Can", "Noised", "Process"),
    "product": ("PerPart", "Product"),
    "random": ("Streams", "fork"),
    "sampling": ("Ancestral", "Frame", "Multistep", "Sampler", "run", "sample"),
    "state": ("Fields", "Padded", "Ragged", "State", "Time", "expand"),
    "survey": ("Claim", "Measured", "System", "Trial"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "Affine", "Ancestral", "Batch", "Can", "Categorical", "Claim", "Codec", "Constraint",
    "Dataset", "Denoiser", "Dirac", "Domain", "Fields", "Frame", "Implicit", "InputError", "Joint",
    "Known", "Law", "Maybe", "Measured", "Mixture", "Model", "Multistep", "Noised", "Normal",
    "Padded", "PerPart", "Posterior", "Preconditioned", "Process", "Product", "Ragged", "Sampler",
    "State", "Streams", "System", "Time", "Trial", "Unsupported", "elbo", "expand", "fork", "hook",
    "kl", "random", "registry", "run", "sample",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name == "random":
        return importlib.import_module(".random", __name__)
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'sfumato' has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_MODULE_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
