"""EVODiff and LML: consistency, the algorithms written out, DDIM as a special case, calls, ends."""

from __future__ import annotations

import math

import pytest
import torch

from sfumato import Dirac, Fields, InputError, expand, random, run
from sfumato.random import derive
from sfumato_methods import grids
from sfumato_methods.gaussian import EDM, VE, VP, Cosine, Gaussian, Linear
from sfumato_methods.solvers import DDIM, LML, DPMSolverPP, EVODiff, EVODiffRelease
from sfumato_methods.solvers.linear import gram, inner

FLOAT = torch.float64
PROCESSES = [Gaussian(s) for s in (VP(), VE(), Linear(), Cosine(), EDM())]


def bent(process):
    """A denoiser that is no solver's friend: nonlinear in x and in time."""

    def denoise(x, t):
        level = expand(x, process.sigma(t))
        return Dirac(
            0.5 * torch.tanh(x) + 0.2 * torch.sin(level) + 0.1 * x.roll(1, -1) / (1 + level)
        )

    return denoise


def states(sampler, process, x, grid, denoise=None):
    found = [x]
    for frame in run(sampler, process, denoise or bent(process), x, grid, None):
        found.append(frame.after)
    return found


def start(shape=(4, 5), seed=0):
    return 80 * random.normal(torch.zeros(shape, dtype=FLOAT), derive(seed, "start"))


def dot(a, b):
    return (a * b).flatten(1).sum(1)[:, None]


def test_evodiff_is_the_algorithm():
    """Predict, ask, correct with the mixture of least norm, written out in l = sigma."""
    process = Gaussian(EDM())
    level = torch.tensor([80.0, 30.0, 12.0, 4.0, 1.0, 0.2, 0.0]).double()
    x = start()
    found = states(EVODiff(), process, x, level / 80)
    ask, means, y = bent(process), [], x
    for i in range(len(level) - 1):
        means.append(ask(found[i], level[i] / 80).mean)
        if i >= 1:  # correct the step that led here
            ratio = level[i] / level[i - 1]
            change = means[i] - means[i - 1]
            mixed = change
            if i >= 2:
                pace = (level[i - 2] / level[i - 1]).log() / (level[i - 1] / level[i]).log()
                guess = (means[i - 1] - means[i - 2]) / pace
                gap = change - guess
                eta = (dot(change, gap) / dot(gap, gap)).clamp(0, 0.5)
                mixed = (1 - eta) * change + eta * guess
            y = ratio * y + (1 - ratio) * (means[i - 1] + 0.5 * mixed)
        ratio = level[i + 1] / level[i]
        guess = ratio * y + (1 - ratio) * means[i]
        if i >= 1 and level[i + 1] > 0:
            pace = (level[i - 1] / level[i]).log() / (level[i] / level[i + 1]).log()
            guess = guess + 0.5 * (1 - ratio) * (means[i] - means[i - 1]) / pace
        assert torch.allclose(found[i + 1], guess, rtol=1e-10, atol=1e-10)


def release(ask, x, level, high, low):
    """The released EDM demo, written out: the state in which its last step ends."""
    n = len(level) - 1

    def per_channel(a, b):
        return (a * b).flatten(2).sum(2)[..., None, None]

    def projected(a, b):
        return (per_channel(a, b) / per_channel(b, b)).clamp(-2, 2)

    m1 = ask(x, level[0])
    r = level[1] / level[0]
    x = r * x + (1 - r) * m1
    m0 = ask(x, level[1])
    for i in range(2, n + 1):
        now, before, older = level[i], level[i - 1], level[i - 2]
        r, h = now / before, 1 / now - 1 / before
        euler = r * x + now * h * m0
        if i == n:
            drop = 1 - 0.5 * (r if r < 0.5 else r - 0.5).sqrt()
            return (1 - (now * before).sqrt()) * euler + 0.5 * now * h * (m0 - drop * m1)
        pace = (older / before).log() / (before / now).log()
        weight = 0.5 * (1 - ((now + low) / (high + low)) ** 2)
        base = (r / (before / older)).sqrt()
        b1 = (1 - weight) * base + weight * projected(m0, m1)
        d1 = m0 - b1 * m1
        ri = (torch.sigmoid(0.25 * b1.abs()) * pace).clamp(0.25 * pace, 1.5 * pace)
        guess = euler + 0.5 * now * h / ri * d1
        mt = ask(guess, now)
        d2 = mt - ((1 - weight) * base + weight * projected(mt, m0)) * m0
        back, ahead = d1 / pace / h, pace / h * d2
        eta = 0.5 * torch.sigmoid((0.5 * projected(ahead + back, ahead - back)).abs())
        mixed = -eta / pace * d1 + (1 - eta) * pace * d2
        missed = guess - euler - 0.5 * now * h / ri * mixed
        shift = (projected(missed, d1) / (h * now)).abs() - 0.5
        if n > 20:
            change = (m0 - m1) / h
            zeta = torch.sigmoid(-shift * torch.sigmoid(projected(m0, change) * (2 - r**2)))
        else:
            zeta = torch.sigmoid(shift)
        x = euler + 0.5 * now * h / zeta * mixed
        m1, m0 = m0, mt


@pytest.mark.parametrize("steps", [3, 8, 25])
def test_the_release_is_the_released_code(steps):
    process = Gaussian(EDM())
    level = 80 * grids.karras(process, steps + 1)[:-1]
    x = start((3, 2, 4, 4))
    ask = bent(process)
    want = release(lambda v, s: ask(v, s / 80).mean, x, level, level[0], level[-1])
    found = states(EVODiffRelease(), process, x, level / 80)
    assert torch.allclose(found[-1], want, rtol=1e-9, atol=1e-9)
    whole = states(EVODiffRelease(), process, x, torch.cat([level / 80, torch.zeros(1).double()]))
    assert torch.allclose(whole[-1], ask(want, level[-1] / 80).mean, rtol=1e-9, atol=1e-9)


def test_only_the_consistent_variant_keeps_what_does_not_change():
    """With D = c everywhere the state goes straight to c; the release does not get there."""
    process, steps = Gaussian(EDM()), 9
    grid = grids.karras(process, steps)[:-1]
    x, c = start(), torch.full((4, 5), 0.3, dtype=FLOAT)
    straight = c + (grid[-1] / grid[0]) * (x - c)
    for sampler, exact in ((EVODiff(), True), (DPMSolverPP(), True), (EVODiffRelease(), False)):
        end = states(sampler, process, x, grid, lambda x, t: Dirac(c))[-1]
        assert torch.allclose(end, straight, rtol=0, atol=1e-10) is exact


def test_evodiff_with_times_of_their_own():
    process = Gaussian(VP())
    one = grids.logsnr(process, 7)
    wait = torch.cat([one[:1], one[:1], one[:1], one])
    late = torch.cat([one, one[-1:], one[-1:], one[-1:]])
    x = random.normal(torch.zeros(2, 5, dtype=FLOAT), derive(0, "x"))
    both = states(EVODiff(), process, x, torch.stack([wait, late], 1))[-1]
    alone = torch.cat([states(EVODiff(), process, x[i : i + 1], one)[-1] for i in (0, 1)])
    assert torch.allclose(both, alone, rtol=0, atol=1e-12)
    with pytest.raises(InputError, match="use EVODiff"):
        states(EVODiffRelease(), process, x, torch.stack([wait, late], 1))


@pytest.mark.parametrize("damping", [1e-9, 0.001, 1.0, 100.0])
@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_lml_without_memory_is_ddim(process, damping):
    grid = grids.logsnr(process, 10)
    x = float(process.sigma(grid[0])) * start() / 80
    one = states(LML(0.0, damping), process, x, grid)
    for a, b in zip(one, states(DDIM(), process, x, grid), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-10 * float(b.abs().max() + 1))


def test_lml_is_the_algorithm():
    """The direction solves (damping |e|^2 I + m m^T) u = e up to its length, which is |e|."""
    process, kappa, damping = Gaussian(VP()), 0.4, 0.7
    grid = grids.logsnr(process, 6)
    x = start() / 80
    found, old = states(LML(kappa, damping), process, x, grid), None
    for i in range(len(grid) - 1):
        a, s = process.alpha(grid[i]), process.sigma(grid[i])
        clean = bent(process)(found[i], grid[i]).mean
        e = (found[i] - a * clean) / s
        turned = e
        if old is not None:
            m = kappa * old + (1 - kappa) * e
            size = e.square().sum(1)[:, None, None]
            matrix = damping * size * torch.eye(5, dtype=FLOAT) + m[:, :, None] * m[:, None]
            turned = torch.linalg.solve(matrix, e)
            turned = turned * (e.norm(dim=1) / turned.norm(dim=1))[:, None]
        want = process.alpha(grid[i + 1]) * clean + process.sigma(grid[i + 1]) * turned
        assert torch.allclose(found[i + 1], want, rtol=0, atol=1e-10)
        old = e


@pytest.mark.parametrize("kappa", [0.5, -1.0])
def test_lml_does_not_converge(kappa):
    """Its turns are of the order of the step, so many small ones leave what few large ones do."""
    process, x = Gaussian(VP()), start() / 80
    errors = []
    for steps in (20, 160):
        grid = torch.linspace(0.8, 0.2, steps + 1, dtype=FLOAT)
        gap = states(LML(kappa), process, x, grid)[-1]
        gap = gap - states(DPMSolverPP(), process, x, torch.linspace(0.8, 0.2, 1025).double())[-1]
        errors.append(float(gap.square().mean().sqrt()))
    assert errors[1] > 0.5 * errors[0] > 1e-3


def test_lml_is_frozen_as_long_as_asked():
    process, x = Gaussian(VP()), start() / 80
    grid = grids.logsnr(process, 8)
    plain = states(DDIM(), process, x, grid)
    half, whole = (states(LML(0.5, freeze=f), process, x, grid) for f in (0.5, 1.0))
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(whole, plain, strict=True))
    same = [torch.allclose(a, b, atol=1e-12) for a, b in zip(half, plain, strict=True)]
    assert same == [True] * 5 + [False] * 3 + [same[-1]]
    for wrong in ({"kappa": 1.0}, {"damping": 0.0}, {"freeze": 1.5}):
        with pytest.raises(InputError, match="LML takes"):
            LML(**wrong)


def test_evodiff_is_of_second_order():
    process, x = Gaussian(VP()), start() / 80

    def end(sampler, n):
        return states(sampler, process, x, torch.linspace(0.8, 0.2, n + 1, dtype=FLOAT))[-1]

    fine = end(DPMSolverPP(), 4096)
    errors = [float((end(EVODiff(), n) - fine).square().mean().sqrt()) for n in (64, 256)]
    assert abs(math.log2(errors[0] / errors[1]) / 2 - 2) < 0.2


def test_products_of_two_states_are_those_of_their_parts():
    a, b = (random.normal(torch.zeros(3, 4, 2, dtype=FLOAT), derive(0, name)) for name in "ab")
    want = torch.stack([inner(a, a), inner(a, b), inner(b, a), inner(b, b)], -1).reshape(3, 2, 2)
    parts = [Fields(one=v[:, :1], two=v[:, 1:]) for v in (a, b)]
    for found in (gram(a, b), gram(*parts)):
        assert torch.allclose(found, want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("sampler", [EVODiff(), LML()], ids=repr)
@pytest.mark.parametrize("width", [5, 300])
def test_an_item_is_the_same_alone_and_among_others(sampler, width):
    process = Gaussian(VP())
    x = random.normal(torch.zeros(9, width), derive(0, "items"))
    grid = grids.logsnr(process, 6)
    every = states(sampler, process, x, grid)[-1]
    alone = torch.cat([states(sampler, process, x[i : i + 1], grid)[-1] for i in range(9)])
    assert torch.equal(every, alone)


@pytest.mark.parametrize("sampler", [EVODiff(), LML()], ids=repr)
def test_times_of_every_frame_may_differ(sampler):
    process, one = Gaussian(VP()), grids.logsnr(Gaussian(VP()), 6)
    x = random.normal(torch.zeros(2, 3, 4, dtype=FLOAT), derive(0, "x"))
    shared = states(sampler, process, x, one)[-1]
    each = states(sampler, process, x, one[:, None, None].expand(-1, 2, 3))[-1]
    assert torch.allclose(each, shared, rtol=0, atol=1e-12)
