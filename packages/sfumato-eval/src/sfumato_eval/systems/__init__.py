"""Published systems whose home is the evaluation: surveys, and what they say in general.

Each module has a `system`, known without torch, whose trial imports what it needs.
"""

from __future__ import annotations

__all__: list[str] = []
