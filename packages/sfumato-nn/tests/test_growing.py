"""The network of texts that grow."""

import pytest
import torch

from sfumato import InputError, Padded, random, registry
from sfumato_nn.growing import GrowingTransformer

CLOCK = torch.tensor([0.3, -0.5, 1.0])


def loud(**options):
    """A network whose heads are not zero."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = GrowingTransformer(5, width=16, depth=2, heads=2, **options)
    source = random.derive(0, "loud")
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.3 * random.normal(weight, source))
    return net


def texts(room):
    ids = torch.full((3, room), 4)
    ids[0, :3], ids[1, :1] = torch.tensor([1, 4, 2]), torch.tensor([3])
    count = torch.tensor([3, 1, 0])
    return Padded(ids, torch.arange(room) < count[:, None])


def test_a_number_for_each_gap_and_logits_for_each_token():
    logits, gaps = loud()(texts(6), CLOCK)
    assert logits.shape == (3, 6, 5) and gaps.shape == (3, 7)
    there = torch.tensor([4, 2, 1])
    assert torch.equal(gaps != 0, torch.arange(7) < there[:, None])
    assert torch.equal((logits != 0).any(-1), texts(6).mask)


def test_neither_room_nor_neighbours_nor_what_is_padded_change_a_text():
    net = loud()
    logits, gaps = net(texts(6), CLOCK)
    wide, more = net(texts(9), CLOCK)
    assert torch.allclose(wide[:, :6], logits, atol=1e-5)
    assert torch.allclose(more[:, :7], gaps, atol=1e-5)
    x = texts(6)
    alone, own = net(Padded(x.data[1:2], x.mask[1:2]), CLOCK[1:2])
    assert torch.allclose(alone, logits[1:2], atol=1e-5)
    assert torch.allclose(own, gaps[1:2], atol=1e-5)
    other = Padded(x.data.masked_fill(~x.mask, 0), x.mask)
    assert torch.equal(net(other, CLOCK)[1], gaps)


def test_a_gap_is_told_all_tokens_and_the_time():
    net, x = loud(), texts(6)
    _, gaps = net(x, CLOCK)
    changed = x.data.clone()
    changed[0, 2] = 0
    _, other = net(Padded(changed, x.mask), CLOCK)
    assert bool(((other - gaps).abs()[0, :4] > 1e-4).all()) and torch.equal(other[1:], gaps[1:])
    _, later = net(x, CLOCK + 1)
    assert bool(((later - gaps).abs()[x.mask.sum(1) == 0, 0] > 1e-4).all())


def test_it_is_found_by_name_and_says_what_it_cannot_take():
    net = registry().load("network", "growing")("nano", vocabulary=5)
    assert isinstance(net, GrowingTransformer) and net.encode() == {}
    with pytest.raises(InputError, match="unknown size"):
        registry().load("network", "growing")("huge", vocabulary=5)
    with pytest.raises(InputError, match="takes no condition; given were document"):
        net.encode(document=torch.zeros(1, 3).long())
    bad = Padded(torch.tensor([[5]]), torch.tensor([[True]]))  # the token that begins a text
    with pytest.raises(InputError, match="token id 5, and this network knows 0 to 4"):
        net(bad, CLOCK[:1])
