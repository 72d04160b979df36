"""Laws about composition: parts that rest, and rows that are planned ahead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sfumato import Can, Fields, PerPart, Process, Product, run
from sfumato.random import derive
from sfumato.sampling import times

from ..book import law
from ..case import Case
from ..states import gap, lookup, patterns, same, stack
from ..toys import blurry, certain, operations, shared, uniform

__all__ = ["C13_product", "C19_planned"]


@law(Case, lambda case: Can.STEP in case.process.can)
def C13_product(case: Case) -> None:
    """In a product whose other fields rest, a field moves as its process does alone, bit for bit.

    A process that is no product is put into one beside a copy of itself that rests. Compared are
    marginal, bridge, transition and clock, and the trajectory of every sampler. False alarms: none.
    """
    if isinstance(case.process, Product):
        product, x0 = case.process, case.x0
    else:
        product = Product({"rests": case.process, "moves": case.process})
        x0 = Fields(rests=case.x0, moves=case.x0)
    if len(product.parts) < 2:
        return
    for name in product.parts if product is case.process else ("moves",):
        _law_by_law(product, x0, name)
        for sampler in case.samplers:
            rule = sampler
            if isinstance(sampler, PerPart):
                if product is not case.process:
                    continue
                rule = sampler.on(product).rules[name]
            _trajectory(product, x0, name, sampler, rule)


def _clocks(product: Product, name: str, value: Any) -> dict[str, Any]:
    return {k: value if k == name else shared(0.4) for k in product.parts}


def _law_by_law(product: Product, x0: Any, name: str) -> None:
    part, t, s = product.part(name), shared(0.8), shared(0.3)
    both = _clocks(product, name, t), _clocks(product, name, s)
    x = product.marginal(x0, both[0]).sample(derive(1, "C13 x"))
    own = operations(part, x0[name], x[name], t, s)
    joint = operations(product, x0, x, *both)
    for step in ("bridge", "transition"):
        if step in joint:
            out = joint[step](derive(1, "C13"))
            assert same(out[name], own[step](derive(1, "C13"))), (
                f"C13 {step}: the field {name!r} moves unlike its process alone beside resting ones"
            )
            assert all(same(out[k], x[k]) for k in x if k != name), f"C13 {step}: a field moved"
    assert _equal(product.clock(both[0])[name], part.clock(t)), f"C13 clock of {name!r}"


def _equal(a: Any, b: Any) -> bool:
    if isinstance(b, Mapping):
        return all(_equal(a[k], b[k]) for k in b)
    return bool((a == b).all())


def _trajectory(product: Product, x0: Any, name: str, sampler: Any, rule: Any) -> None:
    part, grid = product.part(name), uniform(4)
    x = product.prior(x0).sample(derive(1, "C13 prior"))
    columns = {k: grid if k == name else grid * 0 + 0.4 for k in product.parts}
    alone = run(rule, part, blurry(part), x[name], grid, derive(1, "C13 run"))
    joint = run(sampler, product, blurry(product), x, columns, derive(1, "C13 run"))
    for one, all_ in zip(alone, joint, strict=True):
        assert same(all_.after[name], one.after), (
            f"C13 {sampler}: the field {name!r} moves differently from its process alone"
        )


@law(Case, lambda case: bool((Can.STEP | Can.VELOCITY) & case.process.can))
def C19_planned(case: Case) -> None:
    """Rows planned for a whole grid give the laws that the times themselves give.

    For bridge, transition and velocity, and every shape of grid, some of whose steps rest; draws
    are the same on both sides, results agree to 1e-10. False alarms: none.
    """
    process = case.process
    columns = ([1.0, 0.8, 0.5, 0.5, 0.2, 0.0], [1.0, 0.9, 0.7, 0.3, 0.3, 0.1])
    shapes = patterns(case.x0, case.frames, isinstance(process, Product))
    for kind, pattern in shapes.items():
        grid = stack([lookup(pattern, step) for step in zip(*columns, strict=True)])
        clocks = times(grid)
        if (Can.STEP | Can.BRIDGE) & process.can:
            rows = process.plan(grid)
            assert len(rows) == len(clocks) - 1, (
                f"C19 plan: {len(rows)} rows for {len(clocks)} times"
            )
            for row, t, s in zip(rows, clocks, clocks[1:], strict=False):
                _steps_agree(case, process, kind, row, t, s)
        if Can.VELOCITY in process.can:
            rows = process.plan_velocity(grid)
            assert len(rows) == len(clocks), f"C19 plan_velocity: {len(rows)} rows"
            for row, t in list(zip(rows, clocks, strict=True))[:-1]:
                x = process.marginal(case.x0, t).sample(derive(1, "C19 x"))
                q = certain(process, case.x0)
                error = gap(process.velocity(q, x, t, row), process.velocity(q, x, t))
                assert error < 1e-10, f"C19 velocity, {kind} times: off by {error:.2g}"


def _steps_agree(case: Case, process: Process, kind: str, row: Any, t: Any, s: Any) -> None:
    x0 = case.x0
    x = process.marginal(x0, t).sample(derive(1, "C19 x"))
    q = certain(process, x0)
    pairs = {}
    if Can.BRIDGE in process.can:
        pairs["bridge"] = process.bridge(x0, x, t, s, row), process.bridge(x0, x, t, s)
    if Can.STEP in process.can:
        pairs["transition"] = process.transition(q, x, t, s, row), process.transition(q, x, t, s)
    for name, laws in pairs.items():
        planned, direct = (each.sample(derive(1, "C19")) for each in laws)
        error = gap(planned, direct)
        assert error < 1e-10, f"C19 {name}, {kind} times: planned and direct differ by {error:.2g}"
