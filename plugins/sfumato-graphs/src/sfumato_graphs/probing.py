"""How much a representation tells about labels: a support vector machine in ten folds."""

from __future__ import annotations

__all__ = ["PENALTIES", "accuracy"]

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from sfumato import InputError, random

FOLDS, INNER = 10, 3
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Of which each fold takes the best on its own training part, in three folds of that."""


def accuracy(z: Tensor, labels: Sequence[int | str], seed: int = 0) -> tuple[float, float]:
    """(mean, standard deviation) over ten folds of the share of labels that are told rightly.

    A machine with Gaussian kernel on standardised numbers (Sun et al. 2020, arXiv:1908.01000,
    section 5, and what followed it).

    Args:
        z: (N, D).
        labels: of the N items.
        seed: of the folds.

    Raises:
        InputError: if labels are missing, all alike, or one has fewer than ten items.
    """
    from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    if len(labels) != len(z):
        raise InputError(f"there are {len(labels)} labels for {len(z)} items")
    values, counts = np.unique(np.asarray(labels), return_counts=True)
    if len(values) < 2 or counts.min() < FOLDS:
        raise InputError(
            f"ten folds need two labels or more with {FOLDS} items each, but the rarest of the "
            f"{len(values)} has {counts.min()}"
        )
    source = random.derive(seed, "folds")
    outer, inner = (
        StratifiedKFold(k, shuffle=True, random_state=int(random.integers(0, 2**31, (), source)))
        for k in (FOLDS, INNER)
    )
    machine = GridSearchCV(make_pipeline(StandardScaler(), SVC()), {"svc__C": PENALTIES}, cv=inner)
    scores = cross_val_score(machine, z.double().numpy(), np.asarray(labels), cv=outer)
    return float(scores.mean()), float(scores.std())
