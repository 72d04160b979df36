"""Documents in files: text, JSONL, CSV, Parquet, data-set folders of Hugging Face, FASTA, Brown.

Everything is read as a stream, one document at a time, so that a corpus may be larger than memory.
"""

from __future__ import annotations

__all__ = ["LARGEST", "Document", "Reading", "documents", "files_of", "json_rows"]

import csv
import glob
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, cast

from sfumato import InputError

from . import brown

LARGEST = 1 << 28
"""Bytes of a document, at most."""


class Document(NamedTuple):
    """A text and a name for it that is its own within the corpus."""

    key: str
    text: str


@dataclass(frozen=True)
class Reading:
    """How files become documents.

    Attributes:
        documents: what of a plain text file is a document: the file, a paragraph (blank lines lie
            between two), or a line.
        column: of tables and JSON lines, where the text is.
        empty: what becomes of empty documents, and of rows whose text is null.
    """

    documents: Literal["file", "paragraph", "line"] = "file"
    column: str = "text"
    empty: Literal["refuse", "skip"] = "refuse"


def files_of(path: Path) -> list[Path]:
    """The files of a corpus in their order: a file, those of a folder, or those of a pattern.

    Of a folder that `datasets` saved, those that its `state.json` lists: what else lies there are
    caches of what was computed from them.

    Raises:
        InputError: if there is none that can be read, or a folder holds several splits.
    """
    if path.is_file():
        found = [path]
    elif path.is_dir():
        inside = sorted(p for p in path.rglob("*") if p.is_file() and not _hidden(p, path))
        if brown.is_brown(path):
            return brown.files(path)
        _one_split(path)
        strangers = _strangers(inside)
        found = [p for p in inside if _kind(p) in _READERS and _kind(p) and p not in strangers]
    else:
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
        found = [p for p in found if p.is_file()]
        if not found:
            raise InputError(f"{path} does not exist, and no file matches it; give {_KINDS}")
    for file in found:
        if _kind(file) not in _READERS:
            raise InputError(f"{file} is of no kind that can be read; give {_KINDS}")
    if not found:
        raise InputError(f"there is no text in {path}; give {_KINDS}")
    return found


def documents(path: Path, reading: Reading) -> Iterator[Document]:
    """The documents of a corpus, in a fixed order.

    Raises:
        InputError: for what cannot be read, is not UTF-8 (told by file and byte) or is empty.
    """
    root = path if path.is_dir() else path.parent
    for file in files_of(path):
        name = file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
        if path.is_dir() and brown.is_brown(path):
            yield Document(name, brown.text(file))
            continue
        for key, text in _READERS[_kind(file)](file, name, reading):
            if text.strip():
                yield Document(key, text)
            elif reading.empty == "refuse":
                raise InputError(
                    f"the document {key} is empty; take it out, or leave out all such by empty=skip"
                )


def _hidden(file: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(root).parts)


def _one_split(root: Path) -> None:
    """Raise `InputError` for a folder of several splits, which would be mixed."""
    facts = _facts(root / "dataset_dict.json")
    splits = facts.get("splits")
    if isinstance(splits, list) and len(splits) > 1:
        raise InputError(
            f"{root} holds the splits {', '.join(map(str, splits))}; name one of them, such as "
            f"{root / str(splits[0])}"
        )


def _strangers(files: Iterable[Path]) -> set[Path]:
    """Arrow files that are no part of the data set in whose folder they lie."""
    arrow = [file for file in files if _kind(file) == ".arrow"]
    found: set[Path] = set()
    for folder in {file.parent for file in arrow}:
        parts = _facts(folder / "state.json").get("_data_files")
        if isinstance(parts, list):
            own = {part.get("filename") for part in parts if isinstance(part, dict)}
            found |= {file for file in arrow if file.parent == folder and file.name not in own}
    return found


def _facts(file: Path) -> dict[str, Any]:
    """The JSON object in a file beside the data; nothing if there is none."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} cannot be read: {error}") from None
    return found if isinstance(found, dict) else {}


def _kind(file: Path) -> str:
    suffixes = [suffix.lower() for suffix in file.suffixes[-2:]]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _text(file: Path, name: str, reading: Reading) -> Iterator[tuple[str, str]]:
    if reading.documents == "file":
        with _opened(file) as stream:
            content = stream.read(LARGEST + 1)
        _bounded(content, file)
        yield name, _decoded(content.removeprefix(b"\xef\xbb\xbf"), file, 0)
        return
    lines = ((place, line.rstrip("\r\n")) for place, line in _lines(file))
    if reading.documents == "line":
        yield from ((f"{name}:{place}", line) for place, line in lines if line.strip())
        return
    held: list[str] = []
    first = 1
    for place, line in lines:
        if line.strip():
            first = first if held else place
            held.append(line)
        elif held:
            yield f"{name}:{first}", "\n".join(held)
            held = []
    if held:
        yield f"{name}:{first}", "\n".join(held)


def json_rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file of JSON lines, each with the number of its line.

    Raises:
        InputError: for a line that is none; names it.
    """
    for place, line in _lines(file):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"line {place} of {file} is not valid JSON: {error}") from None
        if not isinstance(row, dict):
            raise InputError(f"line {place} of {file} is no JSON object")
        if "\\u" in line:
            _whole_characters(row, f"line {place} of {file}")
        yield place, row


def _whole_characters(row: dict[str, Any], where: str) -> None:
    """Raise `InputError` for half a pair of surrogates, which JSON can spell and UTF-8 cannot."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = ord(error.object[error.start])
        raise InputError(f"{where} is no Unicode: it has half a character, \\u{half:04x}") from None


def _json_lines(file: Path, name: str, reading: Reading) -> Iterator[tuple[str, str]]:
    for place, row in json_rows(file):
        yield f"{name}:{place}", _cell(row, reading.column, f"line {place} of {file}")


def _table(file: Path, name: str, reading: Reading) -> Iterator[tuple[str, str]]:
    separator = "\t" if _kind(file) == ".tsv" else ","
    lines = (line for _, line in _lines(file))
    rows = csv.DictReader(lines, delimiter=separator, strict=True)
    place = 0
    while True:
        place += 1
        try:
            with _long_fields():
                row = next(rows, None)
        except csv.Error as error:
            raise InputError(
                f"row {place} of {file} cannot be read: {error}; a quote that is opened has to be "
                "closed, and is doubled within quotes"
            ) from None
        if row is None:
            return
        if None in row:
            more, there = len(row) - 1 + len(row[None]), len(row) - 1
            raise InputError(
                f"row {place} of {file} has {more} fields, and the first line names {there}; a "
                "text with the separator in it stands in quotes"
            )
        yield f"{name}:{place}", _cell(row, reading.column, f"row {place} of {file}")


@contextmanager
def _long_fields() -> Iterator[None]:
    """Fields as long as documents; the library has one limit for the whole process."""
    before = csv.field_size_limit(LARGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _cell(row: dict[str, Any], column: str, where: str) -> str:
    text = row.get(column, 0)
    if text is None:
        return ""
    if not isinstance(text, str):
        there = ", ".join(map(str, row))
        what = "no text in" if column in row else "no"
        raise InputError(f"{where} has {what} column {column!r}; there is {there or 'none'}")
    return text


def _parquet(file: Path, name: str, reading: Reading) -> Iterator[tuple[str, str]]:
    pyarrow = _pyarrow(file)
    try:
        table = pyarrow.parquet.ParquetFile(file)
        names = table.schema_arrow.names
        _has_column(names, reading.column, file)
        batches = table.iter_batches(batch_size=1024, columns=[reading.column])
        yield from _arrow_rows(batches, name, reading.column, file)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{file} cannot be read: {error}") from None


def _arrow(file: Path, name: str, reading: Reading) -> Iterator[tuple[str, str]]:
    pyarrow = _pyarrow(file)
    try:
        with pyarrow.memory_map(str(file)) as source, pyarrow.ipc.open_stream(source) as batches:
            _has_column(batches.schema.names, reading.column, file)
            yield from _arrow_rows(batches, name, reading.column, file)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{file} cannot be read: {error}") from None


def _arrow_rows(
    batches: Iterable[Any], name: str, column: str, file: Path
) -> Iterator[tuple[str, str]]:
    place = 0
    for batch in batches:
        for cell in batch.column(column):
            place += 1
            try:
                text = cell.as_py()
            except UnicodeDecodeError as error:
                raise InputError(
                    f"row {place} of {file} is not UTF-8 in column {column!r}: {error.reason} at "
                    f"{error.start}"
                ) from None
            yield f"{name}:{place}", _cell({column: text}, column, f"row {place} of {file}")


def _has_column(names: Iterable[str], column: str, file: Path) -> None:
    if column not in names:
        raise InputError(f"{file} has no column {column!r}; there is {', '.join(names)}")


def _pyarrow(file: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise InputError(f"{file} needs pyarrow: pip install 'sfumato-language[parquet]'") from None
    return pyarrow


def _fasta(file: Path, name: str, reading: Reading) -> Iterator[tuple[str, str]]:
    key, held = "", list[str]()
    for place, line in _lines(file):
        word = line.strip()
        if word.startswith(">"):
            if key:
                yield key, "".join(held)
            key, held = f"{name}:{(word[1:].split() or [str(place)])[0]}", []
        elif word and not word.startswith(";"):
            if not key:
                raise InputError(f"line {place} of {file} stands before any header (> name)")
            held.append(word.upper())  # lower case marks repeats, and means the same letters
    if key:
        yield key, "".join(held)


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked.

    Raises:
        InputError: while it is read, too, if it cannot be, or is damaged.
    """
    try:
        packed = file.suffix.lower() == ".gz"
        with cast("IO[bytes]", gzip.open(file)) if packed else file.open("rb") as stream:
            yield stream
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{file} is damaged: {error}") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Each line with its number, from 1."""
    place, offset = 0, 0
    with _opened(file) as stream:
        while line := stream.readline(LARGEST + 1):
            place += 1
            _bounded(line, file)
            start = line.removeprefix(b"\xef\xbb\xbf") if place == 1 else line
            yield place, _decoded(start, file, offset + len(line) - len(start))
            offset += len(line)


def _bounded(content: bytes, file: Path) -> None:
    if len(content) > LARGEST:
        raise InputError(f"{file} has a document of more than {LARGEST} bytes; cut it into several")


def _decoded(content: bytes, file: Path, offset: int) -> str:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file} is not UTF-8: byte 0x{content[error.start]:02x} at {offset + error.start} "
            f"({error.reason}); convert the file to UTF-8"
        ) from None
    if (place := content.find(b"\0")) >= 0:  # of UTF-16, and of nearly all that is no text
        raise InputError(
            f"{file} is no text in UTF-8: byte 0x00 at {offset + place}; convert the file to UTF-8"
        )
    return text


_KINDS = (
    "text (.txt, .md), .jsonl, .csv, .tsv, .parquet, FASTA (.fa, .fasta), a folder of such, or a "
    "pattern such as 'books/*.txt'"
)
_Reader = Callable[[Path, str, Reading], Iterator[tuple[str, str]]]
_READERS: dict[str, _Reader] = {
    **dict.fromkeys(("", ".txt", ".text", ".md"), _text),
    **dict.fromkeys((".jsonl", ".ndjson"), _json_lines),
    **dict.fromkeys((".csv", ".tsv"), _table),
    ".parquet": _parquet,
    ".arrow": _arrow,
    **dict.fromkeys((".fa", ".fasta", ".fna", ".faa", ".ffn"), _fasta),
}
