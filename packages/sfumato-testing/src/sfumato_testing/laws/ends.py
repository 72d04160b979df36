"""Laws about the ends of a trajectory, and about standing still."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sfumato import Can, Known, Product, run, sample
from sfumato.random import derive
from sfumato.state import expand, where

from ..book import law
from ..case import Case
from ..states import aligned, gap, half, lookup, patterns, same, stack, still, tensors
from ..statistics import compare
from ..toys import blurry, operations, shared, stubborn, uniform

__all__ = ["C3_perfect_posterior", "C4_rest"]

_COPIES = 2500
_STEPS = 20


@law(Case, lambda case: Can.STEP in case.process.can)
def C3_perfect_posterior(case: Case) -> None:
    """A sampler that is told x0 ends there exactly, and all is finite from t = 1 to s = 0.

    1. marginal, bridge and transition at s = 0 are x0; all that the process announces is finite
       from t = 1, to s = 0, and near both; the clock is finite at both ends.
    2. Every sampler ends at x0, in 1 and in 8 steps. (Equality up to rounding, 1e-12.)
    3. A sampler that draws keeps to the law of marginal(x0, s) on its way: tested as C1 after a
       quarter, half and three quarters of 20 steps on 2,500 copies, means within 0.05.

    False alarms: 1e-6.
    """
    _finite(case)
    for sampler in case.samplers:
        for steps in (1, 8):
            got = sample(
                case.process,
                stubborn(case.process, case.x0),
                case.x0,
                sampler=sampler,
                grid=uniform(steps),
                generator=derive(1, "C3", steps),
            )
            error = gap(got, case.x0)
            assert error < 1e-12, f"C3 {sampler} in {steps} steps ends {error:.2g} away from x0"
        if not sampler.deterministic:
            _keeps_to_marginal(case, sampler)


def _finite(case: Case) -> None:
    process, x0 = case.process, case.x0
    for t, s in ((1.0, 0.0), (1.0, 0.5), (1.0, 1 - 1e-6), (0.5, 0.0), (1e-4, 0.0), (1.0, 1e-6)):
        x = process.marginal(x0, shared(t)).sample(derive(1, "C3 x"))
        for name, operation in operations(process, x0, x, shared(t), shared(s)).items():
            out = operation(derive(1, "C3"))
            where_ = f"C3 {name} from {t} to {s}"
            for v in tensors(out):
                assert bool(v.isfinite().all()), f"{where_}: not finite"
            if s == 0 and name in ("bridge", "transition"):
                error = gap(process.project(out), x0)
                assert error < 1e-12, f"{where_}: {error:.2g} away from x0"
    start = process.marginal(x0, shared(0.0)).sample(derive(1, "C3"))
    error = gap(process.project(start), x0)
    assert error < 1e-12, f"C3 marginal at t = 0: {error:.2g} away from x0"
    for end in (0.0, 1.0):
        _check_clock(process.clock(shared(end)), end)


def _check_clock(clock: Any, end: float) -> None:
    if isinstance(clock, Mapping):
        for part in clock.values():
            _check_clock(part, end)
    else:
        assert bool(clock.isfinite().all()), f"C3 clock at t = {end}: {clock}"


def _keeps_to_marginal(case: Case, sampler: Any) -> None:
    case = case.copies(_COPIES)
    process, x0 = case.process, case.x0
    generator = derive(1, "C3 law", case.name)
    x = process.prior(x0).sample(generator)
    frames = run(sampler, process, stubborn(process, x0), x, uniform(_STEPS), generator)
    looks = [_STEPS * q // 4 for q in (1, 2, 3)]
    for i, frame in enumerate(frames, start=1):
        if i in looks:
            want = process.marginal(x0, frame.s).sample(generator)
            what = f"C3 {sampler} told x0, at s = {float(frame.s):.2f}, against marginal(x0, s)"
            compare(what, frame.after, want, _COPIES, len(looks), slack=0.05)


@law(Case, lambda case: bool((Can.STEP | Can.BRIDGE) & case.process.can))
def C4_rest(case: Case) -> None:
    """Where s == t the state stays as it is, bit for bit.

    Tried on bridge, transition and every sampler under the driver (with and without a constraint),
    for shared times, and for times per item, frame and field of which some move and some stand.
    What rests is also shown to the denoiser as it is, however often it is asked in a step. False
    alarms: none.
    """
    process, x0 = case.process, case.x0
    shapes = patterns(x0, case.frames, isinstance(process, Product))
    for kind, pattern in shapes.items():
        for end in (1.0, 0.5, 0.0):
            t, s = lookup(pattern, [end, 0.7]), lookup(pattern, [end, 0.3])
            x = process.marginal(x0, t).sample(derive(1, "C4 x"))
            found = operations(process, x0, x, t, s)
            for name in ("bridge", "transition"):
                if name in found:
                    out = found[name](derive(1, "C4"))
                    _unmoved(f"C4 {name}, {kind} times", x, out, still(t, s))
    if Can.STEP in process.can:
        for sampler in case.samplers:
            for kind, pattern in shapes.items():
                _rests_under_driver(case, sampler, kind, pattern)


def _unmoved(what: str, before: Any, after: Any, rests: Any) -> None:
    kept = where(expand(before, rests), before, after)
    assert same(kept, after), f"{what}: the state moved although s == t"
    for v in tensors(after):
        assert bool(v.isfinite().all()), f"{what}: not finite"


def _rests_under_driver(case: Case, sampler: Any, kind: str, pattern: Any) -> None:
    process, x0 = case.process, case.x0
    columns = ([1.0, 1.0, 0.6, 0.6, 0.3, 0.0, 0.0], [1.0, 0.8, 0.6, 0.4, 0.2, 0.1, 0.0])
    grid = stack([lookup(pattern, step) for step in zip(*columns, strict=True)])
    known = Known(x0, aligned(half(x0), process.prior(x0).sample(derive(1, "C4 mask"))))
    for constraint in (None, known):
        x = process.prior(x0).sample(derive(1, "C4 prior"))
        denoise = blurry(process)
        seen: list[Any] = []

        def spy(x: Any, t: Any, denoise: Any = denoise, seen: list[Any] = seen) -> Any:
            seen.append(x)
            return denoise(x, t)

        for frame in run(sampler, process, spy, x, grid, derive(1, "C4 run"), constraint):
            rests = still(frame.t, frame.s)
            _unmoved(f"C4 {sampler}, {kind} times", frame.before, frame.after, rests)
            for shown in seen:
                what = f"C4 {sampler}, {kind} times, as the denoiser sees it"
                _unmoved(what, frame.before, shown, rests)
            seen.clear()
