"""What plugins announce and where it is looked up; a target is imported when it is asked for."""

from __future__ import annotations

__all__ = [
    "KINDS", "VERBS", "Broken", "Component", "Plugin", "PluginError", "Registry", "UnknownName",
    "close_matches", "explain", "hint",
]  # fmt: skip

import functools
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import InputError

if TYPE_CHECKING:
    import pluggy

KINDS = (
    "process", "network", "sampler", "grid", "objective", "codec", "metric",
    "dataset", "domain", "recipe", "command", "tool", "system",
)  # fmt: skip
VERBS = (
    "train", "sample", "evaluate", "report", "compare", "tune-grid", "apply", "systems", "claims",
    "plugins", "list", "show", "new-plugin", "data",
)  # fmt: skip
"""What the `sfumato` command does itself, for all data; no plugin may announce these verbs."""


class PluginError(RuntimeError):
    """A plugin breaks the rules, or something that it announced cannot be imported."""


class UnknownName(InputError, LookupError):
    """No component has the kind or the name that was asked for."""


@dataclass(frozen=True, slots=True)
class Component:
    """One announced thing: found by kind and name, imported by :meth:`load`.

    ``target`` is ``"module:attribute"``, ``source`` cites where the idea was published, and
    ``owner`` is the distribution that announced it.
    """

    kind: str
    name: str
    target: str
    summary: str
    source: str
    owner: str

    @property
    def tail(self) -> str:
        """The name without its ``plugin/`` prefix."""
        return self.name.rpartition("/")[2]

    def load(self) -> Any:  # noqa: ANN401, the kind decides
        """Import the target.

        Raises:
            PluginError: the import failed; names the component, its distribution and the cause.
        """
        module, _, path = self.target.partition(":")
        try:
            return functools.reduce(getattr, path.split("."), importlib.import_module(module))
        except (KeyboardInterrupt, MemoryError):
            raise
        except BaseException as error:
            raise PluginError(
                f"{self.kind} {self.name!r} of {self.owner} cannot be loaded from "
                f"{self.target!r}: {explain(error)}"
            ) from error


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point that works: its names, its components and its hooks."""

    name: str
    distribution: str
    version: str
    components: tuple[Component, ...]
    hooks: pluggy.HookRelay = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Broken:
    """One entry point that was switched off, and why."""

    name: str
    distribution: str
    version: str
    cause: str

    def __str__(self) -> str:
        """The plugin and the cause in one line."""
        return f"plugin {self.name!r} of {self.distribution} {self.version}: {self.cause}"


@dataclass(frozen=True)
class Registry:
    """All components of a set of plugins; the plugins that failed are kept by name and cause."""

    plugins: tuple[Plugin, ...] = ()
    broken: tuple[Broken, ...] = ()

    @functools.cached_property
    def _index(self) -> Mapping[str, Mapping[str, Component]]:
        every = [component for plugin in self.plugins for component in plugin.components]
        return {kind: {one.name: one for one in every if one.kind == kind} for kind in KINDS}

    def list(self, kind: str | None = None) -> tuple[Component, ...]:
        """The components of one kind, or of all, sorted by kind (as in ``KINDS``) and name.

        Raises:
            UnknownName: there is no such kind.
        """
        kinds = KINDS if kind is None else (kind,)
        return tuple(found for kind in kinds for _, found in sorted(self._of(kind).items()))

    def find(self, kind: str, name: str) -> Component:
        """The component of that kind and name.

        Raises:
            UnknownName: there is none; gives close matches and the plugins that are broken.
        """
        names = self._of(kind)
        if name in names:
            return names[name]
        there = f"there is {', '.join(sorted(names))}"
        way = hint(name, names, there if names else f"no installed plugin announces a {kind}")
        raise UnknownName(f"there is no {kind} {name!r}; {way}{self.foot}")

    @property
    def foot(self) -> str:
        """The end of an error about a name: the plugins that are switched off, if there are any."""
        return "".join(f"; switched off: {one}" for one in self.broken)

    def load(self, kind: str, name: str) -> Any:  # noqa: ANN401, the kind decides
        """Import the component of that kind and name; raises as `find` and `Component.load`."""
        return self.find(kind, name).load()

    def cases(self) -> tuple[tuple[Any, ...], tuple[Broken, ...]]:
        """The conformance cases of all plugins, and the plugins whose cases cannot be made."""
        cases: list[Any] = []
        broken: list[Broken] = []
        for plugin in self.plugins:
            try:
                cases += [case for made in plugin.hooks.sfumato_cases() for case in made]
            except (KeyboardInterrupt, MemoryError):
                raise
            except BaseException as error:
                who = plugin.name, plugin.distribution, plugin.version
                broken.append(Broken(*who, explain(error)))
        return tuple(cases), tuple(broken)

    def _of(self, kind: str) -> Mapping[str, Component]:
        if kind not in self._index:
            way = hint(kind, KINDS, f"there is {', '.join(KINDS)}")
            raise UnknownName(f"there is no kind {kind!r}; {way}")
        return self._index[kind]


def close_matches(name: str, names: Iterable[str]) -> list[str]:
    """At most three of ``names`` that ``name`` may have meant, the likeliest first.

    The part behind ``plugin/`` is compared too: ``digits`` finds ``images/digits``.
    """
    import difflib

    names = sorted(names)
    tail = name.rpartition("/")[2]
    tails = {known: known.rpartition("/")[2] for known in names}
    near = difflib.get_close_matches(tail, set(tails.values()))
    found = [known for known in names if tails[known] == tail]
    found += difflib.get_close_matches(name, names)
    found += [known for one in near for known in names if tails[known] == one]
    return list(dict.fromkeys(found))[:3]


def hint(name: str, names: Iterable[str], otherwise: str) -> str:
    """What `name` may have meant, as a question; `otherwise` where nothing is close."""
    close = close_matches(name, names)
    return f"did you mean {' or '.join(close)}?" if close else otherwise


def explain(error: BaseException) -> str:
    """One line that says what an exception was and, unless it is ours, where it came from."""
    text = " ".join(str(error).split())
    if isinstance(error, (PluginError, InputError)):
        return text
    place, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<"):
            place = f" ({file}:{trace.tb_lineno})"
        trace = trace.tb_next
    return f"{type(error).__name__}: {text}{place}"
