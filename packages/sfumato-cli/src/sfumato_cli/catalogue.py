"""What is installed: the verbs `plugins`, `list` and `show`."""

from __future__ import annotations

__all__ = ["components", "plugins", "show"]

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sfumato import InputError, registry
from sfumato.components import Component, UnknownName, hint

from .tables import columns, type_name

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

Row = tuple[str, str, str, str]

BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "a multiple of"}


def plugins() -> None:
    """Installed plugins, and those that are broken, with the cause."""
    found = registry()
    head = ("plugin", "distribution", "version", "components")
    works = [(p.name, p.distribution, p.version, str(len(p.components))) for p in found.plugins]
    fails = [(b.name, b.distribution, b.version, f"broken: {b.cause}") for b in found.broken]
    columns([head, *works, *fails])


def components(ctx: typer.Context) -> None:
    """Everything that is announced, or everything of one KIND.

    A name goes with its kind: `sfumato show NAME` says more.
    """
    if len(ctx.args) > 1:
        raise InputError(f"list takes one KIND, not {' '.join(ctx.args)}")
    kind = ctx.args[0] if ctx.args else None
    found = registry().list(kind)
    if not found:
        typer.echo(f"no installed plugin announces a {kind or 'component'}", err=True)
    columns((c.kind, c.name, c.owner, c.summary) for c in found)


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of `sfumato list`.")],
    kind: Annotated[str | None, typer.Option(help="The kind, where kinds share the name.")] = None,
) -> None:
    """Tell all about one component: summary, source, and the fields it takes."""
    component = _named(name, kind)
    facts = {
        "kind": component.kind,
        "name": component.name,
        "summary": component.summary,
        "source": component.source,
        "target": component.target,
        "owner": component.owner,
    }
    columns((key, value) for key, value in facts.items() if value)
    target = component.load()
    text = _doc(target)
    if text:
        typer.echo(f"\n{text}")
    rows = _parameters(target)
    if rows:
        typer.echo()
        columns([("field", "type", "default", ""), *rows])


def _named(name: str, kind: str | None) -> Component:
    if kind is not None:
        return registry().find(kind, name)
    everything = registry().list()
    found = [component for component in everything if component.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        kinds = " and a ".join(component.kind for component in found)
        raise InputError(f"{name!r} is a {kinds}; say which with --kind")
    names = {component.name for component in everything}
    way = hint(name, names, "`sfumato list` shows what there is")
    raise UnknownName(f"there is nothing named {name!r}; {way}{registry().foot}")


def _doc(target: object) -> str:
    """The first paragraph of the docstring, if the thing or its class has one."""
    import inspect

    plain = isinstance(target, type) or callable(target)
    text = inspect.getdoc(target if plain else type(target)) or ""
    return text.partition("\n\n")[0]


def _parameters(target: Any) -> Iterable[Row]:  # noqa: ANN401, any announced thing
    """Name, type, default and description of what a component takes."""
    import dataclasses
    import inspect

    from pydantic import BaseModel

    if isinstance(target, type) and issubclass(target, BaseModel):
        return [
            (name, *_field(field), field.description or "")
            for name, field in target.model_fields.items()
        ]
    if dataclasses.is_dataclass(target) and not isinstance(target, type):
        given = [(f, getattr(target, f.name)) for f in dataclasses.fields(target) if f.init]
        return [(f.name, type_name(f.type), str(value), "") for f, value in given]
    if not callable(target):
        return []
    empty = inspect.Parameter.empty
    return [
        (
            one.name,
            "" if one.annotation is empty else type_name(one.annotation),
            "(required)" if one.default is empty else str(one.default),
            "",
        )
        for one in inspect.signature(target).parameters.values()
    ]


def _field(field: FieldInfo) -> tuple[str, str]:
    """Type with range, and default, of a field of a recipe."""
    bounds = [
        f"{sign} {getattr(one, bound)}"
        for one in field.metadata
        for bound, sign in BOUNDS.items()
        if getattr(one, bound, None) is not None
    ]
    kind = f"{type_name(field.annotation)} {' and '.join(bounds)}".rstrip()
    return kind, "(required)" if field.is_required() else str(field.get_default())
