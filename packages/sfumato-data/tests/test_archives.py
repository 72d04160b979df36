"""Archives that mean harm, or are damaged, write nothing outside and are named in one sentence."""

from __future__ import annotations

import stat
import tarfile
import zipfile

import pytest

from sfumato import InputError
from sfumato_data.archives import unpack


def info(name, kind, target=""):
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, target
    return found


@pytest.fixture
def room(tmp_path):
    (tmp_path / "room").mkdir()
    return tmp_path / "room"


def refused(desk, archive, room, message, box=None):
    before = sorted(room.parent.rglob("*"))
    with pytest.raises(InputError, match=message) as caught:
        unpack(box or desk.source(), archive, room / f"files-{archive.suffix}")
    assert archive.name in str(caught.value) and "\n" not in str(caught.value)
    new = set(room.parent.rglob("*")) - set(before) - {desk.path / "calls"}
    assert all(path.is_relative_to(room / f"files-{archive.suffix}") for path in new)
    assert not any(path.is_symlink() for path in new)


OUTSIDE = ["../evil.txt", "box/../../evil.txt", "/tmp/evil.txt", "..\\evil.txt", "C:\\evil.txt"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_lead_outside_are_refused(desk, room, name):
    bad = zipfile.ZipInfo("x")
    bad.filename = name
    refused(
        desk,
        desk.zip(room.parent / "a.whl", desk.files | {bad: b"evil"}),
        room,
        "leads outside of its folder",
    )
    refused(
        desk,
        desk.tar(room.parent / "a.tgz", extra=[tarfile.TarInfo(name)]),
        room,
        "leads outside of its",
    )


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(desk, room, kind):
    files = {"data/b.txt": desk.files["data/b.txt"]}
    bad = info("box/data/a.txt", kind, "/etc/passwd")
    refused(
        desk,
        desk.tar(room.parent / "a.tgz", files, extra=[bad]),
        room,
        "box/data/a.txt as a link or a dev",
    )


def test_a_link_in_a_wheel_is_refused(desk, room):
    link = zipfile.ZipInfo("box/data/a.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = desk.zip(room.parent / "a.whl", {link: b"/etc/passwd", "data/b.txt": b"beta\n"})
    refused(desk, archive, room, "box/data/a.txt as a link")


def test_a_folder_that_is_a_link_redirects_nothing(desk, room):
    """Files are written below plain folders of our own, whatever the archive says of them."""
    link = info("./box/data", tarfile.SYMTYPE, str(room.parent))
    path = room.parent / "a.tgz"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(link)
    whole = desk.tar(room.parent / "b.tgz", extra=[link])
    unpack(desk.source(), whole, room / "files")
    assert not (room / "files/data").is_symlink()
    assert (room / "files/data/a.txt").read_bytes() == desk.files["data/a.txt"]
    assert not (room.parent / "a.txt").exists()


def test_links_that_nobody_asked_for_are_passed_over(desk, room):
    extra = [info("./usr/share/doc/box", tarfile.SYMTYPE, "../elsewhere")]
    unpack(desk.source(), desk.tar(room.parent / "a.tgz", extra=extra), room / "files")
    assert sorted(p.name for p in room.rglob("*.txt")) == ["a.txt", "b.txt"]


@pytest.mark.parametrize("kind", ["whl", "tgz"])
def test_a_bomb_is_stopped_at_the_declared_size(desk, room, kind):
    bomb = {"data/a.txt": b"\0" * 50_000_000, "data/b.txt": b"beta\n"}
    make = desk.zip if kind == "whl" else desk.tar
    archive = make(room.parent / f"a.{kind}", bomb)
    assert archive.stat().st_size < 100_000
    refused(desk, archive, room, "unpacks to more than the 605 bytes declared, at .*box/data/a.txt")
    assert sum(p.stat().st_size for p in room.rglob("*") if p.is_file()) <= 606


def test_a_size_that_the_zip_lies_about_is_no_way_round(desk, room):
    archive = desk.zip(
        room.parent / "a.whl", {"data/a.txt": b"\0" * 10_000, "data/b.txt": b"beta\n"}
    )
    content = archive.read_bytes().replace(
        (10_000).to_bytes(4, "little"), (5).to_bytes(4, "little")
    )
    archive.write_bytes(content)
    refused(desk, archive, room, "damaged|sha256|more than")


def test_a_name_that_comes_twice_is_refused(desk, room):
    with pytest.warns(UserWarning, match="Duplicate name"):
        one, two = zipfile.ZipInfo("box/data/b.txt"), zipfile.ZipInfo("box/data/b.txt")
        archive = desk.zip(room.parent / "a.whl", desk.files | {one: b"beta\n", two: b"beta\n"})
    refused(desk, archive, room, "box/data/b.txt twice")


def test_a_missing_file_is_named(desk, room):
    archive = desk.zip(room.parent / "a.whl", {"data/a.txt": desk.files["data/a.txt"]})
    refused(desk, archive, room, "a.whl holds no box/data/b.txt")


@pytest.mark.parametrize("kind", ["whl", "tgz", "deb"])
@pytest.mark.parametrize("cut", [0, 0.05, 0.1])
def test_a_damaged_archive_is_named(desk, room, kind, cut):
    make = desk.zip if kind == "whl" else desk.tar
    options = {"mode": "w"} if kind == "deb" else {}
    archive = make(room.parent / f"a.{kind}", **options)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(cut * len(content))])
    desk.program("dpkg-deb", "sys.stdout.buffer.write(open(sys.argv[2], 'rb').read())")
    refused(desk, archive, room, "is damaged: |holds no box/data/b.txt")


def test_garbled_bytes_are_named(desk, room):
    archive = desk.zip(room.parent / "a.whl")
    content = bytearray(archive.read_bytes())
    content[46:51] = b"\xff" * 5
    archive.write_bytes(content)
    refused(desk, archive, room, "damaged|sha256")


def test_what_dpkg_says_of_a_broken_package_is_told(desk, room):
    archive = room.parent / "a.deb"
    archive.write_bytes(b"no package")
    desk.program("dpkg-deb", "print('not a Debian format archive', file=sys.stderr); sys.exit(2)")
    refused(desk, archive, room, "a.deb is damaged: not a Debian format archive")
