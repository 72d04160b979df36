"""Where and in which arithmetic to compute, and how many items fit in memory at a time."""

from __future__ import annotations

__all__ = ["fitting_batch", "pick_device", "resolve_precision", "set_precision"]

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from sfumato import InputError
from sfumato.denoiser import NetworkDenoiser

Precision = Literal["auto", "fp32", "bf16"]

SHARE = 0.4
"""Share of the free memory that one pass may fill; gradients and scratch space need the rest."""


def pick_device(name: str | None, number: int | None = None) -> torch.device:
    """The device of that name; None: a CUDA (or ROCm) GPU if there is one, else the CPU.

    Args:
        name: "cpu", "cuda", "cuda:1".
        number: which GPU, of a name that says only "cuda" or of None.

    Raises:
        InputError: if there is no such device here.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and number is not None:
        name = f"cuda:{number}"
    try:
        device = torch.device(name)
        torch.empty(0, device=device, dtype=torch.float64)
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
        cause = str(error).splitlines()[0]
        raise InputError(f"there is no device {name!r} here that can be used: {cause}") from None
    return device


def resolve_precision(wanted: Precision, device: torch.device) -> Literal["fp32", "bf16"]:
    """What `auto` means on a device: bf16 on GPUs that have it, fp32 elsewhere."""
    if wanted != "auto":
        return wanted
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


def set_precision(module: nn.Module, precision: Literal["fp32", "bf16"]) -> None:
    """Let the network inside every `NetworkDenoiser` compute in bf16, or in its own dtype.

    Raises:
        InputError: if bf16 is asked for and there is no `NetworkDenoiser`.
    """
    found = [m for m in module.modules() if isinstance(m, NetworkDenoiser)]
    if precision == "bf16" and not found:
        raise InputError(
            "bf16 works with denoisers around a network; this one takes precision=fp32"
        )
    for one in found:
        one.autocast = torch.bfloat16 if precision == "bf16" else None


def fitting_batch(
    work: Callable[[int], object],
    most: int,
    device: torch.device,
    weights: Iterable[Tensor] = (),
    reserve: float = 0,
) -> int:
    """How many items fit in memory at once, at most `most`.

    Runs `work` on a few items and measures what autograd keeps for them; that is also an upper
    bound for what a pass without gradients needs.

    Args:
        work: does the forward pass of that many items, with gradients enabled.
        most: upper limit.
        device: where it runs.
        weights: tensors that are in memory anyway.
        reserve: bytes that are needed for other things.
    """
    few = min(2, most)
    seen = {w.untyped_storage().data_ptr() for w in weights}
    kept = 0

    def keep(value: Tensor) -> Tensor:
        nonlocal kept
        storage = value.untyped_storage()
        try:
            place = storage.data_ptr()
        except RuntimeError:  # of a forward-mode derivative, which has no storage to be told by
            kept += value.numel() * value.element_size()
            return value
        if place not in seen:
            seen.add(place)
            kept += storage.nbytes()
        return value

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda v: v):
        made = work(few)  # held until the count is over: freed memory would be seen twice
    del made
    room = SHARE * max(_free(device) - reserve, 0)
    return max(1, min(most, int(room * few / max(kept, 1))))


def _free(device: torch.device) -> float:
    """Bytes that can be allocated on a device; of a container, what its limit leaves."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    free = [_available()]
    limit, used = (_number(Path("/sys/fs/cgroup") / f"memory.{k}") for k in ("max", "current"))
    if limit is not None and used is not None:
        free.append(limit - used)
    return max(min(free), 0.0)


def _available() -> float:
    info = Path("/proc/meminfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * int(line.split()[1])
    if hasattr(os, "sysconf"):
        return 0.5 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 2.0**31


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text())
    except (OSError, ValueError):  # no such file, or the word "max"
        return None
