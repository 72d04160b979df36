"""Training on coupled sources, and on coupled noise."""

from __future__ import annotations

import copy

import pytest
import torch

from sfumato import Batch, Denoiser, Dirac, InputError, Unsupported, random
from sfumato.random import derive
from sfumato_methods.bridges import Blind, Sinkhorn, Transport, assignment
from sfumato_methods.discrete import Discrete
from sfumato_methods.discrete import uniform as even
from sfumato_methods.gaussian import linear
from sfumato_train import Coupled
from sfumato_train.objective import Denoising


class Spy(Denoiser):
    """Answers zero and keeps what it was shown."""

    def __init__(self):
        super().__init__()
        self.shown = []
        self.told = []
        self.gain = torch.nn.Parameter(torch.zeros(()))

    def given(self, **condition):
        self.told.append(condition)
        return copy.copy(self)

    def forward(self, x, t):
        self.shown.append((x, t))
        return Dirac(self.gain * x)


def normal(*shape, name="x"):
    return random.normal(torch.empty(shape, dtype=torch.float64), derive(2, name))


def test_unpaired_sources_are_put_in_order():
    """On a line: the smallest item gets the smallest source."""
    x0, source, spy = normal(32, 1), normal(32, 1, name="source"), Spy()
    objective = Coupled(Transport(), spy, weight=lambda p, t: t**0, dropout=0.0)
    loss = objective.loss("denoiser", Batch(x0, {"source": source}), derive(0))
    (told,) = spy.told
    assert torch.equal(told["source"].argsort(0), x0.argsort(0))
    ((x, t),) = spy.shown
    t = t[:, None]
    assert torch.allclose(x, (1 - t) * x0 + t * told["source"])
    assert torch.allclose(loss.each, x0[:, 0] ** 2)


def test_noise_is_matched_and_keeps_its_law():
    """Read off x_t = (1 - t) x_0 + t n: the same normal draws, nearer to their items."""
    x0 = 2 * normal(256, 2)
    found = {}
    for kind in (Denoising, Coupled):
        spy = Spy()
        kind(linear(), spy, weight=lambda p, t: t**0).loss("denoiser", Batch(x0, {}), derive(0))
        ((x, t),) = spy.shown
        found[kind] = (x - (1 - t[:, None]) * x0) / t[:, None]
    chance, matched = found.values()
    assert torch.allclose(chance.sort(0).values, matched.sort(0).values, atol=1e-8)
    costs = [float((x0 - n).square().sum(1).mean()) for n in (chance, matched)]
    assert costs[1] < 0.6 * costs[0]


def test_a_coupling_of_ones_own():
    x0, source, spy = normal(8, 3), normal(8, 3, name="source"), Spy()

    def turned(a, b, generator):
        return torch.arange(8).flip(0)

    objective = Coupled(Transport(), spy, coupling=turned, weight=lambda p, t: t**0, dropout=0.0)
    objective.loss("denoiser", Batch(x0, {"source": source}), derive(0))
    assert torch.equal(spy.told[0]["source"], source.flip(0))


def test_an_unpaired_flow_learns_from_coupled_batches():
    """A blind linear denoiser of normal data: the coupled loss at its best is far lower."""
    x0, source = normal(400, 1) + 3, normal(400, 1, name="source") - 3
    losses = {}
    for name, coupling in (("chance", lambda a, b, g: torch.arange(len(a))), ("best", assignment)):
        spy = Spy()
        objective = Coupled(
            Transport(), Blind(spy), coupling=coupling, weight=lambda p, t: t**0, dropout=0.0
        )
        objective.loss("denoiser", Batch(x0, {"source": source}), derive(1))
        ((x, t),) = spy.shown
        late = (t > 0.6) & (t < 0.9)
        design = torch.cat([x, t[:, None], t[:, None] * x, torch.ones_like(x)], 1)[late]
        fit = torch.linalg.lstsq(design, x0[late]).solution
        losses[name] = float((design @ fit - x0[late]).square().mean())
    assert losses["best"] < 0.2 * losses["chance"]


def test_what_cannot_be_coupled_is_told():
    with pytest.raises(Unsupported, match="a process with a source, or AFFINE, GAUSSIAN"):
        Coupled(Discrete(even(4)), Spy())
    objective = Coupled(Transport(), Spy(), coupling=Sinkhorn())
    with pytest.raises(InputError, match="needs the condition 'source' of every item"):
        objective.loss("denoiser", Batch(normal(4, 2), {}), derive(0))
