"""Ten thousand damaged files: only our errors, no warnings, bounded memory and time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / "tools" / "fuzz_images.py"


def fuzz(*words):
    command = [sys.executable, str(TOOL), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_damaged_files_raise_nothing_but_input_errors():
    done = fuzz("--cases", 10_000, "--seed", 0)
    assert done.returncode == 0, done.stdout + done.stderr
    read, refused = (int(done.stdout.split()[i]) for i in (2, 5))
    assert read + refused == 10_000
    assert read > 1000 and refused > 5000, "both the good and the bad are well tried"


BROKEN = f"""
import os, sys, time, warnings
sys.path.insert(0, {str(TOOL.parent)!r})
import fuzz_images as fuzz

def raises(): raise KeyError("x")
def warns(): warnings.warn("x")
def prints(): os.write(2, b"x")
def lasts(): time.sleep(0.3)
def grows(): bytearray(b"x") * (300 << 20)

good = fuzz.saved(fuzz.Image.fromarray(fuzz.COLOUR), "PNG")
for wrong in (raises, warns, prints, lasts, grows):
    def read(path, rng):
        if path.read_bytes() != good:
            wrong()
    fuzz.SECONDS, fuzz.MEMORY = (30, 200 << 20) if wrong is grows else (0.2, 2 << 30)
    fuzz.cases = lambda: [fuzz.Case("x.png", good, read)]
    try:
        fuzz.run(0, 20, 0)
    except SystemExit as error:
        print(wrong.__name__, "repeat with --first" in str(error))
"""


def test_the_fuzzer_finds_what_it_looks_for():
    """A reader that is broken on purpose ends the run, with the way to repeat it."""
    done = subprocess.run([sys.executable, "-c", BROKEN], capture_output=True, text=True)
    told = ["raises True", "warns True", "prints True", "lasts True", "grows True"]
    assert done.stdout.splitlines() == told, done.stderr
