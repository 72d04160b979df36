"""Pictures before tokens: nothing else is read than should be, and what is kept is exact."""

from __future__ import annotations

import pytest
import torch

from sfumato import InputError, Padded
from sfumato_nn.pictured import PicturedTokens, PictureEncoder
from sfumato_nn.tokens import TokenTransformer

K, L = 11, 6
CLOCK = torch.zeros(3)


@pytest.fixture
def net(awake):
    tokens = TokenTransformer(K, width=16, depth=2, heads=2)
    return awake(PicturedTokens(tokens, PictureEncoder(3, (8, 8), width=12, heads=2))).double()


@pytest.fixture
def ids():
    return torch.randint(0, K, (3, L), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def picture():
    return torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(2)).double() * 2 - 1


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


def whole(net, prefix, ids, causal=False):
    """The logits of a prefix and ids in one pass, by a mask: no memory at all."""
    tokens, count = net.tokens, prefix.shape[1]
    own = torch.arange(L) if causal else torch.zeros(L, dtype=torch.long)
    level = torch.cat((torch.zeros(count, dtype=torch.long), 1 + own)).expand(len(ids), -1)
    mask = level[:, None] <= level[:, :, None]
    hidden, _ = tokens._through(torch.cat((prefix, tokens.table(ids)), 1), CLOCK, mask, None)
    return tokens._logits(hidden[:, count:])


@pytest.mark.parametrize("causal", [False, True], ids=["both-ways", "causal"])
def test_what_is_kept_of_a_picture_is_exact(net, ids, picture, causal):
    prefix = net.project(net.encoder(picture))
    level = {"level": torch.arange(L).expand(3, L)} if causal else {}
    y = net(ids, CLOCK, **net.encode(picture=picture), **level)
    close(y, whole(net, prefix, ids, causal))


def test_one_id_after_another_gives_the_logits_of_the_whole(net, ids, picture):
    """The KV cache of an autoregressive model, also where a part of the prefix is padding."""
    memory = net.encode(picture=picture)["memory"]
    seen = torch.ones(3, memory.start, dtype=torch.bool)
    seen[1, 2:] = False
    level = torch.arange(L).expand(3, L)
    for past in (memory, memory._replace(mask=seen)):
        expected = net(ids, CLOCK, memory=past, level=level)
        rows = []
        for i in range(L):
            y, past = net.tokens.extend(ids[:, i : i + 1], CLOCK, past)
            rows.append(y)
        close(torch.cat(rows, 1), expected)


def test_padding_behind_a_picture_is_read_by_no_token(net, ids, picture):
    real = torch.arange(L) < torch.tensor([[L], [3], [5]])
    context = net.encode(picture=picture)
    a, b = (net(Padded(ids.where(real, fill), real), CLOCK, **context).data for fill in (0, 7))
    close(a[real], b[real])
    alone = net(ids[1:2, :3], CLOCK[:1], **net.encode(picture=picture[1:2]))
    close(a[1:2, :3], alone)


def test_a_picture_serves_several_rows(net, ids, picture):
    two = torch.cat((ids, ids.flip(0)))
    y = net(two, torch.zeros(6), **net.encode(picture=picture, copies=2))
    close(y[:3], net(ids, CLOCK, **net.encode(picture=picture)))
    close(y[3:], net(ids.flip(0), CLOCK, **net.encode(picture=picture)))


def test_each_picture_is_read_by_its_own_tokens_and_gradients_reach_all(net, ids, picture):
    picture = picture.requires_grad_()
    y = net(ids, CLOCK, **net.encode(picture=picture))
    (grad,) = torch.autograd.grad(y[0].square().sum(), picture, retain_graph=True)
    assert bool((grad[0].abs().amax(0) > 0).all()) and not bool(grad[1:].any())
    y.square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in net.parameters())


def test_views_and_pools_divide_a_picture(awake):
    encoder = PictureEncoder(3, (16, 8), patch=2, width=8, heads=2, pool=2, crops=True)
    x = torch.rand(2, 3, 16, 8)
    y = awake(encoder)(x)
    assert encoder.count == 10 and y.shape == (2, 10, 8)  # five views of 2 x 1
    changed = x.clone()
    changed[:, :, 8:, 4:] = 0  # the last quarter
    same = (encoder(changed) == y).all(-1).all(0).view(5, -1)
    assert same[1:4].all() and not same[0].all() and not same[4].any()
    with pytest.raises(InputError, match="both sides are multiples of 8"):
        PictureEncoder(3, (12, 8), patch=2, pool=2, crops=True)
    with pytest.raises(InputError, match="given to an encoder of"):
        encoder(x[:, :, :8])


def test_what_does_not_go_together_is_told(net, ids):
    with pytest.raises(InputError, match="reads a picture, and none was given"):
        net(ids, CLOCK)
    with pytest.raises(InputError, match="a prefix is of shape"):
        net.tokens.prefill(torch.zeros(1, 2, 3))
    timed = TokenTransformer(K, width=16, depth=1, heads=2, time=True)
    with pytest.raises(InputError, match="time=False"):
        timed.prefill(torch.zeros(1, 2, 16))
