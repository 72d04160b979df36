"""Windows: every token once, documents apart, split by document, kept on disk."""

from __future__ import annotations

import os
import tracemalloc

import numpy as np
import pytest

from sfumato import InputError
from sfumato_data import split
from sfumato_language import shards
from sfumato_language.reading import Reading
from sfumato_language.tokens import Char
from sfumato_language.windows import DOCUMENT, cut, read


@pytest.mark.parametrize("pack", [True, False])
@pytest.mark.parametrize("length", [7, 32, 45, 200])
def test_every_token_stands_in_one_window_in_order(text, lines, pack, length):
    data = read(text, length=length, pack=pack, documents="line")
    found: dict[int, list[int]] = {}
    for i in range(len(data)):
        batch = data.batch([i])
        ids, mask = batch.x.data[0].numpy(), batch.x.mask[0].numpy()
        own = batch.condition[DOCUMENT][0].numpy() if pack else np.where(mask, 0, -1)
        assert ((own >= 0) == mask).all() and len(ids) <= length
        for number, piece in enumerate(data.of(i)):
            found.setdefault(piece.document, []).extend(ids[own == number].tolist())
    tokenizer = data.shards.tokenizer
    for document, line in enumerate(lines):
        assert found[document][-1] == tokenizer.eos
        assert tokenizer.decode(found[document]) == line
        assert len(found[document]) == len(line) + 1


def test_short_documents_share_windows_only_if_packed(text, lines):
    packed, apart = (read(text, length=200, pack=p, documents="line") for p in (True, False))
    assert len(apart) == 200 and len(packed) < 60
    lengths = [len(line) + 1 for line in lines]
    assert apart.about["lengths"] == [[n, lengths.count(n)] for n in sorted(set(lengths))]
    assert apart.batch([0]).condition == {}
    assert packed.batch(range(2)).x.data.shape == (2, 200)


def test_a_split_never_parts_a_document(tmp_path, lines):
    rows = [" ".join(lines[: i % 9 + 1]) for i in range(300)]
    path = tmp_path / "a.txt"
    path.write_text("\n".join(rows))
    data = read(path, length=50, documents="line")
    sides = [
        {piece.document for i in part.index for piece in data.of(i)} for part in split(data, 0.3, 1)
    ]
    assert not sides[0] & sides[1] and len(sides[0] | sides[1]) == 300
    assert 30 < len(sides[1]) < 160


def test_ids_are_mapped_from_the_cache_and_made_once(text, cache, monkeypatch):
    first = read(text)
    made = []
    monkeypatch.setattr(shards, "_build", lambda *args: made.append(args))
    again = read(text)
    assert isinstance(again.shards.tokens, np.memmap) and not made
    assert np.array_equal(first.shards.tokens, again.shards.tokens)
    assert first.about == again.about


def test_another_content_reading_or_tokenizer_is_another_entry(text, cache, lines):
    read(text)
    read(text, documents="line")
    read(text, tokenizer="byte")
    read(text, tokenizer=Char.of([*lines, "\n"]))
    text.write_text("another text")
    read(text)
    assert len(list((cache / "data" / "tokens").iterdir())) == 5


def test_a_damaged_entry_is_made_anew(text, cache):
    tokens = np.array(read(text).shards.tokens)
    (entry,) = (cache / "data" / "tokens").iterdir()
    with (entry / "tokens.bin").open("r+b") as file:
        file.truncate(10)
    assert np.array_equal(read(text).shards.tokens, tokens)
    (entry / "shards.json").write_text("{")
    assert np.array_equal(read(text).shards.tokens, tokens)


def test_what_fails_leaves_nothing_half_made(tmp_path, cache):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n{"no": 1}\n')
    with pytest.raises(InputError, match="no column 'text'"):
        read(path, tokenizer="byte")
    assert list((cache / "data" / "tokens").iterdir()) == []
    path.write_text("\n")
    with pytest.raises(InputError, match="there is no document in"):
        read(path, tokenizer="byte")
    with pytest.raises(InputError, match=r"document a\.jsonl:1: this tokenizer has no 'x'"):
        path.write_text('{"text": "x"}\n')
        read(path, tokenizer=Char("ab"))


def test_windows_need_two_tokens(text):
    with pytest.raises(InputError, match="not length=1"):
        read(text, length=1)


def test_large_vocabularies_take_four_bytes_a_token(tmp_path):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    library = Tokenizer(WordLevel({f"w{i}": i for i in range(70_000)}, unk_token="w0"))
    library.pre_tokenizer = WhitespaceSplit()
    library.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "a.txt").write_text("w1 w69999")
    data = read(tmp_path / "a.txt", tokenizer=str(tmp_path / "tokenizer.json"))
    assert data.shards.tokens.dtype == np.uint32
    assert data.shards.tokens.tolist() == [1, 69_999, 70_000]


def test_a_damaged_corpus_in_the_cache_is_named(text):
    """Of the right size, and so not made anew."""
    data = read(text, length=32, documents="line")
    file = data.shards.tokens.filename
    np.full_like(data.shards.tokens, 999).tofile(file)
    again = read(text, length=32, documents="line")
    with pytest.raises(InputError, match=r"tokens\.bin is damaged: it has the token 999.*0 to \d"):
        again.batch([0])


def test_memory_does_not_grow_with_the_documents_while_they_are_written(tmp_path):
    """20,000 documents: names and lengths in lists took about 190 bytes of each."""
    path = tmp_path / "a.txt"
    path.write_text("".join(f"line {i}\n" for i in range(20_000)))
    tracemalloc.start()
    try:
        found = shards.corpus(path, Reading("line"), "byte", 0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 64 * 20_000
    assert len(found.keys) == 20_000 and found.keys[-1] == "a.txt:20000"
    assert found.keys[1:3] == ["a.txt:2", "a.txt:3"] and found.characters[9] == len("line 9")


def test_names_of_files_need_not_be_utf8(tmp_path):
    name = os.fsdecode(b"caf\xe9.txt")
    try:
        (tmp_path / name).write_text("text")
    except OSError:
        pytest.skip("this disk takes names in UTF-8 only")
    (tmp_path / "zoë.txt").write_text("more text")
    data = read(tmp_path, length=5, tokenizer="byte")
    assert list(data.keys()) == [name, "zoë.txt", "zoë.txt"]


def test_windows_take_no_memory_each(tmp_path):
    """One document of 50,000 windows: 40 bytes of each were kept."""
    path = tmp_path / "a.txt"
    path.write_text("ab" * 100_000)
    found = shards.corpus(path, Reading(), "byte", 0)
    tracemalloc.start()
    try:
        data = cut(found, 4, pack=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(data) == 50_001 and peak < 100_000
    assert data.of(50_000)[0].length == 1
    few = data.part([50_000, 3]).part([1])
    assert few.of(0) == data.of(3) and few.documents().tolist() == [0]
