"""Folders of pictures name their items, so that a split survives what is added to the folder."""

from __future__ import annotations

from PIL import Image

from sfumato_data import keys_of, split
from sfumato_images import data


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), 100).save(path)


def sides(folder):
    return [set(keys_of(side)) for side in split(data.read(folder), 0.3, seed=1)]


def test_keys_are_names_relative_to_the_folder(tmp_path):
    for name in ("b/2.png", "a/1.png", "a/0.png"):
        picture(tmp_path / name)
    assert list(keys_of(data.read(tmp_path))) == ["a/0.png", "a/1.png", "b/2.png"]
    assert keys_of(data.demo()) is None


def test_pictures_that_sort_in_between_move_no_other(tmp_path, monkeypatch):
    for i in range(60):
        picture(tmp_path / f"{i:02}.png")
    train, held = sides(tmp_path)
    assert len(train) + len(held) == 60
    for i in range(0, 60, 2):
        picture(tmp_path / f"{i:02}b.png")
    monkeypatch.setattr(data, "MEMORY", 0)  # whether they are in memory changes nothing
    more_train, more_held = sides(tmp_path)
    assert train < more_train and held < more_held
