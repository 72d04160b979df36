"""Edits of picture files: read, brought to the size of a model, changed, written, shown."""

from __future__ import annotations

__all__ = ["edit"]

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sfumato import Batch, InputError
from sfumato_cli.progress import progress
from sfumato_cli.sampling import conditions
from sfumato_cli.writing import NOTE, check
from sfumato_data import select
from sfumato_train import Run, Watch, open_run
from sfumato_train.files import write_json
from sfumato_train.folders import placed

from .files import SUFFIXES, decode, header, pictures, save
from .fitting import Size
from .strips import strip

Make = Callable[..., Tensor]
"""(model, images, known, *, condition, first, watch, and further options) to images."""


def edit(
    verb: str,
    run: Path,
    images: Sequence[Path],
    out: Path,
    make: Make,
    options: Mapping[str, Any],
    facts: Mapping[str, Any],
    *,
    n: int,
    words: Sequence[str],
    masks: Sequence[Path] = (),
    pads: tuple[int, int, int, int] | None = None,
    device: str | None = None,
    weights: str = "ema",
    as_is: bool = False,
) -> str:
    """Edit pictures n times each and write the results to a folder, with one picture of all.

    Args:
        verb: what is done, in a word.
        run: the folder of a run.
        images: files, or folders of them.
        out: the folder, in place of earlier results.
        make: the edit. It gets the model, images (N, C, H, W) in [-1, 1], and (N, H, W) bool, the
            pixels to keep.
        options: passed to `make`.
        facts: noted beside the results with these.
        n: results for each picture.
        words: `name=value` conditions, the same for each picture.
        masks: white where pixels are drawn: none, one for all, or one for each picture.
        pads: how the results are larger (left, right, top, bottom); None: no mask is shown.
        device: where to compute.
        weights: which of the run's.
        as_is: leave pictures in their size, else they are brought to that of the training.

    Returns:
        A sentence that says what was written.

    Raises:
        InputError: if something cannot be read, does not fit, or may not be written.
    """
    opened = open_run(run)
    check(opened.domain, out)
    files = _files(images)
    height, width = opened.about["size"]
    size = None if as_is else (height, width)
    sources = [_picture(file, opened.about["channels"], size) for file in files]
    known = _known(masks, files, sources, size)
    condition = _condition(opened, words, n)
    model = opened.model(weights, device=device)
    with progress("drawing") as watch:
        made = list(_made(partial(make, model, **options), sources, known, condition, n, watch))
    shown: list[list[Image.Image]] = []
    picture = out.with_name(f"{out.name}.png")
    with placed(out, replace=True) as folder:
        for file, source, kept, results in zip(_names(files), sources, known, made, strict=True):
            each = pictures(results)
            for i, one in enumerate(each):
                save(one, folder / f"{file}-{i}.png")
            shown.append([*_before(source, kept, pads), *each])
        names = [str(file) for file in files]
        noted = {"verb": verb, "run": str(run), "images": names, "n": n, "words": list(words)}
        write_json(folder / NOTE, {**noted, **options, **facts})
        strip(shown, picture)
    return f"wrote {n * len(files)} pictures to {out}, and {picture}"


def _files(paths: Sequence[Path]) -> list[Path]:
    """The pictures, those of a folder in the order of their names."""
    found: list[Path] = []
    for path in paths:
        inside = [path]
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise InputError(f"there is no picture ({', '.join(SUFFIXES)}) in {path}")
        found += inside
    return found


def _picture(file: Path, channels: int, size: Size | None) -> Tensor:
    """(C, H, W) in [-1, 1], scaled and cut to the size wanted if it has another."""
    return decode(file, channels, None if size == header(file).size else size)


def _known(
    masks: Sequence[Path],
    files: Sequence[Path],
    sources: Sequence[Tensor],
    size: Size | None,
) -> list[Tensor]:
    """For each picture (H, W) bool, True where it is kept."""
    if not masks:
        return [torch.ones(source.shape[1:], dtype=torch.bool) for source in sources]
    if len(masks) not in (1, len(files)):
        raise InputError(f"{len(masks)} masks for {len(files)} pictures; give one, or one for each")
    each = list(masks) * (len(files) if len(masks) == 1 else 1)
    for mask, file in zip(each, files, strict=True):
        if header(mask).size != header(file).size:
            raise InputError(
                f"the mask {mask} is {_text(mask)} and {file} is {_text(file)} (height x width); "
                "they must have one size"
            )
    return [_picture(mask, 1, size)[0] <= 0 for mask in each]


def _text(file: Path) -> str:
    return " x ".join(map(str, header(file).size))


def _condition(run: Run, words: Sequence[str], n: int) -> Mapping[str, Any] | None:
    """What each picture's n results are asked for with; nothing where no word says."""
    asked = conditions(words)
    return run.domain.condition(asked, n, run.about) if asked else None


def _made(
    make: Make,
    sources: Sequence[Tensor],
    known: Sequence[Tensor],
    condition: Mapping[str, Any] | None,
    n: int,
    watch: Watch,
) -> Iterator[Tensor]:
    """The n results of each picture; neighbours of one size are edited together."""
    total = n * len(sources)
    first = 0
    for _, group in groupby(range(len(sources)), key=lambda i: sources[i].shape):
        index = list(group)
        asked = condition
        if condition is not None:
            order = torch.arange(n).repeat(len(index))
            asked = select(Batch(torch.empty(n, 0), condition), order).condition

        def tell(
            step: int, count: int, loss: float | None, rate: float | None, before: int = first
        ) -> None:
            watch(before + step, total, loss, rate)

        x = torch.stack([sources[i] for i in index]).repeat_interleave(n, 0)
        kept = torch.stack([known[i] for i in index]).repeat_interleave(n, 0)
        made = make(x, kept, condition=asked, first=first, watch=tell)
        yield from torch.split(made, n)
        first += len(x)


def _names(files: Sequence[Path]) -> list[str]:
    """A name for each picture, its own unless two share it."""
    stems = [file.stem for file in files]
    if len(set(stems)) == len(stems):
        return stems
    return [f"{stem}-{i:03}" for i, stem in enumerate(stems)]


def _before(
    source: Tensor, known: Tensor, pads: tuple[int, int, int, int] | None
) -> list[Image.Image]:
    """The source and, for what has one, the mask: white where something was drawn."""
    if pads is None:
        return pictures(source[None])
    grown = F.pad(source, pads, value=0.0)
    drawn = F.pad((~known)[None].float(), pads, value=1.0) * 2 - 1
    return [*pictures(grown[None]), *pictures(drawn[None])]
