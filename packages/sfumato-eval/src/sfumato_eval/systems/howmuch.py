"""How Much is Enough? A Study on Diffusion Times in Score-based Generative Models.

Franzese et al. 2022, arXiv:2206.05173. The headline is that a shorter diffusion time, begun with a
law that is learned from noised data, is as good in a share of the steps. Here, on 8 x 8 digits with
one network: the sliced Wasserstein distance to held-out images of DDPM from T = 0.4 in 20 steps,
begun with ten normals of full covariance, against T = 1 in 50 steps; the same begun with standard
noise; and the loss of the bound on -log p, from T down to t = 0.02, begun with standard noise, of
the best of T = 0.6 and 0.4 against the better of T = 1 and 0.2: the bound has its least inside.

What the start is worth is hard to see here: a network of digits makes digits even of standard noise
at T = 0.4, and what it loses between T = 0.6 and 1 is less than the start does.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping
from itertools import pairwise

from sfumato.survey import Claim, Measured, System, Trial

STEPS = 1000
DENSITY = 50
"""Steps that the whole time is given."""
TIMES = (1.0, 0.6, 0.4, 0.2)
SHORT = 0.4
LAST = 0.02
COMPONENTS = 10
DRAWN = 1000


def trial(given: Trial) -> Mapping[str, Measured]:
    """The distances from the three starts, and the bounds begun with noise and with the mixture."""
    import torch

    from sfumato import Ancestral, Batch, random, sample
    from sfumato_eval.sliced import SlicedWasserstein
    from sfumato_methods.grids import LearnedStart, path_loss, start_loss, uniform

    from . import digits8
    from .codeexec_example import forward_process

    began = time.monotonic()
    train, held = digits8.read(given.seed)
    steps, n = max(10, round(STEPS * given.scale)), max(100, round(DRAWN * given.scale))
    process = forward_process()
    denoiser = digits8.trained(train, given.seed, steps)
    starts = {
        t: LearnedStart.fit(
            process, train.x, t, COMPONENTS, generator=random.derive(given.seed, "fit")
        )
        for t in TIMES[1:]
    }
    metric, like = SlicedWasserstein(), torch.empty(n, 1, 8, 8)
    data = metric.summary(Batch(held.x))
    floor = metric.between(metric.summary(Batch(train.x)), data).value

    def far(t: float, learned: bool) -> float:
        drawn = sample(
            process,
            denoiser,
            like,
            sampler=Ancestral(),
            grid=t * uniform(process, round(t * DENSITY)),
            start=starts[t].law(like) if learned else process.prior(like),
            generator=random.derive(given.seed, "draw"),
        )
        return metric.between(metric.summary(Batch(drawn.clamp(-1, 1))), data).value

    whole = far(1.0, learned=False)
    distances = {
        "learned start": far(SHORT, learned=True),
        "noise as start": far(SHORT, learned=False),
        "learned start at 0.2": far(0.2, learned=True),
    }

    images = held.x[: max(50, round(len(held.x) * given.scale))]
    # The path is lost in pieces, so that bounds of several T differ by no chance in what they share
    path, lost = 0.0, {}
    with torch.inference_mode():
        for t, s in pairwise([LAST, *reversed(TIMES)]):
            grid = torch.linspace(s, t, round((s - t) * DENSITY) + 1, dtype=torch.float64)
            source = random.derive(given.seed, "path", round(100 * s))
            path += float(path_loss(process, denoiser, images, grid, source).mean())
            for name in ("noise", "mixture"):
                if name == "noise" or s < 1:
                    law = process.prior(images) if name == "noise" else starts[s].law(images)
                    end = torch.tensor(s, dtype=torch.float64)
                    source = random.derive(given.seed, "start", round(100 * s))
                    first = start_loss(process, images, end, law, source)
                    lost[name, s] = path + float(first.mean())
    inner = min(lost["noise", t] for t in TIMES[1:-1])
    ends = min(lost["noise", t] for t in (TIMES[0], TIMES[-1]))
    cost = time.monotonic() - began
    found = {name: Measured(value, whole, floor, n, cost) for name, value in distances.items()}
    return found | {
        "bound": Measured(inner, ends, None, len(images), cost),
        "bound, learned start": Measured(
            lost["mixture", SHORT], lost["noise", 1.0], None, len(images), cost
        ),
    }


system = System(
    id="howmuch",
    title="How Much is Enough? A Study on Diffusion Times in Score-based Generative Models",
    source="Franzese et al. 2022, arXiv:2206.05173",
    components=("unet", "vp", "ancestral", "uniform", "digits8", "sliced-wasserstein"),
    trial=trial,
    claims=(
        Claim(
            "from T = 0.4 with a learned start, in 0.4 of the steps, digits are as near to data",
            "learned start",
            at_most=1.05,
        ),
        Claim("begun with noise instead they are farther by half", "noise as start", at_least=1.5),
        Claim("the bound begun with noise is least at a T inside", "bound", at_most=1.0),
    ),
)
