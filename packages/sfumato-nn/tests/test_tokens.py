"""The token transformer: who reads whom, memories, clocks."""

import math

import pytest
import torch

from sfumato import InputError, Padded
from sfumato_nn.memory import reads
from sfumato_nn.positions import rotary
from sfumato_nn.sizes import count_parameters, tokens
from sfumato_nn.tokens import TokenTransformer

K, L = 11, 12


@pytest.fixture(params=[False, True], ids=["free", "timed"])
def net(request, awake):
    made = TokenTransformer(K, width=16, depth=2, heads=2, time=request.param)
    return awake(made).double()


@pytest.fixture
def ids():
    return torch.randint(0, K, (3, L), generator=torch.Generator().manual_seed(1))


CLOCK = torch.linspace(-2, 2, 3, dtype=torch.float64)


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


def test_blocks_start_as_the_identity_and_the_head_shares_the_table():
    for time in (False, True):
        net = TokenTransformer(K, width=16, depth=2, heads=2, time=time)
        ids = torch.arange(K)[None]
        hidden = torch.nn.functional.layer_norm(net.table(ids), (16,))
        close(net(ids, torch.zeros(1)), hidden @ net.table.weight.T)
    assert 0.7e6 < count_parameters(tokens("tiny", vocabulary=100)) < 1e6


def _begins(**options):
    """Mean weight of attention at distances 0, 1, 4, 16, 48 of 64 tokens."""
    torch.manual_seed(0)
    net = TokenTransformer(K, width=64, depth=1, heads=2, **options)
    ids = torch.randint(0, K, (8, 64))
    attention = net.blocks[0].attention
    with torch.no_grad():
        tokens_in = net.blocks[0].norm1(net.table(ids))
        q, k, _ = attention.project(tokens_in, rotary((64,), net.head))
    weight = (q @ k.mT / math.sqrt(net.head)).softmax(-1).mean((0, 1))
    return [float(weight.diagonal(d)[:16].mean()) for d in (0, 1, 4, 16, 48)]


def test_attention_begins_near_each_token_or_everywhere():
    """Weights fall, to less than half of an even share at 48; without, all are about even."""
    mean = _begins()
    assert mean == sorted(mean, reverse=True)
    assert mean[0] > 3 / 64 and mean[-1] < 0.5 / 64
    even = _begins(near=0.0)[1:]  # a token may resemble itself
    assert 0.7 / 64 < min(even) and max(even) < 1.5 / 64, even


def test_every_token_reads_every_other(net, ids):
    y = net(ids, CLOCK)
    assert y.shape == (3, L, K)
    for place in (0, L - 1):
        other = ids.clone()
        other[:, place] = (other[:, place] + 1) % K
        assert (net(other, CLOCK) - y).abs().amax((0, 2)).min() > 1e-9


def test_only_a_timed_network_looks_at_the_clock(net, ids):
    moved = (net(ids, CLOCK + 1) - net(ids, CLOCK)).abs().max()
    assert (moved > 1e-6) == (net.clock is not None)


def test_documents_of_a_window_are_as_if_alone(net, ids):
    document = torch.tensor([0] * 5 + [1] * 4 + [2] * 3).expand(3, L)
    y = net(ids, CLOCK, **net.encode(document=document))
    for part in (slice(0, 5), slice(5, 9), slice(9, L)):
        alone = net(ids[:, part], CLOCK)  # at other places, whose angles are single precision
        torch.testing.assert_close(y[:, part], alone, atol=1e-6, rtol=0)
    assert net.encode(document=torch.zeros(3, L, dtype=torch.long)) == {}


def test_padding_is_read_by_no_token_whatever_it_holds(net, ids):
    mask = torch.arange(L) < torch.tensor([[L], [7], [3]])
    y = net(Padded(ids, mask), CLOCK)
    assert torch.equal(y.mask, mask)
    for row, count in enumerate((L, 7, 3)):
        close(y.data[row, :count], net(ids[[row], :count], CLOCK[[row]])[0])
    document = torch.where(mask, 0, -1)
    packed = net(Padded(ids, mask), CLOCK, document=document)
    close(packed.data[mask], y.data[mask])
    whole = torch.ones_like(mask)
    close(net(Padded(ids, whole), CLOCK).data, net(ids, CLOCK))


def test_logits_where_they_are_wanted_are_those_of_all(net, ids):
    at = torch.arange(3 * L).view(3, L) % 5 == 0
    close(net(ids, CLOCK, at=at), net(ids, CLOCK)[at])


def test_lower_levels_do_not_depend_on_higher_ones(net, ids):
    level = torch.tensor([0] * 4 + [1] * 4 + [2] * 4).expand(3, L)
    y = net(ids, CLOCK, level=level)
    other = ids.clone()
    other[:, 8:] = (other[:, 8:] + 3) % K
    close(net(other, CLOCK, level=level)[:, :8], y[:, :8])
    assert (net(other, CLOCK, level=level)[:, 8:] - y[:, 8:]).abs().max() > 1e-6


@pytest.mark.parametrize("split", [1, 5, 11])
def test_cached_equals_uncached_for_a_prefix(net, ids, split):
    level = (torch.arange(L) >= split).long().expand(3, L)
    memory = net.remember(ids[:, :split], CLOCK)
    cached = net(ids[:, split:], CLOCK, **net.encode(memory=memory))
    close(cached, net(ids, CLOCK, level=level)[:, split:])
    free = net(ids, CLOCK)[:, split:]
    assert (cached - free).abs().max() > 1e-6, "a prefix that reads what follows is no cache"


def test_blocks_are_cached_one_by_one(net, ids):
    """Memories grow block by block: each is made of the blocks before, and is never changed."""
    level = (torch.arange(L) // 4).expand(3, L)
    y = net(ids, CLOCK, level=level)
    for block in (1, 2):
        until = 4 * block
        memory = net.remember(ids[:, :until], CLOCK, level=level[:, :until])
        before = [k.clone() for k in memory.keys]
        close(net(ids[:, until : until + 4], CLOCK, memory=memory), y[:, until : until + 4])
        assert all(torch.equal(a, b) for a, b in zip(before, memory.keys, strict=True))


def test_the_dual_cache_is_exact_until_a_token_of_the_block_changes(net, ids):
    block = slice(4, 8)
    memory = net.remember(ids, CLOCK, block=block)
    close(net(ids[:, block], CLOCK, memory=memory), net(ids, CLOCK)[:, block])
    assert memory.start == 4 and memory.keys[0].shape[2] == L - 4


def test_a_recall_keeps_padding_and_documents_apart(net, ids):
    """What samplers of blocks call: exact while nothing changed, whatever may be read."""
    mask = torch.arange(L) < torch.tensor([[L], [7], [5]])
    document = torch.where(mask, torch.arange(L) // 3, -1)
    span = slice(4, 8)
    for context in ({}, {"document": document}, {"level": torch.arange(L).expand(3, L) // 4}):
        x = Padded(ids, mask)
        inside = net.recall(x, CLOCK, span, **context)
        part = inside(Padded(ids[:, span], mask[:, span]), CLOCK)
        whole = net(x, CLOCK, **context)
        close(part.data[part.mask], whole.data[:, span][part.mask])
    padded = net.remember(Padded(ids[:, :6], mask[:, :6]), CLOCK)
    alone = net.remember(ids[[2], :5], CLOCK[[2]])
    a = net(ids[:, 6:], CLOCK, memory=padded)[2]
    b = net(ids[[2], 6:], CLOCK[[2]], memory=alone._replace(start=6))[0]
    torch.testing.assert_close(a, b, atol=1e-6, rtol=0)


def test_rotary_positions_are_relative(awake):
    """Logits do not change when the whole window moves: turned queries meet turned keys."""
    net = awake(TokenTransformer(K, width=16, depth=1, heads=2)).double()
    x = torch.randn(1, 5, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    cos, sin = rotary((20,), 8)
    moved = [
        net.blocks[0](x, None, (cos[i : i + 5], sin[i : i + 5]), None, None)[0] for i in (0, 9)
    ]
    torch.testing.assert_close(*moved, atol=1e-6, rtol=0)


def test_what_reads_what():
    document = torch.tensor([[0, 0, 1, -1]])
    assert reads() is None
    assert reads(document=document)[0].int().tolist() == [
        [1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0],
    ]  # fmt: skip
    real = torch.tensor([[True, True, False, False]])
    assert torch.equal(reads(real), real)
    assert reads(real, level=torch.tensor([[0, 1, 0, 0]]))[0].int().tolist() == [
        [1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0],
    ]  # fmt: skip


def test_bad_ids_and_contexts_are_told(net, ids):
    with pytest.raises(InputError, match="a token id 11, and this network knows 0 to 10"):
        net(ids + 1 + (ids == 9), CLOCK)
    with pytest.raises(InputError, match="a token id -1"):
        net(ids - ids.min() - 1, CLOCK)
    with pytest.raises(InputError, match="token ids are long"):
        net(ids.double(), CLOCK)
    with pytest.raises(InputError, match="document is one integer for each token"):
        net.encode(document=torch.zeros(3))
    with pytest.raises(InputError, match="a memory goes without documents"):
        net(ids, CLOCK, memory=net.remember(ids, CLOCK), document=ids)
    padded = Padded(ids, torch.arange(L) < torch.tensor([[L], [3], [5]]))
    block = net.remember(padded, CLOCK, block=slice(4, 8))
    with pytest.raises(InputError, match="of a block goes without levels and padding"):
        net(ids[:, 4:8], CLOCK, memory=block, level=ids[:, 4:8])
    with pytest.raises(InputError, match="two ids and a block"):
        TokenTransformer(1)
