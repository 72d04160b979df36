"""`apply`: tools found by name, their options checked, nothing overwritten."""

from __future__ import annotations

import pytest

import sfumato_train

TOOLS = """
    from pathlib import Path
    from typing import Annotated, Literal
    from pydantic import Field

    def count(run, out: Path, *, last: Annotated[int | None, Field(ge=2)] = None,
              how: Literal["up", "down"] = "up", shares: tuple[float, ...] = ()):
        \"\"\"Counts.\"\"\"
        out.mkdir(parents=True)
        (out / "report").write_text(f"{run} {last} {how} {shares}")

    def needs(run, out: Path, *, size: int) -> str:
        return f"size {size + 1}"

    def slow(run, out: Path, *, size: int = 2, watch=None) -> str:
        for i in range(size):
            watch(i + 1, size, None, None)
        return "done"

    def loose(run, out, size: int = 3): ...
    def untyped(run, out, *, size=3): ...
    def other(model): ...
    value = 3
"""


@pytest.fixture
def tools(site, tmp_path, monkeypatch):
    site.module("lab_tools", TOOLS)
    names = ("count", "needs", "slow", "loose", "untyped", "other", "value")
    site.plugin("lab", *[("tool", f"lab/{n}", f"lab_tools:{n}", "") for n in names])
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr(sfumato_train, "open_run", lambda path: f"run {path.name}")
    return site


def test_a_tool_gets_the_run_a_folder_and_its_options(tools, tmp_path):
    result = tools.run("apply", "lab/count", "mine", "last=3", "how=down", "shares=1,2.5")
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "mine-count" / "report").read_text() == "run mine 3 down (1.0, 2.5)"
    assert result.stdout == f"wrote {tmp_path / 'mine-count'}\n"
    tools.run("apply", "lab/count", "mine", "--out", "there")
    assert (tmp_path / "there" / "report").read_text() == "run mine None up ()"


def test_what_a_tool_says_is_printed(tools):
    assert tools.run("apply", "lab/needs", "mine", "size=4").stdout == "size 5\n"


def test_a_tool_that_is_watched_shows_how_far_it_is(tools):
    result = tools.run("apply", "lab/slow", "mine", "size=3")
    assert result.stdout == "done\n" and "slow 3/3 100 %" in result.stderr
    refused = tools.run("apply", "lab/slow", "mine", "watch=3")
    assert refused.exit_code == 1 and "no field 'watch'" in refused.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lab/count", "mine", "last=1"], "greater than or equal to 2"),
        (["lab/count", "mine", "last=many"], "valid integer"),
        (["lab/count", "mine", "lats=2"], "there is no field 'lats'; did you mean last?"),
        (["lab/count", "mine", "last"], "written key=value"),
        (["lab/count", "mine", "how=left"], "'up' or 'down'"),
        (["lab/needs", "mine"], "size must be given"),
        (["lab/counts", "mine"], "did you mean lab/count"),
        (["lab/count", "mine", "--out", "mine-full"], "not an empty folder"),
        (["lab/loose", "mine"], "size must be a typed keyword parameter"),
        (["lab/untyped", "mine"], "size must be a typed keyword parameter"),
        (["lab/other", "mine"], "no function of (run, out, *, options)"),
        (["lab/value", "mine"], "no function of (run, out, *, options)"),
    ],
)
def test_what_is_wrong_is_one_sentence(tools, tmp_path, words, says):
    (tmp_path / "mine-full").mkdir()
    (tmp_path / "mine-full" / "kept").touch()
    result = tools.run("apply", *words)
    assert result.exit_code == 1
    assert says in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "mine-count").exists()
