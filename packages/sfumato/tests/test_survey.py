"""Claims: bounds that are fixed beforehand and that NaN never meets."""

import math

import pytest

from sfumato import Claim, InputError, Measured


def test_a_claim_is_a_bound_on_a_ratio():
    assert Claim("faster", "time", at_most=0.5).holds(0.5)
    assert not Claim("faster", "time", at_most=0.5).holds(0.51)
    assert Claim("more", "count", at_least=2.0).holds(2.0)
    assert not Claim("more", "count", at_least=2.0).holds(1.9)


def test_a_number_that_is_none_reproduces_nothing():
    ratio = Measured(method=1.0, baseline=0.0, floor=None, n=3, cost=1.0).ratio
    assert math.isnan(ratio)
    assert not Claim("a", "k", at_most=1.0).holds(ratio)
    assert not Claim("a", "k", at_least=1.0).holds(ratio)
    assert Measured(method=1.0, baseline=4.0, floor=0.1, n=3, cost=1.0).ratio == 0.25


@pytest.mark.parametrize("bounds", [{}, {"at_most": 1.0, "at_least": 0.5}])
def test_a_claim_has_one_bound(bounds):
    with pytest.raises(InputError, match="either at_most or at_least"):
        Claim("says", "key", **bounds)
