"""Pictures of 16 bits: every value to the last bit, in all forms that Pillow opens."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import torch
from fuzz_images import chunk, deep_png, deep_tiff
from PIL import Image

from sfumato import InputError
from sfumato_images.files import decode, header

VALUES = np.random.default_rng(0).integers(0, 65536, (11, 7, 4), dtype=np.uint16)


def signed(values, most=65535):
    return torch.from_numpy(np.moveaxis(np.asarray(values, np.float64) * 2 / most - 1, -1, 0))


def same(got, want, atol=3e-7):
    torch.testing.assert_close(got, want.float(), rtol=0, atol=atol)


def written(path, content):
    path.write_bytes(content)
    return path


def bits_of(got):
    return ((got.double() + 1) * 65535 / 2).round().long()


@pytest.mark.parametrize("form", ["png", "tiff", "tiff deflate"])
def test_colour_is_read_to_the_last_bit(tmp_path, form):
    colour = VALUES[..., :3]
    content = deep_png(colour, 2) if form == "png" else deep_tiff(colour, form != "tiff")
    path = written(tmp_path / "c.x", content)
    got = decode(path, 3)
    assert np.array_equal(bits_of(got).movedim(0, -1).numpy(), colour)
    same(got, signed(colour))
    assert header(path) == ((11, 7), False)
    assert (decode(path, 4)[3] == 1).all()
    luma = (colour @ np.array([0.299, 0.587, 0.114]))[..., None]
    same(decode(path, 1), signed(luma), 1e-6)


def test_big_endian_colour_is_read_to_the_last_bit(tmp_path):
    """A TIFF in the other byte order, each number of its header and its values turned round."""
    height, width, colours = (*VALUES.shape[:2], 3)
    at = 8 + 2 + 12 * 9 + 4
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, colours, at), (259, 3, 1, 1 << 16),
        (262, 3, 1, 2 << 16), (273, 4, 1, at + 6), (277, 3, 1, 3 << 16), (278, 4, 1, height),
        (279, 4, 1, 6 * width * height),
    ]  # fmt: skip
    head = struct.pack(">2sHIH", b"MM", 42, 8, 9) + b"".join(struct.pack(">HHII", *t) for t in tags)
    body = struct.pack(">I3H", 0, 16, 16, 16) + VALUES[..., :3].astype(">u2").tobytes()
    got = decode(written(tmp_path / "m.tif", head + body), 3)
    assert np.array_equal(bits_of(got).movedim(0, -1).numpy(), VALUES[..., :3])


@pytest.mark.parametrize("form", ["png", "tiff", "tiff deflate"])
def test_alpha_is_kept_or_laid_over_white(tmp_path, form):
    values = VALUES.copy()
    values[:2, :, 3] = 0
    content = deep_png(values, 6) if form == "png" else deep_tiff(values, form != "tiff")
    path = written(tmp_path / "a.x", content)
    shown = decode(path, 4)
    assert np.array_equal(bits_of(shown)[3].numpy(), values[..., 3])
    there = torch.from_numpy(values[..., 3] > 0)
    same(shown[:3, there], signed(values[..., :3])[:, there], 1e-4)  # divided by small alphas
    assert (shown[:3, ~there] == 1).all()
    alpha = values[..., 3:] / 65535
    same(decode(path, 3), signed(values[..., :3] * alpha + 65535 * (1 - alpha)), 1e-6)


@pytest.mark.parametrize("deflate", [False, True])
def test_a_fourth_value_that_means_nothing_is_left_out(tmp_path, deflate):
    content = bytearray(deep_tiff(VALUES, deflate))
    place = content.index(struct.pack("<HHI", 338, 3, 1))
    content[place + 8] = 0
    got = decode(written(tmp_path / "x.tif", bytes(content)), 3)
    assert np.array_equal(bits_of(got).movedim(0, -1).numpy(), VALUES[..., :3])


def test_grey_with_alpha(tmp_path):
    pair = VALUES[..., :2] | 1
    path = written(tmp_path / "la.png", deep_png(pair, 4))
    assert header(path).grey
    alpha = pair[..., 1:] / 65535
    same(decode(path, 1), signed(pair[..., :1] * alpha + 65535 * (1 - alpha)), 1e-6)
    assert np.array_equal(bits_of(decode(path, 4))[3].numpy(), pair[..., 1])


@pytest.mark.parametrize("colours", [1, 3])
def test_a_png_may_name_a_colour_that_is_clear(tmp_path, colours):
    values = VALUES[..., :colours]
    content = deep_png(values, {1: 0, 3: 2}[colours])
    key = chunk(b"tRNS", struct.pack(f">{colours}H", *values[4, 2].tolist()))
    place = content.index(b"IDAT") - 4
    path = written(tmp_path / "k.png", content[:place] + key + content[place:])
    alpha = decode(path, 4)[3]
    assert (alpha == -1).nonzero().tolist() == [[4, 2]]
    assert (decode(path, 3)[:, 4, 2] == 1).all()


def test_a_tiff_that_counts_from_white(tmp_path):
    grey = VALUES[..., 0]
    out = io.BytesIO()
    Image.fromarray(grey).save(out, "TIFF", tiffinfo={262: 0})
    same(decode(written(tmp_path / "w.tif", out.getvalue()), 1), -signed(grey[..., None]))


def test_twelve_bits_are_all_of_their_range(tmp_path):
    """Two values in three bytes, as microscopes and scanners write them."""
    grey = VALUES[:, :6, 0] >> 4
    grey[0, :2] = 0, 4095
    left, right = grey[:, 0::2].astype(int), grey[:, 1::2].astype(int)
    body = np.stack([left >> 4, (left & 15) << 4 | right >> 8, right & 255], -1).astype(np.uint8)
    at = 8 + 2 + 12 * 9 + 4
    tags = [
        (256, 4, 1, 6), (257, 4, 1, 11), (258, 3, 1, 12), (259, 3, 1, 1), (262, 3, 1, 1),
        (273, 4, 1, at), (277, 3, 1, 1), (278, 4, 1, 11), (279, 4, 1, body.size),
    ]  # fmt: skip
    head = struct.pack("<2sHIH", b"II", 42, 8, 9) + b"".join(struct.pack("<HHII", *t) for t in tags)
    path = written(tmp_path / "t.tif", head + bytes(4) + body.tobytes())
    same(decode(path, 1), signed(grey[..., None], 4095))


def test_resizing_is_that_of_each_plane(tmp_path):
    path = written(tmp_path / "c.png", deep_png(VALUES[..., :3], 2))
    each = [
        np.asarray(Image.fromarray(VALUES[..., i] / np.float32(65535)).resize((5, 6), 3))
        for i in range(3)
    ]
    want = torch.from_numpy(np.stack(each)).clip(0, 1) * 2 - 1
    same(decode(path, 3, (6, 5), "stretch"), want)


def test_what_is_clear_does_not_bleed_into_what_shows(tmp_path):
    values = np.zeros((8, 8, 4), np.uint16)
    values[:, :4] = (65535, 0, 0, 65535)
    values[:, 4:] = (0, 65535, 0, 0)
    got = decode(written(tmp_path / "b.png", deep_png(values, 6)), 4, (4, 4))
    seen = got[3] > -0.99
    assert got[0, seen].min() > 0.99 and got[1, seen].max() < -0.99


def test_padding_is_white_and_clear(tmp_path):
    path = written(tmp_path / "p.png", deep_png(VALUES[..., :3], 2))
    got = decode(path, 4, (11, 9), "pad")
    assert (got[3, :, 1:8] == 1).all() and (got[3, :, [0, 8]] == -1).all()
    assert (got[:3, :, [0, 8]] == 1).all()
    assert (decode(path, 3, (11, 9), "pad")[:, :, [0, 8]] == 1).all()
    same(decode(path, 3, (11, 9), "pad")[:, :, 1:8], signed(VALUES[..., :3]))


def test_planes_apart_are_refused(tmp_path):
    content = bytearray(deep_tiff(VALUES[..., :3], False))
    place = content.index(struct.pack("<HHI", 278, 4, 1))
    content[place : place + 12] = struct.pack("<HHII", 284, 3, 1, 2)  # out of order, which is read
    with pytest.raises(InputError, match=r"s.tif keeps its 16-bit colours apart"):
        header(written(tmp_path / "s.tif", bytes(content)))
