"""Folders and arrays as data sets: order, classes, sizes, laziness, and every bad input."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato import Batch, InputError, random
from sfumato_images import arrays, data
from sfumato_images.data import demo, read, write

DRAWN = np.random.default_rng(0).integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)


def signed(levels):
    return torch.from_numpy(np.ascontiguousarray(levels)).float() / 127.5 - 1


def picture(path: Path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def whole(images):
    return images.batch(range(len(images)))


def test_demo_is_the_digits_of_scikit_learn():
    from sklearn.datasets import load_digits

    digits, batch = load_digits(), whole(demo())
    assert batch.x.shape == (1797, 1, 8, 8) and batch.x.dtype == torch.float32
    assert batch.x.min() == -1 and batch.x.max() == 1
    assert np.array_equal((batch.x[:, 0].numpy() + 1) * 8, digits.images)
    assert np.array_equal(batch.condition["label"].numpy(), digits.target)
    about = demo().about
    assert about["classes"] == list("0123456789")
    assert (about["size"], about["channels"]) == ([8, 8], 1)
    assert about["sigma_data"] == pytest.approx(float(batch.x.square().mean().sqrt()), abs=0.01)


def test_folder_is_read_at_any_depth_in_the_order_of_paths(tmp_path):
    order = ["a/z.png", "a10.png", "b/c/d.png", "e.png"]
    for i in (2, 0, 3, 1):
        picture(tmp_path / order[i], DRAWN[i])
    picture(tmp_path / ".hidden/x.png", DRAWN[5, :3])
    picture(tmp_path / "._e.png", DRAWN[5, :3])
    (tmp_path / "notes.txt").write_text("no picture")
    found = read(tmp_path)
    assert torch.equal(whole(found).x, signed(DRAWN[:4]).movedim(3, 1))
    assert whole(found).condition == {}
    assert found.about == {
        "size": [5, 4],
        "channels": 3,
        "classes": [],
        "sigma_data": pytest.approx(float(signed(DRAWN[:4]).square().mean().sqrt()), abs=1e-3),
    }
    assert torch.equal(found.batch([3, 0, 3]).x, whole(found).x[[3, 0, 3]])


def test_sub_folders_are_classes(tmp_path):
    for i, name in enumerate(["dog/1.png", "cat/x/1.png", "dog/0.png", "cat/0.PNG", "ape/0.png"]):
        picture(tmp_path / name, DRAWN[i])
    found = read(tmp_path)
    assert found.about["classes"] == ["ape", "cat", "dog"]
    assert whole(found).condition["label"].tolist() == [0, 1, 1, 2, 2]
    assert torch.equal(whole(found).x, signed(DRAWN[[4, 3, 1, 2, 0]]).movedim(3, 1))
    assert found.batch([4, 0]).condition["label"].tolist() == [2, 0]


def test_classes_that_are_numbers_are_in_their_order(tmp_path):
    for i in (2, 10, 1):
        picture(tmp_path / str(i) / "x.png", DRAWN[i])
    assert read(tmp_path).about["classes"] == ["1", "2", "10"]


@pytest.mark.parametrize("names", [["a.png", "b/c.png"], ["b/a.png", "b/c.png"]])
def test_pictures_at_the_top_or_in_one_sub_folder_have_no_classes(tmp_path, names):
    for i, name in enumerate(names):
        picture(tmp_path / name, DRAWN[i])
    assert read(tmp_path).about["classes"] == []


def test_linked_folders_are_followed_and_loops_end(tmp_path):
    picture(tmp_path / "real/x.png", DRAWN[0])
    picture(tmp_path / "set/a/x.png", DRAWN[1])
    (tmp_path / "set/b").symlink_to(tmp_path / "real")
    (tmp_path / "set/a/loop").symlink_to(tmp_path / "set")
    found = read(tmp_path / "set")
    assert found.about["classes"] == ["a", "b"]
    assert len(found) == 2


def test_channels_are_one_where_all_is_grey_or_as_told(tmp_path):
    picture(tmp_path / "0.png", DRAWN[0, ..., 0])
    assert read(tmp_path).about["channels"] == 1
    picture(tmp_path / "1.png", DRAWN[1])
    mixed = read(tmp_path)
    assert mixed.about["channels"] == 3
    assert torch.equal(whole(mixed).x[0], signed(DRAWN[0, ..., 0]).expand(3, 5, 4))
    assert whole(read(tmp_path, channels=4)).x.shape == (2, 4, 5, 4)
    assert whole(read(tmp_path, channels=1)).x.shape == (2, 1, 5, 4)


def test_mixed_sizes_are_named_with_the_way_out_which_works(tmp_path):
    picture(tmp_path / "0.png", DRAWN[0])
    picture(tmp_path / "1.png", DRAWN[1, :3])
    with pytest.raises(InputError) as told:
        read(tmp_path)
    for part in ("0.png is 5 x 4", "1.png is 3 x 4", "size=32"):
        assert part in str(told.value)
    assert read(tmp_path, size=2).about["size"] == [2, 2]
    assert whole(read(tmp_path, size=2)).x.shape == (2, 3, 2, 2)


def test_lazy_folder_equals_eager(tmp_path, monkeypatch):
    for i in range(12):
        picture(tmp_path / f"{i % 3}" / f"{i:02}.png", DRAWN[i])
    eager = read(tmp_path)
    decoded = []
    decode = data.decode
    monkeypatch.setattr(data, "decode", lambda *a: (decoded.append(a[0]), decode(*a))[1])
    monkeypatch.setattr(data, "MEMORY", 100)
    lazy = read(tmp_path)
    decoded.clear()
    assert torch.equal(lazy.batch([7, 1, 7]).x, eager.batch([7, 1, 7]).x)
    assert len(decoded) == 3, "only what is asked for is decoded"
    assert torch.equal(whole(lazy).x, whole(eager).x)
    assert torch.equal(whole(lazy).condition["label"], whole(eager).condition["label"])
    assert lazy.about == eager.about


def test_lazy_folder_names_a_file_that_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "MEMORY", 0)
    for i in range(3):
        picture(tmp_path / f"{i}.png", DRAWN[i])
    lazy = read(tmp_path)
    picture(tmp_path / "1.png", DRAWN[1, :3])
    with pytest.raises(InputError, match=r"1.png has changed its size"):
        lazy.batch([0, 1])
    (tmp_path / "1.png").unlink()
    with pytest.raises(InputError, match=r"1.png cannot be read"):
        lazy.batch([1])


def test_bad_folders_are_told_in_a_sentence(tmp_path):
    with pytest.raises(InputError, match=r"nowhere does not exist"):
        read(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no picture in .*; accepted are .png, .jpg"):
        read(tmp_path)
    (tmp_path / "x.png").write_text("no picture")
    with pytest.raises(InputError, match=r"x.png is no picture that can be read"):
        read(tmp_path)
    with pytest.raises(InputError, match=r"x.png is not a folder or .zip of pictures"):
        read(tmp_path / "x.png")
    picture(tmp_path / "x.png", np.tile(DRAWN[0], (20, 20, 1)))
    content = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"x.png is damaged"):
        read(tmp_path)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(InputError, match=r"cannot be read: Permission denied"):
        read(tmp_path)


@pytest.mark.parametrize("options", [{"size": 0}, {"channels": 2}, {"channels": 0}])
def test_options_out_of_range_are_refused(tmp_path, options):
    picture(tmp_path / "0.png", DRAWN[0])
    with pytest.raises(InputError, match=f"{next(iter(options))}="):
        read(tmp_path, **options)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("labelled", [False, True])
def test_what_is_written_is_read_back_exactly(tmp_path, channels, labelled):
    levels = random.integers(0, 256, (6, channels, 5, 7), torch.Generator().manual_seed(0))
    x, names = levels / 127.5 - 1, ["cat", "dog", "eel"]
    label = torch.tensor([2, 0, 1, 1, 0, 2])
    batch = Batch(x, {"label": label} if labelled else {})
    files = write(batch, tmp_path / "out", {"classes": names if labelled else []})
    assert [file.name for file in files[:2]] == ["000000000.png", "000000001.png"]
    assert sorted(files) == sorted((tmp_path / "out").iterdir()), "and nothing else is left"
    back = read(tmp_path / "out", channels=channels)
    assert torch.equal(whole(back).x, x)
    if labelled:
        assert back.about["classes"] == names
        assert torch.equal(whole(back).condition["label"], label)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("file,kind\n0.png,cat\n", "no column 'class'"),
        ("file,class\n1.png,cat\n", "names '1.png', but no such picture is there"),
        ("file,class\n0.png,cat\n0.png,dog\n", "names '0.png' twice"),
        ("", "no column 'file'"),
        ("file,class\n0.png,\n", "no class for .*0.png"),
        ("file,class\n0.png\n", "no class for .*0.png"),
        (b"\xff\xfe\x00", "not a table"),
    ],
)
def test_a_wrong_table_of_classes_is_told(tmp_path, table, message):
    picture(tmp_path / "0.png", DRAWN[0])
    content = table if isinstance(table, bytes) else table.encode()
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("key", ["x", "images", "anything"])
@pytest.mark.parametrize("shape", ["grey", "grey1", "colour", "alpha"])
def test_npz_of_bytes(tmp_path, key, shape):
    alpha = np.concatenate([DRAWN, DRAWN[..., :1]], -1)
    x = {"grey": DRAWN[..., 0], "grey1": DRAWN[..., :1], "colour": DRAWN, "alpha": alpha}[shape]
    np.savez(tmp_path / "a.npz", **{key: x})
    found = read(tmp_path / "a.npz")
    want = signed(x if x.ndim == 4 else x[..., None]).movedim(3, 1)
    assert torch.equal(whole(found).x, want)
    assert found.about["channels"] == want.shape[1]
    assert whole(found).condition == {}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("low", [0, -1])
def test_floats_of_either_range(tmp_path, dtype, low):
    x = np.linspace(low, 1, 2 * 5 * 4).reshape(2, 5, 4).astype(dtype)
    np.save(tmp_path / "a.npy", x)
    want = x.astype(np.float32) if low else x.astype(np.float32) * 2 - 1
    assert torch.equal(whole(read(tmp_path / "a.npy")).x, torch.from_numpy(want)[:, None])


def test_npy_is_mapped_not_loaded(tmp_path):
    path = tmp_path / "big.npy"
    header = io.BytesIO()
    shape = (1 << 15, 256, 256)
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    with path.open("wb") as file:
        file.write(header.getvalue())
        file.truncate(file.tell() + np.prod(shape))  # 2 GiB of holes
    found = read(path)
    assert len(found) == 1 << 15
    assert torch.equal(found.batch([5, 30_000]).x, torch.full((2, 1, 256, 256), -1.0))


@pytest.mark.parametrize("key", ["labels", "y"])
def test_labels_are_integers_or_words(tmp_path, key):
    numbers, words = np.arange(12) % 3 + 9, np.array(["eel", "cat", "dog"] * 4)
    np.savez(tmp_path / "n.npz", x=DRAWN, **{key: numbers})
    found = read(tmp_path / "n.npz")
    assert found.about["classes"] == ["9", "10", "11"]
    assert whole(found).condition["label"].tolist() == [0, 1, 2] * 4
    np.savez(tmp_path / "w.npz", x=DRAWN, **{key: words})
    found = read(tmp_path / "w.npz")
    assert found.about["classes"] == ["cat", "dog", "eel"]
    assert whole(found).condition["label"].tolist() == [2, 0, 1] * 4


def test_arrays_are_not_resized(tmp_path):
    np.save(tmp_path / "a.npy", DRAWN[:, :4])
    assert len(read(tmp_path / "a.npy", size=4, channels=3)) == 12
    with pytest.raises(InputError, match=r"4 x 4; size=8 x 8 resizes files"):
        read(tmp_path / "a.npy", size=8)
    with pytest.raises(InputError, match=r"3 channels; channels=1 converts files"):
        read(tmp_path / "a.npy", channels=1)


NAN = np.where(np.arange(12)[:, None, None] == 7, np.nan, DRAWN[..., 0] / 255)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"x": NAN}, "NaN or infinite values, the first in image 7"),
        ({"x": np.where(np.isnan(NAN), np.inf, NAN)}, "NaN or infinite values"),
        (
            {"x": DRAWN / 1.0},
            r"floats from 0 to 255; accepted are \[0, 1\], \[-1, 1\], uint8 and uint16",
        ),
        ({"x": DRAWN.astype(np.int64)}, "holds int64 values; accepted are uint8"),
        ({"x": DRAWN > 9}, "holds bool values"),
        ({"x": DRAWN.transpose(0, 3, 2, 1)}, r"shape \(12, 3, 4, 5\)"),
        ({"x": DRAWN[0, 0]}, r"shape \(4, 3\)"),
        ({"x": DRAWN[:0]}, r"shape \(0, 5, 4, 3\)"),
        ({"x": np.array([None, 1])}, "cannot be read as a NumPy file: Object arrays"),
        ({"a": DRAWN, "b": DRAWN}, "holds the arrays a, b; the images must be called x or images"),
        ({}, "holds the arrays none"),
        ({"x": DRAWN, "y": np.arange(11)}, r"labels of shape \(11,\)"),
        ({"x": DRAWN, "y": np.arange(12) / 2}, "type float64 for 12 images"),
    ],
)
def test_bad_arrays_are_told_in_a_sentence(tmp_path, held, message):
    np.savez(tmp_path / "a.npz", **held)
    with pytest.raises(InputError, match=message) as told:
        read(tmp_path / "a.npz")
    assert "a.npz" in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("content", [b"", b"no array at all", "cut"])
def test_what_is_no_numpy_file_is_told(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    if content == "cut":
        np.save(path.open("wb"), DRAWN) if suffix == ".npy" else np.savez(path, x=DRAWN)
        content = path.read_bytes()[:-300]
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"a{suffix} cannot be read as a NumPy file"):
        read(path)


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_arrays_of_16_bits_keep_their_depth(tmp_path, dtype):
    x = np.array([[[0, 1, 257], [32768, 65534, 65535]]], dtype)
    np.save(tmp_path / "a.npy", x)
    got = whole(read(tmp_path / "a.npy")).x[:, 0].double()
    assert np.array_equal(((got + 1) * 32767.5).round().numpy(), x)
    assert got.min() == -1 and got.max() == 1


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 2, 2,",  # TokenError
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (1L, 2, 2), }",  # Python 2: warns
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 2, 2), }",
        b"{'descr': ('|u1', 3), 'fortran_order': False, 'shape': (1, 2, 2), }",
    ],
)
@pytest.mark.filterwarnings("error")
def test_odd_headers_raise_nothing_but_input_errors(tmp_path, header):
    """Found by fuzzing: NumPy tokenises what it cannot parse, and warns of what it then can."""
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(4)
    (tmp_path / "a.npy").write_bytes(content)
    if b"1L" in header:
        assert whole(read(tmp_path / "a.npy")).x.shape == (1, 1, 2, 2)
        return
    with pytest.raises(InputError, match="a.npy"):
        read(tmp_path / "a.npy")


@pytest.mark.parametrize("wrong", ["x", "y"])
def test_entries_that_are_no_arrays_are_told(tmp_path, wrong):
    """Found by fuzzing: NumPy gives their bytes, without an error."""
    good = io.BytesIO()
    np.save(good, np.zeros((1, 2, 2), np.uint8)[..., 0] if wrong == "x" else DRAWN)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for key in ("x", "y"):
            archive.writestr(f"{key}.npy", b"no array" if key == wrong else good.getvalue())
    with pytest.raises(InputError, match=f"{wrong} in .*a.npz is no array"):
        read(tmp_path / "a.npz")


def test_names_in_a_table_are_told_in_one_line(tmp_path):
    """Found by fuzzing: a name may hold line breaks."""
    picture(tmp_path / "0.png", DRAWN[0])
    (tmp_path / "labels.csv").write_text('file,class\n"0\n.png",cat\n')
    with pytest.raises(InputError, match=r"names '0\\n.png', but no such picture is there"):
        read(tmp_path)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "LARGEST", 1 << 20)
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(1 << 21))
    assert (tmp_path / "b.npz").stat().st_size < 1 << 12
    with pytest.raises(InputError, match=r"unpacks to 2097152 bytes"):
        read(tmp_path / "b.npz")


def test_a_header_that_lies_allocates_nothing(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 40, 64, 64)}
    )
    (tmp_path / "l.npy").write_bytes(header.getvalue() + bytes(100))
    with zipfile.ZipFile(tmp_path / "l.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(100))
    for name in ("l.npy", "l.npz"):
        with pytest.raises(InputError, match=f"{name} cannot be read as a NumPy file"):
            read(tmp_path / name)
