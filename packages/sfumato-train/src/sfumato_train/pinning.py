"""Conditions that stay: what a process depends on, and the source of an item of a pair.

A bridge ends at a source that every item brings along; other processes may be told it as well, and
then it is a state like the target that a network sees beside its input.
"""

from __future__ import annotations

__all__ = ["SOURCE", "lasting", "pinned", "spaced"]

from collections.abc import Mapping
from typing import Any

import torch

from sfumato import Codec, InputError, Maybe, Process
from sfumato.random import Source

SOURCE = "source"
"""The condition that a target is made from: a state like the target."""


def lasting(process: Process, condition: Mapping[str, Any]) -> tuple[str, ...]:
    """The conditions that no item is ever without, and that guidance leaves as they are."""
    return tuple(name for name in condition if name in process.context or name == SOURCE)


@torch.no_grad()
def spaced(
    process: Process, condition: Mapping[str, Any], codec: Codec | None, generator: Source
) -> dict[str, Any]:
    """The conditions, the lasting ones brought to the space of the process.

    Args:
        process: whose `context` names those that it depends on.
        condition: by name, of any number of items.
        codec: from data to the space of the process; None: it works on the data.
        generator: of the codec's draws.

    Raises:
        InputError: if one that the process needs is missing, for some item or for all.
    """
    found = dict(condition)
    for name in dict.fromkeys((*process.context, *lasting(process, condition))):
        value = found.get(name)
        if value is None or (isinstance(value, Maybe) and not bool(value.present.all())):
            raise InputError(
                f"{process} needs the condition {name!r} of every item, but it is missing"
                f"{'' if value is None else ' for some'}"
            )
        value = value.value if isinstance(value, Maybe) else value
        found[name] = value if codec is None else codec.encode(value, generator)
    return found


def pinned(process: Process, condition: Mapping[str, Any]) -> Process:
    """The process as it is for these items: `given` what its `context` names (see `spaced`)."""
    return process.given(**{name: condition[name] for name in process.context})
