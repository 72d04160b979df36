"""The parts of a report that are measured: scores, and quality against network calls."""

from __future__ import annotations

__all__ = ["main", "quality", "table"]

from collections.abc import Sequence
from typing import Any

from sfumato import Unsupported
from sfumato_eval import Memorisation, Metric, Score
from sfumato_eval import table as rows
from sfumato_eval.report import Block, Chart, Charts, Line, Note, Table, scores
from sfumato_eval.tables import number

from ..drawing import calls
from .material import CodecMaterial, Material


def table(material: Material) -> Sequence[Block]:
    """Every metric of the domain with n and floor; one that fails does not take others along."""
    found: dict[str, Score] = {}
    notes: list[Block] = []
    yardstick, samples = material.yardstick, material.samples
    for metric in yardstick.metrics:

        def score(metric: Metric[Any] = metric) -> Sequence[Block]:
            found[metric.name] = yardstick.score(metric, samples)
            return ()

        notes += material.attempt(f"The metric {metric.name}", score)
    if isinstance(material, CodecMaterial):
        found = {**yardstick.fidelity(samples), **found}
    if material.paired:
        close: dict[str, Score] = {}

        def restoration() -> Sequence[Block]:
            close.update(yardstick.restoration(samples))
            return ()

        notes += material.attempt("How close restorations are to their targets", restoration)
        found = {**close, **found}
    if not found and not notes:
        return [Note(f"The domain {material.run.domain.name} has no metrics.")]
    return [*([scores(rows(found))] if found else []), *notes]


def quality(material: Material) -> Sequence[Block]:
    """The main distance at several step counts, on the same seeds and the same real items."""
    yardstick = material.yardstick
    metric = main(yardstick.metrics)
    measured = {
        steps: yardstick.score(metric, material.samples if own else material.draw(steps))
        for steps in material.steps
        for own in [steps == material.model.steps]
    }
    network = {
        steps: calls(
            material.model,
            steps,
            condition=material.condition,
            guidance=material.guidance,
            seed=material.seed,
        )
        for steps in measured
    }
    floor = next(iter(measured.values())).floor
    chart = Chart(
        f"{metric.name} by network calls per sample",
        "network calls",
        metric.name,
        [
            Line(
                f"samples ({metric.better} is better)",
                [network[steps] for steps in measured],
                [score.value for score in measured.values()],
            )
        ],
        {} if floor is None else {"floor: real against real": floor},
        log_x=True,
        log_y=True,
    )
    return [Charts([chart]), _speeds(material, metric, measured, network)]


def _speeds(
    material: Material,
    metric: Metric[Any],
    measured: dict[int, Score],
    network: dict[int, int],
) -> Table:
    return Table(
        ["steps", "network calls", metric.name, "over floor", "n", "samples/s"],
        [
            [
                f"{steps}{' (default)' if steps == material.model.steps else ''}",
                str(network[steps]),
                number(score.value),
                number(score.ratio),
                f"{score.n:,}",
                number(material.speed.get(steps)),
            ]
            for steps, score in measured.items()
        ],
        numbers=range(6),
    )


def main(metrics: Sequence[Metric[Any]]) -> Metric[Any]:
    """The first distance of a domain; of one without distances, its first metric."""
    if not metrics:
        raise Unsupported("the domain has no metric that quality could be measured by")
    distances = [m for m in metrics if m.better == "lower" and not isinstance(m, Memorisation)]
    return (distances or list(metrics))[0]
