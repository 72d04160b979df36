"""A bridge trained and sampled as every other model: pairs in, restored items out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sfumato import Batch, InputError, Model, random
from sfumato.random import derive
from sfumato_methods.bridges import Bridging, Residuals, Rise, ddbm, rddm
from sfumato_methods.grids import booted
from sfumato_methods.solvers import DBIM
from sfumato_nn.beside import Beside
from sfumato_train import Denoising, draw, weights


class MLP(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        with torch.random.fork_rng():
            self.body = nn.Sequential(
                nn.Linear(inputs + 1, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2)
            )
        generator = derive(0, "weights")
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(random.normal(p, generator) * p.shape[-1] ** -0.5)

    def forward(self, x, clock):
        return self.body(torch.cat([x, clock[:, None] / 5], 1))


def pairs(n, *name):
    """Sources on a ring of two arms: the item is the source turned, up to a coin and noise."""
    generator = derive(3, *name)
    source = random.normal(torch.empty(n, 2), generator)
    coin = random.normal(torch.empty(n, 1), generator).sign()
    x0 = torch.stack([-source[:, 1], source[:, 0]], 1) * 0.5 + 0.7 * coin
    return x0, source


@pytest.mark.parametrize("kind", ["ddbm", "rddm"])
def test_a_trained_bridge_knows_both_answers(kind):
    """Half of the items are shifted by 0.7, half by -0.7; nothing in the source tells which."""
    if kind == "ddbm":
        process = ddbm()
        denoiser = Bridging(Beside(MLP(4)), process, sigma_data=0.9, sigma_source=1.0)
    else:
        process = rddm(noise=Rise(top=1.5))  # with little noise there is no choice to make
        denoiser = Residuals(Beside(MLP(5)), process)
    objective = Denoising(process, denoiser)
    adam = torch.optim.Adam(denoiser.parameters(), lr=5e-3)
    for step in range(300):
        x0, source = pairs(256, "train", step)
        loss = objective.loss("denoiser", Batch(x0, {"source": source}), derive(1, step))
        adam.zero_grad()
        loss.each.mean().backward()
        adam.step()
    model = Model(process, denoiser, DBIM(), booted, 12, lambda n, generator: torch.zeros(n, 2))
    _, source = pairs(400, "held")
    found = draw(model, 400, condition={"source": source}, seed=2).x
    shift = found - torch.stack([-source[:, 1], source[:, 0]], 1) * 0.5
    assert float((shift.mean(1).abs() - 0.7).abs().median()) < 0.35  # the mean of both is 0.7 away
    assert 0.3 < float((shift.mean(1) > 0).float().mean()) < 0.7
    alone = draw(model, 1, condition={"source": source[7:8]}, seed=2, first=7).x
    assert torch.allclose(alone, found[7:8], atol=1e-5)
    with pytest.raises(InputError, match="needs the condition 'source'"):
        draw(model, 3)


def test_the_weight_of_a_bridge_is_its_own():
    process = ddbm()
    denoiser = Bridging(Beside(MLP(4)), process)
    t = torch.tensor([0.1, 0.5], dtype=torch.float64)
    weight = weights.matching(denoiser)(process, t)
    assert torch.equal(weight, denoiser.weight(process, t))
    assert torch.equal(weights.matching(Residuals(MLP(5), rddm()))(rddm(), t), torch.ones_like(t))
