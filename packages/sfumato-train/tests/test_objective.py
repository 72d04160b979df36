"""The denoising objective: what it minimises, and what it draws."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sfumato import (
    Affine,
    Batch,
    Categorical,
    Denoiser,
    Dirac,
    InputError,
    Maybe,
    Preconditioned,
    random,
)
from sfumato_methods.discrete import Discrete, absorbing
from sfumato_methods.gaussian import Observing, cld, linear, vp
from sfumato_train import Denoising, times, weights
from sfumato_train.objective import drop


class Spy(Denoiser):
    """Returns half of what it sees and keeps what it was told."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.5))
        self.seen = []
        self.told = []

    def given(self, **condition):
        self.told.append(condition)
        return self

    def forward(self, x, t):
        self.seen.append((x, t))
        return Dirac(x * self.gain)


def test_the_loss_is_the_weighted_loss_of_the_posterior():
    spy, process = Spy(), vp()
    objective = Denoising(process, spy, weight=weights.eps)
    x0 = random.normal(torch.empty(64, 3), random.derive(0, "x"))
    loss = objective.loss("denoiser", Batch(x0), random.derive(0, "g"))
    ((x, t),) = spy.seen
    plain = (x0 - 0.5 * x).square().mean(1)
    assert torch.allclose(loss.parts["unweighted"].float(), plain)
    assert torch.allclose(loss.each, plain * weights.eps(process, t))
    assert sorted((t * 64).floor().tolist()) == list(range(64))  # stratified


def test_the_noise_has_the_law_of_the_process():
    """x_t - alpha x_0 over sigma is standard normal: 20,000 items, bounds 4.5 s.d. (1e-5)."""
    spy, process, n = Spy(), linear(), 20_000
    x0 = torch.full((n, 1), 3.0)
    Denoising(process, spy).loss("denoiser", Batch(x0), random.derive(1, "g"))
    ((x, t),) = spy.seen
    noise = (x[:, 0] - process.alpha(t) * 3.0) / process.sigma(t)
    assert abs(float(noise.mean())) < 4.5 / n**0.5
    assert abs(float(noise.var()) - 1) < 4.5 * (2 / n) ** 0.5
    assert abs(float(torch.corrcoef(torch.stack([noise, t]))[0, 1])) < 4.5 / n**0.5


def test_equal_generators_give_equal_losses():
    objective = Denoising(linear(), Spy())
    batch = Batch(torch.ones(8, 2))
    one, two, three = (
        objective.loss("denoiser", batch, random.derive(0, name)).each for name in "aab"
    )
    assert torch.equal(one, two) and not torch.equal(one, three)


def test_a_codec_is_applied_and_not_trained():
    spy = Spy()
    x0 = torch.full((4, 2), 5.0)
    codec = Affine(shift=5.0, scale=2.0)
    Denoising(linear(), spy, codec, times=lambda p, u: 0 * u + 1e-9).loss(
        "denoiser", Batch(x0), random.derive(0)
    )
    assert torch.allclose(spy.seen[0][0], torch.zeros(4, 2), atol=1e-6)

    class Learnt(nn.Module):
        exact = None

        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(2.0))

        def encode(self, x, generator):
            return x * self.gain

    objective = Denoising(linear(), spy, Learnt())
    objective.loss("denoiser", Batch(x0), random.derive(0)).each.sum().backward()
    assert objective.codec.gain.grad is None and spy.gain.grad is not None
    (player,) = objective.players().values()
    assert [name for name, _ in player.named_parameters()] == ["denoiser.gain"]


def test_tokens_are_trained_by_cross_entropy():
    class Tokens(Denoiser):
        def __init__(self):
            super().__init__()
            self.logits = nn.Parameter(torch.tensor([0.0, 1.0, 2.0, -9.0]))

        def forward(self, x, t):
            return Categorical(logits=self.logits.expand(*x.shape, 4))

    denoiser = Tokens()
    x0 = torch.tensor([[0, 1, 2], [2, 2, 2]])
    loss = Denoising(Discrete(absorbing(3)), denoiser).loss("denoiser", Batch(x0), random.derive(0))
    expected = -denoiser.logits.log_softmax(0)[x0].mean(1)
    assert torch.allclose(loss.each.float(), expected)


def test_dropout_takes_all_conditions_of_an_item_or_none():
    """Binomial(20000, 0.3): bound 4.5 standard deviations, false alarm below 1e-5."""
    n = 20_000
    present = torch.arange(n) % 2 == 0
    condition = {"a": torch.arange(n), "b": Maybe(torch.arange(n), present)}
    found = drop(condition, 0.3, random.derive(0, "drop"))
    kept = found["a"].present
    assert torch.equal(found["b"].present, kept & present)
    assert torch.equal(found["a"].value, condition["a"])
    assert abs(int((~kept).sum()) - 0.3 * n) < 4.5 * (n * 0.3 * 0.7) ** 0.5
    assert drop(condition, 0.0, random.derive(0)) == condition


def test_the_denoiser_is_told_conditions_with_dropout():
    spy = Spy()
    batch = Batch(torch.zeros(4, 1), {"label": torch.arange(4)})
    Denoising(linear(), spy, dropout=1.0).loss("denoiser", batch, random.derive(0))
    assert spy.told[0]["label"].present.tolist() == [False] * 4
    Denoising(linear(), spy, dropout=0.0).loss("denoiser", batch, random.derive(0))
    assert torch.equal(spy.told[1]["label"], torch.arange(4))
    with pytest.raises(InputError, match=r"share of the items, in \[0, 1\], but is 1.5"):
        Denoising(linear(), spy, dropout=1.5)


def test_the_default_loss_is_that_of_what_the_network_predicts():
    """A flow network that returns zero has the loss |eps - x_0|^2, whatever the time."""

    class Zero(nn.Module):
        def forward(self, x, clock):
            return torch.zeros_like(x)

    process = linear()
    x0 = random.normal(torch.empty(5, 3).double(), random.derive(0, "x"))
    objective = Denoising(process, Preconditioned(Zero(), process, "flow"))
    loss = objective.loss("denoiser", Batch(x0), random.derive(0, "g"))
    generator = random.derive(0, "g")
    t = times.uniform(process, times.stratified(5, generator))
    x = process.draw(x0, t, generator).x
    noise = (x - process.alpha(t)[:, None] * x0) / process.sigma(t)[:, None]
    assert torch.allclose(loss.each, (noise - x0).square().mean(1), rtol=1e-6)


def test_coupled_states_train_at_the_noise_levels_of_what_they_show():
    """The same loss as that of the plain process which is observed, on what is observed."""
    process = cld()
    view = process.observed
    inner = Preconditioned(nn.Identity(), view, sigma_data=0.5)
    inner.output = lambda x, t: 0.1 * x
    objective = Denoising(process, Observing(inner, process), times=times.lognormal)
    x0 = torch.linspace(-1, 1, 8, dtype=torch.float64).reshape(8, 1, 1, 1)
    loss = objective.loss("denoiser", Batch(x0), random.derive(0, "loss"))
    generator = random.derive(0, "loss")
    t = times.lognormal(view, times.stratified(8, generator))
    u = process.draw(x0, t, generator).x
    want = inner(process.observe(u, t), t).loss(x0) * weights.edm(view, t, 0.5)
    assert torch.allclose(loss.each, want)
    assert torch.allclose(loss.clock, view.clock(t))
