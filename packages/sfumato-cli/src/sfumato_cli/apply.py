"""The verb `apply`: a tool on a run, its options checked as the fields of a recipe are."""

from __future__ import annotations

__all__ = ["apply", "options"]

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sfumato import InputError, registry
from sfumato.components import PluginError

from .progress import progress

if TYPE_CHECKING:
    from pydantic import BaseModel

WATCH = "watch"
"""The keyword parameter of a tool that is told how far it is (`sfumato_train.Watch`)."""


def apply(
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="A name of `sfumato list tool`.")],
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a trained run.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="key=value", help="Options of the tool; see `sfumato show TOOL`."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="A folder to write; by default RUN with the tool's name appended."),
    ] = None,
) -> None:
    """Make another run, or a report, of a run."""
    from sfumato_train import open_run, parse_words

    component = registry().find("tool", tool)
    function = component.load()
    given = parse_words(options(function, component.name), words or ())
    opened = open_run(run)
    folder = run.absolute()
    out = out or folder.with_name(f"{folder.name}-{component.tail}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is not an empty folder; a tool needs a new or an empty one")
    chosen = {key: getattr(given, key) for key in type(given).model_fields}
    with progress(component.tail) if _watched(function) else nullcontext() as watch:
        told = function(opened, out, **chosen, **({} if watch is None else {"watch": watch}))
    typer.echo(told or f"wrote {out}")


def options(function: Callable[..., Any], name: str) -> type[BaseModel]:
    """The keyword parameters of a tool as a pydantic model that forbids others; no `watch`.

    Raises:
        PluginError: if the function cannot be called as a tool is.
    """
    import inspect
    from typing import get_type_hints

    from pydantic import ConfigDict, create_model

    first, *rest = _parameters(function, name)
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for one in rest[1:]:
        if one.name == WATCH:
            continue
        if one.kind is not inspect.Parameter.KEYWORD_ONLY or one.name not in hints:
            raise PluginError(
                f"tool {name!r}: {one.name} must be a typed keyword parameter, as all options are"
            )
        default = ... if one.default is inspect.Parameter.empty else one.default
        fields[one.name] = (hints[one.name], default)
    return create_model(name, __config__=ConfigDict(extra="forbid", frozen=True), **fields)


def _watched(function: Callable[..., Any]) -> bool:
    """Whether a tool wants to be given what shows its progress."""
    import inspect

    return WATCH in inspect.signature(function).parameters


def _parameters(function: Callable[..., Any], name: str) -> list[Any]:
    import inspect

    if callable(function):
        found = list(inspect.signature(function).parameters.values())
        if [one.name for one in found[:2]] == ["run", "out"]:
            return found
    raise PluginError(f"tool {name!r} is no function of (run, out, *, options)")
