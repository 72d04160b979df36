"""An overview of diffusion models for generative artificial intelligence.

Gallon, Jentzen & von Wurstemberger 2024, arXiv:2412.01371: the DDPM framework, and the extensions
that the literature built on it. `covers` says for each of them which part of the library it is. The
trial runs the methods with exact denoisers of mixtures of normals, so that nothing but the method
is measured.

The two variances of Ho et al. 2020 (arXiv:2006.11239) are two posteriors here: that of the bridge
belongs to a `Dirac`, beta_i to a `Normal` of standard deviation sigma(t); what Nichol & Dhariwal
2021 (arXiv:2102.09672, eq. 15) learn lies between them. So a learned variance has its place, the
`Normal` that a denoiser returns; a network head and a loss for it are planned.
"""

from __future__ import annotations

__all__ = ["BETAS", "PLANNED", "learned_std", "system"]

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato_methods.gaussian import Gaussian
    from sfumato_testing import FullMixture

BETAS = (1e-4, 0.02, 1000)
"""Variances of the chain of Ho et al. 2020: first, last and number, linear between."""

PLANNED = "planned"
"""What `covers` says of a leaf that no component serves yet."""

FEW = 20
"""Steps of the chain that are taken when few are."""

SCALE = 3.0
"""Of the guidance."""

CLASSES, WIDTHS = 10, 8 * (0.15, 0.45)
"""Of the mixture: how many normals, and their standard deviation along each axis."""


def chain() -> Gaussian:
    """The discrete chain of Ho et al. 2020, section 4."""
    import torch

    from sfumato_methods.gaussian import VP, Gaussian

    first, last, number = BETAS
    return Gaussian(VP.from_betas(torch.linspace(first, last, number, dtype=torch.float64)))


def learned_std(process: Any, v: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """Standard deviation of the x0 posterior under which a step has the interpolated variance.

    For v in [0, 1] the variance exp(v log beta + (1 - v) log beta~) of Nichol & Dhariwal 2021, with
    beta = 1 - (alpha_t/alpha_s)^2 and beta~ that of the bridge, equals beta~ + c^2 std^2, c being
    what the bridge multiplies x0 by.
    """
    import torch

    zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    short = process.bridge(zero, zero, t, s).std.square()
    gain = process.bridge(one, zero, t, s).mean
    long = 1 - (process.alpha(t) / process.alpha(s)).square()
    wanted = long**v * short ** (1 - v)
    std: Tensor = ((wanted - short).clamp_min(0).sqrt() / gain).squeeze()
    return std


def mixture(seed: int, apart: float = 1.0) -> FullMixture:
    """Ten equal normals in 16 dimensions, half of the axes narrow, half wide.

    Args:
        seed: of the means.
        apart: their standard deviation.
    """
    import torch

    from sfumato import random
    from sfumato_testing import FullMixture

    like = torch.empty(CLASSES, len(WIDTHS), dtype=torch.float64)
    means = apart * random.normal(like, random.derive(seed, "means"))
    covariance = torch.tensor(WIDTHS).double().square().diag()
    return FullMixture(means, covariance.expand(CLASSES, -1, -1))


def ancestral(given: Trial, n: int) -> tuple[float, float, float | None]:
    """Difference of DDIM with eta = 1 from DDPM, all steps, equal noise; and the size of those."""
    import torch

    from sfumato import Ancestral, random, sample
    from sfumato_methods.grids import uniform
    from sfumato_methods.solvers import DDIM

    process, target = chain(), mixture(given.seed)
    drawn = [
        sample(
            process,
            target.denoiser(process),
            torch.empty(n, len(WIDTHS), dtype=torch.float64),
            sampler=sampler,
            grid=uniform(process, BETAS[2]),
            generator=random.derive(given.seed, "chain"),
        )
        for sampler in (DDIM(eta=1), Ancestral())
    ]
    return _size(drawn[0] - drawn[1]), _size(drawn[1]), None


def few(given: Trial, n: int) -> tuple[float, float, float | None]:
    """Sliced Wasserstein distance to the data of DDIM and of DDPM in few steps, and its floor."""
    import torch

    from sfumato import Ancestral, Batch, random, sample
    from sfumato_eval.sliced import SlicedWasserstein
    from sfumato_methods.grids import uniform
    from sfumato_methods.solvers import DDIM

    process, target = chain(), mixture(given.seed)
    metric = SlicedWasserstein()
    data, other = (
        metric.summary(Batch(target.sample(n, random.derive(given.seed, name))))
        for name in ("data", "other")
    )

    def distance(sampler: DDIM | Ancestral) -> float:
        x = sample(
            process,
            target.denoiser(process),
            torch.empty(n, len(WIDTHS), dtype=torch.float64),
            sampler=sampler,
            grid=uniform(process, FEW),
            generator=random.derive(given.seed, "few"),
        )
        return metric.between(metric.summary(Batch(x)), data).value

    return distance(DDIM()), distance(Ancestral()), metric.between(other, data).value


def guidance(given: Trial, n: int) -> tuple[float, float, float | None]:
    """Doubt about the class of guided and of conditional samples; floor: about that of data.

    The doubt is the probability of the nine other classes, by Bayes' rule with the exact densities.
    """
    import torch

    from sfumato import random, sample
    from sfumato.laws import Posterior
    from sfumato_methods.grids import uniform
    from sfumato_methods.guidance import extrapolate
    from sfumato_methods.solvers import DDIM
    from sfumato_testing import FullMixture

    process, target = chain(), mixture(given.seed, 0.25)
    own = FullMixture(target.means[:1], torch.tensor(WIDTHS).double().square().diag()[None])
    conditional, every = own.denoiser(process), target.denoiser(process)

    def doubt(x: Tensor) -> float:
        return -float(torch.expm1(target.nll(x) - own.nll(x) - math.log(CLASSES)).mean())

    def drawn(scale: float) -> Tensor:
        def denoise(x: Any, t: Any) -> Posterior:
            posterior: Posterior = extrapolate(conditional(x, t), every(x, t), scale)
            return posterior

        x: Tensor = sample(
            process,
            denoise,
            torch.empty(n, len(WIDTHS), dtype=torch.float64),
            sampler=DDIM(),
            grid=uniform(process, 100),
            generator=random.derive(given.seed, "guided"),
        )
        return x

    data = own.sample(n, random.derive(given.seed, "own"))
    return doubt(drawn(SCALE)), doubt(drawn(1.0)), doubt(data)


def _size(x: Tensor) -> float:
    return float(x.square().mean().sqrt())


def trial(given: Trial) -> Mapping[str, Measured]:
    """Each method beside its baseline, on the CPU; cost in seconds."""
    found = {}
    for key, measure, most in (
        ("ancestral", ancestral, 200),
        ("few-steps", few, 4000),
        ("guidance", guidance, 2000),
    ):
        n, began = max(20, round(most * given.scale)), time.monotonic()
        method, baseline, floor = measure(given, n)
        found[key] = Measured(method, baseline, floor, n, time.monotonic() - began)
    return found


system = System(
    id="overview",
    title="An overview of diffusion models for generative artificial intelligence",
    source="Gallon, Jentzen & von Wurstemberger 2024, arXiv:2412.01371",
    components=("vp", "cosine", "ancestral", "ddim", "unet", "frechet"),
    trial=trial,
    claims=(
        Claim("DDIM with eta = 1 in all steps is DDPM", "ancestral", at_most=1e-10),
        Claim(f"in {FEW} of 1,000 steps DDIM is closer to the data", "few-steps", at_most=0.9),
        Claim(f"guidance of scale {SCALE:g} makes the class clearer", "guidance", at_most=0.5),
    ),
    covers={
        "DDPM: forward process": "vp",
        "DDPM: backward process": "ancestral",
        "DDPM: training objective": "denoising",
        "DDPM: U-Net with time embedding": "unet",
        "evaluation: Frechet distance": "frechet",
        "evaluation: inception score": PLANNED,
        "improved DDPM: cosine schedule": "cosine",
        "improved DDPM: learned variance": PLANNED,
        "DDIM": "ddim",
        "classifier-free guidance": "sfumato_methods.guidance:CFG",
        "latent diffusion: training and sampling behind a codec": "sfumato:Codec",
        "latent diffusion: learned autoencoder": PLANNED,
        "text conditioning by cross-attention": PLANNED,
        "cascades (DALL-E 2, Imagen)": PLANNED,
    },
)
