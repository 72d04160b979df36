"""The reference page of the contract, made from signatures and docstrings.

`python tools/reference.py` writes packages/sfumato/REFERENCE.md; `--check` says whether it is what
it should be, and fails where it is not.
"""

from __future__ import annotations

import argparse
import dataclasses
import enum
import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

import pluggy
from torch import nn
from workspace import ROOT

import sfumato
from sfumato.components import KINDS, VERBS

__all__ = ["PAGE", "main", "page"]

PAGE = ROOT / "packages/sfumato/REFERENCE.md"

INTRODUCTION = """# Reference: the contract for authors

Made by `tools/reference.py` from signatures and docstrings; change those, not this page.
[A plugin in five minutes](../sfumato-testing/PLUGIN.md) is where to start.
"""

# Title, what it is, module, names; the names of the core are those of `sfumato.__init__`.
CORE = {
    "state": "States and times",
    "random": "Randomness",
    "laws": "Laws",
    "process": "Processes",
    "product": "Products of processes",
    "denoiser": "Denoisers",
    "sampling": "Samplers and the driver",
    "constraint": "Constraints",
    "bound": "Likelihood",
    "codec": "Codecs",
    "model": "Batches and models",
    "domain": "Domains and data sets",
    "plugins": "Plugins",
    "survey": "Published systems",
    "errors": "Errors",
}
OTHERS = {
    "sfumato.components": (
        "The registry",
        ("Registry", "Component", "Plugin", "Broken", "PluginError", "UnknownName"),
    ),
    "sfumato_train": (
        "Training",
        ("Objective", "Loss", "Denoising", "Recipe", "Settings", "Training"),
    ),
    "sfumato_data": ("Data sets", ("Tensors", "Keyed")),
    "sfumato_eval": ("Metrics", ("Metric", "Score", "Features", "measure")),
    "sfumato_testing": (
        "Conformance kit",
        ("checks", "failures", "Case", "SolverCase", "PluginCase", "DiagonalMixture",
         "FullMixture", "Enumerated", "Factorised", "Together"),
    ),
}  # fmt: skip


def main() -> None:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; fail when stale")
    check = parser.parse_args().check
    new = page()
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == new:
        return
    if check:
        sys.exit(f"{PAGE.name} is stale: run `python tools/reference.py`")
    beside = PAGE.with_name(f".{PAGE.name}.{os.getpid()}")
    beside.write_text(new, encoding="utf-8")
    beside.replace(PAGE)


def page() -> str:
    """The whole page as Markdown."""
    sections = [*_core(), _hooks(), *_others(), _laws()]
    titles = [section.partition("\n")[0].removeprefix("## ") for section in sections]
    contents = "\n".join(f"- [{title}](#{_anchor(title)})" for title in titles)
    return "\n\n".join([INTRODUCTION.rstrip(), contents, *sections]) + "\n"


def _core() -> Iterator[str]:
    """A section for each module of the core, with the names that `sfumato` offers from it."""
    missing = sfumato._HOME.keys() ^ CORE.keys()
    if missing:
        sys.exit(f"tools/reference.py: CORE and sfumato._HOME differ in {', '.join(missing)}")
    for module, title in CORE.items():
        found = importlib.import_module(f"sfumato.{module}")
        names = sfumato._HOME[module].split()
        if module == "random":
            names = [name for name in found.__all__ if callable(getattr(found, name))]
        where = "sfumato.random" if module == "random" else "sfumato"
        entries = [_entry(where, name, getattr(found, name)) for name in names]
        yield _section(title, found, entries)


def _hooks() -> str:
    from sfumato.plugins import Add, Hooks

    entries = [
        _described("sfumato_register(add)", Hooks.sfumato_register),
        _described("sfumato_cases()", Hooks.sfumato_cases),
        _described(f"add{_signature(Add.__call__)}", Add.__call__),
        f"Kinds: {', '.join(f'`{kind}`' for kind in KINDS)}.",
        f"Verbs of the command itself: {', '.join(f'`{verb}`' for verb in VERBS)}.",
    ]
    return "\n\n".join(
        ["## Hooks", "Functions of a plugin's module behind `@sfumato.hook`.", *entries]
    )


def _others() -> Iterator[str]:
    for module, (title, names) in OTHERS.items():
        found = importlib.import_module(module)
        yield _section(title, found, [_entry(module, name, getattr(found, name)) for name in names])


def _laws() -> str:
    """The checks of the kit, by number."""
    from sfumato_testing.book import BOOK, number

    entries = sorted(BOOK, key=lambda entry: int(number(entry.check)[1:]))
    parts = [f"### {entry.check.__name__}\n\n{_doc(entry.check)}" for entry in entries]
    return "\n\n".join(
        ["## The laws of the kit", "What it tries, and at which rate of false alarms.", *parts]
    )


def _section(title: str, module: Any, entries: list[str]) -> str:
    return "\n\n".join([f"## {title}", _doc(module).partition("\n\n")[0], *entries])


def _entry(where: str, name: str, value: Any) -> str:
    """One public name: signature, docstring, and the members of a class."""
    if isinstance(value, pluggy.HookimplMarker):
        return f"### {name}\n\nDecorator that makes a function of a plugin's module a hook."
    if not callable(value) or not hasattr(value, "__module__"):
        return f"### {name}\n\nA type: `{_plain(str(value))}`, from `{where}`."
    if not isinstance(value, type):
        return _described(f"{where}.{name}{_signature(value)}", value, heading=name)
    parts = [f"### {name}", f"```text\n{_class(where, name, value)}\n```", _doc(value)]
    if issubclass(value, enum.Flag):
        parts.append(f"Members: {', '.join(f'`{one.name}`' for one in value)}.")
        return "\n\n".join(parts)
    parts.append("\n".join([*_fields(value), *_members(value)]))
    return "\n\n".join(part for part in parts if part)


def _members(value: type) -> Iterator[str]:
    """A line for each public method and property that a class defines itself."""
    for member, attribute in vars(value).items():
        inner = inspect.unwrap(getattr(attribute, "__func__", attribute))
        if member.startswith("_") and member != "__call__":
            continue
        if isinstance(attribute, property):
            said, form = _doc(attribute), member
        elif inspect.isfunction(inner):
            said, form = _doc(inner) or _inherited(value, member), f"{member}{_signature(inner)}"
        else:
            continue
        first, raises = _flat(said), said.partition("Raises:\n\n")[2]
        raised = "".join(f" Raises {line[2:]}" for line in _entries(raises))
        yield f"- `{form}`" + (f": {first}{raised}" if first else "")


def _fields(value: type) -> Iterator[str]:
    """A line for each field of a recipe: its type, default and description."""
    for name, field in getattr(value, "model_fields", {}).items():
        if name in value.__annotations__:
            form = f"{name}: {_plain(value.__annotations__[name])}"
            yield f"- `{form} = {field.default!r}`: {field.description}"


def _entries(items: str) -> list[str]:
    """The entries of a Markdown list at the start of a text, each in one line."""
    return [" ".join(one.split()) for one in re.findall(r"^- .*(?:\n  .*)*", items, re.MULTILINE)]


def _described(signature: str, value: Any, heading: str | None = None) -> str:
    head = heading or signature.partition("(")[0]
    return f"### {head}\n\n```text\n{signature}\n```\n\n{_doc(value)}"


def _class(where: str, name: str, value: type) -> str:
    """How a class is made, or that it is a protocol or an error."""
    if getattr(value, "_is_protocol", False):
        return f"{where}.{name}: protocol"
    if issubclass(value, (enum.Enum, BaseException)):
        return f"{where}.{name}: {value.__mro__[1].__name__}"
    if hasattr(value, "model_fields"):
        return f"{where}.{name}: {value.__mro__[1].__name__}, keywords only, frozen"
    signature = "(...)" if value.__init__ is nn.Module.__init__ else _signature(value)
    made = f"{where}.{name}{signature.removesuffix(' -> None')}"
    bases = [base.__name__ for base in value.__bases__ if base is not object]
    bases = [base for base in bases if not base.startswith("_")]
    kinds = [*bases, "frozen"] if dataclasses.is_dataclass(value) else bases
    return f"{made}  # {', '.join(kinds)}" if kinds else made


def _signature(value: Any) -> str:
    """The signature as its author wrote it."""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return "(...)"
    return _plain(str(signature).replace("(self, ", "(").replace("(self)", "()"))


def _plain(text: object) -> str:
    """Annotations without quotes, addresses and the modules that they come from."""
    said = re.sub(r"<function (\w+) at 0x[0-9a-f]+>", r"\1", str(text))
    said = re.sub(r"ForwardRef\('([^']*)'\)", r"\1", said)
    said = re.sub(r"""(: |-> )(?:'([^']*)'|"([^"]*)")""", r"\1\2\3", said)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", said)


def _doc(value: Any) -> str:
    """The docstring; its sections (Args, Returns, Raises ...) become lists."""
    found = value.__doc__ if isinstance(value, property) else getattr(value, "__doc__", None)
    text = inspect.cleandoc(found) if found else ""
    text = re.sub(r"^(\w+)::$", r"\1:", text, flags=re.MULTILINE)
    text = re.sub(r":(?:meth|class|mod|func):`\.?([^`]*)`", r"`\1`", text)
    text = text.replace("``", "`")
    parts = re.split(r"^(Args|Attributes|Returns|Raises|Yields):\n", text, flags=re.MULTILINE)
    lines = [parts[0].rstrip()]
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        lines += ["", f"{title}:", "", _items(body)]
    return "\n".join(lines).strip()


def _items(body: str) -> str:
    """The indented entries under a section of a docstring, as a list; what follows stays."""
    inside, found = True, []
    for line in body.splitlines():
        if inside and line.startswith("    ") and not line.startswith("     "):
            name, colon, rest = line.strip().partition(": ")
            found.append(
                f"- `{name}`: {rest}" if colon and " " not in name else f"- {line.strip()}"
            )
        elif inside and line.startswith("     "):
            found.append("  " + line.strip())
        else:
            inside = inside and not line.strip()
            found.append(line)
    return "\n".join(found).rstrip()


def _flat(text: str) -> str:
    """The first paragraph in one line."""
    return " ".join(text.partition("\n\n")[0].split())


def _inherited(owner: type, member: str) -> str:
    for base in owner.__mro__[1:]:
        text = _doc(getattr(base, member, None))
        if text:
            return text
    return ""


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")


if __name__ == "__main__":
    main()
