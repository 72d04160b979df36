"""The Frechet distance against closed forms, singular covariances included."""

from __future__ import annotations

import pytest
import torch
from scipy.linalg import sqrtm

from sfumato import Batch, InputError, random
from sfumato_eval import Frechet, frechet_distance


def normal(seed: int, *shape: int) -> torch.Tensor:
    return random.normal(torch.empty(shape, dtype=torch.float64), random.derive(seed, "data"))


def rotation(seed: int, d: int) -> torch.Tensor:
    return torch.linalg.qr(normal(seed, d, d)).Q


def score(a: torch.Tensor, b: torch.Tensor) -> float:
    metric = Frechet()
    return metric.between(metric.summary(Batch(a)), metric.summary(Batch(b))).value


SPECTRA = {
    "full": ([1.0, 2.0, 0.5, 3.0], [0.2, 2.0, 4.0, 1.0]),
    "one singular": ([1.0, 2.0, 0.0, 0.0], [0.2, 2.0, 4.0, 1.0]),
    "both singular": ([1.0, 2.0, 0.0, 0.0], [0.0, 2.0, 4.0, 0.0]),
    "disjoint": ([1.0, 2.0, 0.0, 0.0], [0.0, 0.0, 4.0, 1.0]),
    "far apart": ([1e6, 1.0, 1e-3, 0.0], [1e6, 4.0, 0.0, 1e-3]),
    "zero": ([0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]),
}


@pytest.mark.parametrize("name", SPECTRA)
def test_common_axes_equal_the_closed_form(name):
    a, b = (torch.tensor(s, dtype=torch.float64) for s in SPECTRA[name])
    turn, mean = rotation(1, 4), torch.tensor([1.0, -2.0, 0.0, 0.5], dtype=torch.float64)
    expected = 5.25 + float((a.sqrt() - b.sqrt()).square().sum())
    found = frechet_distance(
        mean, turn * a @ turn.T, torch.zeros(4, dtype=torch.float64), turn * b @ turn.T
    )
    assert abs(found - expected) < 1e-9 * max(1, float(a.max()))


def test_rank_one_covariances_equal_the_closed_form():
    """For uu' and vv' the mixed trace is |<u, v>|."""
    u, v, zero = normal(1, 6), normal(2, 6), torch.zeros(6, dtype=torch.float64)
    expected = float(u @ u + v @ v - 2 * (u @ v).abs())
    assert abs(frechet_distance(zero, u.outer(u), zero, v.outer(v)) - expected) < 1e-9


def test_any_axes_equal_the_matrix_square_root():
    a, b = (x.T @ x for x in (normal(3, 20, 8), normal(4, 20, 8)))
    zero = torch.zeros(8, dtype=torch.float64)
    root = sqrtm((a @ b).numpy()).trace().real
    expected = float(a.trace() + b.trace()) - 2 * root
    assert abs(frechet_distance(zero, a, zero, b) - expected) < 1e-9


@pytest.mark.parametrize(("n", "d"), [(500, 6), (5, 40), (2, 3)])
def test_moments_of_data_give_the_closed_form_even_where_n_is_below_d(n, d):
    """A shift c costs |c|^2; doubling costs |mean|^2 + tr A; equal sets cost nothing."""
    a, shift = normal(5, n, d), normal(6, d)
    assert abs(score(a, a + shift) - float(shift @ shift)) < 1e-9
    assert abs(score(a, 2 * a) - float(a.mean(0).square().sum() + a.var(0).sum())) < 1e-9
    assert 0 <= score(a, a) < 1e-9


def test_one_dimension_is_means_and_deviations():
    a, b = normal(7, 40, 1), 3 + 2 * normal(8, 30, 1)
    expected = float((a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2)
    assert abs(score(a, b) - expected) < 1e-9


def test_summaries_of_integers_add_to_the_bit():
    x, metric = (10 * normal(9, 100, 5)).round(), Frechet()
    whole = metric.summary(Batch(x))
    parts = metric.summary(Batch(x[:30])) + metric.summary(Batch(x[30:]))
    assert parts.n == 100
    assert torch.equal(parts.total, whole.total) and torch.equal(parts.outer, whole.outer)


def test_too_few_items_and_unequal_features_are_refused():
    with pytest.raises(InputError, match="at least 2 items, not 1"):
        score(torch.ones(1, 3), torch.ones(5, 3))
    with pytest.raises(InputError, match="3 dimensions on one side and 2"):
        score(torch.ones(5, 3), torch.ones(5, 2))
    metric = Frechet()
    with pytest.raises(InputError, match="3 dimensions on one side and 2"):
        metric.summary(Batch(torch.ones(5, 3))) + metric.summary(Batch(torch.ones(5, 2)))
