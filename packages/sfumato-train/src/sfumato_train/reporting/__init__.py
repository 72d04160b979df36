"""The report of a run: one HTML file that shows, measures and says how to get it again."""

from __future__ import annotations

__all__ = ["STEPS", "report"]


from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from sfumato import InputError
from sfumato_eval.report import Block, Note, Page, Section, Table, render

from .. import files
from ..ema import parts
from ..guards import Watch
from ..runs import Run
from . import measuring, showing, telling
from .material import CodecMaterial, Material

STEPS = (5, 10, 20)
"""Step counts at which quality is measured, besides the model's own."""


def report(
    run: Run,
    n: int | None = None,
    *,
    steps: Sequence[int] = STEPS,
    seed: int = 0,
    guidance: float | None = None,
    batch: int | None = None,
    device: str | None = None,
    out: Path | str | None = None,
    watch: Watch | None = None,
) -> Path:
    """Write the report of a run, whole or not at all, and return where it is.

    Whatever a domain cannot do, or what fails, is said in its place and in a list at the end.

    Args:
        run: the run; its last checkpoint, averaged weights.
        n: samples, and real items to compare with; None: half of the held-out items, at most
            1,000.
        steps: step counts at which quality is measured, besides the model's own.
        seed: of the samples, and of the choice of real items.
        guidance: see `draw`; None: the model's own.
        batch: see `draw`.
        device: see `draw`.
        out: the file; None: `report.html` of the run.
        watch: is told how many of the samples of all draws are done.

    Raises:
        InputError: if the run has no checkpoint or no row of metrics yet, n or steps do not fit,
            or `out` cannot be a file.
    """
    path = run.path / "report.html" if out is None else Path(out)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file for the report")
    if bad := [count for count in steps if count < 1]:
        raise InputError(f"steps must be at least 1, but one is {bad[0]}")
    saved, rows = run.checkpoints(), files.rows(run.path / "metrics.jsonl")
    if not saved or not rows:
        lacks = "no checkpoint" if not saved else "nothing in metrics.jsonl"
        raise InputError(f"{run.path} has {lacks} to report on yet; train it first")
    material: Material
    if run.codes:
        codec = run.codec(device=device)
        material = CodecMaterial(run, codec, saved[-1], rows, n, seed, batch, watch)
    else:
        model = run.model(device=device)
        material = Material(run, model, saved[-1], rows, n, steps, seed, guidance, batch, watch)
    path.parent.mkdir(parents=True, exist_ok=True)  # fails before, not after, all is measured
    text = render(_page(material))
    files.write_text(path, text)
    material.tell(material.total)
    return path


def _page(material: Material) -> Page:
    run = material.run
    sections = [_section(material, *part) for part in _parts(material)]
    sections.append(_failures(material))
    made, what = datetime.now(UTC), "codec" if run.codes else "model"
    where = f"the data at {run.data_path}" if run.data_path else f"the data of {run.name}"
    return Page(
        title=run.name,
        words=f"A {what} of {where}; reported on {made:%d %B %Y, %H:%M} UTC.",
        facts=_facts(material),
        sections=sections,
    )


Part = tuple[str, str, str, Callable[[], Sequence[Block]]]


def _parts(material: Material) -> list[Part]:
    """For each section what it is called in a failure, its title, words and maker."""
    run = material.run
    if run.codes:
        return [
            ("The reconstructions", "Reconstructions",
             "Held-out items, spread evenly over those that are measured below, and what the codec "
             "makes of them.",
             lambda: showing.reconstructions(material)),
            ("The metrics", "Metrics",
             "What the codec makes of held-out items against those very items; the floor is other "
             "held-out items against them, which a codec may well be below.",
             lambda: measuring.table(material)),
            _training(material, "Held-out loss is the error of reconstruction, averaged weights."),
            *_told(material),
        ]  # fmt: skip
    both = "A value near its floor cannot be told from real data by that metric at this n."
    return [
        ("The samples", "Samples",
         "Not chosen: they are spread evenly over those that are measured below.",
         lambda: showing.samples(material)),
        ("The metrics", "Metrics",
         f"Samples against held-out data; the floor is other held-out data against it. {both}",
         lambda: measuring.table(material)),
        ("Quality against network calls", "Quality against network calls",
         "The same model, seeds and real items at several numbers of steps.",
         lambda: measuring.quality(material)),
        _training(material, "Held-out loss is that of the averaged weights, on draws that stay the "
                            "same."),
        ("The denoising strip", "Denoising over time",
         "From noise (t = 1) to data (t = 0). Below each state is what the model expects it to "
         "become; states are scaled to be about as large as data.",
         lambda: showing.denoising(material)),
        ("Nearest training items", "Nearest training items",
         f"Of {material.n:,} samples, those closest to an item of the training data, which are "
         "those most likely to be copies. Above each is its distance.",
         lambda: showing.neighbours(material)),
        *_told(material),
    ]  # fmt: skip


def _training(material: Material, words: str) -> Part:
    return ("The training curves", "Training", words, lambda: telling.curves(material))


def _told(material: Material) -> list[Part]:
    """The last parts, which say how to get the same again."""
    run = material.run
    return [
        ("The configuration", "Configuration", "", lambda: telling.configuration(run)),
        ("The versions and the machine", "Versions and machine", "",
         lambda: [*telling.versions(run), *telling.machine(material)]),
        ("The commands", "How to reproduce", "", lambda: telling.commands(material)),
    ]  # fmt: skip


def _section(
    material: Material, what: str, title: str, words: str, make: Callable[[], Sequence[Block]]
) -> Section:
    return Section(title, material.attempt(what, make), words)


def _failures(material: Material) -> Section:
    if not material.missing:
        return Section("Not measured", [Note("Nothing is missing from this report.")])
    return Section("Not measured", [Table(["what", "why"], material.missing)])


def _facts(material: Material) -> dict[str, str]:
    run, rows = material.run, material.rows
    weights = sum(p.numel() for p in parts(material.model).parameters())
    losses = [row["held_loss"] for row in rows if row.get("held_loss") is not None]
    share = run.recipe.held
    apart = "their own test part" if share is None else f"{share:.0%}"
    facts = {
        "steps trained": f"{material.saved.step:,} of {run.recipe.steps:,}",
        "parameters": f"{weights:,}",
        "data items": f"{run.data_items:,}, {apart} held out",
    }
    facts |= {"held-out loss": f"{losses[-1]:.4g}"} if losses else {}
    if run.codes:
        return facts | {"reconstructions": f"{material.n:,}, seed {material.seed}"}
    sampler = repr(material.model.sampler).removesuffix("()")
    guided = "" if material.guidance in (None, 1) else f", guidance {material.guidance:g}"
    return facts | {
        "samples": f"{material.n:,}, seed {material.seed}",
        "sampler": f"{sampler}, {material.model.steps} steps{guided}",
    }
