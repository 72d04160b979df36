"""Laws about distributions: the bridge, the prior, the bound and what sampling ends in."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from sfumato import (
    Ancestral,
    Can,
    Categorical,
    Implicit,
    Joint,
    Normal,
    Unsupported,
    elbo,
    kl,
    sample,
)
from sfumato.random import derive
from sfumato.state import item_count, items

from ..book import law
from ..case import Case
from ..states import same
from ..statistics import compare, z_bound
from ..toys import shared, uniform

__all__ = ["C12_bound", "C15_data_law", "C1_bridge_law", "C2_prior"]

_COPIES = 10_000
_PAIRS = (
    *((1.0, 0.9), (1.0, 0.5), (1.0, 1e-3), (0.9, 0.6), (0.7, 0.5)),
    *((0.5, 0.45), (0.3, 0.2), (0.1, 0.05), (0.3, 1e-3)),
)
_PRIOR_NATS = 1e-3


@law(Case, lambda case: Can.BRIDGE in case.process.can)
def C1_bridge_law(case: Case) -> None:
    """A draw of bridge(x0, x_t, t -> s) with x_t from marginal(x0, t) has the law marginal(x0, s).

    Test: for nine pairs (t, s), near and far and from the prior, means of bounded features (tanh of
    standardised numbers, indicators of classes) and of all products of two, on 10,000 copies.
    False alarms: 1e-6 by Bonferroni; the seed is fixed. Power: a difference of a tenth of a
    standard deviation in one mean.
    """
    case = case.copies(_COPIES)
    process, x0 = case.process, case.x0
    for t, s in _PAIRS:
        generator = derive(1, "C1", case.name, str(t), str(s))
        x = process.marginal(x0, shared(t)).sample(generator)
        got = process.bridge(x0, x, shared(t), shared(s)).sample(generator)
        want = process.marginal(x0, shared(s)).sample(generator)
        compare(f"C1 bridge from {t} to {s}", got, want, _COPIES, len(_PAIRS))


@law(Case)
def C2_prior(case: Case) -> None:
    """marginal(x0, 1) is the prior, whatever x0.

    Test: KL(marginal(x0, 1) || prior) of each item is at most 1e-3 nats per element where it has a
    closed form (no false alarms); else as C1 on 10,000 copies, means within 0.03 (1e-6).
    """
    process, end = case.process, shared(1.0)
    try:
        nats = kl(process.marginal(case.x0, end), process.prior(case.x0))
        nats = nats / item_count(case.x0).clamp_min(1)
    except Unsupported:
        case, generator = case.copies(_COPIES), derive(1, "C2", case.name)
        got = case.process.marginal(case.x0, end).sample(generator)
        want = case.process.prior(case.x0).sample(generator)
        compare("C2 marginal at t = 1 and prior", got, want, _COPIES, slack=0.03)
        return
    assert bool((nats.abs() <= _PRIOR_NATS).all()), (
        f"C2 prior: KL(marginal(x0, 1) || prior) is {nats.tolist()} nats per element for the "
        f"items, at most {_PRIOR_NATS} is accepted"
    )


def _has_closed_kl(case: Case) -> bool:
    """Whether the exact posterior is of a kind that a closed-form bound exists for."""
    if Can.LIKELIHOOD not in case.process.can or case.exact is None:
        return False
    return _closed(case.exact(case.process.prior(case.x0).sample(derive(1, "probe")), shared(1.0)))


def _closed(q: Any) -> bool:
    if isinstance(q, Joint):
        return all(map(_closed, q.parts.values()))
    return isinstance(q, Normal | Categorical)


@law(Case, _has_closed_kl)
def C12_bound(case: Case) -> None:
    """With the exact denoiser `elbo` is the exact -log p(x0), for every number of steps.

    In one step it is so by definition, KL(q(x_1|x_0) || prior) + E[-log p(x_0|x_1)]; in 2 and 8
    steps it has to stay there. A transition that is not the bridge integrated over the posterior,
    variance included, makes it larger.

    Test: means of 4,000 draws for each item, two-sided z with Bonferroni's bound. False alarms:
    1e-6. Power: about 0.1 nats.
    """
    copies = 4000
    case = case.copies(copies)
    assert case.exact is not None
    generator = derive(1, "C12", case.name)
    mean, error = {}, {}
    for steps in (1, 2, 8):
        nats = elbo(case.process, case.exact, case.x0, uniform(steps), generator)
        nats = nats.detach().reshape(copies, -1)
        assert bool(nats.isfinite().all()), f"C12 bound in {steps} steps: not finite"
        mean[steps], error[steps] = nats.mean(0), nats.std(0) / copies**0.5
    bound = z_bound(2 * mean[1].numel())
    for steps in (2, 8):
        spread = (error[1].square() + error[steps].square()).sqrt() + 1e-9
        z = (mean[steps] - mean[1]) / spread
        assert float(z.abs().max()) <= bound, (
            f"C12 bound: {mean[steps].tolist()} nats in {steps} steps, but -log p(x0) is "
            f"{mean[1].tolist()} (worst z = {float(z.abs().max()):.1f}, bound {bound:.1f})"
        )


@law(Case, lambda case: Can.STEP in case.process.can and None not in (case.exact, case.data))
def C15_data_law(case: Case) -> None:
    """Ancestral sampling with the exact denoiser reproduces the data law.

    With a whole posterior in any number of steps (here 2 and 7), since the transition is the bridge
    integrated over it; with a point estimate as steps grow (here 200, means within 0.03). The same
    posterior known only by its draws must do as well.

    Test: as C1, on 10,000 samples from the prior against 10,000 draws of the data. False alarms:
    1e-6.
    """
    assert case.data is not None
    want = case.data(_COPIES, derive(1, "C15 data", case.name))
    case = case.among(torch.arange(_COPIES) % items(case.x0))
    assert case.exact is not None
    process, exact = case.process, case.exact
    first = exact(process.prior(want).sample(derive(1, "C15 first")), shared(1.0))
    whole = _spreads(first)
    runs: list[tuple[str, Any, int]] = [("", exact, n) for n in ((2, 7) if whole else (200,))]
    if whole and Implicit in process.accepts:
        runs.append((" known by its draws", functools.partial(_by_draws, exact), 2))
    for kind, denoiser, steps in runs:
        generator = derive(1, "C15", case.name, kind, steps)
        got = sample(
            process,
            denoiser,
            want,
            sampler=Ancestral(),
            grid=uniform(steps),
            generator=generator,
        )
        what = f"C15 samples in {steps} steps with the exact posterior{kind}"
        slack = 0 if whole else 0.03
        compare(what, got, want, _COPIES, len(runs), slack)


def _spreads(q: Any) -> bool:
    """Whether a posterior is more than a point estimate: two draws of it differ."""
    return not same(*(q.sample(derive(1, "C15 whole", i)) for i in range(2)))


def _by_draws(exact: Any, x: Any, t: Tensor) -> Implicit:
    return Implicit(exact(x, t).sample)
