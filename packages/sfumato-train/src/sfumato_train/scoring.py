"""Measuring a run: samples against held-out data, in the metrics of its domain."""

from __future__ import annotations

__all__ = ["evaluate"]

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sfumato import InputError, Sampler, random
from sfumato_data import gather

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

    The samples are asked for with the conditions of the held-out items that they are compared
    with. The floor of each metric is training against held-out data at the same n.

    Args:
        run: the run; its last checkpoint, averaged weights.
        n: items on each side; None: as many as the smaller side has, at most 5,000.
        data_path: other real data to compare with; None: the items that the run held out.
        sampler: see `draw`, like all that follow.
        grid: see `draw`.
        steps: see `draw`.
        seed: of the samples, and of the choice of real items.
        guidance: see `draw`; left out where the data has no conditions.
        batch: see `draw`.
        device: see `draw`.
        precision: see `draw`.
        watch: is told how many samples are done.

    Raises:
        InputError: if there are fewer real items than n, or nothing was held out.
    """
    from sfumato_eval import Score, Subset, measure, table

    train, held = run.data()
    if data_path is not None:
        held = read(run.domain, run.recipe, Path(data_path))
    most = min(len(train), len(held))
    if most == 0:
        raise InputError(f"{run.path} held out no data (held={run.recipe.held}); give other data")
    n = min(most, 5000) if n is None else n
    if not 1 <= n <= most:
        raise InputError(
            f"n must be between 1 and {most}, since there are {len(train)} training and "
            f"{len(held)} held-out items, but is {n}"
        )
    chosen = random.permutation(len(held), random.derive(seed, "evaluate"))[:n].sort().values
    real = Subset(held, chosen)
    condition = gather(held, chosen.tolist()).condition
    samples = draw(
        run,
        n,
        sampler=sampler,
        grid=grid,
        steps=steps,
        seed=seed,
        condition=condition,
        guidance=guidance if condition else None,
        batch=batch,
        device=device,
        precision=precision,
        watch=watch,
    )
    scores: dict[str, Score] = {}
    for metric in run.domain.metrics(train):
        generator = random.derive(seed, "evaluate", "train")
        scores[metric.name] = measure(metric, samples, real, train, n=n, generator=generator)
    return table(scores)
