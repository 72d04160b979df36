"""Pairs of IDX files: read as they are, their test part held out, damage told."""

from __future__ import annotations

import gzip

import pytest
import torch
from fixtures import clothes

from sfumato import InputError
from sfumato_data import split
from sfumato_images import fashion
from sfumato_images.domain import domain

NAMES = fashion.CLOTHES


@pytest.fixture
def folder(tmp_path):
    clothes(tmp_path / "idx")
    return tmp_path / "idx"


def test_the_test_part_is_what_is_held_out(folder):
    data = fashion.read(folder, NAMES)
    train, held = split(data, None, seed=0)
    assert list(held.index) == list(range(60, 80)) and list(train.index) == list(range(60))
    assert len(split(data, 0.5, seed=0)[1].index) not in (0, 20)
    assert data.about["classes"] == list(NAMES) and data.about["size"] == [28, 28]
    batch = data.batch([3, 63])
    assert batch.condition["label"].tolist() == [3, 3]
    rows = batch.x.mean((1, 3))
    assert torch.equal(rows.topk(3).indices.sort().values, torch.tensor([[9, 10, 11]] * 2))
    assert batch.x.min() == -1 and batch.x.max() <= 1


def test_plain_files_are_read_as_packed_ones(folder):
    packed = fashion.read(folder, NAMES).batch([0, 79])
    for file in list(folder.iterdir()):
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    plain = fashion.read(folder, NAMES).batch([0, 79])
    assert torch.equal(packed.x, plain.x)


def test_the_domain_reads_them_where_the_recipe_names_the_classes(folder):
    assert domain.read(folder, classes=NAMES).about["classes"] == list(NAMES)


def test_a_class_that_no_image_has_keeps_its_number(folder):
    """Labels are numbers into the names, not ranks among those that occur."""
    for part, count in (("train", 60), ("t10k", 20)):
        labels = bytes([0, 0, 8, 1]) + count.to_bytes(4, "big") + bytes([7]) * count
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    found = fashion.read(folder, NAMES)
    assert found.about["classes"] == list(NAMES) and set(found.labels.tolist()) == {7}


def test_what_does_not_go_together_is_told(folder):
    with pytest.raises(InputError, match=r"a label 9, but 9 classes are named"):
        fashion.read(folder, NAMES[:9])
    with pytest.raises(
        InputError, match="images of 28 x 28; size=32 x 32 resizes files of pictures"
    ):
        fashion.read(folder, NAMES, size=32)
    labels = folder / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes((folder / "train-labels-idx1-ubyte.gz").read_bytes())
    with pytest.raises(InputError, match="t10k-labels-idx1-ubyte.gz holds 60 labels for 20 images"):
        fashion.read(folder, NAMES)
    labels.unlink()
    with pytest.raises(InputError, match="or one has no labels"):
        fashion.read(folder, NAMES)
    (folder / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match="has no labels beside its images"):
        fashion.read(folder, NAMES)
