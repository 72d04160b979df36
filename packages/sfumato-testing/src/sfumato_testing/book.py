"""The book of laws: which checks there are, since which version, and to which cases they apply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar

import torch

from sfumato import InputError

from .case import AnyCase

__all__ = ["BOOK", "Check", "Entry", "checks_of", "failures", "law", "number"]

Check: TypeAlias = Callable[[Any], None]
"""Takes a case; raises AssertionError where the law does not hold."""

_C = TypeVar("_C", bound=Check)


class Entry(NamedTuple):
    """A check with the cases that it is meant for."""

    check: Check
    kind: type
    since: int
    applies: Callable[[Any], bool]


BOOK: list[Entry] = []


def law(
    kind: type, applies: Callable[[Any], bool] = lambda case: True, since: int = 1
) -> Callable[[_C], _C]:
    """Enter a check into the book.

    Args:
        kind: kind of case that it takes.
        applies: whether a case announces what the law is about.
        since: version of the laws that it came with.
    """

    def enter(check: _C) -> _C:
        BOOK.append(Entry(check, kind, since, applies))
        return check

    return enter


def number(check: Check) -> str:
    """`C1` of `C1_bridge_law`."""
    return check.__name__.partition("_")[0]


def checks_of(case: AnyCase) -> list[Check]:
    """The checks that a case has to pass, in the order of their numbers.

    Raises:
        InputError: if it expects the failure of a check that does not apply to it.
    """
    chosen = [
        entry.check
        for entry in sorted(BOOK, key=lambda entry: int(number(entry.check)[1:]))
        if isinstance(case, entry.kind) and entry.since <= case.laws and entry.applies(case)
    ]
    unknown = set(case.expected_failures) - {number(check) for check in chosen}
    if unknown:
        raise InputError(
            f"{case.name}: failures of {', '.join(sorted(unknown))} are expected, but these checks "
            "do not apply to it"
        )
    return chosen


def failures(case: AnyCase) -> dict[str, str]:
    """Run all checks of a case outside of pytest: number of each that fails to what it says."""
    said, grad = {}, torch.is_grad_enabled()
    for check in checks_of(case):
        try:
            check(case)
        except AssertionError as error:
            said[number(check)] = str(error)
        except Exception as error:
            said[number(check)] = f"{number(check)} crashed: {error!r}"
        finally:  # what breaks C8 must not break the checks that follow
            torch.set_grad_enabled(grad)
    return said
