"""A learned start: the law that is fitted, and the bound it makes with the path below."""

import math

import pytest
import torch

from sfumato import (
    Fields,
    InputError,
    Normal,
    Streams,
    Unsupported,
    expand,
    random,
    sample,
)
from sfumato_methods.gaussian import VP, Gaussian
from sfumato_methods.grids import LearnedStart, path_loss, start_loss, uniform
from sfumato_methods.solvers import DDIM
from sfumato_testing import FullMixture

PROCESS = Gaussian(VP())
TIME = 0.3


def target(seed=0):
    means = 2 * random.normal(torch.empty(3, 2, dtype=torch.float64), random.derive(seed, "means"))
    shape = torch.tensor([[0.3, 0.1], [0.1, 0.2]], dtype=torch.float64)
    return FullMixture(means, shape.expand(3, 2, 2))


def noised(seed=0):
    """The exact law of x_T: the mixture with alpha means and alpha^2 C + sigma^2 covariances."""
    made, t = target(seed), torch.tensor(TIME, dtype=torch.float64)
    alpha, sigma = PROCESS.alpha(t), PROCESS.sigma(t)
    shape = torch.tensor([[0.3, 0.1], [0.1, 0.2]], dtype=torch.float64)
    covariance = alpha**2 * shape + sigma**2 * torch.eye(2, dtype=torch.float64)
    factor = torch.linalg.cholesky(covariance).expand(3, 2, 2)
    return LearnedStart(made.weights.double(), alpha * made.means, factor)


def test_the_fit_comes_as_near_to_noised_data_as_the_exact_law():
    """On fresh data its nll exceeds the exact one by a few parameters over n (17/n here)."""
    x0 = target().sample(2000, random.derive(1, "data"))
    found = LearnedStart.fit(PROCESS, x0, TIME, 3, generator=random.derive(1, "fit"), rounds=200)
    fresh = PROCESS.marginal(
        target().sample(20_000, random.derive(2, "data")), torch.tensor(TIME).double()
    ).sample(random.derive(2, "noise"))
    gap = found.law(fresh).nll(fresh) - noised().law(fresh).nll(fresh)
    assert -0.001 < float(gap.mean()) < 0.02
    assert float(found.weights.sum()) == pytest.approx(1)


def test_its_draws_have_its_density_and_do_not_depend_on_the_batch():
    """E log(q/p) over draws of p is -KL and E q/p is 1 (5 standard errors)."""
    law = noised().law(torch.empty(20_000, 2, dtype=torch.float64))
    x = law.sample(random.derive(0, "draw"))
    other = LearnedStart(
        torch.ones(1).double(), x.mean(0, keepdim=True), torch.linalg.cholesky(2 * x.T.cov())[None]
    )
    ratio = (law.nll(x) - other.law(x).nll(x)).exp()
    assert float(ratio.mean()) == pytest.approx(1, abs=5 * float(ratio.std()) / math.sqrt(len(x)))
    like = torch.empty(4, 1, 2)
    whole = noised().law(like).sample(Streams.derive(0, "items", range(4)))
    alone = noised().law(like[2:3]).sample(Streams.derive(0, "items", [2]))
    assert torch.equal(whole[2:3], alone) and whole.dtype == torch.float32


def test_the_bound_of_exact_parts_is_the_exact_likelihood_from_any_time():
    """Data N(m, c^2): the posterior is normal, so no step loses; the mean over draws is -log p.

    False alarms: 5 standard errors.
    """
    m, c = 0.7, 0.4
    t = torch.tensor(TIME, dtype=torch.float64)

    def posterior(x, time):
        alpha, sigma = PROCESS.alpha(time), PROCESS.sigma(time)
        total = alpha**2 * c**2 + sigma**2
        gain = alpha * c**2 / total
        std = expand(x, c * sigma / total.sqrt()).expand_as(x)
        return Normal(m + gain * (x - alpha * m), std)

    x0 = m + c * random.normal(torch.empty(4000, 2).double(), random.derive(3, "data"))
    alpha, sigma = PROCESS.alpha(t), PROCESS.sigma(t)
    std = (alpha**2 * c**2 + sigma**2).sqrt()
    exact = LearnedStart(
        torch.ones(1).double(), (alpha * m).expand(1, 2), std * torch.eye(2).double()[None]
    )
    first = start_loss(PROCESS, x0, t, exact.law(x0), random.derive(3, "start"))
    grid = TIME * uniform(PROCESS, 7)
    whole = first + path_loss(PROCESS, posterior, x0, grid, random.derive(3, "path"))
    gap = whole - Normal(torch.full_like(x0, m), torch.full_like(x0, c)).nll(x0)
    assert abs(float(gap.mean())) < 5 * float(gap.std()) / math.sqrt(len(gap))
    # standard noise loses there what the exact law does not
    normal = start_loss(PROCESS, x0, t, PROCESS.prior(x0), random.derive(3, "start"))
    assert float(normal.mean()) > float(first.mean()) + 0.1


def test_sampling_from_a_learned_start_gives_the_data():
    """Means and covariances of 20,000 samples within 5 standard errors and 2 % of steps."""
    data = target()
    like = torch.empty(20_000, 2, dtype=torch.float64)
    x = sample(
        PROCESS, data.denoiser(PROCESS), like, sampler=DDIM(), start=noised().law(like),
        grid=TIME * uniform(PROCESS, 100), generator=random.derive(4, "sample"),
    )  # fmt: skip
    want = data.sample(200_000, random.derive(4, "data"))
    assert torch.allclose(x.mean(0), want.mean(0), atol=5 * float(want.std()) / 140)
    assert torch.allclose(x.T.cov(), want.T.cov(), rtol=0.06, atol=0.06)


def test_what_cannot_be_fitted_or_begun_with_is_named():
    x0 = torch.zeros(3, 2)
    generator = torch.Generator()
    for time, k in ((0.0, 1), (1.5, 1), (0.5, 0), (0.5, 4)):
        with pytest.raises(InputError, match="a start is fitted for a time"):
            LearnedStart.fit(PROCESS, x0, time, k, generator=generator)
    with pytest.raises(InputError, match="learned for 2 numbers an item"):
        noised().law(torch.zeros(4, 3))
    with pytest.raises(Unsupported, match="one tensor, not Fields"):
        noised().law(Fields(a=x0))
    with pytest.raises(InputError, match="descends strictly"):
        path_loss(PROCESS, None, x0, torch.tensor([0.1, 0.2]), generator)
