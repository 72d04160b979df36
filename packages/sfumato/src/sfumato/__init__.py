"""Sfumato: diffusion generative models on every kind of data, behind one thin contract.

A `Process` noises data and says how one step back is distributed; a `Denoiser` maps a noisy
state and a time to a `Posterior`; a `Sampler` yields frames that one driver runs. Names are
loaded on first use, so that importing this package loads neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import random
    from .bound import elbo
    from .codec import Affine, Codec
    from .constraint import Constraint, Known
    from .denoiser import Denoiser, Preconditioned
    from .domain import Dataset, Domain
    from .errors import InputError, Unsupported
    from .laws import Categorical, Dirac, Implicit, Joint, Law, Mixture, Normal, Posterior, kl
    from .model import Batch, Maybe, Model
    from .plugins import hook, registry
    from .process import Can, Noised, Process
    from .product import PerPart, Product
    from .random import Streams, fork
    from .sampling import Ancestral, Frame, Multistep, Sampler, run, sample
    from .state import Fields, Padded, Ragged, State, Time, expand
    from .survey import Claim, Measured, System, Trial

__version__ = "0.1.0"

_HOME = {
    "bound": "elbo",
    "codec": "Affine Codec",
    "constraint": "Constraint Known",
    "denoiser": "Denoiser Preconditioned",
    "domain": "Dataset Domain",
    "errors": "InputError Unsupported",
    "laws": "Categorical Dirac Implicit Joint Law Mixture Normal Posterior kl",
    "model": "Batch Maybe Model",
    "plugins": "hook registry",
    "process": "Can Noised Process",
    "product": "PerPart Product",
    "random": "Streams fork",
    "sampling": "Ancestral Frame Multistep Sampler run sample",
    "state": "Fields Padded Ragged State Time expand",
    "survey": "Claim Measured System Trial",
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names.split()}

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
