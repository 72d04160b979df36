"""What the verb `sample` does with a run of pairs: a restoration for each source, of its name."""

from __future__ import annotations

__all__ = ["restore"]

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import typer

from sfumato import Batch, Dataset, InputError
from sfumato.state import items, leaf
from sfumato_data import Tensors, concatenate, groups_of, select
from sfumato_train import Run, draw, pairing
from sfumato_train.files import write_json
from sfumato_train.folders import placed
from sfumato_train.jobs import Asked

from .progress import progress
from .writing import NOTE, check, drawing, facts

PART = 64
"""Sources that are read and restored together."""

SHOWN = 20
"""Restorations in the picture, at most."""


def restore(run: Run, path: Path | None, out: Path, asked: Asked, minutes: float | None) -> None:
    """Write what a run makes of sources to a folder, and a picture of the first of them beside it.

    Args:
        run: a run of pairs.
        path: of the sources, of each of which `asked.n` are made; None: `asked.n` sources that the
            run held out.
        out: the folder, in place of earlier results.
        asked: how to sample.
        minutes: begin no further part after this long.

    Raises:
        InputError: if the run has no sources, or they cannot be read or are not like those that it
            was trained with; see `writing.check`.
    """
    check(run.domain, out)
    sources = _sources(run, path, asked)
    each = 1 if path is None else asked.n
    wanted = [i for i in range(len(sources)) for _ in range(each)]
    options = drawing(asked)
    model = run.model(asked.weights, device=asked.device, precision=asked.precision)
    began, done, shown = time.monotonic(), 0, list[Batch]()
    picture = out.with_name(f"{out.name}.png")
    try:
        with progress("restoring", minutes=minutes) as watch, placed(out, replace=True) as folder:
            for places in _parts(sources, wanted):
                pairs = sources.batch([wanted[place] for place in places])
                if path is None:
                    pairs = pairing.restored(pairs, pairs)
                sized = any(name in pairs.condition for name in model.sizing)
                made = draw(
                    model, len(places), condition=pairs.condition, batch=asked.batch, first=done,
                    like=None if sized else pairs.x, **options,
                )  # fmt: skip
                run.domain.write(_named(made, pairs, places, each), folder, run.about)
                if done < SHOWN:
                    shown.append(Batch(made.x, made.condition, pairs.about))
                done += len(places)
                spent = time.monotonic() - began
                watch(done, len(wanted), None, done / max(spent, 1e-9))
                if minutes is not None and spent > 60 * minutes:
                    break
            note = {**facts(run, asked, model, done), "sources": path and str(path)}
            write_json(folder / NOTE, note)
            alike = [b for b in shown if leaf(b.x).shape[1:] == leaf(shown[0].x).shape[1:]]
            first = concatenate(alike)
            some = torch.arange(min(SHOWN, items(first.x)))
            run.domain.preview(select(first, some), picture, run.about)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("no restorations were written") from None
    late = f" of {len(wanted)}, in {minutes:g} minutes," if done < len(wanted) else ""
    typer.echo(f"wrote {done} restorations{late} to {out}, and {picture}")


def _sources(run: Run, path: Path | None, asked: Asked) -> Dataset:
    """What is to be restored."""
    if not pairing.takes_sources(run.about):
        raise InputError(f"{run.path} was not trained on pairs, so no sources can be given to it")
    values, domain = asked.condition, run.domain
    if path is None:
        pairs = pairing.asked(*run.data(), asked.n)
        words = domain.condition(values, asked.n, run.about) if values else {}
        return Tensors(pairs.x, {**pairs.condition, **words}, run.about)
    if not isinstance(domain, pairing.Restores):
        raise InputError(f"the domain {domain.name} reads no sources; leave out --data")
    return domain.sources(path, values, run.about, **run.recipe.reading())


def _parts(sources: Dataset, wanted: Sequence[int]) -> Iterator[Sequence[int]]:
    """Places in `wanted` that are drawn together: of one group, at most `PART`."""
    groups = groups_of(sources) or [0] * len(sources)
    for group in sorted(set(groups)):
        places = [place for place, item in enumerate(wanted) if groups[item] == group]
        for first in range(0, len(places), PART):
            yield places[first : first + PART]


def _named(made: Batch, pairs: Batch, places: Sequence[int], each: int) -> Batch:
    """Restorations with what their files are called, and without conditions to be noted."""
    names = pairs.about.get("name")
    if names is None:
        return Batch(made.x, {}, {"number": list(places)})
    if each > 1:
        names = [f"{name}-{place % each}" for name, place in zip(names, places, strict=True)]
    return Batch(made.x, {}, {"name": names})
