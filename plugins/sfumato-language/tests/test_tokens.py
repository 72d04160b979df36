"""Tokenizers: there and back, new ids for end and mask, kept with the run and checked."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sfumato import InputError
from sfumato_language import piecewise
from sfumato_language.tokens import MASK, Byte, Char, Foreign, Json, Text8, made, rebuilt
from sfumato_language.windows import read


@given(st.text())
def test_bytes_and_characters_round_trip_for_any_text(text):
    for tokenizer in (Byte(), Char.of([text, "ab"])):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert (ids < tokenizer.eos).all() and tokenizer.mask == tokenizer.eos + 1


def test_text8_has_27_symbols():
    tokenizer = Text8()
    assert tokenizer.size == 28
    assert tokenizer.decode(tokenizer.encode("It's 42,  Émile!")) == "it s four two mile "


def test_bpe_is_trained_round_trips_and_is_the_same_again(lines):
    tokenizer = Json.trained(lines, 300)
    assert 256 < tokenizer.size - 1 <= 300
    ids = tokenizer.encode(lines[3])
    assert tokenizer.decode(ids) == lines[3] and len(ids) < len(lines[3])
    assert tokenizer.decode(tokenizer.encode("never seen: é≠☃")) == "never seen: é≠☃"
    assert Json.trained(lines, 300).facts() == tokenizer.facts()


def _wordpiece():
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    words = ["[UNK]", *"abcdefghij", *(f"##{c}" for c in "abcdefghij"), "ab", "##cd", "\u00e9"]
    made = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return Json(made.to_str())


def _unigram():
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<unk>", "\u2581", *"abcdefghij", "ab", "abc", "cde", "\u2581ab", "\u2581abc", "eff"]
    made = Tokenizer(models.Unigram([(w, -1.0 - i / 9) for i, w in enumerate(words)], unk_id=0))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    return Json(made.to_str())


LONG = {
    "bpe": lambda: Json.trained(["abc abd \n\n bee bee abc \u00e9\u00e9 \U0001f600"] * 9, 290),
    "wordpiece": _wordpiece,
    "unigram": _unigram,
    "words without an end": lambda: Json.trained(["ab" * 99], 290),
}


@pytest.mark.parametrize("name", LONG)
def test_a_long_text_has_the_tokens_that_it_has_at_once(name, monkeypatch):
    """In pieces of 400 characters that share 200, or as a whole where these do not agree."""
    tokenizer = LONG[name]()
    draws = np.random.default_rng(0)
    words = ["abc", "abd", "bee", "cdeff", "\u00e9", "\U0001f600", "ab", " ", "\n\n", "A", "\t "]
    texts = [" ".join(draws.choice(words, size=n)) for n in (300, 900, 2000)] + ["ab" * 1500]
    texts += ["".join(draws.choice(list("abcde"), size=3000)), "", "ab" * 300]
    whole = [tokenizer.encode(text).tolist() for text in texts]
    monkeypatch.setattr(piecewise, "PIECE", 400)
    monkeypatch.setattr(piecewise, "SHARED", 200)
    sizes = []
    library = Json._encoded

    def counted(self, text):
        sizes.append(len(text))
        return library(self, text)

    monkeypatch.setattr(Json, "_encoded", counted)
    assert [tokenizer.encode(text).tolist() for text in texts] == whole
    sizes.clear()
    tokenizer.encode(texts[2])
    assert max(sizes) == 600 and len(sizes) > 8


def test_ids_with_gaps_are_not_counted():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    found = Json(Tokenizer(WordLevel({"a": 0, "b": 7}, unk_token="a")).to_str())
    assert (found.size, found.eos, found.mask) == (9, 8, 9)


def test_padding_cutting_and_special_tokens_of_a_file_are_off(tmp_path):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing

    library = Tokenizer(WordLevel({"[MASK]": 0, "[PAD]": 1, "a": 2, "[UNK]": 3}, "[UNK]"))
    library.pre_tokenizer = Whitespace()
    library.enable_padding(pad_id=0, length=8)
    library.enable_truncation(2)
    library.post_processor = TemplateProcessing(single="[MASK] $A", special_tokens=[("[MASK]", 0)])
    library.save(str(tmp_path / "tokenizer.json"))
    found = made(str(tmp_path), (), 0)
    assert found.encode("a a a").tolist() == [2, 2, 2]
    assert found.mask == 5, "the mask is a new id, whatever the file calls a mask"


@pytest.mark.parametrize("name", ["byte", "char", "text8", "bpe"])
def test_a_run_keeps_its_tokenizer_and_notices_another(name, lines):
    tokenizer = made(name, lines, 300)
    facts = json.loads(json.dumps(tokenizer.facts()))
    again = rebuilt(facts)
    assert again.facts() == facts
    assert again.encode(lines[0]).tolist() == tokenizer.encode(lines[0]).tolist()
    with pytest.raises(InputError, match="damaged or not its own"):
        rebuilt({**facts, "sha256": "0" * 64})
    if name == "char":
        with pytest.raises(InputError, match="damaged or not its own"):
            rebuilt({**facts, "characters": facts["characters"] + "é"})


def test_masks_and_ends_are_shown():
    tokenizer = Char("ab")
    ids = [0, tokenizer.mask, tokenizer.mask, 1, tokenizer.eos, 0]
    assert tokenizer.decode(ids) == f"a{MASK}{MASK}b"
    assert tokenizer.decode(ids, whole=True) == f"a{MASK}{MASK}b\na"
    with pytest.raises(InputError, match="ids are 0 to 3 here, but one is 4"):
        tokenizer.decode([4])


def test_what_a_tokenizer_cannot_spell_is_named(tmp_path):
    with pytest.raises(InputError, match=r"has no 'c' \(U\+0063\), which stands at 2 of the text"):
        Char("ab").encode("abc")
    with pytest.raises(InputError, match="tokenizer=chars: accepted are byte, char"):
        made("chars", (), 0)
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(InputError, match=r"t\.json is no tokenizer"):
        made(str(tmp_path / "t.json"), (), 0)
    with pytest.raises(InputError, match="no kind of tokenizer 'word'"):
        rebuilt({"kind": "word"})
    with pytest.raises(InputError, match="the tokenizer of the run is damaged"):
        rebuilt({"kind": "json", "json": "\u00e9"})


def test_a_word_that_a_foreign_tokenizer_has_not_is_told():
    """Without a token for what is unknown the library raises a bare Exception."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    found = Json(Tokenizer(WordLevel({"a": 0}, unk_token="[UNK]")).to_str())
    with pytest.raises(InputError, match="does not take the text: .*UNK"):
        found.encode("b")


def test_a_corpus_is_read_by_the_tokenizer_of_a_model_of_others(tmp_path):
    """Its end is not its last id, and a text may spell its mask."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    library = Tokenizer(WordLevel({"[SEP]": 0, "[MASK]": 1, "a": 2, "b": 3}, "a"))
    library.pre_tokenizer = WhitespaceSplit()
    tokenizer = Foreign(library.to_str(), 0, 1)
    (tmp_path / "a.txt").write_text("a b b")
    data = read(tmp_path / "a.txt", length=4, tokenizer=tokenizer)
    assert data.batch([0]).x.data.tolist() == [[2, 3, 3, 0]]
    (tmp_path / "a.txt").write_text("a [MASK] b")
    with pytest.raises(InputError, match=r"document a\.txt: the text spells \[MASK\], which is"):
        read(tmp_path / "a.txt", length=4, tokenizer=tokenizer)
