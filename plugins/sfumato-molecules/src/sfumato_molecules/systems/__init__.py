"""Published methods on molecules, each with its claims."""

from __future__ import annotations

__all__: list[str] = []
