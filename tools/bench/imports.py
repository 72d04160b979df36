"""Start-up of sfumato against bare Python and against torch: `python tools/bench/imports.py`.

Every program is run once to warm the caches, then all of them in turn, so that a busy machine slows
them alike; the table gives medians. Compiled bytecode is assumed: `tools/bootstrap` compiles it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from importlib.metadata import entry_points

CORE = "import torch; import sfumato; [getattr(sfumato, name) for name in sfumato.__all__]"


def programs() -> dict[str, str]:
    """What is measured: a label and the code that Python runs."""
    (script,) = entry_points(group="console_scripts", name="sfumato")
    module, _, attribute = script.value.partition(":")
    command = (
        "import sys; sys.argv = ['sfumato', {!r}]; from " + f"{module} import {attribute} as m"
    )
    return {
        "bare Python": "pass",
        "import sfumato": "import sfumato",
        "sfumato plugins": f"{command.format('plugins')}; m()",
        "sfumato list": f"{command.format('list')}; m()",
        "sfumato --help": f"{command.format('--help')}; m()",
        "import torch": "import torch",
        "torch and the whole core": CORE,
    }


def seconds(code: str) -> float:
    """Wall time of one fresh interpreter."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=9, help="runs of each program (default 9)")
    runs = parser.parse_args().runs
    codes = programs()
    for code in codes.values():
        seconds(code)
    taken: dict[str, list[float]] = {label: [] for label in codes}
    for _ in range(runs):
        for label, code in codes.items():
            taken[label].append(seconds(code))
    middle = {label: statistics.median(values) for label, values in taken.items()}
    bare, torch = middle["bare Python"], middle["import torch"]
    print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, median of {runs} runs each")
    print(f"{'':26}{'ms':>8}{'over bare':>12}{'x torch':>10}")
    for label, value in middle.items():
        print(f"{label:26}{1e3 * value:8.0f}{1e3 * (value - bare):12.0f}{value / torch:10.2f}")
    print("targets: the four without torch <= 150 ms over bare; the whole core <= 1.10 x torch")


if __name__ == "__main__":
    main()
