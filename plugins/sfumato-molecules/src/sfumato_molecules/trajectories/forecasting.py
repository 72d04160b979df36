"""How close the closest of several forecasts is, as the literature tells it."""

from __future__ import annotations

__all__ = ["drawn", "forecasts"]

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from sfumato import Batch, InputError, Model, random
from sfumato_data import groups_of
from sfumato_train import draw
from sfumato_train.files import make_folder, write_json
from sfumato_train.guards import Watch, throttled
from sfumato_train.runs import Run, read_more

from .data import constant_velocity
from .metrics import closest, closest_systems

Positive = Annotated[int, Field(ge=1)]


def forecasts(
    run: Run,
    out: Path,
    *,
    data: Path | None = None,
    draws: Positive = 20,
    n: Positive | None = None,
    steps: Positive | None = None,
    weights: str = "ema",
    batch: Positive | None = None,
    seed: int = 0,
    device: str | None = None,
    watch: Watch | None = None,
) -> str:
    """Errors of the closest of several forecasts of each trajectory, in `out/forecasts.json`.

    minADE and minFDE in the unit of the data: the closest forecast is chosen for each point, as is
    usual with pedestrians (Gupta et al. 2018, arXiv:1803.10892), and, as `system`, for all points
    of a system at once (Han et al. 2024, arXiv:2410.13027). Beside them, ADE and FDE of constant
    velocity, which needs no draws.

    Args:
        run: a run of trajectories of which frames are given.
        out: folder of the report.
        data: files to measure with, such as those of the place that was left out; None: what the
            run held out.
        draws: forecasts of each trajectory.
        n: trajectories, drawn without repetition; None: all.
        steps: of the sampler; None: the model's own.
        weights: see `Run.model`.
        batch: trajectories in memory at a time.
        seed: of the draws, and of the choice of trajectories.
        device: see `Run.model`.
        watch: is told how many draws of a number of points are done.

    Returns:
        The result in one line.

    Raises:
        InputError: if the model is given no frames, or there is nothing to measure with.
    """
    if "source" not in run.about or run.domain.name != "molecules/trajectories":
        raise InputError(f"{run.path} does not continue trajectories, so it makes no forecasts")
    held = run.data()[1] if data is None else read_more(run, Path(data))
    if not len(held):
        raise InputError(f"{run.path} held out no trajectories; name others with data=")
    chosen = random.permutation(len(held), random.derive(seed, "forecasts"))[:n].tolist()
    groups = groups_of(held) or [0] * len(held)
    kinds = sorted({groups[i] for i in chosen})
    tell = throttled(watch, draws * len(kinds))
    model = run.model(weights, device=device)
    found: dict[str, list[Tensor]] = {name: [] for name in _NAMES}
    done = 0
    for kind in kinds:
        asked = held.batch([i for i in chosen if groups[i] == kind])
        made = []
        for one in drawn(model, asked, draws, seed, first=done * len(chosen), steps=steps,
                         batch=batch):  # fmt: skip
            made.append(one)
            done += 1
            tell(done, None, None, over=done == draws * len(kinds))
        for name, value in zip(_NAMES, _errors(made, asked), strict=True):
            found[name].append(value)
    errors = {name: float(torch.cat(values).mean()) for name, values in found.items()}
    points = sum(len(one) for one in found["minADE"])
    report = {
        "trajectories": len(chosen), "points": points, "unit": run.about["unit"], **errors,
        "options": {"draws": draws, "steps": steps, "weights": weights, "seed": seed},
    }  # fmt: skip
    make_folder(out)
    write_json(out / "forecasts.json", report)
    line = ", ".join(f"{name} {value:.4g}" for name, value in errors.items())
    return f"{line}; {draws} draws of {points} points; {out / 'forecasts.json'}"


_NAMES = ("minADE", "minFDE", "system minADE", "system minFDE", "steady ADE", "steady FDE")


def _errors(made: list[Tensor], asked: Batch) -> Iterator[Tensor]:
    """The errors of each point or system, by `_NAMES`."""
    true = asked.x
    yield from (each.flatten() for each in closest(made, true))
    yield from closest_systems(made, true)
    steady = constant_velocity(asked.condition["source"]["past"], true.shape[2])
    yield from (each.flatten() for each in closest([steady], true))


def drawn(
    model: Model, asked: Batch, draws: int, seed: int, first: int = 0, **options: Any
) -> Iterator[Tensor]:
    """Several draws of the frames to come, each (B, N, T, D).

    Args:
        model: continues trajectories.
        asked: trajectories of one number of points.
        draws: how many.
        seed: of the draws.
        first: number of the first draw of the first trajectory.
        options: of `draw`.
    """
    count = len(asked.x)
    for k in range(draws):
        yield draw(
            model, count, condition=asked.condition, like=asked.x, seed=seed,
            first=first + k * count, **options,
        ).x  # fmt: skip
