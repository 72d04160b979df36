"""Equal time for trainings that are compared."""

from __future__ import annotations

import time
from functools import partial

import torch

from sfumato_train import Loss, Objective, Training
from sfumato_train.pacing import seconds_a_step
from sfumato_train.runs import fresh


class Busy(Objective):
    """Two players that keep a processor busy for so many seconds each."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds, self.seen = seconds, []
        self.weight = torch.nn.Linear(2, 1)

    def players(self):
        return {"one": self.weight, "other": self.weight}

    def loss(self, player, batch, generator):
        self.seen.append((player, tuple(batch.x.shape)))
        end = time.process_time() + self.seconds
        while time.process_time() < end:
            pass
        return Loss(self.weight(batch.x)[:, 0])


def test_the_cost_of_a_step_is_that_of_all_players_and_leaves_no_gradient(toy):
    lasting = (("quick", 0.005), ("slow", 0.02))
    made = {name: fresh(0, partial(Busy, seconds)) for name, seconds in lasting}
    makes = {name: partial(Training, one, toy.points(40), None) for name, one in made.items()}
    cost = seconds_a_step(makes, 8, rounds=4)
    quick, slow = (cost[name] * torch.get_num_threads() for name in ("quick", "slow"))
    assert 0.01 <= quick < slow and 0.04 <= slow < 0.2
    for busy in made.values():
        assert busy.seen == [("one", (8, 2)), ("other", (8, 2))] * 4
        assert all(weight.grad is None for weight in busy.parameters())
