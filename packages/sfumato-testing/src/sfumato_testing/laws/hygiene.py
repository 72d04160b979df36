"""Laws about leaving things as they were: inputs, kinds, global state, copies."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from sfumato import Known, Product, run, sample
from sfumato.random import derive
from sfumato.state import to

from ..book import law
from ..case import Case
from ..states import cast, clone, describe, half, lookup, patterns, same, tensors
from ..toys import blurry, operations, shared, uniform

__all__ = ["C14_copies", "C5_kept", "C8_no_globals"]

_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@law(Case)
def C5_kept(case: Case) -> None:
    """Results have the kind, dtype, device and layout of the state; inputs are left untouched.

    States are compared as the data in them (`project`), and helper variables with those of others.
    In float64, float32, bfloat16 and float16, and with the state on another device ("meta", which
    computes shapes only: a tensor left on the CPU shows). False alarms: none.
    """
    process = case.process
    shapes = patterns(case.x0, case.frames, isinstance(process, Product))
    for dtype in _DTYPES:
        x0 = cast(case.x0, dtype)
        x = process.marginal(clone(x0), shared(0.8)).sample(derive(1, "C5 x"))
        for kind, pattern in shapes.items():
            t, s = lookup(pattern, [0.9, 0.7]), lookup(pattern, [0.5, 0.2])
            given = {"x0": x0, "x": x, "t": t, "s": s}
            before = {k: clone(v) for k, v in given.items()}
            for name, operation in operations(process, x0, x, t, s).items():
                out = operation(derive(1, "C5"))
                what = f"C5 {name} of {dtype}, {kind} times"
                _like(what, process.project(out), process.project(x0))
                _like(what, out, x)
                for k, v in given.items():
                    assert _equal(v, before[k]), f"C5 {name}: {k} was changed in place"
        for sampler in case.samplers:
            _sampled(case, sampler, x0)
    _on_meta(case)


def _like(what: str, out: Any, x0: Any) -> None:
    assert describe(out) == describe(x0), (
        f"{what}: the result is {_brief(out)}, the state {_brief(x0)}"
    )


def _brief(x: Any) -> str:
    shapes = [f"{v.dtype} {tuple(v.shape)} on {v.device}" for v in tensors(x)]
    return f"{type(x).__name__} of {', '.join(shapes)}".replace("torch.", "")


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return all(_equal(a[k], b[k]) for k in b)
    return all(torch.equal(u, v) for u, v in zip(tensors(a), tensors(b), strict=True))


def _sampled(case: Case, sampler: Any, x0: Any) -> None:
    process, grid = case.process, uniform(4)
    x = process.prior(x0).sample(derive(1, "C5 prior"))
    kept = [(x, clone(x)), (grid, grid.clone())]
    for frame in run(sampler, process, blurry(process), x, grid, derive(1, "C5 run")):
        _like(f"C5 {sampler}", process.project(frame.after), process.project(x0))
        _like(f"C5 {sampler}", frame.after, frame.before)
        kept.append((frame.after, clone(frame.after)))
    assert all(_equal(now, then) for now, then in kept), (
        f"C5 {sampler}: the grid or a state that was handed out was changed in place"
    )


def _on_meta(case: Case) -> None:
    process = copy.deepcopy(case.process).to("meta")
    x0 = to(case.x0, "meta")
    x = to(case.process.marginal(case.x0, shared(0.8)).sample(derive(1, "C5 x")), "meta")
    for name, operation in operations(process, x0, x, shared(0.8), shared(0.3)).items():
        try:
            out = operation(derive(1, "C5"))
        except NotImplementedError:  # torch knows no shape for one of the steps (bincount)
            continue
        for v in tensors(out):
            assert v.device.type == "meta", f"C5 {name}: a state on meta gave one on {v.device}"


@contextmanager
def _untouched(what: str) -> Iterator[None]:
    """Assert that what a block does leaves the global state of torch alone."""

    def look() -> dict[str, Any]:
        return {
            "the global generator": torch.get_rng_state().tolist(),
            "grad mode": torch.is_grad_enabled(),
            "inference mode": torch.is_inference_mode_enabled(),
            "the default dtype": torch.get_default_dtype(),
            "determinism": torch.are_deterministic_algorithms_enabled(),
            "autocast": torch.is_autocast_enabled("cpu"),
        }

    before = look()
    yield
    after = look()
    changed = [k for k in before if before[k] != after[k]]
    assert not changed, f"C8 {what}: {', '.join(changed)} changed"


@law(Case)
def C8_no_globals(case: Case) -> None:
    """Nothing draws from the global generator, nor sets grad mode, default dtype or autocast.

    Looked at after every operation, between the frames of every sampler, and after `sample`, with
    gradients on and off. False alarms: none.
    """
    process, x0 = case.process, case.x0
    state, grad = torch.get_rng_state(), torch.is_grad_enabled()
    try:
        for mode in (True, False):
            torch.set_grad_enabled(mode)
            x = process.marginal(x0, shared(0.8)).sample(derive(1, "C8 x"))
            for name, operation in operations(process, x0, x, shared(0.8), shared(0.3)).items():
                with _untouched(name):
                    operation(derive(1, "C8"))
            for sampler in case.samplers:
                _watch(case, sampler)
    finally:  # a check that fails must not leave its mark either
        torch.set_grad_enabled(grad)
        torch.set_rng_state(state)


def _watch(case: Case, sampler: Any) -> None:
    process, grid, generator = case.process, uniform(3), derive(1, "C8 run")
    x = process.prior(case.x0).sample(generator)
    with _untouched(f"{sampler}, between frames"):
        walk = run(sampler, process, blurry(process), x, grid, generator, Known(case.x0, half(x)))
    for _ in range(3):
        with _untouched(f"{sampler}, between frames"):
            next(walk)
    with _untouched(f"sample with {sampler}"):
        sample(process, blurry(process), case.x0, sampler=sampler, grid=grid, generator=generator)


@law(Case)
def C14_copies(case: Case) -> None:
    """A deep copy, and a copy whose tensors come from `state_dict`, follow the same laws.

    Copies have the same `repr`, which shows values and no addresses; so do samplers, which are
    equal to their copies. False alarms: none.
    """
    process, x0 = case.process, case.x0
    twin = copy.deepcopy(process)
    loaded = copy.deepcopy(process)
    for tensor in loaded.state_dict().values():
        tensor.zero_()
    loaded.load_state_dict(process.state_dict(), strict=True)
    x = process.marginal(x0, shared(0.8)).sample(derive(1, "C14 x"))
    for kind, other in (("deep copy", twin), ("state_dict round trip", loaded)):
        assert repr(other) == repr(process), f"C14 {kind}: repr {other!r} instead of {process!r}"
        assert other.can == process.can, f"C14 {kind}: it can {other.can}, not {process.can}"
        mine = operations(process, x0, x, shared(0.8), shared(0.3))
        its = operations(other, x0, x, shared(0.8), shared(0.3))
        for name in mine:
            pair = mine[name](derive(1, "C14")), its[name](derive(1, "C14"))
            assert same(*pair), f"C14 {kind}: {name} differs from the original's"
    for thing in (process, *case.samplers):
        assert not re.search(r" at 0x[0-9a-f]+", repr(thing)), f"C14 repr: {thing!r} is an address"
    for sampler in case.samplers:
        assert copy.deepcopy(sampler) == sampler, f"C14 {sampler}: a copy is not equal to it"
