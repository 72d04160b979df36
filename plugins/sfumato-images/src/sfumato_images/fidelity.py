"""How close images are to what they were made from: PSNR and SSIM."""

from __future__ import annotations

__all__ = ["fidelity", "psnr", "ssim"]

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato import Batch
from sfumato_eval import Score

_RANGE = 2.0  # from black (-1) to white (1)
_WINDOW, _SPREAD = 11, 1.5


def fidelity(original: Batch, made: Batch) -> Mapping[str, Score]:
    """Mean PSNR and SSIM of images against their originals, both (N, C, H, W) in [-1, 1]."""
    x, y = original.x, made.x.clamp(-1, 1)
    side = _window(x)
    told = f"mean over images, Gaussian window {side} x {side} (std {_SPREAD}), channels alike"
    return {
        "psnr": Score(float(psnr(x, y).mean()), len(x), None, "mean over images, dB", "higher"),
        "ssim": Score(float(ssim(x, y).mean()), len(x), None, told, "higher"),
    }


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """(N,) 10 log10 of the squared range over the mean squared error, dB; at most 100."""
    error = (x.double() - y.double()).square().flatten(1).mean(1)
    return 10 * (_RANGE**2 / error).log10().clamp_max(10)


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """(N,) structural similarity of images (N, C, H, W) in [-1, 1], 1 for equal ones.

    Wang et al. 2004, "Image quality assessment", eq. 13, with its window and constants (0.01 and
    0.03 of the range), on each channel, averaged over the places where the window fits. Images of
    fewer than 11 pixels a side are seen through the largest odd window that fits.
    """
    a, b = (v.double().flatten(0, 1)[:, None] for v in (x, y))
    window = _gaussian(_window(x)).to(a.device)

    def over(v: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(v, window[None, None, :, None]), window[None, None, None])

    first, second = over(a), over(b)
    spread = over(a * a) - first.square() + over(b * b) - second.square()
    common = over(a * b) - first * second
    c1, c2 = (0.01 * _RANGE) ** 2, (0.03 * _RANGE) ** 2
    level = (2 * first * second + c1) / (first.square() + second.square() + c1)
    found = level * (2 * common + c2) / (spread + c2)
    return found.flatten(1).mean(1).view(len(x), -1).mean(1)


def _window(x: Tensor) -> int:
    """The largest odd number of pixels up to 11 that fits in the images."""
    side: int = min(_WINDOW, *x.shape[2:])
    return side - 1 + side % 2


def _gaussian(side: int) -> Tensor:
    """(side,) weights that sum to one."""
    place = torch.arange(side, dtype=torch.float64) - side // 2
    weight = (-0.5 * (place / _SPREAD).square()).exp()
    return weight / weight.sum()
