"""The samplers of `azula` as contestants of `solvers.py --azula FOLDER`.

azula asks for torchvision, which breaks beside the CPU build of torch, so that it stays out of the
environment of the repository. Its folder holds it and what it imports, and nothing else:

    uv pip install --no-deps --target FOLDER azula==0.11.1 einops jaxtyping wadler-lindig
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["contestants"]

NAMES = {
    "DDIM": ("DDIMSampler", {}),
    "zAB-2": ("zABSampler", {"order": 2}),
    "zAB-3": ("zABSampler", {"order": 3}),
    "vAB-2": ("vABSampler", {"order": 2}),
    "zEAB-2": ("zEABSampler", {"order": 2}),
    "zEAB-3": ("zEABSampler", {"order": 3}),
    "xEAB-2": ("xEABSampler", {"order": 2}),
    "xEAB-3": ("xEABSampler", {"order": 3}),
    "REAB-2": ("REABSampler", {"order": 2}),
}

Go = Callable[[Any, Tensor, int], Tensor]
"""Posterior mean, noise and number of steps to where a sampler ends."""


def contestants(folder: Path, process: Any, grids: dict[str, Any]) -> dict[str, Go]:
    """Every sampler with one call a step, on its own times (equal steps) and on these grids."""
    sys.path.append(str(folder))
    from azula import denoise, sample

    class Exact(denoise.Denoiser):  # type: ignore[misc]
        def __init__(self, mean: Any) -> None:
            nn.Module.__init__(self)
            self.mean = mean

        def schedule(self, t: Tensor) -> tuple[Tensor, Tensor]:
            return process.alpha(t), process.sigma(t)

        def forward(self, x: Tensor, t: Tensor) -> Any:
            return denoise.DiracPosterior(mean=self.mean(x, *self.schedule(t)))

    def entrant(kind: Any, options: dict[str, Any], grid: Any) -> Go:
        def go(mean: Any, start: Tensor, calls: int) -> Tensor:
            times = None if grid is None else grid(process, calls)
            own = type(kind.__name__, (kind,), {} if times is None else {"timesteps": times})
            sampler = own(Exact(mean), steps=calls, silent=True, dtype=torch.float64, **options)
            found: Tensor = sampler(start)
            return found

        return go

    return {
        f"azula: {name} on {place}": entrant(getattr(sample, kind), options, grid)
        for name, (kind, options) in NAMES.items()
        for place, grid in {"its own": None, **grids}.items()
    }
