"""The `sfumato` command: its own verbs, and those of the installed plugins."""

from __future__ import annotations

__all__ = ["application", "main"]

from collections.abc import Callable
from typing import Annotated, Any

import typer

import sfumato

from . import apply, authoring, catalogue, comparing, data, reports, runs, sampling, systems
from .errors import reported
from .verbs import QUICK, Verbs, mount

VERBS: dict[str, Callable[..., None]] = {
    "train": runs.train,
    "sample": sampling.sample,
    "evaluate": runs.evaluate,
    "report": reports.report,
    "compare": comparing.compare,
    "tune-grid": comparing.tune_grid,
    "apply": apply.apply,
    "systems": systems.systems,
    "claims": systems.claims,
    "plugins": catalogue.plugins,
    "list": catalogue.components,
    "show": catalogue.show,
    "new-plugin": authoring.new_plugin,
}


def main() -> None:
    """Run the command and exit."""
    with reported():
        application()()


def application() -> typer.Typer:
    """The command as a typer application.

    Help and the verbs that only list things stay quick: typer's own plain help, and nothing
    imported beyond what the plugins announce.
    """
    app = typer.Typer(
        cls=Verbs,
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        no_args_is_help=True,
        context_settings=QUICK,
    )
    app.callback()(_sfumato)
    # The KIND of `list` is no parameter: typer would import pydantic to read it.
    free: dict[str, Any] = {
        "context_settings": QUICK | {"allow_extra_args": True},
        "options_metavar": "[KIND]",
    }
    for name, verb in VERBS.items():
        words: dict[str, Any] = free if name == "list" else {"context_settings": QUICK}
        app.command(name, **words)(reported()(verb))
    app.add_typer(data.application(), name="data")
    mount(app, sfumato.registry())
    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sfumato {sfumato.__version__}")
        raise typer.Exit


def _sfumato(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Train, sample and measure diffusion models on any kind of data."""
