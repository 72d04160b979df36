"""Published systems of text and other sequences of tokens.

Each module of a system has a `system`, known without torch, whose trial imports what it needs.
"""

from __future__ import annotations

__all__: list[str] = []
