"""The variational objective: what it minimises, what it trains, and that a run brings it back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sfumato import Batch, Denoiser, Dirac, InputError, Model, Unsupported, random
from sfumato_data import Tensors
from sfumato_methods.bounds import Continuous, Stepwise
from sfumato_methods.discrete import Discrete, absorbing
from sfumato_methods.gaussian import VP, vp
from sfumato_methods.grids import uniform
from sfumato_methods.learned import NDM, FPDiff, Pointwise, bend
from sfumato_methods.solvers import Heun
from sfumato_train import Settings, Training, Variational, checkpoint, fit


class Gain(Denoiser):
    """A guess that is a multiple of what it sees."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.5))

    def forward(self, x, t):
        return Dirac(x * self.gain)


DATA = random.normal(torch.empty(64, 3), random.derive(0, "x")) * 0.5 + 1


@pytest.mark.parametrize("bound", [Continuous(1e-2), Stepwise(5)], ids=repr)
def test_the_loss_is_the_bound_per_number_and_its_parts_add_up(bound):
    process, denoiser = vp(), Gain()
    loss = Variational(process, denoiser, bound=bound).loss(
        "denoiser", Batch(DATA), random.derive(1, "g")
    )
    generator = random.derive(1, "g")
    u = (random.permutation(64, generator) + random.uniform((1,), generator)) / 64
    want = bound(process, denoiser, DATA, u, generator).total / 3
    assert torch.allclose(loss.each, want)
    assert torch.allclose(sum(loss.parts.values()), loss.each)


@pytest.mark.parametrize(
    "process", [NDM(VP(), Pointwise()), FPDiff(3)], ids=lambda p: type(p).__name__
)
def test_process_and_denoiser_are_trained_together(process):
    objective = Variational(process, Gain(), bound=Continuous(1e-2))
    (player,) = objective.players().values()
    loss = objective.loss("denoiser", Batch(DATA), random.derive(1, "g")).each.mean()
    loss.backward()
    reached = {n for n, p in player.named_parameters() if p.grad is not None and p.grad.any()}
    assert "denoiser.gain" in reached
    # a new warp is zero whatever the other weights are
    want = {"process.net.gain"} if isinstance(process, NDM) else {"process.diagonal"}
    assert want <= reached


def test_straightening_adds_the_curvature():
    process, denoiser = NDM(VP(), Pointwise()), Gain()
    plain, bent = (
        Variational(process, denoiser, straight=w).loss(
            "denoiser", Batch(DATA), random.derive(1, "g")
        )
        for w in (0.0, 2.0)
    )
    assert "bend" not in plain.parts
    assert torch.allclose(bent.each, plain.each + 2 * bent.parts["bend"])
    x, t = DATA[:2], torch.tensor([0.3, 0.6], dtype=torch.float64)
    assert (bend(process, denoiser, x, t) > 0).all()


def test_a_run_lowers_the_bound_and_stores_what_bends_the_data(tmp_path):
    process, denoiser = NDM(VP(), Pointwise()), Gain()
    model = Model(process, denoiser, Heun(), uniform, 5, lambda n, g: torch.zeros(n, 3))
    training = Training(Variational(process, denoiser, bound=Continuous(0.1)), Tensors(DATA), model)
    before = _mean(training.objective)
    fit(training, Settings(steps=40, batch=32, lr=2e-2, warmup=1, ema=0, log=10, save=40), tmp_path)
    assert _mean(training.objective) < before - 0.1
    assert process.net.gain.abs().max() > 1e-3
    stored = checkpoint.read(checkpoint.saved(tmp_path / "checkpoints")[-1].path, "model")
    (name,) = (name for name in stored if name.endswith("net.gain"))
    assert torch.equal(stored[name], process.net.gain.detach())


def _mean(objective):
    with torch.no_grad():
        each = objective.loss("denoiser", Batch(DATA.repeat(8, 1)), random.derive(5, "g")).each
    return float(each.mean())


def test_bad_values_are_refused():
    with pytest.raises(InputError, match="dropout is a share"):
        Variational(vp(), Gain(), dropout=2.0)
    with pytest.raises(InputError, match="straight is a weight"):
        Variational(vp(), Gain(), straight=-1.0)
    with pytest.raises(Unsupported, match="VELOCITY.*straight=0"):
        Variational(Discrete(absorbing(4)), Gain(), straight=1.0)
    with pytest.raises(Unsupported, match="Stepwise"):
        Variational(Discrete(absorbing(4)), Gain()).loss(
            "denoiser", Batch(torch.zeros(4, 2, dtype=torch.long)), random.derive(0, "g")
        )
