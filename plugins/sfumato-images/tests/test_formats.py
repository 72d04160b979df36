"""Formats beside PNG and JPEG, colours beside RGB, and files that hold more than one picture."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from sfumato import InputError
from sfumato_images.files import decode, header

SMOOTH = np.add.outer(np.arange(16), np.arange(24)).astype(np.uint8) * 6
RGB = np.stack([SMOOTH, 255 - SMOOTH, 128 + SMOOTH // 8], -1)


def signed(levels):
    return torch.from_numpy(np.asarray(levels, np.float64) / 127.5 - 1).float()


@pytest.mark.parametrize(
    ("name", "options", "error"),
    [
        ("a.bmp", {}, 0),
        ("a.tif", {}, 0),
        ("a.tiff", {"compression": "tiff_lzw"}, 0),
        ("a.tif", {"compression": "tiff_adobe_deflate"}, 0),
        ("a.tif", {"compression": "packbits"}, 0),
        ("a.tif", {"compression": "jpeg", "quality": 95}, 0.1),
        ("a.webp", {"lossless": True}, 0),
        ("a.webp", {"quality": 95}, 0.3),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_colour_and_grey_are_read(tmp_path, name, options, error, mode):
    image = Image.fromarray(RGB if mode == "RGB" else SMOOTH)
    image.save(tmp_path / name, **options)
    found = header(tmp_path / name)
    assert found.size == (16, 24)
    assert found.grey == (mode == "L" and not name.endswith("webp")), "WebP has no grey"
    want = signed(np.asarray(image.convert("RGB"))).movedim(-1, 0)
    got = decode(tmp_path / name, 3)
    assert (got - want).abs().max() <= error + 2e-7
    assert (got - want).abs().mean() <= error / 5 + 2e-7


def test_gif_is_looked_up_and_its_clear_colour_is_white(tmp_path):
    image = Image.fromarray(RGB).quantize(16)
    image.save(tmp_path / "a.gif")
    want = signed(np.asarray(image.convert("RGB"))).movedim(-1, 0)
    torch.testing.assert_close(decode(tmp_path / "a.gif", 3), want, rtol=0, atol=2e-7)
    image.save(tmp_path / "t.gif", transparency=int(np.asarray(image)[3, 4]))
    assert (decode(tmp_path / "t.gif", 3)[:, 3, 4] == 1).all()
    assert decode(tmp_path / "t.gif", 4)[3, 3, 4] == -1


@pytest.mark.parametrize("suffix", ["webp", "tif"])
def test_alpha_and_rotation_are_heeded(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored a quarter turn to the left
    rgba = np.dstack([RGB, np.full_like(SMOOTH, 51)])
    image = Image.fromarray(np.ascontiguousarray(np.rot90(rgba)))
    image.save(tmp_path / f"a.{suffix}", exif=exif, lossless=True)
    assert header(tmp_path / f"a.{suffix}").size == (16, 24)
    want = signed(rgba).movedim(-1, 0)
    torch.testing.assert_close(decode(tmp_path / f"a.{suffix}", 4), want, rtol=0, atol=2e-7)


def test_inks_are_read_inverted_as_adobe_writes_them_and_plain(tmp_path):
    """A JPEG of four inks has them inverted, a TIFF has not."""
    image = Image.fromarray(RGB).convert("CMYK")
    image.save(tmp_path / "adobe.jpg", quality=97)
    content = (tmp_path / "adobe.jpg").read_bytes()
    assert b"Adobe" in content
    image.save(tmp_path / "k.tif")
    want = signed(np.asarray(image.convert("RGB"))).movedim(-1, 0)
    torch.testing.assert_close(decode(tmp_path / "k.tif", 3), want, rtol=0, atol=2e-7)
    assert (decode(tmp_path / "adobe.jpg", 3) - want).abs().mean() < 0.03


def test_lab_becomes_srgb(tmp_path):
    image = Image.fromarray(RGB)
    lab = ImageCms.profileToProfile(
        image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    lab.save(tmp_path / "l.tif")
    got = decode(tmp_path / "l.tif", 3)
    off = (got - signed(RGB).movedim(-1, 0)).abs()
    assert off.mean() < 0.02 and off.max() < 0.15  # L*a*b* had 8 bits each
    assert not header(tmp_path / "l.tif").grey


@pytest.mark.parametrize(
    ("name", "kind"), [("a.gif", "GIF"), ("a.webp", "WEBP"), ("a.png", "PNG"), ("a.tif", "TIFF")]
)
def test_moving_pictures_are_refused_with_their_frames(tmp_path, name, kind):
    frames = [Image.fromarray(np.roll(RGB, 5 * k, 1)) for k in range(3)]
    frames[0].save(tmp_path / name, kind, save_all=True, append_images=frames[1:])
    for read in (header, lambda path: decode(path, 3)):
        with pytest.raises(InputError, match=rf"{name} has 3 frames or pages"):
            read(tmp_path / name)


def test_of_a_jpeg_with_further_pictures_the_first_is_read(tmp_path):
    """As telephones write them, with a depth map or the other eye behind the picture."""
    image = Image.fromarray(RGB)
    image.save(tmp_path / "plain.jpg", quality=95)
    image.save(
        tmp_path / "a.jpg", "MPO", save_all=True, append_images=[image.rotate(90)], quality=95
    )
    assert torch.equal(decode(tmp_path / "a.jpg", 3), decode(tmp_path / "plain.jpg", 3))


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_values_that_are_no_levels_are_refused(tmp_path, dtype):
    Image.fromarray(SMOOTH.astype(dtype)).save(tmp_path / "f.tif")
    with pytest.raises(InputError, match=r"f.tif has signed, 32-bit or float values"):
        header(tmp_path / "f.tif")


def test_a_cut_palette_picture_is_damaged_not_unreadable_to_python(tmp_path):
    """Found by fuzzing: the palette was asked for in a way that reads the pixels, bare of guard."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    image = Image.fromarray(noise).convert("P")
    image.save(tmp_path / "p.gif")
    content = (tmp_path / "p.gif").read_bytes()
    (tmp_path / "p.gif").write_bytes(content[:-300])
    assert header(tmp_path / "p.gif").size == (40, 40)
    with pytest.raises(InputError, match=r"p.gif is damaged"):
        decode(tmp_path / "p.gif", 3)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif"])
def test_whether_a_palette_is_grey_is_known_from_the_header(tmp_path, suffix):
    for name, colours in (("grey", [[7, 7, 7], [90, 90, 90]]), ("blue", [[7, 7, 7], [0, 0, 200]])):
        image = Image.new("P", (4, 4))
        image.putpalette(np.array(colours, np.uint8).flatten().tolist())
        image.putpixel((1, 1), 1)
        image.save(tmp_path / f"{name}.{suffix}")
        assert header(tmp_path / f"{name}.{suffix}").grey == (name == "grey")


def test_metadata_that_libraries_warn_of_is_passed_over_in_silence(tmp_path):
    image = Image.fromarray(RGB)
    image.save(tmp_path / "x.jpg", exif=b"Exif\x00\x00II*\x00junk")
    image.save(tmp_path / "x.tif", tiffinfo={700: b"<x/>"})
    content = bytearray((tmp_path / "x.tif").read_bytes())
    place = content.index((700).to_bytes(2, "little"))
    content[place + 4 : place + 8] = (1 << 20).to_bytes(4, "little")  # more than the file holds
    (tmp_path / "x.tif").write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("x.jpg", "x.tif"):
            assert decode(tmp_path / name, 3).shape == (3, 16, 24)


def test_a_side_that_no_picture_has_is_refused(tmp_path):
    Image.new("1", (70_000, 2)).save(tmp_path / "l.png")
    with pytest.raises(InputError, match=r"too many pixels; at most 67108864, and 65535 a side"):
        header(tmp_path / "l.png")
