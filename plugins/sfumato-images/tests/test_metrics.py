"""The classifier and the metrics made with it: deterministic, accurate, and able to tell."""

from __future__ import annotations

import math

import pytest
import torch

from sfumato import Batch, random
from sfumato_data import Tensors, gather, split, subset
from sfumato_eval import Frechet, efficientnet, measure_all
from sfumato_images import classifier
from sfumato_images.data import demo
from sfumato_images.domain import domain

N = 180  # items on each side
DISTANCES = ["frechet", "kid", "coverage", "sliced-wasserstein", "memorisation"]


@pytest.fixture(scope="module")
def halves():
    return split(demo(), 0.25, seed=0)


@pytest.fixture(scope="module")
def measured(halves):
    return domain.metrics(halves[0])


def scores(metrics, samples, held, other):
    return measure_all(metrics, samples, held, other, n=N, generator=random.derive(0, "test"))


def test_held_out_digits_are_recognised(halves, measured):
    recognised = measured[0]
    hits = recognised.summary(gather(halves[1]))
    assert hits.n > 400
    assert hits.share >= 0.97


def test_the_classifier_is_a_function_of_data_and_seed(halves, monkeypatch):
    monkeypatch.setattr(classifier, "_STEPS", 5)
    state = torch.random.get_rng_state()
    one, two, other = (classifier.fit(halves[0], seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator is left alone"
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.head.weight, other.head.weight)
    assert not one.training and not any(p.requires_grad for p in one.parameters())


def test_metrics_tell_bad_samples_from_good_ones(halves, measured):
    train, held = halves
    real = gather(held)
    first, second = split(held, 0.5, seed=1)
    good = scores(measured, first, second, first)
    blurred = torch.nn.functional.avg_pool2d(real.x, 3, 1, 1)
    bad = scores(measured, Batch(blurred, real.condition), second, first)
    for name in ("frechet", "kid", "sliced-wasserstein"):
        assert bad[name].value > 2 * max(good[name].value, bad[name].floor), name
    assert bad["coverage"].value < 0.8 < 0.95 < good["coverage"].value
    copied = scores(measured, gather(train, range(400)), second, first)["memorisation"]
    assert copied.value > 0.9
    assert good["memorisation"].value < 0.2
    for score in bad.values():
        assert "FID" not in score.protocol
        assert score.n == N
    assert "on the training images, to tell 10 classes" in bad["frechet"].protocol


def test_proportions_of_classes_cancel_if_samples_have_those_of_the_floor(halves, measured):
    """Real images that no metric compares stand for samples of a model with no fault.

    Asked for with the classes of the half that makes the floor, they have its distance, nearly; of
    random classes, they are off by a third, since proportions vary by chance.
    """
    train, held = halves
    (frechet,) = (metric for metric in measured if isinstance(metric, Frechet))
    labels, have = (gather(side).condition["label"] for side in (held, train))
    off = {"matched": 0.0, "random": 0.0}
    for seed in range(6):
        order = random.permutation(len(held), random.derive(seed, "held")).tolist()
        real, other = subset(held, order[:N]), subset(held, order[N : 2 * N])
        pool = random.permutation(len(train), random.derive(seed, "train"))
        matched = torch.cat(
            [pool[have[pool] == k][: (labels[order[N : 2 * N]] == k).sum()] for k in range(10)]
        )
        for name, index in (("matched", matched), ("random", pool[:N])):
            score = scores([frechet], subset(train, index.tolist()), real, other)["frechet"]
            off[name] += abs(math.log(score.ratio)) / 6
    assert off["matched"] < 0.2 < 0.25 < off["random"]


def test_asking_for_the_wrong_class_is_noticed(halves, measured):
    real = gather(halves[1])
    wrong = Batch(real.x, {"label": (real.condition["label"] + 1) % 10})
    assert measured[0].summary(wrong).share < 0.02


def test_values_beyond_the_range_count_as_the_file_would_show_them(halves, measured):
    real = gather(halves[1])
    beyond = Batch(torch.where(real.x == -1, -1.5, real.x), real.condition)
    for metric in measured:
        a, b = metric.summary(real), metric.summary(beyond)
        assert metric.between(a, b).value == metric.between(a, a).value


def test_without_classes_the_classifier_learns_rotations(halves, monkeypatch):
    monkeypatch.setattr(classifier, "_STEPS", 150)
    about = {**demo().about, "classes": []}
    train, held = (Tensors(gather(half).x, about=about) for half in halves)
    metrics = domain.metrics(train)
    assert [m.name for m in metrics] == DISTANCES
    found = scores(metrics, held, held, train)
    assert "quarter turns" in found["frechet"].protocol
    turned = Tensors(held.x.rot90(1, (2, 3)), about=about)
    assert scores(metrics, turned, held, train)["frechet"].ratio > 5


@pytest.mark.parametrize("size", [[5, 3], [28, 28], [33, 70], [200, 90]])
def test_features_of_any_size_of_image(size, monkeypatch):
    monkeypatch.setattr(classifier, "_STEPS", 2)
    monkeypatch.setattr(efficientnet, "installed", lambda: False)
    x = random.normal(torch.empty(8, 3, *size), random.derive(0, "x")).clamp(-1, 1)
    train = Tensors(x, about={"size": size, "channels": 3, "classes": []})
    metrics = domain.metrics(train)
    held = Tensors(0.9 * x)
    found = measure_all(metrics, train, held, held)
    assert list(found) == DISTANCES and found["frechet"].value >= 0
    assert ("reduced to 64 px" in found["frechet"].protocol) == (max(size) > 64)


def test_colour_images_without_classes_are_seen_by_a_trained_network():
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs sfumato-eval[efficientnet]")
    x = random.normal(torch.empty(24, 3, 16, 16), random.derive(0, "x")).clamp(-1, 1)
    train = Tensors(x, about={"size": [16, 16], "channels": 3, "classes": []})
    metrics = [metric for metric in domain.metrics(train) if metric.name != "frechet"]
    found = measure_all(metrics, train, Tensors(0.5 * x), Tensors(0.5 * x))
    assert "EfficientNet-Lite0" in found["kid"].protocol and found["kid"].value > 0
    fitted = Tensors(x, {"label": torch.arange(24) % 2}, {**train.about, "classes": ["a", "b"]})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "_STEPS", 2)
        assert "CNN" in domain.metrics(fitted)[1].features.name
