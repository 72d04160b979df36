"""Text for sfumato; what this plugin offers is announced in :mod:`sfumato_language.plugin`."""

from __future__ import annotations

__all__: list[str] = []
