"""Tools that measure a run on data that it has not seen: likelihood and intrinsic dimension.

`sfumato apply likelihood RUN` and `sfumato apply dimension RUN`; each writes one JSON file.
"""

from __future__ import annotations

__all__ = ["dimension", "likelihood"]

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from sfumato import Affine, Batch, Can, InputError, Model, Streams, Unsupported, random, state
from sfumato_data import alike, join, move
from sfumato_eval import bits_per_dim, dequantise
from sfumato_methods.grids import logsnr
from sfumato_methods.measures import Exact, Hutchinson, HutchPP, log_likelihood
from sfumato_methods.measures.dimension import flipd, svd_dimension
from sfumato_methods.measures.layout import Rows, dimensions, values
from sfumato_methods.measures.traces import Trace

from .drawing import asked_of, device_of
from .files import make_folder, write_json
from .guards import Watch, throttled
from .runs import Run

Positive = Annotated[int, Field(ge=1)]
Level = Annotated[float, Field(gt=0)]
Rule = Literal["exact", "hutchinson", "hutch++"]

TOLERANCE = 0.02
"""How far from a level, in units of their distance, a number may lie that is said to be on one."""


def likelihood(
    run: Run,
    out: Path,
    *,
    n: Positive = 100,
    steps: Positive = 30,
    trace: Rule = "hutchinson",
    probes: Positive = 1,
    levels: Annotated[int | None, Field(ge=2)] = None,
    noise: Level = 0.002,
    weights: str = "ema",
    batch: Positive = 32,
    seed: int = 0,
    device: str | None = None,
    watch: Watch | None = None,
) -> str:
    """Bits per dimension of held-out data by the probability flow, in `out/likelihood.json`.

    The density that the model gives each item under its own condition, by the method of order 4
    with four network calls and traces a step, on equal steps in log-SNR. Data of `levels` values
    from -1 to 1, such as images (256), is dequantised uniformly; the mean is then an upper bound on
    the bits of the discrete data (Theis et al. 2016, arXiv:1511.01844), and comparable to those of
    other models. Without `levels` the bits are of a density, in the units of the data.

    Args:
        run: a run that draws samples.
        out: folder of the report.
        n: held-out items, drawn without repetition; all if there are fewer.
        steps: of the solver.
        trace: "exact" needs as many backward passes as an item has numbers, "hutchinson" `probes`
            of them, "hutch++" three times so many.
        probes: of the trace, in each call.
        levels: how many values the data has, from -1 to 1; None: any.
        noise: sigma/alpha that the flow begins at, in units of the model's space.
        weights: see `Run.model`.
        batch: items at a time.
        seed: of the choice of items, dequantisation and probes; no item depends on another.
        device: see `Run.model`.
        watch: is told how many items are done.

    Returns:
        The result in one line: mean bits per dimension and its standard error.

    Raises:
        InputError: if nothing is held out, or the data are not on the levels.
        Unsupported: if the model works in a learned space, or has no flow with noise levels.
    """
    model = run.model(weights, device=device)
    scale, step = _scale(model), None if levels is None else 2 / (levels - 1)
    process = _with_levels(model)
    grid = logsnr(process, steps + 1, sigma_min=noise)[:-1].flip(0)
    alpha, rule = process.alpha(grid[0]), _rule(trace, probes)
    nats, bits, errors, count = [], [], [], 0
    for numbers, items in _held(run, n, batch, seed, device_of(model), watch):
        x = items.x
        if step is not None:
            x = _dequantised(x, step, seed, numbers)
        z = _encoded(model, x, seed, numbers)
        found = log_likelihood(
            process,
            asked_of(model, items.condition, None),
            z * state.expand(z, alpha),
            grid,
            trace=rule,
            generator=Streams.derive(seed, "probe", numbers),
        )
        size = dimensions(process, z)
        # the Jacobians of the codec, and of the shrinkage on the way to the first time
        each = size * (math.log(scale) - math.log(float(alpha))) - found.value
        nats.append(each.cpu())
        bits.append(bits_per_dim(each, size, step).cpu())
        errors.append((found.error / size / math.log(2)).cpu())
        count += len(numbers)
    mean, spread = _summary(torch.cat(bits))
    report = {
        "items": count,
        "bits per dimension": mean,
        "standard error": spread,
        "nats per item": float(torch.cat(nats).mean()),
        "options": {"steps": steps, "trace": trace, "probes": probes, "levels": levels,
                    "noise": noise, "weights": weights, "seed": seed},
        "each": [
            {"bits": b, "nats": a, "probe error in bits": None if math.isnan(e) else e}
            for b, a, e in zip(
                torch.cat(bits).tolist(), torch.cat(nats).tolist(), torch.cat(errors).tolist(),
                strict=True,
            )
        ],
    }  # fmt: skip
    return _told(out / "likelihood.json", report, f"{mean:.4f} +- {spread:.4f} bits per dimension")


def dimension(
    run: Run,
    out: Path,
    *,
    n: Positive = 100,
    noise: Level = 0.05,
    method: Literal["flipd", "svd"] = "flipd",
    trace: Rule = "hutchinson",
    probes: Positive = 8,
    draws: Annotated[int | None, Field(ge=1)] = None,
    weights: str = "ema",
    batch: Positive = 32,
    seed: int = 0,
    device: str | None = None,
    watch: Watch | None = None,
) -> str:
    """Intrinsic dimension about held-out data, in `out/dimension.json`.

    In the space of the model, at one noise level: what is narrower than it counts as flat, so try
    several. Both methods take the field for a gradient, which that of a network only nearly is.

    Args:
        run: a run that draws samples.
        out: folder of the report.
        n: held-out items, drawn without repetition; all if there are fewer.
        noise: sigma/alpha, in units of the model's space.
        method: "flipd", the growth of the smoothed density with its scale (Kamkari et al. 2024,
            arXiv:2406.03537), or "svd", by the directions of the score about an item (Stanczuk et
            al. 2022, arXiv:2212.12611).
        trace: of "flipd", see `likelihood`.
        probes: of the trace.
        draws: of "svd", network calls for an item; four for each of its numbers unless told.
        weights: see `Run.model`.
        batch: items at a time.
        seed: of the choice of items and of what is drawn.
        device: see `Run.model`.
        watch: is told how many items are done.

    Returns:
        The result in one line: mean dimension and its standard error over items.

    Raises:
        InputError: if nothing is held out.
        Unsupported: if the process has no noise levels or no score.
    """
    model = run.model(weights, device=device)
    process: Any = _with_levels(model)
    t = process.time(torch.tensor(-2 * math.log(noise), dtype=torch.float64))
    rule, found, size = _rule(trace, probes), [], 0.0
    for numbers, items in _held(run, n, batch, seed, device_of(model), watch):
        x0 = _encoded(model, items.x, seed, numbers)
        denoiser = asked_of(model, items.condition, None)
        generator = Streams.derive(seed, "dimension", numbers)
        if method == "flipd":
            each, _ = flipd(process, denoiser, x0, t, trace=rule, generator=generator)
        else:
            many = 4 * Rows(x0).size if draws is None else draws
            each = svd_dimension(process, denoiser, x0, t, many, generator).double()
        found.append(each.cpu())
        size += float(dimensions(process, x0).sum())
    dims = torch.cat(found)
    mean, spread = _summary(dims)
    report = {
        "items": len(dims),
        "dimension": mean,
        "standard error": spread,
        "quartiles": dims.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)).tolist(),
        "numbers per item": size / len(dims),
        "options": {"noise": noise, "method": method, "trace": trace, "probes": probes,
                    "draws": draws, "weights": weights, "seed": seed},
        "each": dims.tolist(),
    }  # fmt: skip
    line = f"dimension {mean:.2f} +- {spread:.2f} of {size / len(dims):g} numbers"
    return _told(out / "dimension.json", report, line)


def _with_levels(model: Model) -> Any:
    if Can.AFFINE not in model.process.can:
        raise Unsupported(
            f"this tool needs a process with noise levels (AFFINE); {model.process} can "
            f"{model.process.can.names()}"
        )
    return model.process


def _rule(name: Rule, probes: int) -> Trace:
    rules: Mapping[str, Callable[[], Trace]] = {
        "exact": Exact,
        "hutchinson": lambda: Hutchinson(probes),
        "hutch++": lambda: HutchPP(3 * probes),
    }
    return rules[name]()


def _held(
    run: Run, n: int, chunk: int, seed: int, device: torch.device, watch: Watch | None
) -> Iterator[tuple[list[int], Batch]]:
    """Held-out items, a few at a time, with the numbers that their streams are derived from."""
    held = alike(run.data()[1])
    if not len(held):
        raise InputError(f"{run.path} held out no items; train it with held above 0")
    order = random.permutation(len(held), random.derive(seed, "held"))[:n].tolist()
    tell = throttled(watch, len(order))
    for first in range(0, len(order), chunk):
        numbers = order[first : first + chunk]
        yield numbers, move(held.batch(numbers), device)
        done = first + len(numbers)
        tell(done, None, None, over=done == len(order))


def _scale(model: Model) -> float:
    """What the codec divides data by."""
    if model.codec is None:
        return 1.0
    if not isinstance(model.codec, Affine):
        raise Unsupported(
            f"the likelihood needs a codec that only shifts and scales, not "
            f"{type(model.codec).__name__}: that of data behind a learned one has no closed form"
        )
    return model.codec.scale


@torch.no_grad()
def _encoded(model: Model, x: Any, seed: int, numbers: Sequence[int]) -> Any:
    if model.codec is None:
        return x
    return model.codec.encode(x, Streams.derive(seed, "codec", numbers))


def _dequantised(x: Any, step: float, seed: int, numbers: Sequence[int]) -> Any:
    """Each item moved within its cells by a stream of its own."""
    for value in values(x):
        place = (value.double() + 1) / step
        if bool(((place - place.round()).abs() > TOLERANCE).any()):
            raise InputError(
                f"the data do not lie on {round(2 / step) + 1} levels from -1 to 1: give those "
                "that they have, or none for the density of continuous data"
            )
    parts = [
        dequantise(
            state.select(x, torch.tensor([place], device=values(x)[0].device)),
            step,
            random.derive(seed, "dequantise", number),
        )
        for place, number in enumerate(numbers)
    ]
    return join(parts)


def _summary(each: Tensor) -> tuple[float, float]:
    """Mean and its standard error; NaN for a single item."""
    spread = float(each.std()) / math.sqrt(len(each)) if len(each) > 1 else math.nan
    return float(each.mean()), spread


def _told(path: Path, report: Mapping[str, Any], line: str) -> str:
    make_folder(path.parent)
    plain = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in report.items()}
    write_json(path, plain)
    return f"{line}, {report['items']} held-out items; {path}"
