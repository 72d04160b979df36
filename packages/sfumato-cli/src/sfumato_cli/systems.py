"""The verbs `systems` and `claims`: published methods, and whether what they say holds here."""

from __future__ import annotations

__all__ = ["claims", "systems"]

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sfumato import registry

from .tables import columns

if TYPE_CHECKING:
    from sfumato_eval.claims import Listed, Result


def systems(
    as_json: Annotated[bool, typer.Option("--json", help="All that is known, as JSON.")] = False,
) -> None:
    """Published systems: where they live, and whether their claims were reproduced.

    The ratio is that of the method to its baseline, the median over seeds, for each claim.
    """
    import json

    from sfumato_eval.claims import catalogue

    found = catalogue(registry().list("system"))
    if as_json:
        typer.echo(json.dumps([_facts(one) for one in found], indent=2, ensure_ascii=False))
        return
    head = ("id", "home", "outcome", "ratio", "date", "title")
    columns([head, *map(_row, found)])
    for one in found:
        if one.broken:
            typer.echo(one.broken, err=True)


def _row(one: Listed) -> tuple[str, ...]:
    title = one.system.title if one.system else one.component.summary
    component = one.component
    return (component.name, component.owner, one.outcome, one.ratio, one.date or "-", title)


def _facts(one: Listed) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "id": one.component.tail,
        "name": one.component.name,
        "home": one.component.owner,
        "broken": one.broken,
    }
    if one.system is None:
        return facts
    system = one.system
    pairs = zip(system.claims, one.claims, strict=True)
    return facts | {
        "title": system.title,
        "source": system.source,
        "recipe": system.recipe,
        "components": list(system.components),
        "covers": dict(system.covers),
        "outcome": one.outcome,
        "date": one.date,
        "claims": [
            {"says": claim.says, "key": claim.key, **_bound(claim.at_most, claim.at_least)}
            | {"outcome": said and said["outcome"], "ratio": said and said["ratio"]}
            for claim, said in pairs
        ],
    }


def _bound(at_most: float | None, at_least: float | None) -> dict[str, float | None]:
    return {"at_most": at_most, "at_least": at_least}


def claims(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Names of `sfumato systems`; all unless told."),
    ] = None,
    seeds: Annotated[int, typer.Option(help="How many; fewer than 3 decide nothing.", min=1)] = 3,
    minutes: Annotated[float, typer.Option(help="A seed that takes longer is stopped.")] = 5.0,
    jobs: Annotated[
        int, typer.Option(help="Seeds at a time; no more than there are idle cores.", min=1)
    ] = 1,
    scale: Annotated[
        float, typer.Option(help="Less than 1 for a quick look, which decides nothing.")
    ] = 1.0,
    out: Annotated[Path, typer.Option(help="A folder for the seeds and records.")] = Path("claims"),
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1.")] = "cpu",
    again: Annotated[
        bool, typer.Option("--again", help="Run also the seeds that were finished.")
    ] = False,
    ship: Annotated[
        bool, typer.Option("--ship", help="Put the records into the sources, for maintainers.")
    ] = False,
) -> None:
    """Run the trials of systems, seed by seed, and judge their claims.

    Seeds that are finished are kept: the same command goes on where it was stopped.
    """
    from sfumato_eval.claims import Asked, find_systems, record, run_claims, write_record
    from sfumato_eval.claims.rows import write_json

    chosen = find_systems(registry(), names or ())
    asked = Asked(scale, minutes, device)
    results = run_claims(
        chosen,
        out,
        asked,
        seeds=seeds,
        jobs=jobs,
        again=again,
        tell=lambda line: typer.echo(line, err=True),
    )
    rows: list[Sequence[str]] = [
        ("id", "outcome", "ratio", "bound", "ratio of each seed", "n", "floor", "claim")
    ]
    for result in results:
        if result.system is None:
            continue
        found = record(result.system, result.rows)
        write_json(out / f"{result.component.tail}.json", found)
        rows += _judged(result, found)
        if ship:
            typer.echo(f"wrote {write_record(result.component, found)}", err=True)
    columns(rows)
    if any(_failed(result) for result in results):
        raise typer.Exit(1)


def _failed(result: Result) -> bool:
    """Whether something is broken, which is not the same as a claim that does not hold."""
    return result.system is None or any(row.status == "crashed" for row in result.rows)


def _judged(result: Result, found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for claim in found["claims"]:
        measured = [row.measured.get(claim["key"]) for row in result.rows]
        known = [one for one in measured if one is not None]
        bound = f"<= {claim['at_most']:g}" if claim["at_least"] is None else ""
        yield (
            result.component.name,
            claim["outcome"],
            _number(claim["ratio"]),
            bound or f">= {claim['at_least']:g}",
            " ".join("-" if one is None else f"{one.ratio:.3g}" for one in measured),
            "/".join(dict.fromkeys(str(one.n) for one in known)) or "-",
            " ".join(_number(one.floor) for one in known) or "-",
            claim["says"],
        )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
