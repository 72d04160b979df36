"""Pairs of images: which source goes with which target, and what does not go together."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch
from fixtures import clothes
from PIL import Image

from sfumato import InputError
from sfumato_data import groups_of, keys_of, split
from sfumato_images import pairs, reading
from sfumato_images.data import demo
from sfumato_images.degrading import degraded, enlarged, parse
from sfumato_images.domain import domain
from sfumato_images.recipes import Digits, Fashion, Flipped, Folder

RNG = np.random.default_rng(0)


def save(path, size=(8, 6), mode="L", suffix="png"):
    """A picture of noise, and what a reader makes of it."""
    shape = size if mode == "L" else (*size, 3)
    levels = RNG.integers(0, 256, shape, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(levels).save(path)
    return torch.from_numpy(np.atleast_3d(levels).copy()).permute(2, 0, 1).float() / 127.5 - 1


def folder(root, names=("a", "b", "c"), size=(8, 6), small=(8, 6), mode="L"):
    """A folder of pairs, and its sources and targets."""
    source = [save(root / "source" / f"{name}.bmp", small, mode) for name in names]
    target = [save(root / "target" / f"{name}.png", size, mode) for name in names]
    return torch.stack(source), torch.stack(target)


def test_a_source_is_found_by_the_name_of_its_target(tmp_path):
    source, target = folder(tmp_path, ("x/a", "b", "x/c"))
    data = domain.read(tmp_path)
    assert list(keys_of(data)) == ["b.png", "x/a.png", "x/c.png"]
    batch = data.batch([2, 0, 1])
    assert torch.allclose(batch.x, target[[2, 1, 0]], atol=1e-6)
    assert torch.allclose(batch.condition["source"], source[[2, 1, 0]], atol=1e-6)
    about = data.about
    assert about["source"] == {"channels": 1, "degrade": None, "scale": 1}
    assert about["sigma_source"] == pytest.approx(float(source.square().mean().sqrt()), abs=1e-4)
    assert about["cross"] == pytest.approx(float((source * target).mean()), abs=1e-4)


def test_a_zip_of_pairs_is_as_their_folder(tmp_path):
    folder(tmp_path / "pairs", ("a", "b"))
    with zipfile.ZipFile(tmp_path / "pairs.zip", "w") as archive:
        for path in sorted((tmp_path / "pairs").rglob("*.*")):
            archive.write(path, path.relative_to(tmp_path).as_posix())
    one, other = domain.read(tmp_path / "pairs"), domain.read(tmp_path / "pairs.zip")
    assert one.about == other.about
    a, b = one.batch([0, 1]), other.batch([0, 1])
    assert torch.equal(a.x, b.x) and torch.equal(a.condition["source"], b.condition["source"])


def test_both_have_the_colours_of_either(tmp_path):
    folder(tmp_path, ("a", "b"))
    save(tmp_path / "target" / "b.png", mode="RGB")
    batch = domain.read(tmp_path).batch([0, 1])
    assert batch.x.shape == batch.condition["source"].shape == (2, 3, 8, 6)
    grey = domain.read(tmp_path, channels=1).batch([0])
    assert grey.x.shape == grey.condition["source"].shape == (1, 1, 8, 6)


def test_both_are_brought_to_one_size_alike(tmp_path):
    for name in ("source", "target"):
        ramp = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (12, 1))
        path = tmp_path / name / "a.png"
        path.parent.mkdir()
        Image.fromarray(ramp).save(path)
    batch = domain.read(tmp_path, size=6).batch([0])
    assert batch.x.shape == (1, 1, 6, 6) and torch.equal(batch.x, batch.condition["source"])
    kept = domain.read(tmp_path, buckets=32).batch([0])
    assert kept.x.shape[2] < kept.x.shape[3] and torch.equal(kept.x, kept.condition["source"])


def test_sources_of_a_whole_fraction_are_enlarged(tmp_path):
    source, target = folder(tmp_path, size=(16, 12), small=(4, 3))
    data = domain.read(tmp_path)
    batch = data.batch([0, 1, 2])
    assert data.about["source"]["scale"] == 4 and data.about["size"] == [16, 12]
    assert torch.allclose(batch.condition["source"], enlarged(source, 4), atol=1e-6)
    assert torch.allclose(batch.x, target, atol=1e-6)


def test_labels_and_captions_are_those_of_the_targets(tmp_path, monkeypatch):
    folder(tmp_path, ("cat/a", "dog/b"))
    assert domain.read(tmp_path).about["classes"] == ["cat", "dog"]
    found = {}
    monkeypatch.setattr(
        reading.tables, "find", lambda root, files: found.update(root=root, files=list(files))
    )
    domain.read(tmp_path)
    assert found == {"root": tmp_path / "target", "files": ["cat/a.png", "dog/b.png"]}


def lacking(root):
    folder(root, tuple("abcdefgh"))
    for name in "abcdef":
        (root / "source" / f"{name}.bmp").unlink()


def extra(root):
    folder(root)
    save(root / "source" / "z.png")


def twice(root):
    folder(root)
    save(root / "source" / "b.png")


def unlike(root):
    folder(root)
    save(root / "source" / "b.bmp", (8, 7))


def larger(root):
    folder(root)
    save(root / "source" / "b.bmp", (16, 12))


def mixed(root):
    folder(root)
    save(root / "source" / "b.bmp", (4, 3))


def empty(root):
    folder(root)
    for path in (root / "target").iterdir():
        path.unlink()


def half(root):
    folder(root)
    (root / "source").rename(root / "hidden")
    (root / "hidden").rename(root.parent / "elsewhere")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lacking, "source of .* has no picture named a, b, c, d and 2 more; each picture needs"),
        (extra, "target of .* has no picture named z; each"),
        (twice, "source of .* holds both b.bmp and b.png; which"),
        (unlike, r"the pair 'b.png' of .* source is 8 x 7 and its target 8 x 6 \(height x width\)"),
        (larger, "the pair 'b.png' of .* its source is 16 x 12 and its target 8 x 6"),
        (mixed, "'b.png' of .* 2 times as large as its source, but that of 'a.png' is 1 times"),
        (empty, "there is no picture in target of"),
        (half, "a folder 'target' and no folder 'source'; pairs need both"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_no_pair_is_told(tmp_path, make, message):
    root = tmp_path / "pairs"
    make(root)
    with pytest.raises(InputError, match=message):
        domain.read(root)


def test_pairs_are_not_cut_into_patches(tmp_path):
    folder(tmp_path)
    with pytest.raises(InputError, match="not cut into patches"):
        domain.read(tmp_path, patch=4)


@pytest.mark.parametrize("text", ["blur:1", "mask:0.2,random", "down:2", "jpeg:30", "noise:0.3"])
def test_any_images_have_sources_by_a_degradation(text):
    data = Digits(degrade=text, seed=3).prepared(demo())
    batch = data.batch([5, 900])
    want = degraded(batch.x, parse(text), 3, [5, 900])
    assert torch.equal(batch.condition["source"], want)
    assert torch.equal(batch.condition["label"], demo().batch([5, 900]).condition["label"])
    one = data.batch([900]).condition["source"]
    torch.testing.assert_close(one, want[1:], atol=1e-6, rtol=0)
    assert data.about["source"]["degrade"] == str(parse(text)[0])
    assert data.about["source"]["scale"] == (2 if text == "down:2" else 1)


def test_a_degradation_keeps_names_and_groups(tmp_path):
    for i in range(6):
        save(tmp_path / f"{i}.png", (8, 16) if i % 3 else (16, 8))
    data = Folder(degrade="noise:0.1", buckets=32).prepared(domain.read(tmp_path, buckets=32))
    assert list(keys_of(data)) == [f"{i}.png" for i in range(6)]
    assert groups_of(data) == [1, 0, 0, 1, 0, 0]
    batch = data.batch([0, 3])
    assert batch.condition["source"].shape == batch.x.shape and batch.x.shape[2] > batch.x.shape[3]
    held = split(data, 0.5, 0)[1]
    again = split(data, 0.5, 0)[1]
    x, y = (part.batch([0]).condition["source"] for part in (held, again))
    assert torch.equal(x, y)


def test_the_test_part_of_the_data_is_still_what_is_held_out(tmp_path):
    clothes(tmp_path / "idx")
    recipe = Fashion(degrade="blur:1")
    data = recipe.prepared(domain.read(tmp_path / "idx", **recipe.reading()))
    assert list(split(data, recipe.held, 0)[1].index) == list(range(60, 80))


@pytest.mark.parametrize(
    ("text", "message"),
    [("down:3", "does not divide images of 8 x 8"), ("blur:20", "wider than images of 8 x 8")],
)
def test_a_degradation_that_does_not_fit_is_told(text, message):
    with pytest.raises(InputError, match=message):
        Digits(degrade=text).prepared(demo())


def test_sources_are_not_degraded_further(tmp_path):
    folder(tmp_path)
    with pytest.raises(InputError, match="has sources of its own"):
        Folder(degrade="blur:1").prepared(domain.read(tmp_path))


def test_a_mirrored_target_has_a_mirrored_source():
    data = Digits(degrade="mask:0.3,random").prepared(demo())
    twice = Flipped(data).batch([4, 1797 + 4])
    for x in (twice.x, twice.condition["source"]):
        assert torch.equal(x[1], x[0].flip(2))
    assert not torch.equal(twice.x, twice.condition["source"])


def test_a_folder_of_two_classes_is_still_one(tmp_path):
    save(tmp_path / "source" / "a.png")
    save(tmp_path / "sink" / "a.png")
    assert not pairs.holds(tmp_path) and domain.read(tmp_path).about["classes"] == [
        "sink",
        "source",
    ]
