"""Conditions as words, the preview picture, and the plugin as the command line finds it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato import Batch, InputError, registry
from sfumato_images.domain import domain

ANIMALS = {"classes": ["ape", "bat", "cat", "dog"]}
DIGITS = {"classes": list("0123456789")}
YEARS = {"classes": ["7", "9", "11"]}


@pytest.mark.parametrize(
    ("about", "text", "want"),
    [
        (DIGITS, "3", [3, 3, 3, 3, 3, 3]),
        (DIGITS, "0..9", [0, 1, 2, 3, 4, 5]),
        (DIGITS, "7..9", [7, 8, 9, 7, 8, 9]),
        (DIGITS, "1,8", [1, 8, 1, 8, 1, 8]),
        (DIGITS, "0..1, 5", [0, 1, 5, 0, 1, 5]),
        (ANIMALS, "dog", [3] * 6),
        (ANIMALS, "dog,ape", [3, 0, 3, 0, 3, 0]),
        (ANIMALS, "bat..dog", [1, 2, 3, 1, 2, 3]),
        (ANIMALS, "2", [2] * 6),
        (YEARS, "11", [2] * 6),
        (YEARS, "7..11", [0, 1, 2, 0, 1, 2]),
        ({"classes": ["a,b", "a"]}, "a,b", [0] * 6),
    ],
)
def test_labels_go_in_turn_through_what_is_named(about, text, want):
    found = domain.condition({"label": text}, 6, about)
    assert found["label"].dtype == torch.long
    assert found["label"].tolist() == want


def test_without_a_word_samples_go_through_all_classes():
    assert domain.condition({}, 5, ANIMALS)["label"].tolist() == [0, 1, 2, 3, 0]
    assert domain.condition({}, 5, {"classes": []}) == {}


@pytest.mark.parametrize(
    ("values", "about", "message"),
    [
        ({"label": "10"}, DIGITS, "no class '10'; did you mean"),
        ({"label": "elephant"}, DIGITS, "no class 'elephant'; there is 0, 1, 2"),
        ({"label": "dgo"}, ANIMALS, "no class 'dgo'; did you mean dog"),
        ({"label": "4"}, ANIMALS, "no class '4'; there is ape, bat, cat, dog"),
        ({"label": "-1"}, ANIMALS, "no class '-1'"),
        ({"label": "0"}, YEARS, "no class '0'"),
        ({"label": ""}, ANIMALS, "no class ''"),
        ({"label": "5..2"}, DIGITS, "the range 5..2 is empty"),
        (
            {"prompt": "a cat"},
            ANIMALS,
            "no condition 'prompt'; .* takes the condition label",
        ),
        ({"label": "3"}, {"classes": []}, "takes no condition: its images had no classes"),
    ],
)
def test_wrong_conditions_are_told_with_what_there_is(values, about, message):
    with pytest.raises(InputError, match=message):
        domain.condition(values, 4, about)


def levels(x):
    return (x * 255).round().to(torch.uint8).numpy()


def test_preview_has_a_row_for_each_class(tmp_path):
    shades = torch.rand(23, generator=torch.Generator().manual_seed(0)).mul(0.9)
    label = torch.tensor([2, 0] * 11 + [0])  # 11 of class 2, 12 of class 0, none of class 1
    batch = Batch(shades.mul(2).sub(1)[:, None, None, None].expand(23, 1, 8, 8), {"label": label})
    path = domain.preview(batch, tmp_path / "new" / "p.png", ANIMALS)
    got = np.asarray(Image.open(path))
    cell = 8 * 6 + 4
    assert got.shape[0] == 2 * cell + 4
    margin = got.shape[1] - 10 * cell - 4
    assert margin > 10, "there is room for the names"
    for row, wanted in enumerate((shades[label == 0], shades[label == 2])):
        middle = got[4 + row * cell + 24, margin + 4 + 24 :: cell][:10]
        assert np.abs(middle.astype(int) - levels(wanted[:10])).max() <= 1
    assert (got[:, :margin] < 128).any(), "the names are written"
    assert list(tmp_path.glob("new/*")) == [path]


@pytest.mark.parametrize("count", [1, 5, 9, 250])
def test_preview_without_classes_is_a_square(tmp_path, count):
    batch = Batch(torch.zeros(count, 3, 64, 48))
    got = Image.open(domain.preview(batch, tmp_path / "p.png", {"classes": []}))
    shown = min(count, 100)
    across = int(np.ceil(np.sqrt(shown)))
    assert got.size == (52 * across + 4, 68 * -(-shown // across) + 4)


def test_preview_of_one_class_is_a_square(tmp_path):
    batch = Batch(torch.zeros(9, 1, 64, 64), {"label": torch.full((9,), 3)})
    assert Image.open(domain.preview(batch, tmp_path / "p.png", ANIMALS)).size == (208, 208)


def test_preview_of_large_images_stays_in_bounds(tmp_path):
    batch = Batch(torch.zeros(16, 3, 700, 900))
    assert Image.open(domain.preview(batch, tmp_path / "p.png", {"classes": []})).width <= 2048


def test_preview_lays_transparent_images_over_white(tmp_path):
    x = torch.full((1, 4, 64, 64), -1.0)
    got = np.asarray(Image.open(domain.preview(Batch(x), tmp_path / "p.png", {"classes": []})))
    assert (got == 255).all()


def test_the_domain_passes_reading_and_writing_on(tmp_path):
    batch = Batch(torch.zeros(3, 1, 8, 8), {"label": torch.tensor([1, 0, 1])})
    assert len(domain.write(batch, tmp_path / "s", ANIMALS)) == 4
    assert domain.read(tmp_path / "s", size=4, channels=3).about["size"] == [4, 4]
    assert len(domain.demo()) == 1797


def test_what_the_plugin_announces_is_there():
    found = registry()
    assert found.load("domain", "images") is domain
    for name in ("digits", "emoji", "fashion", "folder", "photos"):
        recipe = found.load("recipe", f"images/{name}")
        assert recipe.domain == "images"
        assert recipe()
