"""Keys of samples."""

from __future__ import annotations

from sfumato_eval.names import Names


def test_names_are_joined_and_those_of_what_is_not_valid_are_left_out():
    both = Names(("a", "")) + Names(("b", "a"))
    assert both.keys == ("a", "", "b", "a")
    assert both.n == 4
    assert both.valid == ("a", "b", "a")
