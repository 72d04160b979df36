"""Trials of systems: run seed by seed, judged against their claims, kept as records.

Nothing here imports torch: a trial runs in a process of its own.
"""

from __future__ import annotations

__all__ = [
    "Asked", "Listed", "Outcome", "Result", "Row", "Verdict", "catalogue", "find_systems", "judge",
    "load_system", "record", "run_claims", "shipped", "write_record",
]  # fmt: skip

from .judging import Outcome, Verdict, judge
from .records import Listed, catalogue, record, shipped, write_record
from .rows import Row
from .running import Asked, Result, find_systems, load_system, run_claims
