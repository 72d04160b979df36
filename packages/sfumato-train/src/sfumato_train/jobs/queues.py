"""Who makes which shard: a queue on a TCPStore, in which a worker that dies blocks nobody.

Workers take numbers from a counter. When it has run out, a worker that is idle looks after the
shards that are still missing: it takes over those of workers that have fallen silent or are far
slower than itself. That two workers make the same shard is harmless, since both write the same and
each writes it whole; so no claim has to be exact, and no clocks are compared.

The store holds, besides the counters `next` and `workers`, `owner/SHARD` for each shard that was
taken and `beat/WORKER`, which a worker counts up while it lives.
"""

from __future__ import annotations

__all__ = ["LEASE", "PATIENCE", "Store", "join", "shared", "store_at"]

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from torch.distributed import DistError, Store, TCPStore  # type: ignore[attr-defined]

from sfumato import InputError

from ..places import Place
from .shards import Job

PATIENCE = timedelta(minutes=5)
"""How long a worker waits for the queue to be there, and for worker 0 to begin the job."""

LEASE = 5.0
"""Seconds of silence after which a worker counts as dead; it beats five times as often."""

LOOK = 8
"""Missing shards that an idle worker looks at in one go: its requests do not grow with the job."""

SLOW = 4
"""A worker that holds a shard for this many times what others need is given up."""


def store_at(host: str, port: int, *, keeps: bool, patience: timedelta) -> TCPStore:
    """A store that any number of processes may join, at any time.

    Args:
        host: where it is.
        port: where it is; 0: a free one is found, see `port` of the result.
        keeps: whether it lives in this process, which then has to be on that host.
        patience: how long to wait for it to be there, and for values that are not there yet.

    Raises:
        DistError: if it cannot be reached.
    """
    return TCPStore(host, port, None, keeps, patience, wait_for_workers=False)


def join(here: Place, patience: timedelta = PATIENCE) -> Store:
    """The store that the workers share.

    Raises:
        InputError: if it cannot be reached or, by the process that keeps it, not be opened.
    """
    try:
        return store_at(here.host, here.port, keeps=here.keeps, patience=patience)
    except DistError as error:
        does = "open the queue at" if here.keeps else "reach the queue at"
        cause = str(error).splitlines()[0]
        raise InputError(
            f"worker {here.rank} cannot {does} {here.host}:{here.port}: {cause}"
        ) from None


def shared(store: Store, job: Job, lease: float = LEASE) -> Generator[int, None, None]:
    """The shards that are this worker's to make, until all shards of the job are made.

    The shard must have been made when the next one is asked for. Close the generator to leave
    early: what was taken is given back.

    Args:
        store: that all workers of the job are joined to.
        job: the job.
        lease: seconds of silence after which another worker counts as dead.

    Raises:
        DistError: if the store is gone.
    """
    me, longest = str(store.add("workers", 1)), 0.0
    with _beating(store, me, lease / 5):
        while (shard := store.add("next", 1) - 1) < job.count:
            if not job.made(shard) and _claim(store, shard, "", me) == me:
                began = time.monotonic()
                yield from _held(store, shard, me)
                longest = max(longest, time.monotonic() - began)
        yield from _rest(store, job, me, lease, longest)


def _claim(store: Store, shard: int, before: str, after: str) -> str:
    """Change the owner of a shard, if it is `before`; returns who it is then."""
    owner: bytes = store.compare_set(f"owner/{shard}", before, after)
    return owner.decode()


def _held(store: Store, shard: int, me: str) -> Iterator[int]:
    try:
        yield shard
    except GeneratorExit:
        with suppress(DistError):
            _claim(store, shard, me, "")
        raise


@dataclass
class _Seen:
    """What a worker knows of another that holds a shard, by its own clock."""

    beat: int
    heard: float  # when the beat last changed
    since: float  # when it was first seen with the shard


def _rest(store: Store, job: Job, me: str, lease: float, longest: float) -> Iterator[int]:
    """The missing shards that nobody has, or whose owner is given up."""
    left, seen = job.missing(), dict[tuple[int, str], _Seen]()
    patience = max(lease, SLOW * longest) if longest else float("inf")
    turn = int(me)  # so that idle workers look at different shards
    while left:
        found = False
        for shard in [left[(turn + i) % len(left)] for i in range(min(LOOK, len(left)))]:
            owner = "" if job.made(shard) else _claim(store, shard, "", me)
            if owner not in ("", me) and _gone(store, shard, owner, seen, lease, patience):
                owner = _claim(store, shard, owner, me)
            if owner == me:
                found = True
                yield from _held(store, shard, me)
        turn += LOOK
        left = [shard for shard in left if not job.made(shard)]
        if left and not found:
            time.sleep(lease / 10)


def _gone(
    store: Store,
    shard: int,
    owner: str,
    seen: dict[tuple[int, str], _Seen],
    lease: float,
    patience: float,
) -> bool:
    now, beat = time.monotonic(), store.add(f"beat/{owner}", 0)
    one = seen.setdefault((shard, owner), _Seen(beat, now, now))
    if one.beat != beat:
        one.beat, one.heard = beat, now
    return now - one.heard > lease or now - one.since > patience


@contextmanager
def _beating(store: Store, me: str, pause: float) -> Iterator[None]:
    """Within the block a thread lets the other workers know that this one lives."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(pause):
            try:
                store.add(f"beat/{me}", 1)
            except DistError:
                return  # the worker itself notices when it asks for the next shard

    thread = threading.Thread(target=beat, name="sfumato-beat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
