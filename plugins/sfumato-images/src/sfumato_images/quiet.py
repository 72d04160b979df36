"""Reading without the warnings of libraries, which tell of metadata and old versions."""

from __future__ import annotations

__all__ = ["quiet"]

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings, one thread at a time: the filters of Python are those of all threads."""
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
