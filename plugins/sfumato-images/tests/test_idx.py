"""IDX files: pairs, packed or not, joined, and every way to be wrong."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
import torch

from sfumato import InputError
from sfumato_images import idx
from sfumato_images.data import read

RNG = np.random.default_rng(0)
TRAIN, TEST = (RNG.integers(0, 256, (n, 6, 5), dtype=np.uint8) for n in (9, 4))
CLASSES = (np.arange(9) % 3).astype(np.uint8), np.array([2, 1, 0, 1], np.uint8)


def content(values, kind=8):
    head = struct.pack(f">HBB{values.ndim}I", 0, kind, values.ndim, *values.shape)
    return head + values.tobytes()


def put(folder, name, values, packed=False):
    path = folder / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(content(values)) if packed else content(values))
    return path


def signed(levels):
    return torch.from_numpy(levels).float()[:, None] / 127.5 - 1


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("labels_packed", [False, True])
@pytest.mark.parametrize("dot", ["-", "."])
def test_images_are_read_with_the_labels_beside(tmp_path, packed, labels_packed, dot):
    path = put(tmp_path, f"train-images{dot}idx3-ubyte", TRAIN, packed)
    assert read(path).about["classes"] == []
    put(tmp_path, f"train-labels{dot}idx1-ubyte", CLASSES[0], labels_packed)
    found = read(path)
    batch = found.batch(range(9))
    assert torch.equal(batch.x, signed(TRAIN))
    assert batch.condition["label"].tolist() == CLASSES[0].tolist()
    assert found.about["classes"] == ["0", "1", "2"]
    assert (found.about["size"], found.about["channels"]) == ([6, 5], 1)


def test_colour_is_the_last_axis(tmp_path):
    colour = RNG.integers(0, 256, (3, 6, 5, 3), dtype=np.uint8)
    x = read(put(tmp_path, "a.idx", colour, True)).batch(range(3)).x
    assert torch.equal(x, torch.from_numpy(colour).movedim(-1, 1).float() / 127.5 - 1)


def test_a_folder_joins_training_and_test(tmp_path):
    for name, values, classes in (("t10k", TEST, CLASSES[1]), ("train", TRAIN, CLASSES[0])):
        put(tmp_path, f"{name}-images-idx3-ubyte", values, name == "train")
        put(tmp_path, f"{name}-labels-idx1-ubyte", classes, True)
    found = read(tmp_path)
    assert len(found) == 13
    batch = found.batch(range(13))
    assert torch.equal(batch.x, torch.cat([signed(TRAIN), signed(TEST)]))
    assert batch.condition["label"].tolist() == [*CLASSES[0], *CLASSES[1]]
    assert torch.equal(found.batch([10, 2, 9, 2]).x, batch.x[[10, 2, 9, 2]])


def test_files_that_do_not_go_together_are_told(tmp_path):
    put(tmp_path, "t10k-images-idx3-ubyte", TEST[:, 1:])
    put(tmp_path, "train-images-idx3-ubyte", TRAIN)
    with pytest.raises(
        InputError, match=r"train-images-idx3-ubyte and .*t10k.* differ in the size"
    ):
        read(tmp_path)
    put(tmp_path, "t10k-images-idx3-ubyte", TEST)
    put(tmp_path, "t10k-labels-idx1-ubyte", CLASSES[1])
    with pytest.raises(InputError, match=r"or one has no labels"):
        read(tmp_path)


def test_other_files_called_idx_do_not_hide_pictures(tmp_path):
    from PIL import Image

    Image.fromarray(TRAIN[0]).save(tmp_path / "0.png")
    (tmp_path / "movie.idx").write_text("subtitles")
    assert len(read(tmp_path)) == 1


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is no IDX file"),
        (b"\x89PNG\r\n\x1a\n", "is no IDX file"),
        (content(TRAIN, kind=0x0D), "values of type 0x0d; accepted is 0x08, bytes"),
        (content(TRAIN[0]), "array of rank 2; images have rank 3 or 4"),
        (content(CLASSES[0]), "array of rank 1; images have rank 3 or 4"),
        (content(TRAIN)[:10], "ends within its header"),
        (content(TRAIN)[:-1], "holds fewer values than the 9 x 6 x 5 that its header says"),
        (content(TRAIN) + b"x", "holds more values than the 9 x 6 x 5"),
        (content(TRAIN[:0]), r"is empty: its shape is \(0, 6, 5\)"),
        (struct.pack(">HBB3I", 0, 8, 3, 1 << 30, 64, 64), "bytes, more than 4294967296"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(tmp_path, packed, body, message):
    path = tmp_path / ("x-images-idx3-ubyte.gz" if packed else "x-images-idx3-ubyte")
    path.write_bytes(gzip.compress(body) if packed else body)
    with pytest.raises(InputError, match=message) as told:
        read(path)
    assert str(path) in str(told.value) and "\n" not in str(told.value)


def test_damaged_gzip_is_told(tmp_path):
    path = put(tmp_path, "x-images-idx3-ubyte", TRAIN, True)
    whole = path.read_bytes()
    for body in (whole[:-30], b"no gzip", whole[:40] + bytes([whole[40] ^ 255]) + whole[41:]):
        path.write_bytes(body)
        with pytest.raises(InputError, match=r"x-images-idx3-ubyte.gz cannot be read"):
            read(path)


def test_labels_of_another_number_or_kind_are_told(tmp_path):
    path = put(tmp_path, "train-images-idx3-ubyte", TRAIN)
    put(tmp_path, "train-labels-idx1-ubyte", CLASSES[0][:8])
    with pytest.raises(InputError, match=r"train-labels-idx1-ubyte holds 8 labels for 9 images"):
        read(path)
    put(tmp_path, "train-labels-idx1-ubyte", TRAIN)
    with pytest.raises(InputError, match=r"train-labels.* array of rank 3; labels have rank 1"):
        read(path)


def test_a_bomb_is_unpacked_no_further_than_its_header_says(tmp_path, monkeypatch):
    """A header that says little, before much; and memory that grows with what is there."""
    path = tmp_path / "b-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(content(TRAIN) + bytes(1 << 24)))
    asked = []
    inner = idx._bounded
    monkeypatch.setattr(idx, "_bounded", lambda f, n: (asked.append(inner(f, n)), asked[-1])[1])
    with pytest.raises(InputError, match="holds more values"):
        read(path)
    assert len(asked[0]) == TRAIN.size + 1
