"""The parts of a report that are told: curves, configuration, versions, machine, commands."""

from __future__ import annotations

__all__ = ["commands", "configuration", "curves", "machine", "versions"]

import json
import os
import platform
import shlex
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

import torch

from sfumato_eval.report import Block, Chart, Charts, Code, Line, Note, Table

from ..ema import parts
from ..files import read_json
from ..linked import links
from ..recipe import Recipe
from ..runs import Run
from .material import Material

LINES = 5
"""Checkpoints whose loss by noise level is drawn; parts of a loss."""

LONGEST = 400
"""Characters of a value in a table."""


def curves(material: Material) -> Sequence[Block]:
    """How the training went."""
    rows = material.rows
    loss = [_line(rows, "loss", "training"), _line(rows, "held_loss", "held-out")]
    charts = [
        Chart("Loss", "step", "loss", [line for line in loss if line.x], log_y=True),
        *_levels(rows),
        Chart("Learning rate", "step", "learning rate", [_line(rows, "lr", "learning rate")]),
        Chart("Gradient norm before clipping", "step", "norm", [_line(rows, "grad_norm", "norm")],
              log_y=True),
        *_parts(rows),
        Chart("Throughput", "step", "items per second", [_line(rows, "items_per_s", "items/s")]),
    ]  # fmt: skip
    return [Charts([chart for chart in charts if any(line.x for line in chart.lines)])]


def _line(rows: Sequence[Mapping[str, Any]], key: str, name: str) -> Line:
    there = [row for row in rows if row.get(key) is not None]
    return Line(name, [row["step"] for row in there], [row[key] for row in there])


def _levels(rows: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Held-out loss by noise level, at a few checkpoints from the first to the last."""
    there = [row for row in rows if row.get("held_levels")]
    if not there:
        return []
    last = len(there) - 1
    chosen = sorted({round(i * last / (LINES - 1)) for i in range(LINES)})
    lines = []
    for number in chosen:
        clocks, values = zip(*there[number]["held_levels"], strict=True)
        lines.append(Line(f"step {there[number]['step']:,}", list(clocks), list(values)))
    note = "the loss as trained; noise grows to the right; equally many items in each mean"
    name = "log(sigma/alpha)"
    return [Chart("Held-out loss by noise level", name, "loss", lines, log_y=True, note=note)]


def _parts(rows: Sequence[Mapping[str, Any]]) -> list[Chart]:
    names = list(dict.fromkeys(name for row in rows for name in row.get("parts") or {}))[:LINES]
    lines = []
    for name in names:
        there = [row for row in rows if (row.get("parts") or {}).get(name) is not None]
        lines.append(
            Line(name, [row["step"] for row in there], [row["parts"][name] for row in there])
        )
    return [Chart("Parts of the loss", "step", "value", lines, log_y=True)] if lines else []


def configuration(run: Run) -> Sequence[Block]:
    """Every field of the recipe, with its default where that was changed."""
    about = [[name, _short(_word(value))] for name, value in run.about.items()]
    rows = [
        [name, _short(value), "" if value == default else _short(default), meaning]
        for name, value, default, meaning in _fields(run.recipe)
    ]
    return [
        Table(["field", "value", "default if changed", "meaning"], rows),
        *([Table(["fact of the data", "value"], about)] if about else []),
    ]


def _fields(recipe: Recipe) -> list[tuple[str, str, str, str]]:
    """Name, value, default and meaning of each field; a field without a default has ''."""
    values = recipe.model_dump(mode="json")
    values |= {name: str(link) for name, link in links(recipe)}
    return [
        (
            name,
            _word(values[name]),
            "" if field.is_required() else _word(field.get_default(call_default_factory=True)),
            field.description or "",
        )
        for name, field in type(recipe).model_fields.items()
    ]


def _word(value: Any) -> str:
    """A value as it is written on the command line."""
    if value is None:
        return "none"
    if isinstance(value, list | tuple) and not any(isinstance(v, list | tuple) for v in value):
        return ",".join(map(_word, value))
    return json.dumps(value) if isinstance(value, list | tuple | dict) else str(value)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ... ({len(text):,} characters)"


def versions(run: Run) -> Sequence[Block]:
    """Versions of what the run was begun with, and of what made this report."""
    begun = {k: str(v) for k, v in read_json(run.path / "recipe.json").get("versions", {}).items()}
    now = {"python": platform.python_version()}
    ours = {
        name: dist.version
        for dist in distributions()
        if (name := dist.metadata["Name"]) and name.startswith("sfumato")
    }
    now |= dict(sorted(ours.items()))
    for name in ("torch", "numpy", *begun):
        try:
            now.setdefault(name, version(name))
        except PackageNotFoundError:
            now.setdefault(name, "not installed")
    rows = [[name, begun.get(name, ""), found] for name, found in now.items()]
    return [Table(["package", "when the run began", "for this report"], rows)]


def machine(material: Material) -> Sequence[Block]:
    """The machine that drew the samples of this report."""
    device = next((str(p.device) for p in parts(material.model).parameters()), "cpu")
    rows = [
        ["system", f"{platform.system()} {platform.release()}, {platform.machine()}"],
        ["processor", _processor()],
        ["cores", str(os.cpu_count() or "unknown")],
        ["memory", _memory()],
        ["threads of torch", str(torch.get_num_threads())],
        ["device", device + (f", {torch.cuda.get_device_name()}" if "cuda" in device else "")],
    ]
    return [Table(["machine of this report", ""], rows)]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return "unknown"
    return f"{size / 2**30:.1f} GiB"


def commands(material: Material) -> Sequence[Block]:
    """The commands that make this run and this report again."""
    run = material.run
    facts = read_json(run.path / "recipe.json")
    begun = facts.get("versions", {})
    needed = [
        f"{name}=={str(begun[name]).partition('+')[0]}" if name in begun else str(name)
        for name in (facts["plugin"], "torch")
    ]
    folder = str(run.path)
    changed = [
        f"{name}={value}" for name, value, default, _ in _fields(run.recipe) if value != default
    ]
    train = ["sfumato", "train", run.name, *changed]
    train += [] if run.data_path is None else ["--data", str(run.data_path)]
    asked = ["-n", str(material.n)]
    asked += ["--steps", ",".join(map(str, material.steps))] if material.steps else []
    asked += ["--seed", str(material.seed)]
    asked += [] if material.guidance is None else ["--guidance", f"{material.guidance:g}"]
    lines = [
        ["pip", "install", "sfumato-cli", *needed],
        [*train, "--out", folder],
        ["sfumato", "report", folder, *asked],
    ]
    same = "On the same machine, with the same versions and the same number of threads, both give "
    return [
        Code("\n".join(map(shlex.join, lines))),
        Note(f"{same}the same numbers; elsewhere they agree up to rounding, which training blows "
             "up to another model of about the same quality."),
    ]  # fmt: skip
