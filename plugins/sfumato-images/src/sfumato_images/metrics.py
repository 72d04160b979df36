"""The metrics of images, in features of a network that has not seen what is compared."""

from __future__ import annotations

__all__ = ["metrics"]

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from sfumato import Batch, Dataset, random
from sfumato_eval import (
    KID,
    PRDC,
    Features,
    Frechet,
    Memorisation,
    Metric,
    Recognised,
    SlicedWasserstein,
    efficientnet,
    remembered,
    subsample,
    summarise,
)

from . import matched
from .classifier import LARGEST, Classifier, fit


def metrics(train: Dataset) -> Sequence[Metric[Any]]:
    """What samples are measured by; trains the classifier that it needs, the same each time.

    With classes: the share of samples recognised as the class asked for; with captions: the share
    in which the caption asked for can be found again (`matched`). In features: Frechet
    distance, KID, coverage with precision, recall and density, memorisation. In pixels: sliced
    Wasserstein distance. None of them is what papers print as FID or KID, which are defined by
    another network.

    The features are those of a classifier that is trained on `train`, to tell the classes or, where
    there are none, quarter turns. Colour images without classes are looked at by EfficientNet-Lite0
    where it is installed. A classifier may know the images that it was trained on, so the floor is
    to be taken between two parts of the held-out ones, which the features have not seen.
    """
    about = train.about
    if not about["classes"] and about["channels"] == 3 and efficientnet.installed():
        lite = efficientnet.efficientnet_lite0()
        return _distances(_scaled(lite.name, lambda x: lite.function(Batch(x)), train), train)
    net = fit(train)
    distances = _distances(_scaled(_name(about), net.features, train), train)
    return [_recognised(net), *distances] if about["classes"] else distances


def _distances(seen: Features, train: Dataset) -> list[Metric[Any]]:
    text = train.about.get("text")
    told = [matched.fit(train, seen)] if text and len(text["examples"]) > 1 else []
    return [
        *told,
        Frechet(seen),
        KID(seen),
        PRDC(seen),
        SlicedWasserstein(_PIXELS),
        Memorisation.of(train, seen),
    ]


def _recognised(net: Classifier) -> Metric[Any]:
    return Recognised(lambda batch: net(_shown(batch)))


def _name(about: Any) -> str:
    task = f"{len(about['classes'])} classes" if about["classes"] else "quarter turns"
    reduced = f", images reduced to {LARGEST} px" if max(about["size"]) > LARGEST else ""
    return f"CNN trained here, on the training images, to tell {task}{reduced}"


def _shown(batch: Batch) -> Tensor:
    """The images as a file would hold them: nothing beyond [-1, 1]."""
    x: Tensor = batch.x
    return x.clamp(-1, 1)


_SCALE = 2000  # training images that the scale of the features is taken from
_PIXELS = Features("pixels", lambda batch: _shown(batch).flatten(1))


def _scaled(name: str, look: Callable[[Tensor], Tensor], train: Dataset) -> Features:
    """What a network sees, centred and scaled so that the training images have unit variance.

    One scale serves all dimensions, so that none of them is blown up.
    """
    some = subsample(train, min(len(train), _SCALE), random.derive(0, "features"))
    values = Features(name, lambda batch: look(_shown(batch)))
    rows = summarise(values.vectors, some, side="train").rows
    centre, scale = rows.mean(0), rows.var(0).mean().sqrt().clamp_min(1e-6)
    return remembered(Features(name, lambda batch: (look(_shown(batch)) - centre) / scale))
