"""Wright-Fisher diffusion on the simplex against exact sums, series, integrals and enumerations."""

from __future__ import annotations

import decimal
import itertools
import math

import pytest
import torch
from scipy.special import roots_jacobi
from torch.nn import functional as F

from sfumato import Ancestral, Categorical, InputError, Known, Unsupported, random, run
from sfumato import sample as sampled
from sfumato_methods.gaussian import vp
from sfumato_methods.measures import Hutchinson
from sfumato_methods.simplex import Dilated, Simplex, SimplexDenoiser
from sfumato_methods.simplex.jacobi import log_beta, transition
from sfumato_methods.simplex.lineages import LINES, death_rates, lines, log_lines
from sfumato_methods.simplex.sticks import (
    broken,
    joined,
    log_jacobian,
    log_likelihood_of_classes,
)

DOUBLE = torch.float64


def time(value):
    return torch.tensor(value, dtype=DOUBLE)


def alternating(classes, m, tau):
    """log q_m by its alternating series (Tavare 1984), in 400 digits."""
    with decimal.localcontext() as context:
        context.prec = 400
        number, total = decimal.Decimal, decimal.Decimal(0)
        rate = -number(tau) / classes
        for k in range(m, m + 1000):
            term = number(1)
            if k:
                rising = number(math.factorial(classes + m + k - 2))
                rising /= math.factorial(classes + m - 1)
                term = number(2 * k + classes - 1) * rising * (rate * k * (k + classes - 1)).exp()
                term /= math.factorial(m) * math.factorial(k - m)
            total += term if (k - m) % 2 == 0 else -term
            if k > m + 20 and abs(term) < abs(total) * number(10) ** -30:
                return float(total.ln())
    raise AssertionError("the series did not end")


@pytest.mark.parametrize(
    ("classes", "tau", "numbers"),
    [(2, 0.5, (0, 1, 8)), (4, 0.2, (0, 5, 20, 40)), (6, 2.0, (0, 2, 5)), (20, 0.5, (10, 45))],
    ids=["2", "4", "6", "20"],
)
def test_numbers_of_lines_are_those_of_the_series(classes, tau, numbers):
    for m in numbers:
        assert float(log_lines(classes, m, tau)) == pytest.approx(
            alternating(classes, m, tau), abs=1e-11
        )


def test_tables_agree_with_the_contour_and_keep_the_mean():
    taus = torch.tensor([0.0061, 0.03, 0.1237, 0.777, 3.3, 12.34], dtype=DOUBLE)
    first, q = lines(3, taus)
    assert bool((first == 0).all()) and float((q.sum(-1) - 1).abs().max()) < 1e-12
    for tau, row in zip(taus.tolist(), q, strict=True):
        n = int(3 / tau) + 3
        exact = torch.from_numpy(log_lines(3, range(n), tau)).exp()
        assert float((row[:n] - exact).abs().max()) < 1e-9
    n = torch.arange(q.shape[-1])
    lost = -torch.expm1(-taus)
    assert torch.allclose((q / (3 + n)).sum(-1) * 3 / lost, torch.ones_like(lost), atol=1e-7)


def test_shortest_times_take_two_numbers_with_the_exact_mean():
    tau = torch.tensor([1e-9, 1e-5, 2e-3], dtype=DOUBLE)
    first, q = lines(3, tau)
    mean = (q[:, :2] / (3 + first[:, None] + torch.arange(2))).sum(-1)
    assert torch.allclose(3 * mean, -torch.expm1(-tau), rtol=1e-6, atol=0)
    assert bool((q[:, 2:] == 0).all())
    assert float(lines(3, time(torch.inf))[1][0]) == 1.0
    assert float(death_rates(3)[1]) == 1.0 and len(death_rates(3)) == LINES


@pytest.mark.parametrize("classes", [2, 3, 4, 20])
@pytest.mark.parametrize("t", [0.02, 0.1, 0.5, 0.95])
def test_densities_integrate_to_one_with_the_exact_mean(classes, t):
    node, weight = (torch.from_numpy(v) for v in roots_jacobi(500, classes - 2, 0))
    place, weight = (1 + node) / 2, weight / weight.sum()
    h = Simplex(classes).evidence(torch.zeros(1, 1, dtype=torch.long), time(t))
    law = weight * h.log(place[:, None]).exp()[:, 0]
    assert float(law.sum()) == pytest.approx(1, abs=1e-7)
    assert float((law * place).sum()) == pytest.approx(1 - t + t / classes, abs=1e-7)


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_likelihoods_are_the_jacobi_series(classes, t):
    v = torch.linspace(0.02, 0.98, 25, dtype=DOUBLE)
    h = Simplex(classes).evidence(torch.zeros(1, 1, dtype=torch.long), time(t))
    mine = h.log(v[:, None])[:, 0] + log_beta(v, 1, classes - 1)
    series = transition(v, torch.ones(()), -math.log1p(-t), 1, classes - 1)
    assert torch.allclose(mine.exp(), series, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (1.0, 3.0), (0.7, 2.5)])
def test_jacobi_densities_have_their_moments_and_compose(a, b):
    """Integral, mean, detailed balance, and Chapman-Kolmogorov, by Gauss-Jacobi quadrature."""
    node, weight = (torch.from_numpy(v) for v in roots_jacobi(200, b - 1, a - 1))
    v, weight = (1 + node) / 2, weight / weight.sum()
    over = lambda v0, tau: transition(v, time(v0), tau, a, b) / log_beta(v, a, b).exp()  # noqa: E731
    one = over(0.3, 0.2)
    assert float((weight * one).sum()) == pytest.approx(1, abs=1e-10)
    mean = a / (a + b) + (0.3 - a / (a + b)) * math.exp(-0.2)
    assert float((weight * one * v).sum()) == pytest.approx(mean, abs=1e-10)
    onward = (weight * one * over(0.8, 0.3)).sum()  # the ratio is symmetric
    end = transition(time(0.8), time(0.3), 0.5, a, b) / log_beta(time(0.8), a, b).exp()
    assert float(onward) == pytest.approx(float(end), abs=1e-10)
    with pytest.raises(InputError, match="at most 4000"):
        transition(v, v, 1e-6, a, b)
    with pytest.raises(InputError, match="positive"):
        transition(v, v, 0.1, 0.0, b)


SUPPORT = torch.tensor([[0, 0, 1], [1, 2, 0], [2, 2, 2], [0, 1, 1]])
PROBS = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=DOUBLE)


def joint(process, x, t):
    """(B, 4) log probabilities of the items of `SUPPORT` together with x, up to a constant."""
    log_h = process.evidence(x, t).log(x)
    return log_h[:, torch.arange(3), SUPPORT].sum(-1) + PROBS.log()


def exact(process):
    def posterior(x, t):
        weight = joint(process, x, t).softmax(-1)
        return Categorical(
            probs=torch.einsum("bs,slk->blk", weight, F.one_hot(SUPPORT, 3).double())
        )

    return posterior


def test_the_exact_posterior_gives_the_exact_score():
    process = Simplex(3)
    for t in (0.1, 0.5, 0.9):
        ids = SUPPORT.repeat(2, 1)
        x = process.marginal(ids, time(t)).sample(random.derive(0, "score", str(t)))
        x.requires_grad_()
        (want,) = torch.autograd.grad(joint(process, x, time(t)).logsumexp(-1).sum(), x)
        x = x.detach()
        got = process.score(exact(process)(x, time(t)), x, time(t))
        assert torch.allclose(got, want, rtol=1e-9, atol=1e-9)


def law_of(ids):
    """Frequencies of all 27 sequences."""
    return torch.bincount(ids @ torch.tensor([9, 3, 1]), minlength=27).double() / len(ids)


def test_the_reverse_diffusion_draws_the_data():
    """1,000 samples in 60 steps; frequencies within 4 standard errors and 0.015, a step's error.

    False alarms: below 1 in 1,000; the seed is fixed. With dilation the likeliest gain.
    """
    process = Simplex(3)
    like, grid = torch.zeros(1000, 3, dtype=torch.long), torch.linspace(1, 0, 61, dtype=DOUBLE)
    found = {}
    for c in (1.0, 8.0):
        drawn = sampled(
            process, exact(process), like,
            sampler=Dilated(c), grid=grid, generator=random.derive(1, "reverse"),
        )  # fmt: skip
        found[c] = law_of(drawn)
    want = torch.zeros(27, dtype=DOUBLE)
    want[SUPPORT @ torch.tensor([9, 3, 1])] = PROBS
    error = (want * (1 - want) / 1000).sqrt()
    assert bool(((found[1.0] - want).abs() <= 4 * error + 0.015).all())
    top = int(SUPPORT[0] @ torch.tensor([9, 3, 1]))
    assert float(found[8.0][top]) > 0.5


def test_the_error_of_a_step_is_of_first_order():
    """Mean of the largest coordinate at t = 0.3, told the class, for 8 and 32 steps from t = 0.9.

    40,000 paths; the error falls by 2 to 8 where the order is 1 (the standard error is 4e-4).
    """
    process, n = Simplex(2), 40000
    ids = torch.zeros(n, 1, dtype=torch.long)
    told = Categorical(probs=torch.tensor([1.0, 0.0], dtype=DOUBLE).expand(n, 1, 2))
    errors = []
    for steps in (4, 16):
        x = process.marginal(ids, time(0.9)).sample(random.derive(2, "start"))
        grid = torch.linspace(0.9, 0.3, steps + 1, dtype=DOUBLE)
        source = random.derive(2, "path", steps)
        for frame in run(Dilated(1.0), process, lambda x, t: told, x, grid, source):
            x = frame.after
        errors.append(abs(float(x[..., 0].mean()) - 0.85))
    assert errors[0] > 5e-3 and errors[1] < errors[0] / 2


def test_sticks_are_broken_and_joined_again():
    x = random.exponential(torch.empty(5, 4), random.derive(3, "x"))
    x = x / x.sum(-1, keepdim=True)
    y = broken(x)
    assert torch.allclose(joined(y), x, atol=1e-14)
    for row in y:
        matrix = torch.autograd.functional.jacobian(lambda v: joined(v)[:-1], row)
        assert float(matrix.det().log()) == pytest.approx(float(log_jacobian(row)), abs=1e-10)


@pytest.mark.parametrize("trace", [None, Hutchinson(32)], ids=["exact", "hutchinson"])
def test_likelihoods_of_classes_are_exact(trace):
    """One place of 3 classes with known probabilities; of probes the mean over 32 probes."""
    process = Simplex(3)
    probs = torch.tensor([0.6, 0.3, 0.1], dtype=DOUBLE)

    def posterior(x, t):
        return Categorical(logits=process.evidence(x, t).log(x) + probs.log())

    ids = torch.tensor([[0], [1], [2]])
    grid = torch.linspace(math.log(0.1), 0, 17, dtype=DOUBLE).exp()
    grid[-1] = 1
    found = log_likelihood_of_classes(
        process, posterior, ids, grid, generator=random.derive(4, "nll"), trace=trace
    )
    assert torch.allclose(found, probs.log(), atol=2e-3 if trace is None else 0.1)
    with pytest.raises(InputError, match="above 0 to 1"):
        log_likelihood_of_classes(process, posterior, ids, grid.flip(0) * 0, generator=None)


class Blank(torch.nn.Module):
    """A network that has nothing to say, and keeps what it was shown."""

    def forward(self, x, clock):
        self.shown = x
        return torch.zeros_like(x)


def test_a_denoiser_knows_what_a_place_says_of_itself():
    process = Simplex(4)
    denoiser = SimplexDenoiser(Blank(), process)
    ids = torch.tensor([[0, 1, 2]])
    x = process.marginal(ids, time(0.4)).sample(random.derive(5, "x"))
    q = denoiser(x, time(0.4))
    alone = process.evidence(x, time(0.4)).log(x).softmax(-1)
    assert torch.allclose(q.probs, alone, atol=1e-12)
    assert torch.allclose(denoiser.net.shown.double(), alone, atol=1e-6)


def test_clues_are_kept():
    process, clues = Simplex(3), torch.tensor([[2, 0, 1]]).expand(50, 3)
    known = Known(clues, torch.tensor([True, False, False])[:, None].expand(50, 3, 1))
    drawn = sampled(
        process, exact(process), clues,
        sampler=Dilated(1.0), grid=torch.linspace(1, 0, 41, dtype=DOUBLE),
        generator=random.derive(6, "clues"), constraint=known,
    )  # fmt: skip
    assert bool((drawn[:, 0] == 2).all())
    # of the one item that begins so there are 0.2 without the clue
    assert float((drawn[:, 1:] == 2).all(1).double().mean()) > 0.6


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="at least 2 classes"):
        Simplex(1)
    with pytest.raises(InputError, match="at least 1"):
        Dilated(0.5)
    with pytest.raises(InputError, match="dtype long"):
        Simplex(3).marginal(torch.zeros(2, 3), time(0.5))
    with pytest.raises(InputError, match="one clock"):
        Simplex(3).marginal(SUPPORT, {"a": time(0.5)})
    x = Simplex(3).prior(SUPPORT).sample(random.derive(7, "x"))
    with pytest.raises(InputError, match=r"too short.*Dilated"):
        Simplex(3).bridge(SUPPORT, x, time(0.5), time(0.5 - 1e-6)).sample(random.derive(7, "y"))
    with pytest.raises(Unsupported, match="Ancestral"):
        grid = torch.linspace(1, 0, 3, dtype=DOUBLE)
        next(run(Dilated(), vp(), None, x, grid, random.derive(7, "z")))


def test_a_bridge_of_many_classes_and_few_lines_is_that_of_bayes():
    """Moments of x_s given x_t at K = 3, against weights of draws of the marginal at s.

    x_t is drawn from x_s by the transition of the whole simplex, known here by its lines: for each
    of 40,000 points of q(x_s | x_0) the weight is p(x_t | x_s), summed over all m and l to m = 8.
    """
    process, n = Simplex(3), 40_000
    t, s = time(0.9), time(0.5)
    at = torch.tensor([0.5, 0.3, 0.2], dtype=DOUBLE)
    ids = torch.zeros(n, dtype=torch.long)
    y = process.marginal(ids, s).sample(random.derive(8, "y"))
    first, q = lines(3, torch.log1p(-s) - torch.log1p(-t))
    weight = torch.zeros(n, dtype=DOUBLE)
    for m in range(9):
        for split in itertools.product(range(m + 1), repeat=2):
            rest = m - sum(split)
            if rest < 0:
                continue
            counts = torch.tensor([*split, rest])
            log = math.lgamma(m + 1) - 2 * torch.lgamma(counts + 1.0).double().sum()
            log = log + math.lgamma(m + 3) + (counts * at.log()).sum()
            weight += q[m] * (log + (counts * y.log()).sum(-1)).exp()
    weight = weight / weight.sum()
    drawn = process.bridge(ids, at.expand(n, 3), t, s).sample(random.derive(8, "bridge"))
    for power in (1, 2):
        want = (weight[:, None] * y**power).sum(0)
        got = (drawn**power).mean(0)
        assert torch.allclose(got, want, rtol=0, atol=6e-3)
    assert float((weight * y[:, 1] * y[:, 2]).sum()) == pytest.approx(
        float((drawn[:, 1] * drawn[:, 2]).mean()), abs=4e-3
    )


def test_ancestral_steps_may_be_few():
    process = Simplex(3)
    drawn = sampled(
        process, lambda x, t: Categorical(logits=process.evidence(x, t).log(x) + PROBS[:3].log()),
        torch.zeros(4000, 1, dtype=torch.long), sampler=Ancestral(),
        grid=torch.linspace(1, 0, 4, dtype=DOUBLE), generator=random.derive(9, "few"),
    )  # fmt: skip
    share = torch.bincount(drawn[:, 0], minlength=3).double() / 4000
    assert float((share - PROBS[:3] / PROBS[:3].sum()).abs().max()) < 4 * 0.5 / 4000**0.5
