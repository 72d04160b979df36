"""Data by name: fetched once through the registry's client, whole or not at all, checked."""

from __future__ import annotations

import gzip
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import sfumato_data
from sfumato import InputError, registry
from sfumato.components import PluginError, UnknownName
from sfumato_data import fetch, where
from sfumato_data.sources import cache, named

FETCH = """
import sys
from sfumato_data import Source, fetch
print(fetch({box!r}))
assert "torch" not in sys.modules and "numpy" not in sys.modules
"""


def start(box) -> subprocess.Popen:
    words = [sys.executable, "-c", FETCH.format(box=box)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def contents(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_digits8_comes_from_the_real_registry(tmp_path, monkeypatch):
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path))
    assert where("digits8") is None
    folder = fetch("digits8")
    rows = gzip.decompress((folder / "data/digits.csv.gz").read_bytes()).decode().splitlines()
    values = [[float(v) for v in row.split(",")] for row in rows]
    assert len(values) == 1797 and {len(row) for row in values} == {65}
    assert {row[-1] for row in values} == set(range(10))
    assert where("digits8") == folder and folder.is_relative_to(tmp_path / "data")


def test_pip_takes_the_wheel_and_nothing_but_the_wanted_files_stay(desk):
    desk.wheel()
    box = desk.source()
    assert where(box) is None
    folder = fetch(box)
    assert contents(folder) == desk.wanted
    assert where(box) == folder
    assert desk.left() == [folder.name]


def test_what_is_there_is_not_fetched_again(desk):
    box = desk.npm()
    first = fetch(box)
    desk.program("npm", "sys.exit(1)")
    assert fetch(box) == first
    assert len(desk.calls()) == 1


def test_npm_packs_the_version_asked_for_without_scripts(desk):
    folder = fetch(desk.npm())
    assert contents(folder) == desk.wanted
    words = desk.calls()[0].split()
    assert words[1] == "pack" and words[-1] == "box@1.0" and "--ignore-scripts" in words


def test_apt_downloads_and_dpkg_opens(desk):
    folder = fetch(desk.debian())
    assert contents(folder) == desk.wanted
    assert desk.calls()[0].split()[1:] == ["download", "-q", "box"]
    assert desk.calls()[1].split()[1] == "--fsys-tarfile"


def test_a_pattern_stands_for_all_files_it_matches(desk):
    box = desk.npm()
    listing = "".join(f"{desk.sha(desk.wanted[name])}  {name}\n" for name in sorted(desk.wanted))
    members = {"data/*.txt": desk.sha(listing.encode())}
    assert contents(fetch(replace(box, members=members))) == desk.wanted
    assert where(replace(box, members=members)) is not None
    with pytest.raises(InputError, match=r"holds no box/\*\.txt"):  # `*` does not run over a `/`
        fetch(replace(box, members={"*.txt": desk.sha(b"")}))


def sdist(desk):
    """A source archive whose setup.py leaves a trace when it is run."""
    script = f"open({str(desk.path / 'ran')!r}, 'w')\n".encode()
    files = desk.files | {"setup.py": script, "PKG-INFO": b"Name: box\nVersion: 1.0\n"}
    return desk.tar(desk.wheels / "box-1.0.tar.gz", files=files, root="box-1.0/")


def test_an_sdist_is_never_built(desk, monkeypatch):
    sdist(desk)
    monkeypatch.setenv("PIP_NO_BINARY", ":all:")  # set by some users; must not win
    with pytest.raises(InputError, match="pip could not download pypi:box 1.0: ERROR"):
        fetch(desk.source())
    assert not (desk.path / "ran").exists()
    assert desk.left() == []


def test_a_source_archive_is_fetched_and_nothing_of_it_is_run(desk, monkeypatch):
    desk.wheel()  # which is not what is asked for
    told = desk.sha(sdist(desk).read_bytes())
    monkeypatch.setenv("PIP_ONLY_BINARY", ":all:")  # set by some users; must not win
    box = desk.source("pypi-source", root="box-1.0", archive=told)
    folder = fetch(box)
    assert contents(folder) == desk.wanted
    assert not (desk.path / "ran").exists() and desk.left() == [folder.name]
    with pytest.raises(InputError, match="pypi-source:box 2.0: .*no source archive of box==2.0"):
        fetch(replace(box, version="2.0", root="other"))


def test_a_pip_of_the_current_folder_is_not_run(desk, monkeypatch, tmp_path):
    desk.wheel()
    (tmp_path / "pip.py").write_text("raise SystemExit('not me')")
    monkeypatch.chdir(tmp_path)
    assert contents(fetch(desk.source())) == desk.wanted


@pytest.mark.parametrize("client", ["npm", "apt-get", "dpkg-deb"])
def test_a_missing_client_is_named(desk, monkeypatch, client):
    box = desk.npm() if client == "npm" else desk.debian()
    (desk.bin / client).unlink()
    monkeypatch.setenv("PATH", str(desk.bin))
    with pytest.raises(InputError, match=f"{client} is not on PATH, but .* install it"):
        fetch(box)
    assert desk.left() == []


def test_a_missing_pip_is_named(desk, monkeypatch):
    import sfumato_data.clients

    monkeypatch.setattr(sfumato_data.clients.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="fetched with pip, which this Python .* ensurepip"):
        fetch(desk.source())


@pytest.mark.parametrize(
    "said, reason",
    [
        ("print('E: Unable to locate package box')", "E: Unable .* box; `apt-get update` may help"),
        ("print('E: out of luck'); print('W: as root')", "E: out of luck"),
        ("print('first'); print('last words')", "last words"),
        ('print(\'{"error": {"code": "E404", "summary": "no box"}}\'); print("a log")', "no box"),
        ("pass", "it said nothing"),
    ],
)
def test_a_client_that_fails_is_quoted(desk, said, reason):
    box = desk.npm()
    desk.program("npm", f"{said}\nsys.exit(7)")
    with pytest.raises(InputError, match=rf"npm could not download npm:box 1.0: {reason}$"):
        fetch(box)
    assert desk.left() == []


def test_a_client_that_brings_nothing_has_failed(desk):
    box = desk.npm()
    desk.program("npm", "print('all is well')")
    with pytest.raises(InputError, match="npm could not download npm:box 1.0: all is well"):
        fetch(box)


def test_a_silent_registry_is_given_up(desk, monkeypatch):
    with socket.socket() as server:  # takes calls, never answers
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.getsockname()[1]}/simple")
        began = time.monotonic()
        with pytest.raises(InputError, match=r"pip got nothing for pypi:box 1.0 in 2 s and was"):
            fetch(desk.source(), patience=2)
    assert time.monotonic() - began < 20
    assert desk.left() == []


def test_a_client_that_hangs_is_ended_with_all_that_it_started(desk):
    box = desk.npm()
    child = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    pid = desk.path / "pid"
    child = child.replace("'pid'", repr(str(pid)))
    desk.program("npm", f"import subprocess\nsubprocess.run([sys.executable, '-c', {child!r}])")
    with pytest.raises(InputError, match="npm got nothing .* its last words: it said nothing"):
        fetch(box, patience=2)
    process = int(pid.read_text())
    for _ in range(50):
        try:
            os.kill(process, 0)
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.1)
    raise AssertionError("the grandchild lives on")


def test_bytes_that_come_slowly_are_waited_for(desk):
    box = desk.npm()
    archive = str(desk.path / "box-1.0.tgz")
    body = f"""
    whole = open({archive!r}, 'rb').read()
    with open('box-1.0.tgz', 'wb', 0) as file:
        for i in range(0, len(whole), len(whole) // 6 + 1):
            file.write(whole[i : i + len(whole) // 6 + 1])
            time.sleep(0.4)
    """
    desk.program("npm", body)
    assert contents(fetch(box, patience=1.5)) == desk.wanted  # 2.4 s in all


def test_another_content_is_refused_and_both_sums_are_told(desk):
    box = desk.npm(files=desk.files | {"data/b.txt": b"Beta\n"})
    wrong, right = desk.sha(b"Beta\n"), desk.sha(b"beta\n")
    with pytest.raises(InputError, match=f"data/b.txt of box-1.0.tgz .*{wrong}, but {right}"):
        fetch(box)
    assert where(box) is None and desk.left() == []


def test_another_archive_is_refused(desk):
    box = desk.npm()
    (desk.path / "box-1.0.tgz").write_bytes(b"something else")
    with pytest.raises(InputError, match="box-1.0.tgz has the sha256 .* announced for npm:box"):
        fetch(box)
    assert desk.left() == []


def test_a_wrong_announcement_of_the_size_is_told(desk):
    box = desk.npm()
    with pytest.raises(InputError, match="have 605 bytes, but are announced with 700"):
        fetch(replace(box, size=700))


def test_a_folder_that_lost_something_is_fetched_anew(desk):
    box = desk.npm()
    folder = fetch(box)
    (folder / "data/a.txt").unlink()
    assert where(box) is None
    assert contents(fetch(box)) == desk.wanted
    (folder / "data/b.txt").write_bytes(b"")
    assert where(box) is None
    assert contents(fetch(box)) == desk.wanted


def test_a_half_finished_download_is_not_seen_and_is_removed(desk):
    box = desk.npm()
    half = desk.cache / f".{box.folder().name}.abc123" / "files" / "data"
    half.mkdir(parents=True)
    (half / "a.txt").write_bytes(b"alpha\n")
    assert where(box) is None
    folder = fetch(box)
    assert contents(folder) == desk.wanted
    assert desk.left() == [folder.name]


def test_of_two_processes_one_fetches(desk):
    box = desk.npm()
    archive = str(desk.path / "box-1.0.tgz")
    desk.program("npm", f"time.sleep(1)\nshutil.copy({archive!r}, '.')")
    both = [start(box), start(box)]
    said = [process.communicate(timeout=60)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said == [str(where(box))] * 2
    assert len(desk.calls()) == 1


def test_killed_in_the_middle_it_starts_again(desk):
    box = desk.npm()
    archive = str(desk.path / "box-1.0.tgz")
    body = """
    open('box-1.0.tgz', 'wb').write(b'half')
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(0.1)
    """
    desk.program("npm", body)
    process = start(box)
    for _ in range(300):
        if list(desk.cache.glob(".box-*/archive/box-1.0.tgz")):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert where(box) is None
    assert len(desk.left()) == 1  # what is left of it, under a hidden name
    desk.program("npm", f"shutil.copy({archive!r}, '.')")
    folder = fetch(box)
    assert contents(folder) == desk.wanted
    assert desk.left() == [folder.name]


def test_the_cache_is_where_it_is_wanted(desk, monkeypatch, tmp_path):
    monkeypatch.delenv("SFUMATO_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache() == tmp_path / "xdg" / "sfumato" / "data"
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path / "own"))
    assert cache() == tmp_path / "own" / "data"
    assert desk.source().folder() != desk.source(size=9).folder()
    assert desk.source().folder() == desk.source(license="another").folder()


def test_announced_data_are_sources_that_load_without_torch():
    known = [c for c in registry().list("dataset") if c.owner == "sfumato-data"]
    assert {c.name for c in known} >= {"digits8", "fashion-mnist", "emoji", "brown", "moses"}
    for component in known:
        found = named(component.name)
        assert all(len(digest) == 64 for digest in found.members.values())
        assert found.license and found.what
    code = (
        "import sys, sfumato_data.sources as s; s.where('digits8'); s.named('moses'); "
        "sys.exit(bool({'torch', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_names_that_are_not_there():
    with pytest.raises(UnknownName, match="no dataset 'digit8'; did you mean digits8"):
        fetch("digit8")


def test_what_is_announced_must_be_a_source(monkeypatch):
    component = registry().find("dataset", "digits8")
    monkeypatch.setattr(type(component), "load", lambda self: 3)
    with pytest.raises(PluginError, match="'digits8' of sfumato-data is no .*Source, but a int"):
        where("digits8")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"registry": "cargo"}, "no registry 'cargo'; accepted are pypi, pypi-source, npm"),
        ({"registry": "npm"}, "npm package box needs the sha256 of its archive"),
        ({"registry": "pypi-source"}, "pypi-source package box needs the sha256 of its archive"),
        ({"members": {}}, "names no files"),
        ({"package": "git+https://example.org/box"}, "is no name of a package"),
        ({"package": "--index-url=x"}, "is no name of a package"),
    ],
)
def test_wrong_descriptions_are_refused(desk, changes, message):
    with pytest.raises(InputError, match=message):
        desk.source(**({"registry": "pypi"} | changes))


def test_the_package_offers_it():
    assert {"Source", "fetch", "where"} <= set(sfumato_data.__all__)
