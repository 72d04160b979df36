"""Measuring a run: samples against held-out data, in the metrics of its domain."""

from __future__ import annotations

__all__ = ["evaluate"]

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sfumato import Dataset, InputError, Sampler
from sfumato_data import alike, gather

from .coding import reconstruct
from .drawing import Grid, draw
from .guards import Watch
from .jobs.shards import job_batches
from .pairing import is_paired
from .runs import Run, read_more
from .yardstick import yardstick

if TYPE_CHECKING:
    from sfumato_eval.tables import Row


def evaluate(
    run: Run,
    n: int | None = None,
    *,
    data_path: Path | str | None = None,
    samples: Path | str | None = None,
    weights: str = "ema",
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

    What is compared with what is said in `yardstick`: one half of the held-out data with the
    samples and, for the floor, with the other half, whose conditions the samples are asked for
    with. Of data with groups, such as sizes, those are compared that samples are of unless asked.
    Of a codec, that half is compared with what the codec makes of it, also one by one where the
    domain can (`yardstick.Compares`). Of pairs, samples are made of the sources of the other half,
    and compared with its targets one by one as well (`Yardstick.restoration`).

    Args:
        run: the run; its last checkpoint, averaged weights.
        n: items on each side; None: half of the held-out items, at most 5,000.
        data_path: other real data to compare with; None: the items that the run held out.
        samples: a folder that `sfumato sample` wrote, of which the first n are read, a few at a
            time; None: samples are drawn.
        weights: see `draw`, like all that follow.
        sampler: see `draw`.
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
            (sizes, classes) are not those that the run was trained for, or the run draws no
            samples, or a codec is asked for something that only samples have, or samples in files
            are those of pairs.
    """
    from sfumato_eval import table

    draws = samples is None and not run.codes
    source = run.model(weights, device=device, precision=precision) if draws else run
    train, held = run.data()
    if data_path is not None:
        held = _other(run, Path(data_path))
    measure = yardstick(run.domain, alike(train), alike(held), n, seed)
    if run.codes:
        asked = {"samples": samples, "sampler": sampler, "grid": grid, "steps": steps}
        if wrong := [name for name, value in asked.items() if value is not None]:
            raise InputError(f"{run.path} is a codec, which has no {' and no '.join(wrong)}")
        codec = run.codec(weights, device=device)
        made = reconstruct(codec, gather(measure.real), seed, batch=batch, watch=watch)
        return table({**measure.fidelity(made), **measure.scores(made)})
    paired = is_paired(run.about)
    if paired and samples is not None:
        raise InputError(
            f"{run.path} is a run of pairs, whose restorations are measured one by one against "
            "their targets; leave out samples"
        )
    if samples is not None:
        return table(measure.scores(job_batches(run, Path(samples))))
    drawn = draw(
        source,
        measure.n,
        sampler=sampler,
        grid=grid,
        steps=steps,
        seed=seed,
        condition=measure.condition,
        guidance=guidance,
        batch=batch,
        watch=watch,
    )
    close = measure.restoration(drawn) if paired else {}
    return table({**close, **measure.scores(drawn)})


def _other(run: Run, path: Path) -> Dataset:
    """Other real data for a run, which must be of the kind that it was trained on."""
    data = read_more(run, path)
    keys = sorted(run.about.keys() | data.about.keys())
    for key in keys:
        there, here = data.about.get(key), run.about.get(key)
        measured = isinstance(there, float) and isinstance(here, float)  # a moment of the values
        if there != here and not measured:
            raise InputError(f"{path} has {key} {there}, but {run.path} was trained for {here}")
    return data
