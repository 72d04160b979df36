"""Where samples go: a folder, or one file of a domain that writes files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sfumato import Batch, InputError
from sfumato_cli import writing


class Lines:
    """Numbers as text; `.one` files hold one item each."""

    name = "lines"
    suffixes = (".txt", ".one")

    def write(self, batch, path, about):
        rows = batch.x.tolist()
        if path.is_dir():
            names = [path / "all.txt"]
        elif path.suffix == ".one":
            names = [path.with_stem(f"{path.stem}-{i}") for i in range(len(rows))]
            for name, row in zip(names, rows, strict=True):
                name.write_text(str(row))
            return names
        else:
            names = [path]
        names[0].write_text("\n".join(map(str, rows)))
        return names

    def preview(self, batch, path, about):
        path.write_bytes(b"picture")
        return path


X = Batch(torch.tensor([1, 2]))


def test_a_file_of_the_domain_holds_all_samples(tmp_path):
    out = tmp_path / "new" / "out.txt"
    picture = writing.write(Lines(), X, {}, out, {})
    assert out.read_text() == "1\n2" and picture == tmp_path / "new" / "out.txt.png"
    assert sorted(p.name for p in out.parent.iterdir()) == ["out.txt", "out.txt.png"]


def test_what_holds_one_item_is_numbered(tmp_path):
    writing.write(Lines(), X, {}, tmp_path / "out.one", {})
    assert {p.name for p in tmp_path.iterdir()} == {"out-0.one", "out-1.one", "out.one.png"}


def test_another_suffix_is_a_folder(tmp_path):
    writing.write(Lines(), X, {}, tmp_path / "out.new", {"n": 2})
    assert (tmp_path / "out.new" / "all.txt").read_text() == "1\n2"


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path):
    class Full(Lines):
        def write(self, batch, path, about):
            path.write_text("half")
            raise InputError("the disk is full")

    with pytest.raises(InputError, match="full"):
        writing.write(Full(), X, {}, tmp_path / "out.txt", {})
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_the_way_is_told(tmp_path):
    for make in (Path.mkdir, Path.touch):
        out = tmp_path / f"{make.__name__}.txt"
        make(out)
        with pytest.raises(InputError, match=r"exists already; name a new file"):
            writing.check(Lines(), out)
    (tmp_path / "b").write_text("")
    with pytest.raises(InputError, match=r"to a folder, or to a file \.txt, \.one"):
        writing.check(Lines(), tmp_path / "b")
