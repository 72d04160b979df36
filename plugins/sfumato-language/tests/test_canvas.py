"""Prompts, suffixes, gaps and lengths as one canvas, and what is said of impossible ones."""

from __future__ import annotations

import pytest
import torch

from sfumato import InputError, random
from sfumato_language.canvas import CANVAS, INSIDE, Blank, conditions, ids_of, pattern_of
from sfumato_language.tokens import Char
from sfumato_methods.discrete import Discrete, absorbing

TOKENIZER = Char(" abcdefgh")
ABOUT = {"tokenizer": TOKENIZER.facts(), "length": 12, "vocabulary": TOKENIZER.size}
M = TOKENIZER.mask


def shown(canvas):
    return [
        TOKENIZER.decode(ids[mask].tolist()).replace("\u2592", "_")
        for ids, mask in zip(canvas.data, canvas.mask, strict=True)
    ]


@pytest.mark.parametrize(
    ("values", "rows"),
    [
        ({"prompt": "ab"}, ["ab__________"] * 3),
        ({"suffix": "ab"}, ["__________ab"] * 3),
        ({"prompt": "a", "suffix": "b", "length": "5"}, ["a___b"] * 3),
        ({"text": "a[MASK*2]b[MASK]"}, ["a__b_"] * 3),
        ({"length": "2..3"}, ["__", "___", "__"]),
        ({"prompt": "a[MASK]a"}, ["a_a_________"] * 3),
    ],
)
def test_words_become_canvases(values, rows):
    found = conditions(values, 3, ABOUT)
    assert shown(found[CANVAS]) == rows
    last = max((i for i, letter in enumerate(rows[0]) if letter != "_"), default=0)
    if INSIDE in found:
        assert found[INSIDE][0].tolist() == [i < last for i in range(len(rows[0]))]
    else:
        assert last == 0


def test_a_file_gives_a_prompt_a_line_in_turn(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("a\nbcd\n")
    found = conditions({"prompt": f"@{path}", "length": "6"}, 3, ABOUT)
    assert shown(found[CANVAS]) == ["a_____", "bcd___", "a_____"]
    assert conditions({}, 3, ABOUT) == {}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"promt": "a"}, "no condition 'promt'; a model of text takes prompt, suffix"),
        ({"text": "a[MASK]", "prompt": "a"}, "goes without prompt, suffix and length"),
        ({"text": "abc"}, "the text 'abc' has no gap"),
        ({"text": "a[MASK*12]"}, "has 13 tokens, gaps included, and this model takes 12"),
        ({"prompt": "abcdefg", "suffix": "abcde"}, r"7 \+ 5 tokens and leave no room in the 12"),
        ({"prompt": "abc", "length": "3"}, "leave no room in the 3"),
        ({"length": "0"}, "takes 1 to 12 tokens"),
        ({"length": "20"}, "takes 1 to 12 tokens"),
        ({"length": "4..2"}, "in ascending order"),
        ({"length": "ten"}, "accepted are 64 and 20..60"),
        ({"prompt": "@/nowhere/at/all"}, "cannot be read"),
        ({"temperature": "0"}, "temperature=0: accepted is a positive number"),
        ({"nucleus": "1.5"}, r"nucleus=1.5: accepted is a probability in \(0, 1\]"),
        ({"nucleus": "most"}, "nucleus=most"),
        ({"guidance": "0"}, "guidance=0: accepted is a positive number"),
        ({"guidance": "2"}, "guidance=... lets a prompt weigh more, and for some text none is"),
        ({"prompt": "ab\udcff"}, r"the text 'ab\\udcff' is not UTF-8 at 2"),
        ({"prompt": "xyz"}, r"this tokenizer has no 'x' \(U\+0078\)"),
    ],
)
def test_impossible_canvases_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        conditions(values, 2, ABOUT)


def test_blanks_have_the_sizes_of_the_training():
    """Chi-square of three sizes, n = 3,000, false alarm 1e-4 (18.4 at 2 d.o.f.)."""
    blank = Blank(12, M, ((3, 10), (7, 20), (12, 70)))
    x = blank(3000, random.derive(0, "blank"))
    assert x.data.shape == (3000, 12) and bool((x.data == M).all())
    counts = torch.bincount(x.mask.sum(1), minlength=13)[[3, 7, 12]].double()
    expected = torch.tensor([300.0, 600.0, 2100.0])
    assert int(counts.sum()) == 3000 and float(((counts - expected) ** 2 / expected).sum()) < 18.4
    assert Blank(12, M)(2, random.derive(0, "blank")).mask.all()


def test_what_is_known_is_shown_from_the_first_state_on_and_padding_is_not_known():
    blank = Blank(12, M)
    canvas = conditions({"prompt": "ab", "length": "4..5"}, 2, ABOUT)[CANVAS]
    held = blank.known(canvas)
    assert held.mask.tolist() == [[True, True, False, False, False]] * 2
    start = held.start(Discrete(absorbing(M)))
    assert shown(start.sample(random.derive(0, "x"))) == ["ab__", "ab___"]
    assert blank.known(blank(2, random.derive(0, "blank"))) is None


def test_gaps_count_tokens():
    assert ids_of("[MASK]a[MASK*3]", TOKENIZER) == [M, 1, M, M, M]
    assert ids_of("", TOKENIZER) == []


def test_a_text_with_gaps_as_a_pattern():
    import re

    pattern = pattern_of("a.b [MASK*3] (c) [MASK]", ["x|y", "[z]"])
    assert re.fullmatch(pattern, "a.b x|y (c) [z]") and not re.fullmatch(pattern, "a.b x (c) [z]")
    assert not re.fullmatch(pattern, "aXb x|y (c) [z]")


@pytest.mark.parametrize("count", ["99999999999999", "9" * 5000], ids=["14", "5000"])
def test_gaps_beyond_memory_are_refused(count):
    with pytest.raises(InputError, match="more tokens than any model takes"):
        ids_of(f"a[MASK*{count}]", TOKENIZER)
