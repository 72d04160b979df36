"""The law about plugins."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

from sfumato.components import PluginError
from sfumato.plugins import GROUP, discover

from ..book import law
from ..case import PluginCase

__all__ = ["C16_plugin"]

_SECONDS = 0.05
_PROBE = """
import sys, time
import sfumato.plugins
start = time.process_time()
import {module}
print(time.process_time() - start, *sorted({{"torch", "numpy"}} & set(sys.modules)))
"""


@law(PluginCase)
def C16_plugin(case: PluginCase) -> None:
    """A plugin is announced, its module is light, and all that it announces can be imported.

    In a fresh process the module, imported after `sfumato.plugins`, brings neither torch nor numpy
    and takes less than 50 ms of processor time (the best of five). False alarms: none to speak of.
    """
    found = [e for e in entry_points(group=GROUP) if e.value == case.module]
    assert found, (
        f"C16 plugin: no installed distribution names {case.module!r} in the entry-point group "
        f"{GROUP!r}"
    )
    registry = discover(found[:1])
    assert not registry.broken, f"C16 plugin: {registry.broken[0]}"
    best, heavy = _probe(case.module)
    assert not heavy, f"C16 plugin: importing {case.module} brings {', '.join(heavy)}"
    assert best < _SECONDS, (
        f"C16 plugin: importing {case.module} takes {1000 * best:.0f} ms, at most 50"
    )
    for component in registry.list():
        try:
            component.load()
        except PluginError as error:
            raise AssertionError(f"C16 plugin: {error}") from error


def _probe(module: str) -> tuple[float, list[str]]:
    """Least processor seconds of importing the module, and the heavy libraries it brings."""
    taken = []
    heavy: list[str] = []
    for _ in range(5):
        command = [sys.executable, "-c", _PROBE.format(module=module)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds, *heavy = done.stdout.split()
        taken.append(float(seconds))
        if heavy or taken[-1] < _SECONDS:
            break
    return min(taken), heavy
