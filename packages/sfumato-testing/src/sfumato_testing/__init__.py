"""Conformance kit of sfumato: the laws that processes, samplers and plugins have to keep.

One decorator puts a process to the test::

    from sfumato_testing import Case, checks

    @checks(Case(MyProcess(), x0=examples))
    def test_conformance(case, check):
        check(case)
"""

from __future__ import annotations

from .book import checks_of, failures
from .case import LAWS, Case, PluginCase, SolverCase
from .decorator import checks
from .targets import (
    Corrupted,
    DiagonalMixture,
    Enumerated,
    Factorised,
    FullMixture,
    Target,
    Together,
)

__all__ = [
    "LAWS",
    "Case",
    "Corrupted",
    "DiagonalMixture",
    "Enumerated",
    "Factorised",
    "FullMixture",
    "PluginCase",
    "SolverCase",
    "Target",
    "Together",
    "checks",
    "checks_of",
    "failures",
]
