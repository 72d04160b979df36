"""Picture files: every mode with the pixels that are expected, and every way to be damaged."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato import InputError
from sfumato_images.files import decode, header, pictures, save

RGB = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14
GREY = RGB[..., 0]


def signed(levels, most=255):
    return torch.from_numpy(np.asarray(levels, np.float64) * 2 / most - 1).float()


def write(path, array, mode=None, **options):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def same(got, want):
    torch.testing.assert_close(got, want, rtol=0, atol=2e-7)


def test_colour_and_grey_png_are_read_exactly(tmp_path):
    colour, grey = write(tmp_path / "c.png", RGB), write(tmp_path / "g.png", GREY)
    same(decode(colour, 3), signed(RGB).movedim(2, 0))
    same(decode(grey, 1), signed(GREY)[None])
    same(decode(grey, 3), signed(GREY).expand(3, 2, 3))
    assert header(colour) == ((2, 3), False)
    assert header(grey) == ((2, 3), True)
    luma = (RGB @ np.array([0.299, 0.587, 0.114])).round()  # ITU-R 601
    torch.testing.assert_close(decode(colour, 1), signed(luma)[None], rtol=0, atol=1.1 * 2 / 255)


def test_a_picture_of_two_levels_is_black_and_white(tmp_path):
    path = write(tmp_path / "b.png", GREY, "1")
    assert header(path).grey
    assert set(decode(path, 1).unique().tolist()) <= {-1.0, 1.0}


@pytest.mark.parametrize("levels", [[0, 100, 200], [[0, 0, 0], [9, 50, 200], [255, 255, 255]]])
def test_palette_is_looked_up_and_a_grey_one_is_grey(tmp_path, levels):
    colours = np.array([[v, v, v] if np.isscalar(v) else v for v in levels], np.uint8)
    image = Image.new("P", (3, 1))
    image.putpalette(colours.flatten().tolist())
    image.putdata([0, 1, 2])
    image.save(tmp_path / "p.png")
    assert header(tmp_path / "p.png").grey == np.isscalar(levels[0])
    same(decode(tmp_path / "p.png", 3), signed(colours.T)[:, None])


def test_transparency_is_laid_over_white_or_kept(tmp_path):
    rgba = np.array([[[200, 0, 40, 255], [200, 0, 40, 0], [0, 0, 0, 51]]], np.uint8)
    path = write(tmp_path / "a.png", rgba)
    same(decode(path, 4), signed(rgba).movedim(2, 0))
    over_white = np.array([[200, 0, 40], [255, 255, 255], [204, 204, 204]])
    same(decode(path, 3), signed(over_white.T)[:, None])
    grey = write(tmp_path / "la.png", np.array([[[10, 255], [10, 0]]], np.uint8))
    assert header(grey).grey
    same(decode(grey, 1), signed([[[10, 255]]]))
    opaque = write(tmp_path / "o.png", RGB)
    assert (decode(opaque, 4)[3] == 1).all()


def test_transparent_palette_entry_is_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    image.save(tmp_path / "p.png", transparency=0)
    same(decode(tmp_path / "p.png", 3), signed([[[255, 0]], [[255, 0]], [[255, 255]]]))


def test_sixteen_bits_keep_their_depth(tmp_path):
    deep = np.array([[0, 1, 257], [32768, 65534, 65535]], np.uint16)
    path = write(tmp_path / "d.png", deep)
    assert header(path) == ((2, 3), True)
    same(decode(path, 1), signed(deep, 65535)[None])
    assert decode(path, 1).unique().numel() == 6
    same(decode(path, 3), signed(deep, 65535).expand(3, 2, 3))
    assert (decode(path, 4)[3] == 1).all()


def test_jpeg_is_close_and_cmyk_becomes_colour(tmp_path):
    smooth = np.add.outer(np.arange(16), np.arange(16)).astype(np.uint8) * 8
    grey = write(tmp_path / "g.jpg", smooth, quality=95)
    assert header(grey) == ((16, 16), True)
    assert (decode(grey, 1) - signed(smooth)).abs().max() < 0.05
    colour = np.stack([smooth, 255 - smooth, smooth], -1)
    ink = write(tmp_path / "k.JPEG", colour, "CMYK", quality=95)
    assert not header(ink).grey
    assert (decode(ink, 3) - signed(colour).movedim(2, 0)).abs().max() < 0.1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_the_rotation_of_exif_is_applied(tmp_path, orientation, suffix):
    upright = np.zeros((16, 24), np.uint8)
    upright[:8, :8] = 255  # a white mark at the top left
    turn = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.T,
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).T,
        8: lambda a: np.rot90(a, 3),
    }[orientation]  # how a camera held that way would have stored it
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = write(tmp_path / f"x{suffix}", np.ascontiguousarray(turn(upright)), exif=exif)
    assert header(path).size == (16, 24)
    got = decode(path, 1)
    assert got.shape == (1, 16, 24)
    assert (got - signed(upright)).abs().max() < 0.1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_hide_the_picture(tmp_path):
    path = write(tmp_path / "x.jpg", np.full((8, 8), 99, np.uint8), exif=b"Exif\x00\x00II*\x00junk")
    assert decode(path, 1).shape == (1, 8, 8)


def test_resizing_scales_the_shorter_side_and_cuts_the_centre(tmp_path):
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 200
    path = write(tmp_path / "w.png", wide)
    same(decode(path, 1, size=(10, 10)), torch.full((1, 10, 10), 200 / 127.5 - 1))
    scaled = Image.open(path).resize((15, 5), Image.Resampling.BICUBIC).crop((5, 0, 10, 5))
    same(decode(path, 1, size=(5, 5)), signed(scaled)[None])
    checks = write(tmp_path / "k.png", np.indices((16, 16)).sum(0).astype(np.uint8) % 2 * 255)
    assert decode(checks, 1, size=(4, 4))[:, 1:3, 1:3].abs().max() < 0.05  # anti-aliased: even grey


def test_resizing_to_the_same_size_changes_nothing(tmp_path):
    square = RGB[:, :2]
    path = write(tmp_path / "s.png", square)
    assert torch.equal(decode(path, 3, size=(2, 2)), decode(path, 3))


def test_resizing_keeps_sixteen_bits_in_range(tmp_path):
    deep = np.zeros((8, 8), np.uint16)
    deep[:, 4:] = 65535
    got = decode(write(tmp_path / "d.png", deep), 1, size=(6, 6))
    assert got.min() == -1 and got.max() == 1


def test_large_jpeg_is_decoded_at_a_fraction_and_looks_the_same(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 256).astype(np.uint8), (256, 1))
    got = decode(write(tmp_path / "r.jpg", ramp, quality=95), 1, size=(16, 16))
    want = decode(write(tmp_path / "r.png", ramp), 1, size=(16, 16))
    assert (got - want).abs().max() < 0.03


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.png", b"hello, I am a text", "t.png is no picture that can be read"),
        ("e.jpg", b"", "e.jpg is no picture that can be read"),
        ("g.png", b"GIF89a\x01\x00\x01\x00", "g.png is no picture that can be read"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    for read in (header, lambda path: decode(path, 3)):
        with pytest.raises(InputError, match=message):
            read(tmp_path / name)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_truncated_picture_is_named(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = write(tmp_path / f"cut{suffix}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert header(path).size == (64, 64)
    with pytest.raises(InputError, match=rf"cut{suffix} is damaged"):
        decode(path, 3)


def test_random_damage_raises_nothing_but_input_errors(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    intact = [write(tmp_path / f"i{s}", pixels).read_bytes() for s in (".png", ".jpg")]
    path, refused = tmp_path / "x.png", 0
    for trial in range(400):
        content = bytearray(intact[trial % 2])
        for place in rng.integers(0, len(content), 1 + trial % 7):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        try:
            header(path)
            assert decode(path, 3).isfinite().all()
        except InputError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 100


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone.png cannot be read: No such file"):
        header(tmp_path / "gone.png")


@pytest.mark.parametrize("side", [8193, 12_000, 100_000])
def test_too_many_pixels_are_refused_before_they_are_unpacked(tmp_path, side):
    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    path = tmp_path / "bomb.png"
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + data + chunk(b"IEND", b""))
    with pytest.raises(InputError, match=r"bomb.png has too many pixels"):
        header(path)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_are_the_inverse_of_decoding(tmp_path, channels):
    levels = torch.arange(256).repeat(channels).reshape(1, channels, 16, 16)
    levels = levels.roll(37, 3) if channels > 1 else levels
    x = levels / 127.5 - 1
    path = save(pictures(x)[0], tmp_path / "x.png")
    assert torch.equal(((decode(path, channels) + 1) * 127.5).round().long(), levels[0])
    assert torch.equal(decode(path, channels), x[0])


def test_values_beyond_the_range_are_cut():
    levels = np.asarray(pictures(torch.tensor([-3.0, -1.0, 0.0, 1.0, 7.0]).view(1, 1, 1, 5))[0])
    assert levels.tolist() == [[0, 0, 128, 255, 255]]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 2, 4, 4), r"shape \(2, 2, 4, 4\)"),
        (torch.zeros(2, 4, 4), r"shape \(2, 4, 4\)"),
        (torch.zeros(3, 1, 2, 2).index_fill(0, torch.tensor([1]), float("nan")), "image 1 holds"),
    ],
)
def test_what_is_no_picture_is_not_written(x, message):
    with pytest.raises(InputError, match=message):
        pictures(x)


def test_saving_leaves_nothing_behind_when_it_fails(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save(Image.new("L", (2, 2)), tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []
