"""Emoji: every picture of a font with its name, and near-duplicates on one side of a split."""

from __future__ import annotations

import pytest
import torch
from fixtures import COLOURS, font
from fontTools.ttLib import TTFont

from sfumato import InputError
from sfumato_data import emoji

WAVE = (0x1F44B,)
MAN, WOMAN, PERSON, ZWJ, TONE, LAPTOP = 0x1F468, 0x1F469, 0x1F9D1, 0x200D, 0x1F3FD, 0x1F4BB


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("fonts") / "small.ttf"
    font(path)
    return path


def test_each_picture_has_the_name_of_its_characters(small):
    x, names, _ = emoji.read(small, 16)
    assert names[:9] == [f"{colour} circle" for colour in COLOURS]
    assert names[18:20] == ["raised hand", "raised hand light skin tone"]
    assert x.shape == (24, 3, 16, 16) and x.dtype is torch.float32
    middle = (x[:9, :, 8, 8] + 1) * 127.5
    assert (middle - torch.tensor(list(COLOURS.values()))).abs().max() <= 2
    assert (x[0, :, 0, 0] == 1).all(), "it lies over white"


def test_alpha_is_kept_where_it_is_asked_for(small):
    x = emoji.read(small, 16, channels=4).x[0]
    assert x[3, 0, 0] == -1 and x[3, 8, 8] == 1
    assert emoji.read(small, 16, channels=1).x.shape == (24, 1, 16, 16)


def test_skin_tones_and_what_looks_the_same_share_a_key(small):
    keys = emoji.read(small, 16).keys
    assert len(set(keys[18:])) == 1 and not set(keys[18:]) & set(keys[:18])
    assert len(set(keys[:9])) == 9


@pytest.mark.parametrize(
    ("points", "name"),
    [
        ((0x2764, 0xFE0F), "red heart"),
        ((0x2764,), "red heart"),
        ((0x1F1EB, 0x1F1F7), "flag of france"),
        ((0x1F3F4, 0xE0067, 0xE0062, 0xE0073, 0xE0063, 0xE0074, 0xE007F), "flag of scotland"),
        ((0x1F3F4, 0xE0075, 0xE0073, 0xE006E, 0xE0064, 0xE007F), "flag usnd"),
        ((MAN, TONE, ZWJ, LAPTOP), "man technologist medium skin tone"),
        ((LAPTOP, ZWJ, MAN, TONE), "man technologist medium skin tone"),
        ((0x41,), "latin capital letter a"),
    ],
)
def test_names_are_those_of_unicode(points, name):
    assert emoji.caption(points, emoji._names()) == name


def test_a_group_leaves_out_skin_tone_and_gender():
    assert emoji.group((MAN, TONE, ZWJ, LAPTOP)) == emoji.group((LAPTOP, ZWJ, WOMAN))
    assert emoji.group((PERSON, ZWJ, LAPTOP)) == emoji.group((MAN, ZWJ, LAPTOP))
    assert emoji.group((0x1F3C3, TONE, ZWJ, 0x2640)) == emoji.group((0x1F3C3,))
    assert emoji.group((0x1F1EB, 0x1F1F7)) != emoji.group((0x1F1EE, 0x1F1F9))
    assert emoji.group((0x1F3FD,)), "a skin tone alone is something, too"


def test_what_is_no_such_font_is_told(small, tmp_path):
    (tmp_path / "no.ttf").write_bytes(b"no font at all")
    with pytest.raises(InputError, match=r"no\.ttf is damaged"):
        emoji.read(tmp_path / "no.ttf")
    whole = small.read_bytes()
    (tmp_path / "cut.ttf").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"cut\.ttf"):
        emoji.read(tmp_path / "cut.ttf")
    plain = TTFont(small)
    del plain["CBDT"]
    plain.save(tmp_path / "plain.ttf")
    with pytest.raises(InputError, match=r"plain\.ttf holds no colour bitmaps"):
        emoji.read(tmp_path / "plain.ttf")
    with pytest.raises(InputError, match=r"missing\.ttf cannot be read"):
        emoji.read(tmp_path / "missing.ttf")
    with pytest.raises(InputError, match="channels=2"):
        emoji.read(small, channels=2)
    with pytest.raises(InputError, match="size=0"):
        emoji.read(small, 0)
    with pytest.raises(InputError, match="24 pictures; at size=4000 they take more than"):
        emoji.read(small, 4000)
