"""Progress: a bar on a terminal, a line every few seconds elsewhere, with rate and time left."""

from __future__ import annotations

import io
import sys

import pytest

from sfumato_cli import progress as module
from sfumato_cli.progress import progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""

    class Clock:
        now = 100.0

    monkeypatch.setattr(module.time, "monotonic", lambda: Clock.now)
    return Clock


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_plain_lines_are_rare_and_say_loss_rate_and_time_left(clock, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    with progress("training") as watch:
        for step in range(1, 101):
            clock.now += 1
            watch(step, 100, 1 / step, 32.0)
    lines = out.getvalue().splitlines()
    assert lines[0] == "training 1/100 1 % loss 1, 32 samples/s"
    assert lines[1] == "training 6/100 6 % loss 0.1667, 32 samples/s, 1:34 left"
    assert lines[-1] == "training 100/100 100 % loss 0.01, 32 samples/s, took 1:40"
    assert len(lines) == 21


def test_a_resumed_job_counts_its_own_steps_only(clock, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    with progress("training") as watch:
        watch(900, 1000, None, None)
        clock.now += 20
        watch(910, 1000, None, None)
    assert out.getvalue().splitlines() == [
        "training 900/1000 90 %",
        "training 910/1000 91 % 3:00 left",
    ]


def test_the_time_limit_bounds_the_time_left(clock, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    with progress("training", minutes=1) as watch:
        watch(1, 10**6, None, None)
        clock.now += 10
        watch(10, 10**6, None, None)
    assert out.getvalue().endswith("0:50 left\n")


def test_a_terminal_gets_a_bar(clock, monkeypatch):
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress("sampling") as watch:
        watch(0, 50, None, None)
        clock.now += 5
        watch(25, 50, 0.5, 20.0)
    text = screen.getvalue()
    assert "sampling" in text and "25/50" in text and "50%" in text
    assert "loss 0.5, 20 samples/s, 0:05 left" in text


def test_without_a_terminal_rich_is_not_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with progress("sampling") as watch:
        watch(1, 1, None, None)
    assert sys.stderr.getvalue().startswith("sampling 1/1")
