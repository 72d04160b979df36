"""The public recipe as its formulas say, and the trial in small."""

from __future__ import annotations

import pytest
import torch

from sfumato import Ragged, random
from sfumato.survey import Trial
from sfumato_molecules.space import blank
from sfumato_molecules.systems.e3diffusion import system
from sfumato_molecules.systems.edm import NoiseDenoiser, OneHot, PaddedNetwork, _Noised, polynomial


def test_the_polynomial_schedule_is_that_of_the_paper():
    table = polynomial()
    k = torch.tensor([1, 250, 500, 750]).double()
    wanted = (1 - 2e-5) * (1 - (k / 1000) ** 2) ** 2 + 1e-5
    torch.testing.assert_close(table.alpha(k / 1000).square(), wanted, rtol=1e-6, atol=0)
    assert 0 < float(table.alpha(torch.ones(()).double())) < 0.01


def test_the_padded_network_turns_with_the_molecule_and_reads_no_padding():
    torch.manual_seed(0)
    net = PaddedNetwork(4, 16, 2).double()
    with torch.no_grad():
        for layer in net.layers:
            layer.move[-1].weight.mul_(1000)
    generator = random.derive(0, "points")
    x = random.normal(torch.empty(2, 6, 3).double(), generator)
    h = random.normal(torch.empty(2, 6, 4).double(), generator)
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
    time = torch.tensor([0.3, 0.7]).double()
    turn = torch.linalg.qr(random.normal(torch.empty(3, 3).double(), generator)).Q
    shift, out = net(x, h, time, mask)
    turned, same = net(x @ turn.T + 3.0, h, time, mask)
    torch.testing.assert_close(turned, shift @ turn.T, rtol=0, atol=1e-6)
    torch.testing.assert_close(same, out, rtol=0, atol=1e-6)
    other = x.clone()
    other[1, 4:] = 9.0
    torch.testing.assert_close(net(other, h, time, mask)[0][1, :4], shift[1, :4])
    assert float(shift.detach().abs().max()) > 1e-3


def test_a_perfect_network_gives_the_clean_molecules_back():
    """x0 = (x - sigma eps)/alpha, and the loss is that of the noise."""
    process, codec = _Noised(5), OneHot(3)
    clean = blank(torch.tensor([5, 2]))
    places = random.normal(clean["positions"], random.derive(1, "x"))
    x0 = codec.layout({**clean, "positions": places})
    t = torch.tensor([0.3, 0.8]).double()
    x = process.draw(x0, t, random.derive(2, "noise")).x
    part = process.part("positions")

    class Perfect(torch.nn.Module):
        def forward(self, places, atoms, time, mask):
            found = []
            for name, seen in (("positions", places), ("atoms", atoms)):
                alpha, sigma = (f(t).float()[x[name].owner, None] for f in (part.alpha, part.sigma))
                eps = torch.zeros_like(seen)
                eps[mask] = (x[name].data - alpha * x0[name].data) / sigma + 1.0
                found.append(eps)
            return found

    q = NoiseDenoiser(Perfect(), process)(x, t)
    loss = q["atoms"].loss(x0["atoms"])
    torch.testing.assert_close(loss, torch.ones(2).double(), rtol=1e-4, atol=1e-4)
    back = codec.decode({name: q[name].mean for name in x0})
    assert isinstance(back["atoms"], Ragged) and not back["atoms"].data.any()


@pytest.mark.slow
def test_the_trial_runs_in_small(tmp_path):
    found = system.trial(Trial(100, 0.01, "cpu", tmp_path, 1.0))
    assert set(found) == {claim.key for claim in system.claims}
    assert all(measured.n == 2 for measured in found.values())
    assert 0 <= found["atoms"].method <= 1 and 0 < found["atoms"].baseline <= 1
    assert 0 <= found["novel"].ratio <= 1
