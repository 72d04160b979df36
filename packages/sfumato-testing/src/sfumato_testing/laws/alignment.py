"""Laws about times and items: what belongs to one must not reach another."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sfumato import Fields, Product, Streams, sample
from sfumato.random import derive
from sfumato.state import Padded, items, select

from ..book import law
from ..case import Case
from ..states import compose, fill, gap, lookup, patterns, same
from ..toys import blurry, operations, shared, uniform

__all__ = ["C6_times_and_items", "C7_reproducible"]

_STEPS = ((0.9, 0.6), (0.7, 0.2), (0.4, 0.05))
_CLOSE = 1e-10


@law(Case)
def C6_times_and_items(case: Case) -> None:
    """A time per item, frame or field does to each place what a shared time would do to it.

    1. A shared time equals the same time spelled out for every item, frame and field.
    2. With different times, every place is as under the shared time that holds there.
    3. Permuted items (streams and times permuted with them) give permuted results.
    4. What stands at padded places changes nothing.

    All up to rounding, 1e-10 in float64 (coefficients of one time and of many may round
    differently); draws are the same on both sides. False alarms: none.
    """
    process, x0 = case.process, case.x0
    shapes = patterns(x0, case.frames, isinstance(process, Product))
    for name in operations(process, x0, x0, shared(0.5), shared(0.3)):
        alone = [_apply(case, name, x0, shared(t), shared(s)) for t, s in _STEPS]
        for kind, pattern in shapes.items():
            for want, (t, s) in zip(alone, _STEPS, strict=True):
                got = _apply(case, name, x0, fill(pattern, t), fill(pattern, s))
                error = gap(got, want)
                assert error < _CLOSE, f"C6 {name}: shared and {kind} times differ by {error:.2g}"
            starts, ends = zip(*_STEPS, strict=True)
            got = _apply(case, name, x0, lookup(pattern, starts), lookup(pattern, ends))
            if name != "prior":
                error = gap(got, compose(pattern, alone))
                assert error < _CLOSE, (
                    f"C6 {name}: with different {kind} times some places differ by {error:.2g} "
                    "from what their own time gives"
                )
    _permuted(case)
    _padding(case)


def _apply(
    case: Case, name: str, x0: Any, t: Any, s: Any, generator: Any = None, x: Any = None
) -> Any:
    """An operation with its draws fixed; the noisy state does not depend on the times asked."""
    if x is None:
        x = case.process.marginal(x0, shared(0.8)).sample(derive(1, "C6 x"))
    return operations(case.process, x0, x, t, s)[name](generator or derive(1, "C6"))


def _permuted(case: Case) -> None:
    process, x0, count = case.process, case.x0, items(case.x0)
    order = torch.arange(count).roll(1)
    x = process.marginal(x0, shared(0.8)).sample(derive(1, "C6 x"))
    t, s = lookup(torch.arange(count), [0.9, 0.7]), lookup(torch.arange(count), [0.6, 0.2])
    for name in operations(process, x0, x, t, s):
        streams = Streams.derive(1, "C6", range(count))
        want = select(_apply(case, name, x0, t, s, streams, x), order)
        streams = Streams.derive(1, "C6", order.tolist())
        back = (select(x0, order), t[order], s[order], streams, select(x, order))
        error = gap(_apply(case.among(order), name, *back), want)
        assert error < _CLOSE, f"C6 {name}: permuted items differ by {error:.2g}"


def _padding(case: Case) -> None:
    def dirty(state: Any) -> Any:
        if not isinstance(state, Padded):
            return state
        other = state.data.roll(1, 0) * (100 if state.data.is_floating_point() else 1)
        mask = state.mask.reshape(state.mask.shape + (1,) * (other.ndim - state.mask.ndim))
        return Padded(torch.where(mask, state.data, other), state.mask)

    x0 = _each(case.x0, dirty)
    if same(x0, case.x0) and x0 is not case.x0:
        t, s = shared(0.8), shared(0.5)
        x = case.process.marginal(case.x0, t).sample(derive(1, "C6 x"))
        for name in operations(case.process, case.x0, x, t, s):
            clean = _apply(case, name, case.x0, t, s, x=x)
            error = gap(_apply(case, name, x0, t, s, x=_each(x, dirty)), clean)
            assert error < _CLOSE, f"C6 {name}: what stands at padded places matters ({error:.2g})"


def _each(x: Any, f: Any) -> Any:
    return Fields({k: _each(v, f) for k, v in x.items()}) if isinstance(x, Fields) else f(x)


@law(Case)
def C7_reproducible(case: Case) -> None:
    """The same generator state gives the same bits; with `Streams` an item is itself in any batch.

    For all that the process announces and for every sampler, with a denoiser that treats items one
    by one: the first, a middle and the last item of a batch of 64 are drawn again alone, bit for
    bit with shared times and to 1e-12 with a time for each item. False alarms: none.
    """
    case = case.among(torch.arange(64) % items(case.x0))
    process, x0 = case.process, case.x0
    t, s = shared(0.8), shared(0.3)
    x = process.marginal(x0, t).sample(Streams.derive(1, "C7 x", range(64)))
    for name, operation in operations(process, x0, x, t, s).items():
        twice = [operation(derive(1, "C7")) for _ in range(2)]
        assert same(*twice), f"C7 {name}: the same generator state gave different draws"
        batch = operation(Streams.derive(1, "C7", range(64)))
        for i in (0, 37, 63):
            one = torch.tensor([i])
            own = case.among(one)
            again = operations(own.process, own.x0, select(x, one), t, s)[name]
            single = again(Streams.derive(1, "C7", [i]))
            assert same(single, select(batch, one)), (
                f"C7 {name}: item {i} alone differs from itself in a batch of 64"
            )
    for sampler in case.samplers:
        _trajectories(case, sampler)


def _trajectories(case: Case, sampler: Any) -> None:
    grid = uniform(6)
    ragged = torch.stack([grid**p for p in (1.0, 2.0)], 1)[:, torch.arange(64) % 2]

    def draw(case: Case, times: Tensor, numbers: range | list[int]) -> Any:
        return sample(
            case.process,
            blurry(case.process),
            case.x0,
            sampler=sampler,
            grid=times,
            generator=Streams.derive(1, "C7", numbers),
        )

    for kind, times, limit in (("shared", grid, 0.0), ("item", ragged, 1e-12)):
        batch = draw(case, times, range(64))
        assert same(batch, draw(case, times, range(64))), f"C7 {sampler}: a second run differs"
        for i in (0, 37, 63):
            one = torch.tensor([i])
            own = times if times.ndim == 1 else times[:, one]
            single, whole = draw(case.among(one), own, [i]), select(batch, one)
            assert same(single, whole) or gap(single, whole) < limit, (
                f"C7 {sampler}, {kind} times: item {i} alone differs from itself in a batch of 64 "
                f"by {gap(single, whole):.2g}"
            )
