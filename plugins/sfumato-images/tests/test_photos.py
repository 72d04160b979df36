"""Patches of photographs: exact pixels, and no pixel on both sides of a split."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato import InputError
from sfumato_data import split
from sfumato_images import photos
from sfumato_images.domain import domain


@pytest.fixture
def folder(tmp_path):
    """Two photographs in which the first two channels of a pixel say where it is."""
    for name, (height, width) in {"a": (90, 130), "b/c": (64, 33)}.items():
        y, x = np.mgrid[:height, :width]
        levels = np.stack([y, x, np.full_like(x, len(name))], -1).astype(np.uint8)
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(levels).save(path)
    return tmp_path


def pixels(side):
    """The pixels (photograph, y, x) that the patches of a side show."""
    levels = ((side.batch(range(len(side))).x + 1) * 127.5).round().long()
    y, x, which = levels.unbind(1)
    return set(
        zip(which.flatten().tolist(), y.flatten().tolist(), x.flatten().tolist(), strict=True)
    )


@pytest.mark.parametrize("stride", [None, 1, 5, 8])
def test_no_pixel_is_on_both_sides(folder, stride):
    data = photos.read(folder, 8, stride)
    for seed in range(5):
        train, held = split(data, 0.3, seed)
        assert len(train) and len(held)
        assert not pixels(train) & pixels(held)


def test_patches_are_the_pixels_of_the_photograph(folder):
    data = photos.read(folder, 8, 4)
    x = ((data.batch([0, 1]).x + 1) * 127.5).round()
    assert x[0, 0].tolist() == [[float(y)] * 8 for y in range(8)]
    assert x[1, 1].tolist() == [[4.0 + x for x in range(8)]] * 8
    assert data.about["size"] == [8, 8] and data.about["channels"] == 3
    covered = pixels(photos.read(folder, 8, 1))
    assert len(covered) == 90 * 130 + 64 * 33


def test_a_picture_of_the_size_of_a_patch_is_one_item(tmp_path):
    for i in range(3):
        Image.new("L", (8, 8), 50 * i).save(tmp_path / f"{i}.png")
    data = domain.read(tmp_path, patch=8, stride=2)
    assert len(data) == 3
    assert torch.equal(
        data.batch([0, 1, 2]).x[:, 0, 0, 0], torch.tensor([0.0, 50, 100]) / 127.5 - 1
    )


def test_what_cannot_be_cut_is_told(folder, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"c\.png is 64 x 33 \(height x width\), smaller than"):
        photos.read(folder, 40)
    with pytest.raises(InputError, match="there is no photograph"):
        photos.read(tmp_path / "empty", 8)
    with pytest.raises(InputError, match="patch=0"):
        photos.read(folder, 0)
    with pytest.raises(InputError, match="channels=2"):
        photos.read(folder, 8, channels=2)
    monkeypatch.setattr(photos, "MEMORY", 1000)
    with pytest.raises(InputError, match="take 41436 bytes; at most 1000"):
        photos.read(folder, 8)
