import pytest
import torch
import torch.nn.functional as F

from sfumato import InputError
from sfumato_nn.dit import DiT
from sfumato_nn.shapes import join, pad, split


@pytest.mark.parametrize("patch", [(3,), (2, 3), (1, 2, 2)])
def test_split_is_a_strided_convolution_and_join_undoes_it(noise, patch):
    x = noise(2, 3, *(4 * p for p in patch))
    weight = noise(5, 3, *patch, seed=2)
    conv = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(patch)]
    tokens = split(x, patch)
    torch.testing.assert_close(
        (tokens @ weight.flatten(1).T).movedim(-1, 1), conv(x, weight, stride=patch)
    )
    assert torch.equal(join(tokens, patch), x)


def test_pad_adds_zeros_at_the_end_only(noise):
    x = noise(1, 1, 3, 5)
    y = pad(x, (2, 4))
    assert y.shape == (1, 1, 4, 8)
    assert torch.equal(y[..., :3, :5], x)
    assert y.sum() == pytest.approx(float(x.sum()), abs=1e-5)
    assert pad(x, (3, 5)) is x


def sequence(awake, patch=1, **options):
    return awake(DiT(3, space=1, patch=patch, width=24, depth=2, heads=2, **options))


@pytest.mark.parametrize("patch", [1, 2])
def test_padding_never_changes_what_is_real(noise, awake, patch):
    net = sequence(awake, patch)
    lengths = [5, 8, 3]
    clock = noise(3, seed=2)
    x = noise(3, 3, 11)
    mask = torch.arange(11) < torch.tensor(lengths)[:, None]
    junk = torch.where(mask[:, None], x, torch.nan)
    y = net(junk, clock, mask=mask)
    assert y[~mask[:, None].expand_as(y)].eq(0).all()
    for i, length in enumerate(lengths):
        alone = net(x[i : i + 1, :, :length], clock[i : i + 1])
        torch.testing.assert_close(y[i : i + 1, :, :length], alone, atol=1e-5, rtol=1e-5)
    bare = net(x, clock)
    assert (bare - y)[0, :, :5].abs().max() > 0.01  # the mask does something


def test_gradients_do_not_leak_into_or_out_of_padding(noise, awake):
    net, x = sequence(awake), noise(2, 3, 6)
    mask = torch.arange(6) < torch.tensor([[4], [0]])
    x = torch.where(mask[:, None], x, torch.nan).requires_grad_()
    net(x, torch.zeros(2), mask=mask).square().sum().backward()
    assert x.grad[~mask[:, None].expand_as(x)].eq(0).all()
    assert x.grad[0, :, :4].abs().min() > 0
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_a_sequence_moved_inside_its_padding_gives_the_moved_output(noise, awake):
    net, x = sequence(awake, absolute=False), noise(1, 3, 5)
    outputs = []
    for start in (0, 3, 7):
        place = F.pad(x, (start, 12 - 5 - start))
        mask = F.pad(torch.ones(1, 5, dtype=torch.bool), (start, 12 - 5 - start))
        outputs.append(net(place, torch.zeros(1), mask=mask)[..., start : start + 5])
    torch.testing.assert_close(outputs[1], outputs[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(outputs[2], outputs[0], atol=1e-4, rtol=1e-4)


def test_masks_work_on_grids_too(noise, awake):
    net = awake(DiT(1, patch=2, width=24, depth=2, heads=2))
    x = noise(1, 1, 4, 6)
    mask = F.pad(torch.ones(1, 4, 6, dtype=torch.bool), (0, 2, 0, 4))
    y = net(F.pad(x, (0, 2, 0, 4), value=9.0), torch.zeros(()), mask=mask)
    torch.testing.assert_close(y[..., :4, :6], net(x, torch.zeros(())), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("absolute", [False, True])
def test_positions_tell_a_picture_from_its_transpose_and_from_its_shuffle(noise, awake, absolute):
    net = awake(DiT(1, patch=1, width=24, depth=2, heads=2, absolute=absolute))
    x, clock = noise(1, 1, 5, 5), torch.zeros(())
    y = net(x, clock)
    assert (net(x.mT, clock).mT - y).abs().max() > 0.05
    order = torch.tensor([3, 0, 4, 1, 2])
    assert (net(x[:, :, order], clock) - y[:, :, order]).abs().max() > 0.05


def test_without_positions_it_could_not(noise, awake, monkeypatch):
    monkeypatch.setattr("sfumato_nn.dit.rotary", lambda *_: (torch.ones(1), torch.zeros(1)))
    net = awake(DiT(1, patch=1, width=24, depth=2, heads=2, absolute=False))
    x, clock = noise(1, 1, 5, 5), torch.zeros(())
    torch.testing.assert_close(net(x.mT, clock).mT, net(x, clock), atol=1e-4, rtol=1e-4)


def test_absolute_positions_tell_equal_patches_apart(awake):
    x, clock = torch.ones(1, 1, 4, 4), torch.zeros(())
    for absolute in (False, True):
        net = awake(DiT(1, patch=1, width=24, depth=2, heads=2, absolute=absolute))
        y = net(x, clock).flatten()
        assert (y.std() > 0.05) == absolute


def test_a_clock_per_frame(noise, awake):
    net = awake(DiT(1, space=3, patch=(1, 2, 2), width=24, depth=2, heads=2))
    x, clock = noise(2, 1, 3, 4, 5), noise(2, seed=2)
    y = net(x, clock)
    frames = clock[:, None].repeat(1, 3)
    torch.testing.assert_close(net(x, frames), y, atol=1e-5, rtol=1e-5)
    frames[0, 1] += 1.0
    changed = (net(x, frames) - y).abs().amax(dim=(1, 3, 4))
    assert changed[0].min() > 1e-3
    assert changed[1].max() < 1e-5


def test_a_frame_reads_its_own_clock_only(noise, awake):
    net = awake(DiT(1, space=2, patch=(2, 1), width=24, depth=2, heads=2))
    for block in net.blocks:
        torch.nn.init.zeros_(block.attention.outward.weight)
    x, clock = noise(1, 1, 6, 4), torch.zeros(1, 3)
    moved = clock.clone()
    moved[0, 1] = 2.0
    changed = (net(x, moved) - net(x, clock)).abs().amax(dim=(0, 1, 3))
    assert changed[[0, 1, 4, 5]].max() == 0
    assert changed[[2, 3]].min() > 0.01


def test_under_autocast_what_the_blocks_add_up_stays_in_float32(noise, awake):
    net = awake(DiT(1, width=24, depth=2, heads=2, absolute=False))
    seen = []
    for block in net.blocks:
        block.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    with torch.autocast("cpu", torch.bfloat16):
        net(noise(1, 1, 4, 4), torch.zeros(()))
    assert [x.dtype for pair in seen for x in pair] == [torch.float32] * 4


def test_wrong_options_and_masks_are_refused():
    with pytest.raises(InputError, match="a patch has 2 lengths of 1 or more, got 0"):
        DiT(1, patch=0)
    with pytest.raises(InputError, match=r"a patch has 3 lengths of 1 or more, got \(2, 2\)"):
        DiT(1, space=3, patch=(2, 2))
    with pytest.raises(InputError, match="needs a block and a head, got depth 1, heads 0"):
        DiT(1, depth=1, heads=0)
    net = DiT(1, space=1, width=8, heads=1, depth=1)
    x, clock = torch.zeros(2, 1, 6), torch.zeros(2)
    with pytest.raises(InputError, match=r"mask is bool of shape \(2, 6\), got float32"):
        net(x, clock, mask=torch.ones(2, 6))
    with pytest.raises(InputError, match=r"mask is bool of shape \(2, 6\), got bool of.*\(2, 5\)"):
        net(x, clock, mask=torch.ones(2, 5, dtype=torch.bool))
    with pytest.raises(InputError, match=r"\(2,\) or \(2, 3\), got \(2, 6\)"):
        net(x, torch.zeros(2, 6))
