"""Serial reproduction: what is stationary, what mixes, and chains against their exact law."""

from __future__ import annotations

import math

import pytest
import torch

from sfumato import InputError, Streams, random
from sfumato.random import derive
from sfumato_methods.measures.serial import (
    FAMILIES,
    Fade,
    Gaussian,
    Uniform,
    after,
    channel,
    drawn,
    lattice,
    reproduction,
    total_variation,
)

POINTS, SEEN = lattice(-3, 3, 61), lattice(-12, 12, 241)
each_family = pytest.mark.parametrize("noise", FAMILIES.values(), ids=list(FAMILIES))


def prior(count=61, seed=0):
    p = random.uniform((count,), derive(seed, "prior"))
    return p / p.sum()


@each_family
@pytest.mark.parametrize("std", [0.15, 1.0, 6.0])
def test_the_prior_is_stationary_whatever_the_noise(noise, std):
    for points, seen, count in ((POINTS, SEEN, 61), (lattice(-1, 1, 7, 2), None, 49)):
        p = prior(count)
        kernel = channel(noise, points, max(std, 0.2), seen)
        assert torch.allclose(kernel.sum(0), torch.ones(count, dtype=torch.float64))
        link = reproduction(kernel, p)
        assert torch.allclose(link.sum(0), torch.ones(count, dtype=torch.float64))
        assert torch.allclose(link @ p, p, rtol=1e-12)
        joint = link * p  # what is more: the chain is reversible
        assert torch.allclose(joint, joint.T, rtol=1e-9, atol=1e-18)


@each_family
@pytest.mark.parametrize("std", [0.6, 1.5])
def test_the_families_have_the_variance_that_is_asked_for(noise, std):
    fine = lattice(-12, 12, 4801)
    kernel = channel(noise, torch.tensor([[-1.0], [0.5]], dtype=torch.float64), std, fine)
    mean = fine.T @ kernel
    spread = ((fine - mean).square() * kernel).sum(0)
    assert torch.allclose(spread.sqrt(), torch.tensor(std, dtype=torch.float64), rtol=3e-3)
    shrink = 1 / math.sqrt(1 + std**2) if isinstance(noise, Fade) else 1
    assert torch.allclose(mean[0], torch.tensor([-1.0, 0.5]).double() * shrink, atol=2e-3)


def test_fading_is_normal_noise_seen_through_a_smaller_picture():
    """A map of y changes no posterior: fading at s is normal noise at s (1 + s^2)^(1/2)."""
    s, p = 0.7, prior()
    shrink = 1 / math.sqrt(1 + s * s)
    one = reproduction(channel(Fade(), POINTS, s, SEEN * shrink), p)
    other = reproduction(channel(Gaussian(), POINTS, s / shrink, SEEN), p)
    assert torch.allclose(one, other, rtol=1e-9, atol=1e-15)


def test_much_noise_forgets_and_little_noise_keeps():
    p, start = prior(), torch.zeros(61, dtype=torch.float64)
    start[5] = 1
    far, near = (after(start, p, [channel(Gaussian(), POINTS, s, SEEN)]) for s in (500.0, 0.02))
    assert total_variation(far, p) < 1e-2 and total_variation(near, start) < 1e-2
    assert total_variation(start, start) == 0
    assert total_variation(start, start.roll(1)) == 1


def test_each_link_of_any_kind_brings_the_law_no_farther():
    """By data processing, total variation to a stationary law cannot grow."""
    p, law = prior(), torch.full((61,), 1 / 61, dtype=torch.float64)
    distance = total_variation(law, p)
    for noise in FAMILIES.values():
        for std in (0.2, 1.0, 3.0):
            law = after(law, p, [channel(noise, POINTS, std, SEEN)])
            assert total_variation(law, p) <= distance + 1e-15
            distance = total_variation(law, p)


@each_family
def test_chains_that_are_drawn_follow_the_exact_law(noise):
    """20,000 chains; each share within 5 standard errors (61 points: false alarm below 4e-5)."""
    n, p = 20000, prior()
    kernels = [channel(noise, POINTS, s, SEEN) for s in (1.5, 0.5)]
    start = torch.full((n,), 10)
    law = torch.zeros(61, dtype=torch.float64)
    law[10] = 1
    want = after(law, p, kernels)
    share = drawn(start, p, kernels, derive(1, "chain")).bincount(minlength=61) / n
    assert bool(((share - want).abs() < 5 * (want / n).sqrt() + 1 / n).all())


def test_a_chain_depends_on_its_own_stream_alone():
    kernels = [channel(Gaussian(), POINTS, s, SEEN) for s in (1.0, 0.3)]
    start = torch.tensor([3, 30, 50])
    whole = drawn(start, prior(), kernels, Streams.derive(2, "chain", range(3)))
    alone = drawn(start[1:2], prior(), kernels, Streams.derive(2, "chain", [1]))
    assert torch.equal(whole[1:2], alone)


def test_what_has_no_noise_or_no_place_is_refused():
    with pytest.raises(InputError, match="positive standard deviation, not 0"):
        channel(Gaussian(), POINTS, 0.0)
    with pytest.raises(InputError, match="no place to be seen"):
        channel(Uniform(), lattice(0, 1, 5), 0.01, lattice(0.1, 0.9, 3))
    with pytest.raises(InputError, match="2 values or more"):
        lattice(0, 1, 1)
