"""What graphs are asked for with: a size, a label, properties; the run keeps their schema."""

from __future__ import annotations

__all__ = ["COMPUTED", "Labelled", "asked", "columns", "described", "told", "tensors"]

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from sfumato import InputError
from sfumato_data.asking import spans

COMPUTED: Mapping[str, Callable[[nx.Graph], float]] = {
    "density": nx.density,
    "clustering": nx.average_clustering,
}
"""Properties that are taken of graphs which have no attribute of the name."""

TURN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Labelled:
    """What is known of one graph: the class of its label, and the values of its properties."""

    label: int | None = None
    properties: tuple[float, ...] = ()


def described(
    named: Sequence[tuple[str, nx.Graph]], label: str | None, properties: Sequence[str]
) -> dict[str, Any]:
    """The facts of conditions: `label` with its classes and their sizes, `properties` with ranges.

    Args:
        named: graphs with what to call them in errors.
        label: attribute of graphs whose values are classes.
        properties: attributes of graphs that are numbers, or names of `COMPUTED`.

    Raises:
        InputError: for an attribute that a graph lacks or that is of another kind.
    """
    facts: dict[str, Any] = {}
    if label is not None:
        values = [_label(title, network, label) for title, network in named]
        classes = sorted(set(values), key=lambda value: (isinstance(value, str), value))
        if len(classes) > 1000:
            raise InputError(f"the label {label!r} has {len(classes)} values; accepted are 1,000")
        sizes: list[list[list[int]]] = []
        for value in classes:
            own = [len(g) for v, (_, g) in zip(values, named, strict=True) if v == value]
            found, counts = np.unique(own, return_counts=True)
            sizes.append([found.tolist(), counts.tolist()])
        facts["label"] = {"attribute": label, "classes": classes, "sizes": sizes}
    if properties:
        if len(set(properties)) < len(properties):
            raise InputError(f"a property is named twice in {', '.join(properties)}")
        rows = np.array([[_number(t, g, name) for name in properties] for t, g in named])
        facts["properties"] = {
            "names": list(properties), "mean": rows.mean(0).tolist(),
            "std": np.where(rows.std(0) > 0, rows.std(0), 1.0).tolist(),
            "low": rows.min(0).tolist(), "high": rows.max(0).tolist(),
        }  # fmt: skip
    return facts


def columns(named: Sequence[tuple[str, nx.Graph]], about: Mapping[str, Any]) -> list[Labelled]:
    """What is known of each graph, by the facts of conditions.

    Where no graph has the label, such as samples that were drawn without, none is known; and so
    with the properties, if one of them can neither be found nor computed.

    Raises:
        InputError: for an attribute that some graphs lack, or a label that the facts do not have.
    """
    label, names = about.get("label"), about.get("properties", {}).get("names", ())
    places: list[int | None] = [None] * len(named)
    if label is not None and any(label["attribute"] in g.graph for _, g in named):
        places = [_place(title, g, label) for title, g in named]
    if not all(name in COMPUTED or any(name in g.graph for _, g in named) for name in names):
        names = ()
    return [
        Labelled(place, tuple(_number(title, g, name) for name in names))
        for place, (title, g) in zip(places, named, strict=True)
    ]


def _place(title: str, network: nx.Graph, label: Mapping[str, Any]) -> int:
    value = _label(title, network, label["attribute"])
    if value not in label["classes"]:
        raise InputError(
            f"{title}: the label {value!r} is not one of {', '.join(map(repr, label['classes']))}"
        )
    return int(label["classes"].index(value))


def _label(title: str, network: nx.Graph, name: str) -> str | int:
    value = network.graph.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        there = ", ".join(sorted(map(str, network.graph))) or "none"
        raise InputError(
            f"{title}: the label {name!r} of a graph is text or a whole number, but is {value!r}; "
            f"its attributes are {there}"
        )
    return value


def _number(title: str, network: nx.Graph, name: str) -> float:
    value = network.graph.get(name)
    if value is None and name in COMPUTED:
        return float(COMPUTED[name](network))
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(
            f"{title}: the property {name!r} of a graph is a finite number, but is {value!r}; "
            f"{' and '.join(COMPUTED)} are computed where they are missing"
        )
    return number


def tensors(known: Sequence[Labelled], about: Mapping[str, Any]) -> dict[str, Tensor]:
    """For a network: `label` (B,), classes, and `vector` (B, K), numbers of mean 0, variance 1."""
    found: dict[str, Tensor] = {}
    if "label" in about and None not in (labels := [one.label for one in known]):
        found["label"] = torch.tensor(labels)
    if "properties" in about and all(one.properties for one in known):
        rows = torch.tensor([one.properties for one in known], dtype=torch.float64)
        mean, std = (torch.tensor(about["properties"][k]).double() for k in ("mean", "std"))
        found["vector"] = ((rows - mean) / std).float()
    return found


def told(condition: Mapping[str, Any], item: int, about: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a graph that was asked for: its label and its properties, by their names."""
    found: dict[str, Any] = {}
    if "label" in condition and "label" in about:
        label = about["label"]
        found[label["attribute"]] = label["classes"][int(condition["label"][item])]
    if "vector" in condition and "properties" in about:
        facts = about["properties"]
        numbers = condition["vector"][item].tolist()
        rows = zip(facts["names"], numbers, facts["mean"], facts["std"], strict=True)
        found |= {name: round(v * std + mean, 6) for name, v, mean, std in rows}
    return found


def asked(values: Mapping[str, str], n: int, about: Mapping[str, Any]) -> dict[str, Tensor]:
    """What n samples are asked for with, from words: `nodes=12..20`, `label=3`, `density=0.2`.

    Sizes and labels may be several with commas, which the samples go through in turn. Where a label
    is asked for and no size, sizes are those of the training graphs of the label, in their shares.

    Raises:
        InputError: for another name, a size, label or number that training has not seen, or some
            of the properties only.
    """
    label: Mapping[str, Any] = about.get("label", {})
    properties: Mapping[str, Any] = about.get("properties", {})
    names: Sequence[str] = properties.get("names", ())
    known = ["nodes", *([label["attribute"]] if label else []), *names]
    for name in values:
        if name not in known:
            raise InputError(f"there is no condition {name!r}; this model takes {', '.join(known)}")
    found: dict[str, Tensor] = {}
    if label and label["attribute"] in values:
        chosen = _classes(label, values[label["attribute"]])
        found["label"] = torch.tensor([chosen[i % len(chosen)] for i in range(n)])
    if given := [name for name in names if name in values]:
        if missing := [name for name in names if name not in values]:
            raise InputError(
                f"{' and '.join(given)} alone cannot be asked for: this model was told "
                f"{' and '.join(names)} together; give {' and '.join(missing)} as well"
            )
        row = tuple(_within(properties, i, values[name]) for i, name in enumerate(names))
        one = Labelled(None, row)
        found |= tensors([one] * n, {"properties": properties})
    if "nodes" in values:
        sizes = _sizes(values["nodes"], int(about["smallest"]), int(about["largest"]))
        found["nodes"] = torch.tensor([sizes[i % len(sizes)] for i in range(n)])
    elif "label" in found:
        shares = [label["sizes"][c] for c in found["label"].tolist()]
        found["nodes"] = torch.tensor(
            [_quantile(sizes, counts, i) for i, (sizes, counts) in enumerate(shares)]
        )
    return found


def _classes(label: Mapping[str, Any], text: str) -> list[int]:
    places = {str(value): i for i, value in enumerate(label["classes"])}
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in places:
            raise InputError(
                f"{label['attribute']}={text}: {word!r} is not one of {', '.join(places)}"
            )
    return [places[word] for word in words]


def _within(properties: Mapping[str, Any], place: int, text: str) -> float:
    name = properties["names"][place]
    low, high = properties["low"][place], properties["high"][place]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise InputError(f"{name}={text}: training graphs have numbers from {low:g} to {high:g}")
    return value


def _quantile(sizes: Sequence[int], counts: Sequence[int], item: int) -> int:
    """The size of an item: quantiles at multiples of the golden ratio fill the shares evenly."""
    place = ((item + 0.5) * TURN) % 1 * sum(counts)
    return int(sizes[int(np.searchsorted(np.cumsum(counts), place, side="right"))])


def _sizes(text: str, smallest: int, largest: int) -> list[int]:
    found: list[int] = []
    for span in spans("nodes", text, "nodes"):
        if span[0] < smallest or span[-1] > largest:
            raise InputError(
                f"nodes={text}: training graphs have {smallest} to {largest} nodes, and no model "
                "knows others"
            )
        found += span
    return found
