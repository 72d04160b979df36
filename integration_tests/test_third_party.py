"""Plugins from outside the repository, as wheels: a good one works beside every kind of bad one."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

REGISTER = "from sfumato import hook\n@hook\ndef sfumato_register(add):\n    "
VERB = "def rose(run: str):\n    'Draw a rose of NAME.'\n    print('a rose of', run)\n"

# Distribution: the plugin's module, and what is said of it.
BAD = {
    "a-imports": ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such"),
    "a-exits": ("import sys\nsys.exit('gone')", "SystemExit: gone"),
    "a-exits-later": (REGISTER + "raise SystemExit(3)", "SystemExit: 3"),
    "a-duplicate": (
        REGISTER + "add('sampler', 'dpmpp-2m', 'json:loads')",
        "sampler 'dpmpp-2m' is taken by 'dpmpp-2m' of sfumato-methods",
    ),
    "z-duplicate": (
        REGISTER + "add('command', 'rose', 'json:loads')",
        "command 'rose' is taken by 'wind/rose' of good-wind",
    ),
    "a-verb": (
        REGISTER + "add('command', 'a-verb/train', 'json:loads')",
        "command 'a-verb/train': the sfumato command has a verb 'train'",
    ),
    "a-misspelt": ("from sfumato import hook\n@hook\ndef sfumato_regster(add): pass", "sfumato_re"),
    "a-arguments": (
        "from sfumato import hook\n@hook\ndef sfumato_register(add, more): pass",
        "Argument(s) {'more'}",
    ),
    "a-unmarked": ("def sfumato_register(add): pass", "no function decorated with @sfumato.hook"),
    "a-kind": (REGISTER + "add('samplr', 'x', 'json:loads')", "kind 'samplr'; did you mean sampl"),
    "a-target": (REGISTER + "add('grid', 'x', 'json')", "the target 'json' is not 'module:attr"),
    "a-absent": (None, "ModuleNotFoundError: No module named 'a_absent_plugin'"),
    "a-raises": (REGISTER + "add('grid', 'left', 'json:loads')\n    1 / 0", "ZeroDivisionError"),
}


def wheel(folder: Path, name: str, plugin: str, files: dict[str, str]) -> Path:
    """A pure wheel whose entry point `plugin` is the module `NAME_plugin`."""
    module = name.replace("-", "_")
    info = f"{module}-1.5.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[sfumato]\n{plugin} = {module}_plugin\n",
    }
    lines = [f"{path},,\n" for path in (*files, f"{info}/RECORD")]
    path = folder / f"{module}-1.5-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in (files | {f"{info}/RECORD": "".join(lines)}).items():
            archive.writestr(name, text)
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the wheels."""
    folder = tmp_path_factory.mktemp("third")
    register = (
        REGISTER + "add('command', 'wind/rose', 'good_wind_verbs:rose', summary='a rose')\n"
        "    add('grid', 'wind/gusty', 'json:loads', summary='gusty steps')\n"
    )
    good = {"good_wind_plugin.py": register, "good_wind_verbs.py": VERB}
    wheels = [wheel(folder, "good-wind", "wind", good)]
    for name, (text, _) in BAD.items():
        module = f"{name.replace('-', '_')}_plugin.py"
        files = {} if text is None else {module: textwrap.dedent(text)}
        wheels.append(wheel(folder, name, name, files))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
         "--target", folder / "site", *wheels],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder / "site"


def sfumato(site: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sfumato_cli", *words],
        env={**os.environ, "PYTHONPATH": str(site), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_each_bad_plugin_is_told_by_name_and_distribution(site: Path) -> None:
    done = sfumato(site, "plugins")
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    for name, (_, says) in BAD.items():
        assert lines[name].split()[:4] == [name, name, "1.5", "broken:"]
        assert says in lines[name]
    others = [line for name, line in lines.items() if name not in BAD]
    assert not [line for line in others if "broken" in line]
    assert lines["wind"].split() == ["wind", "good-wind", "1.5", "2"]
    assert {"methods", "train", "eval"} <= lines.keys()


def test_the_rest_works(site: Path) -> None:
    assert sfumato(site, "rose", "runs/x").stdout == "a rose of runs/x\n"
    shown = sfumato(site, "list", "grid").stdout
    assert "gusty steps" in shown and "karras" in shown and "left" not in shown
    assert sfumato(site, "show", "dpmpp-2m").returncode == 0
    assert "a rose" in sfumato(site, "--help").stdout


@pytest.mark.parametrize("words", [["show", "windy"], ["train", "windy"], ["windy"]])
def test_an_error_about_a_name_ends_with_the_broken_plugins(site: Path, words: list[str]) -> None:
    done = sfumato(site, *words)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    for name in BAD:
        assert f"switched off: plugin {name!r} of {name} 1.5: " in done.stderr


def test_strict_ends_with_the_first_of_them(site: Path) -> None:
    done = sfumato(site, "list", SFUMATO_STRICT="1")
    assert done.returncode == 1 and done.stderr.startswith("Error: plugin 'a-absent' of a-absent")
    assert sfumato(site, "list", SFUMATO_STRICT="1", SFUMATO_PLUGINS="wind").returncode == 0
