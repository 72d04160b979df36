"""Make the example data of new plugins: simulated wind, `python tools/example_wind.py`.

The simulator is a vector Ornstein-Uhlenbeck process (wind forgets itself over about 18 hours)
around a mean wind that turns with the season, plus a sea breeze that is strongest at 15 o'clock:

    w(k + 1) = rho w(k) + std (1 - rho^2)^(1/2) eps,  rho = exp(-3 / 18),  std = 3 m/s.

Values are rounded as a weather station does: 0.1 m/s, whole degrees. `--check` says whether the
file is what it should be, and fails where it is not.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from datetime import datetime, timedelta

from workspace import ROOT

__all__ = ["main", "simulated"]

PLACE = ROOT / "packages/sfumato-testing/src/sfumato_testing/template/src/package/demo.csv"
DAYS, HOURS, STD, MEMORY = 256, 3, 3.0, 18.0


def simulated() -> str:
    """The table as text: a row every three hours, 256 days."""
    draw = random.Random(1921)
    rho = math.exp(-HOURS / MEMORY)
    u, v = draw.gauss(0, STD), draw.gauss(0, STD)
    lines = ["time,speed [m/s],direction [deg]"]
    for step in range(DAYS * 24 // HOURS):
        time = datetime(2025, 1, 1) + timedelta(hours=HOURS * step)
        u, v = (rho * w + STD * math.sqrt(1 - rho * rho) * draw.gauss(0, 1) for w in (u, v))
        season = 2 * math.pi * time.timetuple().tm_yday / 365
        breeze = 2 * math.cos(2 * math.pi * (time.hour - 15) / 24)
        east = 3 * math.cos(season) + u
        north = 3 * math.sin(season) + breeze + v
        direction = round(math.degrees(math.atan2(-east, -north))) % 360
        lines.append(f"{time:%Y-%m-%dT%H},{math.hypot(east, north):.1f},{direction}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the file, or check it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail when stale")
    if not parser.parse_args().check:
        PLACE.write_text(simulated(), encoding="utf-8")
    elif PLACE.read_text(encoding="utf-8") != simulated():
        sys.exit(f"{PLACE.name} is stale: run `python tools/example_wind.py`")


if __name__ == "__main__":
    main()
