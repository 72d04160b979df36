"""The metrics of images, in features of a classifier that is trained in the same run."""

from __future__ import annotations

__all__ = ["metrics"]

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from sfumato import Batch, Dataset, random
from sfumato_eval import (
    KID,
    Features,
    Frechet,
    Memorisation,
    Metric,
    Recognised,
    SlicedWasserstein,
    subsample,
)

from .classifier import LARGEST, Classifier, fit


def metrics(train: Dataset) -> Sequence[Metric[Any]]:
    """What samples are measured by; trains the classifier that it needs, the same each time.

    With classes: the share of samples recognised as the class asked for. In features of the
    classifier: Frechet distance, KID, memorisation. In pixels: sliced Wasserstein distance. None
    of them is what papers print as FID or KID, which are defined by another network.
    """
    net = fit(train)
    seen = _features(net, train)
    distances: list[Metric[Any]] = [
        Frechet(seen),
        KID(seen),
        SlicedWasserstein(_PIXELS),
        Memorisation.of(train, seen),
    ]
    if not train.about["classes"]:
        return distances
    return [Recognised(lambda batch: net(_shown(batch))), *distances]


def _shown(batch: Batch) -> Tensor:
    """The images as a file would hold them: nothing beyond [-1, 1]."""
    x: Tensor = batch.x
    return x.clamp(-1, 1)


_SCALE = 2000  # training images that the scale of the features is taken from
_PIXELS = Features("pixels", lambda batch: _shown(batch).flatten(1))


def _features(net: Classifier, train: Dataset) -> Features:
    """What the classifier sees, centred and scaled so that the training images have unit variance.

    One scale serves all dimensions, so that none of them is blown up.
    """
    some = subsample(train, min(len(train), _SCALE), random.derive(0, "features"))
    values = net.features(_shown(some.batch(range(len(some)))))
    centre, scale = values.mean(0), values.var(0).mean().sqrt().clamp_min(1e-6)
    task = f"{len(train.about['classes'])} classes" if train.about["classes"] else "quarter turns"
    reduced = f", images reduced to {LARGEST} px" if max(train.about["size"]) > LARGEST else ""
    name = f"CNN trained here to tell {task}{reduced}"
    return Features(name, lambda batch: (net.features(_shown(batch)) - centre) / scale)
