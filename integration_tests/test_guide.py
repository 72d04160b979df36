"""The guide for authors is short, and does what it shows in an environment of its own."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path

import example_wind
import guide
import pytest


def test_the_guide_has_at_most_900_words() -> None:
    assert 300 < guide.words(guide.GUIDE.read_text(encoding="utf-8")) <= 900


def test_the_example_data_is_what_its_simulator_makes() -> None:
    assert example_wind.PLACE.read_text(encoding="utf-8") == example_wind.simulated()
    assert example_wind.PLACE.stat().st_size < 50_000


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_guide_followed_word_for_word(tmp_path: Path) -> None:
    wheels, outside = guide.built(tmp_path / "wheels"), tmp_path / "outside"
    outside.mkdir()
    environment = guide.machine(wheels, tmp_path / "home")
    done = guide.follow(outside, environment)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    package = outside / "sfumato-wind"

    # Only what the plugin asks for is there: our packages, and no other plugin of ours.
    listed = [line.split() for line in done.stdout.splitlines()]
    assert ["wind", "sfumato-wind", "0.1.0", "3"] in listed
    installed = subprocess.run(
        ["uv", "pip", "list", "--format", "json", "--python", outside / "trying"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    names = {one["name"] for one in json.loads(installed.stdout)}
    built = {wheel.name.partition("-")[0].replace("_", "-") for wheel in wheels.glob("*.whl")}
    unasked = {"sfumato-diffusers"}
    assert {name for name in names if name.startswith("sfumato")} == (
        {"sfumato-wind"} | built - unasked
    )

    # Its conformance ran, and the command line did what was asked.
    assert " passed" in done.stdout and "failed" not in done.stdout
    with (package / "days/samples.csv").open() as rows:
        assert len(list(csv.reader(rows))) == 1 + 16 * 8
    assert (package / "days.png").read_bytes().startswith(b"\x89PNG")
    table = json.loads((package / "runs/demo/evaluation.json").read_text())["scores"]
    scores = {row["name"]: row for row in table}
    assert scores["sliced-wasserstein"]["ratio"] < 2
