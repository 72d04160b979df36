"""Trajectories: the simulator keeps what it should, the network turns with its input."""

from __future__ import annotations

import pytest
import torch

from sfumato import random
from sfumato.survey import Trial
from sfumato_molecules.systems import nbody
from sfumato_molecules.systems.geotdm import system
from sfumato_molecules.trajectories import TrajectoryNetwork


def test_the_mean_of_the_particles_moves_evenly():
    middle = nbody.simulate(20, 3, frames=11)[0].mean(2)
    drift = middle[:, 1:] - middle[:, :-1]
    torch.testing.assert_close(drift, drift[:, :1].expand_as(drift), rtol=0, atol=1e-9)


def test_particles_keep_their_energy(monkeypatch):
    monkeypatch.setattr(nbody, "BETWEEN", 1)
    monkeypatch.setattr(nbody, "STEP", 1e-3)
    x, charge = nbody.simulate(20, 3, frames=401)
    v = (x[:, 2:] - x[:, :-2]) / 2e-3
    x = x[:, 1:-1]
    first, last = (nbody.energy(x[:, i], v[:, i], charge) for i in (0, -1))
    assert float((v[:, -1] - v[:, 0]).norm(dim=-1).mean()) > 0.1  # they did pull
    assert float((last - first).abs().max()) < 1e-3


@torch.no_grad()
def test_the_network_turns_moves_and_permutes_with_the_points():
    torch.manual_seed(0)
    net = TrajectoryNetwork(7, 16, 2).double()
    for parameter in net.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    generator = random.derive(0, "points")
    past = random.normal(torch.empty(2, 3, 4, 3).double(), generator)
    y = random.normal(torch.empty(2, 4, 4, 3).double(), generator)
    charge = random.integers(0, 2, (2, 4), generator).double()
    clock = torch.tensor([-0.5, 0.5]).double()
    plain = net(y, clock, past, charge)
    turn = torch.linalg.qr(random.normal(torch.empty(3, 3).double(), generator)).Q
    turned = net(y @ turn.T, clock, past @ turn.T + 4.0, charge)
    torch.testing.assert_close(turned, plain @ turn.T, rtol=0, atol=1e-10)
    order = torch.tensor([2, 0, 3, 1])
    other = net(y[:, :, order], clock, past[:, :, order], charge[:, order])
    torch.testing.assert_close(other, plain[:, :, order], rtol=0, atol=1e-10)
    alone = net(y[1:], clock[1:], past[1:], charge[1:])
    torch.testing.assert_close(alone, plain[1:], rtol=0, atol=1e-10)
    assert float(plain.abs().mean()) > 1e-2


@torch.no_grad()
def test_time_has_a_direction():
    torch.manual_seed(0)
    net = TrajectoryNetwork(6, 16, 2).double()
    for parameter in net.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    past = random.normal(torch.empty(1, 3, 4, 3).double(), random.derive(0, "p"))
    y, clock = torch.zeros(1, 3, 4, 3).double(), torch.zeros(1).double()
    mixed = past[:, [1, 0, 2]]
    gap = net(y, clock, past, torch.ones(1, 4).double()) - net(
        y, clock, mixed, torch.ones(1, 4).double()
    )
    assert float(gap.abs().max()) > 1e-3


def test_what_follows_is_told_from_the_last_known_places():
    x, charge = nbody.simulate(4, 0, frames=6)
    data = nbody.Trajectories(x, charge, 2)
    batch = data.batch([3, 1])
    torch.testing.assert_close(
        batch.condition["past"][:, -1:] + batch.x, x[[3, 1], 2:].float(), rtol=0, atol=1e-6
    )


@pytest.mark.slow
def test_the_trial_runs_in_small(tmp_path):
    found = system.trial(Trial(100, 0.01, "cpu", tmp_path, 1.0))
    assert set(found) == {claim.key for claim in system.claims}
    assert all(measured.method > 0 and measured.n == 5 for measured in found.values())
