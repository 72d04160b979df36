"""Trajectories as one data set in memory: windows of frames, of which the first are given."""

from __future__ import annotations

__all__ = ["Track", "Tracks", "apart", "constant_velocity", "tracks_of", "windows"]

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato import Batch, Fields, InputError

LARGEST = 200
"""Points of the largest system: a network looks at all pairs in each frame."""

EXAMPLES = 256
"""Systems whose kinds are kept as facts, for models that are given no frames."""

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Points that move together.

    Attributes:
        places: (N, F, D) over F frames, D = 2 or 3.
        kinds: (N, K) numbers that do not change: a charge, a mass, an element.
        name: where it is from.
        run: the recording that it is a piece of; empty: it is one itself.
        first: its first frame in the recording.
    """

    places: Array
    kinds: Array
    name: str = ""
    run: str = ""
    first: int = 0


@dataclass(frozen=True, eq=False)
class Tracks:
    """A data set of trajectories of equal length.

    A batch has the frames to come as its state, (B, N, T, D), and as its condition `source` the
    `past` (B, N, P, D) and the `kind` (B, N, K) of the points; where no frames are given, its
    condition is `kind` alone. Systems of another number of points are another group. Pieces of one
    recording stay together in a split, and one recording is split by time.

    The facts `about`: `source` with the number of given `frames`, where there are any, `future`
    (T), `dimensions`, `features` (names of the kinds), `points` (numbers of points that occur, the
    most frequent first), `unit` and `interval` of the frames, and `scale`: how far, about, points
    go from the last given frame. Where no frames are given, `scale` is how far points are from the
    middle of all, and `examples` has the kinds of some systems of the first number of points.
    """

    tracks: Sequence[Track]
    about: Mapping[str, Any]
    tested: Sequence[int] | None = None
    """Which are the test part that the data comes with."""

    def __len__(self) -> int:
        """Number of trajectories."""
        return len(self.tracks)

    def batch(self, index: Sequence[int]) -> Batch:
        """The trajectories at `index`, of one number of points."""
        chosen = [self.tracks[i] for i in index]
        places = torch.from_numpy(np.stack([track.places for track in chosen])).float()
        kinds = torch.from_numpy(np.stack([track.kinds for track in chosen])).float()
        names = [track.name for track in chosen]
        if "source" not in self.about:
            return Batch(places, {"kind": kinds}, {"name": names})
        given = self.about["source"]["frames"]
        source = Fields(past=places[:, :, :given], kind=kinds)
        return Batch(places[:, :, given:], {"source": source}, {"name": names})

    def groups(self) -> Sequence[int] | None:
        """The place of its number of points among `points`; None where there is one."""
        points = self.about["points"]
        return [points.index(len(t.places)) for t in self.tracks] if len(points) > 1 else None

    def keys(self) -> Sequence[str] | None:
        """The recording that each is of; None where any has no name."""
        keys = [track.run or track.name for track in self.tracks]
        return keys if all(keys) else None

    def spans(self) -> Sequence[tuple[int, int]] | None:
        """The frames of each in its recording; None where any has no name."""
        if self.keys() is None:
            return None
        return [(track.first, track.first + track.places.shape[1]) for track in self.tracks]

    def test_part(self) -> Sequence[int] | None:
        """Which are the test part; None where the data has none."""
        return self.tested


def tracks_of(
    tracks: Sequence[Track],
    *,
    given: int,
    future: int,
    unit: str = "",
    interval: float = 1.0,
    features: Sequence[str] = (),
    like: Mapping[str, Any] | None = None,
    tested: Sequence[int] | None = None,
) -> Tracks:
    """Trajectories as a data set.

    Args:
        tracks: each of at least given + future frames, of which the first are taken.
        given: frames that a model is told, 0 or at least 2.
        future: frames that it makes, at least 1.
        unit: of the places.
        interval: between frames.
        features: names of the kinds; empty: kind 0, 1, ...
        like: facts of other data that these have to fit, and whose scale is taken.
        tested: which are a test part.

    Raises:
        InputError: for no trajectories, too few frames, points beyond 200, places that are not
            finite, and what disagrees with `like` or among the trajectories.
    """
    if not tracks:
        raise InputError("there are no trajectories")
    if given < 0 or given == 1 or future < 1:
        raise InputError(
            f"given={given}, future={future}: 0 or at least 2 frames are given, and 1 or more made"
        )
    dims, kinds = tracks[0].places.shape[-1], tracks[0].kinds.shape[-1]
    names = list(features) or [f"kind {i}" for i in range(kinds)]
    for track in tracks:
        _check(track, given + future, dims, kinds)
    cut = [replace(t, places=t.places[:, : given + future]) for t in tracks]
    about: dict[str, Any] = {
        "future": future, "dimensions": dims, "features": names, "unit": unit,
        "interval": interval, **({"source": {"frames": given}} if given else {}),
    }  # fmt: skip
    if like is None:
        return Tracks(cut, {**about, **_measured(cut, given)}, tested)
    for name in ("source", "future", "dimensions", "features"):
        if about.get(name) != like.get(name):
            raise InputError(
                f"the trajectories have {name} {about.get(name)}, not {like.get(name)}"
            )
    for track in cut:
        if len(track.places) not in like["points"]:
            known = ", ".join(map(str, like["points"]))
            raise InputError(f"{track.name}: {len(track.places)} points; the model knows {known}")
    return Tracks(cut, like, tested)


def _measured(tracks: Sequence[Track], given: int) -> dict[str, Any]:
    """The facts that are measured: `points`, `scale` and, where no frames are given, `examples`."""
    counts = Counter(len(t.places) for t in tracks)
    points = sorted(counts, key=lambda count: (-counts[count], count))
    if given:
        away = [t.places[:, given:] - t.places[:, given - 1 : given] for t in tracks]
    else:
        away = [t.places - t.places.mean((0, 1)) for t in tracks]
    scale = float(np.sqrt(np.mean([np.square(a, dtype=np.float64).mean() for a in away])))
    found: dict[str, Any] = {"points": points, "scale": scale or 1.0}
    if not given:
        kinds = [t.kinds for t in tracks if len(t.places) == points[0]]
        some = np.stack(kinds[:: -(-len(kinds) // EXAMPLES)])
        found["examples"] = (some[:1] if (some == some[0]).all() else some).tolist()
    return found


def _check(track: Track, frames: int, dims: int, kinds: int) -> None:
    points, own, d = track.places.shape
    if own < frames:
        raise InputError(f"{track.name}: {own} frames; given and future make {frames}")
    if not 1 <= points <= LARGEST or d != dims or d not in (2, 3):
        raise InputError(
            f"{track.name}: {points} points in {d} dimensions; accepted are 1 to {LARGEST} points "
            f"in {dims if dims in (2, 3) else '2 or 3'}"
        )
    if track.kinds.shape != (points, kinds):
        raise InputError(f"{track.name}: kinds have shape {track.kinds.shape}, not {points, kinds}")
    if not (np.isfinite(track.places).all() and np.isfinite(track.kinds).all()):
        raise InputError(f"{track.name}: a number is not finite")


def windows(track: Track, frames: int, every: int) -> Iterator[Track]:
    """Pieces of a long trajectory, each `every` frames after the one before."""
    run = track.run or track.name
    for first in range(0, track.places.shape[1] - frames + 1, every):
        piece = track.places[:, first : first + frames]
        yield Track(piece, track.kinds, f"{track.name}@{first}", run, track.first + first)


def apart(track: Track, most: int, at: int) -> Iterator[Track]:
    """A system cut into groups of at most `most` points that are near each other.

    Points are halved along the longer side of the place they take, until the groups are small
    enough, so that each point is in one group and groups are about equally large.

    Args:
        track: the system.
        most: points of a group.
        at: the frame whose places decide; that of a model that is given frames must be one of them.
    """
    yield from _halved(track, np.arange(len(track.places)), most, at)


def _halved(track: Track, chosen: Array, most: int, at: int) -> Iterator[Track]:
    groups = -(-len(chosen) // most)
    if groups <= 1:
        name = track.name if len(chosen) == len(track.places) else f"{track.name}+{chosen[0]}"
        places, kinds = track.places[chosen], track.kinds[chosen]
        yield replace(track, places=places, kinds=kinds, name=name, run=track.run or track.name)
        return
    places = track.places[chosen, at]
    order = np.argsort(places[:, np.ptp(places, 0).argmax()], kind="stable")
    first = round(len(chosen) * (groups // 2) / groups)
    for half in (order[:first], order[first:]):
        yield from _halved(track, np.sort(chosen[half]), most, at)


def constant_velocity(past: Tensor, future: int) -> Tensor:
    """(B, N, T, D): the step between the last two given frames (B, N, P, D), made again."""
    step = past[:, :, -1:] - past[:, :, -2:-1]
    ahead = torch.arange(1, future + 1, dtype=past.dtype, device=past.device)[:, None]
    return past[:, :, -1:] + step * ahead
