"""Pytest settings shared by every test of the workspace; loaded by the root pyproject.toml.

One thread for each process: tests run side by side, and threads that outnumber the cores make
small tensors slower, not faster. It is set in the environment, before torch is first imported, so
that programs started by a test inherit it.
"""

from __future__ import annotations

import os

import pytest

__all__ = ["pytest_configure"]


def pytest_configure(config: pytest.Config) -> None:
    """Pin the threads, and make hypothesis draw the same examples in every run."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("MKL_NUM_THREADS", "1")
    if config.pluginmanager.hasplugin("hypothesispytest"):
        from hypothesis import settings

        settings.register_profile("sfumato", deadline=None, derandomize=True)
        settings.load_profile("sfumato")
