"""Laws about samplers: order, constraints, independence of trajectories."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from sfumato import Can, Known, run
from sfumato.random import derive
from sfumato.state import apply

from ..book import law
from ..case import Case, SolverCase
from ..states import aligned, half, same, tensors
from ..toys import blurry, uniform

__all__ = ["C11_order", "C17_constraint", "C18_interleaved"]

_SLOPE = 0.15


@law(SolverCase)
def C11_order(case: SolverCase) -> None:
    """The error of a solver against the exact probability flow falls with the order it promises.

    Slope of log2 of the error between n and 2n equal steps in time, over a span away from both
    ends, downwards and upwards: within 0.15 of the order. The error is a root mean square over 256
    states, since at single states the leading term may all but cancel. False alarms: none.
    """
    assert case.sampler.deterministic, "C11 is about samplers that draw nothing"
    high, low = case.span
    for start, end, direction in ((high, low, "down"), (low, high, "up")):
        errors = [_error(case, start, end, n) for n in (case.steps, 2 * case.steps)]
        assert errors[1] > 1e-12, f"C11 order, {direction}: no error is left; take fewer steps"
        slope = math.log2(errors[0] / errors[1])
        assert abs(slope - case.order) <= _SLOPE, (
            f"C11 order, {direction}: slope {slope:.2f} instead of {case.order} (errors "
            f"{errors[0]:.2g} and {errors[1]:.2g} with {case.steps} and {2 * case.steps} steps)"
        )


def _error(case: SolverCase, start: float, end: float, steps: int) -> float:
    process, generator = case.process, derive(1, "C11")
    grid = _eased(torch.linspace(start, end, steps + 1, dtype=torch.float64), case.halvings)
    x0 = case.target.sample(256, generator)
    x = process.marginal(x0, grid[0]).sample(generator)
    want = case.target.flow(process, x, grid[0], grid[-1])
    for frame in run(case.sampler, process, case.target.denoiser(process), x, grid, generator):
        x = frame.after
    return float((x - want).square().mean().sqrt())


def _has_samplers(case: Case) -> bool:
    return Can.STEP in case.process.can and bool(case.samplers)


def _eased(grid: Tensor, halvings: int) -> Tensor:
    """The grid with its first step cut in pieces that double in length: 1/8, 1/4, 1/2, 1."""
    share = 0.5 ** torch.arange(halvings, 0, -1, dtype=torch.float64)
    return torch.cat([grid[:1], grid[0] + share * (grid[1] - grid[0]), grid[1:]])


@law(Case, _has_samplers)
def C17_constraint(case: Case) -> None:
    """What a constraint makes of a state is what the sampler goes on from.

    Half of the numbers of x0 are known. They are exact at the end of every sampler; and the state
    that is sent back after a step is the one that the next frame begins with and, where the step
    calls the denoiser, that it is shown, bit for bit. False alarms: none.
    """
    process, x0 = case.process, case.x0
    mask = half(x0)
    known = Known(x0, aligned(mask, process.prior(x0).sample(derive(1, "C17 mask"))))
    for sampler in case.samplers:
        seen: list[Any] = []
        denoise = blurry(process)

        def spy(x: Any, t: Any, seen: list[Any] = seen, denoise: Any = denoise) -> Any:
            seen.append(x)
            return denoise(x, t)

        generator = derive(1, "C17")
        sent = process.prior(x0).sample(generator)
        for frame in run(sampler, process, spy, sent, uniform(5), generator, known):
            assert same(frame.before, sent), (
                f"C17 {sampler}: a frame begins elsewhere than was sent"
            )
            assert not seen or any(same(x, sent) for x in seen), (
                f"C17 {sampler}: the denoiser is not shown the state that was sent"
            )
            seen.clear()
            sent = frame.after
        _exact(f"C17 {sampler}", process.project(sent), x0, mask)


def _exact(what: str, got: Any, x0: Any, mask: Any) -> None:
    kept = apply(x0, lambda a, m, b: torch.where(m, a, b), mask, got)
    for u, v in zip(tensors(kept), tensors(got), strict=True):
        if u.is_floating_point():
            agree = bool(((u - v).abs() <= 1e-12 * (1 + u.abs())).all())
        else:
            agree = torch.equal(u, v)
        assert agree, f"{what}: known values are not exact at the end"


@law(Case, _has_samplers)
def C18_interleaved(case: Case) -> None:
    """Trajectories that are walked in turn, by one sampler value, equal those walked one by one.

    They differ in their items and their grids. False alarms: none.
    """
    runs = [(case, uniform(5)), (case.among(torch.arange(1)), uniform(4))]

    def start(sampler: Any, case: Case, grid: Tensor) -> Any:
        process, generator = case.process, derive(1, "C18", len(grid))
        x = process.prior(case.x0).sample(generator)
        return run(sampler, process, blurry(process), x, grid, generator)

    for sampler in case.samplers:
        alone = [[frame.after for frame in start(sampler, *each)] for each in runs]
        walks = [start(sampler, *each) for each in runs]
        turns: list[list[Any]] = [[] for _ in walks]
        for _ in range(5):
            for walk, states in zip(walks, turns, strict=True):
                frame = next(walk, None)
                if frame is not None:
                    states.append(frame.after)
        for one, other in zip(alone, turns, strict=True):
            assert len(one) == len(other) and all(map(same, one, other)), (
                f"C18 {sampler}: trajectories walked in turn differ from those walked alone"
            )
