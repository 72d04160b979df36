"""Sizes in words."""

from __future__ import annotations

import pytest

from sfumato import InputError
from sfumato_data.asking import spans


def test_numbers_and_spans_come_in_their_order():
    assert spans("nodes", "12", "nodes") == [range(12, 13)]
    assert spans("nodes", "9..11, 4", "nodes") == [range(9, 12), range(4, 5)]
    with pytest.raises(InputError, match=r"nodes=3,9\.\.4: 9\.\.4 ends before it begins"):
        spans("nodes", "3,9..4", "nodes")


@pytest.mark.parametrize("text", ["", "x", "-3", "3..", "..3", "1.5", "3...5", "²", "1234567"])
def test_what_is_no_number_is_told(text):
    with pytest.raises(InputError, match="is no number of nodes, such as 12 or 9..20"):
        spans("nodes", text, "nodes")
