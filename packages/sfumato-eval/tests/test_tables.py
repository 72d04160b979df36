"""Tables and their file, and what the plugin announces."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from sfumato import Batch, registry
from sfumato_eval import Score, render, table, write

SCORES = {
    "frechet": Score(0.1234567, 500, 0.1, "features a|b"),
    "kid": Score(0.002, 500, None, "cubic"),
    "recognised": Score(0.97, 500, 0.99, "share", "higher", {"standard error": 0.0076}),
}


def test_rows_hold_everything_a_score_knows():
    rows = table(SCORES)
    assert [row["name"] for row in rows] == list(SCORES)
    assert rows[0]["ratio"] == pytest.approx(1.234567) and rows[1]["ratio"] is None
    assert rows[2]["better"] == "higher" and rows[2]["parts"] == {"standard error": 0.0076}


def test_the_rendering_is_an_aligned_markdown_table():
    lines = render(table(SCORES)).splitlines()
    assert len(lines) == 5 and len({len(line) for line in lines}) == 1
    cells = [[c.strip() for c in line.replace("\\|", "/").split("|")[1:-1]] for line in lines]
    assert cells[0] == ["metric", "value", "floor", "ratio", "better", "n", "protocol"]
    assert cells[2] == ["frechet", "0.1235", "0.1", "1.235", "lower", "500", "features a/b"]
    assert cells[3][2:4] == ["-", "-"]
    assert cells[4][-1] == "share; standard error 0.0076"


def test_the_file_is_written_whole_or_not_at_all(tmp_path):
    path = write(table(SCORES), tmp_path / "metrics.json")
    before = path.read_text()
    assert json.loads(before) == {"format": 1, "scores": table(SCORES)}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(table({"bad": Score(float("nan"), 1, None, "p")}), path)
    assert path.read_text() == before and list(tmp_path.iterdir()) == [path]


def test_a_write_that_is_cut_short_leaves_the_old_file(tmp_path, monkeypatch):
    path = write(table(SCORES), tmp_path / "metrics.json")
    before = path.read_text()

    def fail(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write([], path)
    assert path.read_text() == before and list(tmp_path.iterdir()) == [path]


def test_every_metric_is_found_by_name():
    announced = {c.name: c for c in registry().list("metric") if c.owner == "sfumato-eval"}
    assert sorted(announced) == sorted(
        [
            *("c2st", "frechet", "kid", "memorisation", "mmd", "prdc", "recognised"),
            "sliced-wasserstein",
        ]
    )
    train = Batch(torch.ones(3, 2))
    arguments = {"memorisation": (train,), "recognised": (lambda b: b.x,)}
    for name, component in announced.items():
        metric = component.load()(*arguments.get(name, ()))
        shown = "coverage" if name == "prdc" else name
        assert metric.name == shown and metric.better in ("lower", "higher")


def test_the_plugin_loads_no_heavy_library():
    code = (
        "import sys, sfumato_eval, sfumato_eval.plugin;"
        "print(sorted({'torch', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
