"""Leaps of ordered values, and the Poisson numbers that they are made of."""

import pytest
import torch
from scipy import stats

from sfumato import Categorical, Padded, Streams, Unsupported, random, run
from sfumato_methods.discrete import (
    Discrete,
    MaskReplace,
    OrdinalLeaping,
    TauLeaping,
    absorbing,
    band,
)
from sfumato_methods.discrete.counts import _inverted, poisson

F64 = torch.float64
K = 8
LAW = torch.tensor([0.02, 0.3, 0.08, 0.02, 0.03, 0.05, 0.4, 0.1], dtype=F64)


def test_poisson_numbers_are_the_inverse_of_their_distribution():
    u = torch.tensor([1e-12, 1e-6, 0.003, 0.2, 0.5, 0.9, 0.99999, 1 - 1e-9], dtype=F64)
    for mean in (0.0, 1e-3, 0.7, 5.0, 80.0, 4000.0):
        want = stats.poisson.ppf(u.numpy(), mean).clip(0)
        assert _inverted(torch.full_like(u, mean), u).tolist() == want.tolist()


def test_poisson_numbers_have_their_law_in_every_layout():
    """Chi-square of 20,000 with mean 2.5; false alarm 1 in 1,000. An item is drawn alone."""
    drawn = poisson(torch.full((20_000,), 2.5), random.derive(0, "poisson"))
    counts = torch.bincount(drawn.clamp(max=8), minlength=9).double()
    law = torch.tensor([*stats.poisson.pmf(range(8), 2.5), stats.poisson.sf(7, 2.5)])
    assert float(((counts - 20_000 * law) ** 2 / (20_000 * law)).sum()) < stats.chi2.ppf(0.999, 8)
    mean = Padded(torch.tensor([[3.0, 9.0], [4.0, 0.0]]), torch.tensor([[1, 1], [1, 0]]).bool())
    both = poisson(mean, Streams.derive(0, "two", [0, 1])).data
    alone = poisson(Padded(mean.data[1:], mean.mask[1:]), Streams.derive(0, "two", [1])).data
    assert both[1, 0] == alone[0, 0]


def leapt(sampler, steps, n=10_000, end=0.25):
    """How far, in total variation, values are from the law of the chain at time `end`."""
    kernel = band(K, 1)

    def denoise(x, t):
        joint = kernel.columns(x, torch.zeros_like(t), t) * LAW
        return Categorical(probs=joint / joint.sum(-1, keepdim=True))

    grid = torch.linspace(1, end, steps + 1, dtype=F64)
    process = Discrete(kernel)
    x = process.prior(torch.zeros(n, 1, dtype=torch.long)).sample(random.derive(0, "prior"))
    for frame in run(sampler, process, denoise, x, grid, random.derive(steps, "leap")):
        x = frame.after
    want = LAW @ kernel.rows(torch.arange(K), torch.zeros((), dtype=F64), grid[-1])
    return float((torch.bincount(x[:, 0], minlength=K) / n - want).abs().sum()) / 2


def test_leaps_of_ordered_values_need_fewer_steps():
    """Noise alone is 0.011 at n = 10,000; leaps that add up are nearer, and near in the limit."""
    ordered, plain = leapt(OrdinalLeaping(), 8), leapt(TauLeaping(), 8)
    assert ordered < 0.7 * plain
    assert leapt(OrdinalLeaping(), 64) < 0.025


def test_jumps_add_up_and_are_reflected_at_the_ends():
    """Mean and variance of n_y (y - x) at n = 40,000, five standard errors; then the ends."""
    n = 40_000
    expected = torch.zeros(n, 101, dtype=F64)
    expected[:, 49], expected[:, 53] = 2.0, 0.5
    x = torch.full((n,), 50)
    moved = OrdinalLeaping().leap(expected, x).sample(random.derive(0, "jumps")) - x
    mean, variance = -2.0 + 3 * 0.5, 2.0 + 9 * 0.5
    assert abs(float(moved.double().mean()) - mean) < 5 * (variance / n) ** 0.5
    assert abs(float(moved.double().var()) - variance) < 5 * variance * (3 / n) ** 0.5
    up = torch.zeros(n, K, dtype=F64)
    up[:, 7] = 3.0
    ends = OrdinalLeaping().leap(up, torch.full((n,), 6)).sample(random.derive(0, "ends"))
    law = torch.zeros(K, dtype=F64)
    for count in range(40):  # 6, 7, 7, 6, 5, ... and back at 0, which waits as well
        place = (6 + count) % (2 * K)
        law[min(place, 2 * K - 1 - place)] += stats.poisson.pmf(count, 3.0)
    found = torch.bincount(ends, minlength=K).double()
    assert float(((found - n * law) ** 2 / (n * law)).sum()) < stats.chi2.ppf(0.999, K - 1)
    still = OrdinalLeaping().leap(torch.zeros(3, K), torch.tensor([0, 3, 7]))
    assert still.sample(random.derive(0, "still")).tolist() == [0, 3, 7]


@pytest.mark.parametrize("kernel", [absorbing(3), MaskReplace(3)], ids=["absorbing", "replace"])
def test_a_mask_is_no_ordered_value(kernel):
    x = torch.full((2, 3), 3)
    law = Categorical(probs=torch.tensor([0.5, 0.2, 0.3, 0.0]).expand(2, 3, 4))
    with pytest.raises(Unsupported, match="has a mask"):
        grid = torch.tensor([1.0, 0.5], dtype=F64)
        list(run(OrdinalLeaping(), Discrete(kernel), lambda x, t: law, x, grid,
                 random.derive(0, "x")))  # fmt: skip
