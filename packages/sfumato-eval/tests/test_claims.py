"""Trials in processes of their own: judged by one rule, resumable, and none harms another."""

from __future__ import annotations

import importlib.metadata
import json
import math
import re
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import pytest

from sfumato import Claim, InputError, Measured
from sfumato.components import UnknownName
from sfumato.plugins import discover
from sfumato_eval.claims import (
    Asked,
    Row,
    catalogue,
    find_systems,
    judge,
    record,
    run_claims,
    shipped,
    write_record,
)
from sfumato_eval.claims.rows import from_json, read_row, to_json

BELOW = Claim("at most half", "key", at_most=0.5)
ABOVE = Claim("at least twice", "key", at_least=2.0)


def row(ratio, status="done", **facts):
    measured = {} if ratio is None else {"key": Measured(ratio, 1.0, 0.1, 10, 1.0)}
    ask = {"scale": 1.0, "minutes": 5.0, "device": "cpu", "code": "c", "date": "2026-01-02"}
    return Row(0, status, **{**ask, **facts}, seconds=1.0, measured=measured)


LATE, DEAD = row(None, "out of time"), row(None, "crashed")


@pytest.mark.parametrize(
    ("claim", "rows", "outcome", "ratio"),
    [
        (BELOW, [row(0.1), row(0.5), row(0.2)], "reproduced", 0.2),
        (BELOW, [row(0.6), row(0.9), row(0.7)], "not reproduced", 0.7),
        (BELOW, [row(0.1), row(0.2), row(0.51)], "undecided", 0.2),
        (BELOW, [row(0.1), row(0.6), row(0.7)], "undecided", 0.6),
        (ABOVE, [row(2.0), row(3.0), row(9.0)], "reproduced", 3.0),
        (ABOVE, [row(1.0), row(1.5), row(1.9)], "not reproduced", 1.5),
        # what is not finite is outside the bound
        (BELOW, [row(math.nan), row(0.2), row(0.1)], "undecided", 0.2),
        (BELOW, [row(math.nan), row(math.inf), row(0.1)], "undecided", None),
        (ABOVE, [row(math.nan), row(math.nan), row(math.nan)], "not reproduced", None),
        # too few seeds
        (BELOW, [row(0.1), row(0.1)], "undecided", 0.1),
        (BELOW, [row(0.1), row(0.1), DEAD], "undecided", 0.1),
        (BELOW, [row(0.1), row(0.1), LATE], "out of time", 0.1),
        (BELOW, [LATE, LATE, LATE], "out of time", None),
        (BELOW, [DEAD, DEAD, DEAD], "undecided", None),
        (BELOW, [], "undecided", None),
        # three that finished decide, unless as many did not
        (BELOW, [row(0.1), row(0.2), row(0.3), DEAD, LATE], "reproduced", 0.2),
        (BELOW, [row(0.1), row(0.2), row(0.3), DEAD, DEAD, DEAD], "undecided", 0.2),
        (BELOW, [row(0.1), row(0.2), row(0.3), DEAD, DEAD, LATE], "out of time", 0.2),
        # a quick look decides nothing
        (BELOW, [row(0.1, scale=0.1)] * 3, "undecided", 0.1),
        (BELOW, [row(0.1, scale=2.0)] * 3, "reproduced", 0.1),
    ],
)
def test_the_rule_over_seeds(claim, rows, outcome, ratio):
    verdict = judge(claim, rows)
    assert (verdict.outcome, verdict.ratio) == (outcome, ratio)
    assert len(verdict.holds) == sum(one.status == "done" for one in rows)


def test_a_row_survives_its_file_and_a_damaged_one_is_none(tmp_path):
    path = tmp_path / "seed-0.json"
    assert read_row(path) is None
    whole = row(0.25)
    path.write_text(json.dumps(to_json(whole), allow_nan=False))
    assert read_row(path) == whole
    path.write_text(path.read_text()[:-9])
    assert read_row(path) is None
    path.write_text("[]")
    assert read_row(path) is None
    lost = from_json(json.loads(json.dumps(to_json(row(math.inf)), allow_nan=False)))
    assert math.isnan(lost.measured["key"].method) and not judge(BELOW, [lost]).holds[0]


TRIALS = """
    import os, sys, time
    from pathlib import Path
    from sfumato import Claim, Measured, System

    def good(trial):
        with open("{calls}", "a") as file:
            file.write(f"{{trial.seed}} {{os.environ['OMP_NUM_THREADS']}}\\n")
        (trial.scratch / "half.bin").write_bytes(b"x")
        return {{"key": Measured(0.1 * (1 + trial.seed) * trial.scale, 1.0, 0.01, 5, 2.0)}}

    def shaky(trial):
        if trial.seed == 1:
            os.abort()
        if trial.seed == 2:
            raise ValueError("seed two is unlucky")
        return good(trial)

    def meeting(trial):
        other = trial.scratch.parent / "seed-1.json"
        while trial.seed == 0 and not other.exists():
            time.sleep(0.05)
        return good(trial)

    def slow(trial):
        if os.fork() == 0:
            while True:
                Path("{calls}").write_text(str(time.monotonic()))
                time.sleep(0.05)
        time.sleep(60)

    def partial(trial):
        return {{"other": Measured(1.0, 1.0, None, 1, 0.0)}}

    def system(id, trial):
        claims = (Claim("less than half", "key", at_most=0.5),)
        return System(id, f"On {{id}}", "Us 2026", ("vp",), trial, claims)

    a_good, a_shaky, a_slow = system("good", good), system("shaky", shaky), system("slow", slow)
    a_meeting = system("meeting", meeting)
    a_partial, misnamed, no_system = system("partial", partial), system("odd", good), "text"
"""
NAMES = {
    "good": "a_good",
    "shaky": "a_shaky",
    "slow": "a_slow",
    "meeting": "a_meeting",
    "partial": "a_partial",
    "misnamed": "misnamed",
    "nothing": "no_system",
    "gone": "not_there",
}


class Lab:
    """A distribution with systems, for this process and its children; counts the trials run."""

    def __init__(self, folder, monkeypatch):
        self.calls, self.package = folder / "calls", folder / "lab_trials"
        self.package.mkdir()
        (self.package / "__init__.py").touch()
        self.module = self.package / "good.py"
        self.module.write_text(textwrap.dedent(TRIALS.format(calls=self.calls)))
        lines = [
            f"    add('system', 'lab/{name}', 'lab_trials.good:{attribute}', source='Us 2026')"
            for name, attribute in NAMES.items()
        ]
        plugin = ["from sfumato import hook", "@hook", "def sfumato_register(add):", *lines]
        (folder / "lab_plugin.py").write_text("\n".join(plugin))
        info = folder / "lab-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[sfumato]\nlab = lab_plugin\n")
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("PYTHONPATH", str(folder))
        found = importlib.metadata.distributions(path=[str(folder)])
        self.registry = discover([one for dist in found for one in dist.entry_points])
        self.out, self.told = folder / "out", []

    def run(self, *names, seeds=3, jobs=1, again=False, **asked):
        self.told.clear()
        components = find_systems(self.registry, names)
        return run_claims(
            components,
            self.out,
            Asked(**{"minutes": 0.5, **asked}),
            seeds=seeds,
            jobs=jobs,
            again=again,
            tell=self.told.append,
        )

    @property
    def count(self):
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0


@pytest.fixture
def lab(tmp_path, monkeypatch):
    yield Lab(tmp_path, monkeypatch)
    for name in ("lab_trials", "lab_trials.good", "lab_plugin"):
        sys.modules.pop(name, None)


def test_seeds_are_rows_that_are_kept(lab):
    (result,) = lab.run("good")
    assert [one.status for one in result.rows] == ["done"] * 3
    assert [one.measured["key"].ratio for one in result.rows] == pytest.approx([0.1, 0.2, 0.3])
    assert lab.calls.read_text().split("\n")[:3] == ["0 1", "1 1", "2 1"]  # seed, threads
    assert sorted(p.name for p in (lab.out / "good").iterdir()) == [
        f"seed-{i}.{end}" for i in range(3) for end in ("json", "log")
    ]
    (kept,) = lab.run("good")
    assert kept.rows == result.rows and lab.count == 3
    assert re.fullmatch(r"lab/good seed 0: done in \d+ s, ratios: key 0.1 \(kept\)", lab.told[0])
    lab.run("good", seeds=4)
    assert lab.count == 4


def test_a_row_is_run_again_where_it_would_differ(lab):
    lab.run("good", seeds=1)
    (small,) = lab.run("good", seeds=1, scale=0.5)
    assert lab.count == 2 and small.rows[0].measured["key"].ratio == pytest.approx(0.05)
    lab.run("good", seeds=1, scale=0.5, again=True)
    assert lab.count == 3
    lab.module.write_text(lab.module.read_text() + "\n# another version\n")
    lab.run("good", seeds=1, scale=0.5)
    assert lab.count == 4
    lab.run("good", seeds=1, scale=0.5)
    assert lab.count == 4


def test_a_crash_costs_one_row_and_is_tried_again(lab):
    (result,) = lab.run("shaky")
    assert [one.status for one in result.rows] == ["done", "crashed", "crashed"]
    assert result.rows[1].cause.startswith("signal 6")
    assert "ValueError: seed two is unlucky" in result.rows[2].cause
    assert judge(result.system.claims[0], result.rows).outcome == "undecided"
    lab.module.write_text(lab.module.read_text().replace("trial.seed == 1", "False"))
    (result,) = lab.run("shaky")
    assert [one.status for one in result.rows] == ["done", "done", "crashed"]


def test_a_seed_that_is_late_is_stopped_with_all_that_it_started(lab):
    began = time.monotonic()
    (result,) = lab.run("slow", seeds=1, minutes=2 / 60)
    assert time.monotonic() - began < 20
    assert result.rows[0].status == "out of time"
    assert result.rows[0].cause == "stopped after 0.0333333 minutes"
    (kept,) = lab.run("slow", seeds=1, minutes=1 / 60)  # less time would tell nothing new
    assert kept.rows == result.rows
    (more,) = lab.run("slow", seeds=1, minutes=3 / 60)
    assert more.rows[0].minutes == 3 / 60
    beat = lab.calls.read_text()
    time.sleep(0.3)
    assert lab.calls.read_text() == beat


def test_so_many_seeds_run_at_a_time_and_rows_stay_in_order(lab):
    results = lab.run("meeting", "good", seeds=2, jobs=2)
    assert [[(row.seed, row.status) for row in one.rows] for one in results] == [
        [(0, "done"), (1, "done")]
    ] * 2
    assert [one.measured["key"].ratio for one in results[0].rows] == pytest.approx([0.1, 0.2])
    assert [" ".join(line.split()[:4]) for line in lab.told[:3]] == [
        "lab/meeting seed 0: running,",
        "lab/meeting seed 1: running,",
        "lab/meeting seed 1: done",
    ]


def test_what_is_broken_is_reported_and_the_others_go_on(lab):
    results = lab.run("gone", "nothing", "misnamed", "partial", "good", seeds=1)
    broken = [one.broken for one in results]
    assert "cannot be loaded from 'lab_trials.good:not_there'" in broken[0]
    assert broken[1:3] == [
        "system 'lab/nothing' of lab is a str, not a sfumato.System",
        "system 'lab/misnamed' of lab calls itself 'odd'",
    ]
    assert "measured nothing named key" in results[3].rows[0].cause
    assert results[4].rows[0].status == "done"
    assert broken[0] in lab.told


def test_an_unknown_name_and_a_senseless_request(lab):
    with pytest.raises(UnknownName, match="did you mean lab/good"):
        find_systems(lab.registry, ["goof"])
    assert [one.tail for one in find_systems(lab.registry, [])] == sorted(NAMES)
    assert find_systems(lab.registry, ["lab/good", "good"])[0].tail == "good"
    for word in ("seed", "job"):
        with pytest.raises(InputError, match=f"at least one {word}, not 0"):
            lab.run("good", **{f"{word}s": 0})
    for wrong in ({"scale": 0.0}, {"minutes": -1.0}):
        with pytest.raises(InputError, match="must be positive"):
            lab.run("good", **wrong)


def test_a_record_ships_with_its_package_and_is_listed(lab):
    (result,) = lab.run("good")
    found = record(result.system, result.rows)
    assert found["claims"][0]["outcome"] == "reproduced"
    assert found["claims"][0]["ratio"] == pytest.approx(0.2)
    assert found["claims"][0]["holds"] == [True] * 3 and found["version"]
    assert found["machine"]["threads"] == 1 and found["seeds"][2]["measured"]["key"]["n"] == 5
    (listed,) = catalogue([result.component])
    assert (listed.outcome, listed.ratio, listed.date) == ("not run", "-", None)
    path = write_record(result.component, found)
    assert path == lab.package / "records" / "good.json"
    assert shipped(result.component) == json.loads(path.read_text())
    (listed,) = catalogue([result.component])
    assert (listed.outcome, listed.ratio) == ("reproduced", "0.2")
    assert listed.date == found["date"] and len(found["date"]) == 10


def test_a_record_says_nothing_of_a_claim_that_was_changed(lab):
    (result,) = lab.run("good")
    eased = replace(result.system, claims=(replace(result.system.claims[0], at_most=0.4),))
    write_record(result.component, record(eased, result.rows))
    (listed,) = catalogue([result.component])
    assert listed.outcome == "not run"


def test_records_that_decide_nothing_or_are_damaged_are_refused(lab):
    (result,) = lab.run("good", scale=0.5)
    with pytest.raises(InputError, match="at least 3 seeds of scale 1"):
        write_record(result.component, record(result.system, result.rows))
    with pytest.raises(InputError, match="at least 3 seeds of scale 1"):
        write_record(result.component, record(result.system, result.rows[:2]))
    folder = lab.package / "records"
    folder.mkdir()
    for text, says in (("{", "is damaged"), ('{"format": 99}', "format 99"), ("[]", "is damaged")):
        (folder / "good.json").write_text(text)
        (listed,) = catalogue([result.component])
        assert listed.outcome == "broken" and says in listed.broken


def test_an_interrupt_says_how_to_go_on(lab, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    lab.run("good", seeds=1)
    monkeypatch.setattr(time, "sleep", interrupted)
    lost = "lost: lab/good seed 1, lab/good seed 2; the same command goes on"
    with pytest.raises(KeyboardInterrupt, match=lost):
        lab.run("good", seeds=3, jobs=2)
    monkeypatch.undo()
    assert [one.name for one in (lab.out / "good").glob("*.json")] == ["seed-0.json"]
    assert not list((lab.out / "good").glob(".seed*"))


def test_no_torch_is_needed_to_know_systems():
    code = (
        "import sys\nfrom sfumato import registry\nfrom sfumato_eval.claims import catalogue\n"
        "found = [one for one in catalogue(registry().list('system'))"
        " if one.component.owner == 'sfumato-eval']\n"
        "assert {one.component.name for one in found} >= {'unified', 'overview', 'codeexec'}\n"
        "assert not any(one.broken for one in found), found\n"
        "assert not {'torch', 'numpy', 'pydantic'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
