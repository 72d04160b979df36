"""Documents out of every kind of file, and what is said of bad ones."""

from __future__ import annotations

import csv
import gzip
import json
import shutil

import pytest

from sfumato import InputError
from sfumato_language import brown, reading
from sfumato_language.reading import Reading, documents, files_of


def texts(path, **options):
    return [tuple(document) for document in documents(path, Reading(**options))]


def test_a_text_file_is_a_document_or_its_lines_or_its_paragraphs(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffone\ntwo é\n\n\nthree\n".encode())
    assert texts(path) == [("a.txt", "one\ntwo é\n\n\nthree\n")]
    assert texts(path, documents="line") == [
        ("a.txt:1", "one"), ("a.txt:2", "two é"), ("a.txt:5", "three"),
    ]  # fmt: skip
    assert texts(path, documents="paragraph") == [("a.txt:1", "one\ntwo é"), ("a.txt:5", "three")]


def test_folders_and_patterns_are_read_in_order_without_hidden_and_foreign_files(tmp_path):
    for name in ("b/2.txt", "a.md", "b/1.txt.gz", ".hidden.txt", "picture.png"):
        path = tmp_path / "corpus" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        content = name.encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    root = tmp_path / "corpus"
    assert [key for key, _ in texts(root)] == ["a.md", "b/1.txt.gz", "b/2.txt"]
    assert [text for _, text in texts(root / "b" / "*.txt")] == ["b/2.txt"]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.csv", "rows.tsv"])
def test_columns_of_tables_and_json_lines(tmp_path, name):
    path = tmp_path / name
    if "json" in name:
        content = "".join(json.dumps({"id": i, "body": f"row, {i}\n"}) + "\n" for i in range(3))
    else:
        mark = "," if "csv" in name else "\t"
        content = f"id{mark}body\r\n" + "".join(f'{i}{mark}"row, {i}\n"\r\n' for i in range(3))
    data = content.encode()
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert [text for _, text in texts(path, column="body")] == [f"row, {i}\n" for i in range(3)]
    with pytest.raises(InputError, match="no column 'text'; there is id, body"):
        texts(path)


def test_parquet_and_folders_of_datasets(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")

    table = pyarrow.table({"text": [f"row {i}" for i in range(2000)], "n": list(range(2000))})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    folder = tmp_path / "dataset"
    folder.mkdir()
    (folder / "state.json").write_text("{}")
    with pyarrow.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as out:
        out.write_table(table, max_chunksize=300)
    for path in (tmp_path / "a.parquet", folder):
        assert [text for _, text in texts(path)] == table["text"].to_pylist()
        with pytest.raises(InputError, match="has no column 'body'; there is text, n"):
            texts(path, column="body")
    with pytest.raises(InputError, match="row 1 of .* has no text in column 'n'"):
        texts(tmp_path / "a.parquet", column="n")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(InputError, match=r"bad\.parquet cannot be read"):
        texts(tmp_path / "bad.parquet")


def test_fasta_joins_the_lines_of_a_sequence(tmp_path):
    path = tmp_path / "genes.fa"
    path.write_text("; a remark\n>one of two\nACGT\nAC\n\n>two\nGG\n")
    assert texts(path) == [("genes.fa:one", "ACGTAC"), ("genes.fa:two", "GG")]
    path.write_text("ACGT\n>one\nA\n")
    with pytest.raises(InputError, match="line 1 of .* before any header"):
        texts(path)


def test_brown_becomes_plain_text(tmp_path):
    (tmp_path / "cats.txt").write_text("ca01 news\n")
    tagged = "\n\n\t``/`` He/pps went/vbd ''/'' ,/, (/( and/or/cc )/) said/vbd ./.\n\n\tNo/rb ?/.\n"
    (tmp_path / "ca01").write_text(tagged)
    assert texts(tmp_path) == [("ca01", '"He went", (and/or) said. No?')]
    (tmp_path / "ca01").write_text("word")
    with pytest.raises(InputError, match="'word' without a tag"):
        brown.text(tmp_path / "ca01")


@pytest.mark.parametrize("kind", ["file", "line"])
def test_what_is_not_utf8_is_told_by_file_and_byte(tmp_path, kind):
    path = tmp_path / "a.txt"
    path.write_bytes(b"fine\nbad \xff byte\n")
    with pytest.raises(InputError, match=r"a\.txt is not UTF-8: byte 0xff at 9 .*convert"):
        texts(path, documents=kind)


def test_empty_documents_are_refused_or_skipped(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n{"text": "  "}\n')
    with pytest.raises(InputError, match=r"the document a\.jsonl:2 is empty; .*empty=skip"):
        texts(path)
    assert texts(path, empty="skip") == [("a.jsonl:1", "one")]


def test_bad_files_are_named(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n{"text": \n')
    with pytest.raises(InputError, match=r"line 2 of .*a\.jsonl is not valid JSON"):
        texts(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").write_text("[1]\n")
    with pytest.raises(InputError, match="line 1 of .* is no JSON object"):
        texts(tmp_path / "b.jsonl")
    whole = gzip.compress(b"text\n" * 1000)
    (tmp_path / "c.txt.gz").write_bytes(whole[:-20])
    with pytest.raises(InputError, match=r"c\.txt\.gz is damaged"):
        texts(tmp_path / "c.txt.gz", documents="line")
    with pytest.raises(InputError, match=r"d\.txt does not exist, and no file matches"):
        files_of(tmp_path / "d.txt")
    (tmp_path / "e.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"e\.png is of no kind that can be read"):
        files_of(tmp_path / "e.png")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match="there is no text in"):
        files_of(tmp_path / "nothing")
    monkeypatch.setattr(reading, "LARGEST", 10)
    (tmp_path / "f.txt").write_text("more than ten bytes")
    for kind in ("file", "line"):
        with pytest.raises(InputError, match="a document of more than"):
            texts(tmp_path / "f.txt", documents=kind)


def test_half_a_character_of_json_is_told(tmp_path):
    """JSON spells what UTF-8 cannot; whole pairs are characters like any other."""
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "a\\ud83d\\ude00b"}\n{"text": "a\\ud800b"}\n')
    found = documents(file, Reading())
    assert next(found).text == "a\U0001f600b"
    with pytest.raises(InputError, match=r"line 2 of .* half a character, \\ud800"):
        next(found)


def test_json_nested_without_end_is_told(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": ' + "[" * 100_000 + "]" * 100_000 + "}\n")
    with pytest.raises(InputError, match=r"line 1 of .*a\.jsonl is not valid JSON"):
        texts(tmp_path / "a.jsonl")


def test_a_packed_file_that_is_damaged_is_told_however_it_is_read(tmp_path):
    whole = gzip.compress(bytes(range(97, 123)) * 1000)
    flipped = whole[:20] + bytes([whole[20] ^ 255]) + whole[21:]
    for number, content in enumerate((whole[:-20], flipped, whole[:-6] + b"\0" * 6, b"no gzip")):
        file = tmp_path / f"{number}.txt.gz"
        file.write_bytes(content)
        for kind in ("file", "paragraph", "line"):
            with pytest.raises(InputError, match=rf"{number}\.txt\.gz is damaged"):
                texts(file, documents=kind)


def test_a_field_of_a_table_may_be_as_long_as_a_document(tmp_path):
    """The library stops at 131,072 characters unless told otherwise, for the whole process."""
    before = csv.field_size_limit()
    long = "word " * 40_000
    (tmp_path / "a.csv").write_text(f'text,n\n"{long}",1\n')
    assert texts(tmp_path / "a.csv") == [("a.csv:1", long)]
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ('2,"never closed', r"row 2 of .*a\.csv cannot be read: unexpected end of data; a quote"),
        ('2,"a" b', r"row 2 of .*a\.csv cannot be read: .* a quote"),
        ("2,Hello, world", r"row 2 of .*a\.csv has 3 fields, and the first line names 2"),
    ],
    ids=["open", "behind", "fields"],
)
def test_rows_that_would_lose_text_are_refused(tmp_path, row, says):
    (tmp_path / "a.csv").write_text(f"n,text\n1,fine\n{row}\n3,fine\n4,fine\n")
    with pytest.raises(InputError, match=says):
        texts(tmp_path / "a.csv")


def test_a_row_whose_text_is_null_is_an_empty_document(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")

    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": null}\n')
    (tmp_path / "a.csv").write_text("n,text\n1,one\n2\n")
    pyarrow.parquet.write_table(pyarrow.table({"text": ["one", None]}), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        with pytest.raises(InputError, match=f"the document {name}:2 is empty; .*empty=skip"):
            texts(tmp_path / name)
        assert texts(tmp_path / name, empty="skip") == [(f"{name}:1", "one")]


def test_bytes_that_are_no_text_in_a_table_are_told(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")

    raw = pyarrow.array([b"fine", b"ba\xffd"], pyarrow.binary())
    text = pyarrow.Array.from_buffers(pyarrow.string(), 2, raw.buffers())
    pyarrow.parquet.write_table(pyarrow.table({"text": text}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"row 2 of .*a\.parquet is not UTF-8 in column 'text'"):
        texts(tmp_path / "a.parquet")


def test_of_a_saved_data_set_only_its_own_files_are_read_and_one_split(tmp_path):
    """`datasets` leaves caches beside the data; splits are not to be mixed."""
    pyarrow = pytest.importorskip("pyarrow")
    for split in ("train", "test"):
        folder = tmp_path / "all" / split
        folder.mkdir(parents=True)
        for name in ("data-00000-of-00001.arrow", "cache-0123.arrow"):
            table = pyarrow.table({"text": [f"{split} {name[:4]}"]})
            with pyarrow.ipc.new_stream(folder / name, table.schema) as out:
                out.write_table(table)
        state = {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}
        (folder / "state.json").write_text(json.dumps(state))
    (tmp_path / "all" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert [text for _, text in texts(tmp_path / "all" / "train")] == ["train data"]
    with pytest.raises(InputError, match=r"the splits train, test; name one .*all.train"):
        texts(tmp_path / "all")
    (tmp_path / "all" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    shutil.rmtree(tmp_path / "all" / "test")
    assert [text for _, text in texts(tmp_path / "all")] == ["train data"]
    (tmp_path / "all" / "train" / "state.json").write_text("{")
    with pytest.raises(InputError, match=r"state\.json cannot be read"):
        texts(tmp_path / "all")


def test_small_letters_of_fasta_are_the_same_bases(tmp_path):
    (tmp_path / "a.fa.gz").write_bytes(gzip.compress(b">a soft-masked\r\nACgtn\r\nry\r\n"))
    assert texts(tmp_path / "a.fa.gz") == [("a.fa.gz:a", "ACGTNRY")]


@pytest.mark.parametrize("kind", ["file", "line"])
def test_utf16_without_a_mark_is_no_text(tmp_path, kind):
    """Its bytes are valid UTF-8 as long as the text is English: half of them are 0."""
    (tmp_path / "a.txt").write_bytes("fine\nor not".encode("utf-16-le"))
    with pytest.raises(InputError, match=r"a\.txt is no text in UTF-8: byte 0x00 at 1; convert"):
        texts(tmp_path / "a.txt", documents=kind)
