"""Degradations: what each does, exactly; the same for an image wherever it stands."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from sfumato import InputError, random
from sfumato_images.degrading import check, degraded, enlarged, parse, reduction


def noise(*shape, seed=0):
    return random.normal(torch.empty(*shape), random.derive(seed)).clamp(-1, 1)


def apply(x, text, seed=0, numbers=None):
    return degraded(x, parse(text), seed, range(len(x)) if numbers is None else numbers)


@pytest.mark.parametrize("deviation", [0.5, 1.0, 1.5])
def test_blur_is_a_gaussian_with_its_edges_continued(deviation):
    x = noise(3, 2, 12, 17)
    want = np.stack(
        [
            [gaussian_filter(plane, deviation, mode="nearest", truncate=4) for plane in one]
            for one in x.double().numpy()
        ]
    )
    assert np.abs(apply(x, f"blur:{deviation}").numpy() - want).max() < 1e-6


def test_blur_adds_up_in_variance():
    x = torch.zeros(1, 1, 65, 65)
    x[..., 32, 32] = 1
    place = torch.arange(65.0) - 32
    spot = apply(x, "blur:2+blur:1.5")[0, 0]
    assert float(spot.sum()) == pytest.approx(1, abs=1e-5)
    assert float((spot.sum(0) * place.square()).sum()) == pytest.approx(4 + 2.25, rel=2e-3)


def test_a_centred_mask_covers_its_share_and_nothing_else():
    y = apply(noise(2, 3, 16, 24).abs() + 0.01, "mask:0.25")
    covered = torch.zeros(16, 24, dtype=torch.bool)
    covered[4:12, 6:18] = True
    assert ((y == 0) == covered).all()


def test_random_masks_cover_their_share_anywhere():
    n, side = 2000, 20
    y = apply(torch.ones(n, 1, side, side), "mask:0.2,random")[:, 0] == 0
    share = y.double().mean((1, 2))
    assert float(share.mean()) == pytest.approx(0.2, abs=0.01)  # sides are whole pixels
    assert float(share.min()) > 0.15 and float(share.max()) < 0.25
    height, width = y.any(2).sum(1), y.any(1).sum(1)
    assert (y.sum((1, 2)) == height * width).all()  # each is a box
    top = y.any(2).int().argmax(1)
    for h in height.unique().tolist():
        at = top[height == h].double()
        some, places = len(at), side - h + 1
        middle, spread = (places - 1) / 2, math.sqrt((places**2 - 1) / 12)
        assert abs(float(at.mean()) - middle) < 4.5 * spread / math.sqrt(some)  # 1e-5 each
    ratio = (height.double() / width).log2()
    assert ratio.min() < -0.8 and ratio.max() > 0.8


@pytest.mark.parametrize("factor", [2, 3])
def test_down_is_the_bicubic_of_pillow_and_back(factor):
    x = noise(2, 1, 12, 18) / 2
    size = (18 // factor, 12 // factor)
    small = np.stack(
        [
            np.asarray(Image.fromarray(v[0]).resize(size, Image.Resampling.BICUBIC))
            for v in x.numpy()
        ]
    )
    y = apply(x, f"down:{factor},nearest")
    assert np.abs(y[:, 0, ::factor, ::factor].numpy() - small).max() < 1e-6
    assert torch.equal(
        y, y[..., ::factor, ::factor].repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    )
    smooth = apply(x, f"down:{factor}")
    want = enlarged(torch.from_numpy(small)[:, None], factor)
    torch.testing.assert_close(smooth, want, atol=1e-6, rtol=0)


def test_bicubic_enlargement_keeps_what_is_linear():
    ramp = torch.linspace(-0.5, 0.5, 10).expand(1, 1, 10, 10)
    large = enlarged(ramp, 4)[0, 0, 20]
    step = 1 / 9 / 4
    assert (large.diff()[8:-8] - step).abs().max() < 1e-6


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_what_a_file_of_that_quality_holds(channels):
    x = noise(2, channels, 16, 16)
    levels = ((x + 1) * 127.5).round().byte().movedim(1, 3).numpy()
    want = []
    for one in levels:
        buffer = io.BytesIO()
        Image.fromarray(one[..., 0] if channels == 1 else one).save(buffer, "JPEG", quality=30)
        want.append(np.atleast_3d(np.asarray(Image.open(buffer))))
    got = apply(x, "jpeg:30")
    assert np.abs((got.movedim(1, 3).numpy() + 1) * 127.5 - np.stack(want)).max() < 1e-4
    far = [float((apply(x, f"jpeg:{q}") - x).square().mean()) for q in (95, 50, 10)]
    assert far[0] < far[1] < far[2]


def test_noise_has_its_deviation_and_is_cut_to_what_files_hold():
    n = 400
    x = torch.full((n, 1, 10, 10), 0.1)
    added = (apply(x, "noise:0.15") - x).double()
    count = added.numel()
    assert abs(float(added.mean())) < 4.5 * 0.15 / math.sqrt(count)  # false alarm 1e-5
    assert abs(float(added.var()) / 0.15**2 - 1) < 4.5 * math.sqrt(2 / count)
    twice = apply(x, "noise:0.12+noise:0.09") - x
    assert abs(float(twice.double().var()) / 0.15**2 - 1) < 4.5 * math.sqrt(2 / count)
    assert float(apply(torch.ones(1, 1, 8, 8), "noise:0.5").max()) == 1


@pytest.mark.parametrize(
    "text", ["noise:0.2", "mask:0.3,random", "blur:1+noise:0.1+mask:0.2,random"]
)
def test_an_image_is_degraded_alike_wherever_it_stands(text):
    x = noise(6, 2, 9, 9)
    whole = apply(x, text)
    assert torch.equal(apply(x, text), whole)
    some = [4, 1]
    torch.testing.assert_close(apply(x[some], text, numbers=some), whole[some], atol=1e-6, rtol=0)
    assert not torch.equal(apply(x, text, seed=1), whole)
    assert x.equal(noise(6, 2, 9, 9))


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("blur:1.50", "blur:1.5"),
        ("mask:.25", "mask:0.25,centre"),
        ("down:2 + noise:0.1", "down:2,bicubic+noise:0.1"),
        ("down:4,nearest", "down:4,nearest"),
        ("jpeg:20", "jpeg:20"),
    ],
)
def test_degradations_have_one_form(text, want):
    told = "+".join(map(str, parse(text)))
    assert told == want and parse(told) == parse(text)


def test_only_a_reduction_at_the_end_leaves_a_smaller_picture_behind():
    assert reduction(parse("blur:1+down:4,nearest")) == (4, "nearest")
    assert reduction(parse("down:4+noise:0.1")) == (1, "bicubic")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("blurr:1", "no degradation 'blurr'; did you mean blur"),
        ("fog:1", "there is blur, mask, down, jpeg, noise"),
        ("", "no degradation ''"),
        ("blur:1+", "no degradation ''"),
        ("blur", "not written blur:1.5"),
        ("blur:0", "not written blur:1.5"),
        ("blur:1.2.3", "not written blur:1.5"),
        ("blur:1,random", "not written blur:1.5"),
        ("mask:1", "share of the image under a box"),
        ("mask:0.2,corner", "share of the image under a box"),
        ("down:1", "a whole factor"),
        ("down:2.5", "a whole factor"),
        ("down:2,cubic", "a whole factor"),
        ("jpeg:101", "quality, 1 to 100"),
        ("noise:-1", "standard deviation"),
    ],
)
def test_what_is_not_a_degradation_is_told(text, message):
    with pytest.raises(InputError, match=message):
        parse(text)


@pytest.mark.parametrize(
    ("text", "channels", "message"),
    [
        ("blur:9", 1, r"blur:9 is wider than images of 8 x 12"),
        ("mask:0.001", 1, r"mask:0.001,centre covers no pixel of images of 8 x 12"),
        ("mask:0.99", 1, r"covers all of images of 8 x 12"),
        ("down:3", 1, r"down:3,bicubic does not divide images of 8 x 12"),
        ("blur:1+down:8", 1, r"down:8,bicubic does not divide"),
        ("jpeg:20", 4, r"no place for alpha"),
    ],
)
def test_what_does_not_fit_is_told(text, channels, message):
    with pytest.raises(InputError, match=message):
        check(parse(text), channels, (8, 12))
    check(parse("blur:2+mask:0.2+down:4+noise:0.1"), 4, (8, 12))
