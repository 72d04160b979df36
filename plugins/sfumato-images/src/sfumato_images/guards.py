"""What libraries say of files: their warnings kept quiet, their errors in one line."""

from __future__ import annotations

__all__ = ["quiet", "said"]

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.RLock()


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings, which tell of metadata that is not used and of old versions.

    One thread at a time, as the filters of Python are those of all threads.
    """
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def said(error: Exception) -> str:
    """An error in one line; its kind where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
