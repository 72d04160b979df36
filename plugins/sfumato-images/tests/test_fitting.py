"""Sizes as they are written, and pictures brought to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato import InputError
from sfumato_images.data import read
from sfumato_images.files import decode
from sfumato_images.fitting import parse_size
from sfumato_images.recipes import Folder
from sfumato_train.words import parse_words


@pytest.mark.parametrize(
    ("text", "size"), [("32", (32, 32)), (32, (32, 32)), ("64x48", (64, 48)), (" 8x9 ", (8, 9))]
)
def test_sizes_are_read_as_height_x_width(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "32x", "1x2x3", "-3", "3.5", "0", "0x4", "4097", "٣"])
def test_what_is_no_size_is_told(text):
    with pytest.raises(InputError, match="size="):
        parse_size(text)


WIDE = np.repeat(np.arange(30, dtype=np.uint8)[None] * 8, 10, 0)  # 10 x 30


def levels(x):
    return ((x + 1) * 127.5).round()


def test_cut_pad_and_stretch(tmp_path):
    path = tmp_path / "w.png"
    Image.fromarray(WIDE).save(path)
    wide = torch.from_numpy(WIDE).float()
    assert torch.equal(levels(decode(path, 1, (10, 10), "cut"))[0], wide[:, 10:20])
    assert torch.equal(levels(decode(path, 1, (10, 24), "cut"))[0], wide[:, 3:27])
    padded = levels(decode(path, 1, (20, 30), "pad"))[0]
    assert torch.equal(padded[5:15], wide)
    assert (padded[:5] == 255).all() and (padded[15:] == 255).all()
    half = Image.fromarray(WIDE).resize((15, 20), Image.Resampling.BICUBIC)
    stretched = levels(decode(path, 1, (20, 15), "stretch"))[0]
    assert np.array_equal(stretched.numpy(), np.asarray(half, np.float32))
    clear = decode(path, 4, (20, 30), "pad")
    assert (clear[3, 5:15] == 1).all() and (clear[3, :5] == -1).all()
    assert torch.equal(decode(path, 1, (10, 30), "pad"), decode(path, 1))


def test_a_set_is_read_at_the_size_and_fit_asked_for(tmp_path):
    for i, shape in enumerate([(10, 30), (20, 10), (8, 8)]):
        Image.fromarray(np.full(shape, 40 * i, np.uint8)).save(tmp_path / f"{i}.png")
    found = read(tmp_path, size="12x16", fit="pad")
    assert found.about["size"] == [12, 16]
    x = levels(found.batch(range(3)).x)
    assert x.shape == (3, 1, 12, 16)
    assert [(one != 255).sum(dim).max().item() for one in x[:, 0] for dim in (0, 1)] == [
        5, 16, 12, 6, 12, 12,
    ]  # fmt: skip
    with pytest.raises(InputError, match="fit=crop: accepted are cut, pad, stretch"):
        read(tmp_path, size=8, fit="crop")


def test_the_recipe_takes_sizes_in_both_forms():
    for word in ("size=32", "size=32x32"):
        assert parse_words(Folder, [word]).reading()["size"] == 32
    assert parse_words(Folder, ["size=64x48", "fit=pad"]).reading() == {
        "size": "64x48", "channels": None, "fit": "pad", "buckets": None, "captions": True,
    }  # fmt: skip
    with pytest.raises(InputError, match=r"size=0x3: .*1 to 4096 pixels a side"):
        parse_words(Folder, ["size=0x3"])
    with pytest.raises(InputError, match="fit=tile"):
        parse_words(Folder, ["fit=tile"])
    with pytest.raises(InputError, match="buckets=30"):
        parse_words(Folder, ["buckets=30"])
