"""Patterns: automata against Python's `re`, and texts that samplers draw under them."""

from __future__ import annotations

import itertools
import re

import pytest
import torch

from sfumato import InputError, Unsupported
from sfumato_language.canvas import conditions
from sfumato_language.patterns import automaton
from sfumato_language.samples import texts_of
from sfumato_language.tokens import Byte, Char, Json
from sfumato_train import draw

pytest.importorskip("interegular")


def facts(tokenizer):
    return {"tokenizer": tokenizer.facts(), "vocabulary": tokenizer.size, "length": 6}


def taken(found, ids) -> bool:
    state = 0
    for i in ids:
        if state == len(found.next):
            return False
        state = int(found.next[state, found.kind[i]])
    return state < len(found.next) and bool(found.accepts[state])


@pytest.mark.parametrize("pattern", ["a*b|c", "(ab|\u00e9c)+", ".b?[^a]", "a{2,3}"])
def test_an_automaton_takes_what_re_matches(pattern):
    tokenizer = Char("abc\u00e9")
    found = automaton(pattern, facts(tokenizer))
    for size in range(5):
        for ids in itertools.product(range(4), repeat=size):
            expected = re.fullmatch(pattern, tokenizer.decode(list(ids))) is not None
            assert taken(found, ids) == expected
            assert taken(found, (*ids, tokenizer.eos, 0, 3)) == expected, "behind the end: anything"


def test_states_that_lead_nowhere_are_left_out():
    for tokenizer in (Char("ab\u00e9"), Byte()):
        assert len(automaton("a{2,3}", facts(tokenizer)).next) == 5, "0 to 3 letters, and the end"


def test_tokens_of_several_or_half_a_character():
    tokenizer = Json.trained(["the caf\u00e9 of the caf\u00e9"] * 9, 262)
    found = automaton("the (caf\u00e9|tea)!?", facts(tokenizer))
    assert max(map(len, tokenizer.pieces().values())) > 1
    for text, fits in (("the caf\u00e9!", True), ("the tea", True), ("the cafe", False)):
        assert taken(found, tokenizer.encode(text).tolist()) == fits
    assert b"".join(tokenizer.pieces()[i] for i in tokenizer.encode("the caf\u00e9")).decode() == (
        "the caf\u00e9"
    )
    found = automaton("\u00e9{2}", facts(Byte()))
    assert taken(found, Byte().encode("\u00e9\u00e9").tolist())
    assert not taken(found, Byte().encode("\u00e9\u00e8").tolist())
    found = automaton(".", facts(Byte()))
    for text in ("a", "\u00e9", "\u20ac", "\ud55c", "\U0001f600", "\U0010fffd"):
        assert taken(found, list(text.encode())) and not taken(found, list(text.encode()[:-1]))
    for wrong in (
        b"\x80",
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\n",
    ):
        assert not taken(found, list(wrong)), "no character in UTF-8, or the end of a line"


@pytest.mark.parametrize(
    "sampler", ["first-hitting", "cached-ancestral", "margin", "confident", "maskgit", "remdm"]
)
def test_texts_match(run, sampler):
    regex = r"The [a-z]+ was (sold|closed) on day [0-4]\."
    values = {"prompt": "The ", "pattern": regex, "length": "30..34", "temperature": "0.9"}
    asked = run.domain.condition(values, 5, run.about)
    made = draw(run.model(), 5, condition=asked, sampler=sampler, steps=3, seed=2)
    texts = texts_of(made, run.about)
    assert all(re.fullmatch(regex, text) for text in texts), texts
    one = run.domain.condition({**values, "length": "33"}, 1, run.about)
    alone = draw(run.model(), 1, condition=one, sampler=sampler, steps=3, seed=2, first=3)
    assert texts_of(alone, run.about)[0] == texts[3]


def test_what_cannot_be_is_told(run):
    for regex in ("(", "[0-9", "(?=a)b(?<=b)a"):
        with pytest.raises(InputError, match=r"pattern=.* cannot be read: \S"):
            run.domain.condition({"pattern": regex}, 1, run.about)
    asked = conditions({"pattern": "\u0416+"}, 1, run.about)
    with pytest.raises(InputError, match="item 0 cannot be filled as its pattern asks"):
        draw(run, 1, condition=asked)
    asked = conditions({"prompt": "The", "pattern": "s.*"}, 1, run.about)
    with pytest.raises(InputError, match="item 0 cannot be filled as its pattern asks"):
        draw(run, 1, condition=asked)
    asked = conditions({"pattern": "T.*"}, 1, run.about)
    with pytest.raises(Unsupported, match="takes each by itself"):
        draw(run, 1, condition=asked, sampler="ancestral")


def test_words_have_no_bytes_of_their_own():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    words = Json(Tokenizer(WordLevel({"a": 0, "b": 1}, "a")).to_str())
    with pytest.raises(InputError, match="the bytes of single tokens are known of"):
        automaton("a", facts(words))


def test_a_pattern_of_a_model_of_pairs_is_about_the_response(run):
    about = {**run.about, "opening": "", "separator": " ", "examples": ["The school was"]}
    asked = conditions({"pattern": "sold.*"}, 2, about)
    made = draw(run, 2, condition=asked, seed=1)
    assert all(t.startswith("The school was sold") for t in texts_of(made, run.about))
    assert torch.equal(asked["pattern_begin"], torch.tensor([15, 15]))


@pytest.mark.parametrize("pattern", ["(a{1000}){1000}", "((b|a{5000}){5000})*", "(ab){5001,}"])
def test_repeats_of_repeats_are_refused_before_they_are_written_out(pattern):
    with pytest.raises(InputError, match="repeats more than 10000 letters"):
        automaton(pattern, facts(Char("ab")))
