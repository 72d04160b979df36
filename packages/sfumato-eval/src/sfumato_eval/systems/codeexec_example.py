"""A diffusion model from beginning to end, in one file: read it from the top.

It follows Yu 2025, "Understanding Diffusion Models via Code Execution" (arXiv:2512.07201), in what
is shown (forward process, network, loss, loop, sampling by DDPM, DDIM and with guidance), on 8 x 8
handwritten digits, so that the whole of it takes two minutes on one core:

    python -m sfumato_eval.systems.codeexec_example

The formulas stand beside the lines that compute them. What is long and says nothing about
diffusion (a U-Net, the noise schedule in float64, the loop over the steps of a sampler) comes from
the library, where each part can be exchanged for another.
"""

from __future__ import annotations

__all__ = ["Digits", "ddim", "ddpm", "guided", "noisy", "read", "show", "train"]

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sfumato import Ancestral, Denoiser, Dirac, Maybe, Preconditioned, Time, expand, random, sample
from sfumato_methods.gaussian import VP, Gaussian
from sfumato_methods.grids import uniform
from sfumato_methods.guidance import CFG
from sfumato_methods.solvers import DDIM
from sfumato_nn.unet import UNet

# 1. Data ----------------------------------------------------------------------------------------
#
# 1,797 images of 8 x 8 pixels, each an integer from 0 to 16, and which digit each one shows.
# Networks like numbers around zero, so the pixels are mapped to [-1, 1].

CLASSES = 10


class Digits(NamedTuple):
    """Images (n, 1, 8, 8) in [-1, 1], and labels (n,) from 0 to 9."""

    x: Tensor
    label: Tensor


def read(folder: Path) -> Digits:
    """The digits in `data/digits.csv.gz`: 64 pixels and a label in each line."""
    table = np.loadtxt(folder / "data" / "digits.csv.gz", delimiter=",", dtype=np.float32)
    pixels, label = torch.from_numpy(table[:, :64]), torch.from_numpy(table[:, 64])
    return Digits(pixels.reshape(-1, 1, 8, 8) / 8 - 1, label.long())


# 2. The forward process -------------------------------------------------------------------------
#
# An image x_0 is destroyed in T small steps, each of which shrinks it a little and adds noise:
#
#     q(x_i | x_{i-1}) = N(sqrt(1 - beta_i) x_{i-1}, beta_i I),        i = 1, ..., T.
#
# Normals add up to normals, so that any x_i is reached from x_0 in one go:
#
#     x_i = alpha_i x_0 + sigma_i eps,    alpha_i^2 = prod_{j <= i} (1 - beta_j),
#                                         sigma_i^2 = 1 - alpha_i^2,    eps ~ N(0, I).
#
# At i = T almost nothing is left of the image: x_T is noise, and noise is easy to draw. Time is
# t = i/T here, from 0 (data) to 1 (noise), so that nothing below depends on T.

T = 1000
BETAS = torch.linspace(1e-4, 0.02, T, dtype=torch.float64)


def forward_process() -> Gaussian:
    """The chain of Ho et al. 2020 (arXiv:2006.11239), section 4."""
    return Gaussian(VP.from_betas(BETAS))


def noisy(process: Gaussian, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    """x_t = alpha(t) x_0 + sigma(t) eps, with one time for each image."""
    x: Tensor = x0 * expand(x0, process.alpha(t)) + eps * expand(x0, process.sigma(t))
    return x


# 3. The network ---------------------------------------------------------------------------------
#
# It is shown a noisy image and how noisy that is, and says which noise is in it. How noisy: not i,
# but log(sigma/alpha), the "clock" of the process, because that is what the answer depends on.
# It may also be told the digit. A U-Net halves the resolution once and restores it, so that every
# pixel of the output sees the whole image.


def network() -> UNet:
    """About 330,000 weights."""
    return UNet(1, widths=(32, 64), blocks=2, classes=CLASSES)


# 4. The loss ------------------------------------------------------------------------------------
#
# Ho et al. 2020, eq. 14: noise an image to a time drawn at random, and compare the noise that the
# network sees with the noise that was added,
#
#     L = E | eps - net(alpha(t) x_0 + sigma(t) eps, t) |^2.
#
# It is a weighted bound on -log p(x_0). For one image in ten the digit is withheld: the network
# learns to draw any digit as well, which guidance needs in part 7.

WITHHELD = 0.1


def loss(net: UNet, process: Gaussian, batch: Digits, generator: Generator) -> Tensor:
    """The mean squared error of the predicted noise, over a batch."""
    n = len(batch.x)
    t = random.integers(1, T + 1, (n,), generator).double() / T
    eps = random.normal(batch.x, generator)
    told = random.uniform((n,), generator) >= WITHHELD
    context = net.encode(label=Maybe(batch.label, told))
    said = net(noisy(process, batch.x, t, eps), process.clock(t).float(), **context)
    return F.mse_loss(said, eps)


# 5. The training loop ---------------------------------------------------------------------------
#
# Draw a batch, step down the gradient, repeat. What is kept is not the last network but a moving
# average of all of them, which draws better because the noise of the gradients averages out.


def train(
    data: Digits, steps: int, seed: int, watch: Callable[[int, float], None] | None = None
) -> Denoiser:
    """Train a network and wrap it as a denoiser.

    Args:
        data: what to learn.
        steps: optimiser steps, of 64 images each.
        seed: all randomness derives from it.
        watch: is told the step and the loss.
    """
    process, generator = forward_process(), random.derive(seed, "train")
    net = seeded(network, seed)
    follow = get_ema_multi_avg_fn(0.99)  # type: ignore[no-untyped-call]
    average = AveragedModel(net, multi_avg_fn=follow)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, steps + 1, pct_start=0.1)
    for step in range(1, steps + 1):
        pick = random.integers(0, len(data.x), (64,), generator)
        error = loss(net, process, Digits(data.x[pick], data.label[pick]), generator)
        optimiser.zero_grad()
        error.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        average.update_parameters(net)
        if watch:
            watch(step, float(error.detach()))
    # A denoiser turns the predicted noise into the expected image, (x - sigma eps)/alpha: this is
    # all that samplers ask for, whatever the network predicts.
    final = average.module.eval().requires_grad_(False)
    return Clamped(Preconditioned(final, process, predict="eps"))


class Clamped(Denoiser):
    """A denoiser that knows the range of pixels.

    Near t = 1 the division by alpha makes much of a small error; no image is out of [-1, 1].
    """

    def __init__(self, inner: Denoiser) -> None:
        super().__init__()
        self.inner = inner

    def given(self, **condition: Tensor) -> Clamped:
        return Clamped(self.inner.given(**condition))

    def forward(self, x: Tensor, t: Time) -> Dirac:
        return Dirac(self.inner(x, t).mean.clamp(-1, 1))


def seeded(make: Callable[[], UNet], seed: int) -> UNet:
    """A network whose first weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(random.derive(seed, "weights").initial_seed())
        return make()


# 6. Sampling ------------------------------------------------------------------------------------
#
# Begin with noise and walk back, from a time t to an earlier one s. If x_0 were known, Bayes' rule
# would give the law of x_s, again a normal:
#
#     q(x_s | x_t, x_0) = N(c x_0 + k x_t, v).
#
# DDPM draws from it with the expected image in place of x_0, in all T steps. DDIM (Song et al.
# 2020, arXiv:2010.02502) puts the predicted noise back instead of fresh noise,
#
#     x_s = alpha(s) x_0 + sigma(s) eps,
#
# which follows a smooth path and gets along with a few long steps.


def ddpm(denoiser: Denoiser, n: int, generator: Generator, steps: int = T) -> Tensor:
    """Images by all steps of the chain, or by fewer and longer ones."""
    return _sampled(denoiser, n, Ancestral(), steps, generator)


def ddim(denoiser: Denoiser, n: int, generator: Generator, steps: int = 50) -> Tensor:
    """Images by a few deterministic steps."""
    return _sampled(denoiser, n, DDIM(), steps, generator)


def _sampled(
    denoiser: Denoiser, n: int, sampler: Ancestral | DDIM, steps: int, generator: Generator
) -> Tensor:
    process, like = forward_process(), torch.zeros(n, 1, 8, 8)
    grid = uniform(process, steps)  # 1, 1 - 1/steps, ..., 0
    x: Tensor = sample(process, denoiser, like, sampler=sampler, grid=grid, generator=generator)
    return x.clamp(-1, 1)


# 7. Guidance ------------------------------------------------------------------------------------
#
# Asked for a digit, the network moves towards images of it. Going further in the same direction
# makes digits clearer and less varied (Ho & Salimans 2022, arXiv:2207.12598):
#
#     x_0 = x_0(any digit) + scale (x_0(this digit) - x_0(any digit)).
#
# scale = 0 draws any digit, 1 is the conditional model, 2 goes beyond it.


def guided(denoiser: Denoiser, label: Tensor, scale: float) -> Denoiser:
    """A denoiser of images with these labels, one for each image."""
    return CFG(denoiser.given(label=label), denoiser.given(), scale)


# 8. All of it -----------------------------------------------------------------------------------


def show(x: Tensor) -> str:
    """Images side by side, in characters."""
    shades = " .:-=+*#%@"
    level = ((x[:, 0] + 1) / 2 * (len(shades) - 1)).round().clamp(0, len(shades) - 1).long()
    rows = ("  ".join("".join(shades[v] * 2 for v in line) for line in row) for row in
            level.transpose(0, 1).tolist())  # fmt: skip
    return "\n".join(rows)


def main() -> None:
    """Train, and draw digits in three ways."""
    from sfumato_data import fetch

    def watch(step: int, error: float) -> None:
        if step % 200 == 0:
            print(f"step {step}: loss {error:.3f}")

    denoiser = train(read(fetch("digits8")), 1000, seed=0, watch=watch)
    generator = random.derive(0, "sample")
    print("\nany digit, DDPM in 1000 steps\n" + show(ddpm(denoiser, 5, generator)))
    print("\nany digit, DDIM in 50 steps\n" + show(ddim(denoiser, 5, generator)))
    asked = guided(denoiser, torch.tensor([0, 1, 2, 3, 4]), scale=2.0)
    print("\n0 1 2 3 4, guided\n" + show(ddim(asked, 5, generator)))


if __name__ == "__main__":
    main()
