"""Laws about derivatives: of time, of the log density, of the parameters."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sfumato import Can, Categorical, Dirac, Joint, Mixture, Product, expand, sample
from sfumato.random import derive
from sfumato.state import apply, item_sum

from ..book import law
from ..case import Case
from ..states import clone, gap, lookup, patterns, same, stack, tensors, valid
from ..toys import blurry, certain, classes_of, operations, shared

__all__ = ["C10_rates", "C9_gradients"]


@law(Case)
@torch.enable_grad()
def C9_gradients(case: Case) -> None:
    """Gradients reach what can be learned, all of it, and nothing else; they are finite.

    1. A draw of marginal, bridge and transition is differentiable in a floating x0, also where some
       items rest or stand at an end of time.
    2. Every parameter of the process gets a gradient from some law, not all of it zero; and from
       planned rows just as from times.
    3. Where neither state nor process asks for gradients, results carry none.
    4. Through a whole trajectory of every sampler, gradients reach the denoiser (also where some
       items land or rest at t = 0); for deterministic ones, the inner times of a learned grid too.

    False alarms: none.
    """
    process = case.process
    if Can.STEP in process.can and any(v.is_floating_point() for v in tensors(case.x0)):
        for sampler in case.samplers:
            _through(case, sampler)
    learned = [p for p in process.parameters() if p.requires_grad]
    reached: dict[int, bool] = {id(p): False for p in learned}
    for kind, pattern in patterns(case.x0, case.frames, isinstance(process, Product)).items():
        for end in (1.0, 0.0):
            t, s = lookup(pattern, [0.7, end, 0.4]), lookup(pattern, [0.2, end, 0.0])
            _differentiate(case, kind, t, s, learned, reached)
    missed = [n for n, p in process.named_parameters() if not reached.get(id(p), True)]
    assert not missed, f"C9 gradients: none reaches the parameters {', '.join(missed)}"
    if learned and Can.STEP in process.can:
        _planned(case, learned)


def _planned(case: Case, learned: list[Any]) -> None:
    """Gradients of the parameters through a transition, from a planned row and from its times."""
    process, grid = case.process, torch.tensor([0.8, 0.3], dtype=torch.float64)
    x = apply(process.marginal(case.x0, grid[0]).sample(derive(1, "C9 x")), Tensor.detach)
    grads = []
    for row in (process.plan(grid)[0], None):
        law = process.transition(certain(process, case.x0), x, grid[0], grid[1], row)
        total = sum((v.square().sum() for v in valid(law.sample(derive(1, "C9")))), torch.zeros(()))
        reached = (
            torch.autograd.grad(total, learned, allow_unused=True) if total.requires_grad else []
        )
        grads.append([0.0 if g is None else float(g.norm()) for g in reached])
    assert grads[0] == grads[1], (
        f"C9 plan: gradients of the parameters have norms {grads[0]} through a planned row and "
        f"{grads[1]} through its times"
    )


def _through(case: Case, sampler: Any) -> None:
    """Differentiate a trajectory by the denoiser and by the times between the ends."""
    process, denoise = case.process, blurry(case.process)
    size = torch.ones((), dtype=torch.float64, requires_grad=True)
    inner = torch.tensor([0.7, 0.3], dtype=torch.float64, requires_grad=True)
    learned = torch.cat([torch.ones(1), inner, torch.zeros(1)])
    grids = {"learned": learned} if sampler.deterministic else {}
    columns = ([1.0, 0.6, 0.3, 0.0, 0.0], [1.0, 1.0, 0.5, 0.2, 0.0])
    for kind, pattern in patterns(case.x0, case.frames, isinstance(process, Product)).items():
        grids[kind] = stack([lookup(pattern, step) for step in zip(*columns, strict=True)])

    def scaled(x: Any, t: Any) -> Any:
        return denoise(apply(x, lambda v: v * size if v.is_floating_point() else v), t)

    for kind, grid in grids.items():
        out = sample(
            process,
            scaled,
            case.x0,
            sampler=sampler,
            grid=grid,
            generator=derive(1, "C9 run"),
            grad=True,
        )
        wanted = [size, inner] if kind == "learned" else [size]
        floats = [v for v in valid(out) if v.is_floating_point()]
        total = sum((v.square().sum() for v in floats), torch.zeros(()))
        assert total.requires_grad, f"C9 {sampler}, {kind} grid: no gradient comes through"
        for g in torch.autograd.grad(total, wanted, allow_unused=True):
            assert g is not None and bool(g.isfinite().all() & (g != 0).any()), (
                f"C9 {sampler}, {kind} grid: the gradient of a trajectory is {g}"
            )


def _differentiate(
    case: Case, kind: str, t: Any, s: Any, learned: list[Any], reached: dict[int, bool]
) -> None:
    process = case.process
    x = process.marginal(case.x0, t).sample(derive(1, "C9 x"))
    x = apply(x, Tensor.detach)
    x0 = apply(case.x0, lambda v: v.clone().requires_grad_(v.is_floating_point()))
    inputs = [v for v in tensors(x0) if v.requires_grad]
    plain = operations(process, case.x0, x, t, s)
    for name, operation in operations(process, x0, x, t, s).items():
        if name not in ("marginal", "bridge", "transition"):
            continue
        if not learned:
            asks = any(v.requires_grad for v in tensors(plain[name](derive(1, "C9"))))
            assert not asks, f"C9 {name}: the result asks for gradients although nothing is learned"
        outputs = [v for v in valid(operation(derive(1, "C9"))) if v.is_floating_point()]
        wanted = [*inputs, *learned]
        total = sum((v.double().sum() for v in outputs), torch.zeros(()))
        if not wanted or not outputs or not total.requires_grad:
            assert not inputs or not outputs, f"C9 {name}: not differentiable in x0"
            continue
        grads = torch.autograd.grad(total, wanted, allow_unused=True)
        for v, g in zip(wanted, grads, strict=True):
            assert g is None or bool(g.isfinite().all()), (
                f"C9 {name}, {kind} times: a gradient is not finite"
            )
            if id(v) in reached and g is not None and bool((g != 0).any()):
                reached[id(v)] = True


_TIMES = (0.2137, 0.5391, 0.8713)
_NUDGE = 1e-5


@law(Case, lambda case: bool((Can.VELOCITY | Can.SCORE) & case.process.can))
@torch.enable_grad()
def C10_rates(case: Case) -> None:
    """The velocity is the derivative of the flow, the score that of the log density.

    1. Told x0, `velocity` at x_t is dx_t/dt of marginal(x0, t) with its draws held fixed: a central
       difference with step 1e-5, to 1e-5 of the largest entry. Where a state has helper variables
       its draws may turn within the law, so there it is the equation of continuity that has to
       hold: d log p/dt + div velocity + velocity . grad log p = 0, to 1e-5 of its terms.
    2. For data that is x0, -x0 or x0/2 (of ids, x0 or what stands beside it), `score` with the
       posterior (the mixture of these points where the process accepts one, else their mean) is the
       gradient of log p_t(x), by automatic differentiation of the marginal density; to 1e-8.

    At three times. False alarms: none.
    """
    process, x0 = case.process, case.x0
    for t in _TIMES:
        x = process.marginal(x0, shared(t)).sample(derive(1, "C10"))
        if Can.VELOCITY in process.can and not same(process.project(x), x):
            error = _continuity(process, x0, x, t)
            assert error < 1e-5, (
                f"C10 velocity at t = {t}: the equation of continuity is off by {error:.2g} of its "
                "terms"
            )
        elif Can.VELOCITY in process.can:
            after, before = (
                process.marginal(x0, shared(t + h)).sample(derive(1, "C10"))
                for h in (_NUDGE, -_NUDGE)
            )
            want = (after - before) * (0.5 / _NUDGE)
            got = process.velocity(certain(process, x0), x, shared(t))
            error = _relative(got, want)
            assert error < 1e-5, (
                f"C10 velocity at t = {t}: differs from the finite difference by {error:.2g} of "
                "its size"
            )
        if Can.SCORE in process.can:
            error = _relative(*_scores(process, x0, x, t))
            assert error < 1e-8, (
                f"C10 score at t = {t}: differs from the gradient of log p_t by {error:.2g} of its "
                "size"
            )


def _continuity(process: Any, x0: Any, x: Any, t: float) -> float:
    """Largest error of d log p/dt + div velocity + velocity . grad log p, relative to its terms."""
    x = apply(clone(x), lambda v: v.detach().requires_grad_())
    after, before = (-process.marginal(x0, shared(t + h)).nll(x) for h in (_NUDGE, -_NUDGE))
    grow = (after - before) * (0.5 / _NUDGE)
    log_p = -process.marginal(x0, shared(t)).nll(x)
    grads = iter(torch.autograd.grad(log_p.sum(), tensors(x)))
    velocity = process.velocity(certain(process, x0), x, shared(t))
    carried = item_sum(velocity * apply(x, lambda v: next(grads)))
    slopes = iter([_slopes(u, v) for u, v in zip(tensors(velocity), tensors(x), strict=True)])
    widened = item_sum(apply(x, lambda v: next(slopes)))
    # an item without rows has no terms
    size = torch.stack([grow, carried, widened]).abs().sum(0).clamp_min(1e-300)
    return float(((grow + carried + widened).abs() / size).detach().max())


def _slopes(u: Tensor, x: Tensor) -> Tensor:
    """The slope of each entry of u in the same entry of x."""
    found = [
        torch.autograd.grad(entry, x, retain_graph=True)[0].flatten()[i]
        for i, entry in enumerate(u.flatten())
    ]
    return torch.stack(found).reshape(x.shape)


def _relative(got: Any, want: Any) -> float:
    """Largest difference relative to the largest entry of its tensor; inf where kinds differ."""
    if math.isinf(gap(got, want)):
        return math.inf
    worst = 0.0
    for u, v in zip(valid(got), valid(want), strict=True):
        u, v = u.detach(), v.detach()
        worst = max(worst, float((u - v).abs().max() / v.abs().max()))
    return worst


def _scores(process: Any, x0: Any, x: Any, t: float) -> tuple[Any, Any]:
    """Score from the posterior, and gradient of log p_t, for data on three points."""
    time = shared(t)
    points = _points(x0)
    x = apply(clone(x), lambda v: v.requires_grad_())
    log_p = torch.stack([-process.marginal(point, time).nll(x) for point in points], 1)
    grads = iter(torch.autograd.grad(log_p.logsumexp(1).sum(), tensors(x)))
    want = apply(x, lambda v: next(grads))
    weights = log_p.detach().softmax(1)
    q = _posterior(points, weights, process)
    return process.score(q, apply(x, Tensor.detach), time), want


def _points(x0: Any) -> list[Any]:
    if all(v.is_floating_point() for v in tensors(x0)):
        return [x0, -x0, x0 * 0.5]
    return [x0, *(apply(x0, lambda v, d=d: v.roll(1, d)) for d in (0, -1))]


def _posterior(points: list[Any], weights: Tensor, process: Any) -> Any:
    if isinstance(process, Product):  # of each field: a score does not see how fields depend
        parts = process.parts
        return Joint(
            {k: _posterior([p[k] for p in points], weights, process.part(k)) for k in parts}
        )
    classes = classes_of(process.prior(points[0]))
    if classes:  # a score is linear in the probabilities of each place
        each = [apply(p, lambda i: F.one_hot(i, classes).double()) for p in points]
        weighted = [p * expand(p, w) for p, w in zip(each, weights.unbind(1), strict=True)]
        return Categorical(probs=sum(weighted[1:], start=weighted[0]))
    mixture = Mixture(weights, [Dirac(p) for p in points])
    return mixture if issubclass(Mixture, process.accepts) else Dirac(mixture.mean)
