"""Every README does what it shows: see `tools/readme_blocks.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from readme_blocks import Block, blocks, commands, photos, readmes

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "readme", readmes(ROOT), ids=lambda path: str(path.parent.relative_to(ROOT))
)
def test_what_a_readme_shows_runs(readme: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools/readme_blocks.py", readme],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{readme}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}"
    assert ": 0 blocks executed" not in done.stdout, f"{readme} shows nothing that runs"


def test_blocks_keep_order_line_and_note() -> None:
    page = (
        "# A\n\n<!-- test: steps=2 photos=p -->\n```sh\nls\n```\n\n~~~python x\na = 1\n```\n~~~\n"
    )
    assert blocks(page) == [
        Block("sh", "ls\n", 5, ("steps=2", "photos=p")),
        Block("python", "a = 1\n```\n", 9),
    ]


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("```rust\nx\n```\n", "line 1: fence of language 'rust'"),
        ("a\n```python\nx\n", "line 2: the fence is never closed"),
        ("<!-- test: steps=2 -->\ntext\n", "line 2: the test note above"),
        ("<!-- test: steps=2 -->\n", "line 2: the test note above"),
    ],
)
def test_a_page_that_cannot_be_run_is_an_error(page: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        blocks(page)


def test_commands_leave_out_the_exempt_and_take_the_override() -> None:
    code = (
        "pip install sfumato\n"
        "tools/demo   # five minutes\n"
        "sfumato train images/digits steps=900 \\\n  --out runs/a   # two minutes\n"
        "sfumato sample runs/a\n"
    )
    assert commands(Block("sh", code, 1, ("steps=20", "photos=p"))) == (
        "sfumato train images/digits --out runs/a steps=20\nsfumato sample runs/a"
    )


def test_console_blocks_run_what_follows_the_prompt() -> None:
    assert commands(Block("console", "$ echo 1\n1\n$ echo 2\n2\n", 1)) == "echo 1\necho 2"


def test_a_page_runs_in_order_in_one_process_and_stops_at_a_failure(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    runner = [sys.executable, ROOT / "tools/readme_blocks.py", readme]
    good = (
        "```python\na = 1\n```\n"
        "```sh\necho 2 > b\n```\n"
        "```python\nprint(a, open('b').read())\n```\n"
    )
    readme.write_text(good)
    done = subprocess.run(runner, cwd=tmp_path, capture_output=True, text=True)
    assert "1 2" in done.stdout and "3 blocks executed" in done.stdout, done.stderr
    for bad in ("```sh\nfalse\n```\n", "```python\nassert False\n```\n"):
        readme.write_text(good + bad)
        done = subprocess.run(runner, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode != 0
        assert "executed" not in done.stdout


def test_photos_are_different_pictures(tmp_path: Path) -> None:
    from PIL import Image

    photos(tmp_path / "my_photos", count=5, size=16)
    files = sorted((tmp_path / "my_photos").iterdir())
    assert len({Image.open(file).tobytes() for file in files}) == 5
