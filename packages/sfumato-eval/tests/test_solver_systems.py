"""The systems of deterministic solvers: their bench is exact, and their trials repeat."""

from __future__ import annotations

import pytest
import torch

from sfumato.survey import Trial
from sfumato_eval.systems import deis, dpmsolver, ld3
from sfumato_eval.systems.mixture16 import SIGMA_MIN, Bench
from sfumato_methods.grids import logsnr
from sfumato_methods.solvers import RK4, ExponentialAB


def test_the_fine_solution_is_fine():
    bench = Bench(0, 0.05)
    finer = bench.sampled(RK4(), logsnr(bench.process, 600, SIGMA_MIN, 1e3))
    assert float((bench.fine - finer).abs().max()) < 1e-5
    assert bench.error(ExponentialAB(4), logsnr, 400) < 1e-3


@pytest.mark.parametrize("module", [deis, dpmsolver, ld3])
def test_each_claim_is_measured_and_a_seed_repeats(module, tmp_path):
    given = Trial(seed=1, scale=0.05, device="cpu", scratch=tmp_path, minutes=5)
    found = module.system.trial(given)
    assert {claim.key for claim in module.system.claims} <= found.keys()
    assert all(0 < m.method < 3 and m.n == 50 for m in found.values())
    again = module.system.trial(given)
    assert [m.method for m in again.values()] == [m.method for m in found.values()]
    assert torch.get_default_dtype() == torch.float32
