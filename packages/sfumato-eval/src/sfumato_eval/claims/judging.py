"""What the seeds of a trial say about a claim: one rule, fixed for all systems.

The ratio of a claim is the median over its finished seeds. With at least `ENOUGH` seeds finished,
which must be more than half of those tried,

- all of them within the bound: reproduced;
- none of them: not reproduced;
- some: undecided, whatever the median.

With fewer it is out of time where the clock stopped a seed, else undecided. A number that is not
finite is outside every bound. A run on a smaller scale than 1 decides nothing: it is undecided.
"""

from __future__ import annotations

__all__ = ["ENOUGH", "Outcome", "Verdict", "judge"]

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sfumato.survey import Claim

from .rows import Row

Outcome: TypeAlias = Literal["reproduced", "not reproduced", "undecided", "out of time"]

ENOUGH = 3
"""Seeds without which nothing is decided."""


@dataclass(frozen=True)
class Verdict:
    """A claim judged.

    Attributes:
        outcome: by the rule of this module.
        ratio: median over the finished seeds; None without one, or where it is not finite.
        holds: for each finished seed whether it is within the bound.
    """

    outcome: Outcome
    ratio: float | None
    holds: tuple[bool, ...]


def judge(claim: Claim, rows: Sequence[Row]) -> Verdict:
    """The verdict of all seeds that were tried, finished or not."""
    ratios = [row.measured[claim.key].ratio for row in rows if row.status == "done"]
    holds = tuple(map(claim.holds, ratios))
    # what is not finite is outside the bound, and sorts there
    outside = math.inf if claim.at_most is not None else -math.inf
    middle = statistics.median(r if math.isfinite(r) else outside for r in ratios) if ratios else 0
    ratio = middle if ratios and math.isfinite(middle) else None
    return Verdict(_outcome(holds, rows), ratio, holds)


def _outcome(holds: Sequence[bool], rows: Sequence[Row]) -> Outcome:
    if len(holds) < ENOUGH or 2 * len(holds) <= len(rows):
        late = any(row.status == "out of time" for row in rows)
        return "out of time" if late else "undecided"
    if any(row.scale < 1 for row in rows):
        return "undecided"
    if all(holds):
        return "reproduced"
    return "undecided" if any(holds) else "not reproduced"
