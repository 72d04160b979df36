"""What the verbs `compress` and `decompress` do."""

from __future__ import annotations

__all__ = ["packed", "unpacked"]

from pathlib import Path

import torch
import typer

import sfumato
from sfumato import InputError
from sfumato_train import open_run
from sfumato_train.files import make_folder, write_bytes
from sfumato_train.folders import check_place

from .compression import Coder
from .reading import LARGEST
from .tokens import rebuilt


def packed(path: Path, file: Path, out: Path, calls: int, device: str | None, weights: str) -> str:
    """Compress a file; returns what there is to say.

    Raises:
        InputError: if it cannot be read, is not UTF-8, or `out` exists already.
    """
    coder = _opened(path, out, device, weights)
    content = _content(file)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{file} is not UTF-8 ({error.reason} at {error.start}), and this compresses text only"
        ) from None
    typer.echo(
        f"{out} will be read by these weights, sfumato {sfumato.__version__}, torch "
        f"{torch.__version__} and {torch.get_num_threads()} thread(s) on such a processor only; "
        f"keep {path}",
        err=True,
    )
    made = coder.compress(text, calls=calls)
    make_folder(out.parent)
    write_bytes(out, made.content)
    size = len(made.content)
    share = f", {8 * size / len(text):.3f} bits/char" if text else ""
    return f"wrote {out}: {len(content)} -> {size} bytes{share}, the model's {made.bits / 8:.0f}"


def unpacked(path: Path, file: Path, out: Path, device: str | None, weights: str) -> str:
    """Decompress a file; returns what there is to say; raises as `packed` and `decompress`."""
    coder = _opened(path, out, device, weights)
    try:
        text = coder.decompress(_content(file))
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    make_folder(out.parent)
    write_bytes(out, text.encode())
    return f"wrote {out}: {len(text.encode())} bytes"


def _opened(path: Path, out: Path, device: str | None, weights: str) -> Coder:
    if out.exists():
        raise InputError(f"{out} exists already; name a new file, or take it away first")
    check_place(out)
    run = open_run(path)
    model, tokenizer = run.model(weights, device=device), rebuilt(run.about["tokenizer"])
    return Coder(model, tokenizer, int(run.about["length"]))


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    if len(content) > LARGEST:
        raise InputError(f"{file} has more than {LARGEST} bytes; cut it into several")
    return content
