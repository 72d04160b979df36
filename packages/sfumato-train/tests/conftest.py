"""The toy plugin, installed for the tests of this package alone."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest
import torch

TOY = Path(__file__).parent / "toy"


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Folders that make the plugin importable and found, for this process and for others."""
    folder = tmp_path_factory.mktemp("site")
    sys.path[:0] = [str(TOY), str(folder)]
    importlib.import_module("toy_points").install(folder)
    yield os.pathsep.join([str(TOY), str(folder)])
    for path in (str(TOY), str(folder)):
        sys.path.remove(path)


@pytest.fixture
def toy(site):
    """The things of the toy plugin, which the registry knows."""
    import sfumato.plugins

    sfumato.plugins._installed.cache_clear()
    yield importlib.import_module("toy_things")
    sfumato.plugins._installed.cache_clear()


@pytest.fixture(autouse=True)
def global_state_is_left_alone():
    """No test may change the global generator, the default dtype or the grad mode."""
    before = torch.get_rng_state(), torch.get_default_dtype(), torch.is_grad_enabled()
    yield
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.get_default_dtype(), torch.is_grad_enabled()) == before[1:]
