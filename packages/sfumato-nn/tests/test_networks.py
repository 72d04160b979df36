"""What holds for the U-Net and the DiT alike."""

import copy

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from sfumato import InputError, Maybe
from sfumato_nn.dit import DiT
from sfumato_nn.unet import UNet

SIZES = {1: (13,), 2: (9, 7), 3: (5, 4, 3)}


def unet(space=2, **options):
    return UNet(2, space=space, widths=(8, 16), blocks=1, attention=(1,), head=8, **options)


def dit(space=2, **options):
    return DiT(2, space=space, width=24, depth=2, heads=2, **options)


both = pytest.mark.parametrize("build", [unet, dit])


def train(net, x, clock, context, steps):
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(steps):
        optimiser.zero_grad()
        (net(x, clock, **context()) - x).square().mean().backward()
        optimiser.step()


@both
@pytest.mark.parametrize("space", [1, 2, 3])
def test_output_is_zero_at_first_and_soon_every_parameter_learns(build, space, noise):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build(space, classes=3, vector=4)
    x, clock = noise(6, 2, *SIZES[space]), torch.linspace(-8, 8, 6)
    assert torch.equal(net(x, clock), torch.zeros_like(x))
    present = torch.tensor([True, False] * 3)

    def context():
        return net.encode(
            label=Maybe(torch.arange(6) % 3, present), vector=Maybe(noise(6, 4), present)
        )

    # One step wakes the last layer, the next the gates in front of it, then all get gradients.
    train(net, x, clock, context, 3)
    silent = [name for name, p in net.named_parameters() if not p.grad.abs().max() > 0]
    assert not silent


@both
@pytest.mark.parametrize("space", [1, 2, 3])
def test_an_item_does_not_depend_on_its_neighbours(build, space, noise, awake):
    net = awake(build(space, classes=3))
    x, clock, label = noise(5, 2, *SIZES[space]), noise(5, seed=3), torch.arange(5) % 3
    batch = net(x, clock, **net.encode(label=label))
    for i in range(5):
        one = slice(i, i + 1)
        alone = net(x[one], clock[one], **net.encode(label=label[one]))
        torch.testing.assert_close(alone, batch[one], atol=1e-5, rtol=1e-5)
    assert batch.std() > 0.1


@both
def test_any_size_fits(build, noise, awake):
    net = awake(build())
    for size in [(1, 1), (1, 6), (2, 3), (8, 8), (15, 4)]:
        y = net(noise(2, 2, *size), torch.zeros(()))
        assert y.shape == (2, 2, *size)
        assert y.isfinite().all()


@both
def test_clock_shared_is_clock_per_item(build, noise, awake):
    net, x = awake(build()), noise(3, 2, 6, 6)
    assert torch.equal(net(x, torch.tensor(0.7)), net(x, torch.full((3,), 0.7)))
    assert not torch.allclose(net(x, torch.tensor(0.7)), net(x, torch.tensor(0.9)), atol=1e-3)


@both
def test_condition_dropout_equals_the_unconditional_call(build, noise, awake):
    net = awake(build(classes=3, vector=4))
    x, clock, vector = noise(4, 2, 6, 6), noise(4, seed=2), noise(4, 4)
    present = torch.tensor([True, False, False, True])
    label = Maybe(torch.tensor([2, 1, 0, 0]), present)
    y = net(x, clock, **net.encode(label=label, vector=Maybe(vector, present)))
    null = net(x, clock)
    assert torch.equal(y[~present], null[~present])
    assert (y - null)[present].abs().amax(dim=(1, 2, 3)).min() > 1e-3
    assert net.encode() == {}


@both
def test_labels_matter_after_training_starts(build, noise):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build(classes=2)
    x, clock = noise(4, 2, 6, 6), torch.zeros(4)
    zero, one = torch.zeros(4).long(), torch.ones(4).long()
    assert torch.equal(net(x, clock, **net.encode(label=zero)), net(x, clock))
    train(net, x, clock, lambda: net.encode(label=torch.arange(4) % 2), 2)
    a, b = (net(x, clock, **net.encode(label=label)) for label in (zero, one))
    assert (a - b).abs().max() > 1e-6


@both
def test_other_output_channels(build, noise, awake):
    assert awake(build(out=5))(noise(2, 2, 4, 6), torch.zeros(2)).shape == (2, 5, 4, 6)


@both
def test_bfloat16_autocast_is_close_and_its_gradients_are_finite(build, noise, awake):
    net = awake(build(classes=3)).train()
    x, clock, label = noise(4, 2, 8, 8), noise(4, seed=2), torch.tensor([0, 1, 2, 0])
    exact = net(x, clock, **net.encode(label=label))
    with torch.autocast("cpu", torch.bfloat16):
        y = net(x, clock, **net.encode(label=label))
    assert (y.float() - exact).norm() < 0.05 * exact.norm()
    y.float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters())


@both
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_network_keeps_its_dtype(build, noise, awake, dtype):
    net = awake(build(classes=3))
    x, clock, label = noise(2, 2, 6, 6), noise(2, seed=2), torch.tensor([0, 2])
    exact = net(x, clock, **net.encode(label=label))
    net = copy.deepcopy(net).to(dtype)
    y = net(x.to(dtype), clock, **net.encode(label=label))
    assert y.dtype is dtype
    tolerance = 1e-5 if dtype is torch.float64 else 0.1
    assert (y.float() - exact).norm() < tolerance * exact.norm()


@both
def test_weights_survive_a_round_trip_and_are_plain_in_memory(build, noise, awake):
    net = awake(build(classes=3, vector=4))
    other = build(classes=3, vector=4).eval()
    other.load_state_dict(copy.deepcopy(net.state_dict()), strict=True)
    x = noise(2, 2, 5, 5)
    assert torch.equal(net(x, torch.zeros(2)), other(x, torch.zeros(2)))
    assert all(weight.is_contiguous() for weight in net.state_dict().values())


@both
def test_calls_change_nothing_and_draw_nothing(build, noise, awake):
    net, x = awake(build()).train(), noise(2, 2, 5, 5)
    before, kept, state = copy.deepcopy(net.state_dict()), x.clone(), torch.get_rng_state()
    net(x, torch.zeros(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, kept)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


@both
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_the_plain_kernel_gives_forward_mode_and_second_derivatives(build, noise, awake):
    net = awake(build()).double()
    x, v = noise(1, 2, 4, 4).double(), noise(1, 2, 4, 4, seed=2).double()
    clock, step = torch.zeros(1), 1e-5

    def call(x):
        return net(x, clock)

    with sdpa_kernel(SDPBackend.MATH):
        _, forward = torch.func.jvp(call, (x,), (v,))
        second = torch.func.grad(lambda x: (torch.func.grad(lambda x: call(x).sum())(x) * v).sum())(
            x
        )
    difference = (call(x + step * v) - call(x - step * v)) / (2 * step)
    torch.testing.assert_close(forward, difference, atol=1e-6, rtol=1e-5)
    slope = torch.func.grad(lambda x: call(x).sum())
    difference = (slope(x + step * v) - slope(x - step * v)) / (2 * step)
    torch.testing.assert_close(second, difference, atol=1e-5, rtol=1e-4)


@both
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(2, 3, 4, 4), torch.zeros(2)), r"takes \(B, 2, \.\.\.\).*\(2, 3, 4, 4\)"),
        ((torch.zeros(2, 2, 4), torch.zeros(2)), r"2 non-empty spatial dimensions.*\(2, 2, 4\)"),
        ((torch.zeros(2, 2, 0, 4), torch.zeros(2)), r"non-empty.*\(2, 2, 0, 4\)"),
        ((torch.zeros(2, 2, 4, 4), torch.zeros(3)), r"clock has the shape \(\) or \(2,\).*\(3,\)"),
        ((torch.zeros(2, 2, 4, 4), torch.zeros(2), torch.zeros(2, 7)), r"context \(2, \d+\)"),
    ],
)
def test_wrong_shapes_are_refused_in_one_sentence(build, arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        build()(*arguments)
    assert "\n" not in str(caught.value)


@both
@pytest.mark.parametrize("space", [0, 4])
def test_four_dimensions_are_refused(build, space):
    with pytest.raises(InputError, match=f"1, 2 or 3 spatial dimensions, not {space}"):
        build(space)
