"""Processes that depend on a condition of every item: trained and sampled as all others."""

from __future__ import annotations

import copy
from typing import ClassVar

import pytest
import torch

from sfumato import (
    Ancestral,
    Batch,
    Can,
    Denoiser,
    Dirac,
    InputError,
    Maybe,
    Model,
    Normal,
    Process,
    random,
    state,
)
from sfumato_data import Tensors, subset
from sfumato_methods.gaussian import linear
from sfumato_methods.grids import uniform
from sfumato_methods.guidance import CFG
from sfumato_train import Denoising, draw, pairing
from sfumato_train.drawing import asked_of, calls


class Ramp(Process):
    """x_t = (1 - t) x_0 + t source + t (1 - t) eps: it begins at the source, exactly."""

    can = Can.STEP | Can.BRIDGE
    context: ClassVar[tuple[str, ...]] = ("source",)
    source = None

    def given(self, **context):
        view = copy.copy(self)
        view.source = context["source"]
        return view

    def prior(self, like):
        return Dirac(self.source)

    def marginal(self, x0, t):
        u = state.expand(x0, t).to(x0.dtype)
        return Normal((1 - u) * x0 + u * self.source, u * (1 - u))

    def bridge(self, x0, x, t, s, row=None):
        return self.marginal(x0, s)


class Echo(Denoiser):
    """Expects ten times the source, shifted by a label; keeps what it was told."""

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(10.0))
        self.told = []
        self.source = self.label = None

    def given(self, **condition):
        self.told.append(condition)
        view = copy.copy(self)
        view.source, view.label = condition["source"], condition.get("label")
        return view

    def forward(self, x, t):
        guess = self.gain * self.source
        if self.label is None:
            return Dirac(guess)
        label = (
            self.label.value * self.label.present if isinstance(self.label, Maybe) else self.label
        )
        return Dirac(guess + label[:, None])


def _model():
    return Model(Ramp(), Echo(), Ancestral(), uniform, 3, lambda n, generator: torch.zeros(n, 2))


SOURCE = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


def test_each_sample_begins_at_its_own_source_and_ends_where_it_leads():
    whole = draw(_model(), 3, condition={"source": SOURCE}, seed=1)
    assert torch.equal(whole.x, 10 * SOURCE)
    alone = draw(_model(), 1, condition={"source": SOURCE[2:]}, seed=1, first=2)
    assert torch.equal(alone.x, whole.x[2:])


def test_a_source_is_never_dropped_in_training_and_other_conditions_are():
    model = _model()
    label = torch.arange(64.0)
    source = random.normal(torch.empty(64, 2), random.derive(0, "source"))
    objective = Denoising(model.process, model.denoiser, dropout=0.5, weight=lambda p, t: t**0)
    x0 = 10 * source
    loss = objective.loss(
        "denoiser", Batch(x0, {"source": source, "label": label}), random.derive(1)
    )
    (told,) = model.denoiser.told
    assert torch.equal(told["source"], source)
    dropped = ~told["label"].present
    assert 10 < int(dropped.sum()) < 54  # false alarm 1e-7
    assert torch.equal(loss.each == 0, dropped | (label == 0))  # the guess is right without it


def test_guidance_strengthens_the_other_conditions_alone():
    model = _model()
    asked = {"source": SOURCE, "label": torch.tensor([1.0, 2.0, 3.0])}
    guided = asked_of(model, asked, 3.0)
    assert isinstance(guided, CFG)
    mean = guided(SOURCE, torch.tensor(0.5)).mean
    assert torch.allclose(mean, 10 * SOURCE + 3 * asked["label"][:, None])
    assert not isinstance(asked_of(model, {"source": SOURCE}, 3.0), CFG)
    assert calls(model, 3, condition=asked, guidance=3.0) == 6
    with pytest.raises(InputError, match="none is given"):
        draw(model, 3, condition={"source": SOURCE}, guidance=3.0)


class Tenth:
    """A codec whose latents are a tenth of the data."""

    def encode(self, x, generator):
        return x / 10

    def decode(self, z):
        return z * 10

    def layout(self, like):
        return like


def test_a_codec_brings_the_source_to_the_space_of_the_process():
    model = Model(
        Ramp(), Echo(), Ancestral(), uniform, 3, lambda n, generator: torch.zeros(n, 2), Tenth()
    )
    found = draw(model, 3, condition={"source": SOURCE})
    assert torch.equal(model.denoiser.told[-1]["source"], SOURCE / 10)
    assert torch.allclose(found.x, 10 * SOURCE)
    assert found.condition["source"] is not None and torch.equal(found.condition["source"], SOURCE)


@pytest.mark.parametrize(
    "condition", [None, {"source": Maybe(SOURCE, torch.tensor([1, 0, 1]) > 0)}]
)
def test_a_missing_source_is_told(condition):
    with pytest.raises(InputError, match=r"needs the condition 'source' of every item"):
        draw(_model(), 3, condition=condition)


def test_a_source_lasts_under_any_process():
    model = Model(
        linear(), Echo(), Ancestral(), uniform, 2, lambda n, generator: torch.zeros(n, 2), Tenth()
    )
    label, x0 = torch.arange(3.0), 10 * SOURCE
    objective = Denoising(model.process, model.denoiser, Tenth(), dropout=1.0)
    batch = Batch(x0, {"source": SOURCE, "label": label})
    objective.loss("denoiser", batch, random.derive(1))
    (told,) = model.denoiser.told
    assert torch.equal(told["source"], SOURCE / 10)  # in the space of the process, never dropped
    assert not told["label"].present.any()
    guided = asked_of(model, {"source": SOURCE, "label": label}, 3.0)
    assert torch.allclose(guided(SOURCE, torch.tensor(0.5)).mean, 10 * SOURCE + 3 * label[:, None])
    with pytest.raises(InputError, match="missing for some"):
        draw(model, 3, condition={"source": Maybe(SOURCE, torch.tensor([1, 0, 1]) > 0)})


def test_pairs_asked_for_are_spread_over_those_held_out():
    train, held = (Tensors(torch.arange(float(n))[:, None]) for n in (9, 5))
    assert pairing.asked(train, held, 2).x[:, 0].tolist() == [0, 2]
    assert pairing.asked(train, held, 7).x[:, 0].tolist() == [0, 1, 2, 3, 4, 0, 1]
    assert len(pairing.asked(train, subset(held, []), 9).x) == 9
    pairs = pairing.asked(train, held, 5)
    shown = pairing.restored(Batch(-pairs.x, {}, {"number": [0, 1, 2, 3, 4]}), pairs)
    assert torch.equal(torch.stack(shown.about["target"]), pairs.x) and "number" in shown.about
