"""What the verbs `infill` and `score` do."""

from __future__ import annotations

__all__ = ["fill", "scored"]

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sfumato import Batch, InputError, Model
from sfumato_cli.progress import progress
from sfumato_data import concatenate
from sfumato_data.datasets import Subset
from sfumato_train import Run, draw, open_run
from sfumato_train.devices import pick_device
from sfumato_train.ema import parts
from sfumato_train.files import make_folder, write_json
from sfumato_train.folders import check_place
from sfumato_train.runs import read_more

from . import canvas, foreign, samples
from .domain import domain
from .scoring import Likelihood, score
from .stream import Step, stream, traced
from .tokens import rebuilt
from .windows import Windows

_LOGITS = 1 << 24
_LARGEST_LOG = 300 * math.log(10)

Show = Callable[[str], None]
Conditions = Callable[[Mapping[str, str], int, Mapping[str, Any]], Mapping[str, Any]]


def fill(
    path: Path,
    texts: Sequence[str],
    n: int,
    *,
    pattern: str | None,
    allow: Sequence[str],
    sampler: str | None,
    grid: str | None,
    steps: int | None,
    seed: int,
    out: Path | None,
    watch: bool,
    trace: Path | None,
    device: str | None,
    weights: str,
    trust: bool,
) -> str:
    """Fill the gaps of each text n times; returns what there is to say.

    `path` is a run, or a folder that `foreign.load` takes, whose own code is run if it is to be
    trusted (`trust`). `pattern` is a regular expression that each whole text matches, `allow`
    texts of which one fills each gap.

    Raises:
        InputError: if a text does not fit the model, a file exists already, or both a pattern and
            texts that are allowed are given.
    """
    if out is not None and out.suffix not in samples.SUFFIXES:
        raise InputError(f"{out}: accepted are files that end in {' or '.join(samples.SUFFIXES)}")
    for file in (out, trace):
        if file is not None:
            if file.exists():
                raise InputError(f"{file} exists already; name a new file, or take it away first")
            check_place(file)
    model, about, words_of = _opened(path, device, weights, trust)
    words = [_words(text, pattern, allow) for text in texts or (None,)]
    asked = [words_of(one, n, about) for one in words]
    found: list[Batch] = []
    ways: list[dict[str, Any]] = []
    for i, condition in enumerate(asked):
        options: dict[str, Any] = {"sampler": sampler, "grid": grid, "steps": steps, "seed": seed}
        options |= {"condition": condition, "first": i * n}
        if watch or trace is not None:
            way = _walked(about, model, n, options, watch)
            found.append(Batch(way[-1].x))
            rows = zip(samples.texts_of(found[-1], about), range(n), strict=True)
            ways += [{"text": text, "steps": traced(way, item)} for text, item in rows]
        else:
            drawn = draw(model, n, **options)
            found.append(Batch(drawn.x))
    made = concatenate(found)
    for file in (out, trace):
        if file is not None:
            make_folder(file.parent)
    if trace is not None:
        tokenizer = rebuilt(about["tokenizer"])
        facts = {"run": str(path), "seed": seed, "mask": tokenizer.mask, "end": tokenizer.eos}
        write_json(trace, {**facts, "sampler": sampler or repr(model.sampler), "items": ways})
    if out is not None:
        samples.write(made, out, about)
        return f"wrote {len(made.x.data)} texts to {out}"
    return "\n".join(samples.texts_of(made, about))


def _words(text: str | None, pattern: str | None, allow: Sequence[str]) -> dict[str, str]:
    """What is asked of the samples of a text, as `canvas.conditions` takes it."""
    if allow and (pattern is not None or text is None):
        raise InputError("--allow says what fills the gaps of a --text, and goes without --pattern")
    if allow:
        assert text is not None
        pattern = canvas.pattern_of(text, allow)
    given = {"text": text, canvas.REGEX: pattern}
    return {name: value for name, value in given.items() if value is not None}


def _is_of_others(path: Path) -> bool:
    return (path / "config.json").is_file() and not (path / "recipe.json").is_file()


def _opened(
    path: Path, device: str | None, weights: str, trust: bool
) -> tuple[Model, Mapping[str, Any], Conditions]:
    """The model of a run, or of a folder, the facts of its data, and how it is asked."""
    if _is_of_others(path):
        loaded = foreign.load(path, trust=trust)
        parts(loaded.model).to(pick_device(device))
        return loaded.model, loaded.about, canvas.conditions
    run = open_run(path)
    return run.model(weights, device=device), run.about, run.domain.condition


def _walked(
    about: Mapping[str, Any], model: Model, n: int, options: dict[str, Any], watch: bool
) -> list[Step]:
    """All steps, shown one by one if they are to be watched."""
    steps = stream(model, n, **options)
    if not watch:
        return list(steps)
    found: list[Step] = []
    with _live() if sys.stdout.isatty() else _plain() as show:
        for step in steps:
            found.append(step)
            if not found[:-1] or bool(step.changed.any()):
                show("\n".join(samples.texts_of(Batch(step.x), about, whole=True)))
    return found


def _live() -> AbstractContextManager[Show]:
    """Texts that change in their place on a terminal."""
    from rich.live import Live
    from rich.text import Text

    @contextmanager
    def shown() -> Iterator[Show]:
        with Live(auto_refresh=False, transient=True) as live:
            yield lambda text: live.update(Text(text), refresh=True)

    return shown()


def _plain() -> AbstractContextManager[Show]:
    """Texts one below the other, where the output is no terminal."""
    return nullcontext(lambda text: print(text, flush=True))


def scored(
    path: Path,
    data: Path | None,
    draws: int,
    seed: int,
    batch: int | None,
    device: str | None,
    weights: str,
    trust: bool,
) -> str:
    """Measure held-out or other text and return a table; in a run, write it as `score.json` too.

    `path` is as for `fill`, and so is `trust`; `batch` is by default what one table of 2^24 logits
    holds, at most 64.
    """
    if _is_of_others(path):
        if data is None:
            raise InputError(f"{path} is no run, and held nothing out; name text with --data")
        model, about, _ = _opened(path, device, weights, trust)
        room = int(about["length"]) - (about.get("begin") is not None)
        windows = domain.follow(data, about, length=room, pack=False)
        kept_in = None
    else:
        run = open_run(path)
        windows = _held(run) if data is None else read_more(run, data)
        model, about, kept_in = run.model(weights, device=device), run.about, path / "score.json"
    if not isinstance(windows, Windows):
        raise InputError(f"{data} holds no text but samples or pairs; give text to a run of text")
    fits = _LOGITS // (int(about["length"]) * int(about["vocabulary"]))
    with progress("scoring") as watch:
        found = score(
            model, windows, draws=draws, seed=seed, batch=batch or max(1, min(64, fits)),
            tell=lambda done, total: watch(done, total, None, None),
        )  # fmt: skip
    kept = _measured(found)
    if kept_in is None:
        return _told(kept)
    facts = {"data": str(data) if data else "held out", "draws": draws, "seed": seed, **kept}
    write_json(kept_in, facts)
    return f"{_told(kept)}\nwrote {kept_in}"


def _held(run: Run) -> Windows:
    """The windows of the documents that a run held out."""
    _, held = run.data()
    if not len(held):
        raise InputError(f"{run.path} held nothing out; name text with --data")
    assert isinstance(held, Subset)
    source = getattr(held.source, "source", held.source)
    if not isinstance(source, Windows):
        raise InputError(f"{run.path} is a model of answers; `sfumato evaluate` measures it")
    return source.part(held.index)


def _measured(found: Likelihood) -> dict[str, Any]:
    by_token, token_error = found.per(found.tokens)
    by_letter, letter_error = found.per(found.characters)
    bits = 1 / math.log(2)
    known = not math.isnan(token_error)
    return {
        "nats_per_token": by_token,
        "nats_per_token_error": token_error if known else None,
        "bits_per_character": by_letter * bits,
        "bits_per_character_error": letter_error * bits if known else None,
        "perplexity": math.exp(by_token) if by_token < _LARGEST_LOG else None,
        "documents": len(found.nats),
        "tokens": int(found.tokens.sum()),
        "characters": int(found.characters.sum()),
    }


def _told(kept: dict[str, Any]) -> str:
    def number(name: str) -> str:
        error = kept[f"{name}_error"]
        return f"{kept[name]:.4f}" + (f" +- {error:.4f}" if error is not None else "")

    value, large = kept["perplexity"], "beyond 1e300"
    return (
        f"nats/token   {number('nats_per_token')} (upper bound, standard error over documents)\n"
        f"bits/char    {number('bits_per_character')}\n"
        f"perplexity   {large if value is None else f'{value:.2f}'} a token\n"
        f"n            {kept['documents']} documents, {kept['tokens']} tokens, "
        f"{kept['characters']} characters"
    )
