"""Words of the command line as recipes."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import Field

from sfumato import InputError
from sfumato_train import Settings, parse_words


class Example(Settings):
    widths: tuple[int, ...] = (1, 2)
    seedling: int | None = Field(3, ge=1)
    flag: bool = False
    kind: Literal["a", "b"] = "a"


def test_words_become_values_of_their_types():
    found = parse_words(
        Example, ["steps=7", "lr=1e-3", "widths=4,5", "seedling=none", "flag=true", "kind=b"]
    )
    assert (found.steps, found.lr, found.widths) == (7, 1e-3, (4, 5))
    assert (found.seedling, found.flag, found.kind) == (None, True, "b")
    assert parse_words(Example, ["widths=[4, 5]"]).widths == (4, 5)
    assert parse_words(Example, [], {"steps": 9}).steps == 9
    assert parse_words(Example, ["steps=8"], {"steps": 9}).steps == 8


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("steps", "'steps' is not a recipe field, which is written key=value"),
        ("stpes=3", "there is no field 'stpes'; did you mean steps"),
        ("zzz=3", "there is no field 'zzz'; there is seed, steps"),
        ("steps=abc", r"steps=abc: .*valid integer.*\(accepted: int >= 1\)"),
        ("steps=0", r"steps=0: .*greater than or equal to 1.*\(accepted: int >= 1\)"),
        ("lr=nan", "lr=nan: .*finite"),
        ("ema=1", r"ema=1: .*less than 1.*\(accepted: float >= 0 and < 1\)"),
        ("precision=fp16", "precision=fp16: .*'auto', 'fp32' or 'bf16'"),
        ("widths=[4,", "widths=.* is not valid JSON"),
        ("widths=4,x", "widths.1=x: .*integer"),
    ],
)
def test_bad_words_get_one_sentence(word, message):
    with pytest.raises(InputError, match=message) as caught:
        parse_words(Example, [word])
    assert "\n" not in str(caught.value)


def test_a_field_is_named_once():
    with pytest.raises(InputError, match="'steps' is given twice"):
        parse_words(Example, ["steps=1", "steps=2"])


def test_several_errors_are_all_told():
    with pytest.raises(InputError, match="steps=0.*; .*lr=-1"):
        parse_words(Example, ["steps=0", "lr=-1"])


def test_a_recipe_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Example().steps = 3
