"""Laws: densities and divergences against scipy and torch, draws against their moments."""

import math

import pytest
import scipy.stats
import torch
from torch import distributions as td

from sfumato import (
    Categorical,
    Dirac,
    Fields,
    Implicit,
    Joint,
    Mixture,
    Normal,
    Padded,
    Ragged,
    Unsupported,
    kl,
    random,
)
from sfumato_methods.gaussian import Centred

G = random.derive
MEAN = torch.tensor([[0.5, -1.0, 2.0], [0.0, 1.0, 3.0]], dtype=torch.float64)
STD = torch.tensor([[0.5, 1.0, 2.0], [0.1, 3.0, 1.0]], dtype=torch.float64)
P = torch.tensor([[[0.1, 0.2, 0.7], [0.0, 0.5, 0.5]]], dtype=torch.float64)
Q = torch.tensor([[[0.3, 0.3, 0.4], [0.2, 0.2, 0.6]]], dtype=torch.float64)
IDS = torch.tensor([[2, 1]])


def test_the_density_of_normals_is_that_of_scipy():
    x = MEAN + 0.3
    expected = -scipy.stats.norm(MEAN.numpy(), STD.numpy()).logpdf(x.numpy()).sum(1)
    assert Normal(MEAN, STD).nll(x).tolist() == pytest.approx(expected.tolist(), rel=1e-12)
    shared = -scipy.stats.norm(MEAN.numpy(), 0.7).logpdf(x.numpy()).sum(1)
    assert Normal(MEAN, 0.7).nll(x).tolist() == pytest.approx(shared.tolist(), rel=1e-12)


def test_the_density_in_a_subspace_counts_its_dimensions():
    """Three centred points in two dimensions: four free coordinates, in an orthonormal basis."""
    space, owner = Centred(), torch.zeros(3, dtype=torch.long)
    at = lambda v: Ragged(v, owner, 1)  # noqa: E731
    x = space.project(at(torch.arange(6, dtype=torch.float64).reshape(3, 2).square()))
    mean = space.project(at(torch.ones(3, 2, dtype=torch.float64).cumsum(0)))
    basis = torch.linalg.svd(torch.eye(3).double() - 1 / 3)[0][:, :2]
    z = basis.T @ (x.data - mean.data)
    expected = -scipy.stats.norm(0, 0.7).logpdf(z.numpy()).sum()
    assert float(Normal(mean, 0.7, space).nll(x)) == pytest.approx(expected, rel=1e-12)
    p, q = Normal(x, 0.5, space), Normal(mean, 0.7, space)
    normals = [td.Normal(basis.T @ v.data, s) for v, s in ((x, 0.5), (mean, 0.7))]
    assert float(kl(p, q)) == pytest.approx(float(td.kl_divergence(*normals).sum()), rel=1e-12)


def test_an_item_without_rows_adds_nothing():
    empty = Ragged(torch.ones(2, 2, dtype=torch.float64), torch.tensor([0, 0]), 2)
    for space in (None, Centred()):
        law = Normal(empty * 0, 0.7, space)
        assert law.nll(empty)[1] == 0 and kl(law, Normal(empty * 0, 0.5, space))[1] == 0
    assert Dirac(empty * 0).loss(empty).tolist() == [1, 0]


def test_divergences_are_those_of_torch():
    a, b = Normal(MEAN, STD), Normal(MEAN * 0.5, 1.3)
    expected = td.kl_divergence(td.Normal(MEAN, STD), td.Normal(MEAN * 0.5, 1.3)).sum(1)
    assert torch.allclose(kl(a, b), expected, rtol=1e-12)
    c = td.kl_divergence(td.Categorical(P), td.Categorical(Q)).sum(1)
    assert torch.allclose(kl(Categorical(probs=P), Categorical(probs=Q)), c, rtol=1e-9)
    two = [Categorical(probs=p.expand(2, 2, 3)) for p in (P, Q)]
    both = kl(Joint(a=a, b=two[0]), Joint(a=b, b=two[1]))
    assert torch.allclose(both, expected + c, rtol=1e-9)


def test_divergences_vanish_between_equal_laws_and_are_infinite_beyond_the_support():
    for law in (Normal(MEAN, STD), Categorical(probs=P), Dirac(MEAN)):
        assert float(kl(law, law).abs().max()) < 1e-15
    assert float(kl(Categorical(probs=Q), Categorical(probs=P))) == math.inf
    assert kl(Dirac(MEAN), Dirac(MEAN + torch.tensor([[0.0], [1.0]]))).tolist() == [0, math.inf]


def test_the_gradient_of_a_divergence_survives_impossible_classes():
    logits = Q.log().requires_grad_()
    kl(Categorical(probs=P), Categorical(probs=logits.softmax(-1))).sum().backward()
    assert torch.allclose(logits.grad, Q - P, atol=1e-12)


def test_divergences_without_a_closed_form_are_refused():
    for p, q in ((Dirac(MEAN), Normal(MEAN, STD)), (Normal(MEAN, STD), Dirac(MEAN))):
        with pytest.raises(Unsupported, match="no closed form"):
            kl(p, q)


def test_categories_from_logits_and_from_probabilities_agree():
    a, b = Categorical(probs=Q), Categorical(logits=Q.log() + 5)
    assert torch.allclose(a.probs, b.probs, rtol=1e-12) and torch.allclose(a.logits, b.logits)
    assert float(b.nll(IDS)) == pytest.approx(-math.log(0.4) - math.log(0.2), rel=1e-12)
    assert float(b.loss(IDS)) == pytest.approx(float(b.nll(IDS)) / 2, rel=1e-12)
    with pytest.raises(TypeError, match="either"):
        Categorical(probs=Q, logits=Q)


def test_the_loss_is_a_mean_over_valid_elements():
    mask = torch.tensor([[True, False], [True, True]])
    mean = Padded(torch.zeros(2, 2, 3), mask)
    target = Padded(torch.tensor([[1.0, 9.0], [1.0, 2.0]])[..., None].expand(2, 2, 3), mask)
    assert Dirac(mean).loss(target).tolist() == [1.0, 2.5]


def test_a_mixture_has_the_density_and_the_mean_of_one():
    weights = torch.tensor([[0.3, 0.7], [1.0, 0.0]], dtype=torch.float64)
    law = Mixture(weights, [Normal(MEAN, 1.0), Normal(-MEAN, 0.5)])
    each = torch.stack([Normal(MEAN, 1.0).nll(MEAN), Normal(-MEAN, 0.5).nll(MEAN)], 1)
    assert torch.allclose(law.nll(MEAN), -((weights * (-each).exp()).sum(1)).log(), rtol=1e-12)
    assert torch.allclose(law.mean, MEAN * (weights[:, :1] - weights[:, 1:]), rtol=1e-12)


def test_draws_have_the_moments_of_their_law():
    """Each of 12 comparisons is a 5-sigma test: a false alarm in 1 of 140,000 runs."""
    n = 40_000
    mean = torch.tensor([0.5, -1.0], dtype=torch.float64).expand(n, 2)
    x = Normal(mean, 0.7).sample(G(0, "normal"))
    _near(x.mean(0), [0.5, -1.0], 0.7 / n**0.5)
    _near(x.var(0), [0.49, 0.49], 0.49 * (2 / n) ** 0.5)
    probs = torch.tensor([0.1, 0.0, 0.6, 0.3], dtype=torch.float64)
    ids = Categorical(probs=probs.expand(n, 1, 4)).sample(G(0, "ids"))
    share = torch.bincount(ids[:, 0], minlength=4) / n
    assert share[1] == 0
    _near(share[[0, 2, 3]].double(), [0.1, 0.6, 0.3], 0.5 / n**0.5)
    weights = torch.tensor([0.2, 0.8], dtype=torch.float64).expand(n, 2)
    mixed = Mixture(weights, [Dirac(mean), Dirac(mean + 10)]).sample(G(0, "mixture"))
    _near((mixed[:, :1] > 5).double().mean(0), [0.8], 0.4 / n**0.5)
    joint = Joint(a=Normal(mean, 1.0), b=Implicit(lambda g: random.normal(mean, g)))
    drawn = joint.sample(G(0, "joint"))
    assert isinstance(drawn, Fields)
    _near((drawn["a"] * drawn["b"]).mean(0), [0.0, 0.0], (1 + 0.25 + 1) ** 0.5 / n**0.5)


def _near(value, expected, error):
    gap = (value - torch.tensor(expected, dtype=torch.float64)).abs()
    assert float(gap.max()) < 5 * error, (value, expected)


def test_rare_classes_keep_their_odds():
    """Among classes of 1e-9 and 3e-9 the second comes three times in four, within 5 sigma.

    In single precision a race against a class of probability one loses every event rarer than
    2^-24. Here the tail is reached by drawing among rare classes only.
    """
    n = 40_000
    probs = torch.tensor([1e-9, 3e-9, 0.0], dtype=torch.float64).expand(n, 3)
    share = float((Categorical(probs=probs).sample(G(1, "tail")) == 1).double().mean())
    assert abs(share - 0.75) < 5 * (0.75 * 0.25 / n) ** 0.5
    # 2e7 races against probability one: 20 hits of 1e-6 expected
    heavy = torch.tensor([1.0, 1e-6], dtype=torch.float64).expand(2_000_000, 2)
    hits = sum(int(random.categorical(heavy, G(2, i)).sum()) for i in range(10))
    assert 2 <= hits <= 50  # Poisson(20): false alarm below 1e-8 above, 5e-7 below


def test_what_has_no_density_or_mean_says_so():
    for call in (
        lambda: Dirac(MEAN).nll(MEAN),
        lambda: Implicit(lambda g: MEAN).nll(MEAN),
        lambda: Implicit(lambda g: MEAN).mean,
    ):
        with pytest.raises(Unsupported):
            call()


def test_a_normal_without_noise_is_its_mean_and_draws_nothing():
    generator = G(0, "none")
    before = generator.get_state()
    assert Normal(MEAN, 0.0).sample(generator) is MEAN
    assert torch.equal(generator.get_state(), before)
