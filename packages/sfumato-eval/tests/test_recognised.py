"""Recognised: the share, its floor on held-out data, and its standard error."""

from __future__ import annotations

import pytest
import torch

from sfumato import Batch, InputError, Maybe
from sfumato_eval import Recognised, measure


def batch(seen: list[int], asked: list[int]) -> Batch:
    return Batch(torch.tensor(seen), {"label": torch.tensor(asked)})


METRIC = Recognised(lambda b: torch.nn.functional.one_hot(b.x, 3).float())


def test_share_floor_and_error():
    samples, held = batch([0, 1, 2, 2], [0, 1, 2, 1]), batch([0, 1, 1, 1], [0, 2, 2, 1])
    found = measure(METRIC, samples, held, held)
    assert (found.value, found.floor, found.n, found.better) == (0.75, 0.5, 4, "higher")
    assert found.ratio == 1.5
    p = 4 / 6
    assert found.parts["standard error"] == pytest.approx((p * (1 - p) / 4) ** 0.5)


def test_a_full_score_is_not_certain():
    """20 of 20 has a standard error above zero, of the order of 1/20."""
    hits = METRIC.summary(batch([1] * 20, [1] * 20))
    assert hits.share == 1 and 0.02 < hits.error < 0.1


def test_missing_labels_and_bad_scores_are_refused():
    ids = torch.tensor([0, 1])
    for condition in (
        {},
        {"label": ids.float()},
        {"label": ids[:1]},
        {"label": Maybe(ids, ids > 0)},
    ):
        with pytest.raises(InputError, match=r"condition 'label' as \(2,\) integers"):
            METRIC.summary(Batch(ids, condition))
    flat = Recognised(lambda b: b.x.float())
    with pytest.raises(InputError, match="shape"):
        flat.summary(batch([0, 1], [0, 1]))
    broken = Recognised(lambda b: torch.full((len(b.x), 3), torch.nan))
    with pytest.raises(InputError, match="samples, items 0 to 1: .* not finite"):
        measure(broken, *[batch([0, 1], [0, 1])] * 3)
