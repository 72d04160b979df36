"""The network of trajectories: it moves, turns and mirrors with the points."""

import pytest
import torch

from sfumato import InputError
from sfumato_nn.trajectory import Recall, TrajectoryNetwork, last


def shaken(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for weight in module.parameters():
        weight.data.normal_(0, 0.3, generator=generator)
    return module


def case(dtype=torch.float64, dims=3):
    g = torch.Generator().manual_seed(1)
    x, past = (torch.randn(2, 4, f, dims, generator=g, dtype=dtype) for f in (6, 3))
    return (
        x,
        torch.randn(2, generator=g, dtype=dtype),
        past,
        torch.randn(2, 4, 2, generator=g, dtype=dtype),
    )


def moves(dims, seed):
    g = torch.Generator().manual_seed(seed)
    turn, _ = torch.linalg.qr(torch.randn(dims, dims, generator=g, dtype=torch.float64))
    return turn, 20 * torch.rand(dims, generator=g, dtype=torch.float64) - 10


@pytest.mark.parametrize("dims", [2, 3])
def test_displacements_turn_mirror_and_permute_with_the_points(dims):
    net = shaken(TrajectoryNetwork(2, width=16, depth=2, heads=2)).double()
    x, clock, past, kind = case(dims=dims)
    want = net(x, clock, past, kind)
    for seed in range(100):
        turn, shift = moves(dims, seed)
        order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
        found = net(
            (x @ turn + shift)[:, order], clock, (past @ turn + shift)[:, order], kind[:, order]
        )
        error = (found - (want @ turn)[:, order]).square().mean().sqrt()
        assert error < 1e-12 * want.square().mean().sqrt()


def test_single_precision_stays_within_a_hundred_thousandth():
    net = shaken(TrajectoryNetwork(2, width=16, depth=2, heads=2))
    x, clock, past, kind = case(torch.float32)
    want = net(x, clock, past, kind)
    for seed in range(100):
        turn, shift = (each.float() for each in moves(3, seed))
        found = net(x @ turn + shift, clock, past @ turn + shift, kind)
        error = (found - want @ turn).square().mean().sqrt()
        assert error < 1e-5 * want.square().mean().sqrt()


def test_attention_along_time_is_that_of_the_paper():
    net = shaken(TrajectoryNetwork(2, width=8, depth=1, heads=2)).double()
    layer = net.layers[1]
    g = torch.Generator().manual_seed(2)
    x = torch.randn(1, 3, 5, 3, generator=g, dtype=torch.float64)
    h = torch.randn(1, 3, 5, 8, generator=g, dtype=torch.float64)
    moved, said = layer(x, h)
    a = layer.norm(h)
    q, k, v = (y.unflatten(-1, (2, 4)) for y in layer.inward(a).chunk(3, -1))
    own = layer.when(a).unflatten(-1, (2, -1))
    rates = torch.logspace(
        torch.log10(torch.tensor(2 * torch.pi / 128, dtype=torch.float64)).item(),
        torch.log10(torch.tensor(2 * torch.pi / 2, dtype=torch.float64)).item(),
        8,
        dtype=torch.float64,
    )
    gap = (torch.arange(5)[:, None] - torch.arange(5)).double()[..., None] * rates
    psi = torch.cat([gap.sin(), gap.cos()], -1)
    score = torch.einsum("bnthc,bnshc->bnhts", q, k) + torch.einsum("bnthr,tsr->bnhts", own, psi)
    weight = (score / (4 + 16) ** 0.5).softmax(-1)
    heard = torch.einsum("bnhts,bnshc->bnthc", weight, v).flatten(-2)
    move = layer.moves(torch.nn.functional.silu(v))[..., 0]
    away = x[:, :, :, None] - x[:, :, None]
    step = torch.einsum("bnhts,bnsh,bntsd->bnthd", weight, move, away).mean(3)
    assert torch.allclose(moved, x + step, atol=1e-12)
    assert torch.allclose(said, h + layer.outward(heard), atol=1e-12)


def test_a_fresh_network_moves_nothing_and_a_fresh_reference_repeats_the_last_frame():
    x, clock, past, kind = case(torch.float32)
    assert torch.equal(TrajectoryNetwork(2)(x, clock, past, kind), torch.zeros_like(x))
    recall = Recall(TrajectoryNetwork(2, clocked=False), 6, 32)
    assert torch.equal(recall({"past": past, "kind": kind}), last(past, 6))


def test_the_reference_moves_with_the_points():
    recall = shaken(Recall(TrajectoryNetwork(2, width=8, depth=1, clocked=False), 6, 8)).double()
    _, _, past, kind = case()
    want, (turn, shift) = recall({"past": past, "kind": kind}), moves(3, 3)
    found = recall({"past": past @ turn + shift, "kind": kind})
    assert torch.allclose(found, want @ turn + shift, atol=1e-11)


def test_one_point_and_one_frame_have_finite_gradients():
    net = shaken(TrajectoryNetwork(1, width=8, depth=1, heads=2)).double()
    x = torch.zeros(1, 1, 1, 3, dtype=torch.float64, requires_grad=True)
    one = torch.zeros(1, 1, 1, dtype=torch.float64)
    net(
        x, torch.zeros(1, dtype=torch.float64), torch.zeros(1, 1, 2, 3).double(), one
    ).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="kinds"):
        TrajectoryNetwork(0)
    with pytest.raises(InputError, match="heads"):
        TrajectoryNetwork(1, width=10, heads=4)
    x, clock, past, kind = case()
    with pytest.raises(InputError, match="numbers of a point"):
        TrajectoryNetwork(3).double()(x, clock, past, kind)
