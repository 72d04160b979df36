"""The equivariant network: its symmetries, its formula, and what it does not read."""

from __future__ import annotations

import pytest
import torch

from sfumato import InputError, Padded, Ragged
from sfumato.state import select
from sfumato_nn.equivariant import EquivariantNetwork, Geometry, pairs

SIZES = (5, 1, 9, 2, 7)


@pytest.fixture
def points(noise):
    owner = torch.repeat_interleave(torch.tensor(SIZES))
    return Ragged(noise(len(owner), 3).double(), owner, len(SIZES))


@pytest.fixture
def given(points, noise):
    """Arguments of a network of three numbers for a point and two for a pair."""
    count = len(pairs(points).owner)
    return {
        "clock": torch.linspace(-3, 3, len(SIZES)),
        "nodes": noise(len(points.data), 3, seed=2).double(),
        "bonds": noise(count, 2, seed=3).double(),
    }


def network(awake, **options):
    options = {"pairs": 2, "pairs_out": 4, "width": 24, "depth": 3} | options
    return awake(EquivariantNetwork(3, 5, **options)).double()


def turns(count, proper=False):
    """Random orthogonal matrices, proper ones (rotations) or of either kind."""
    generator = torch.Generator().manual_seed(7)
    normal = torch.randn(count, 3, 3, generator=generator, dtype=torch.float64)
    q = torch.linalg.qr(normal).Q
    sign = torch.linalg.det(q).sign() * (1 if proper else (-1.0) ** torch.arange(count))
    return q * sign[:, None, None]


@torch.no_grad()
def gap(found, wanted) -> float:
    """Root mean square of the difference, over that of what is wanted."""
    return max(
        float((a - b).square().mean().sqrt() / b.square().mean().sqrt())
        for a, b in zip(found, wanted, strict=True)
    )


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("chiral", [False, True])
@torch.no_grad()
def test_it_turns_and_moves_with_its_input(awake, points, given, dtype, limit, chiral):
    net = network(awake, chiral=chiral).to(dtype)
    given = {name: value.to(dtype) for name, value in given.items()}

    def at(x):
        return net(Ragged(x.to(dtype), points.owner, points.items), **given)

    plain = at(points.data)
    assert all(part.square().mean() > 0.01 for part in plain)
    generator = torch.Generator().manual_seed(3)
    for turn in turns(100, proper=chiral):
        move = 20 * torch.rand(3, generator=generator, dtype=torch.float64) - 10
        wanted = plain._replace(shift=(plain.shift.double() @ turn.T).to(dtype))
        assert gap(at(points.data @ turn.T + move), wanted) < limit


@torch.no_grad()
def test_only_a_chiral_network_tells_mirrored_points_apart(awake, points, given):
    mirror = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    mirrored = Ragged(points.data @ mirror, points.owner, points.items)
    for chiral in (False, True):
        net = network(awake, chiral=chiral)
        plain, other = net(points, **given), net(mirrored, **given)
        apart = float((plain.nodes - other.nodes).abs().max())
        assert (apart > 1e-3) if chiral else (apart < 1e-12)


@torch.no_grad()
def test_permuted_points_give_permuted_output(awake, points, given):
    net = network(awake)
    plain = net(points, **given)
    every = pairs(points)
    generator = torch.Generator().manual_seed(5)
    for _ in range(100):
        order = torch.cat(
            [
                start + torch.randperm(n, generator=generator)
                for n, start in zip(SIZES, (0, 5, 6, 15, 17), strict=True)
            ]
        )
        table = torch.full((24, 24), -1)
        table[every.later, every.earlier] = table[every.earlier, every.later] = torch.arange(
            len(every.owner)
        )
        kept = table[order[every.later], order[every.earlier]]
        found = net(
            Ragged(points.data[order], points.owner, points.items),
            given["clock"],
            given["nodes"][order],
            given["bonds"][kept],
        )
        wanted = Geometry(plain.shift[order], plain.nodes[order], plain.pairs[kept])
        assert gap(found, wanted) < 1e-12


@torch.no_grad()
def test_an_item_is_alone_what_it_is_in_a_batch_and_in_padding(awake, points, given):
    net = network(awake)
    plain, every = net(points, **given), pairs(points)
    padded = Padded(torch.full((5, 9, 3), 7.0).double(), torch.arange(9) < points.counts[:, None])
    padded.data[padded.mask] = points.data
    unpadded = Ragged(padded.data[padded.mask], padded.mask.nonzero()[:, 0], len(padded.mask))
    assert gap(net(unpadded, **given), plain) == 0
    for item in range(points.items):
        rows, own = points.owner == item, every.owner == item
        alone = net(
            select(points, torch.tensor([item])),
            given["clock"][item : item + 1],
            given["nodes"][rows],
            given["bonds"][own],
        )
        torch.testing.assert_close(alone.shift, plain.shift[rows], rtol=0, atol=1e-12)
        torch.testing.assert_close(alone.nodes, plain.nodes[rows], rtol=0, atol=1e-12)
        torch.testing.assert_close(alone.pairs, plain.pairs[own], rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_layer_is_its_formula(awake, points, noise):
    """Point by point, without lists of pairs, without sharing."""
    net = network(awake, pairs=0, pairs_out=0, depth=1, chiral=True)
    layer = net.layers[0]
    x, signal = points.data, noise(len(SIZES), 24, seed=4).double()
    h = noise(len(x), 24, seed=5).double()
    found = layer(h, x, signal, pairs(points), None, points)

    gain, shift = layer.told(signal)[points.owner].chunk(2, -1)
    a = layer.norm(h) * (1 + gain) + shift
    to, by = layer.ends(a).chunk(2, -1)
    mu = torch.arange(16).double() / 15
    for i in range(len(x)):
        others = [j for j in range(len(x)) if j != i and points.owner[j] == points.owner[i]]
        middle = x[points.owner == points.owner[i]].mean(0)
        told, moved = torch.zeros(24).double(), torch.zeros(3).double()
        for j in others:
            d = (x[i] - x[j]).norm()
            radial = torch.exp(-128 * (torch.exp(-d) - mu).square())
            m = torch.nn.functional.silu(to[i] + by[j] + layer.edge(radial))
            m = torch.nn.functional.silu(layer.message(m))
            told += layer.gate(m).sigmoid() * m / 4
            push, twist = layer.moves(m)
            cross = torch.linalg.cross(x[i] - middle, x[j] - middle)
            moved += push * (x[i] - x[j]) / (d + 1) + twist * cross / (cross.norm() + 1)
        wanted = h[i] + layer.node(torch.cat((a[i], told)))
        torch.testing.assert_close(found[0][i], wanted, rtol=0, atol=1e-6)
        torch.testing.assert_close(found[1][i], moved, rtol=0, atol=1e-6)


@torch.no_grad()
def test_layers_see_the_points_moved_by_the_noise_that_the_clock_tells(awake, points, noise):
    net = network(awake, pairs=0, pairs_out=0, depth=2)
    clock, nodes = torch.full((len(SIZES),), -0.7).double(), noise(24, 3, seed=2).double()
    signal = torch.nn.functional.silu(net.clock(clock))
    every, x = pairs(points), points.data
    own = points.counts.double().log1p()[points.owner, None]
    h = net.node_in(torch.cat((nodes, own), -1))
    h, first = net.layers[0](h, x, signal, every, None, points)
    sigma = torch.tensor(-0.7).double().exp()
    moved = x + first * sigma / (1 + sigma**2).sqrt()
    _, second = net.layers[1](h, moved, signal, every, None, points)
    torch.testing.assert_close(net(points, clock, nodes).shift, first + second, rtol=0, atol=1e-9)


def test_pairs_stand_by_their_later_row(points):
    found = pairs(points)
    wanted, start = [], 0
    for item, n in enumerate(SIZES):
        wanted += [(start + j, start + i, item) for j in range(n) for i in range(j)]
        start += n
    assert list(zip(*(part.tolist() for part in found), strict=True)) == wanted


@torch.no_grad()
def test_beyond_the_radius_nothing_is_heard(awake, points, given):
    near, far = network(awake, radius=3.0, pairs_out=0), network(awake, radius=60.0, pairs_out=0)
    wide = network(awake, pairs_out=0)
    assert gap(far(points, **given)[:2], wide(points, **given)[:2]) == 0
    assert gap(near(points, **given)[:2], wide(points, **given)[:2]) > 1e-3
    split = points.data.clone()
    split[:2] += 100.0  # two points of the first item, far from its three others

    def first(x, clock):
        return near(Ragged(x, points.owner, 5), clock, given["nodes"], given["bonds"]).shift[:2]

    moved = split.clone()
    moved[2:5] *= 1.5
    torch.testing.assert_close(first(split, given["clock"]), first(moved, given["clock"]))


def test_gradients_are_finite_where_points_coincide(awake, points, given):
    net = network(awake, chiral=True)
    x = torch.zeros_like(points.data).requires_grad_()
    out = net(Ragged(x, points.owner, points.items), **given)
    sum(part.sum() for part in out).backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


def test_a_fresh_network_moves_nothing_and_learns(points, given):
    net = EquivariantNetwork(3, 5, pairs=2, pairs_out=4, width=16, depth=2, vector=1).double()
    out = net(points, **given)
    assert not any(part.any() for part in out)
    (out.shift - points.data).square().sum().backward()
    assert net.layers[0].moves.weight.grad.any()


def test_a_condition_is_heard(awake, points, given):
    net = awake(EquivariantNetwork(3, 5, pairs=2, width=16, depth=2, vector=1)).double()
    value = torch.linspace(-1, 1, 5)[:, None].double()
    plain, told = net(points, **given), net(points, **given, **net.encode(vector=value))
    assert gap(told[:2], plain[:2]) > 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": None}, r"takes nodes \(24, 3\), but got \(24, 0\)"),
        ({"bonds": torch.zeros(3, 2)}, r"takes pairs \(68, 2\), but got \(3, 2\)"),
    ],
    ids=["nodes", "bonds"],
)
def test_wrong_input_is_refused(points, given, change, message):
    net = EquivariantNetwork(3, 5, pairs=2, width=16, depth=1).double()
    with pytest.raises(InputError, match=message):
        net(points, **(given | change))
    with pytest.raises(InputError, match="radius must be positive"):
        EquivariantNetwork(3, 5, radius=0.0)
