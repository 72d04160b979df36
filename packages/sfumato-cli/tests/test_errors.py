"""Errors: one sentence and a non-zero exit for what a user can mend, a traceback for the rest."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

BOOM = """
    import errno
    from sfumato import InputError, Unsupported

    def boom(what: str):
        if what == "pydantic":
            import pydantic
            class Model(pydantic.BaseModel):
                size: int
            Model(size="big")
        raise {
            "input": InputError("the folder 'x'\\nis empty"),
            "unsupported": Unsupported("A needs B; use C"),
            "interrupt": KeyboardInterrupt(),
            "kept": KeyboardInterrupt("step 7 is kept"),
            "full": OSError(errno.ENOSPC, "No space left on device", "runs/x"),
            "denied": PermissionError(errno.EACCES, "Permission denied", "runs/y"),
            "defect": ZeroDivisionError("ours"),
            "value": ValueError("ours"),
            "missing": FileNotFoundError(errno.ENOENT, "No such file", "z"),
        }[what]
"""


@pytest.fixture
def boom(site):
    site.module("boom_verb", BOOM)
    site.plugin("boom", ("command", "boom", "boom_verb:boom", "fails"))
    return lambda what: site.run("boom", what)


@pytest.mark.parametrize(
    ("what", "code", "says"),
    [
        ("input", 1, "Error: the folder 'x' is empty"),
        ("unsupported", 1, "Error: A needs B; use C"),
        ("interrupt", 130, "Error: interrupted"),
        ("kept", 130, "Error: interrupted: step 7 is kept"),
        ("full", 1, "Error: cannot write or read 'runs/x': No space left on device"),
        ("denied", 1, "Error: cannot write or read 'runs/y': Permission denied"),
        ("pydantic", 1, "Error: size=big: input should be a valid integer, unable to parse string"),
    ],
)
def test_what_a_user_can_mend_is_one_sentence(boom, what, code, says):
    result = boom(what)
    assert result.exit_code == code
    assert result.stderr.startswith(says) and result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize("what", ["defect", "value", "missing"])
def test_a_defect_keeps_its_traceback(boom, what):
    result = boom(what)
    assert result.exit_code == 1
    assert isinstance(result.exception, (ZeroDivisionError, ValueError, FileNotFoundError))


def test_a_wrong_selection_of_plugins_is_reported_by_the_real_command():
    environment = {**os.environ, "SFUMATO_PLUGINS": "no-such-plugin"}
    done = subprocess.run(
        [sys.executable, "-c", "from sfumato_cli.main import main; main()"],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("Error: SFUMATO_PLUGINS names the plugin 'no-such-plugin'")
    assert done.stderr.count("\n") == 1


def test_a_closed_pipe_ends_quietly():
    command = f"{sys.executable} -c 'from sfumato_cli.main import main; main()' list | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


def test_disk_errors_are_the_ones_that_the_system_reports():
    from sfumato_cli.errors import DISK

    assert errno.ENOENT not in DISK and errno.ENOSPC in DISK
