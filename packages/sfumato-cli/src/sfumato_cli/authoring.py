"""The verb `new-plugin`."""

from __future__ import annotations

__all__ = ["new_plugin"]

from pathlib import Path
from typing import Annotated

import typer


def new_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One word, such as wind.")],
    out: Annotated[
        Path | None, typer.Option(help="A new folder; by default sfumato-NAME, here.")
    ] = None,
) -> None:
    """Write a plugin of your own: a package with data, process, network, recipe and tests."""
    from sfumato_testing.authoring import new_plugin as write

    folder = write(name, out)
    typer.echo(f"wrote {folder}; its README.md says how to go on: pip install -e {folder}")
