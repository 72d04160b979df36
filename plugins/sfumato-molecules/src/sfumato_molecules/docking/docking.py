"""Docking with a trained model: draw poses, rank them, measure them."""

from __future__ import annotations

__all__ = ["check", "dock", "dock_all", "successes"]

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from sfumato import InputError, Model
from sfumato_train import Run, draw

from ..molecule import Molecule
from .complexes import Complex, ligands_of, state_of
from .metrics import NEAR, Pose, agreement, judge, symmetries
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
    source: Run | Model, about: Mapping[str, Any], one: Complex, n: int, **options: Any
) -> list[Molecule]:
    """Poses of a ligand, those that agree most with the others first.

    Each has the properties `rank` (from 1) and `agreement` (`metrics.agreement`).

    Args:
        source: a run of the recipe `molecules/docking`, or its model.
        about: the facts of the data that it was trained on.
        one: ligand and receptor.
        n: poses.
        options: of `sfumato_train.draw`: sampler, steps, seed and so on.

    Raises:
        InputError: if the run does not dock, or the ligand has elements that it does not know.
    """
    return dock_all(source, about, [one], n, **options)[0]


def dock_all(
    source: Run | Model, about: Mapping[str, Any], complexes: Sequence[Complex], n: int,
    **options: Any,
) -> list[list[Molecule]]:  # fmt: skip
    """`dock` of several complexes at once, n poses of each."""
    check(source)
    every = [one for one in complexes for _ in range(n)]
    names = [one.name for one in every]
    like = state_of(every, about)
    ligands_of(like, like["complex"]["places"].data, about)  # raises before anything is drawn
    made = draw(source, len(every), like=like, **options)
    found = ligands_of(made.x, posed(made.x).data, about, names)
    return [_ranked(found[i * n : (i + 1) * n], one.ligand) for i, one in enumerate(complexes)]


def _ranked(poses: list[Molecule], ligand: Molecule) -> list[Molecule]:
    places = np.stack([pose.positions for pose in poses if pose.positions is not None])
    agree = agreement(places, symmetries(ligand))
    order = np.argsort(-agree, kind="stable").tolist()
    return [
        replace(
            poses[i],
            properties={
                **poses[i].properties, "rank": float(rank), "agreement": round(float(agree[i]), 4)
            },
        )
        for rank, i in enumerate(order, start=1)
    ]  # fmt: skip


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
