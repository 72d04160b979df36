"""Published systems of images.

Each module has a `system`, known without torch, whose trial imports what it needs.
"""

from __future__ import annotations

__all__: list[str] = []
