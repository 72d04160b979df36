"""A zip of pictures: the same as its folder, and whatever could do harm refused by name."""

from __future__ import annotations

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato import InputError
from sfumato_data import keys_of
from sfumato_images import archive, data
from sfumato_images.data import read

DRAWN = np.random.default_rng(0).integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)
PNG = []
for one in DRAWN:
    out = io.BytesIO()
    Image.fromarray(one).save(out, "PNG")
    PNG.append(out.getvalue())


def zipped(path, entries, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in entries:
            file.writestr(name, content)
    return path


def test_a_zip_reads_as_its_folder_does(tmp_path, monkeypatch):
    names = ["cat/0.png", "cat/deep/a10.png", "cat/a1.png", "dog/0.png", "dog/B.PNG"]
    entries = [*zip(names, PNG, strict=False), ("notes.txt", "x"), ("cat/.x.png", b""),
               ("__MACOSX/cat/._0.png", b"")]  # fmt: skip
    zipped(tmp_path / "a.zip", entries)
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        file.extractall(tmp_path / "a")
    for memory in (1 << 28, 0):
        monkeypatch.setattr(data, "MEMORY", memory)
        folder, packed = read(tmp_path / "a"), read(tmp_path / "a.zip")
        assert packed.about == folder.about and packed.about["classes"] == ["cat", "dog"]
        assert keys_of(packed) == keys_of(folder)
        index = [4, 0, 2, 2, 1, 3]
        a, b = folder.batch(index), packed.batch(index)
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.condition["label"], b.condition["label"])


def test_a_folder_that_holds_all_is_passed_through(tmp_path):
    names = ["photos/cat/0.png", "photos/dog/0.png"]
    found = read(zipped(tmp_path / "a.zip", zip(names, PNG, strict=False)))
    assert found.about["classes"] == ["cat", "dog"]
    assert keys_of(found) == ["cat/0.png", "dog/0.png"]


def test_a_table_in_the_zip_gives_the_classes(tmp_path):
    table = "file,class\nb.png,cat\na.png,dog\n"
    entries = [("b.png", PNG[0]), ("a.png", PNG[1]), ("labels.csv", table)]
    found = read(zipped(tmp_path / "a.zip", entries))
    assert [found.about["classes"][i] for i in found.batch([0, 1]).condition["label"]] == [
        "dog", "cat",
    ]  # fmt: skip
    entries[-1] = ("labels.csv", table + "c.png,cat\n")
    with pytest.raises(InputError, match=r"'labels.csv' in .*b.zip names 'c.png', but no such"):
        read(zipped(tmp_path / "b.zip", entries))


def test_threads_read_a_zip_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "MEMORY", 0)
    found = read(zipped(tmp_path / "a.zip", [(f"{i:02}.png", PNG[i]) for i in range(12)]))
    with ThreadPoolExecutor(4) as pool:
        each = list(pool.map(lambda i: found.batch([i % 12]).x[0], range(120)))
    want = found.batch(range(12)).x
    assert all(torch.equal(x, want[i % 12]) for i, x in enumerate(each))


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "a/../../x.png", "C:\\x.png", "..\\x.png"])
def test_names_that_escape_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="leads outside of its folder; the archive is refused"):
        read(zipped(tmp_path / "a.zip", [("0.png", PNG[0]), (name, PNG[1])]))


def test_encrypted_entries_are_refused_by_name(tmp_path):
    path = zipped(tmp_path / "a.zip", [("0.png", PNG[0]), ("1.png", PNG[1])])
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 1)
    content[place + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a.zip holds '1.png', which is encrypted"):
        read(path)


def test_links_doubles_archives_and_other_packings_are_refused(tmp_path):
    link = zipfile.ZipInfo("l.png")
    link.external_attr = 0o120777 << 16
    for entries, message in (
        ([(link, "/etc/passwd")], "'l.png', which is a link"),
        ([("inner.zip", PNG[0])], "'inner.zip', which is an archive itself"),
        ([("a.png", PNG[0]), ("a.tar.gz", b"")], "'a.tar.gz', which is an archive itself"),
    ):
        with pytest.raises(InputError, match=message):
            read(zipped(tmp_path / "a.zip", entries))
    with pytest.warns(UserWarning, match="Duplicate name"):
        zipped(tmp_path / "a.zip", [("a.png", PNG[0]), ("a.png", PNG[1])])
    with pytest.raises(InputError, match="holds 'a.png' twice"):
        read(tmp_path / "a.zip")
    with pytest.raises(InputError, match="'a.png', which is packed by method 14"):
        read(zipped(tmp_path / "a.zip", [("a.png", PNG[0])], zipfile.ZIP_LZMA))


def test_bombs_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", [("0.png", PNG[0]), ("b.bmp", bytes(20 << 20))])
    with pytest.raises(InputError, match=r"'b.bmp' in .*a.zip unpacks from \d+ to 20971520 bytes"):
        read(path)
    path = zipped(tmp_path / "b.zip", [(f"{i}.bmp", bytes(4 << 20)) for i in range(5)])
    with pytest.raises(
        InputError, match=r"b.zip unpacks from \d+ to 20971520 bytes, more than 200"
    ):
        read(path)
    monkeypatch.setattr(archive, "LARGEST", 50)
    with pytest.raises(InputError, match=r"'0.png', which unpacks to \d+ bytes, more than 50"):
        read(zipped(tmp_path / "c.zip", [("0.png", PNG[0])]))


def test_an_entry_that_lies_about_its_size_is_damaged(tmp_path):
    """The directory says few bytes, deflate holds many: no more than was said is unpacked."""
    path = zipped(tmp_path / "a.zip", [("b.bmp", bytes(1 << 20))])
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02")
    content[place + 24 : place + 28] = (100).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"'b.bmp' in .*a.zip is (damaged|no picture)"):
        read(path)


def test_damaged_and_empty_archives_are_told(tmp_path):
    path = zipped(tmp_path / "a.zip", [("0.png", PNG[0])], zipfile.ZIP_STORED)
    content = path.read_bytes()
    place = content.index(PNG[0]) + 30
    path.write_bytes(content[:place] + b"?" + content[place + 1 :])
    with pytest.raises(InputError, match=r"'0.png' in .*a.zip is damaged: Bad CRC-32"):
        read(path)
    path.write_bytes(content[:-30])
    with pytest.raises(InputError, match=r"a.zip cannot be read as a zip"):
        read(path)
    with pytest.raises(InputError, match=r"no picture in .*e.zip; accepted are .png"):
        read(zipped(tmp_path / "e.zip", [("notes.txt", "x")]))


def test_an_entry_without_a_name_is_refused(tmp_path):
    """Found by fuzzing: the standard library fails over it."""
    path = zipped(tmp_path / "a.zip", [("0", PNG[0])])
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02")
    content[place + 28 : place + 30] = b"\0\0"
    content[place + 32 : place + 34] = b"\1\0"  # the byte of the name becomes a comment
    path.write_bytes(content)
    with pytest.raises(InputError, match="a.zip holds an entry without a name"):
        read(path)
