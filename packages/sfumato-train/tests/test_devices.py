"""Devices, precision, and what fits in memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sfumato import InputError
from sfumato_train import devices

CPU = torch.device("cpu")


def test_devices_that_cannot_be_used_are_named():
    assert devices.pick_device("cpu") == CPU
    for name in ("gpu", "cuda:99", "meta:x"):
        with pytest.raises(InputError, match=f"no device '{name}' here") as caught:
            devices.pick_device(name)
        assert "\n" not in str(caught.value)


def test_auto_is_single_precision_on_the_cpu():
    assert devices.resolve_precision("auto", CPU) == "fp32"
    assert devices.resolve_precision("bf16", CPU) == "bf16"


def test_bf16_needs_a_network_to_compute_in_it():
    with pytest.raises(InputError, match="takes precision=fp32"):
        devices.set_precision(nn.Module(), "bf16")


@pytest.mark.parametrize(("megabytes", "fits"), [(1000, 64), (10, 50), (0.1, 1)])
def test_what_fits_follows_from_what_autograd_keeps(monkeypatch, megabytes, fits):
    """A layer that keeps 80 kB of input per item, and weights that count for nothing."""
    monkeypatch.setattr(devices, "_free", lambda device: megabytes * 1e6)
    weight = nn.Parameter(torch.ones(20_000))

    def work(items):
        return (torch.ones(items, 20_000) * weight).sum()

    assert devices.fitting_batch(work, 64, CPU, [weight]) == fits


def test_reserved_memory_is_not_filled(monkeypatch):
    monkeypatch.setattr(devices, "_free", lambda device: 10e6)
    weight = nn.Parameter(torch.ones(20_000))

    def work(items):
        return (torch.ones(items, 20_000) * weight).sum()

    assert devices.fitting_batch(work, 64, CPU, [weight], reserve=5e6) == 25
    assert devices.fitting_batch(work, 64, CPU, [weight], reserve=20e6) == 1


def test_free_memory_is_a_sensible_number():
    assert 2**24 < devices._free(CPU) < 2**50
