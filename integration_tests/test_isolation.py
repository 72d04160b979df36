"""Each distribution works with what it declares, and with nothing else of the workspace.

The wheels are built and unpacked. For each distribution a folder is then made of links to what its
metadata asks for, transitively, and a Python that sees that folder alone imports every module. That
is what `pip install` of the one wheel gives, without downloading torch nine times.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution as Installed
from importlib.metadata import PathDistribution, distribution, packages_distributions
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from workspace import Distribution, distributions

ALL = distributions()
SIBLINGS = {each.name: each for each in ALL}

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
sys.path.insert(0, {site!r})
package = importlib.import_module({module!r})
for info in pkgutil.walk_packages(package.__path__, {module!r} + "."):
    if not info.name.endswith(".__main__"):
        importlib.import_module(info.name)
from sfumato import registry
found = registry()
assert not found.broken, found.broken
print(*(plugin.distribution for plugin in found.plugins))
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The unpacked wheel of every distribution, by name."""
    built = tmp_path_factory.mktemp("wheels")
    unpacked = {}
    for each in ALL:
        out = built / each.name
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d", out],
            cwd=each.folder,
            capture_output=True,
            check=True,
        )
        (wheel,) = out.glob("*.whl")
        unpacked[each.name] = out / "unpacked"
        zipfile.ZipFile(wheel).extractall(unpacked[each.name])
    return unpacked


def metadata(name: str, wheels: dict[str, Path]) -> Installed:
    """The metadata of a distribution: of its wheel when it is ours, else as installed here."""
    if name in wheels:
        (info,) = wheels[name].glob("*.dist-info")
        return PathDistribution(info)
    return distribution(name)


def needed(name: str, wheels: dict[str, Path]) -> dict[str, Installed]:
    """What `pip install name` brings, itself included, by canonical name."""
    found: dict[str, Installed] = {}
    waiting = [(name, "")]
    seen = set()
    while waiting:
        item = waiting.pop()
        if item in seen:
            continue
        seen.add(item)
        found[item[0]] = metadata(item[0], wheels)
        for text in found[item[0]].requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": item[1]}):
                target = canonicalize_name(requirement.name)
                waiting += [(target, extra) for extra in ("", *requirement.extras)]
    return found


@functools.cache
def tops(name: str) -> dict[str, Path]:
    """The files and folders that an installed distribution put into site-packages."""
    installed = distribution(name)
    names = {file.parts[0] for file in installed.files or [] if file.parts[0] != ".."}
    return {top: Path(str(installed.locate_file(top))) for top in names - {"__pycache__"}}


def make_site(folder: Path, parts: dict[str, Installed], wheels: dict[str, Path]) -> Path:
    """A site-packages folder of links to the parts."""
    folder.mkdir()
    for name in parts:
        found = (
            {path.name: path for path in wheels[name].iterdir()} if name in wheels else tops(name)
        )
        for top, path in found.items():
            if not (folder / top).exists():
                (folder / top).symlink_to(path)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", SIBLINGS)
def test_wheel_works_alone(name: str, wheels: dict[str, Path], tmp_path: Path) -> None:
    parts = needed(name, wheels)
    site = make_site(tmp_path / "site", parts, wheels)
    code = IMPORT_EVERYTHING.format(site=str(site), module=SIBLINGS[name].module)
    alone = [sys.executable, "-I", "-S", "-B", "-c", code]
    done = subprocess.run(alone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ours = [SIBLINGS[part] for part in parts if part in SIBLINGS]
    assert set(done.stdout.split()) == {
        each.name for each in ours if "sfumato" in each.project.get("entry-points", {})
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", SIBLINGS)
def test_wheel_holds_every_source_file(name: str, wheels: dict[str, Path]) -> None:
    source = SIBLINGS[name].folder / "src"
    files = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    inside = {path.relative_to(wheels[name]) for path in wheels[name].rglob("*") if path.is_file()}
    assert {path for path in files if path.suffix != ".pyc"} == {
        path for path in inside if not path.parts[0].endswith(".dist-info")
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", SIBLINGS)
def test_metadata_is_complete_and_the_readme_renders(name: str, wheels: dict[str, Path]) -> None:
    each = SIBLINGS[name]
    (info,) = wheels[name].glob("*.dist-info")
    found = Metadata.from_email((info / "METADATA").read_bytes(), validate=True)
    assert (found.name, str(found.version)) == (name, each.project["version"])
    assert found.requires_python == SpecifierSet(">=3.11")
    assert found.license_expression == "Apache-2.0"
    assert found.summary == each.project["description"]
    assert {canonicalize_name(one.name) for one in found.requires_dist or []} >= {
        canonicalize_name(Requirement(text).name) for text in each.project["dependencies"]
    }

    announced = {
        (point.group, point.name): point.value for point in PathDistribution(info).entry_points
    }
    groups = {"console_scripts": each.project.get("scripts", {})}
    groups |= each.project.get("entry-points", {})
    assert announced == {
        (group, key): value for group, values in groups.items() for key, value in values.items()
    }

    readme = (each.folder / "README.md").read_text()
    assert found.description_content_type == "text/markdown" and found.description
    assert found.description.strip() == readme.strip()
    page = MarkdownIt("commonmark").enable("table").render(found.description)
    assert page.count("<h1>") == 1 and "```" not in page
    # Outside of code, no table is left as text, for want of a line or a column.
    prose = re.sub(r"<code.*?</code>", "", page, flags=re.DOTALL)
    assert not re.search(r"\|\s*---", prose)


# Imports inside functions are not met by importing the modules, so they are read.


def third_party(source: str) -> set[str]:
    """The top-level names that a file imports anywhere, the standard library left out."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names


@functools.cache
def providers() -> dict[str, set[str]]:
    """The distributions that provide an importable name; ours provide their own."""
    installed = {
        top: {canonicalize_name(name) for name in names}
        for top, names in packages_distributions().items()
    }
    return installed | {each.module: {each.name} for each in ALL}


@pytest.mark.parametrize("each", ALL, ids=lambda each: each.name)
def test_every_import_is_declared(each: Distribution) -> None:
    extras = each.project.get("optional-dependencies", {}).values()
    declared = {
        canonicalize_name(Requirement(text).name)
        for group in (each.project.get("dependencies", []), *extras)
        for text in group
    } | {each.name}
    undeclared = {
        f"{path.relative_to(each.folder)}: {name}"
        for path in each.source.rglob("*.py")
        for name in third_party(path.read_text())
        if not providers().get(name, {canonicalize_name(name)}) & declared
    }
    assert not undeclared


def test_third_party_finds_imports_inside_functions() -> None:
    code = "import os\nfrom . import a\ndef f():\n    import torch.nn\n    from PIL import Image\n"
    assert third_party(code) == {"torch", "PIL"}
