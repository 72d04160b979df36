"""Grids tuned to a run, and the files that they are kept in."""

from __future__ import annotations

__all__ = ["Tuned", "read_grid", "tune_grid", "write_grid"]

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Generator, Tensor

import sfumato
from sfumato import Batch, InputError, Model, Sampler, Streams, random, state
from sfumato.sampling import Denoise
from sfumato_data import join, move, select
from sfumato_methods import grids
from sfumato_methods.grids import Levels, align, klub, learn, mean_square

from .drawing import asked_of, blank, component, device_of, told
from .files import make_folder, read_json, write_json
from .guards import Watch
from .pairing import asked, is_paired
from .runs import Run

FORMAT = 1
"""Of the file of a grid."""

FINE = 64
"""Steps of the solver that a grid learns from."""

AT_ONCE = 32
"""Items that are solved together."""


@dataclass(frozen=True)
class Tuned:
    """What tuning found.

    Attributes:
        path: the file.
        levels: the grid.
        before: what the method minimises, of the model's own grid with as many steps.
        after: the same of the tuned grid.
    """

    path: Path
    levels: Levels
    before: float
    after: float


def write_grid(path: Path, levels: Levels, facts: Mapping[str, Any]) -> None:
    """Write levels as JSON, whole or not at all, with what they were made for."""
    make_folder(path.parent)
    values = {"levels": list(levels.levels), "shifts": list(levels.shifts)}
    write_json(path, {"format": FORMAT, **values, **facts})


def read_grid(path: Path) -> Levels:
    """The levels in a file that `write_grid` wrote.

    Raises:
        InputError: if it is missing or damaged, or of another format.
    """
    facts = read_json(path)
    if facts.get("format") != FORMAT:
        raise InputError(f"{path} is no grid of format {FORMAT}")
    try:
        levels, shifts = (tuple(float(v) for v in facts[name]) for name in ("levels", "shifts"))
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path} is damaged: levels and shifts are lists of numbers") from None
    return Levels(levels, shifts)


def tune_grid(
    run: Run,
    steps: int,
    *,
    sampler: str | None = None,
    method: Literal["ld3", "ays"] = "ld3",
    n: int = 128,
    rounds: int = 20,
    shifted: bool = False,
    seed: int = 0,
    guidance: float | None = None,
    device: str | None = None,
    watch: Watch | None = None,
) -> Tuned:
    """Make a grid for a run, a sampler and a number of steps, and keep it in the run's `grids`.

    Args:
        run: the run; its last checkpoint, averaged weights.
        steps: number of steps.
        sampler: registered name; None: the model's own.
        method: "ld3" learns to land where 64 steps lead from the same noise (Tong et al. 2024,
            arXiv:2405.15506), measured by the mean square on noise that it did not learn on; "ays"
            minimises a bound on what steps lose on training items (Sabour et al. 2024,
            arXiv:2404.14507), for samplers that draw noise too.
        n: noises, or training items, that it is made with.
        rounds: passes over the noises.
        shifted: of "ld3": learn also the noise levels that the network is told.
        seed: of the noise.
        guidance: see `draw`.
        device: see `draw`.
        watch: is told the rounds.

    Raises:
        InputError: if steps or n are too small, or "ld3" is asked for a sampler that draws noise.
        Unsupported: if the process has no noise levels.
    """
    if n < 10:
        raise InputError(f"a grid is tuned on at least 10 items, not {n}")
    model = run.model(device=device)
    if not isinstance(model.grid(model.process, steps), Tensor):
        raise InputError(f"{model.process} has a clock for each field; tune a part of it")
    walk: Sampler = component("sampler", sampler) or model.sampler
    guidance = model.guidance if guidance is None else guidance
    if method == "ays":
        levels, before, after = _aligned(run, model, steps, n, guidance, seed)
    elif walk.deterministic:
        count = n + max(10, n // 4)  # the last ones measure what was learned
        solver = _Solver(run, model, walk, count, guidance, seed)
        tell = None if watch is None else partial(_tell, watch)
        levels, before, after = _learned(solver, steps, n, rounds, shifted, tell)
    else:
        raise InputError(f"{walk!r} draws noise; tune its grid by the method ays")
    name = re.sub(r"[^a-z0-9]+", "-", f"{sampler or repr(walk)}-{method}-{steps}".lower())
    path = run.path / "grids" / f"{name.strip('-')}.json"
    facts = {"sampler": sampler or repr(walk), "method": method, "steps": steps, "n": n}
    write_grid(path, levels, {**facts, "seed": seed, "before": before, "after": after})
    return Tuned(path, levels, before, after)


def _tell(watch: Watch, turn: int, turns: int, far: float) -> None:
    watch(turn, turns, far, None)


def _aligned(
    run: Run, model: Model, steps: int, n: int, guidance: float | None, seed: int
) -> tuple[Levels, float, float]:
    """Levels on training items, and the bound of the model's own grid and of these."""
    train, _ = run.data()
    source = random.derive(seed, "tune")
    index = random.permutation(len(train), source)[:n]
    batch = move(train.batch(index.tolist()), device_of(model))
    x0 = batch.x if model.codec is None else model.codec.encode(batch.x, source)
    denoiser = asked_of(model, batch.condition, guidance)
    before = source.get_state()
    levels = align(model.process, denoiser, x0, steps, generator=source)
    source.set_state(before)
    cost = klub(model.process, denoiser, x0, source)  # by the draws that the search was made with
    process: Any = model.process

    def bound(times: Any) -> float:
        inner = (-0.5 * process.logsnr(times[1:-1])).exp().tolist()
        ratio = [levels.levels[0], *inner, levels.levels[-1]]  # between the same ends
        return sum(cost(b, a) for b, a in zip(ratio, ratio[1:], strict=False))

    return levels, bound(model.grid(process, steps)), bound(levels(process, steps))


class _Solver:
    """Solves from the same noise on any grid; the conditions are those that a domain asks for."""

    def __init__(
        self,
        run: Run,
        model: Model,
        walk: Sampler,
        count: int,
        guidance: float | None,
        seed: int,
    ) -> None:
        self.model, self.walk, self.guidance, self.seed = model, walk, guidance, seed
        numbers = list(range(count))
        if is_paired(run.about):
            condition = asked(*run.data(), count).condition
        else:
            condition = run.domain.condition({}, count, run.about)
        self.asked = Batch(torch.empty(count, 0), condition)
        like = blank(model, seed, numbers, self.asked.condition)
        layout = model.codec.layout(like) if model.codec else like
        self.noise = model.process.prior(layout).sample(Streams.derive(seed, "tune", numbers))

    def denoiser(self, index: Tensor) -> Denoise:
        """The model under the conditions of these items."""
        return asked_of(self.model, select(self.asked, index).condition, self.guidance)

    @torch.no_grad()
    def solve(self, grid: Any, steps: int, index: Tensor) -> Any:
        """Where the sampler takes the noise of these items on a grid."""
        process, parts = self.model.process, []
        for part in torch.split(index, AT_ONCE):
            denoiser = told(grid, self.model, self.denoiser(part), steps)
            x = state.select(self.noise, part)
            times = grid(process, steps)
            for frame in sfumato.run(self.walk, process, denoiser, x, times, Generator()):
                x = frame.after
            parts.append(x)
        return join(parts)


def _learned(
    solver: _Solver,
    steps: int,
    n: int,
    rounds: int,
    shifted: bool,
    watch: Callable[[int, int, float], None] | None,
) -> tuple[Levels, float, float]:
    """Levels learned on n noises; on the others, the distance of the model's grid and of these."""
    model = solver.model
    everything = torch.arange(len(solver.asked.x))
    teacher = solver.solve(model.grid, FINE, everything)

    def far(grid: Any, index: Tensor) -> float:
        goal = state.select(teacher, index)
        return float(mean_square(solver.solve(grid, steps, index), goal).mean())

    hand = (model.grid, grids.uniform, grids.logsnr, grids.karras)
    best: Any = min(hand, key=lambda grid: far(grid, everything[:n]))
    levels = learn(
        model.process,
        solver.denoiser,
        state.select(solver.noise, everything[:n]),
        state.select(teacher, everything[:n]),
        steps,
        sampler=solver.walk,
        generator=random.derive(solver.seed, "tune"),
        start=Levels.of(model.process, best(model.process, steps)),
        rounds=rounds,
        shifted=shifted,
        watch=watch,
    ).levels
    return levels, far(model.grid, everything[n:]), far(levels, everything[n:])
