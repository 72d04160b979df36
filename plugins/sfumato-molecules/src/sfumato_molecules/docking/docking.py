"""Docking with a trained model: draw poses, rank them, measure them."""

from __future__ import annotations

__all__ = ["check", "dock", "dock_all", "rankings", "successes"]

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sfumato import InputError, Model
from sfumato_train import Run, draw

from ..molecule import Array, Molecule
from .complexes import Complex, ligands_of, state_of
from .confidence import ConfidenceNetwork, confidences
from .metrics import NEAR, Pose, agreement, auroc, judge, rmsds, symmetries
from .pose import posed
from .process import Docking

LATER = 5
"""Poses of a ligand that the second share of `successes` looks at."""


def check(source: Run | Model) -> None:
    """Raise `InputError` unless a run, or its model, makes poses."""
    if isinstance(source, Run):
        docks = source.domain.name == "molecules/docking"
    else:
        docks = isinstance(source.process, Docking)
    if not docks:
        raise InputError("this run makes no poses; train molecules/docking for that")


def dock(
    source: Run | Model, about: Mapping[str, Any], one: Complex, n: int,
    confidence: ConfidenceNetwork | None = None, **options: Any,
) -> list[Molecule]:  # fmt: skip
    """Poses of a ligand: by their confidence, or without it by their agreement with the others.

    Each has the properties `rank` (from 1), `agreement` (`metrics.agreement`) and, if it is
    told, `confidence`: the probability that it is within 2 angstrom of the truth.

    Args:
        source: a run of the recipe `molecules/docking`, or its model.
        about: the facts of the data that it was trained on.
        one: ligand and receptor.
        n: poses.
        confidence: what tells how sure poses are, see `confidence.judge_of`.
        options: of `sfumato_train.draw`: sampler, steps, seed and so on.

    Raises:
        InputError: if the run does not dock, or the ligand has elements that it does not know.
    """
    return dock_all(source, about, [one], n, confidence, **options)[0]


def dock_all(
    source: Run | Model, about: Mapping[str, Any], complexes: Sequence[Complex], n: int,
    confidence: ConfidenceNetwork | None = None, **options: Any,
) -> list[list[Molecule]]:  # fmt: skip
    """`dock` of several complexes at once, n poses of each."""
    check(source)
    every = [one for one in complexes for _ in range(n)]
    names = [one.name for one in every]
    like = state_of(every, about)
    ligands_of(like, like["complex"]["places"].data, about)  # raises before anything is drawn
    made = draw(source, len(every), like=like, **options)
    found = ligands_of(made.x, posed(made.x).data, about, names)
    sure = None if confidence is None else confidences(confidence, made.x).reshape(-1, n)
    return [
        _ranked(found[i * n : (i + 1) * n], one.ligand, None if sure is None else sure[i])
        for i, one in enumerate(complexes)
    ]


def _ranked(poses: list[Molecule], ligand: Molecule, sure: Array | None) -> list[Molecule]:
    places = np.stack([pose.positions for pose in poses if pose.positions is not None])
    told = {"agreement": agreement(places, symmetries(ligand))}
    if sure is not None:
        told["confidence"] = sure
    order = np.argsort(-list(told.values())[-1], kind="stable").tolist()
    return [
        replace(
            poses[i],
            properties={
                **poses[i].properties,
                "rank": float(rank),
                **{name: round(float(value[i]), 4) for name, value in told.items()},
            },
        )
        for rank, i in enumerate(order, start=1)
    ]


def successes(
    complexes: Sequence[Complex], ranked: Sequence[Sequence[Molecule]]
) -> dict[str, float]:
    """Shares of complexes whose ligand is docked as it was given.

    `top-1` and `top-5`: the first, or one of the first five, within 2 angstrom of it; `top-1 1 A`
    within 1 angstrom; `middle` the first with its middle within 2 angstrom; `sane` the first being
    so (`metrics.judge`); `median` of the RMSD of the first, angstrom.
    """
    first: list[Pose] = []
    best: list[float] = []
    for one, poses in zip(complexes, ranked, strict=True):
        orders = symmetries(one.ligand)
        judged = [judge(m, one.ligand, one.receptor, one.places, orders) for m in poses[:LATER]]
        first.append(judged[0])
        best.append(min(pose.rmsd for pose in judged))
    rmsd = np.array([pose.rmsd for pose in first])
    return {
        "top-1": float((rmsd <= NEAR).mean()),
        "top-5": float((np.array(best) <= NEAR).mean()),
        "top-1 1 A": float((rmsd <= NEAR / 2).mean()),
        "middle": float(np.mean([pose.centroid <= NEAR for pose in first])),
        "sane": float(np.mean([pose.sane for pose in first])),
        "median": float(np.median(rmsd)),
    }


def rankings(
    complexes: Sequence[Complex], ranked: Sequence[Sequence[Molecule]]
) -> dict[str, float]:
    """How often each way to choose one pose of a ligand finds one within 2 angstrom.

    Args:
        complexes: what was docked.
        ranked: equally many poses of each, with their confidence.

    Returns:
        Shares of complexes: `by chance`, `by agreement` (of equals any), `by confidence`, and
        `best` of all poses; `AUROC`, over all poses, of the confidence being higher where a pose is
        within 2 angstrom, NaN where all are or none is.
    """
    hits = []
    for one, poses in zip(complexes, ranked, strict=True):
        places = np.stack([pose.positions for pose in poses if pose.positions is not None])
        assert one.ligand.positions is not None
        hits.append(rmsds(places, one.ligand.positions, symmetries(one.ligand)) <= NEAR)
    hit = np.stack(hits)
    told = {name: np.array([[pose.properties[name] for pose in poses] for poses in ranked], float)
            for name in ("agreement", "confidence")}  # fmt: skip
    top = {name: value == value.max(1, keepdims=True) for name, value in told.items()}
    return {
        "by chance": float(hit.mean()),
        **{f"by {name}": float(((hit & at).sum(1) / at.sum(1)).mean()) for name, at in top.items()},
        "best": float(hit.any(1).mean()),
        "AUROC": auroc(told["confidence"].ravel(), hit.ravel()),
    }
