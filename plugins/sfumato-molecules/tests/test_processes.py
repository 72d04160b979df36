"""The processes of molecules keep the laws of the kit; laws, sizes and units are the data's."""

from __future__ import annotations

import pytest
import torch

from sfumato import Fields, InputError, Ragged, random
from sfumato_methods.gaussian import Centred, Cosine
from sfumato_molecules.process import ConformerProcess, Late, MoleculeProcess
from sfumato_molecules.space import ORDERS, Placed, blank
from sfumato_testing import Case, checks


def state(seed=0):
    """Molecules of 3, 1 and 4 atoms."""
    x = blank(torch.tensor([3, 1, 4]))
    generator = random.derive(seed, "state")
    places = Centred().project(random.normal(x["positions"], generator))
    atoms = Ragged(torch.tensor([0, 1, 1, 2, 0, 0, 1, 2]), x["atoms"].owner, 3)
    bonds = Ragged(torch.tensor([1, 2, 0, 1, 0, 3, 0, 0, 1]), x["bonds"].owner, 3)
    return Fields(positions=places, atoms=atoms, bonds=bonds)


def filled(orders=ORDERS):
    process = MoleculeProcess(3, orders, 4)
    process.fill(state())
    return process


def bare():
    return Fields({k: v for k, v in state().items() if k != "bonds"})


@checks(
    Case(filled(), state(), frames=False, name="bonds"),
    Case(filled(0), bare(), frames=False, name="no bonds"),
)
def test_conformance(case, check):
    check(case)


def test_laws_and_sizes_are_those_of_the_data():
    process = filled()
    law = process.law("atoms"), process.law("bonds")
    torch.testing.assert_close(law[0], torch.tensor([3, 3, 2]).double() / 8)
    torch.testing.assert_close(law[1], torch.tensor([4, 3, 1, 1]).double() / 9)
    torch.testing.assert_close(process.sizes.shares, torch.tensor([0, 1, 0, 1, 1]).double() / 3)


def test_a_late_schedule_is_the_other_one_at_a_power_of_the_time():
    late, plain = Late(Cosine(), 2.5), Cosine()
    t = torch.linspace(0.05, 0.95, 19, dtype=torch.float64, requires_grad=True)
    u = t.detach() ** 2.5
    for name in ("alpha", "sigma", "logsnr"):
        found = getattr(late, name)(t)
        torch.testing.assert_close(found.detach(), getattr(plain, name)(u), rtol=0, atol=0)
    torch.testing.assert_close(late.time(late.logsnr(t.detach())), t.detach())
    for rate, value in zip(late.rates(t.detach()), (late.alpha(t), late.sigma(t)), strict=True):
        (slope,) = torch.autograd.grad(value.sum(), t, retain_graph=True)
        torch.testing.assert_close(rate, slope)


def test_the_codec_brings_places_to_unit_variance_and_back():
    codec, x = Placed(), state()
    x = Fields({**x, "positions": x["positions"] * 3.0})
    codec.fill(x)
    z = codec.encode(x, torch.Generator())
    square = float((z["positions"].data ** 2).sum() / (2 * 3 + 0 + 3 * 3))
    assert square == pytest.approx(1, abs=1e-6)
    back = codec.decode(z)
    torch.testing.assert_close(back["positions"].data, x["positions"].data)
    assert back["bonds"] is x["bonds"]


def test_atoms_and_bonds_of_conformers_are_never_noised():
    process, x = ConformerProcess(4), state()
    t = torch.tensor([0.2, 0.5, 1.0]).double()
    noised = process.draw(x, t, random.derive(1, "noise"))
    start = process.prior(x).sample(random.derive(1, "prior"))
    for name in ("atoms", "bonds"):
        assert torch.equal(noised.x[name].data, x[name].data)
        assert torch.equal(start[name].data, x[name].data)
    assert not torch.equal(noised.x["positions"].data, x["positions"].data)


def test_examples_are_molecules_of_the_data():
    process, x = ConformerProcess(4), state()
    process.examples.fill(x)
    made = process.examples.blank(60, random.derive(0, "blank"))
    own = {_told(x, i) for i in range(3)}
    assert {_told(made, i) for i in range(60)} == own
    assert not made["positions"].data.any()


def _told(x, item):
    return tuple(tuple(x[k].data[x[k].owner == item].tolist()) for k in ("atoms", "bonds"))


def test_no_molecule_is_empty():
    with pytest.raises(InputError, match="at least one atom, but 0"):
        blank(torch.tensor([3, 0]))
