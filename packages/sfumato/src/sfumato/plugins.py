"""The plugin host: finds the installed plugins and lets each announce its components.

A plugin is an entry point of the group ``sfumato`` that names a module::

    from sfumato import hook
    from sfumato.plugins import Add

    @hook
    def sfumato_register(add: Add) -> None:
        add("process", "wind/gust", "sfumato_wind.process:Gust", summary="...", source="arXiv:...")

Every plugin is read in a guard of its own: one that fails is switched off whole and reported.
``SFUMATO_PLUGINS=a,b`` reads only the entry points of these names; ``SFUMATO_STRICT=1`` raises
where a plugin would be switched off.
"""

from __future__ import annotations

__all__ = ["Add", "discover", "hook", "registry"]

import functools
import os
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

import pluggy

from .components import (
    KINDS,
    VERBS,
    Broken,
    Component,
    Plugin,
    PluginError,
    Registry,
    UnknownName,
    explain,
    hint,
)

GROUP = "sfumato"
FIRST = ("sfumato-data", "sfumato-eval", "sfumato-methods", "sfumato-nn", "sfumato-train")
NAME = re.compile(r"(?:(?P<plugin>[a-z0-9][a-z0-9._-]*)/)?[a-z0-9][a-z0-9._+-]*")
TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")

hook = pluggy.HookimplMarker(GROUP)
_spec = pluggy.HookspecMarker(GROUP)


class Add(Protocol):
    """What ``sfumato_register`` receives: announces one component."""

    def __call__(
        self, kind: str, name: str, target: str, *, summary: str = "", source: str = ""
    ) -> None:
        """Announce ``target``, a ``"module:attribute"`` that is imported on first use.

        Args:
            kind: one of ``KINDS``.
            name: a bare name, or ``plugin/name`` where ``plugin`` is the entry point's name.
            target: where the component is.
            summary: one line for listings.
            source: where it was published.

        Raises:
            PluginError: an unknown kind, a target of the wrong form, or a wrong or taken name.
        """


class Hooks:
    """The hooks; a plugin implements them as plain functions of its module."""

    @_spec
    def sfumato_register(self, add: Add) -> None:
        """Announce components; called at start-up, so it must not import anything heavy."""

    @_spec
    def sfumato_cases(self) -> Iterable[Any]:  # type: ignore[empty-body]
        """Conformance cases (``sfumato_testing.Case``); called only by the kit."""


def discover(entries: Iterable[EntryPoint] | None = None) -> Registry:
    """Read plugins, by default all installed ones: ours, then by distribution and entry name.

    Raises:
        UnknownName: ``SFUMATO_PLUGINS`` names a plugin that is not there.
        PluginError: a plugin failed and ``SFUMATO_STRICT`` is set.
    """
    strict = os.environ.get("SFUMATO_STRICT", "") not in ("", "0")
    plugins: list[Plugin] = []
    broken: list[Broken] = []
    for entry in _selected(entry_points(group=GROUP) if entries is None else entries):
        try:
            plugins.append(_read(entry, plugins))
        except (KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:  # a plugin that calls sys.exit must not end the program
            failed = Broken(entry.name, *_origin(entry), explain(error))
            if strict:
                raise PluginError(str(failed)) from error
            broken.append(failed)
    return Registry(tuple(plugins), tuple(broken))


def registry() -> Registry:
    """The registry of all installed plugins, built once per process; raises as `discover`."""
    global _building
    with _lock:
        if _building:
            raise PluginError("registry() was called while the plugins were being read")
        _building = True
        try:
            return _installed()
        finally:
            _building = False


# Re-entrant, so that a plugin that calls registry() too early gets the error and not a deadlock.
_lock = threading.RLock()
_building = False
_installed = functools.cache(discover)


def _read(entry: EntryPoint, present: Sequence[Plugin]) -> Plugin:
    """Import one plugin and let it announce its components.

    Every plugin has a manager of its own: a call reaches that plugin alone, and a plugin that
    fails leaves nothing behind.
    """
    distribution, version = _origin(entry)
    for other in present:
        if other.name == entry.name:
            raise PluginError(f"the plugin name {entry.name!r} is taken by {other.distribution}")
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    module = entry.load()
    manager.register(module, entry.name)
    manager.check_pending()
    if not manager.get_hookcallers(module):
        raise PluginError(f"{entry.value!r} has no function decorated with @sfumato.hook")
    announced: list[Component] = []
    taken = {(c.kind, c.name): c for plugin in present for c in plugin.components}

    def add(kind: str, name: str, target: str, *, summary: str = "", source: str = "") -> None:
        component = Component(kind, name, target, summary, source, distribution)
        _check(component, entry.name)
        other = _holder(component, taken)
        if other is not None:
            raise PluginError(f"{kind} {name!r} is taken by {other.name!r} of {other.owner}")
        taken[kind, name] = component
        announced.append(component)

    manager.hook.sfumato_register(add=add)
    return Plugin(entry.name, distribution, version, tuple(announced), manager.hook)


def _check(component: Component, plugin: str) -> None:
    kind, name, target = component.kind, component.name, component.target
    if kind not in KINDS:
        way = hint(kind, KINDS, f"kinds are {', '.join(KINDS)}")
        raise PluginError(f"{name!r} is announced as the unknown kind {kind!r}; {way}")
    form = NAME.fullmatch(name)
    if form is None:
        shape = f"'name' or '{plugin}/name' in lower-case letters, digits, '-', '.', '_' and '+'"
        raise PluginError(f"{kind} {name!r}: a name is {shape}")
    if form["plugin"] not in (None, plugin):
        raise PluginError(f"{kind} {name!r}: the prefix must be the plugin's name, {plugin!r}")
    if not TARGET.fullmatch(target):
        raise PluginError(f"{kind} {name!r}: the target {target!r} is not 'module:attribute'")
    if kind == "command" and component.tail in VERBS:
        raise PluginError(f"command {name!r}: the sfumato command has a verb {component.tail!r}")


def _holder(new: Component, taken: Mapping[tuple[str, str], Component]) -> Component | None:
    """The component that already has the new one's name.

    Several plugins may offer one verb under their own prefixes (the data decides which one runs),
    but not when one of them claims it for all data.
    """
    if new.kind == "command" and (new.kind, new.name) not in taken:
        if new.name != new.tail:
            return taken.get((new.kind, new.tail))
        same = (one for (kind, _), one in taken.items() if (kind, one.tail) == (new.kind, new.name))
        return next(same, None)
    return taken.get((new.kind, new.name))


def _selected(entries: Iterable[EntryPoint]) -> list[EntryPoint]:
    """The entry points to read, in order; one that is listed twice is read once."""
    unique = {(*_origin(entry)[:1], entry.name, entry.value): entry for entry in entries}
    # The packages of sfumato come first, so that no plugin takes a name of theirs.
    found = [unique[key] for key in sorted(unique, key=lambda key: (key[0] not in FIRST, key))]
    wanted = [w.strip() for w in os.environ.get("SFUMATO_PLUGINS", "").split(",") if w.strip()]
    names = {entry.name for entry in found}
    for name in wanted:
        if name not in names:
            raise UnknownName(
                f"SFUMATO_PLUGINS names the plugin {name!r}, which is not installed; "
                f"there is {', '.join(sorted(names)) or 'none'}"
            )
    return [entry for entry in found if not wanted or entry.name in wanted]


def _origin(entry: EntryPoint) -> tuple[str, str]:
    """Distribution and version; damaged or missing metadata give the top module and ``""``."""
    name = entry.dist and entry.dist.name
    version = entry.dist and entry.dist.version
    return name or re.split(r"[.:]", entry.value)[0], version or ""
