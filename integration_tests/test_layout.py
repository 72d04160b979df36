"""The layout of the repository and the rules that every source file of it keeps."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from workspace import ROOT, Distribution, distributions

ALL = distributions()
PLUGINS = [each for each in ALL if each.is_plugin]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
TOP = {
    "LICENSE",
    "README.md",
    "integration_tests",
    "packages",
    "plugins",
    "pyproject.toml",
    "tools",
}
SOURCES = [path for each in ALL for path in sorted(each.source.rglob("*.py"))]

every_distribution = pytest.mark.parametrize("distribution", ALL, ids=lambda each: each.name)


def test_top_level_holds_only_what_is_agreed() -> None:
    ignored = {
        line.strip("/")
        for line in (ROOT / ".gitignore").read_text().splitlines()
        if line[:1] == "/"
    }
    found = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert found - ignored == TOP


def test_root_is_no_distribution() -> None:
    assert SETTINGS.keys() == {"dependency-groups", "tool"}


@every_distribution
def test_distribution_is_complete(distribution: Distribution) -> None:
    folder, project = distribution.folder, distribution.project
    for needed in ("README.md", f"src/{distribution.module}/__init__.py"):
        assert (folder / needed).read_text().strip(), f"{needed} is empty"
    assert (distribution.source / "py.typed").exists()
    assert [path.name for path in (folder / "src").iterdir() if path.is_dir()] == [
        distribution.module
    ]
    assert list((folder / "tests").glob("test_*.py"))
    assert not list((folder / "tests").rglob("__init__.py"))
    assert distribution.settings["build-system"]["build-backend"] == "hatchling.build"
    assert project["name"] == distribution.name
    assert project["license"] == "Apache-2.0"
    assert project["readme"] == "README.md"
    assert project["requires-python"] == ">=3.11"
    assert project["description"]


def test_one_version() -> None:
    assert len({each.project["version"] for each in ALL}) == 1


@every_distribution
def test_siblings_are_pinned_to_the_shared_version(distribution: Distribution) -> None:
    major, minor, *_ = map(int, distribution.project["version"].split("."))
    pin = SpecifierSet(f">={major}.{minor},<{major}.{minor + 1}")
    extras = distribution.project.get("optional-dependencies", {}).values()
    wanted = [
        Requirement(text)
        for group in (distribution.project.get("dependencies", []), *extras)
        for text in group
    ]
    names = {each.name for each in ALL}
    for requirement in wanted:
        if requirement.name.startswith("sfumato"):
            assert requirement.name in names, f"there is no {requirement.name}"
            assert requirement.specifier == pin, str(requirement)


@every_distribution
def test_plugin_module_and_entry_point_go_together(distribution: Distribution) -> None:
    announced = distribution.project.get("entry-points", {}).get("sfumato", {})
    exists = (distribution.source / "plugin.py").exists()
    assert list(announced.values()) == [f"{distribution.module}.plugin"] * exists
    assert exists or not distribution.is_plugin


def test_import_linter_and_uv_know_every_distribution() -> None:
    linter = SETTINGS["tool"]["importlinter"]
    contracts = {contract["id"]: contract for contract in linter["contracts"]}
    modules = {each.module for each in ALL}
    assert set(linter["root_packages"]) == modules
    assert set(contracts["plugins"]["modules"]) == {each.module for each in PLUGINS}
    layers = contracts["layers"]["layers"]
    assert {name.strip() for layer in layers for name in layer.split("|")} == modules
    assert set(layers[0].replace(" ", "").split("|")) == {each.module for each in PLUGINS}
    assert SETTINGS["tool"]["uv"]["sources"].keys() == {each.name for each in ALL}


def test_core_is_thin() -> None:
    core = [path for path in SOURCES if path.is_relative_to(ROOT / "packages/sfumato/")]
    assert 0 < sum(len(path.read_text().splitlines()) for path in core) < 2500


# What no source file may do, read from its syntax tree.

DRAWS = {
    *("rand", "rand_like", "randn", "randn_like", "randint", "randint_like", "randperm"),
    *("normal", "bernoulli", "multinomial", "poisson", "binomial", "seed"),
}
DRAWS_IN_PLACE = {
    *("bernoulli_", "cauchy_", "exponential_", "geometric_", "log_normal_"),
    *("normal_", "random_", "uniform_", "bernoulli", "multinomial", "rvs"),
}
UNPICKLERS = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}


def imported(node: ast.AST) -> list[str]:
    """The absolute names that an import statement brings in."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def draws(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Random draws and seeds that do not go through `sfumato.random`.

    The first weights of a network (`nn.init`) are exempt, and so is seeding them inside
    `torch.random.fork_rng`.
    """
    forked = {
        id(inner)
        for block in ast.walk(tree)
        if isinstance(block, ast.With)
        and any("fork_rng(" in ast.unparse(item.context_expr) for item in block.items)
        for inner in ast.walk(block)
    }
    for node in ast.walk(tree):
        for name in imported(node):
            parts = name.split(".")
            if parts[0] in {"random", "secrets"} or name.startswith(("numpy.random", "torch.dist")):
                if not name.startswith("torch.distributed"):
                    yield node.lineno, f"import {name}"
            if parts[0] == "torch" and parts[-1] in DRAWS:
                yield node.lineno, f"import {name}"
        if isinstance(node, ast.Attribute):
            base, _, last = ast.unparse(node).rpartition(".")
            if (
                (base == "torch" and last in DRAWS)
                or (base in {"np", "numpy"} and last == "random")
                or (base == "torch" and last == "manual_seed" and id(node) not in forked)
                or (last in DRAWS_IN_PLACE and base.split(".")[-1] not in {"init", "random"})
                or (base in {"nn", "torch.nn"} and "Dropout" in last)
                or (
                    last.endswith("dropout") and base.split(".")[-1] in {"F", "functional", "torch"}
                )
            ):
                yield node.lineno, f"{base}.{last}"


def unpickling(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Calls that may execute what a file says."""
    safe = {
        id(node.func)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and "weights_only=True" in map(ast.unparse, node.keywords)
    }
    for node in ast.walk(tree):
        for name in imported(node):
            if name.split(".")[0] in UNPICKLERS or name == "torch.load":
                yield node.lineno, f"import {name}"
        if (
            isinstance(node, ast.Attribute)
            and ast.unparse(node) == "torch.load"
            and id(node) not in safe
        ):
            yield node.lineno, "torch.load"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            if not (isinstance(node.value, ast.Constant) and node.value.value is False):
                yield node.value.lineno, "allow_pickle"


def offences(rule: Callable[[ast.AST], Iterator[tuple[int, str]]], files: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path in files
        for line, what in rule(ast.parse(path.read_text(), str(path)))
    ]


def test_random_numbers_come_from_sfumato_random() -> None:
    funnel = ROOT / "packages/sfumato/src/sfumato/random"
    files = [path for path in SOURCES if not str(path).startswith(str(funnel))]
    assert offences(draws, files) == []


def test_nothing_is_unpickled() -> None:
    assert offences(unpickling, SOURCES) == []


@pytest.mark.parametrize(
    "code",
    [
        "import random",
        "from numpy.random import default_rng",
        "from torch import randn",
        "from torch.distributions import Normal",
        "np.random.default_rng(0)",
        "torch.rand(3, generator=g)",
        "x = draw or torch.randn_like",
        "torch.empty(3).exponential_(generator=g)",
        "p.multinomial(1)",
        "torch.manual_seed(0)",
        "nn.Dropout(0.1)",
        "F.dropout(x, 0.1)",
    ],
)
def test_a_draw_is_noticed(code: str) -> None:
    assert list(draws(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "from . import random",
        "from sfumato import random\nrandom.normal(x, g)\nrandom.bernoulli(p, g)",
        "nn.init.normal_(weight)\ntorch.nn.init.uniform_(weight)",
        "import torch.distributed",
        "with torch.random.fork_rng():\n    torch.manual_seed(0)",
        "generator = torch.Generator().manual_seed(0)",
    ],
)
def test_what_is_allowed_is_not_taken_for_a_draw(code: str) -> None:
    assert list(draws(ast.parse(code))) == []


@pytest.mark.parametrize(
    "code", ["import pickle", "from joblib import load", "torch.load(p)", "f(p, allow_pickle=True)"]
)
def test_unpickling_is_noticed(code: str) -> None:
    assert list(unpickling(ast.parse(code)))


# A plugin's own module is imported whenever any command starts.

ANNOUNCE = """
import sys, time
from sfumato import hook
before = set(sys.modules)
begin = time.process_time()
import {module}.plugin
print(time.process_time() - begin)
tops = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(*sorted(tops - sys.stdlib_module_names - {{"{module}"}}))
"""


@pytest.mark.parametrize(
    "module",
    [each.module for each in ALL if (each.source / "plugin.py").exists()],
)
def test_plugin_module_imports_only_the_core_and_at_once(module: str) -> None:
    seconds, foreign = [], ""
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", ANNOUNCE.format(module=module)],
            capture_output=True,
            text=True,
            check=True,
        )
        first, foreign = done.stdout.split("\n")[:2]
        seconds.append(float(first))
    assert foreign == "", f"{module}.plugin imports {foreign}"
    assert min(seconds) < 0.05
