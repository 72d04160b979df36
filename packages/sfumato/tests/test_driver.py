"""The driver: what it refuses, and what it does the same for every sampler."""

import pytest
import torch

from sfumato import (
    Ancestral,
    Can,
    Categorical,
    Dirac,
    Fields,
    InputError,
    Joint,
    PerPart,
    Process,
    Product,
    Unsupported,
    elbo,
    random,
    run,
    sample,
)
from sfumato_methods import grids
from sfumato_methods.discrete import Discrete, uniform
from sfumato_methods.gaussian import VP, Gaussian
from sfumato_methods.solvers import DDIM, DPMSolverPP, Heun

VPP = Gaussian(VP())
X = torch.zeros(2, 3, dtype=torch.float64)
IDS = torch.zeros(2, 3, dtype=torch.long)
TOKENS = Discrete(uniform(4))
BOTH = Product({"pos": VPP, "kind": TOKENS})


def half(x, t):
    return Dirac(x * 0.5)


def flat(x, t):
    return Categorical(probs=torch.full((*x.shape, 4), 0.25, dtype=torch.float64))


def walk(process=VPP, denoiser=half, x=X, sampler=DDIM(), grid=(1.0, 0.5, 0.0)):  # noqa: B008
    grid = grid if not isinstance(grid, tuple) else torch.tensor(grid, dtype=torch.float64)
    return list(run(sampler, process, denoiser, x, grid, random.derive(0, "walk")))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"grid": (1.2, 0.5, 0.0)}, r"in \[0, 1\].*1.2"),
        ({"grid": (1.0, -0.1)}, r"in \[0, 1\]"),
        ({"grid": (1.0, float("nan"))}, r"in \[0, 1\]"),
        ({"grid": torch.tensor([1, 0])}, "must be floats"),
        ({"grid": (1.0,)}, "at least two times"),
        ({"grid": [1.0, 0.0]}, "a grid is a float tensor"),
        ({"grid": (1.0, 0.2, 0.5)}, "not monotone"),
        ({"grid": (0.2, 0.5), "sampler": Ancestral()}, "Ancestral draws noise.*DDIM"),
        ({"grid": (0.2, 0.5), "sampler": DDIM(0.5)}, "ascends"),
        ({"grid": (0.0, 0.5)}, "ascends from t = 0"),
        ({"grid": torch.rand(3, 5).sort(0, True).values}, r"shape \(5,\) does not fit"),
        ({"grid": {"a": torch.tensor([1.0, 0.0])}, "x": Fields(a=X, b=X)}, "field 'b'|time"),
    ],
)
def test_a_wrong_grid_is_refused(options, says):
    if isinstance(options["grid"], dict):
        options = options | {"process": Product({"a": VPP, "b": VPP}), "sampler": Ancestral()}
    with pytest.raises(InputError, match=says):
        walk(**options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"process": TOKENS, "x": IDS, "sampler": DPMSolverPP()},
            r"DPMSolverPP needs AFFINE; Discrete\(.*\) can STEP, BRIDGE, LIKELIHOOD. Use Ancestral",
        ),
        ({"process": TOKENS, "x": IDS, "sampler": Heun()}, "Heun needs VELOCITY"),
        ({"process": BOTH, "sampler": DPMSolverPP()}, "part 'kind': DPMSolverPP needs AFFINE"),
        ({"process": BOTH, "sampler": PerPart({"kind": DDIM()})}, "part 'kind': DDIM needs AFFINE"),
        ({"process": BOTH, "sampler": PerPart({"pos": Heun()})}, "more than once per step"),
        ({"process": BOTH, "sampler": PerPart({"bonds": DDIM()})}, "bonds, not a part"),
        ({"sampler": PerPart({})}, "PerPart needs a Product"),
        ({"denoiser": flat}, "kind Dirac, Normal, Mixture, Implicit.*returned Categorical"),
        ({"process": TOKENS, "x": IDS, "denoiser": half, "sampler": Ancestral()}, "Categorical"),
        (
            {
                "process": BOTH,
                "x": Fields(pos=X, kind=IDS),
                "denoiser": lambda x, t: Joint(pos=Dirac(X)),
                "sampler": Ancestral(),
            },
            "no posterior for the part 'kind'",
        ),
    ],
)
def test_pieces_that_do_not_go_together_say_why(options, says):
    with pytest.raises(Unsupported, match=says):
        walk(**options)


def test_a_process_says_what_it_lacks():
    class Bare(Process):
        can = Can.STEP

    t = torch.tensor(0.5)
    for call in (
        lambda: Bare().bridge(X, X, t, t),
        lambda: Bare().velocity(None, X, t),
        lambda: elbo(Bare(), half, X, grids.uniform(VPP, 3), None),
    ):
        with pytest.raises(Unsupported, match=r"Bare\(\).* can STEP"):
            call()
    with pytest.raises(InputError, match="takes no context; given were end"):
        VPP.given(end=X)
    with pytest.raises(InputError, match="no part bonds"):
        BOTH.given(bonds={})
    with pytest.raises(InputError, match="at least one part"):
        Product({})
    with pytest.raises(InputError, match="no time for the field 'kind'"):
        BOTH.marginal(Fields(pos=X, kind=IDS), {"pos": t})
    for process in (VPP, TOKENS):
        with pytest.raises(InputError, match="one clock"):
            process.clock({"a": t})
    with pytest.raises(InputError, match="ids of dtype long"):
        TOKENS.prior(X)


@pytest.mark.parametrize("grid", [(0.9, 0.0), (1.0, 0.1), (1.0, 0.5, 0.5, 0.0)])
def test_the_bound_needs_a_whole_grid(grid):
    with pytest.raises(InputError, match="strictly from 1 to 0"):
        elbo(VPP, half, X, torch.tensor(grid, dtype=torch.float64), random.derive(0, "bound"))


def test_frames_chain_and_a_caller_may_stop_early():
    frames = walk(grid=(1.0, 0.6, 0.3, 0.0))
    assert [(float(f.t), float(f.s)) for f in frames] == [(1.0, 0.6), (0.6, 0.3), (0.3, 0.0)]
    assert all(torch.equal(a.after, b.before) for a, b in zip(frames, frames[1:], strict=False))
    calls = []

    def counted(x, t):
        calls.append(t)
        return half(x, t)

    next(iter(run(DDIM(), VPP, counted, X, grids.uniform(VPP, 50), random.derive(0, "stop"))))
    assert len(calls) == 1


def test_a_constraint_changes_what_the_sampler_goes_on_from():
    seen = []

    def spy(x, t):
        seen.append(x)
        return half(x, t)

    def ones(process, frame, generator):
        return torch.ones_like(frame.after)

    for sampler in (DDIM(), DPMSolverPP(), Heun(), Ancestral()):
        seen.clear()
        grid, g = grids.uniform(VPP, 3), random.derive(0, "ones")
        last = sample(VPP, spy, X, sampler=sampler, grid=grid, generator=g, constraint=ones)
        assert torch.equal(last, torch.ones_like(X))
        assert sum(torch.equal(x, torch.ones_like(X)) for x in seen) == 2


def test_samples_can_enter_autograd_and_keep_the_graph_when_asked():
    weight = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    options = {"sampler": DPMSolverPP(), "grid": grids.uniform(VPP, 4)}

    def draw(grad):
        g = random.derive(0, "graph")
        return sample(VPP, lambda x, t: Dirac(x * weight), X, generator=g, grad=grad, **options)

    plain = draw(grad=False)
    assert not plain.requires_grad and not plain.is_inference()
    (plain * weight).sum().backward()
    weight.grad = None
    draw(grad=True).square().sum().backward()
    step = 1e-6
    with torch.no_grad():
        values = []
        for move in (step, -step):
            weight += move
            values.append(float(draw(grad=False).square().sum()))
            weight -= move
    slope = (values[0] - values[1]) / (2 * step)
    assert float(weight.grad) == pytest.approx(slope, rel=1e-5)


def test_a_walk_may_begin_at_the_law_of_another_time():
    """From q(x_t | x_0) at t = 1/2 one step of the exact denoiser of that x_0 leads to it."""
    process, x0 = Gaussian(VP()), torch.tensor([[1.0, -2.0]])
    grid = torch.tensor([0.5, 0.25, 0.0], dtype=torch.float64)
    start = process.marginal(x0, grid[0])
    seen = []

    def exact(x, t):
        seen.append((x, t))
        return Dirac(x0)

    options = {"sampler": Ancestral(), "grid": grid, "start": start}
    got = sample(process, exact, x0, generator=random.derive(0, "g"), **options)
    assert torch.equal(got, x0)
    assert torch.equal(seen[0][0], start.sample(random.derive(0, "g"))) and seen[0][1] == 0.5
