"""The parts of a report that are looked at: samples, denoising over time, nearest neighbours."""

from __future__ import annotations

__all__ = ["denoising", "neighbours", "reconstructions", "samples"]

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

import sfumato
from sfumato import (
    Batch,
    Can,
    Categorical,
    Dataset,
    Fields,
    Implicit,
    Joint,
    Model,
    Posterior,
    Streams,
    random,
    state,
)  # fmt: skip
from sfumato_data import gather, move, select
from sfumato_eval import Features, Memorisation, nearest, pixels, summarise
from sfumato_eval.report import (
    Block,
    Chart,
    Charts,
    Figure,
    Figures,
    Line,
    Picture,
    Scenes,
    Strip,
    StripRow,
)  # fmt: skip

from ..drawing import asked_of, blank, conditions, device_of
from ..pinning import SOURCE, pinned
from .material import Material

SHOWN = 64
"""Samples in the picture, and as many real items."""

ITEMS, TIMES = 3, 8
"""Samples whose way is shown, and times at which."""

CLOSEST = 8
"""Samples shown with their nearest training items."""


def samples(material: Material) -> Sequence[Block]:
    """A picture of samples beside one of as many real items; of pairs with source and target."""
    count = min(material.n, SHOWN)
    index = torch.arange(count) * material.n // count
    if material.paired:
        picture = material.picture(select(material.restored, index), f"{count} restorations")
        told = f"{count} sources, what the model makes of them, and their targets"
        return [Figures([Figure(picture, told)])]
    made = material.picture(select(material.samples, index), f"{count} samples")
    real, which = _real(material, index)
    pictures = Figures(
        [
            Figure(made, f"{count} samples of the model"),
            Figure(material.picture(real, f"{count} real items"), f"{count} {which}"),
        ]
    )
    scenes = material.scenes(select(material.samples, index))
    return [pictures, Scenes(scenes)] if scenes else [pictures]


def reconstructions(material: Material) -> Sequence[Block]:
    """A picture of held-out items beside what the codec makes of them."""
    count = min(material.n, SHOWN)
    index = torch.arange(count) * material.n // count
    real, which = _real(material, index)
    made = material.picture(select(material.samples, index), f"{count} reconstructions")
    return [
        Figures(
            [
                Figure(material.picture(real, f"{count} originals"), f"{count} {which}"),
                Figure(made, f"{count} reconstructions"),
            ]
        )
    ]


def _real(material: Material, index: Tensor) -> tuple[Batch, str]:
    """Real items; training items where none was held out."""
    train, held = material.data
    if len(held) > 1:
        return gather(material.yardstick.real, index.tolist()), "real items, never trained on"
    spread = torch.arange(len(index)) * len(train) // len(index)
    return gather(train, spread.tolist()), "real items, trained on: none were held out"


def _alone(x: Any, batch: Batch) -> Batch:
    """States with the conditions of a batch, to be shown without their sources."""
    return Batch(x, {name: v for name, v in batch.condition.items() if name != SOURCE})


class _Moment(NamedTuple):
    """A state on its way, and what the model takes it to become."""

    name: str
    x: Any
    guess: Any


def denoising(material: Material) -> Sequence[Block]:
    """A few samples on their way from noise to data."""
    count = min(ITEMS, material.n)
    asked = select(Batch(torch.empty(material.n, 0), material.condition), torch.arange(count))
    moments = list(_moments(material, move(asked, device_of(material.model))))

    def pictures(item: int, values: Sequence[Any], what: str) -> list[Picture | None]:
        one = torch.tensor([item])
        return [
            material.picture(select(_alone(state.to(x, "cpu"), asked), one), f"{what}, t = {name}")
            for (name, *_), x in zip(moments, values, strict=False)
        ]

    rows = []
    for item in range(count):
        noisy = pictures(item, [moment.x for moment in moments], f"state of sample {item + 1}")
        guess = pictures(item, [moment.guess for moment in moments[:-1]], "what it may become")
        rows += [StripRow(f"sample {item + 1}", noisy), StripRow("expected", [*guess, None])]
    columns = [f"t = {moment.name}" for moment in moments]
    return [Strip(columns, rows, "Samples on their way from noise to data")]


def _moments(material: Material, asked: Batch) -> Iterator[_Moment]:
    model, index = material.model, list(range(state.items(asked.x)))
    condition = conditions(model, asked.condition, material.seed, index)
    process = pinned(model.process, condition)
    streams = Streams.derive(material.seed, "sample", index)
    like = blank(model, material.seed, index)
    last = model.steps - 1
    wanted = {round(i * last / (TIMES - 2)) for i in range(TIMES - 1)}
    generator = random.derive(material.seed, "report")
    x = process.prior(model.codec.layout(like) if model.codec else like).sample(streams)
    steps = sfumato.run(
        model.sampler,
        process,
        asked_of(model, condition, material.guidance),
        x,
        model.grid(process, model.steps),
        streams,
    )
    for number, frame in enumerate(steps):
        x = frame.after
        if number in wanted:
            shown = _shrunk(model, frame.before, frame.t)
            guess = _data(model, _guess(frame.posterior, generator))
            yield _Moment(_time(frame.t, number), _data(model, shown), guess)
    yield _Moment("0", _data(model, x), None)


def _data(model: Model, x: Any) -> Any:
    """A state of the process as data."""
    x = model.process.project(x)
    return model.codec.decode(x) if model.codec else x


def _shrunk(model: Model, x: Any, t: Any) -> Any:
    """A noisy state over alpha + sigma, so that it is about as large as data at any time."""
    process: Any = model.process
    if Can.AFFINE not in process.can or not isinstance(t, Tensor) or t.ndim:
        return x
    return state.scale(1 / float(process.alpha(t) + process.sigma(t)), x)


def _guess(q: Posterior, generator: torch.Generator) -> Any:
    """What a posterior expects: its mean, of categories the likeliest, else a draw."""
    if isinstance(q, Joint):
        return Fields({name: _guess(part, generator) for name, part in q.parts.items()})
    if isinstance(q, Categorical):
        return state.apply(q.probs, lambda p: p.argmax(-1))
    return q.sample(generator) if isinstance(q, Implicit) else q.mean


def _time(t: Any, number: int) -> str:
    return f"{float(t):.2g}" if isinstance(t, Tensor) and not t.ndim else f"step {number}"


def neighbours(material: Material) -> Sequence[Block]:
    """The samples that are closest to a training item, beside that item."""
    train, held = material.data
    features, training = _features(material, train)
    found = nearest(features(material.samples), training)
    order = found.distance.argsort()
    lines = {f"{material.n:,} samples": found.distance[order]}
    if len(held) > 1:
        real = gather(material.yardstick.real)
        unseen = nearest(features(real), training).distance.sort().values
        lines[f"{len(unseen):,} held-out items"] = unseen
    chart = Chart(
        "Distance to the nearest training item",
        "distance",
        "share of items below",
        [_share(name, values.tolist()) for name, values in lines.items()],
        note="Samples left of the held-out items are closer to the training data than new data is. "
        f"Distances are Euclidean, in these features: {features.name}.",
    )
    closest = order[:CLOSEST]
    strip = material.attempt(
        "Pictures of the nearest training items",
        lambda: [_pairs(material, train, closest, found.index[closest], found.distance[closest])],
    )
    return [*strip, Charts([chart])]


def _pairs(
    material: Material, train: Dataset, which: Tensor, items: Tensor, distance: Tensor
) -> Strip:
    originals = gather(train, items.tolist())

    def pictures(batch: Batch, index: Sequence[int], alt: str) -> list[Picture | None]:
        shown = _alone(batch.x, batch)
        return [material.picture(select(shown, torch.tensor([i])), alt) for i in index]

    return Strip(
        [f"{value:.3g}" for value in distance.tolist()],
        [
            StripRow("sample", pictures(material.samples, which.tolist(), "sample")),
            StripRow(
                "nearest in training", pictures(originals, range(len(which)), "its neighbour")
            ),
        ],
        "Samples above their nearest training items",
    )


def _features(material: Material, train: Dataset) -> tuple[Features, Tensor]:
    """Where distances are taken, and the training items there."""
    for metric in material.metrics:
        if isinstance(metric, Memorisation):
            return metric.features, metric.training
    return pixels, summarise(pixels.vectors, train, side="train").rows


def _share(name: str, values: Sequence[float]) -> Line:
    """The share of values below each value, as a line that starts at nothing."""
    return Line(
        name,
        [values[0], *values],
        [0.0, *((i + 1) / len(values) for i in range(len(values)))],
        steps=True,
    )
