"""Tools: what makes another run, or a report, of a run; `sfumato apply TOOL RUN`.

A tool is a function `tool(run, out, **options)` whose options are typed keyword parameters. It
writes to the folder `out`, which is not there yet. One that takes a while has a further keyword
parameter `watch: Watch | None = None`, which it tells how far it is.
"""

from __future__ import annotations

__all__ = ["average"]

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sfumato import InputError

from . import checkpoint
from .checkpoint import Keep, Saved
from .files import read_json
from .runs import Run, write

TRAINING = "training"
"""The part of a checkpoint that is no weights: the rest of the objective, and the optimisers."""


def average(
    run: Run,
    out: Path,
    *,
    last: Annotated[int | None, Field(ge=2)] = None,
    weights: Annotated[tuple[float, ...] | None, Field(min_length=2)] = None,
) -> str:
    """Average the weights of several checkpoints into a new run of one checkpoint.

    Equal weights are those of Izmailov et al. 2018, arXiv:1803.05407 (stochastic weight averaging);
    others, which may be negative, those of Liu et al. 2024, arXiv:2404.02241 (linear combination of
    saved checkpoints). Live weights and each kept average are combined alike, in float64; what
    counts (integers) is that of the last checkpoint. The new run can be sampled and evaluated, but
    not trained on: a mean of optimisers is none.

    Args:
        run: a run that kept several checkpoints (its recipe's `keep`).
        out: folder of the new run.
        last: how many of the newest checkpoints; all unless told.
        weights: one for each of these checkpoints, oldest first; scaled to sum to one.

    Returns:
        What was done, in one line.

    Raises:
        InputError: if there are too few checkpoints, as many weights as checkpoints are not given,
            they sum to zero, or the checkpoints do not hold the same tensors.
    """
    found = run.checkpoints()
    wanted = last or (len(weights) if weights else max(2, len(found)))
    if len(found) < wanted:
        raise InputError(
            f"{run.path} keeps {len(found)} checkpoint(s), but {wanted} are needed; train with a "
            "larger keep"
        )
    chosen = found[-wanted:]
    shares = _shares(weights, wanted)
    stems = [stem for stem in _stems(chosen[-1]) if stem != TRAINING]
    files = {
        stem: checkpoint.combined(
            [(one.path, stem, share) for one, share in zip(chosen, shares, strict=True)]
        )
        for stem in stems
    }
    write(replace(run, path=out))
    checkpoint.write(out / "checkpoints", chosen[-1].step, files, None, Keep())
    steps = ", ".join(str(one.step) for one in chosen)
    return f"averaged the checkpoints of the steps {steps} into {out}"


def _shares(weights: Sequence[float] | None, count: int) -> list[float]:
    """The share of each checkpoint, summing to one."""
    given = [1.0] * count if weights is None else list(weights)
    if len(given) != count:
        raise InputError(f"{len(given)} weights were given for {count} checkpoints; give one each")
    total = sum(given)
    if total == 0:
        raise InputError("the weights sum to zero, so that they cannot be scaled to one")
    return [one / total for one in given]


def _stems(saved: Saved) -> list[str]:
    return [str(stem) for stem in read_json(saved.path / "state.json")["files"]]
