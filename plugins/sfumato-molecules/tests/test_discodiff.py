"""The trial of docking with discrete latents, in small."""

from __future__ import annotations

from sfumato.survey import Trial
from sfumato_molecules.systems.discodiff import system


def test_the_trial_runs_in_small(tmp_path):
    found = system.trial(Trial(100, 0.004, "cpu", tmp_path, 1.0))
    assert set(found) == {claim.key for claim in system.claims}
    assert 0 <= found["success"].method <= 1 and 0 <= found["success"].baseline <= 1
    assert found["curvature"].method > 0 and found["curvature"].baseline > 0
    assert 0 < found["entropy"].method <= 1
