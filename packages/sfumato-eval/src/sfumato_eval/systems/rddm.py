"""Residual Denoising Diffusion Models.

Liu, Wang, Fan, Wang, Tang & Qu 2024, arXiv:2308.13712. The headline is one U-Net that restores
images in 2 to 10 steps, by diffusing towards the damaged image instead of towards noise. Here, with
real 8 x 8 digits that are blurred: the mean squared error of 2 steps against 10 ancestral steps of
a conditional diffusion model, of as many weights and training steps; what becomes of the samples
when the schedules of residual and noise are exchanged after training; and the identity with DDIM
where the residual is that to an image of zeros.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping

from sfumato.survey import Claim, Measured, System, Trial

TRAINING = 300
STEPS, BASELINE = 2, 10
PATH = 10
"""Steps in which the paths are compared."""
TABLE, WALK = 1000, 50
"""Steps of the chain that is converted, and of the samplers on it."""


def converted(seed: int, n: int) -> float:
    """Largest difference of DDIM and residual diffusion with no image, on one chain and network."""
    import torch

    from sfumato import Dirac, random, sample
    from sfumato_methods.bridges import Level, Missing, rddm
    from sfumato_methods.gaussian import VP, Gaussian
    from sfumato_methods.grids import uniform
    from sfumato_methods.solvers import DBIM, DDIM

    betas = torch.linspace(1e-4, 0.02, TABLE, dtype=torch.float64)
    chain = VP.from_betas(betas)
    weights = random.normal(torch.empty(16, 16, dtype=torch.float64), random.derive(seed, "net"))

    def denoiser(x: torch.Tensor, t: torch.Tensor) -> Dirac:
        return Dirac(torch.tanh(x @ weights * 0.25 + t))

    zeros, drawn = torch.zeros(n, 16, dtype=torch.float64), []
    for process, sampler in (
        (Gaussian(chain), DDIM()),
        (rddm(Missing(chain), Level(chain)).given(source=zeros), DBIM()),
    ):
        x = sample(
            process,
            denoiser,
            zeros,
            sampler=sampler,
            grid=uniform(process, WALK),
            generator=random.derive(seed, "noise"),
        )
        drawn.append(x)
    return float((drawn[0] - drawn[1]).abs().max())


def trial(given: Trial) -> Mapping[str, Measured]:
    """Two networks of one size, the paths exchanged, and the conversion.

    - `error`: mean squared error, 2 steps against 10 of the diffusion model;
    - `swapped`: distance of (image, damaged) to real pairs in 10 steps, with the residual in equal
      steps instead of slowing down, against the schedules of training;
    - `apart`: likewise with all of the residual first and all noise after it, without a claim;
    - `identity`: largest difference of samples, absolute.
    """
    from sfumato import Ancestral, Preconditioned
    from sfumato_eval.systems.restoring import Desk, blurred, trained, unet
    from sfumato_methods.bridges import Residuals, Rise, rddm
    from sfumato_methods.gaussian import vp
    from sfumato_methods.grids import uniform
    from sfumato_methods.solvers import DBIM

    began = time.monotonic()
    n, steps = max(50, round(250 * given.scale)), max(5, round(TRAINING * given.scale))
    desk, found = Desk(given.seed, blurred, n), {}

    process = rddm()
    mine = Residuals(unet(extra=2), process)
    trained(mine, process, lambda p, t: t**0, desk, steps)
    few = desk.end(process, mine, DBIM(), uniform(process, STEPS))
    other = vp()
    theirs = Preconditioned(unet(), other, "eps")
    trained(theirs, other, lambda p, t: other.logsnr(t).exp(), desk, steps)
    many = desk.end(other, theirs, Ancestral(), uniform(other, BASELINE))
    cost = time.monotonic() - began
    found["error"] = Measured(desk.error(few), desk.error(many), None, n, cost)

    began = time.monotonic()
    plain = desk.distance(desk.end(process, mine, DBIM(), uniform(process, PATH)))
    for name, share, noise in (
        ("swapped", Rise(), Rise(top=0.1)),
        ("apart", Rise(low=0.5), Rise(top=0.1, high=0.5)),
    ):
        changed = rddm(share, noise)
        denoiser = Residuals(mine.net, changed)
        distance = desk.distance(desk.end(changed, denoiser, DBIM(), uniform(changed, PATH)))
        cost = time.monotonic() - began
        found[name] = Measured(distance, plain, desk.floor, n, cost)
    began = time.monotonic()
    found["identity"] = Measured(converted(given.seed, 100), 1.0, None, 100, 0.0)
    return found


system = System(
    id="rddm",
    title="Residual Denoising Diffusion Models",
    source="Liu, Wang, Fan, Wang, Tang & Qu 2024, arXiv:2308.13712",
    components=(
        *("rddm", "dbim", "vp", "ancestral", "ddim", "uniform"),
        *("unet", "digits8", "sliced-wasserstein"),
    ),
    trial=trial,
    claims=(
        Claim(
            "2 steps restore blurred digits with no more squared error than 10 of diffusion",
            "error",
            at_most=1.0,
        ),
        Claim(
            "with another schedule of the residual after training the pairs are as close, within "
            "10 %",
            "swapped",
            at_most=1.1,
        ),
        Claim("without a source it is DDIM, to 1e-8", "identity", at_most=1e-8),
    ),
)
