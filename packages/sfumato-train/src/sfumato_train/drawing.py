"""Sampling from a run or a model, in chunks that fit memory and do not change the result."""

from __future__ import annotations

__all__ = [
    "asked_of",
    "blank",
    "calls",
    "component",
    "conditions",
    "device_of",
    "draw",
    "fitting",
    "told",
]

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

import sfumato
from sfumato import (
    Batch,
    Constraint,
    Denoiser,
    InputError,
    Known,
    Law,
    Maybe,
    Model,
    Process,
    Sampler,
    Streams,
    random,
    registry,
    state,
)
from sfumato.sampling import Denoise
from sfumato.sampling import times as clocks
from sfumato.state import Time
from sfumato_data import concatenate, join, move, select
from sfumato_methods.discrete import Prompt
from sfumato_methods.grids import Levels

from .clamps import Canvas
from .devices import fitting_batch
from .guards import Watch, throttled
from .pinning import lasting, pinned, spaced
from .runs import Run

MOST = 256
"""Items in memory at a time, where more would fit: larger chunks are no faster."""

Grid = Callable[[Any, int], Time]


def draw(
    source: Run | Model,
    n: int,
    *,
    sampler: str | Sampler | None = None,
    grid: str | Grid | None = None,
    steps: int | None = None,
    seed: int = 0,
    condition: Mapping[str, Any] | None = None,
    guidance: float | None = None,
    batch: int | None = None,
    device: str | None = None,
    precision: Literal["fp32", "bf16"] = "fp32",
    weights: str = "ema",
    watch: Watch | None = None,
    constraint: Constraint | None = None,
    first: int = 0,
    like: Any = None,
    noise: float | None = None,
) -> Batch:
    """Draw n samples.

    Item i is a function of (model, options, seed, first + i) and its own condition alone, up to the
    rounding of network kernels (1e-5): neither `n` nor `batch` nor its neighbours matter.

    Args:
        source: a run (its last checkpoint, averaged weights), or a model, used where it is.
        n: number of samples.
        sampler: a sampler, or the registered name of one; None: the model's own.
        grid: maps (process, steps) to times, or the registered name of one, or the .json file of
            one that `tune_grid` made; None: the model's own.
        steps: number of steps; None: the model's own.
        seed: of the samples.
        condition: named conditions of n items each (`Domain.condition`); None: unconditional.
        guidance: scale of classifier-free guidance, 1 for none; None: the model's own.
        batch: samples in memory at a time; None: as many as fit, at most 256.
        device: where to compute, for a run; None: a GPU if there is one.
        precision: arithmetic of the network, for a run.
        weights: which of a run's, see `Run.model`.
        watch: is told how many samples are done.
        constraint: such as `Known` or `Prompt`, in the space of the process; their values and
            mask may have n items, or one that is meant for all. None: what the states to fill
            already hold, of a model whose `blank` is a `Canvas`.
        first: number of the first sample, so that a job can be cut into shards.
        like: data states of n items whose layout (the size of images) is filled; None: the model's
            own `blank`.
        noise: begin with `like`, noised, and take the last `ceil(noise * steps)` steps alone, with
            0 < noise <= 1; all of them are plain sampling (Meng et al. 2021, arXiv:2108.01073).

    Returns:
        The samples, on the CPU, with the conditions that were asked for.

    Raises:
        InputError: for n, steps or batch below 1, an unknown name, conditions of another number of
            items, guidance without a condition, `like` of another number of items, or a noise
            that lies outside (0, 1] or has nothing to begin with.
        Unsupported: if the sampler does not go with the process.
    """
    _positive(n=n, steps=steps, batch=batch)
    asked = Batch(torch.empty(n, 0), dict(condition or {}))
    _check_like(like, n, noise)
    model = (
        source.model(weights, device=device, precision=precision)
        if isinstance(source, Run)
        else source
    )
    _check_condition(model, asked.condition, n, guidance)
    guidance = model.guidance if guidance is None else guidance
    walk = component("sampler", sampler) or model.sampler
    steps, made = steps or model.steps, component("grid", grid) or model.grid
    times = made(model.process, steps)
    whole = len(clocks(times))
    times = times if noise is None else _last(times, noise)
    late = len(clocks(times)) < whole
    home = device_of(model)
    chunk = batch or fitting(model, asked, guidance, seed, like)
    tell, began = throttled(watch, n), time.monotonic()
    found = []
    for begin in range(0, n, chunk):
        index = torch.arange(begin, min(begin + chunk, n))
        part = select(asked, index)
        numbers = (index + first).tolist()
        empty = (
            blank(model, seed, numbers, part.condition)
            if like is None
            else _those(like, index, home)
        )
        condition = conditions(model, part.condition, seed, numbers)
        process = pinned(model.process, condition)
        held = _part(constraint, index, n, home)
        if held is None and isinstance(model.blank, Canvas):
            held = model.blank.known(empty)
        start = _noised(model, process, empty, times, seed, numbers) if late else None
        if isinstance(held, Prompt) and not late:
            start = held.start(process)
        x = sfumato.sample(
            process,
            told(made, model, asked_of(model, condition, guidance), steps),
            empty,
            sampler=walk,
            grid=times,
            generator=Streams.derive(seed, "sample", numbers),
            constraint=held,
            codec=model.codec,
            start=start,
        )
        found.append(Batch(state.to(x, "cpu"), part.condition))
        done = begin + len(index)
        tell(done, None, done / max(time.monotonic() - began, 1e-9), over=done == n)
    return concatenate(found)


def _positive(**numbers: int | None) -> None:
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1, but is {value}")


def _check_condition(
    model: Model, condition: Mapping[str, Any], n: int, guidance: float | None
) -> None:
    for name, value in condition.items():
        count = state.items(value.value if isinstance(value, Maybe) else value)
        if count != n:
            raise InputError(f"condition {name!r} has {count} items for {n} samples")
    if guidance not in (None, 1) and not _doubled(model, condition, guidance):
        raise InputError(f"guidance={guidance} strengthens a condition, but none is given")


def _check_like(like: Any, n: int, noise: float | None) -> None:
    if like is not None and state.items(like) != n:
        raise InputError(f"{state.items(like)} states to fill were given for {n} samples")
    if noise is not None and not (0 < noise <= 1 and like is not None):
        raise InputError(
            f"noise={noise} is a share of the steps in (0, 1], and needs data to noise"
        )


def _last(grid: Time, share: float) -> Time:
    """The end of a grid: this share of its steps, rounded up."""
    if isinstance(grid, Mapping):
        return {name: _last(part, share) for name, part in grid.items()}
    steps = len(grid) - 1
    return grid[steps - min(steps, math.ceil(share * steps - 1e-9)) :]  # floats lose a little


def conditions(
    model: Model, condition: Mapping[str, Any], seed: int, numbers: list[int]
) -> dict[str, Any]:
    """Conditions where the model is, the lasting ones in the space of its process."""
    moved = move(Batch(torch.empty(0), condition), device_of(model)).condition
    return spaced(model.process, moved, model.codec, Streams.derive(seed, "context", numbers))


@torch.no_grad()
def _noised(
    model: Model, process: Process, clean: Any, grid: Time, seed: int, numbers: list[int]
) -> Law:
    """The law of clean data at the first time of a grid."""
    if model.codec is not None:
        clean = model.codec.encode(clean, Streams.derive(seed, "codec", numbers))
    return process.marginal(clean, clocks(grid)[0])


def _those(x: Any, index: torch.Tensor, device: torch.device) -> Any:
    return state.to(state.select(x, index), device)


def component(kind: str, wanted: Any) -> Any:
    """A sampler or a grid by name; samplers are registered as classes, grids as functions."""
    if not isinstance(wanted, str):
        return wanted
    if kind == "grid" and wanted.endswith(".json"):
        from .tuning import read_grid

        return read_grid(Path(wanted))
    found = registry().load(kind, wanted)
    return found() if kind == "sampler" else found


def told(grid: Grid, model: Model, denoiser: Denoise, steps: int) -> Denoise:
    """The denoiser as a grid wants it called: learned ones may shift what the network is told."""
    return grid.told(model.process, denoiser, steps) if isinstance(grid, Levels) else denoiser


def calls(
    model: Model,
    steps: int,
    *,
    sampler: Sampler | None = None,
    grid: Grid | None = None,
    condition: Mapping[str, Any] | None = None,
    guidance: float | None = None,
    seed: int = 0,
) -> int:
    """Network evaluations for one sample, counted while one is drawn.

    Args:
        model: the model.
        steps: of the sampler.
        sampler: None: the model's own.
        grid: None: the model's own.
        condition: conditions of any number of items; those of the first are used.
        guidance: scale of classifier-free guidance, which calls the network twice.
        seed: of the sample.
    """
    asked = Batch(torch.empty(1, 0), condition or {})
    if condition:
        asked = select(asked, torch.zeros(1, dtype=torch.long))
    condition = conditions(model, asked.condition, seed, [0])
    plain = asked_of(model, condition, guidance)
    count = 0

    def counted(x: Any, t: Any) -> Any:
        nonlocal count
        count += 1
        return plain(x, t)

    sfumato.sample(
        pinned(model.process, condition),
        counted,
        blank(model, seed, [0], asked.condition),
        sampler=sampler or model.sampler,
        grid=(grid or model.grid)(model.process, steps),
        generator=Streams.derive(seed, "sample", [0]),
        codec=model.codec,
    )
    return count * (2 if _doubled(model, condition, guidance) else 1)


def device_of(model: Model) -> torch.device:
    """Where the weights of a model are."""
    for module in (model.denoiser, model.process):
        for value in (*module.parameters(), *module.buffers()):
            return value.device
    return torch.device("cpu")


def blank(
    model: Model, seed: int, numbers: list[int], condition: Mapping[str, Any] | None = None
) -> Any:
    """Data states to be filled; each item's size is as asked, or drawn from a stream of its own."""
    sizes = {name: v for name, v in (condition or {}).items() if name in model.sizing}
    each = [
        model.blank(
            1,
            random.derive(seed, "blank", number),
            **{name: state.select(v, torch.tensor([place])) for name, v in sizes.items()},
        )
        for place, number in enumerate(numbers)
    ]
    return state.to(join(each), device_of(model))


def _seen(model: Model, condition: Mapping[str, Any]) -> Mapping[str, Any]:
    """The conditions that the network is told: all but those of the size."""
    return {name: value for name, value in condition.items() if name not in model.sizing}


def _kept(model: Model, condition: Mapping[str, Any]) -> tuple[str, ...]:
    """The conditions that guidance leaves as they are.

    Lasting ones, and those that a denoiser says (`aside`) are no condition of its network, such as
    a temperature: they hold for both of its calls.
    """
    aside = getattr(model.denoiser, "aside", ())
    mine = (name for name in condition if name in aside)
    return *lasting(model.process, condition), *mine


def _doubled(model: Model, condition: Mapping[str, Any], guidance: float | None) -> bool:
    """Whether guidance has anything to strengthen; what `_kept` names stays as it is."""
    chosen = _seen(model, condition).keys() - set(_kept(model, condition))
    return guidance not in (None, 1) and bool(chosen)


@torch.no_grad()
def asked_of(model: Model, condition: Mapping[str, Any], guidance: float | None) -> Denoiser:
    """The denoiser of a model under conditions, those of the size left out, and guidance."""
    moved = move(Batch(torch.empty(0), condition), device_of(model)).condition
    seen = _seen(model, moved)
    told = model.denoiser.given(**seen) if seen else model.denoiser
    if guidance is None or not _doubled(model, moved, guidance):
        return told
    from sfumato_methods.guidance import CFG

    kept = {name: seen[name] for name in _kept(model, seen)}
    return CFG(told, model.denoiser.given(**kept), float(guidance))


def _part(
    constraint: Constraint | None, index: torch.Tensor, n: int, device: torch.device
) -> Constraint | None:
    """A constraint for some of n items."""
    if not isinstance(constraint, Known | Prompt):
        return constraint

    def those(x: Any) -> Any:
        return state.to(state.select(x, index) if state.items(x) == n else x, device)

    return replace(constraint, values=those(constraint.values), mask=those(constraint.mask))


def fitting(
    model: Model, asked: Batch, guidance: float | None, seed: int, layout: Any = None
) -> int:
    """How many samples fit in memory at a time; `layout` as `like` of `draw`."""
    home = device_of(model)

    def once(count: int) -> object:
        index = torch.arange(count)
        some = select(asked, index)
        if layout is None:
            like = blank(model, seed, index.tolist(), some.condition)
        else:
            like = _those(layout, index, home)
        condition = conditions(model, some.condition, seed, index.tolist())
        process = pinned(model.process, condition)
        x = process.prior(model.codec.layout(like) if model.codec else like)
        posterior = asked_of(model, condition, guidance)(
            x.sample(random.derive(seed, "fit", device=home)),
            torch.ones((), dtype=torch.float64),
        )
        return posterior, model.codec.decode(posterior.mean) if model.codec else None

    weights = [*model.denoiser.parameters(), *model.denoiser.buffers()]
    return fitting_batch(once, min(len(asked.x), MOST), home, weights)
