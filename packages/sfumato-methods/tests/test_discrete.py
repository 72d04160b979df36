"""Discrete processes against the matrices that they never form."""

import pytest
import torch
from torch import nn

from sfumato import Categorical, Implicit, InputError, Padded, elbo, random
from sfumato_methods.discrete import (
    CosineKeep,
    Discrete,
    JointDiscrete,
    LinearKeep,
    RankOne,
    TokenDenoiser,
    absorbing,
    marginal,
    uniform,
)

F64 = torch.float64
FREQUENCIES = torch.tensor([0.5, 0.3, 0.2], dtype=F64)
KERNELS = [uniform(3), absorbing(2), marginal(FREQUENCIES), uniform(3, CosineKeep())]
TIMES = [(0.0, 0.4), (0.3, 0.7), (0.2, 1.0), (0.0, 1.0), (0.6, 0.6), (1.0, 1.0)]
EVERY = torch.arange(3)


def time(value):
    return torch.tensor(value, dtype=F64)


def matrix(kernel, s, t):
    """T(s -> t), dense: row = where from, column = where to."""
    a = 1.0 if s == t else float(kernel.keep(time(t)) / kernel.keep(time(s)))
    return a * torch.eye(3, dtype=F64) + (1 - a) * kernel.law.expand(3, 3)


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.parametrize(("s", "t"), TIMES)
def test_operations_are_those_of_the_matrix(kernel, s, t):
    dense = matrix(kernel, s, t)
    p = torch.tensor([0.1, 0.6, 1.3], dtype=F64)  # need not be normalised
    assert torch.allclose(kernel.rows(EVERY, time(s), time(t)), dense)
    assert torch.allclose(kernel.columns(EVERY, time(s), time(t)), dense.T)
    assert torch.allclose(kernel.push(p, time(s), time(t)), p @ dense)


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_steps_compose_and_end_in_the_limit(kernel):
    whole = matrix(kernel, 0.0, 0.3) @ matrix(kernel, 0.3, 0.8)
    assert torch.allclose(kernel.rows(EVERY, time(0.0), time(0.8)), whole)
    assert torch.allclose(kernel.rows(EVERY, time(0.0), time(1.0)), kernel.limit().expand(3, 3))
    assert torch.allclose(kernel.limit() @ matrix(kernel, 0.2, 0.9), kernel.limit())


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.parametrize(("s", "t"), [(0.0, 0.4), (0.3, 0.7), (0.2, 1.0)])
def test_both_reverse_forms_are_those_of_the_papers(kernel, s, t):
    """D3PM eq. 3 averaged over x_0, and the sum of joint probabilities of its code."""
    to_s, on, to_t = matrix(kernel, 0.0, s), matrix(kernel, s, t), matrix(kernel, 0.0, t)
    weights = torch.tensor([0.2, 0.7, 0.1], dtype=F64)
    if kernel.absorbs is not None:
        weights = torch.tensor([0.2, 0.8, 0.0], dtype=F64)
    for x in range(3):
        possible = (to_t[:, x] > 0) & (weights > 0)
        if not bool(possible.any()):
            continue
        q = Categorical(probs=torch.where(possible, weights, 0.0)[None])
        q = Categorical(probs=q.probs / q.probs.sum())
        bridges = on[:, x] * to_s / torch.where(possible, to_t[:, x], 1.0)[:, None]
        average = (q.probs[0][:, None] * bridges).sum(0)
        joint = on[:, x] * (q.probs[0] @ to_s)
        ids = torch.tensor([x])
        got = Discrete(kernel).transition(q, ids, time(t), time(s)).probs[0]
        assert torch.allclose(got, average)
        other = JointDiscrete(kernel).transition(q, ids, time(t), time(s)).probs[0]
        assert torch.allclose(other, joint / joint.sum())
        if kernel.absorbs is not None:
            assert torch.allclose(got, other)
        for x0 in possible.nonzero()[:, 0].tolist():
            bridge = Discrete(kernel).bridge(torch.tensor([x0]), ids, time(t), time(s))
            assert torch.allclose(bridge.probs[0], bridges[x0])


def bayes(kernel):
    """The exact denoiser of single tokens with `FREQUENCIES`."""

    def denoise(x, t):
        columns = kernel.columns(x, torch.zeros_like(t), t)
        joint = columns * torch.nn.functional.pad(FREQUENCIES, (0, kernel.classes - 3))
        return Categorical(probs=joint / joint.sum(-1, keepdim=True))

    return denoise


def frequencies(x, t):
    """What the joint form asks for: p(x0 | x) / q(x | x0), which is p(x0) up to a factor."""
    return Categorical(probs=FREQUENCIES.expand(*x.shape, 3))


def rough(x, t):
    """A posterior that is too flat."""
    q = bayes(uniform(3))(x, t).probs.sqrt()
    return Categorical(probs=q / q.sum(-1, keepdim=True))


def bound(kind, denoiser, steps):
    """Mean over 4,000 bounds for a token of each class, and its standard error."""
    ids = EVERY.repeat(4000)[:, None]
    grid = torch.linspace(1, 0, steps + 1, dtype=F64)
    nats = elbo(kind(uniform(3)), denoiser, ids, grid, random.derive(0, "bound", steps))
    nats = nats.reshape(-1, 3)
    return nats.mean(0), nats.std(0) / len(nats) ** 0.5 + 1e-9


def test_the_bound_of_each_form_is_tight_with_the_denoiser_that_it_asks_for():
    """Six-sigma comparisons: false alarms below 1e-6."""
    exact, posterior = -FREQUENCIES.log(), bayes(uniform(3))
    for steps in (1, 3, 9):
        for kind, denoiser in ((Discrete, posterior), (JointDiscrete, frequencies)):
            mean, error = bound(kind, denoiser, steps)
            assert bool(((mean - exact).abs() <= 6 * error).all())
    for kind, denoiser in ((Discrete, frequencies), (JointDiscrete, posterior)):
        mean, error = bound(kind, denoiser, 9)
        assert float((mean - exact - 6 * error) @ FREQUENCIES) > 0


def test_the_bound_of_any_other_denoiser_stays_above_the_entropy():
    """Six-sigma comparisons: false alarms below 1e-6."""
    entropy = -float((FREQUENCIES * FREQUENCIES.log()).sum())
    for denoiser in (rough, frequencies):
        for steps in (2, 8):
            mean, error = bound(Discrete, denoiser, steps)
            assert float((mean - 6 * error) @ FREQUENCIES) > entropy


def test_a_posterior_known_by_its_draws_needs_no_classes():
    draws = Implicit(lambda g: torch.zeros(4, 2, dtype=torch.long))
    x = torch.full((4, 2), 2)
    for kind in (Discrete, JointDiscrete):
        law = kind(absorbing(2)).transition(draws, x, time(0.5), time(0.0))
        assert law.sample(random.derive(0, "draws")).tolist() == [[0, 0]] * 4


@pytest.mark.parametrize("keep", [LinearKeep(), CosineKeep()], ids=repr)
def test_a_schedule_falls_from_one_to_zero(keep):
    kept = keep(torch.linspace(0, 1, 101, dtype=F64))
    assert float(kept[0]) == pytest.approx(1) and float(kept[-1]) == pytest.approx(0)
    assert bool((kept.diff() < 0).all())
    if isinstance(keep, CosineKeep):
        middle = 1 - torch.cos(torch.pi / 2 * (1 - time(0.3)))
        assert torch.allclose(keep(time(0.3)), middle)


class Logits(nn.Module):
    """A network that says the same of every token, and remembers its clock."""

    def forward(self, ids, clock):
        self.clock = clock
        data = ids.data if isinstance(ids, Padded) else ids
        logits = torch.tensor([0.3, 1.1, 7.0]).expand(*data.shape, 3)
        return Padded(logits, ids.mask) if isinstance(ids, Padded) else logits


def test_a_denoiser_of_masked_tokens_carries_over_what_it_sees():
    denoiser = TokenDenoiser(Logits(), Discrete(absorbing(2)))
    q = denoiser(torch.tensor([[0, 2], [2, 1]]), time(0.5)).probs
    guess = torch.tensor([0.3, 1.1, -torch.inf], dtype=F64).softmax(0)
    assert torch.allclose(q[0, 1], guess, atol=1e-7) and torch.allclose(q[1, 0], q[0, 1])
    assert q[0, 0].tolist() == [1, 0, 0] and q[1, 1].tolist() == [0, 1, 0]
    assert denoiser.net.clock.tolist() == [0.0, 0.0]  # as much is hidden as is kept
    plain = TokenDenoiser(Logits(), Discrete(uniform(3)))
    place = Padded(torch.tensor([[0, 1]]), torch.tensor([[True, False]]))
    want = torch.tensor([0.3, 1.1, 7.0], dtype=F64).softmax(0)
    assert torch.allclose(plain(place, time(0.5)).probs.data[0, 0], want, atol=1e-7)


@pytest.mark.parametrize("law", [[0.5, 0.6], [1.5, -0.5], [[1.0]]])
def test_what_is_no_law_is_refused(law):
    with pytest.raises(InputError, match="probabilities that sum to 1"):
        RankOne(torch.tensor(law))
