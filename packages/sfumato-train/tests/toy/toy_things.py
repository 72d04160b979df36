"""What the toy plugin announces."""

from __future__ import annotations

import json
import os
import time
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from sfumato import Batch, InputError, Maybe, Model, Preconditioned, random
from sfumato_data import Tensors
from sfumato_eval import SlicedWasserstein
from sfumato_methods.gaussian import linear
from sfumato_methods.grids import uniform
from sfumato_methods.solvers import Heun
from sfumato_train import Denoising, Loss, Objective, Recipe, Training

CENTRES = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])


def points(n, seed=0):
    """Three round clouds, and the cloud that each point is of."""
    label = random.integers(0, 3, (n,), random.derive(seed, "label"))
    x = CENTRES[label] + 0.3 * random.normal(torch.empty(n, 2), random.derive(seed, "x"))
    about = {"classes": ["a", "b", "c"], "shape": (2,)}
    return Tensors(x, {"label": label}, about)


class Points:
    name = "toy/points"

    def read(self, path, **options):
        path = path / "points.npy" if path.is_dir() else path
        if not path.exists():
            raise InputError(f"{path} is missing")
        x = torch.from_numpy(np.load(path))
        return Tensors(x, {"label": torch.zeros(len(x), dtype=torch.long)}, points(1).about)

    def demo(self):
        return points(400)

    def write(self, batch, path, about):
        np.save(path / "points.npy", batch.x.numpy())
        time.sleep(float(os.environ.get("TOY_PAUSE", "0")))  # time to be killed in
        return [path / "points.npy"]

    def preview(self, batch, path, about):
        path.write_text(json.dumps(batch.x.tolist()))
        return path

    def metrics(self, train):
        return [SlicedWasserstein()]

    def condition(self, values, n, about):
        return {"label": torch.full((n,), int(values["label"]))} if "label" in values else {}


class Net(nn.Module):
    """An MLP of (x, clock, label), the fourth label being none; dropout only to draw from torch."""

    def __init__(self, width, dropout):
        super().__init__()
        self.label = nn.Embedding(4, width)
        self.inward = nn.Linear(3, width)
        self.body = nn.Sequential(
            nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)
        )
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def encode(self, label):
        if isinstance(label, Maybe):
            label = torch.where(label.present, label.value, 3)
        return {"about": self.label(label)}

    def forward(self, x, clock, about=None):
        self.calls += self.training
        about = self.label.weight[3] if about is None else about
        return self.body(self.inward(torch.cat([x, 0.2 * clock[:, None]], 1)) + about)


class Toy(Recipe):
    domain: ClassVar[str] = "toy/points"

    width: int = Field(16, ge=1, le=512, description="of the network")
    dropout: float = Field(0.0, ge=0, lt=1, description="of the network")
    steps: int = Field(20, ge=1, description="optimiser steps")
    batch: int = Field(32, ge=1, description="points in each step")

    def model(self, about):
        process = linear()
        net = Net(self.width, self.dropout)
        size = about["shape"][0]
        return Model(
            process,
            Preconditioned(net, process, "flow"),
            Heun(),
            uniform,
            10,
            lambda n, generator: torch.zeros(n, size),
        )


class Poison(Denoising):
    """Whose loss, or gradient, is not finite from a step on."""

    at = 12
    where = "loss"

    def __init__(self, *args):
        super().__init__(*args)
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def loss(self, player, batch, generator):
        loss = super().loss(player, batch, generator)
        bad = torch.where(self.step >= self.at, torch.nan, 0.0)
        if self.where == "loss":
            return Loss(loss.each + bad)
        weight = next(self.denoiser.parameters())
        weight.register_hook(lambda gradient: gradient + bad)
        return loss

    def after(self, player, step):
        self.step += 1


class Poisoned(Toy):
    def build(self, data):
        model = self.model(data.about)
        return Training(Poison(model.process, model.denoiser), data, model)


class Contest(Objective):
    """Two players on one number line: each is drawn to where the other was last."""

    def __init__(self, denoiser):
        super().__init__()
        self.denoiser = denoiser
        self.critic = nn.Linear(2, 1)
        self.register_buffer("seen", torch.zeros(2, dtype=torch.long))

    def players(self):
        return {"denoiser": self.denoiser, "critic": self.critic}

    def turns(self, step):
        return ("critic", "critic", "denoiser") if step % 2 else ("critic", "denoiser")

    def loss(self, player, batch, generator):
        x = batch.x + 0.1 * random.normal(batch.x, generator)
        made = self.denoiser(x, torch.full((len(x),), 0.5, dtype=torch.float64)).mean
        if player == "critic":
            gap = self.critic(x) - self.critic(made.detach())
            return Loss((gap[:, 0] - 1).square(), {"gap": gap.detach()})
        return Loss(-self.critic(made)[:, 0] + made.square().sum(1))

    def after(self, player, step):
        self.seen[("critic", "denoiser").index(player)] += 1

    def validate(self, batch, generator):
        return None


class Duel(Toy):
    def build(self, data):
        model = self.model(data.about)
        return Training(Contest(model.denoiser), data, model)


class Mute(nn.Module):
    """Which cloud a point is of; it draws nothing and codes nothing."""

    def __init__(self):
        super().__init__()
        self.inward = nn.Linear(2, 3)

    def forward(self, x):
        return self.inward(x)


class Judge(Mute):
    def shown(self, batch):
        return Batch(self(batch.x))


class Guess(Objective):
    def __init__(self, judge):
        super().__init__()
        self.judge = judge

    def players(self):
        return {"judge": self.judge}

    def loss(self, player, batch, generator):
        logits = self.judge(batch.x)
        return Loss(nn.functional.cross_entropy(logits, batch.condition["label"], reduction="none"))


class Judging(Recipe):
    domain: ClassVar[str] = "toy/points"

    def trained(self, about):
        return Judge()

    def build(self, data):
        judge = self.trained(data.about)
        return Training(Guess(judge), data, judge)
