import pytest
import torch

from sfumato import InputError, Maybe
from sfumato_nn.embed import ClockEmbedding, Conditioner


@pytest.fixture
def conditioner(awake):
    return awake(Conditioner(16, classes=3, vector=5))


def test_clocks_a_tenth_apart_differ_and_those_close_are_close(awake):
    net = awake(ClockEmbedding(32))
    clock = torch.linspace(-10, 10, 201)
    gap = (net(clock)[1:] - net(clock)[:-1]).norm(dim=-1)
    nearer = (net(clock + 1e-3) - net(clock)).norm(dim=-1)
    assert gap.min() > 0.01
    assert nearer.max() < 0.05 * gap.max()


def test_no_two_clocks_share_an_embedding(awake):
    y = awake(ClockEmbedding(32))(torch.linspace(-10, 10, 401))
    distance = torch.cdist(y, y) + torch.eye(401)
    assert distance.min() > 0.005


def test_clock_in_float64_gives_the_dtype_of_the_network(awake):
    net = awake(ClockEmbedding(8))
    clock = torch.linspace(-10, 10, 5, dtype=torch.float64)
    torch.testing.assert_close(net(clock), net(clock.float()))
    assert net.to(torch.bfloat16)(clock).dtype is torch.bfloat16


def test_context_adds_up_over_conditions(conditioner, noise):
    label, vector = torch.tensor([0, 2]), noise(2, 5)
    both = conditioner.encode(label=label, vector=vector)
    one = conditioner.encode(label=label)
    other = conditioner.encode(vector=vector)
    torch.testing.assert_close(both, one + other - conditioner.encode())
    assert (one - other).abs().min() > 0


def test_absent_items_have_exactly_the_null_context(conditioner, noise):
    present = torch.tensor([True, False, True])
    label, vector = torch.tensor([0, 1, 2]), noise(3, 5)
    context = conditioner.encode(label=Maybe(label, present), vector=Maybe(vector, present))
    assert torch.equal(context[1:2], conditioner.encode())
    full = conditioner.encode(label=label, vector=vector)
    torch.testing.assert_close(context[present], full[present])
    assert not torch.equal(full[1], context[1])


def test_what_an_absent_item_holds_is_never_read(conditioner, noise):
    present = torch.tensor([True, False])
    vector = noise(2, 5)
    vector[1] = torch.nan
    context = conditioner.encode(
        label=Maybe(torch.tensor([1, -7]), present), vector=Maybe(vector, present)
    )
    assert torch.equal(context[1:], conditioner.encode())
    context.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in conditioner.parameters())
    assert conditioner.no_vector.grad.abs().sum() > 0
    assert conditioner.label.weight.grad[-1].abs().sum() > 0


def test_a_conditioner_of_nothing_adds_and_learns_nothing():
    empty = Conditioner(8)
    signal = torch.ones(2, 8)
    assert torch.equal(empty(signal, None), signal)
    assert not empty.state_dict()


def test_the_context_reaches_every_frame(conditioner, noise):
    context = conditioner.encode(label=torch.tensor([0, 2]))
    frames = conditioner(noise(2, 5, 16), context)
    assert torch.equal(frames, noise(2, 5, 16) + context[:, None])
    assert torch.equal(conditioner(noise(2, 16), None), noise(2, 16) + conditioner.encode())


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ({"labl": torch.zeros(2).long()}, "unknown condition 'labl'.*label and vector.*mean label"),
        ({"label": torch.tensor([0, 3])}, "label 3 is out of range.* 0 to 2"),
        ({"label": torch.tensor([-1])}, "label -1 is out of range"),
        ({"label": torch.zeros(2)}, "one integer per item.*float32 of shape"),
        ({"label": torch.zeros(2, 1).long()}, r"one integer per item.*\(2, 1\)"),
        ({"label": torch.tensor([True])}, "one integer per item.*bool"),
        ({"vector": torch.zeros(2, 4)}, r"vector takes 5 floats.*\(2, 4\)"),
        ({"vector": torch.zeros(5)}, r"vector takes 5 floats.*\(5,\)"),
        ({"vector": torch.zeros(2, 5).long()}, "vector takes 5 floats.*int64"),
        (
            {"label": Maybe(torch.tensor([0, 1]), torch.ones(3).bool())},
            r"one bool per item.*\(3,\)",
        ),
        ({"label": torch.tensor([0, 1]), "vector": torch.zeros(3, 5)}, "2 labels.*3 vectors"),
    ],
)
def test_wrong_conditions_are_refused_in_one_sentence(conditioner, condition, message):
    with pytest.raises(InputError, match=message) as caught:
        conditioner.encode(**condition)
    assert "\n" not in str(caught.value)


def test_a_network_without_conditions_says_so():
    with pytest.raises(InputError, match="built without classes and vector: no condition fits"):
        Conditioner(8).encode(label=torch.tensor([0]))
    with pytest.raises(InputError, match="counts"):
        Conditioner(8, classes=-1)
