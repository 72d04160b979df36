"""Every registered sampler on every process: it runs, or says which capability is missing.

Processes that need a source are given one for each item.
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from sfumato import (
    Categorical,
    Dirac,
    Fields,
    Joint,
    Multistep,
    Padded,
    Product,
    Ragged,
    Streams,
    Unsupported,
    registry,
    sample,
)
from sfumato.state import apply, leaf, select
from sfumato_methods import grids
from sfumato_methods.discrete import (
    Discrete,
    Growth,
    Insertion,
    JointDiscrete,
    absorbing,
    band,
    marginal,
    ordinal,
)
from sfumato_methods.gaussian import VP, Gaussian, Phase

OWNER = torch.repeat_interleave(torch.arange(3), torch.tensor([2, 4, 1]))
POINTS = Ragged(torch.zeros(7, 3, dtype=torch.float64), OWNER, 3)
KINDS = Ragged(torch.zeros(7, dtype=torch.long), OWNER, 3)

TOKENS = (
    "absorbing",
    "uniform",
    "mask-replace",
    "insertion",
    "simplex",
)  # these are told the number of classes
PROCESSES = {
    component.name: (component.load()(4), torch.zeros(3, 5, dtype=torch.long))
    if component.name in TOKENS
    else (component.load()(), torch.zeros(3, 5, dtype=torch.float64))
    for component in registry().list("process")
}
PROCESSES["blurring"] = (PROCESSES["blurring"][0], torch.zeros(3, 1, 4, 4, dtype=torch.float64))
TURNS = torch.eye(3, dtype=torch.float64).expand(3, 3, 3)
PROCESSES["rotations"] = (PROCESSES["rotations"][0], TURNS)
PROCESSES |= {
    "table": (Gaussian(VP.from_betas(torch.linspace(1e-4, 0.02, 1000))), torch.zeros(3, 5)),
    "insertion": (
        Insertion(4),
        Padded(torch.zeros(3, 5, dtype=torch.long), torch.zeros(3, 5, dtype=torch.bool)),
    ),
    "ordinal": (Discrete(ordinal(4, [0.4] * 40)), torch.zeros(3, 5, dtype=torch.long)),
    "band": (Discrete(band(4, 1)), torch.zeros(3, 5, dtype=torch.long)),
    "joint": (JointDiscrete(marginal([0.1, 0.2, 0.3, 0.4])), torch.zeros(3, 5, dtype=torch.long)),
    "points": (Product({"a": Gaussian(VP()), "b": Gaussian(VP())}), Fields(a=POINTS, b=POINTS)),
    "molecules": (
        Product({"pos": Gaussian(VP()), "kind": Discrete(absorbing(4))}),
        Fields(pos=POINTS, kind=KINDS),
    ),
}
SOURCE = torch.linspace(-1, 1, 15, dtype=torch.float64).reshape(3, 5)
SAMPLERS = {component.name: component.load() for component in registry().list("sampler")}


def denoiser(x, t):
    """Half of what is there, or an even guess over the classes."""
    if isinstance(x, Fields):
        return Joint({k: denoiser(v, t) for k, v in x.items()})
    if leaf(x).is_floating_point():
        return Dirac(x * 0.5)
    probs = apply(x, lambda i: F.one_hot(torch.zeros_like(i), 4).double() * 0.6 + 0.1)
    return Categorical(probs=probs)


def padded(x, t):
    """The same for absorbing kernels, whose last class is the mask."""
    if isinstance(x, Fields):
        return Joint(pos=denoiser(x["pos"], t), kind=padded(x["kind"], t))
    return Categorical(probs=apply(denoiser(x, t).probs, lambda p: F.pad(p, (0, 1))))


def growing(x, t):
    """The same for texts that grow, and two tokens missing."""
    even = Padded(denoiser(x.data, t).probs, x.mask)
    gaps = torch.full((len(x.data), x.mask.shape[1] + 1), 2.0) / (x.mask.shape[1] + 1)
    return Growth(Categorical(probs=Padded(F.pad(even.data, (0, 1)), x.mask)), gaps)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", PROCESSES)
def test_each_pair_runs_or_names_what_is_missing(name, sampler):
    process, like = PROCESSES[name]
    model = growing if name == "insertion" else denoiser
    if name == "simplex":  # a posterior over the classes of points
        model = lambda x, t: denoiser(process.project(x), t)  # noqa: E731
    model = padded if name in ("absorbing", "mask-replace", "molecules") else model
    pinned = "source" in process.context
    coupled = isinstance(process, Phase)
    if coupled:  # the data alone is what a denoiser tells
        model = lambda x, t: denoiser(process.project(x), t)  # noqa: E731

    def draw(like, numbers):
        return sample(
            process.given(source=SOURCE[list(numbers)]) if pinned else process,
            model,
            like,
            sampler=SAMPLERS[sampler](),
            grid=grids.uniform(process, 6),
            generator=Streams.derive(5, "matrix", numbers),
        )

    try:
        drawn = draw(like, range(3))
    except Unsupported as error:
        solver = SAMPLERS[sampler]()
        liftable = isinstance(solver, Multistep)  # only these can serve the parts of a product
        homes = ("sfumato_methods.discrete", "sfumato_methods.simplex")
        tokens = SAMPLERS[sampler].__module__.startswith(homes)
        expected = (
            *TOKENS, "ordinal", "band", "joint", "molecules", "ndm", "nfdm", "blurring", "pfgmpp",
            "rotations", "torus",
        )  # fmt: skip
        lifted = name == "points" and not liftable
        other = tokens or pinned or coupled or sampler == "phase-ab"
        assert other or lifted or name in expected, error
        served = process.part("kind") if name == "molecules" and liftable else process
        missing = solver.needs & ~served.can
        assert missing.names() in str(error) and "Ancestral()" in str(error)
        assert tokens or name != "molecules" or not liftable or "part 'kind'" in str(error)
        return
    alone = draw(select(like, torch.tensor([1])), [1])
    assert not pinned or sampler not in ("ddim", "dpmpp-2m")  # x_t is not alpha x_0 + sigma eps
    parts = drawn.values() if isinstance(drawn, Fields) else [drawn]
    single = alone.values() if isinstance(alone, Fields) else [alone]
    for whole, one in zip(parts, single, strict=True):
        assert leaf(whole).dtype.is_floating_point is leaf(one).dtype.is_floating_point
        assert bool(leaf(whole).isfinite().all())
        assert torch.equal(leaf(select(whole, torch.tensor([1]))), leaf(one))
