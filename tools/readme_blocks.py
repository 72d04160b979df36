r"""Run what a README shows, as its reader would: `python tools/readme_blocks.py README.md`.

Every fenced block is executed, in the order of the page, in one fresh process and in the current
folder, so that a Python block may use what a command above it wrote. A block that must not be
executed is not there: the fences are

- `python`: run in one namespace for the whole page;
- `sh`, `bash`, `console`: run as commands (of `console` the lines that follow `$ `), the
  environment's own programs first on PATH. A line that starts with `pip install`, `git clone`,
  `sfumato data get`, `cd`, `tools/demo` or `tools/test` is left out;
- `text`, `toml`, `json`, `bibtex` and fences without a language: shown, not run;
- any other language is an error.

What only a test has to know stands in an HTML comment directly above the fence, which a reader of
the page does not see. Its words are separated by spaces:

- `<!-- test: steps=20 -->`: the words are added to the `sfumato train` lines of the block, in place
  of words with the same key;
- `<!-- test: photos=my_photos -->`: before the block runs, the folder `my_photos` is made, with 160
  small PNG files of coloured blobs; `font=small.ttf` makes a font of 24 emoji, `clothes=small` a
  folder with the four files of MNIST, `brown=small` one of tagged documents (see `fixtures.py`).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fixtures import brown, clothes, font, photos

__all__ = ["Block", "blocks", "commands", "photos", "readmes", "run"]

PYTHON = {"python"}
SHELL = {"sh", "bash", "console"}
SHOWN = {"", "text", "toml", "json", "bibtex"}
MAKERS: dict[str, Callable[[Path], None]] = {
    "brown": brown, "clothes": clothes, "font": font, "photos": photos,
}  # fmt: skip
LEFT_OUT = ("pip install", "git clone", "sfumato data get", "cd ", "tools/demo", "tools/test")
FENCE = re.compile(r"^ {0,3}(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[^\s`]*)")
NOTE = re.compile(r"^<!--\s*test:\s*(?P<words>.*?)\s*-->$")


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, code, the number of its first line, the words of its note."""

    language: str
    code: str
    line: int
    words: tuple[str, ...] = ()


def readmes(root: Path) -> list[Path]:
    """The README of the repository, of each package and of each plugin."""
    return [
        path
        for pattern in ("README.md", "packages/*/README.md", "plugins/*/README.md")
        for path in sorted(root.glob(pattern))
    ]


def blocks(text: str) -> list[Block]:
    """Split a Markdown page into its fenced blocks.

    Raises:
        ValueError: If a fence is left open, is of an unknown language, or a note has no fence.
    """
    found: list[Block] = []
    words: tuple[str, ...] = ()
    lines = iter(enumerate([*text.splitlines(), "end of page"], start=1))
    for number, line in lines:
        if note := NOTE.match(line.strip()):
            words = tuple(note["words"].split())
        elif opening := FENCE.match(line):
            code = _until(opening["fence"], lines, number)
            language = opening["language"].lower()
            if language not in PYTHON | SHELL | SHOWN:
                known = ", ".join(sorted(PYTHON | SHELL | SHOWN - {""}))
                raise ValueError(f"line {number}: fence of language {language!r}; known: {known}")
            found.append(Block(language, code, number + 1, words))
            words = ()
        elif line.strip() and words:
            raise ValueError(
                f"line {number}: the test note above must stand directly above a fence"
            )
    return found


def _until(fence: str, lines: Iterator[tuple[int, str]], begin: int) -> str:
    """Consume the lines up to the one that closes the fence."""
    code: list[str] = []
    for _, line in lines:
        if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            return "".join(code)
        code.append(line + "\n")
    raise ValueError(f"line {begin}: the fence is never closed")


def commands(block: Block) -> str:
    """The shell script that a block of commands amounts to, notes applied."""
    joined = re.sub(r"\s*\\\n\s*", " ", block.code)
    lines = [line.strip() for line in joined.splitlines()]
    if block.language == "console":
        lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    extra = [word for word in block.words if word.partition("=")[0] not in MAKERS]
    kept = []
    for line in lines:
        if line.startswith(LEFT_OUT):
            continue
        if line.startswith("sfumato train"):
            line = _overridden(line, extra)
        kept.append(line)
    return "\n".join(kept).strip()


def _overridden(line: str, extra: list[str]) -> str:
    """A command with its comment cut off, and its `key=value` words replaced or added."""
    words = re.sub(r"\s+#.*$", "", line).split()
    keys = {word.partition("=")[0] for word in extra}
    return " ".join([*(word for word in words if word.partition("=")[0] not in keys), *extra])


def run(readme: Path) -> int:
    """Execute every block of a page in the current folder; returns how many were executed."""
    page = types.ModuleType("__main__")
    sys.modules["__main__"] = page
    bin_first = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    count = 0
    for block in blocks(readme.read_text(encoding="utf-8")):
        for word in block.words:
            kind, _, name = word.partition("=")
            if kind in MAKERS:
                MAKERS[kind](Path(name))
        if block.language in PYTHON:
            # Blank lines in front make a traceback show the line of the page.
            source = "\n" * (block.line - 1) + block.code
            exec(compile(source, str(readme), "exec", dont_inherit=True), page.__dict__)
            count += 1
        elif block.language in SHELL and (script := commands(block)):
            print(f"{readme}:{block.line}\n{script}", flush=True)
            subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script],
                env={**os.environ, "PATH": bin_first},
                stdin=subprocess.DEVNULL,
                check=True,
            )
            count += 1
    return count


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/readme_blocks.py README.md")
    executed = run(Path(sys.argv[1]))
    print(f"{sys.argv[1]}: {executed} blocks executed")
