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


def change(path, edit):
    path.write_bytes(gzip.compress(edit(bytearray(gzip.decompress(path.read_bytes())))))


def cut(content):
    return content[:-1]


def longer(content):
    return content + b"x"


def other_rank(content):
    content[3] = 2
    return content


def huge(content):
    content[4:16] = b"\x7f\xff\xff\xff" * 3
    return content


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (cut, "holds less than announced"),
        (longer, "holds more than announced"),
        (other_rank, "is no IDX file of bytes with 3 dimensions"),
        (huge, "at most 1073741824 are read"),
    ],
)
def test_damage_is_told(folder, edit, message):
    change(folder / "train-images-idx3-ubyte.gz", edit)
    with pytest.raises(InputError, match=f"train-images-idx3-ubyte.gz {message}|{message}"):
        fashion.read(folder, NAMES)


def test_what_does_not_go_together_is_told(folder):
    with pytest.raises(InputError, match=r"a label 9 in train, but 9 classes"):
        fashion.read(folder, NAMES[:9])
    with pytest.raises(InputError, match="grey images of 28 x 28"):
        fashion.read(folder, NAMES, size=32)
    labels = folder / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes((folder / "train-labels-idx1-ubyte.gz").read_bytes())
    with pytest.raises(InputError, match="has 20 images, but 60 labels in t10k"):
        fashion.read(folder, NAMES)
    labels.unlink()
    with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte is missing"):
        fashion.read(folder, NAMES)
    images = folder / "train-images-idx3-ubyte.gz"
    images.write_bytes(images.read_bytes()[:40])
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte.gz cannot be read"):
        fashion.read(folder, NAMES)
