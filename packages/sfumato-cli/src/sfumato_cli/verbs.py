"""Verbs that plugins add: components of kind `command`, loaded when they are run.

A target is a function as typer wants it, in a module that imports nothing heavy. Its name is
`plugin/verb`, or a bare verb that serves all data. `sfumato verb ...` finds it; where several
plugins offer the verb, the run folder among the arguments decides, and `sfumato plugin/verb ...`
always works.
"""

from __future__ import annotations

__all__ = ["mount"]

import json
from collections.abc import Collection, Sequence
from itertools import groupby
from pathlib import Path

import typer

from sfumato import InputError
from sfumato.components import Component, Registry

from .errors import reported

# `--help` counts as given, so that typer has no need of pydantic to read it.
QUICK = {"default_map": {"help": False}}
FORWARD = QUICK | {"allow_extra_args": True, "ignore_unknown_options": True}


def mount(app: typer.Typer, registry: Registry, taken: Collection[str]) -> None:
    """Add the verbs of the plugins to the command; a verb in `taken` only by its full name."""
    found = sorted(registry.list("command"), key=lambda component: (component.tail, component.name))
    for verb, group in groupby(found, key=lambda component: component.tail):
        offers = tuple(group)
        for offer in offers:
            if offer.name != verb:
                _forward(app, registry, offer.name, (offer,), hidden=verb not in taken)
        if verb not in taken:
            _forward(app, registry, verb, offers, hidden=False)


def _forward(
    app: typer.Typer, registry: Registry, name: str, offers: Sequence[Component], *, hidden: bool
) -> None:
    summary = " | ".join(dict.fromkeys(offer.summary for offer in offers))

    @app.command(name, help=summary, add_help_option=False, context_settings=FORWARD, hidden=hidden)
    @reported()
    def verb(ctx: typer.Context) -> None:
        one = offers[0] if len(offers) == 1 else _deciding(registry, offers, ctx.args)
        inner = typer.Typer(rich_markup_mode=None, add_completion=False)
        inner.command(one.tail)(reported()(one.load()))
        typer.main.get_command(inner).main(ctx.args, ctx.command_path, standalone_mode=False)


def _deciding(registry: Registry, offers: Sequence[Component], words: Sequence[str]) -> Component:
    """The offer of the plugin that the domain of the run among the words belongs to."""
    for word in words:
        path = Path(word) / "recipe.json"
        if path.is_file():
            try:
                name = json.loads(path.read_text(encoding="utf-8"))["domain"]
            except (ValueError, KeyError, TypeError):
                raise InputError(f"{path} is not the recipe of a run") from None
            owner = registry.find("domain", name).owner
            for offer in offers:
                if offer.owner == owner:
                    return offer
    names = " or ".join(offer.name for offer in offers)
    raise InputError(f"several plugins offer {offers[0].tail}, and no run decides; say {names}")
