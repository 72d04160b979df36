"""Files of trajectories: arrays, frames of XYZ, and tables of tracked pedestrians."""

from __future__ import annotations

__all__ = ["SUFFIXES", "WRITTEN", "read", "save", "write"]

import csv
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato import Batch, InputError
from sfumato_train.files import make_folder, write_bytes, write_text

from ..files import content
from ..formats import FORMATS
from ..molecule import SYMBOLS
from .data import Track, Tracks, apart, tracks_of, windows

LARGEST = 2**31
"""Most bytes of one array inside an .npz file."""

Array = NDArray[Any]
Loaded = tuple[list[Track], Mapping[str, Any]]


def read(
    path: Path,
    *,
    given: int = 10,
    future: int = 20,
    every: int | None = None,
    together: int | None = None,
    left_out: str | None = None,
    like: Mapping[str, Any] | None = None,
) -> Tracks:
    """Trajectories in a file, or in all files of a folder that are of a known kind.

    - `.npz`: `positions` (M, N, F, D) with, if there are any, `kinds` (M, N, K) or (N, K),
      `features`, `unit` and `interval`; or one run of molecular dynamics as MD17 has it: `R` or
      `coords` (S, N, 3) and `z` or `nuclear_charges` (N,), in angstrom.
    - `.xyz`, `.extxyz`: the frames of one run, the same atoms in each.
    - `.txt`: ETH/UCY, a row `frame pedestrian x y` for each, metres, 0.4 seconds a frame. A window
      holds those who are there in all its frames, none of which is missing.

    Long runs are cut into windows of given + future frames.

    Args:
        path: a file or a folder.
        given: frames that a model is told.
        future: frames that it makes.
        every: frames from one window to the next; None: windows do not overlap.
        together: points of the largest system; larger ones are cut into groups of points that are
            near each other in the last given frame (`data.apart`). None: they stay as they are.
        left_out: a folder in `path` that is called so, if there is one, stands for the data: its
            folder `train`, and as a test part `val`. So the scenes of ETH/UCY come.
        like: facts of other data that these have to fit.

    Raises:
        InputError: for a path that is not there or of no known kind, a file that is damaged or too
            large, atoms that change within a run, too few frames, and as `tracks_of` does.
    """
    parts = [path]
    if left_out is not None and (path / left_out).is_dir():
        parts = [path / left_out / part for part in ("train", "val")]
    each, facts = _read(parts, given + future, every or given + future)
    if together is not None:
        each = [[p for t in own for p in apart(t, together, max(given - 1, 0))] for own in each]
    tracks = [track for own in each for track in own]
    tested = range(len(each[0]), len(tracks)) if len(each) > 1 else None
    return tracks_of(tracks, given=given, future=future, like=like, tested=tested, **facts)


def _read(
    paths: Sequence[Path], frames: int, every: int
) -> tuple[list[list[Track]], Mapping[str, Any]]:
    """The windows at each path, which have the same facts, and these."""
    found: list[list[Track]] = []
    facts: Mapping[str, Any] = {}
    for path in paths:
        tracks, own = _windows(path, frames, every)
        if facts and own != facts:
            raise InputError(f"{path} has {dict(own)}, the files before it {dict(facts)}")
        found, facts = [*found, tracks], own
    return found, facts


def _windows(path: Path, frames: int, every: int) -> Loaded:
    """All windows in a file or a folder."""
    files = [path]
    if path.is_dir():
        files = sorted(f for f in path.rglob("*") if f.suffix.lower() in _READERS)
    if not files:
        raise InputError(f"{path} holds no trajectories; accepted are {', '.join(_READERS)}")
    found: list[Track] = []
    facts: Mapping[str, Any] = {}
    for file in files:
        reader = _READERS.get(file.suffix.lower())
        if reader is None:
            raise InputError(
                f"{file} is of no kind that holds trajectories; accepted are {', '.join(_READERS)}"
            )
        try:
            tracks, own = reader(file, frames, every)
        except InputError as error:
            place = str(error) if str(file) in str(error) else f"{file}: {error}"
            raise InputError(place) from None
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error.strerror or error}") from None
        if facts and own != facts:
            raise InputError(f"{file} has {dict(own)}, the files before it {dict(facts)}")
        place = file.relative_to(path).as_posix() if path.is_dir() else file.name
        found += [replace(track, run=f"{place}: {track.run}") for track in tracks]
        facts = own
    if not found:
        raise InputError(f"{path} holds no window of {frames} frames")
    return found, facts


def _arrays(path: Path, frames: int, every: int) -> Loaded:
    """An .npz file."""
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.file_size > LARGEST:
                    raise InputError(f"{entry.filename} unpacks to more than 2 GiB")
        with np.load(path, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
    except InputError:
        raise
    except Exception as error:  # a damaged file makes NumPy raise almost anything
        words = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path} cannot be read as a NumPy file: {words}") from None
    if "positions" in held:
        return _several(path, held, frames, every)
    run = next((held[name] for name in ("R", "coords") if name in held), None)
    numbers = next((held[name] for name in ("z", "nuclear_charges") if name in held), None)
    if run is None or numbers is None:
        raise InputError(
            f"{path} holds {', '.join(held) or 'nothing'}; accepted are positions (M, N, F, D), or "
            "R (S, N, 3) with z (N,)"
        )
    if run.ndim != 3 or run.shape[2] != 3 or numbers.shape != run.shape[1:2]:
        raise InputError(f"R has shape {run.shape} and z {numbers.shape}, not (S, N, 3) and (N,)")
    return _run(run, numbers.astype(np.int64), path.stem, frames, every)


def _several(path: Path, held: Mapping[str, Array], frames: int, every: int) -> Loaded:
    places = held["positions"]
    if places.ndim != 4 or not np.issubdtype(places.dtype, np.floating):
        raise InputError(f"positions have shape {places.shape}; floats (M, N, F, D) are needed")
    kinds = held.get("kinds", np.ones((places.shape[1], 1)))
    if kinds.ndim not in (2, 3) or kinds.shape[-2] != places.shape[1]:
        raise InputError(f"kinds have shape {kinds.shape}; (M, N, K) or (N, K) is needed")
    if kinds.ndim == 3 and len(kinds) != len(places):
        raise InputError(f"there are kinds for {len(kinds)} of {len(places)} trajectories")
    all_kinds = np.broadcast_to(kinds, (len(places), *kinds.shape[-2:])).astype(np.float32)
    facts = {
        "unit": str(held.get("unit", "")),
        "interval": float(held.get("interval", 1.0)),
        "features": [str(name) for name in held.get("features", ())],
    }
    tracks = [
        Track(one.astype(np.float32), all_kinds[i], f"{path.stem} {i}")
        for i, one in enumerate(places)
    ]
    return [w for track in tracks for w in windows(track, frames, every)], facts


def _run(run: Array, numbers: Array, name: str, frames: int, every: int) -> Loaded:
    """The frames (S, N, 3) of one run of atoms, angstrom."""
    elements = sorted(set(numbers.tolist()))
    if elements[0] < 1 or elements[-1] >= len(SYMBOLS):
        raise InputError(f"{name}: there is no element of number {elements[0]} to {elements[-1]}")
    kinds = (numbers[:, None] == np.array(elements)).astype(np.float32)
    track = Track(np.swapaxes(run, 0, 1).astype(np.float32), kinds, name)
    facts = {"unit": "angstrom", "interval": 1.0, "features": [SYMBOLS[e] for e in elements]}
    return list(windows(track, frames, every)), facts


def _xyz(path: Path, frames: int, every: int) -> Loaded:
    form = FORMATS[".xyz"]
    places: list[Any] = []
    first: Array | None = None
    for record in form.records(content(path), None):
        molecule = form.parse(record, path.name, "as-is")
        if first is None:
            first = molecule.elements
        if not np.array_equal(molecule.elements, first):
            raise InputError(f"line {record.line}: other atoms than in the first frame")
        places.append(molecule.positions)
    if first is None:
        raise InputError(f"{path} holds no frames")
    return _run(np.stack(places), first.astype(np.int64), path.stem, frames, every)


def _pedestrians(path: Path, frames: int, every: int) -> Loaded:
    rows = []
    for number, line in enumerate(content(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            rows.append([float(word) for word in words[:4]])
            if len(words) < 4:
                raise ValueError
        except ValueError:
            raise InputError(f"line {number}: {line[:40]!r} is no row frame, id, x, y") from None
    if not rows:
        raise InputError(f"{path} holds no rows")
    table = np.array(rows)
    return list(_crowds(table, frames, every, path.stem)), {
        "unit": "metre", "interval": 0.4, "features": ["pedestrian"],
    }  # fmt: skip


def _crowds(table: Array, frames: int, every: int, name: str) -> Iterator[Track]:
    """Windows of frames of equal distance, with those who are there throughout."""
    times = np.unique(table[:, 0])
    step = np.diff(times).min() if len(times) > 1 else 0.0
    seen = [{row[1]: row[2:] for row in table[table[:, 0] == time]} for time in times]
    for first in range(0, len(times) - frames + 1, every):
        if times[first + frames - 1] - times[first] != step * (frames - 1):
            continue  # frames are missing in between
        span = seen[first : first + frames]
        there = sorted(set.intersection(*(set(one) for one in span)))
        if there:
            places = np.array([[one[who] for one in span] for who in there], dtype=np.float32)
            ones = np.ones((len(there), 1), np.float32)
            yield Track(places, ones, f"{name}@{times[first]:g}", name, first)


_READERS: dict[str, Callable[[Path, int, int], Loaded]] = {
    ".npz": _arrays, ".xyz": _xyz, ".extxyz": _xyz, ".txt": _pedestrians,
}  # fmt: skip
SUFFIXES: Sequence[str] = tuple(_READERS)


def write(batch: Batch, path: Path, about: Mapping[str, Any]) -> list[Path]:
    """Write trajectories, the given frames before those that were made.

    Args:
        batch: of `Tracks`; without its condition `source` (as `sample` has it, whose sources are
            files of the user) what was made alone.
        path: `.npz` with all that `read` takes; `.csv` with a row for each point and frame; `.xyz`
            with the frames of one trajectory after those of the other; a folder gets one `.npz` for
            each, called by its `name`.
        about: the facts of the data.

    Returns:
        What was written.

    Raises:
        InputError: for another suffix, or XYZ of points that are no atoms.
    """
    held = _whole(batch, about)
    if path.is_dir() or not path.suffix:
        make_folder(path)
        names = batch.about.get("name") or [f"{i:05d}" for i in range(len(batch.x))]
        files = [path / f"{_plain(name)}.npz" for name in names]
        for i, file in enumerate(files):
            each = {n: v[i : i + 1] if n in _EACH else v for n, v in held.items()}
            write_bytes(file, _packed(each))
        return files
    return [_written(held, path)]


def save(
    tracks: Sequence[Track], path: Path, features: Sequence[str], unit: str, interval: float
) -> Path:
    """Write whole trajectories to one file, as `write` does.

    Args:
        tracks: of one number of points and frames.
        path: `.npz`, `.csv` or `.xyz`.
        features: names of the kinds.
        unit: of the places.
        interval: between frames.

    Raises:
        InputError: as `write` does.
    """
    held = {
        "positions": np.stack([track.places for track in tracks]),
        "kinds": np.stack([track.kinds for track in tracks]),
        "features": np.array(list(features)),
        "unit": np.array(unit),
        "interval": np.array(interval),
    }
    return _written(held, path)


def _written(held: Mapping[str, Array], path: Path) -> Path:
    if path.suffix not in WRITTEN:
        raise InputError(f"{path}: trajectories are written as {', '.join(WRITTEN)} or to a folder")
    make_folder(path.parent)
    if path.suffix == ".npz":
        write_bytes(path, _packed(held))
    elif path.suffix == ".csv":
        write_text(path, _rows(held["positions"]))
    else:
        write_text(path, _frames(held))
    return path


_EACH = ("positions", "kinds")
WRITTEN: Sequence[str] = (".npz", ".csv", ".xyz")


def _whole(batch: Batch, about: Mapping[str, Any]) -> dict[str, Array]:
    """The arrays that a file has, by name."""
    facts = {"unit": np.array(about["unit"]), "interval": np.array(about["interval"])}
    source, kinds, places = batch.condition.get("source"), batch.condition.get("kind"), batch.x
    if source is not None:
        kinds, places = source["kind"], torch.cat([source["past"], places], 2)
    named = (
        {} if kinds is None else {"kinds": kinds.numpy(), "features": np.array(about["features"])}
    )
    return {"positions": places.numpy(), **named, **facts}


def _packed(arrays: Mapping[str, Any]) -> bytes:
    held = io.BytesIO()
    np.savez_compressed(held, **arrays)
    return held.getvalue()


def _rows(places: Array) -> str:
    held = io.StringIO()
    table = csv.writer(held, lineterminator="\n")
    table.writerow(["trajectory", "point", "frame", *"xyz"[: places.shape[3]]])
    for place in np.ndindex(places.shape[:3]):
        table.writerow([*place, *(f"{value:.6g}" for value in places[place].tolist())])
    return held.getvalue()


def _frames(held: Mapping[str, Array]) -> str:
    places, features = held["positions"], held.get("features", np.array([])).tolist()
    if places.shape[3] != 3 or not features or not set(features) <= set(SYMBOLS):
        raise InputError("XYZ holds atoms in three dimensions; write .npz or .csv")
    lines = []
    for i, one in enumerate(places):
        symbols = [features[k] for k in held["kinds"][i].argmax(1)]
        for frame in range(one.shape[1]):
            rows = zip(symbols, one[:, frame].tolist(), strict=True)
            lines += [str(len(one)), f"trajectory {i} frame {frame}"]
            lines += [f"{symbol:2s} {x:14.6f} {y:14.6f} {z:14.6f}" for symbol, (x, y, z) in rows]
    return "\n".join(lines) + "\n"


def _plain(name: str) -> str:
    """A name as that of a file."""
    return "".join(c if c.isalnum() or c in "-_@." else "-" for c in name)
