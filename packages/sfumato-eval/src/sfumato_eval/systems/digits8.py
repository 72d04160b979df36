"""What systems share that train on 8 x 8 digits: small networks, and features of a classifier.

Images are 1,297 of `sfumato_data`'s digits8 for training and 500 held out, in [-1, 1]; the process
is the chain of Ho et al. 2020 and the networks predict noise. All are functions of a seed.
"""

from __future__ import annotations

__all__ = ["classifier_features", "read", "trained"]

from collections.abc import Callable
from typing import TYPE_CHECKING

from sfumato import Denoiser

if TYPE_CHECKING:
    from torch import nn

    from sfumato_eval.features import Features

    from .codeexec_example import Digits

BATCH, RATE = 64, 3e-3


def read(seed: int) -> tuple[Digits, Digits]:
    """What is trained on, and 500 images that are held out."""
    from sfumato_data import fetch

    from .codeexec import halves

    return halves(fetch("digits8"), seed)


def trained(
    data: Digits,
    seed: int,
    steps: int,
    wrap: Callable[[nn.Module], nn.Module] = lambda net: net,
) -> Denoiser:
    """A denoiser of all digits: a U-Net of 180,000 weights, its moving average.

    Args:
        data: what to learn.
        seed: of weights, items, times and noise.
        steps: optimiser steps, of 64 images each.
        wrap: what stands around the network in training and after.
    """
    import torch
    from torch.nn import functional as F
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    from sfumato import Preconditioned, random
    from sfumato_nn.unet import UNet

    from .codeexec_example import Clamped, T, forward_process, noisy, seeded

    process, generator = forward_process(), random.derive(seed, "train")
    net = wrap(seeded(lambda: UNet(1, widths=(32, 64), blocks=1), seed))
    follow = get_ema_multi_avg_fn(0.99)  # type: ignore[no-untyped-call]
    average = AveragedModel(net, multi_avg_fn=follow)
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps + 1, pct_start=0.1)
    for _ in range(steps):
        x0 = data.x[random.integers(0, len(data.x), (BATCH,), generator)]
        t = random.integers(1, T + 1, (BATCH,), generator).double() / T
        eps = random.normal(x0, generator)
        error = F.mse_loss(net(noisy(process, x0, t, eps), process.clock(t).float()), eps)
        optimiser.zero_grad()
        error.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        average.update_parameters(net)
    final = average.module.eval().requires_grad_(False)
    return Clamped(Preconditioned(final, process, predict="eps"))


def classifier_features(data: Digits, seed: int) -> Features:
    """The 64 numbers before the last layer of a classifier of the digits, trained here."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    from sfumato import random
    from sfumato_eval.features import Features

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random.derive(seed, "classifier").initial_seed())
        body = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 128), nn.SiLU(), nn.Linear(128, 64), nn.SiLU()
        )
        head = nn.Linear(64, 10)
    weights = [*body.parameters(), *head.parameters()]
    adam = torch.optim.Adam(weights, lr=3e-3, weight_decay=1e-4)
    for _ in range(200):
        loss = F.cross_entropy(head(body(data.x)), data.label)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    return Features("digits classifier", lambda batch: body(batch.x.float()))
