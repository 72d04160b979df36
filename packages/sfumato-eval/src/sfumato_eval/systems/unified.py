"""Understanding Diffusion Models: A Unified Perspective (Luo 2022, arXiv:2208.11970).

The survey derives that a denoiser may predict the clean data, the noise or the score (here also v
and the flow velocity), all of them being one thing said in different words, and that each term of
the bound on the likelihood is a weighted error of any of them. The trial measures how exactly the
library keeps these identities, on a mixture of normals whose posterior is known: the root mean
square error relative to the root mean square of what is compared, the largest over processes and
times. The baseline is that size, 1.
"""

from __future__ import annotations

__all__ = ["KINDS", "convert", "prediction", "system"]

import math
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, get_args

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato import Denoiser, Process
    from sfumato.denoiser import Prediction
    from sfumato_methods.gaussian import Gaussian

KINDS = ("x0", "eps", "score", "v", "flow")
"""What a network may predict; the sixth head of `Preconditioned`, edm, mixes x0 and eps."""

TIMES = (0.02, 0.25, 0.6, 0.98)
STEPS = 50


def prediction(kind: str, process: Any, x0: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """What an ideal network of a kind would say where the posterior mean is x0.

    With eps = (x - alpha x0)/sigma: eps itself, v = (alpha eps - sigma x0)/n with n^2 = alpha^2 +
    sigma^2, flow = eps - x0, score = -eps/sigma (which the process knows as Tweedie's formula).
    """
    from sfumato import Dirac, expand

    alpha, sigma = expand(x, process.alpha(t)), expand(x, process.sigma(t))
    eps: Tensor = (x - alpha * x0) / sigma
    score: Tensor = process.score(Dirac(x0), x, t)
    norm = (alpha.square() + sigma.square()).sqrt()
    said: dict[str, Tensor] = {
        "x0": x0,
        "eps": eps,
        "score": score,
        "v": (alpha * eps - sigma * x0) / norm,
        "flow": eps - x0,
    }
    return said[kind]


def clean(kind: Prediction, value: Tensor, process: Process, x: Tensor, t: Tensor) -> Tensor:
    """The x0 that `Preconditioned` reads out of what a network of a kind says."""
    from torch import nn

    from sfumato import Preconditioned

    class Says(nn.Module):
        def forward(self, x: Tensor, clock: Tensor) -> Tensor:
            return value

    x0: Tensor = Preconditioned(Says(), process, kind)(x, t).mean
    return x0


def convert(
    value: Tensor, source: Prediction, target: str, process: Process, x: Tensor, t: Tensor
) -> Tensor:
    """A prediction of one kind as one of another kind."""
    return prediction(target, process, clean(source, value, process, x, t), x, t)


def processes() -> dict[str, Gaussian]:
    """One process for each way that alpha and sigma may go."""
    from sfumato_methods.gaussian import cosine, edm, linear, vp

    return {"vp": vp(), "linear": linear(), "cosine": cosine(), "edm": edm(3.0)}


def mixture() -> Any:
    """Three correlated normals in four dimensions, unequal in weight and width."""
    import torch

    from sfumato import random
    from sfumato_testing import FullMixture

    generator = random.derive(0, "unified")
    means = 1.5 * random.normal(torch.empty(3, 4, dtype=torch.float64), generator)
    roots = random.normal(torch.empty(3, 4, 4, dtype=torch.float64), generator)
    widths = torch.tensor([0.5, 0.2, 0.8]).double()[:, None, None]
    covariances = widths.square() * (roots @ roots.mT / 4 + 0.1 * torch.eye(4).double())
    return FullMixture(means, covariances, [0.5, 0.3, 0.2])


def states(seed: int, n: int) -> Iterator[tuple[Any, Tensor, Tensor, Tensor, Tensor]]:
    """(process, x0, x, t, E[x0 | x]) for every process and time."""
    import torch

    from sfumato import random

    target = mixture()
    for name, process in processes().items():
        generator = random.derive(seed, "states", name)
        for at in TIMES:
            t = torch.tensor(at, dtype=torch.float64)
            x0 = target.sample(n, generator)
            x = process.marginal(x0, t).sample(generator)
            yield process, x0, x, t, target.denoiser(process)(x, t).mean


def conversions(seed: int, n: int) -> float:
    """Error of all 20 ordered pairs there and back, each leg against the exact value."""
    worst = 0.0
    for process, _, x, t, mean in states(seed, n):
        exact = {kind: prediction(kind, process, mean, x, t) for kind in KINDS}
        for source in _kinds():
            for target in _kinds():
                if source == target:
                    continue
                there = convert(exact[source], source, target, process, x, t)
                back = convert(there, target, source, process, x, t)
                worst = max(worst, _apart(there, exact[target]), _apart(back, exact[source]))
    return worst


def tweedie(seed: int, n: int) -> float:
    """Error of the score of the posterior mean against the gradient of the exact density."""
    target, worst = mixture(), 0.0
    for process, _, x, t, mean in states(seed, n):
        said = prediction("score", process, mean, x, t)
        worst = max(worst, _apart(said, target.score(process, x, t)))
    return worst


def bound(seed: int, n: int) -> float:
    """Error of KL(bridge || transition) against (SNR(s) - SNR(t))/2 |x0 - xhat|^2."""
    from sfumato import Dirac, kl

    worst = 0.0
    for process, x0, x, t, mean in states(seed, n):
        s = 0.7 * t
        term = kl(process.bridge(x0, x, t, s), process.transition(Dirac(mean), x, t, s))
        rise = process.logsnr(s).exp() - process.logsnr(t).exp()
        worst = max(worst, _apart(term, 0.5 * rise * (x0 - mean).square().sum(1)))
    return worst


def heads(seed: int, n: int) -> float:
    """Difference of the samples of one network read through each of the five heads.

    The grid begins at sigma/alpha = 80, since noise predicted where no data is left tells nothing.
    """
    import torch

    from sfumato import Ancestral, random, sample
    from sfumato_methods.grids import karras
    from sfumato_methods.solvers import DDIM

    worst, like = 0.0, torch.empty(n, 4, dtype=torch.float64)
    for name, process in processes().items():
        network, grid = native(process, seed), karras(process, STEPS)
        grid[0] = process.time(torch.tensor(-2 * math.log(80.0)))
        for sampler in (DDIM(), Ancestral()):
            drawn = [
                sample(
                    process,
                    read_as(kind, network, process),
                    like,
                    sampler=sampler,
                    grid=grid,
                    generator=random.derive(seed, "noise", name),
                )
                for kind in _kinds()
            ]
            worst = max(worst, *(_apart(one, drawn[0]) for one in drawn[1:]))
    return worst


def native(process: Process, seed: int) -> Denoiser:
    """A small network with random weights that predicts the noise."""
    import torch
    from torch import nn

    from sfumato import Preconditioned, random

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(5, 64), nn.SiLU(), nn.Linear(64, 4)).double()
            generator = random.derive(seed, "weights")
            with torch.no_grad():
                for weight in self.parameters():
                    weight.copy_(random.normal(weight, generator) / math.sqrt(weight.shape[-1]))

        def forward(self, x: Tensor, clock: Tensor) -> Tensor:
            y: Tensor = self.body(torch.cat([x, clock[:, None].to(x.dtype)], 1))
            return y

    return Preconditioned(Net(), process, "eps")


def read_as(kind: Prediction, network: Denoiser, process: Process) -> Denoiser:
    """A denoiser that says what `network` does, through another head of `Preconditioned`."""
    from sfumato import Denoiser, Dirac

    class Head(Denoiser):
        def forward(self, x: Any, t: Any) -> Dirac:
            said = prediction(kind, process, network(x, t).mean, x, t)
            return Dirac(clean(kind, said, process, x, t))

    return Head()


def _kinds() -> Iterator[Prediction]:
    """`KINDS` as the type that `Preconditioned` takes."""
    from sfumato.denoiser import Prediction

    return (kind for kind in get_args(Prediction) if kind in KINDS)


def _apart(found: Tensor, wanted: Tensor) -> float:
    """Root mean square difference over the root mean square of what is wanted."""
    return float((found - wanted).square().mean().sqrt() / wanted.square().mean().sqrt())


def trial(given: Trial) -> Mapping[str, Measured]:
    """Each identity on fresh states, on the CPU; cost in seconds."""
    n = max(8, round(512 * given.scale))
    found = {}
    for key, measure in {
        "conversions": conversions,
        "tweedie": tweedie,
        "samples": heads,
        "bound": bound,
    }.items():
        began = time.monotonic()
        error = measure(given.seed, n)
        found[key] = Measured(error, 1.0, None, n, time.monotonic() - began)
    return found


system = System(
    id="unified",
    title="Understanding Diffusion Models: A Unified Perspective",
    source="Luo 2022, arXiv:2208.11970",
    components=("vp", "linear", "cosine", "edm", "ddim", "ancestral"),
    trial=trial,
    claims=(
        Claim(
            "x0, noise, score, v and flow velocity are one prediction: 20 conversions, exactly",
            "conversions",
            at_most=1e-10,
        ),
        Claim("the score is the posterior mean, by Tweedie's formula", "tweedie", at_most=1e-10),
        Claim(
            "one network read through five heads draws the same samples", "samples", at_most=1e-8
        ),
        Claim(
            "each term of the bound is half the rise in SNR times the squared error of x0",
            "bound",
            at_most=1e-8,
        ),
    ),
)
