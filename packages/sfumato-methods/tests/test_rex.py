"""Rex: exact inverses, orders, tableaux; the stored Brownian path: its law and its sameness."""

from __future__ import annotations

import math

import pytest
import torch

from sfumato import (
    Dirac,
    Fields,
    InputError,
    Known,
    Preconditioned,
    Streams,
    expand,
    random,
    run,
    sample,
)
from sfumato.random import derive
from sfumato_methods import grids
from sfumato_methods.gaussian import EDM, VE, VP, Cosine, Gaussian, Linear
from sfumato_methods.solvers import DDIM, Rex, RexSDE
from sfumato_methods.solvers.brownian import BrownianPath, _given
from sfumato_methods.solvers.rex import invert, twins
from sfumato_methods.solvers.tableaux import DOPRI5, EULER, MIDPOINT, RK4, SHARK, TSIT5
from sfumato_testing import FullMixture

FLOAT = torch.float64
PROCESSES = [Gaussian(s) for s in (VP(), VE(), Linear(), Cosine(), EDM())]
MIXTURE = FullMixture(
    torch.tensor([[1.0, -1.0, 0.5], [-0.6, 0.8, -1.2]]),
    torch.stack([torch.eye(3) * 0.04, torch.eye(3) * 0.2]),
)
TABLEAUX = [EULER, MIDPOINT, RK4, DOPRI5, TSIT5]


def walk(sampler, process, x, grid, denoise=None, generator=None):
    *_, frame = run(
        sampler, process, denoise or MIXTURE.denoiser(process), x, grid, generator or derive(9, "r")
    )
    return frame.after


def relative(a, b):
    return float((a - b).abs().max() / b.abs().max())


def levels(process, steps, low=0.02, high=20.0):
    """Times of equal steps in log-SNR between two noise levels, neither end at 0 or 1."""
    return grids.logsnr(process, steps + 1, low, high)[:-1].clamp_max(
        float(process.time(torch.tensor(-2 * math.log(high), dtype=FLOAT)))
    )


@pytest.mark.parametrize(
    ("tableau", "order"), list(zip(TABLEAUX, (1, 2, 4, 5, 5), strict=True)), ids=lambda v: str(v)
)
def test_tableaux_meet_the_conditions_of_their_order(tableau, order):
    """All rooted trees up to order 5 (Hairer, Norsett & Wanner, table II.2.1)."""
    n = len(tableau.b)
    a = torch.tensor([[*row, *[0.0] * (n - len(row))] for row in tableau.a], dtype=FLOAT)
    b, c = torch.tensor(tableau.b, dtype=FLOAT), a.sum(1)
    ac, ac2 = a @ c, a @ c**2
    trees = {
        1: [(b.sum(), 1)],
        2: [(b @ c, 1 / 2)],
        3: [(b @ c**2, 1 / 3), (b @ ac, 1 / 6)],
        4: [(b @ c**3, 1 / 4), (b @ (c * ac), 1 / 8), (b @ ac2, 1 / 12), (b @ (a @ ac), 1 / 24)],
        5: [
            (b @ c**4, 1 / 5),
            (b @ (c**2 * ac), 1 / 10),
            (b @ (c * ac2), 1 / 15),
            (b @ (c * (a @ ac)), 1 / 30),
            (b @ ac**2, 1 / 20),
            (b @ (a @ c**3), 1 / 20),
            (b @ (a @ (c * ac)), 1 / 40),
            (b @ (a @ ac2), 1 / 60),
            (b @ (a @ (a @ ac)), 1 / 120),
        ],
    }
    for up_to in range(1, order + 1):
        for found, want in trees[up_to]:
            assert float(found) == pytest.approx(want, abs=1e-12)
    if order < 5:
        assert any(abs(float(found) - want) > 1e-3 for found, want in trees[order + 1])


@pytest.mark.parametrize("tableau", TABLEAUX, ids=repr)
@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_the_ode_comes_back_exactly(process, tableau):
    grid = levels(process, 20)
    data = MIXTURE.sample(16, derive(0, "data"))
    pair = invert(Rex(tableau), process, MIXTURE.denoiser(process), data, grid)
    back = walk(Rex(tableau), process, pair, grid)
    assert relative(back["x"], data) < 1e-8
    if process is PROCESSES[0] and tableau is EULER:
        up = walk(DDIM(), process, data, grid.flip(0))
        assert relative(walk(DDIM(), process, up, grid), data) > 1e-3


@pytest.mark.parametrize("zeta", [0.9, 0.99, 0.999, 1.0])
def test_every_coupling_comes_back(zeta):
    process = Gaussian(VP())
    grid, data = levels(process, 20), MIXTURE.sample(16, derive(0, "data"))
    sampler = Rex(MIDPOINT, zeta)
    pair = invert(sampler, process, MIXTURE.denoiser(process), data, grid)
    assert relative(walk(sampler, process, pair, grid)["x"], data) < 1e-8
    back = invert(
        sampler, process, MIXTURE.denoiser(process), walk(sampler, process, pair, grid), grid
    )
    assert relative(back["x"], pair["x"]) < 1e-8


@pytest.mark.parametrize("tableau", [EULER, SHARK], ids=repr)
@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("source", [derive(4, "path"), Streams.derive(4, "path", range(16))])
def test_the_sde_comes_back_along_its_path(process, tableau, source):
    grid, data = levels(process, 12), MIXTURE.sample(16, derive(0, "data"))
    sampler = RexSDE(tableau, path=BrownianPath.draw(source))
    pair = invert(sampler, process, MIXTURE.denoiser(process), data, grid)
    assert relative(walk(sampler, process, pair, grid)["x"], data) < 1e-7
    other = RexSDE(tableau, path=BrownianPath(17))
    assert relative(walk(other, process, pair, grid)["x"], data) > 1e-3


def test_single_precision_comes_back():
    """A network in float32 sees the float64 pair cast; the way back is good to 1e-3."""
    process = Gaussian(VP())

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(
                random.normal(torch.zeros(3, 3), derive(0, "weights")) / 3
            )

        def forward(self, x, clock):
            return torch.tanh(x @ self.weight)

    denoise = Preconditioned(Net(), process, sigma_data=0.7)
    data = MIXTURE.sample(16, derive(0, "data")).float()
    with torch.no_grad():
        pair = invert(Rex(), process, denoise, data, levels(process, 20))
        back = walk(Rex(), process, pair, levels(process, 20), denoise)
    assert relative(back["x"].float(), data) < 1e-3


def _order(sampler, process, counts, want=None):
    x = process.marginal(MIXTURE.sample(64, derive(0, "data")), torch.tensor(0.8).double())
    x = x.sample(derive(1, "noise"))
    ends = [walk(sampler, process, x, torch.linspace(0.8, 0.3, n + 1, dtype=FLOAT)) for n in counts]
    best = (
        want
        if want is not None
        else walk(Rex(DOPRI5), process, x, torch.linspace(0.8, 0.3, 161, dtype=FLOAT))
    )
    errors = [float((end - best).square().mean().sqrt()) for end in ends]
    return math.log2(errors[0] / errors[1]), errors


@pytest.mark.parametrize(("tableau", "order"), [(EULER, 1), (MIDPOINT, 2), (RK4, 4)], ids=repr)
def test_rex_has_at_least_the_order_of_its_method(tableau, order):
    """At zeta 0.999 the mean over the twins cancels part of the odd terms: more is common."""
    process = Gaussian(VP())
    slope, errors = _order(Rex(tableau), process, (24, 48))
    assert slope > order - 0.15 and errors[1] < 0.05


def test_a_wrong_stage_loses_the_order():
    """What the released RK4 does, k2 in the place of k3, is seen by the test above."""
    process = Gaussian(VP())
    slip = type(RK4)("slip", ((), (0.5,), (0.0, 0.5), (0.0, 1.0, 0.0)), RK4.b)
    assert _order(Rex(slip), process, (24, 48))[0] < 3.5


def test_sharks_stages_are_of_the_published_order():
    """Strong error on one path against a fine solution: 1 for Euler, 1.5 or more for ShARK."""
    process = Gaussian(EDM(4.0))
    target = FullMixture(torch.zeros(1, 1), torch.full((1, 1, 1), 0.25))
    x = torch.linspace(-3, 3, 64, dtype=FLOAT)[:, None]
    path = BrownianPath.draw(derive(7, "path"))

    def end(tableau, steps):
        rho = torch.linspace(0.5, 4.0, steps + 1, dtype=FLOAT)
        grid = process.time(rho.log())
        return walk(RexSDE(tableau, 1.0, path), process, x, grid, target.denoiser(process))

    fine = end(SHARK, 512)
    slopes = {}
    for tableau in (EULER, SHARK):
        errors = [float((end(tableau, n) - fine).square().mean().sqrt()) for n in (16, 64)]
        slopes[tableau] = math.log2(errors[0] / errors[1]) / 2
    assert slopes[EULER] > 0.75 and slopes[SHARK] > 1.3 and slopes[SHARK] > slopes[EULER] + 0.25


def test_the_law_of_the_sde_is_that_of_the_data():
    """10,000 draws, 50 steps, mean and std against the normal data law, 4.5 standard errors."""
    process, n = Gaussian(EDM()), 10_000
    target = FullMixture(torch.full((1, 1), 0.7), torch.full((1, 1, 1), 0.09))
    x = sample(
        process,
        target.denoiser(process),
        torch.zeros(n, 1, dtype=FLOAT),
        sampler=RexSDE(SHARK),
        grid=grids.logsnr(process, 50, 0.01, 80.0),
        generator=derive(5, "law"),
    )
    assert abs(float(x.mean()) - 0.7) < 4.5 * 0.3 / n**0.5
    assert abs(float(x.std()) / 0.3 - 1) < 4.5 / (2 * n) ** 0.5 + 0.01


def test_a_path_has_the_law_of_brownian_motion():
    """Means and covariances of W and H over uneven intervals, 40,000 paths; z below 5 (1e-5)."""
    n = 40_000
    like, times = torch.zeros(n, dtype=FLOAT), [0.0, 0.03, 0.4, 0.77, 0.7701, 3.0, 64.0, 65.5]
    found = BrownianPath(3).increments(None, like, times)
    rows, sizes = [], []
    for (w, area), a, b in zip(found, times, times[1:], strict=False):
        rows += [w / (b - a) ** 0.5, area / ((b - a) / 12) ** 0.5]
        sizes.append(b - a)
    z = torch.stack(rows)
    gap = (z @ z.T / n - torch.eye(len(z), dtype=FLOAT)) * n**0.5
    gap.diagonal().div_(2**0.5)
    assert float(gap.abs().max()) < 5 and float(z.mean(1).abs().max()) * n**0.5 < 5


@pytest.mark.parametrize("u", [0.1, 0.5, 0.77])
def test_the_head_of_a_piece_has_its_law_given_the_whole(u):
    """K C22 K' + L L' = C11 and K C22 = C12, C being the covariance of W and of its integral."""
    (a, b, c, d), (e, f, g) = _given(u)
    regress = torch.tensor([[a, b], [c, d]], dtype=FLOAT)
    root = torch.tensor([[e, 0.0], [f, g]], dtype=FLOAT)
    whole = torch.tensor([[1, 1 / 2], [1 / 2, 1 / 3]], dtype=FLOAT)
    head = torch.tensor([[u, u**2 / 2], [u**2 / 2, u**3 / 3]], dtype=FLOAT)
    assert torch.allclose(regress @ whole @ regress.T + root @ root.T, head, rtol=1e-12)
    n = 2000  # the covariance of head and whole, by the midpoint rule
    r = (torch.arange(n, dtype=FLOAT) + 0.5) / n
    both = torch.minimum(r, torch.tensor(u, dtype=FLOAT))
    inner = torch.minimum(r[:, None] * u, r[None]).mean() * u
    cross = torch.tensor([[u, float(both.mean())], [u * u / 2, float(inner)]], dtype=FLOAT)
    assert torch.allclose(regress @ whole, cross, rtol=1e-5)


def test_a_path_is_the_same_on_every_grid():
    """A coarse increment is the sum of its parts, its area too: H from W and the integrals."""
    path, like = BrownianPath(11), torch.zeros(5, dtype=FLOAT)
    fine_times = [0.1, 0.25, 0.31, 0.9, 1.7, 5.0]
    ((w, area),) = path.increments(None, like, [0.1, 5.0])
    total, integral, before = torch.zeros(5, dtype=FLOAT), torch.zeros(5, dtype=FLOAT), 0.0
    for (part, own), a, b in zip(
        path.increments(None, like, fine_times), fine_times, fine_times[1:], strict=False
    ):
        integral = integral + (b - a) * (before + own + 0.5 * part)
        total = total + part
        before = total
    assert torch.allclose(total, w, rtol=0, atol=1e-12)
    assert torch.allclose(integral / 4.9 - 0.5 * w, area, rtol=0, atol=1e-12)


def test_a_path_belongs_to_its_items():
    streams = Streams.derive(2, "path", range(4))
    path = BrownianPath.draw(streams)
    like = torch.zeros(4, 3)
    whole = path.increments(None, like, [0.5, 2.0])[0]
    alone = BrownianPath(path.seeds[2:3]).increments(None, like[2:3], [0.5, 2.0])[0]
    assert torch.equal(whole.w[2:3], alone.w) and torch.equal(whole.area[2:3], alone.area)
    with pytest.raises(InputError, match="ascend by at least"):
        path.increments(None, like, [1.0, 1.0 + 1e-9])


@pytest.mark.parametrize(
    ("sampler", "calls"),
    [(Rex(), 2), (Rex(MIDPOINT), 4), (Rex(TSIT5), 12), (RexSDE(), 2), (RexSDE(SHARK), 4)],
    ids=repr,
)
def test_calls_are_exact(sampler, calls):
    process, count = Gaussian(VP()), 0

    def denoise(x, t):
        nonlocal count
        count += 1
        return Dirac(x * 0.5)

    walk(sampler, process, torch.ones(2, 3, dtype=FLOAT), grids.uniform(process, 6), denoise)
    assert count == 5 * calls + 1


def test_a_constraint_moves_the_twin_along():
    """Known values are exact at the end and what is free still depends on all of them."""
    process = Gaussian(VP())
    x0 = MIXTURE.sample(4, derive(0, "data"))
    mask = torch.tensor([True, False, False]).expand(4, 3)
    ends = {}
    for shift in (0.0, 1.0):
        x = sample(
            process,
            MIXTURE.denoiser(process),
            x0,
            sampler=Rex(),
            grid=grids.logsnr(process, 12),
            generator=derive(1, "known"),
            constraint=Known(x0 + shift, mask),
        )
        assert torch.allclose(x[:, 0], x0[:, 0] + shift, atol=1e-12)
        ends[shift] = x[:, 1:]
    assert float((ends[0.0] - ends[1.0]).abs().max()) > 0.05


def test_items_with_times_of_their_own_come_back_too():
    process = Gaussian(VP())
    one = levels(process, 20)
    grid = torch.stack([one, torch.cat([one[:1], one[:1], one[:-2]])], 1)
    data = MIXTURE.sample(2, derive(0, "data"))
    pair = invert(Rex(), process, MIXTURE.denoiser(process), data, grid)
    assert relative(walk(Rex(), process, pair, grid)["x"], data) < 1e-8
    alone = invert(Rex(), process, MIXTURE.denoiser(process), data[:1], one)
    assert relative(pair["x"][:1], alone["x"]) < 1e-9


def test_what_cannot_be_inverted_is_refused():
    process, x = Gaussian(VP()), torch.ones(2, 3, dtype=FLOAT)
    denoise = MIXTURE.denoiser(process)
    with pytest.raises(InputError, match="ascends from t = 0"):
        invert(Rex(), process, denoise, x, grids.uniform(process, 4))
    with pytest.raises(InputError, match="RexSDE draws noise and can only descend"):
        invert(RexSDE(), process, denoise, x, levels(process, 4))
    line = Gaussian(Linear())
    with pytest.raises(InputError, match="no data is left"):
        invert(
            RexSDE(path=BrownianPath(0)),
            line,
            MIXTURE.denoiser(line),
            x,
            torch.tensor([1.0, 0.5]).double(),
        )
    with pytest.raises(InputError, match="zeta"):
        Rex(zeta=0.0)
    with pytest.raises(InputError, match="additive noise"):
        RexSDE(RK4)
    with pytest.raises(InputError, match="one time for all items"):
        walk(RexSDE(), process, x, torch.rand(3, 2, dtype=FLOAT).sort(0, descending=True).values)


def test_twins_begin_equal():
    pair = twins(torch.ones(2, 2))
    assert isinstance(pair, Fields) and pair["x"] is pair["twin"] and pair["x"].dtype == FLOAT
    process = Gaussian(VP())
    t = torch.tensor(0.3).double()
    assert expand(pair, t)["twin"].shape == (1, 1) and process.alpha(t) < 1
