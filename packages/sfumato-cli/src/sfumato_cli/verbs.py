"""Verbs that plugins add: components of kind `command`, loaded when they are run.

A target is a function as typer wants it, in a module that imports nothing heavy. Its name is
`plugin/verb`, or a bare verb that serves all data. `sfumato verb ...` finds it; where several
plugins offer the verb, the run folder among the arguments decides, and `sfumato plugin/verb ...`
always works. The verbs of the command itself are nobody else's (`sfumato.components.VERBS`).
"""

from __future__ import annotations

__all__ = ["Verbs", "mount"]

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from sfumato import InputError, registry
from sfumato.components import Component, Registry, UnknownName, hint

from .errors import reported

# `--help` counts as given, so that typer has no need of pydantic to read it.
QUICK = {"default_map": {"help": False}}
FORWARD = QUICK | {"allow_extra_args": True, "ignore_unknown_options": True}


class Verbs(TyperGroup):
    """All verbs; one that is not there is told like any other name."""

    @reported()
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands:
            way = hint(args[0], self.commands, "`sfumato --help` shows what there is")
            raise UnknownName(f"there is no command {args[0]!r}; {way}{registry().foot}")
        return super().resolve_command(ctx, args)


def mount(app: typer.Typer, registry: Registry) -> None:
    """Add the verbs of the plugins to the command."""
    found = sorted(registry.list("command"), key=lambda component: (component.tail, component.name))
    for verb, group in groupby(found, key=lambda component: component.tail):
        offers = tuple(group)
        for offer in offers:
            if offer.name != verb:
                _forward(app, registry, offer.name, (offer,), hidden=True)
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
