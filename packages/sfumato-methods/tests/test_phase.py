"""Coupled states: the kit's laws, closed forms, bounds, and what is refused."""

from __future__ import annotations

import torch

from sfumato import (
    Ancestral,
    Padded,
    Ragged,
)
from sfumato_methods.gaussian import (
    VP,
    Frequencies,
    InBands,
    agm,
    alda,
    blurring,
    cld,
    malda,
    pfgmpp,
)
from sfumato_methods.gaussian.bands import aligned, dct
from sfumato_methods.solvers import Euler, Heun
from sfumato_testing import Case, DiagonalMixture, checks

FLOAT = torch.float64
X0 = torch.tensor([[0.5, -1.2, 0.3], [-0.7, 0.1, 1.5]], dtype=FLOAT)
ONE = DiagonalMixture(X0[:1], [torch.tensor([0.3, -0.2, 0.1])], [torch.tensor([0.5, 0.8, 0.3])])
TWO = DiagonalMixture(X0[:1], [-0.8, 0.6], [0.3, 0.5], [0.4, 0.6])
OWNER = torch.tensor([0, 0, 2, 2, 2])
ROWS = Ragged(torch.linspace(-1, 1.4, 10, dtype=FLOAT).reshape(5, 2), OWNER, 3)
PLACES = Padded(
    torch.linspace(-1, 1.2, 12, dtype=FLOAT).reshape(2, 3, 2),
    torch.tensor([[True, True, False], [True, True, True]]),
)


def observing(process, target):
    """The exact denoiser of a target, which sees what the coupled state shows of the data."""
    inner = target.denoiser(process.observed)
    return lambda u, t: inner(process.observe(u, t), t)


def known(process, target=ONE, x0=X0, **options):
    exact = observing(process, target) if target else None
    return Case(process, x0, exact=exact, data=target and target.sample, **options)


ALL = (Ancestral(), Euler(), Heun())


@checks(
    known(cld(), samplers=ALL, name="cld"),
    known(alda(), samplers=ALL, name="alda"),
    known(malda(), samplers=ALL, name="malda"),
)
def test_families(case, check):
    check(case)


IMAGES = torch.tensor([[0.5, -1.2, 0.3, 0.8], [-0.7, 0.1, 1.5, -0.2]], dtype=FLOAT).reshape(
    2, 1, 2, 2
)


def in_bands(process, std=0.6):
    """Exact posterior of independent normals, whose cosine transform is such normals again."""

    def exact(x, t):
        target = DiagonalMixture(IMAGES[:1], [0.0], [std])
        y = dct(x)
        return InBands(target.denoiser(process.bands(x))(y, aligned(x, t)))

    return Case(
        process,
        IMAGES,
        exact=exact,
        data=DiagonalMixture(IMAGES[:1], [0.0], [std]).sample,
        samplers=ALL,
    )


@checks(
    known(agm(), samplers=ALL, name="agm"),
    known(pfgmpp(4.0), target=None),
    in_bands(blurring()),
    in_bands(Frequencies(VP(), colour=-1.0)),
)
def test_relatives(case, check):
    check(case)
