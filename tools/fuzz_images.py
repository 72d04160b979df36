"""Damaged and random files for every reader of images: `python tools/fuzz_images.py -h`.

Small files of each format are made, damaged (flipped bits, cuts, splices, other numbers in headers
and length fields, checksums of PNG mended or not) and read; some are random bytes under a good
name. It is an error if anything but `InputError` comes out, if a warning is given or anything is
printed, by C libraries too (but for libtiff, which Pillow lets speak), if a case takes more than
`SECONDS`, or if the process grows by more than `MEMORY`. The first error ends the run with the
number of its case and how to repeat it; no file is kept.
"""

from __future__ import annotations

import argparse
import faulthandler
import gzip
import io
import os
import random
import re
import resource
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from sfumato import InputError
from sfumato_images import data
from sfumato_images.files import decode, header

SECONDS = 30.0
"""Longest time for a case; a few bytes may stand for the largest picture that is accepted."""

MEMORY = 4 << 30
"""Bytes that the process may grow by: a picture of `files.LIMIT` pixels with its float values."""

SIDE = (13, 9)
RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (*SIDE, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (*SIDE, 4), dtype=np.uint16)


class Case(NamedTuple):
    """A good file: its name, its content, and what reads it."""

    name: str
    content: bytes
    read: Callable[[Path, random.Random], None]
    intact: bool = True


# ------------------------------------------------------------------------------ good files


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def deep_png(values: np.ndarray, colour: int) -> bytes:
    """A PNG of 16 bits; Pillow writes grey ones only."""
    height, width = values.shape[:2]
    rows = values.astype(">u2").reshape(height, -1).view(np.uint8)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    head = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", packed), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def deep_tiff(values: np.ndarray, deflate: bool) -> bytes:
    """A little-endian TIFF of 16-bit colour; Pillow writes none."""
    height, width, colours = values.shape
    body = values.astype("<u2").tobytes()
    body = zlib.compress(body) if deflate else body
    at = 8 + 2 + 12 * 10 + 4
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, colours, at),
        (259, 3, 1, 8 if deflate else 1),
        (262, 3, 1, 2), (273, 4, 1, at + 8), (277, 3, 1, colours), (278, 4, 1, height),
        (279, 4, 1, len(body)), (338, 3, 1, 2),
    ][: 10 if colours == 4 else 9]  # fmt: skip
    directory = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    start = struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + directory + struct.pack("<I", 0)
    return start.ljust(at, b"\0") + struct.pack("<4H", 16, 16, 16, 16) + body


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """The file of a picture."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pictures() -> Iterator[tuple[str, bytes]]:
    """Files of all formats, and of all modes that differ in how they are read."""
    rgb = Image.fromarray(COLOUR)
    grey, palette, bits = rgb.convert("L"), rgb.convert("P"), rgb.convert("1")
    rgba = Image.fromarray(np.dstack([COLOUR, COLOUR[..., 0]]))
    exif = Image.Exif()
    exif[0x0112] = 6
    for image in (rgb, grey, palette, bits, rgba, rgba.convert("LA")):
        yield "png", saved(image, "PNG")
    yield "png", saved(palette, "PNG", transparency=3, exif=exif)
    yield "png", saved(Image.fromarray(DEEP[..., 0]), "PNG")
    yield from (("png", deep_png(DEEP[..., :n], c)) for n, c in ((2, 4), (3, 2), (4, 6)))
    for image in (rgb, grey, rgb.convert("CMYK")):
        yield "jpg", saved(image, "JPEG")
    yield "jpg", saved(rgb, "JPEG", progressive=True, exif=exif)
    yield "jpg", saved(rgb, "MPO", save_all=True, append_images=[rgb.rotate(9)])
    yield "webp", saved(rgb, "WEBP")
    yield "webp", saved(rgba, "WEBP", lossless=True, exif=exif)
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield "tif", saved(rgb, "TIFF", compression=compression)
    yield "tif", saved(bits, "TIFF", compression="group4")
    for image in (rgba, palette, rgb.convert("CMYK"), Image.merge("LAB", rgb.split())):
        yield "tif", saved(image, "TIFF")
    yield "tif", saved(Image.fromarray(DEEP[..., 0]), "TIFF", tiffinfo={274: 6})
    yield from (("tif", deep_tiff(DEEP[..., :n], z)) for n in (3, 4) for z in (False, True))
    for image in (rgb, grey, bits):
        yield "bmp", saved(image, "BMP")
    yield "gif", saved(palette, "GIF")


def animated() -> Iterator[tuple[str, bytes]]:
    """Files of several frames or pages, which are refused."""
    rgb = Image.fromarray(COLOUR)
    for suffix, kind in (("png", "PNG"), ("webp", "WEBP"), ("tif", "TIFF"), ("gif", "GIF")):
        yield suffix, saved(rgb, kind, save_all=True, append_images=[rgb.rotate(9)])


def idx(values: np.ndarray) -> bytes:
    """An IDX file of bytes."""
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def zipped(*entries: tuple[str, bytes]) -> bytes:
    """A zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return out.getvalue()


def numpy(**arrays: Any) -> bytes:
    """An .npz file, or the .npy file of one array called `npy`."""
    out = io.BytesIO()
    if "npy" in arrays:
        np.save(out, arrays["npy"])
    else:
        np.savez_compressed(out, **arrays)
    return out.getvalue()


LABELS = b"file,class\na.png,cat\nb.png,dog\n"


def cases() -> list[Case]:
    """One good file of each kind."""
    found = [Case(f"x.{suffix}", content, read_picture) for suffix, content in pictures()]
    found += [Case(f"x.{suffix}", body, read_picture, intact=False) for suffix, body in animated()]
    png = saved(Image.fromarray(COLOUR), "PNG")
    many = RNG.integers(0, 256, (5, *SIDE), dtype=np.uint8)
    found += [Case("labels.csv", LABELS, read_labels)] * 3
    sets = {
        "a.npy": [numpy(npy=many), numpy(npy=many / 255), numpy(npy=DEEP)],
        "a.npz": [
            numpy(x=many, y=np.arange(5)),
            numpy(images=many / 255, labels=np.array(["a", "b"])[[0, 1, 0, 1, 0]]),
        ],
        "train-images-idx3-ubyte": [idx(many)],
        "train-images-idx3-ubyte.gz": [gzip.compress(idx(many))],
        "train-labels-idx1-ubyte": [idx(np.arange(5, dtype=np.uint8))],
        "train-labels-idx1-ubyte.gz": [gzip.compress(idx(np.arange(5, dtype=np.uint8)))],
        "a.zip": [
            zipped(("cat/a.png", png), ("dog/b.png", png)),
            zipped(("a.png", png), ("b.png", png), ("labels.csv", LABELS)),
        ],
    }  # fmt: skip
    found += [Case(name, content, read_set) for name in sets for content in 2 * sets[name]]
    return found


# ------------------------------------------------------------------------------ reading


def read_picture(path: Path, rng: random.Random) -> None:
    """What a folder does with a picture, or a folder of it."""
    if rng.random() < 0.1:
        read_all(path.parent, rng)
        return
    size, channels = header(path).size, rng.choice((1, 3, 4))
    if rng.random() < 0.5:
        size = (rng.randint(1, 40), rng.randint(1, 40))
        x = decode(path, channels, size, rng.choice(("cut", "pad", "stretch")))
    else:
        x = decode(path, channels)
    assert x.shape == (channels, *size) and x.isfinite().all() and x.abs().max() <= 1


def read_labels(path: Path, rng: random.Random) -> None:
    """A folder with a table beside its pictures."""
    for name in ("a.png", "b.png"):
        Image.fromarray(COLOUR).save(path.with_name(name))
    read_all(path.parent, rng)


def read_set(path: Path, rng: random.Random) -> None:
    """A file of many images; labels are read with the images beside."""
    if "labels" in path.name:
        path = path.with_name(path.name.replace("labels-idx1", "images-idx3"))
        path.write_bytes(gzip.compress(IDX) if path.suffix == ".gz" else IDX)
    read_all(path.parent if "idx" in path.name and rng.random() < 0.5 else path, rng)


IDX = idx(np.zeros((5, 4, 4), np.uint8))


def read_all(path: Path, rng: random.Random) -> None:
    """A data set, and its first and last items."""
    options = rng.choice(({}, {}, {"size": 8, "fit": "pad"}, {"buckets": 16}, {"channels": 3}))
    if path.is_file() and path.suffix != ".zip":
        options = {}
    found = data.read(path, **options)
    for index in (0, len(found) - 1):
        x = found.batch([index]).x
        assert x.isfinite().all() and x.abs().max() <= 1


# ------------------------------------------------------------------------------ damage


def damaged(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """The content with one to five things wrong."""
    if rng.random() < 0.02:
        return rng.randbytes(rng.randrange(400))
    body = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        rng.choice(DAMAGES)(body, others, rng)
    return mended(bytes(body)) if rng.random() < 0.5 else bytes(body)


def flip(body: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    """A bit."""
    if body:
        body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)


def cut(body: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    """Its end, or a piece."""
    start = rng.randrange(len(body) + 1)
    del body[start : rng.choice((len(body), start + rng.randrange(20)))]


def splice(body: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    """A piece of another file in place of one of its own, or put in."""
    other = rng.choice(others)
    start, length = rng.randrange(len(other) + 1), rng.randrange(1, 200)
    place = rng.randrange(len(body) + 1)
    body[place : place + rng.choice((0, length))] = other[start : start + length]


def head(body: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    """A byte of the first 64."""
    if body:
        body[rng.randrange(min(64, len(body)))] = rng.randrange(256)


def number(body: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    """A number at any place: a length, a size, a count."""
    form = rng.choice(("<H", ">H", "<I", ">I", "<Q"))
    most = 256 ** struct.calcsize(form) - 1
    value = rng.choice((0, 1, 2, most, most // 2, most // 2 + 1, 65535, 8192, rng.randrange(99999)))
    place = rng.randrange(len(body) + 1)
    body[place : place + struct.calcsize(form)] = struct.pack(form, min(value, most))


DAMAGES = (flip, flip, cut, splice, head, number, number)


def mended(content: bytes) -> bytes:
    """A PNG whose checksums are right again, so that what is wrong is found later."""
    if content[:4] != b"\x89PNG":
        return content
    found, place = [content[:8]], 8
    while place + 12 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        body = content[place + 8 : place + 8 + length]
        found.append(struct.pack(">I", length) + content[place + 4 : place + 8] + body)
        found.append(struct.pack(">I", zlib.crc32(content[place + 4 : place + 8] + body)))
        place += 12 + length
    return b"".join(found)


# ------------------------------------------------------------------------------ the run


@contextmanager
def heard() -> Iterator[Callable[[], str]]:
    """What was written to stderr since it was last asked, by C libraries too."""
    sys.stderr.flush()
    own = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)

        def said() -> str:
            log.seek(0)
            text = log.read().decode(errors="replace")
            log.seek(0)
            log.truncate()
            return text

        try:
            yield said
        finally:
            os.dup2(own, 2)
            os.close(own)


def peak() -> int:
    """Most bytes that this process has held."""
    status = Path("/proc/self/status")
    if status.is_file():  # `ru_maxrss` would begin with what the process that started this one held
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        if found:
            return 1024 * int(found[1])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def run(first: int, count: int, seed: int) -> str:
    """Read `count` damaged files; what was found, in one line.

    Raises:
        SystemExit: at the first error, with the case and how to repeat it.
    """
    good = cases()
    kinds: dict[str, list[bytes]] = {}
    for case in good:
        kinds.setdefault(Path(case.name).suffix, []).append(case.content)
    before, read, slowest = peak(), 0, 0.0
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as room, heard() as said:
        for case in good:
            if case.intact:
                trial(Path(room), case, case.content, random.Random(0))
        for i in range(first, first + count):
            rng = random.Random(f"{seed} {i}")
            case = good[i % len(good)]
            content = damaged(case.content, kinds[Path(case.name).suffix], rng)
            faulthandler.dump_traceback_later(2 * SECONDS, exit=True, file=1)
            began, wrong = time.perf_counter(), None
            try:
                trial(Path(room), case, content, rng)
                read += 1
            except InputError as error:
                if len(str(error).splitlines()) != 1:
                    wrong = f"it is told in several lines: {error}"
            except BaseException:
                wrong = traceback.format_exc()
            took = time.perf_counter() - began
            slowest = max(slowest, took)
            if took > SECONDS:
                wrong = f"it took {took:.1f} s"
            if peak() - before > MEMORY:
                wrong = f"the process has grown by {(peak() - before) >> 20} MiB"
            printed = said()
            wrong = wrong or ("" if case.name.endswith(".tif") else printed)
            if wrong:
                where = f"--first {i} --cases 1 --seed {seed}"
                raise SystemExit(f"case {i}, {case.name}: {wrong.strip()}\nrepeat with {where}")
    faulthandler.cancel_dump_traceback_later()
    grown = (peak() - before) >> 20
    return (
        f"{count} files: {read} were read, {count - read} refused; slowest {slowest:.2f} s, "
        f"memory grew by {grown} MiB at most"
    )


def trial(room: Path, case: Case, content: bytes, rng: random.Random) -> None:
    """Read a file that is alone in a folder."""
    for left in room.iterdir():
        left.unlink()
    path = room / case.name
    path.write_bytes(content)
    case.read(path, rng)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000, help="how many files are damaged")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    words = parser.parse_args()
    print(run(words.first, words.cases, words.seed))
