"""The errors sfumato raises on purpose, each with one sentence that names the way out."""

from __future__ import annotations

__all__ = ["InputError", "Unsupported"]


class InputError(ValueError):
    """A value, file or name given by the user is wrong; the message says where and what fits."""


class Unsupported(TypeError):
    """Two pieces do not go together; the message names the missing capability and the way out."""
