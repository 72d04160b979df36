"""The one decorator that a test module needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import laws as _laws  # noqa: F401, enters the checks into the book
from .book import checks_of, number
from .case import AnyCase

if TYPE_CHECKING:
    import pytest

__all__ = ["checks"]


def checks(*cases: AnyCase) -> pytest.MarkDecorator:
    """Parametrise a test over `case` and `check`, for every check that a case has to pass.

    A check whose failure a case expects is marked as such, strictly: it has to fail.
    """
    import pytest

    params: list[Any] = []
    for case in cases:
        for check in checks_of(case):
            reason = case.expected_failures.get(number(check))
            marks = (
                ()
                if reason is None
                else pytest.mark.xfail(raises=AssertionError, strict=True, reason=reason)
            )
            params.append(
                pytest.param(case, check, id=f"{case.name}-{check.__name__}", marks=marks)
            )
    return pytest.mark.parametrize(("case", "check"), params)
