"""Likelihood by the flow: exact values, orders, unbiased traces, states of every kind."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
import torch

from sfumato import (
    Dirac,
    Fields,
    InputError,
    Joint,
    Padded,
    Product,
    Ragged,
    Streams,
    Unsupported,
    expand,
    random,
)
from sfumato.random import derive
from sfumato.state import apply
from sfumato_methods import grids
from sfumato_methods.discrete import Discrete, uniform
from sfumato_methods.gaussian import EDM, VP, Centred, Cosine, Gaussian, Linear
from sfumato_methods.measures import Exact, Hutchinson, HutchPP, divergence, log_likelihood
from sfumato_methods.solvers.tableaux import DOPRI5, EULER, HEUN, RK4
from sfumato_testing import DiagonalMixture, FullMixture

FLOAT = torch.float64
ALARM = 1e-6
START = 0.05


def mixture(dimensions=3):
    means = random.normal(torch.empty(2, dimensions, dtype=FLOAT), derive(1, "means"))
    turn = random.normal(torch.empty(2, dimensions, dimensions, dtype=FLOAT), derive(1, "turn"))
    return FullMixture(means, turn @ turn.mT / dimensions + 0.3 * torch.eye(dimensions))


def ascending(process, steps, start=START):
    return torch.linspace(math.sqrt(start), 1, steps + 1, dtype=FLOAT).square()


def shared(t):
    return torch.tensor(t, dtype=FLOAT)


@pytest.mark.parametrize(
    ("tableau", "order", "steps"),
    [(EULER, 1, (64, 128)), (HEUN, 2, (32, 64)), (RK4, 4, (16, 32)), (DOPRI5, 5, (40, 80))],
    ids=["euler", "heun", "rk4", "dopri5"],
)
@pytest.mark.parametrize("process", [Gaussian(Linear()), Gaussian(Cosine())], ids=["flow", "cos"])
def test_the_value_converges_to_the_exact_one_at_the_order_of_the_method(
    process, tableau, order, steps
):
    """The prior of both is the law at t = 1, so that nothing but the steps is left."""
    target = mixture()
    x = process.marginal(target.sample(20, derive(2, "x")), shared(START)).sample(derive(2, "e"))
    exact = target.log_density(process, x, shared(START))
    errors = [
        (
            log_likelihood(
                process, target.denoiser(process), x, ascending(process, n), tableau=tableau
            ).value
            - exact
        )
        .square()
        .mean()
        .sqrt()
        for n in steps
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)
    assert errors[1] < 0.05


@pytest.mark.parametrize("schedule", [VP(), EDM(20.0)], ids=["vp", "edm"])
def test_a_normal_is_exact_also_where_the_prior_is_not_the_noised_law(schedule):
    """log p = log prior(flow(x)) + sum of the logs of its growth along the axes."""
    process = Gaussian(schedule)
    target = FullMixture(torch.tensor([[0.4, -0.3]]), torch.tensor([[[0.5, 0.2], [0.2, 0.3]]]))
    x = target.sample(10, derive(3, "x"))
    t, one = shared(0.02), shared(1.0)
    end = target.flow(process, x, t, one)
    totals = [process.alpha(u) ** 2 * target.variances + process.sigma(u) ** 2 for u in (one, t)]
    growth = 0.5 * (totals[0].log() - totals[1].log()).sum()
    exact = growth - process.prior(end).nll(end)
    grid = torch.linspace(0.02**0.5, 1, 101, dtype=FLOAT).square()
    found = log_likelihood(process, target.denoiser(process), x, grid)
    assert torch.allclose(found.value, exact, rtol=0, atol=2e-6)
    assert torch.allclose(found.end, end, rtol=0, atol=2e-5)
    assert not bool(found.error.any())


def test_near_the_data_the_value_is_that_of_the_data():
    process, target = Gaussian(Linear()), mixture()
    x = target.sample(20, derive(4, "x"))
    grid = torch.linspace(1e-4 ** (1 / 3), 1, 61, dtype=FLOAT).pow(3)
    found = log_likelihood(process, target.denoiser(process), x, grid)
    assert torch.allclose(found.value, -target.nll(x), rtol=0, atol=3e-3)


def linear_field(matrix):
    return lambda x: x @ matrix.T


def jacobian(size, rank=None, seed=5):
    left, right = (
        random.normal(torch.empty(size, rank or size, dtype=FLOAT), derive(seed, name))
        for name in ("left", "right")
    )
    return left @ right.T


@pytest.mark.parametrize("chunk", [1, 3, 32])
def test_the_exact_trace_is_exact_in_any_chunks(chunk):
    matrix = jacobian(7)
    x = random.normal(torch.empty(4, 7, dtype=FLOAT), derive(5, "x"))
    value, found = divergence(linear_field(matrix), x, Exact(chunk))
    assert torch.allclose(value, x @ matrix.T) and not value.requires_grad
    assert torch.allclose(found, matrix.trace().expand(4, 1), rtol=1e-12)


RULES = [
    Hutchinson(2), Hutchinson(2, "gaussian"), HutchPP(6),
]  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=["rademacher", "gaussian", "hutch++"])
def test_probes_are_unbiased_and_tell_their_error(rule):
    """2,000 items of one Jacobian: means by the central limit theorem, at a false alarm of 1e-6."""
    matrix, n = jacobian(8), 2000
    _, found = divergence(
        linear_field(matrix), torch.zeros(n, 8, dtype=FLOAT), rule, derive(6, "e")
    )
    each = found.mean(1)
    bound = NormalDist().inv_cdf(1 - ALARM / 2)
    assert abs(each.mean() - matrix.trace()) < bound * each.std() / math.sqrt(n)
    told = found.var(1).mean() / found.shape[1]  # the mean of squared standard errors
    spread = (found.var(1) / found.shape[1]).std() / math.sqrt(n)
    if isinstance(rule, Hutchinson):  # of Hutch++ only the part beside its sketch is told
        both = math.hypot(spread, each.var() * math.sqrt(2.5 / n))
        assert abs(told - each.var()) < bound * both


@pytest.mark.parametrize(
    ("noise", "weight"), [("rademacher", 1.0), ("gaussian", 0.0)], ids=["rademacher", "gaussian"]
)
def test_the_variance_is_the_published_one(noise, weight):
    """2 (|S|^2 - w |diag S|^2) for the symmetric part S, w = 1 for signs: within 15 per cent."""
    matrix, n = jacobian(6), 20000
    _, found = divergence(
        linear_field(matrix), torch.zeros(n, 6, dtype=FLOAT), Hutchinson(1, noise), derive(7, "e")
    )
    s = (matrix + matrix.T) / 2
    want = 2 * (s.square().sum() - weight * s.diagonal().square().sum())
    assert float(found.var() / want) == pytest.approx(1, abs=0.15)


def test_hutch_pp_is_exact_for_a_rank_that_fits_its_sketch_and_not_above():
    x = torch.zeros(50, 20, dtype=FLOAT)
    for rank, exact in ((4, True), (5, False)):
        matrix = jacobian(20, rank)
        _, found = divergence(linear_field(matrix), x, HutchPP(12), derive(8, "e"))
        gap = (found - matrix.trace()).abs()
        assert bool((gap < 1e-9).all()) == exact


def test_hutch_pp_beats_hutchinson_at_equal_products_where_the_spectrum_decays():
    base, n = jacobian(40), 500
    u, _ = torch.linalg.qr(base)
    matrix = u @ torch.diag(0.5 ** torch.arange(40, dtype=FLOAT)) @ u.T
    x = torch.zeros(n, 40, dtype=FLOAT)
    spread = [
        divergence(linear_field(matrix), x, rule, derive(9, "e"))[1].mean(1).std()
        for rule in (HutchPP(12), Hutchinson(12))
    ]
    assert spread[0] < 0.3 * spread[1]


def test_a_multiple_of_the_identity_costs_hutch_pp_no_variance():
    matrix = jacobian(12, 2) + 50 * torch.eye(12, dtype=FLOAT)
    x = torch.zeros(100, 12, dtype=FLOAT)
    _, found = divergence(linear_field(matrix), x, HutchPP(9), derive(8, "e"))
    assert float(found.std()) < 0.02 * float(matrix.trace())
    _, found = divergence(linear_field(matrix), x, Hutchinson(9, "gaussian"), derive(8, "e"))
    assert float(found.std()) > 0.2 * float(matrix.trace())
    only = 3 * torch.eye(12, dtype=FLOAT)
    _, found = divergence(linear_field(only), x, HutchPP(6), derive(8, "e"))
    assert torch.allclose(found, torch.tensor(36.0, dtype=FLOAT), rtol=1e-12)


def test_streams_make_an_item_independent_of_its_batch():
    process, target = Gaussian(Linear()), mixture(4)
    x = target.sample(5, derive(10, "x"))
    grid = ascending(process, 4)
    streams = lambda: Streams.derive(3, "probe", range(5))  # noqa: E731
    rule = Hutchinson(3)
    whole = log_likelihood(
        process, target.denoiser(process), x, grid, trace=rule, generator=streams()
    )
    alone = [
        log_likelihood(
            process, target.denoiser(process), x[i : i + 1], grid, trace=rule,
            generator=Streams([streams()[i]]),
        )
        for i in range(5)
    ]  # fmt: skip
    assert torch.allclose(whole.value, torch.cat([one.value for one in alone]), rtol=1e-13)
    assert torch.allclose(whole.error, torch.cat([one.error for one in alone]), rtol=1e-9)
    again = log_likelihood(
        process, target.denoiser(process), x, grid, trace=rule, generator=streams()
    )
    assert torch.equal(whole.value, again.value)


def test_the_standard_error_covers_the_exact_value():
    """z-scores of 200 items by 32 probes are t-distributed: all within the bound at 1e-6."""
    process, target = Gaussian(Linear()), mixture(6)
    x = target.sample(200, derive(11, "x"))
    grid, denoiser = ascending(process, 8), target.denoiser(process)
    exact = log_likelihood(process, denoiser, x, grid)
    found = log_likelihood(
        process, denoiser, x, grid, trace=Hutchinson(32), generator=derive(11, "e")
    )
    z = (found.value - exact.value) / found.error
    assert float(z.abs().max()) < 8.5  # Student's t with 31 degrees, 200 items, 1e-6
    assert 0.7 < float(z.square().mean().sqrt()) < 1.4
    assert torch.equal(found.end, exact.end)


def ragged_and_padded():
    sizes = [3, 1, 2]
    rows = random.normal(torch.empty(6, 2, dtype=FLOAT), derive(12, "x"))
    owner = torch.tensor([i for i, n in enumerate(sizes) for _ in range(n)])
    data, mask = torch.full((3, 4, 2), math.nan, dtype=FLOAT), torch.zeros(3, 4, dtype=torch.bool)
    for i, n in enumerate(sizes):
        data[i, 1 : n + 1], mask[i, 1 : n + 1] = rows[owner == i], True
    return sizes, rows, Ragged(rows, owner, 3), Padded(data.nan_to_num(0), mask)


@pytest.mark.parametrize(
    "rule", [Exact(2), Hutchinson(2), HutchPP(6)], ids=["exact", "rademacher", "hutch++"]
)
def test_items_of_different_size_are_each_as_if_alone(rule):
    process = Gaussian(Linear())
    sizes, rows, ragged, padded = ragged_and_padded()
    grid = ascending(process, 3)

    def denoiser(x, t):
        like = torch.zeros(1, 1, dtype=FLOAT)
        flat = DiagonalMixture(like, [-1.0, 1.0], [0.5, 0.3]).denoiser(process)

        def mean(v):
            return flat(v.reshape(-1, 1), t).mean.reshape(v.shape)

        return Dirac(apply(x, mean))

    def found(x, generator):
        return log_likelihood(process, denoiser, x, grid, trace=rule, generator=generator).value

    together = [found(x, Streams.derive(1, "e", range(3))) for x in (ragged, padded)]
    alone = [
        found(part[None], Streams.derive(1, "e", [i])) for i, part in enumerate(rows.split(sizes))
    ]
    for values in together:
        assert torch.allclose(values, torch.cat(alone), rtol=1e-12)


def test_a_product_is_the_sum_of_its_parts():
    parts = {"a": Gaussian(Linear()), "b": Gaussian(Cosine())}
    target = {"a": mixture(2), "b": mixture(3)}
    x = {k: v.sample(4, derive(13, k)) for k, v in target.items()}
    process = Product(parts)
    grid = ascending(process, 6)
    each = {k: target[k].denoiser(parts[k]) for k in parts}

    def denoiser(x, t):
        return Joint({k: each[k](x[k], t) for k in parts})

    whole = log_likelihood(process, denoiser, Fields(x), grid)
    want = sum(log_likelihood(parts[k], each[k], x[k], grid).value for k in parts)
    assert torch.allclose(whole.value, want, rtol=1e-12)
    probed = log_likelihood(
        process, denoiser, Fields(x), grid, trace=HutchPP(30), generator=derive(1, "e")
    )
    assert torch.allclose(probed.value, want, rtol=1e-9)  # a sketch of 10 holds a rank of 5


@pytest.mark.parametrize("rule", [Exact(), HutchPP(30)], ids=["exact", "hutch++"])
def test_in_a_subspace_the_density_is_that_inside_it(rule):
    """Centred points of standard deviation 0.5: a normal law of (points - 1) D dimensions."""
    space = Centred()
    process = Gaussian(Linear(), space)
    rows = random.normal(torch.empty(6, 2, dtype=FLOAT), derive(14, "x"))
    x = space.project(Ragged(rows, torch.tensor([0, 0, 0, 0, 1, 1]), 2))
    target = DiagonalMixture(Ragged(rows[:1], torch.tensor([0]), 1), [0.0], [0.5], space=space)
    start = shared(START)

    def denoiser(x, t):
        a, b = process.alpha(t), process.sigma(t)
        return Dirac(x * expand(x, a * 0.25 / (a * a * 0.25 + b * b)))

    found = log_likelihood(
        process, denoiser, x, ascending(process, 40), trace=rule, generator=derive(0, "e")
    )
    assert torch.allclose(found.value, target.log_density(process, x, start), rtol=0, atol=1e-6)


@pytest.mark.parametrize("rule", [Exact(), HutchPP(30)], ids=["exact", "hutch++"])
def test_a_part_of_a_product_keeps_its_subspace(rule):
    """Centred points beside free numbers: the sum of both, each in its own space."""
    space = Centred()
    parts = {"points": Gaussian(Linear(), space), "rest": Gaussian(Cosine())}
    rows = random.normal(torch.empty(5, 2, dtype=FLOAT), derive(23, "x"))
    points = space.project(Ragged(rows, torch.tensor([0, 0, 0, 1, 1]), 2))
    x = {"points": points, "rest": mixture(3).sample(2, derive(23, "rest"))}
    process = Product(parts)

    def centred(x, t):
        a, b = parts["points"].alpha(t), parts["points"].sigma(t)
        return Dirac(x * expand(x, a * 0.25 / (a * a * 0.25 + b * b)))

    each = {"points": centred, "rest": mixture(3).denoiser(parts["rest"])}
    joint = lambda x, t: Joint({k: each[k](x[k], t) for k in parts})  # noqa: E731
    grid = ascending(process, 6)
    whole = log_likelihood(
        process, joint, Fields(x), grid, trace=rule, generator=derive(0, "e")
    ).value
    want = sum(log_likelihood(parts[k], each[k], x[k], grid).value for k in parts)
    assert torch.allclose(whole, want, rtol=1e-9)


def test_what_cannot_be_done_says_so():
    process, target = Gaussian(Linear()), mixture()
    x, denoiser = target.sample(2, derive(15, "x")), target.denoiser(process)
    good = ascending(process, 3)
    with pytest.raises(InputError, match="ascends strictly from a small time above 0"):
        log_likelihood(process, denoiser, x, torch.linspace(0, 1, 4))
    with pytest.raises(InputError, match="goes from 1 to 0.05 and does not ascend"):
        log_likelihood(process, denoiser, x, good.flip(0))
    with pytest.raises(InputError, match="one grid for all items"):
        log_likelihood(process, denoiser, x, good[:, None])
    with pytest.raises(InputError, match="Hutchinson draws probes; give a generator"):
        log_likelihood(process, denoiser, x, good, trace=Hutchinson())
    with pytest.raises(Unsupported, match="needs VELOCITY; .* sfumato.elbo"):
        log_likelihood(Discrete(uniform(3)), denoiser, x.long(), good)
    with pytest.raises(InputError, match="this one holds ids"):
        log_likelihood(process, denoiser, x.long(), good)
    with pytest.raises(Unsupported, match="came without a graph"):
        log_likelihood(process, torch.no_grad()(denoiser), x, good)
    with pytest.raises(Unsupported, match="computed without a graph"):
        divergence(lambda v: v.detach(), x, Exact())
    with pytest.raises(InputError, match="multiple of 3"):
        HutchPP(4)
    with pytest.raises(InputError, match="probes must be at least 1"):
        Hutchinson(0)
    with pytest.raises(InputError, match="rademacher or gaussian"):
        Hutchinson(1, "uniform")


def test_it_works_in_inference_mode_and_changes_nothing_around_it():
    process, target = Gaussian(Linear()), mixture()
    x, grid = target.sample(3, derive(16, "x")), ascending(process, 4)
    kept = x.clone()
    want = log_likelihood(process, target.denoiser(process), x, grid).value
    with torch.inference_mode():
        inside = log_likelihood(process, target.denoiser(process), x.clone(), grid).value
        assert torch.is_inference_mode_enabled()
    assert torch.equal(inside, want) and torch.equal(x, kept) and not want.requires_grad


def test_probes_renewed_at_each_stage_spread_less_than_one_probe_kept():
    """Against the integral with one probe: a kept probe repeats its error, new ones average it."""
    process, target = Gaussian(Linear()), mixture(6)
    x = target.sample(1, derive(17, "x")).expand(400, -1)
    grid, denoiser = ascending(process, 8), target.denoiser(process)

    def spread(generator):
        class Kept(Hutchinson):
            def __call__(self, products, generator):
                return super().__call__(
                    products, derive(18, "kept") if generator is None else generator
                )

        rule = Kept() if generator is None else Hutchinson()
        return log_likelihood(
            process, denoiser, x, grid, trace=rule, generator=generator, tableau=HEUN
        ).value.std()

    assert spread(derive(18, "new")) < 0.6 * spread(None)


def test_a_grid_of_the_library_turned_over_serves():
    process, target = Gaussian(VP()), mixture()
    x = target.sample(10, derive(19, "x"))
    grid = grids.karras(process, 40)[:-1].flip(0)
    found = log_likelihood(process, target.denoiser(process), x, grid)
    assert torch.allclose(found.value, -target.nll(x), rtol=0, atol=2e-2)


def test_it_agrees_with_an_adaptive_solver_of_another_library():
    """torchdiffeq's dopri8 at 1e-10 on state and divergence, the trace by forward mode."""
    from torchdiffeq import odeint

    process, target = Gaussian(VP()), mixture()
    x, denoiser = target.sample(5, derive(20, "x")), target.denoiser(process)
    grid = torch.linspace(0.01**0.5, 1, 161, dtype=FLOAT).square()
    found = log_likelihood(process, denoiser, x, grid)

    def field(t, state):
        def velocity(one):
            return process.velocity(denoiser(one[None], t), one[None], t)[0]

        there = state[:, :-1]
        trace = torch.func.vmap(torch.func.jacfwd(velocity))(there).diagonal(0, 1, 2).sum(1)
        return torch.cat([process.velocity(denoiser(there, t), there, t), trace[:, None]], 1)

    start = torch.cat([x, x.new_zeros(5, 1)], 1)
    end = odeint(field, start, grid[[0, -1]], rtol=1e-10, atol=1e-10, method="dopri8")[-1]
    want = end[:, -1] - process.prior(x).nll(end[:, :-1])
    assert torch.allclose(found.end, end[:, :-1], rtol=0, atol=1e-6)
    assert torch.allclose(found.value, want, rtol=0, atol=1e-6)


EVERY = {"exact": Exact(), "exact, one by one": Exact(1), "signs": Hutchinson(2),
             "hutch++": HutchPP(6)}  # fmt: skip


@pytest.mark.parametrize("rule", EVERY.values(), ids=list(EVERY))
def test_a_network_of_attention_and_convolutions_can_be_traced(rule):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inward = torch.nn.Conv2d(1, 8, 3, padding=1)
            self.norm, self.qkv = torch.nn.GroupNorm(2, 8), torch.nn.Linear(8, 24)
            self.outward = torch.nn.Conv2d(8, 1, 1)

        def forward(self, x):
            h = self.norm(self.inward(x))
            q, k, v = self.qkv(h.flatten(2).mT)[:, None].chunk(3, -1)
            mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v)[:, 0]
            return x + self.outward(h + mixed.mT.reshape(h.shape))

    net = Net().double()
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(0.4 * random.normal(p, derive(21, "weights", i)))
    x = random.normal(torch.empty(2, 1, 4, 4, dtype=FLOAT), derive(21, "x"))
    jacobian = torch.stack(
        [torch.autograd.functional.jacobian(net, one[None]).reshape(16, 16) for one in x]
    )
    _, found = divergence(net, x, rule, derive(21, "e"))
    want = jacobian.diagonal(0, 1, 2).sum(1)
    if rule.exact:
        assert torch.allclose(found[:, 0], want, rtol=1e-9)
    else:
        spread = 2 * jacobian.square().sum((1, 2)).sqrt()
        assert bool(((found.mean(1) - want).abs() < 5 * spread).all())


@pytest.mark.parametrize("rule", EVERY.values(), ids=list(EVERY))
def test_states_of_half_precision_no_items_and_odd_strides(rule):
    process, like = Gaussian(Linear()), torch.zeros(1, 4, 3, dtype=FLOAT)
    denoiser = DiagonalMixture(like, [-0.5, 0.5], [0.4, 0.6]).denoiser(process)
    x = random.normal(torch.empty(5, 3, 4, dtype=FLOAT), derive(22, "x")).mT
    grid = ascending(process, 4)

    def found(x):
        return log_likelihood(process, denoiser, x, grid, trace=rule, generator=derive(22, "e"))

    assert not x.is_contiguous()
    assert torch.allclose(found(x).value, found(x.contiguous()).value, rtol=1e-12)
    half = found(x.bfloat16())
    assert half.end.dtype == torch.bfloat16 and half.value.dtype == FLOAT
    assert float((half.value - found(x).value).abs().max()) < 3
    none = found(x[:0])
    assert none.value.shape == none.error.shape == (0,) and none.end.shape == (0, 4, 3)
