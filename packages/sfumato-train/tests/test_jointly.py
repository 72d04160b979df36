"""The objective of several fields: weights, parts, and conditions that are dropped."""

from __future__ import annotations

import torch
from torch import nn

from sfumato import Batch, Categorical, Denoiser, Fields, Joint, Product, random
from sfumato_methods.discrete import Discrete, uniform
from sfumato_train import Jointly


class Guess(Denoiser):
    """The same logits whatever it sees; keeps what it was told."""

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.3, -0.2, 0.0]))
        self.told = []

    def given(self, **condition):
        self.told.append(condition)
        return self

    def forward(self, x, t):
        return Joint(
            {name: Categorical(logits=self.logits.expand(*x[name].shape, 3)) for name in x}
        )


def _objective(**options):
    process = Product({name: Discrete(uniform(3)) for name in ("nodes", "edges")})
    return Jointly(process, Guess(), {"nodes": 1.0, "edges": 5.0}, **options)


X = Fields(nodes=torch.tensor([[0, 1], [2, 2]]), edges=torch.tensor([[1], [0]]))


def test_the_loss_is_the_weighted_sum_of_the_cross_entropies():
    loss = _objective().loss("denoiser", Batch(X), random.derive(0, "g"))
    nll = -torch.tensor([0.3, -0.2, 0.0]).double().log_softmax(0)
    nodes, edges = nll[X["nodes"]].mean(1), nll[X["edges"]].mean(1)
    assert torch.allclose(loss.parts["nodes"].double(), nodes, atol=1e-6)
    assert torch.allclose(loss.each.double(), nodes + 5 * edges, atol=1e-6)


def test_conditions_are_told_and_dropped():
    batch = Batch(X, {"label": torch.tensor([0, 1])})
    for dropout, present in ((0.0, None), (1.0, False)):
        objective = _objective(dropout=dropout)
        objective.loss("denoiser", batch, random.derive(0, "g"))
        (told,) = objective.denoiser.told
        if present is None:
            assert torch.equal(told["label"], batch.condition["label"])
        else:
            assert not bool(told["label"].present.any())
