"""The objective of codecs, on codecs of this file alone."""

import os
import socket
import subprocess
import sys
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from sfumato import Batch, InputError, random
from sfumato_train.coding import Autoencoding, Critic, reconstruct, side_by_side


class Told(NamedTuple):
    x: Tensor
    z: Tensor
    cost: Tensor
    parts: dict[str, Tensor]


class Scaled(nn.Module):
    """Multiplies by a learned number, and counts what it has seen."""

    exact = None

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.register_buffer("seen", torch.zeros(()))

    def encode(self, x, generator):
        return x * self.scale

    def decode(self, z):
        return z

    def forward(self, x, generator):
        z = self.encode(x, generator)
        return Told(z, z, torch.full((len(x),), 0.25), {"told": self.scale.detach()})

    def observe(self, z, generator):
        self.seen += z.sum()


X = random.normal(torch.empty(4, 1, 16, 16), random.derive(0, "x"))


def test_the_loss_is_the_formula():
    objective = Autoencoding(Scaled(), look=lambda x: x.flatten(1)[:, :3], look_weight=2.0)
    found = objective.loss("autoencoder", Batch(X), random.derive(0, "l"))
    gap = (0.5 * X - X).flatten(1)
    error = gap.abs().mean(1) + gap.square().mean(1)
    far = gap[:, :3].square().mean(1)
    torch.testing.assert_close(found.each, error + 0.25 + 2 * far)
    torch.testing.assert_close(found.parts["error"], error)
    torch.testing.assert_close(found.parts["features"], far)
    assert found.parts["told"] == 0.5


def test_only_training_is_observed():
    objective = Autoencoding(Scaled())
    objective.validate(Batch(X), random.derive(0, "v"))
    assert objective.codec.seen == 0
    objective.loss("autoencoder", Batch(X), random.derive(0, "l"))
    torch.testing.assert_close(objective.codec.seen, 0.5 * X.sum())


def test_the_verdict_counts_from_its_step_on():
    with torch.random.fork_rng():
        critic = Critic(1, 4)
    objective = Autoencoding(Scaled(), critic=critic, critic_weight=0.5, critic_start=3)
    assert [objective.turns(step) for step in (0, 2, 3)] == [
        ("autoencoder",),
        ("autoencoder",),
        ("autoencoder", "critic"),
    ]
    before = objective.loss("autoencoder", Batch(X), random.derive(0, "l")).each
    for step in range(3):
        objective.after("autoencoder", step)
    after = objective.loss("autoencoder", Batch(X), random.derive(0, "l")).each
    verdict = critic(0.5 * X).flatten(1).mean(1)
    torch.testing.assert_close(after, before - 0.5 * verdict)


def test_reconstructions_keep_conditions_and_do_not_depend_on_the_batch():
    data = Batch(X, {"label": torch.arange(4)})
    whole, parts = (reconstruct(Scaled(), data, 0, batch=n) for n in (4, 3))
    assert torch.equal(whole.x, 0.5 * X)
    assert torch.equal(whole.x, parts.x)
    assert torch.equal(whole.condition["label"], torch.arange(4))
    pairs = side_by_side(Scaled(), data, 0).x
    assert torch.equal(pairs[::2], X)
    assert torch.equal(pairs[1::2], 0.5 * X)


@pytest.mark.parametrize("options", [{"look_weight": -1.0}, {"critic_weight": -1.0}])
def test_negative_weights_are_refused(options):
    with pytest.raises(InputError, match="weights are positive"):
        Autoencoding(Scaled(), **options)


TOGETHER = """
import os, torch
from sfumato import Batch, random
from sfumato_nn.autoencoder import VQ
from sfumato_train.coding import Autoencoding
torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
torch.manual_seed(0)
codec = VQ(1, (8, 8), widths=(4, 4), codes=8)
objective = Autoencoding(codec)
for step in range(3):
    source = random.derive(0, step, rank)
    x = random.normal(torch.empty(8, 1, 8, 8), source)
    objective.loss("autoencoder", Batch(x), source)
    objective.after("autoencoder", step)
for value in codec.buffers():
    both = [torch.empty_like(value) for _ in range(2)]
    torch.distributed.all_gather(both, value)
    assert torch.equal(*both)
assert codec.quantiser.used.sum() > 0
torch.distributed.destroy_process_group()
"""


def test_processes_that_train_together_have_one_code_book():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER],
            env={**os.environ, **told, "RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]
    for one in both:
        assert one.wait(120) == 0, one.stderr.read().decode()
        one.stderr.close()
