"""The processes, samplers and plugins of this repository keep the laws of the kit."""

from __future__ import annotations

import pytest
import torch

from sfumato import Ancestral, Categorical, Fields, Padded, PerPart, Product, Ragged
from sfumato_methods.discrete import (
    Blocks,
    CachedAncestral,
    Discrete,
    FirstHitting,
    JointDiscrete,
    Loop,
    MaskGIT,
    MaskReplace,
    Ordered,
    OrdinalLeaping,
    RateEuler,
    Remasking,
    TauLeaping,
    absorbing,
    band,
    marginal,
    ordinal,
    uniform,
)
from sfumato_methods.gaussian import (
    EDM,
    VE,
    VP,
    Centred,
    Cosine,
    Gaussian,
    Linear,
    SubVP,
    cosine,
    edm,
    linear,
    ve,
    vp,
)
from sfumato_methods.solvers import (
    DDIM,
    IPNDM,
    RK4,
    Angular,
    Dopri5,
    DPMSolver,
    DPMSolverAdaptive,
    DPMSolverPP,
    Euler,
    ExponentialAB,
    Heun,
    RhoAB,
    RhoRK,
    TimeAB,
    UniPC,
)
from sfumato_testing import (
    Case,
    DiagonalMixture,
    Factorised,
    FullMixture,
    PluginCase,
    SolverCase,
    Together,
    checks,
    failures,
)

FLOAT = torch.float64
DDPM = torch.linspace(1e-4, 0.02, 1000, dtype=FLOAT)  # Ho et al. 2020
SOLVERS = (Ancestral(), DDIM(), DDIM(0.5), DDIM(1.0), Euler(), Heun(), DPMSolverPP())
LINEAR = (
    DPMSolverPP(3),
    ExponentialAB(4),
    ExponentialAB(3, "noise"),
    DPMSolver(3),
    DPMSolver(2, "data"),
    TimeAB(3),
    RhoAB(3),
    IPNDM(3),
    UniPC(3),
    UniPC(2, "noise", "h"),
    Angular(3),
)

# Two items of three numbers; one item of each other kind, to be the layout of a target.
NUMBERS = torch.tensor([[0.5, -1.2, 0.3], [-0.7, 0.1, 1.5]], dtype=FLOAT)
IDS = torch.tensor([[0, 2, 1], [3, 3, 0]])
OWNER = torch.tensor([0, 0, 2, 2, 2])  # the item in the middle has no rows
ROWS = Ragged(torch.linspace(-1, 1.4, 10, dtype=FLOAT).reshape(5, 2), OWNER, 3)
ROW_IDS = Ragged(torch.tensor([0, 3, 1, 2, 2]), OWNER, 3)
MASK = torch.tensor([[True, True, False], [True, True, True]])
PLACES = Padded(torch.linspace(-1, 1.2, 12, dtype=FLOAT).reshape(2, 3, 2), MASK)
PLACE_IDS = Padded(torch.tensor([[0, 3, 1], [2, 2, 1]]), MASK)
ONE_ROWS = Ragged(ROWS.data[:3], torch.zeros(3, dtype=torch.long), 1)
ONE_ROW_IDS = Ragged(ROW_IDS.data[:3], torch.zeros(3, dtype=torch.long), 1)
ONE_PLACES = Padded(PLACES.data[:1], MASK[:1])
ONE_PLACE_IDS = Padded(PLACE_IDS.data[:1], MASK[:1])
FREQUENCIES = [0.4, 0.3, 0.2, 0.1]

VECTOR = DiagonalMixture(
    NUMBERS[:1], [torch.tensor([0.3, -0.2, 0.1])], [torch.tensor([0.5, 0.8, 0.3])]
)
MODES = DiagonalMixture(NUMBERS[:1], [-0.8, 0.6], [0.3, 0.5], [0.4, 0.6])


def known(process, x0, target, **options):
    return Case(process, x0, exact=target.denoiser(process), data=target.sample, **options)


SCHEDULES = (VP(), VE(), Linear(), Cosine(), EDM(), SubVP(), VP.from_betas(DDPM))


@checks(*(known(Gaussian(s), NUMBERS, VECTOR, samplers=SOLVERS) for s in SCHEDULES))
def test_schedules(case, check):
    check(case)


@checks(
    *(
        Case(Gaussian(s), NUMBERS, samplers=LINEAR, name=f"{type(s).__name__}-linear")
        for s in (VP(), Linear(), VP.from_betas(DDPM))
    ),
    Case(vp(), PLACES, samplers=LINEAR, name="VP-Padded-linear"),
)
def test_solvers(case, check):
    check(case)


@pytest.mark.parametrize("process", [vp(), linear()], ids=repr)
@pytest.mark.parametrize("sampler", [RK4(), RhoRK(3), Dopri5(1e-2, 1e-2), DPMSolverAdaptive()])
def test_solvers_of_several_calls_keep_all_laws_but_on_products(sampler, process):
    adaptive = isinstance(sampler, Dopri5 | DPMSolverAdaptive)
    said = failures(Case(process, NUMBERS, samplers=(sampler,), frames=not adaptive))
    assert said.keys() == {"C13"} and "needs AFFINE; Product" in said["C13"]


@checks(
    known(Gaussian(VP.from_alpha_bar((1 - DDPM).cumprod(0))), NUMBERS, MODES, name="DDPM-mixture"),
    known(linear(), NUMBERS, MODES, name="linear-mixture"),
    known(
        vp(),
        NUMBERS,
        FullMixture(
            torch.tensor([[0.5, -0.5, 0.0]]),
            torch.tensor([[[0.5, 0.2, 0.0], [0.2, 0.4, -0.1], [0.0, -0.1, 0.3]]]),
        ),
        name="point estimates",
    ),
)
def test_posteriors(case, check):
    check(case)


@checks(
    *(
        known(vp(), x0, DiagonalMixture(like, [0.2], [0.6]), samplers=SOLVERS, name=name)
        for name, x0, like in (
            ("VP-Ragged", ROWS, ONE_ROWS),
            ("VP-Padded", PLACES, ONE_PLACES),
            ("VP-one number", NUMBERS[:, 0], NUMBERS[:1, 0]),
        )
    ),
    *(
        known(
            Gaussian(VP(), Centred()),
            Centred().project(x0),
            DiagonalMixture(like, [0.0], [0.6], space=Centred()),
            samplers=SOLVERS,
            frames=False,  # noise of different strength by row has no zero mean
            name=name,
        )
        for name, x0, like in (
            ("VP-Centred-Ragged", ROWS, ONE_ROWS),
            ("VP-Centred-Padded", PLACES, ONE_PLACES),
        )
    ),
)
def test_states(case, check):
    check(case)


TOKENS = Factorised(IDS[:1], FREQUENCIES)
KERNELS = {
    "uniform": uniform(4),
    "absorbing": absorbing(4),
    "marginal": marginal(FREQUENCIES),
    "mask-replace": MaskReplace(4),
    "ordinal": ordinal(4, [0.3] * 60),
    "band": band(4, 1),
}
UNMASKING = (CachedAncestral(), FirstHitting(), Remasking(), RateEuler(), TauLeaping())
DECODING = (Ordered(noise=0.5), MaskGIT(), Remasking(Loop(), by_confidence=True))
JOINT_FORM = {
    "C12": "the joint form is no average of bridges over the posterior, so its bound is loose",
    "C15": "the joint form is no average of bridges over the posterior, so it misses the data law",
}


def joint(kernel, **options):
    """The joint form with what it asks of its denoiser: for independent ids, their frequencies."""
    law = torch.tensor(FREQUENCIES, dtype=FLOAT)
    return Case(
        JointDiscrete(kernel),
        IDS,
        exact=lambda x, t: Categorical(probs=law.expand(*x.shape, 4)),
        data=TOKENS.sample,
        **options,
    )


@checks(
    *(known(Discrete(k), IDS, TOKENS, name=f"Discrete-{name}") for name, k in KERNELS.items()),
    Case(
        Discrete(uniform(4)),
        IDS,
        samplers=(RateEuler(), TauLeaping(), OrdinalLeaping()),
        name="rates",
    ),
    joint(KERNELS["uniform"], name="JointDiscrete-uniform"),
    joint(KERNELS["marginal"], name="JointDiscrete-marginal"),
    known(JointDiscrete(KERNELS["absorbing"]), IDS, TOKENS, name="JointDiscrete-absorbing"),
    known(
        JointDiscrete(KERNELS["uniform"]),
        IDS,
        TOKENS,
        name="JointDiscrete-uniform-posterior",
        expected_failures=JOINT_FORM,
    ),
    known(
        Discrete(absorbing(4)), ROW_IDS, Factorised(ONE_ROW_IDS, FREQUENCIES), name="masked-Ragged"
    ),
    known(
        Discrete(uniform(4)),
        PLACE_IDS,
        Factorised(ONE_PLACE_IDS, FREQUENCIES),
        name="noised-Padded",
    ),
)
def test_discrete(case, check):
    check(case)


@pytest.mark.parametrize(
    ("samplers", "broken", "x0"),
    [
        (UNMASKING, {"C13"}, PLACE_IDS),
        (DECODING, {"C3", "C13"}, ROW_IDS),  # they show as many tokens in a step as they choose
        ((Blocks(CachedAncestral(), 2),), {"C3", "C13"}, IDS),  # one block after the other
    ],
    ids=["unmasking-Padded", "decoding-Ragged", "blocks-Tensor"],
)
def test_samplers_of_masks_keep_all_laws_but_on_products(samplers, broken, x0):
    said = failures(Case(Discrete(absorbing(4)), x0, samplers=samplers, frames=False))
    assert said.keys() == broken and "needs a chain that only masks" in said["C13"]


ATOMS = Product({"pos": Gaussian(VP(), Centred()), "kind": Discrete(absorbing(4))})
MOLECULES = Fields(pos=Centred().project(ROWS), kind=ROW_IDS)
MOLECULE = Together(
    {
        "pos": DiagonalMixture(ONE_ROWS, [0.0], [0.6], space=Centred()),
        "kind": Factorised(ONE_ROW_IDS, FREQUENCIES),
    }
)
SCENE = Product({"pos": vp(), "size": linear()})


@checks(
    known(
        ATOMS,
        MOLECULES,
        MOLECULE,
        samplers=(Ancestral(), PerPart({"pos": DDIM(1.0)}), PerPart({"pos": DPMSolverPP()})),
        frames=False,
        name="molecules",
    ),
    known(
        Product({"box": linear(), "tokens": Discrete(marginal(FREQUENCIES))}),
        Fields(box=PLACES, tokens=PLACE_IDS),
        Together(
            {
                "box": DiagonalMixture(ONE_PLACES, [0.2], [0.5]),
                "tokens": Factorised(ONE_PLACE_IDS, FREQUENCIES),
            }
        ),
        samplers=(Ancestral(), PerPart({"box": DDIM(1.0)}), PerPart({"box": Euler()})),
        name="boxes",
    ),
    known(
        SCENE,
        Fields(pos=ROWS, size=Ragged(ROWS.data[:, 0], OWNER, 3)),
        Together(
            {
                "pos": DiagonalMixture(ONE_ROWS, [0.2], [0.6]),
                "size": DiagonalMixture(
                    Ragged(ONE_ROWS.data[:, 0], ONE_ROWS.owner, 1), [0.1], [0.4]
                ),
            }
        ),
        samplers=SOLVERS,
        name="scenes",
    ),
    Case(
        Product({"atoms": ATOMS, "note": vp()}),
        Fields(atoms=MOLECULES, note=torch.tensor([0.1, 0.5, -1.0], dtype=FLOAT)),
        samplers=(Ancestral(), PerPart({"note": DDIM()})),
        frames=False,
        name="nested",
    ),
)
def test_products(case, check):
    check(case)


CORRELATED = FullMixture(
    torch.tensor([[0.5, -1.0]]), torch.tensor([[[0.6, 0.3], [0.3, 0.4]]], dtype=FLOAT)
)


@checks(
    *(
        SolverCase(sampler, order, process, CORRELATED)
        for sampler, order in ((DDIM(), 1), (Euler(), 1), (Heun(), 2), (DPMSolverPP(), 2))
        for process in (vp(), ve(), linear(), cosine(), edm())
    ),
    *(
        SolverCase(sampler, order, process, CORRELATED, (0.7, 0.3), halvings=12)
        for sampler, order in (
            (DPMSolverPP(3), 3),
            *((ExponentialAB(k, p), k) for k in (2, 3, 4) for p in ("data", "noise")),
            *((TimeAB(k), k + 1) for k in range(4)),
            *((RhoAB(k), k + 1) for k in (1, 2, 3)),
            *((UniPC(k, p), k + 1) for k in (1, 2, 3) for p in ("data", "noise")),
            (UniPC(2, "data", "h"), 3),
            (UniPC(2, "data", "exact"), 3),
        )
        for process in (vp(), linear())
    ),
    *(
        SolverCase(Angular(k), k, process, CORRELATED, (0.7, 0.3), steps=192, halvings=12)
        for k in (2, 3, 4)
        for process in (vp(), linear())
    ),
    *(
        SolverCase(sampler, order, process, CORRELATED)
        for sampler, order in (
            *((DPMSolver(k, p), k) for k in (2, 3) for p in ("data", "noise")),
            *((RhoRK(k), k) for k in (2, 3, 4)),
            (RK4(), 4),
        )
        for process in (vp(), linear())
    ),
)
def test_orders(case, check):
    check(case)


@checks(PluginCase("sfumato_methods.plugin"))
def test_plugins(case, check):
    check(case)
