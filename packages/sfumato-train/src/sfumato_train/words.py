"""`key=value` words as a checked recipe, or one sentence that says what is wrong."""

from __future__ import annotations

__all__ = ["parse_words", "sentence"]

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from sfumato import InputError
from sfumato.components import close_matches

Model = TypeVar("Model", bound=BaseModel)

_BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "a multiple of"}


def parse_words(
    recipe_class: type[Model], words: Sequence[str], base: Mapping[str, Any] | None = None
) -> Model:
    """A recipe with the fields that the words name.

    A list is written `1,2,3`, a value that may be absent `none`, anything deeper as JSON.

    Args:
        recipe_class: the recipe, or any pydantic model.
        words: `key=value` each.
        base: values of fields that the words do not name.

    Raises:
        InputError: for a word of another form, a field named twice or unknown (with close matches),
            or a value of the wrong type or range; says what is accepted.
    """
    values: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise InputError(f"{word!r} is not a recipe field, which is written key=value")
        if key in values:
            raise InputError(f"recipe field {key!r} is given twice")
        values[key] = _value(key, text, recipe_class.model_fields.get(key))
    try:
        return recipe_class.model_validate({**(base or {}), **values})
    except ValidationError as error:
        raise InputError(sentence(error, recipe_class)) from None


def _value(key: str, text: str, field: FieldInfo | None) -> Any:
    """The text of a word as pydantic should see it."""
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"{key}={text} is not valid JSON: {error}") from None
    kind = field.annotation if field else None
    kinds = [kind, *get_args(kind)]
    if text == "none" and type(None) in kinds:
        return None
    if any(get_origin(k) in (list, tuple) for k in kinds):
        return [part for part in text.split(",") if part]
    return text


def sentence(error: ValidationError, model: type[BaseModel]) -> str:
    """What is wrong with each value and what is accepted, as one sentence."""
    return "; ".join(_part(one, model.model_fields) for one in error.errors(include_url=False))


def _part(one: Any, known: Mapping[str, FieldInfo]) -> str:
    key = ".".join(str(step) for step in one["loc"])
    field = known.get(str(one["loc"][0])) if one["loc"] else None
    if one["type"] == "extra_forbidden":
        close = close_matches(key, known)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there is {', '.join(known)}"
        return f"there is no field {key!r}; {hint}"
    if one["type"] == "missing":
        return f"{key} must be given{_accepted(field)}"
    message = one["msg"].removeprefix("Value error, ")
    given = f"{key}={one['input']}: " if key else ""
    told = "" if one["type"] == "value_error" else _accepted(field)  # validators say it themselves
    return f"{given}{message[:1].lower()}{message[1:]}{told}"


def _accepted(field: FieldInfo | None) -> str:
    """The type and range of a field, in brackets."""
    if field is None:
        return ""
    kind = field.annotation
    plain = isinstance(kind, type) and not get_origin(kind)
    name = kind.__name__ if plain and isinstance(kind, type) else str(kind)
    bounds = [
        f"{sign} {getattr(one, bound)}"
        for one in field.metadata
        for bound, sign in _BOUNDS.items()
        if getattr(one, bound, None) is not None
    ]
    told = " ".join([name.replace("typing.", ""), " and ".join(bounds)]).rstrip()
    return f" (accepted: {told})"
