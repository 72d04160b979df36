"""Measuring a run: samples against held-out data, in the metrics of its domain."""

from __future__ import annotations

__all__ = ["evaluate"]

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sfumato import Dataset, InputError, Sampler, random
from sfumato_data import gather, subset

from .drawing import Grid, draw
from .guards import Watch
from .runs import Run, read

if TYPE_CHECKING:
    from sfumato_eval.tables import Row


def evaluate(
    run: Run,
    n: int | None = None,
    *,
    data_path: Path | str | None = None,
    sampler: str | Sampler | None = None,
    grid: str | Grid | None = None,
    steps: int | None = None,
    seed: int = 0,
    guidance: float | None = None,
    batch: int | None = None,
    device: str | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    watch: Watch | None = None,
) -> list[Row]:
    """Measure a run; `sfumato_eval.render` and `sfumato_eval.write` take the rows.

    The samples are asked for with the conditions of training items drawn at random, so that they
    are independent of the items that they are compared with: one half of the held-out data, drawn
    at random. The floor of each metric is the other half against that one, at the same n: features
    that are fitted to training items treat both alike.

    Args:
        run: the run; its last checkpoint, averaged weights.
        n: items on each side; None: half of the held-out items, at most 5,000.
        data_path: other real data to compare with; None: the items that the run held out.
        sampler: see `draw`, like all that follow.
        grid: see `draw`.
        steps: see `draw`.
        seed: of the samples, and of the choice of real items.
        guidance: see `draw`.
        batch: see `draw`.
        device: see `draw`.
        precision: see `draw`.
        watch: is told how many samples are done.

    Raises:
        InputError: if half of the held-out items are fewer than n, or the facts of other data
            (sizes, classes) are not those that the run was trained for.
    """
    from sfumato_eval import measure, table

    train, held = run.data()
    if data_path is not None:
        held = _other(run, Path(data_path))
    most = len(held) // 2
    if most == 0:
        raise InputError(
            f"{run.path} held out {len(held)} item(s) (held={run.recipe.held}), and two are needed "
            "at least; give other data"
        )
    n = min(most, 5000) if n is None else n
    if not 1 <= n <= most:
        raise InputError(
            f"n must be between 1 and {most}, half of the {len(held)} held-out items, but is {n}"
        )
    order = random.permutation(len(held), random.derive(seed, "evaluate")).tolist()
    real, other = subset(held, sorted(order[:n])), subset(held, sorted(order[n : 2 * n]))
    chosen = random.integers(0, len(train), (n,), random.derive(seed, "evaluate", "condition"))
    samples = draw(
        run,
        n,
        sampler=sampler,
        grid=grid,
        steps=steps,
        seed=seed,
        condition=gather(train, chosen.tolist()).condition,
        guidance=guidance,
        batch=batch,
        device=device,
        precision=precision,
        watch=watch,
    )
    return table(
        {
            metric.name: measure(metric, samples, real, other, n=n, floor="two held-out halves")
            for metric in run.domain.metrics(train)
        }
    )


def _other(run: Run, path: Path) -> Dataset:
    """Other real data for a run, which must be of the kind that it was trained on."""
    data = read(run.domain, run.recipe, path)
    keys = sorted(run.about.keys() | data.about.keys())
    for key in keys:
        there, here = data.about.get(key), run.about.get(key)
        if there != here:
            raise InputError(f"{path} has {key} {there}, but {run.path} was trained for {here}")
    return data
