"""A small model of the Brown corpus, trained in a trial, and the documents it never saw."""

from __future__ import annotations

__all__ = ["Trained", "of_brown"]

from typing import Any, NamedTuple

import sfumato_data
from sfumato import Model, Trial
from sfumato_data import keys_of, split
from sfumato_train import averaged
from sfumato_train.runs import fresh

from .. import reading, windows
from ..recipes import Brown
from ..tokens import Tokenizer, rebuilt
from .fitting import scaled


class Trained(NamedTuple):
    """A model of text.

    Attributes:
        model: with its averaged weights, in evaluation mode.
        tokenizer: the characters of the corpus.
        length: characters of a window.
        documents: those that were held out.
    """

    model: Model
    tokenizer: Tokenizer
    length: int
    documents: list[str]


def of_brown(
    given: Trial,
    *,
    length: int,
    steps: int,
    batch: int,
    lr: float,
    size: str = "nano",
    contexts: int = 0,
    held: float = 0.1,
) -> Trained:
    """A small network, trained on Brown by characters.

    Args:
        given: seed, scale (of the steps) and scratch folder.
        length: characters of a window.
        steps: at scale 1.
        batch: windows in each step.
        lr: peak learning rate.
        size: of the network.
        contexts: see `sfumato_language.counts`; 0: none are counted.
        held: share of the documents that are held out.
    """
    count = scaled(steps, given)
    fields: dict[str, Any] = {
        "length": length, "network_size": size, "contexts": contexts, "held": held,
        "seed": given.seed, "steps": count, "batch": batch, "lr": lr, "shares": (0.0, 1.0),
        "warmup": min(50, count // 2), "ema": 0.99,
    }  # fmt: skip
    recipe = Brown(**fields)
    folder = sfumato_data.fetch("brown")
    data = windows.read(folder, **recipe.reading())
    train, rest = split(data, held, given.seed)
    names = set(keys_of(rest) or ())
    texts = (one for one in reading.documents(folder, reading.Reading()) if one.key in names)
    training = fresh(given.seed, lambda: recipe.build(train))
    model = averaged(training, recipe, given.scratch / "brown")
    tokenizer = rebuilt(data.about["tokenizer"])
    return Trained(model, tokenizer, length, [one.text for one in texts])
