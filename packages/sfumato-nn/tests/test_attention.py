import math

import pytest
import torch

from sfumato import InputError
from sfumato_nn.attention import Attention, attend
from sfumato_nn.positions import rotary


def plain(q, k, v, mask=None):
    logits = q @ k.mT / math.sqrt(q.shape[-1])
    if mask is not None:
        logits = logits.masked_fill(~mask[:, None, None, :], -torch.inf)
    return torch.softmax(logits, -1) @ v


@pytest.mark.parametrize("masked", [False, True])
def test_attend_is_the_softmax_formula(noise, masked):
    q, k, v = (noise(3, 2, 7, 8, seed=s) for s in range(3))
    mask = torch.arange(7) < torch.tensor([[7], [4], [1]]) if masked else None
    torch.testing.assert_close(attend(q, k, v, mask), plain(q, k, v, mask), atol=1e-6, rtol=0)


def test_attend_without_any_key_is_zero_and_has_finite_gradients(noise):
    q, k, v = (noise(2, 1, 3, 4, seed=s).requires_grad_() for s in range(3))
    y = attend(q, k, v, torch.tensor([[True] * 3, [False] * 3]))
    assert y[1].eq(0).all()
    y.square().sum().backward()
    assert all(z.grad.isfinite().all() for z in (q, k, v))


def test_the_module_is_its_formula(noise, awake):
    net = awake(Attention(24, 3))
    x = noise(2, 5, 24)
    q, k, v = net.inward(x).view(2, 5, 3, 3, 8).permute(2, 0, 3, 1, 4)

    def normalise(z, gain):
        z = z - z.mean(-1, keepdim=True)
        return z / (z.square().mean(-1, keepdim=True) + 1e-5).sqrt() * gain

    q, k = normalise(q, net.norm_q.weight), normalise(k, net.norm_k.weight)
    y = net.outward(plain(q, k, v).transpose(1, 2).reshape(2, 5, 24))
    torch.testing.assert_close(net(x), y, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("turned", [False, True])
def test_logits_are_bounded_however_large_the_input(noise, awake, turned):
    net = awake(Attention(32, 2))
    positions = rotary((9,), 16) if turned else None
    q, k, _ = net.project(1e4 * noise(4, 9, 32), positions)
    logits = (q @ k.mT / 4).abs().max()
    bound = 4 * net.norm_q.weight.abs().max() * net.norm_k.weight.abs().max()
    assert 0.2 * bound < logits <= bound * (1 + 1e-5)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(InputError, match="width 10 does not split into 3 heads"):
        Attention(10, 3)
