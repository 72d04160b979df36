"""Matched: perfect pictures are found, random ones by chance; the floor is that of real ones."""

from __future__ import annotations

import pytest
import torch

from sfumato import Batch, InputError, random
from sfumato_data import Tensors
from sfumato_eval import Features
from sfumato_images import matched

SEEN = Features("pixels", lambda batch: batch.x.flatten(1))


def data(n, seed, noise=0.0):
    """Pictures that are a linear map of the vector of their caption, and noise."""
    vectors = random.normal(torch.empty(n, 8), random.derive(seed, "vectors"))
    vectors = vectors / vectors.norm(dim=1, keepdim=True)
    mix = random.normal(torch.empty(8, 12), random.derive(0, "mix"))
    pixels = vectors @ mix + noise * random.normal(torch.empty(n, 12), random.derive(seed, "x"))
    return Tensors(pixels.reshape(n, 3, 2, 2), {"vector": vectors})


def whole(tensors):
    return Batch(tensors.x, tensors.condition)


def test_what_determines_its_caption_is_found_and_what_does_not_is_found_by_chance():
    """Of 2,000 items without relation 1 in 50 is a hit: binomial, 4.5 standard errors."""
    metric = matched.fit(data(500, 1), SEEN)
    real = metric.summary(whole(data(2000, 2)))
    perfect = metric.between(real, real)
    assert perfect.value == 1 and perfect.floor == 1 and perfect.n == 2000
    asked = whole(data(2000, 2))
    unrelated = Batch(data(2000, 3).x, asked.condition)
    score = metric.between(metric.summary(unrelated), real)
    assert score.parts["by chance"] == 0.02 and score.floor == 1
    assert abs(score.value - 0.02) < 4.5 * (0.02 * 0.98 / 2000) ** 0.5


def test_the_floor_is_what_the_map_sees_in_real_pictures():
    metric = matched.fit(data(1000, 1, noise=1.5), SEEN)
    real = metric.summary(whole(data(600, 2, noise=1.5)))
    clean = metric.summary(whole(data(600, 2)))
    score = metric.between(clean, real)
    assert 0.05 < score.floor < score.value


def test_summaries_add():
    metric, some = matched.fit(data(200, 1), SEEN), data(100, 2, noise=1.0)
    parts = [metric.summary(some.batch(range(i, i + 50))) for i in (0, 50)]
    both, one = parts[0] + parts[1], metric.summary(whole(some))
    assert torch.allclose(both.predicted, one.predicted, atol=1e-9)
    assert metric.between(both, both) == metric.between(one, one)


def test_few_captions_are_a_smaller_choice_and_one_is_none():
    metric = matched.fit(data(200, 1), SEEN)
    few = data(30, 2)
    score = metric.between(metric.summary(whole(few)), metric.summary(whole(few)))
    assert score.parts["by chance"] == 1 / 30 and "of 30 held-out ones" in score.protocol
    same = Batch(few.x, {"vector": few.condition["vector"][:1].expand(30, 8)})
    with pytest.raises(InputError, match="all held-out pictures have the same"):
        metric.between(metric.summary(whole(few)), metric.summary(same))
    with pytest.raises(InputError, match="needs the condition 'vector'"):
        metric.summary(Batch(few.x))
