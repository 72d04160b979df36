"""How long an author waits: from nothing to the passing tests of a new plugin.

`python tools/bench/new_plugin.py` follows the guide (packages/sfumato-testing/PLUGIN.md) up to
`pytest`, three times with what uv has in its cache and three times with an empty cache: the
environment is made, the command installed, the plugin written, built, installed and tested. Wheels
of our own packages are built beforehand, as they are on an index. The number to hold is 120 s.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import guide

LIMIT = 120


def main() -> None:
    """Measure and print; fails where a run fails, or the median is above the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        environment = guide.machine(guide.built(root / "wheels"), root / "home")
        for cache in ("warm", "cold"):
            taken = [seconds(root / f"{cache}-{run}", environment, cache) for run in range(runs)]
            each = ", ".join(f"{one:.1f}" for one in taken)
            middle = statistics.median(taken)
            print(f"{cache} cache: median {middle:.1f} s of {runs} runs ({each}); limit {LIMIT} s")
            if middle > LIMIT:
                sys.exit(f"more than {LIMIT} s")


def seconds(folder: Path, environment: dict[str, str], cache: str) -> float:
    """Wall time of the guide up to its tests."""
    folder.mkdir()
    if cache == "cold":
        environment = environment | {"UV_CACHE_DIR": str(folder / "cache")}
    began = time.monotonic()
    done = guide.follow(folder, environment, last="pytest")
    taken = time.monotonic() - began
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    print(f"  {done.stdout.splitlines()[-1]}", flush=True)
    return taken


if __name__ == "__main__":
    main()
