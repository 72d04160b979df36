"""The plugin host: what is announced is found by name, and one bad plugin harms nobody else."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import textwrap
import threading
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from sfumato import components, plugins
from sfumato.components import KINDS, PluginError, Registry, UnknownName, close_matches
from sfumato.errors import InputError
from sfumato.plugins import discover

HEAD = "from sfumato import hook\n"
GOOD = """
@hook
def sfumato_register(add):
    add("recipe", "{0}/digits", "{0}_target:Digits", summary="real digits", source="arXiv:1")
    add("sampler", "{0}-sampler", "{0}_target:Nested.inner")
"""


class Site:
    """A folder of fake distributions, first on ``sys.path``."""

    def __init__(self, path: Path):
        self.path = path
        self.modules: list[str] = []

    def module(self, name: str, text: str):
        (self.path / f"{name}.py").write_text(textwrap.dedent(text))
        self.modules.append(name)

    def add(self, name: str, text: str, *, dist: str | None = None, value: str | None = None):
        """A distribution ``dist`` whose entry point ``name`` is a module with that text."""
        dist = dist or f"dist-{name}"
        self.module(f"{dist.replace('-', '_')}_{name}", HEAD + textwrap.dedent(text))
        info = self.path / f"{dist.replace('-', '_')}-1.5.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.5\n")
        value = value or f"{dist.replace('-', '_')}_{name}"
        with (info / "entry_points.txt").open("a") as file:
            file.write(f"[sfumato]\n{name} = {value}\n")

    def entries(self) -> list[EntryPoint]:
        found = importlib.metadata.distributions(path=[str(self.path)])
        return [entry for dist in found for entry in dist.entry_points]

    def discover(self) -> Registry:
        return discover(self.entries())


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.delenv("SFUMATO_PLUGINS", raising=False)
    monkeypatch.delenv("SFUMATO_STRICT", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    site = Site(tmp_path)
    yield site
    for name in site.modules:
        sys.modules.pop(name, None)


def test_a_good_plugin_is_listed_found_and_loaded_on_demand(site):
    site.add("alpha", GOOD.format("alpha"))
    site.module("alpha_target", "class Digits: pass\nclass Nested: inner = 7\n")
    registry = site.discover()
    assert registry.broken == ()
    (plugin,) = registry.plugins
    assert (plugin.name, plugin.distribution, plugin.version) == ("alpha", "dist-alpha", "1.5")
    assert [c.name for c in registry.list()] == ["alpha-sampler", "alpha/digits"]
    assert [c.name for c in registry.list("recipe")] == ["alpha/digits"]
    assert registry.list("metric") == ()
    found = registry.find("recipe", "alpha/digits")
    assert (found.summary, found.source, found.owner) == ("real digits", "arXiv:1", "dist-alpha")
    assert found.tail == "digits"
    assert "alpha_target" not in sys.modules
    assert registry.load("recipe", "alpha/digits").__name__ == "Digits"
    assert registry.load("sampler", "alpha-sampler") == 7


BROKEN = {
    "missing": ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "exits_in_hook": ("@hook\ndef sfumato_register(add): raise SystemExit(5)", "SystemExit: 5"),
    "syntax": ("def (", "SyntaxError"),
    "misspelt": ("@hook\ndef sfumato_regsiter(add): pass", "sfumato_regsiter"),
    "argument": ("@hook\ndef sfumato_register(register): pass", "register"),
    "bare": ("def sfumato_register(add): pass", "no function decorated with @sfumato.hook"),
    "half": (
        '@hook\ndef sfumato_register(add):\n    add("grid", "first", "a:b")\n    1 / 0',
        "ZeroDivisionError",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_failing_plugin_is_reported_and_leaves_nothing(site, name):
    text, cause = BROKEN[name]
    site.add(name, text, dist="a-first")
    site.add("zeta", GOOD.format("zeta"))
    registry = site.discover()
    assert [plugin.name for plugin in registry.plugins] == ["zeta"]
    assert [c.owner for c in registry.list()] == ["dist-zeta"] * 2
    (broken,) = registry.broken
    assert (broken.name, broken.distribution, broken.version) == (name, "a-first", "1.5")
    assert cause in broken.cause
    assert "\n" not in str(broken)


def test_the_cause_says_where_in_the_plugin(site):
    site.add("half", BROKEN["half"][0])
    (broken,) = site.discover().broken
    assert broken.cause.endswith("dist_half_half.py:5)")


ANNOUNCED = {
    ("recipes", "x", "a:b"): "unknown kind 'recipes'; did you mean recipe?",
    ("pasta", "x", "a:b"): f"kinds are {', '.join(KINDS)}",
    ("grid", "x", "a.b"): "the target 'a.b' is not 'module:attribute'",
    ("grid", "x", "a:"): "the target 'a:' is not",
    ("grid", "x", ":a"): "the target ':a' is not",
    ("grid", "x", "a b:c"): "the target 'a b:c' is not",
    ("grid", "other/x", "a:b"): "the prefix must be the plugin's name, 'beta'",
    ("grid", "beta/x/y", "a:b"): "a name is 'name' or 'beta/name'",
    ("grid", "Karras", "a:b"): "a name is 'name' or 'beta/name'",
    ("grid", "", "a:b"): "a name is 'name' or 'beta/name'",
    ("command", "train", "a:b"): "command 'train': the sfumato command has a verb 'train'",
    ("command", "beta/train", "a:b"): "the sfumato command has a verb 'train'",
}


@pytest.mark.parametrize("call", ANNOUNCED)
def test_a_wrong_announcement_is_refused(site, call):
    site.add("beta", f"@hook\ndef sfumato_register(add):\n    add(*{call!r})")
    registry = site.discover()
    assert registry.plugins == ()
    assert ANNOUNCED[call] in registry.broken[0].cause


def announce(*calls: tuple[str, str]) -> str:
    lines = [f"    add({kind!r}, {name!r}, 'json:loads')" for kind, name in calls]
    return "\n".join(["@hook", "def sfumato_register(add):", *lines])


def test_the_later_of_two_equal_names_is_broken_and_both_owners_are_named(site):
    site.add("two", announce(("grid", "fine"), ("grid", "karras")), dist="b-later")
    site.add("one", announce(("grid", "karras")), dist="a-earlier")
    registry = site.discover()
    assert [plugin.distribution for plugin in registry.plugins] == ["a-earlier"]
    assert [c.name for c in registry.list()] == ["karras"]
    said = str(registry.broken[0])
    assert "'karras'" in said and "a-earlier" in said and "b-later" in said


def test_no_plugin_takes_a_name_from_the_packages_of_sfumato(site):
    site.add("early", announce(("grid", "karras")), dist="a-first-of-all")
    site.add("methods", announce(("grid", "karras")), dist="sfumato-methods")
    registry = site.discover()
    assert [plugin.distribution for plugin in registry.plugins] == ["sfumato-methods"]
    assert registry.broken[0].cause == "grid 'karras' is taken by 'karras' of sfumato-methods"


def test_a_name_may_be_used_by_another_kind(site):
    site.add("one", announce(("grid", "cosine"), ("process", "cosine")))
    assert len(site.discover().list()) == 2


def test_a_plugin_cannot_announce_a_name_twice(site):
    site.add("one", announce(("grid", "karras"), ("grid", "karras")))
    assert "is taken by" in site.discover().broken[0].cause


def test_two_plugins_of_one_name(site):
    site.add("same", announce(("grid", "a")), dist="first")
    site.add("same", announce(("grid", "b")), dist="second")
    registry = site.discover()
    assert [c.name for c in registry.list()] == ["a"]
    assert "the plugin name 'same' is taken by first" in registry.broken[0].cause


def test_an_entry_point_listed_twice_is_one_plugin(site):
    site.add("alpha", GOOD.format("alpha"))
    registry = discover(site.entries() * 2)
    assert [plugin.name for plugin in registry.plugins] == ["alpha"]
    assert registry.broken == ()


@pytest.mark.parametrize(
    ("first", "second", "fits"),
    [
        ("one/infill", "two/infill", True),
        ("infill", "two/infill", False),
        ("one/infill", "infill", False),
        ("infill", "infill", False),
    ],
)
def test_a_verb_is_shared_only_under_prefixes(site, first, second, fits):
    site.add("one", announce(("command", first)))
    site.add("two", announce(("command", second)))
    registry = site.discover()
    assert [plugin.name for plugin in registry.plugins] == (["one", "two"] if fits else ["one"])
    assert fits or "dist-one" in registry.broken[0].cause


def test_the_order_does_not_depend_on_the_path(site):
    for name in ("c", "a", "b"):
        site.add(name, announce(("grid", f"{name}-grid")))
    entries = site.entries()
    assert [p.name for p in discover(entries).plugins] == ["a", "b", "c"]
    assert [p.name for p in discover(reversed(entries)).plugins] == ["a", "b", "c"]


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "MemoryError"])
@pytest.mark.parametrize("where", ["", "@hook\ndef sfumato_register(add): "])
def test_an_interrupt_is_not_a_broken_plugin(site, error, where):
    site.add("alpha", f"{where}raise {error}")
    with pytest.raises((KeyboardInterrupt, MemoryError)):
        site.discover()


def test_selection_reads_only_the_named_plugins(site, monkeypatch):
    site.add("alpha", "raise RuntimeError('imported')")
    site.add("beta", announce(("grid", "b")))
    monkeypatch.setenv("SFUMATO_PLUGINS", " beta ,")
    registry = site.discover()
    assert [p.name for p in registry.plugins] == ["beta"]
    assert registry.broken == ()
    monkeypatch.setenv("SFUMATO_PLUGINS", "beta,gamma")
    with pytest.raises(UnknownName, match="'gamma', which is not installed; there is alpha, beta"):
        site.discover()


def test_strict_raises_what_is_otherwise_reported(site, monkeypatch):
    site.add("exits", "import sys; sys.exit(3)")
    monkeypatch.setenv("SFUMATO_STRICT", "0")
    assert len(site.discover().broken) == 1
    monkeypatch.setenv("SFUMATO_STRICT", "1")
    with pytest.raises(PluginError, match=r"plugin 'exits' of dist-exits 1\.5: SystemExit: 3"):
        site.discover()


def test_an_unknown_name_gives_close_matches_and_the_broken_plugins(site):
    site.add("images", announce(("recipe", "images/digits"), ("recipe", "images/folder")))
    site.add("audio", "raise OSError('no sound')")
    registry = site.discover()
    for wrong in ("digits", "digts", "images/digit", "image/digits"):
        with pytest.raises(UnknownName, match="did you mean images/digits") as caught:
            registry.find("recipe", wrong)
        assert repr(wrong) in str(caught.value)
        assert "plugin 'audio' of dist-audio 1.5: OSError: no sound" in str(caught.value)
        assert isinstance(caught.value, InputError) and isinstance(caught.value, LookupError)
    with pytest.raises(UnknownName, match="there is images/digits, images/folder"):
        registry.find("recipe", "zzzz")
    with pytest.raises(UnknownName, match="no installed plugin announces a metric"):
        registry.find("metric", "swd")
    with pytest.raises(UnknownName, match="there is no kind 'recipes'"):
        registry.list("recipes")


def test_close_matches_prefers_the_exact_tail_and_keeps_three():
    names = ["images/digits", "graphs/digits", "digit", "digital", "digi"]
    assert close_matches("digits", names)[:2] == ["graphs/digits", "images/digits"]
    assert len(close_matches("digits", names)) == 3
    assert close_matches("qqq", names) == []


@pytest.mark.parametrize(
    ("target", "cause"),
    [
        ("no_such_module_at_all:x", "ModuleNotFoundError"),
        ("json:no_such_attribute", "AttributeError"),
        ("dist_target_exits:x", "SystemExit: 4"),
    ],
)
def test_a_target_that_cannot_be_loaded_names_component_owner_and_cause(site, target, cause):
    site.module("dist_target_exits", "raise SystemExit(4)")
    site.add("alpha", f"@hook\ndef sfumato_register(add):\n    add('grid', 'g', {target!r})")
    registry = site.discover()
    assert registry.broken == ()
    with pytest.raises(PluginError, match="grid 'g' of dist-alpha cannot be loaded") as caught:
        registry.load("grid", "g")
    assert cause in str(caught.value) and target in str(caught.value)
    assert caught.value.__cause__ is not None


def test_cases_are_collected_plugin_by_plugin(site):
    site.add("alpha", "@hook\ndef sfumato_cases(): return [1, 2]")
    site.add("beta", "@hook\ndef sfumato_cases(): raise RuntimeError('no data')")
    site.add("gamma", "@hook\ndef sfumato_cases():\n    yield 3")
    site.add("delta", announce(("grid", "d")))
    cases, broken = site.discover().cases()
    assert sorted(cases) == [1, 2, 3]
    assert [one.name for one in broken] == ["beta"]
    assert "RuntimeError: no data" in broken[0].cause


def test_an_entry_point_without_a_distribution_or_a_module(site):
    site.module("lonely", HEAD + announce(("grid", "l")))
    entries = [EntryPoint("lonely", "lonely", "sfumato"), EntryPoint("odd", "!?", "sfumato")]
    registry = discover(entries)
    assert [(p.distribution, p.version) for p in registry.plugins] == [("lonely", "")]
    assert [one.name for one in registry.broken] == ["odd"]


@pytest.fixture
def fresh(site, monkeypatch):
    """``plugins.registry`` that sees only the site and has nothing cached."""
    monkeypatch.setattr(plugins, "entry_points", lambda group: site.entries())
    plugins._installed.cache_clear()
    yield site
    plugins._installed.cache_clear()


def test_the_registry_is_built_once_by_many_threads(fresh):
    counter = "import pathlib; open(__file__ + '.count', 'a').write('x')\n"
    fresh.add("alpha", counter + "import time; time.sleep(0.05)\n" + announce(("grid", "g")))
    seen, gate = [], threading.Barrier(8)

    def look():
        gate.wait()
        seen.append(plugins.registry())

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8 and len({id(one) for one in seen}) == 1
    assert [c.name for c in seen[0].list()] == ["g"]
    assert (fresh.path / "dist_alpha_alpha.py.count").read_text() == "x"


def test_a_failed_build_is_not_remembered(fresh, monkeypatch):
    fresh.add("bad", "raise OSError('not yet')")
    monkeypatch.setenv("SFUMATO_STRICT", "1")
    with pytest.raises(PluginError, match="not yet"):
        plugins.registry()
    fresh.module("dist_bad_bad", HEAD + announce(("grid", "late")))
    importlib.invalidate_caches()
    assert [c.name for c in plugins.registry().list()] == ["late"]


def test_a_plugin_that_asks_for_the_registry_too_early_is_reported(fresh):
    fresh.add("eager", "from sfumato import registry\nregistry()")
    (broken,) = plugins.registry().broken
    assert "while the plugins were being read" in broken.cause


def test_reading_plugins_loads_nothing_heavy(site):
    """In a fresh interpreter, with a plugin installed."""
    site.add("alpha", GOOD.format("alpha"))
    script = (
        "import sys, sfumato; found = sfumato.registry();"
        "assert any(p.name == 'alpha' for p in found.plugins), found;"
        "print(sorted({'torch', 'numpy', 'pydantic', 'rich', 'typer'} & set(sys.modules)))"
    )
    path = os.pathsep.join([str(site.path), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_explain_is_one_line():
    error = ValueError("two\n  lines")
    assert components.explain(error) == "ValueError: two lines"
