"""What this plugin announces: the domain of molecules, its data sets, metrics and verbs."""

from __future__ import annotations

__all__ = ["sfumato_register"]

from sfumato import hook
from sfumato.plugins import Add


@hook
def sfumato_register(add: Add) -> None:
    """Announce the domain, the data sets, the metrics and the verbs."""
