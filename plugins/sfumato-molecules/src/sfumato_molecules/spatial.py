"""How like molecules in space are to real ones: geometry, sanity, strain, conformers."""

from __future__ import annotations

__all__ = ["FAR", "Conformers", "Geometry", "Sanity", "Strain"]

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sfumato import Batch, InputError
from sfumato_eval import Score, Vectors, wasserstein
from sfumato_eval.score import Better

from . import chem, measures, relaxing
from .looking import Looking, tabled
from .molecule import Molecule

FEWEST = 10
"""Values of a kind of length, angle or torsion in the reference that are compared."""

FAR = 10.0
"""Angstrom between conformers that cannot be compared."""

STRAINED = 25
"""Molecules of a batch whose strain is told: each is relaxed."""


@dataclass(frozen=True, eq=False)
class Kinds:
    """Values by kind, of molecules; adding joins them."""

    values: Mapping[str, tuple[np.ndarray[Any, Any], ...]]
    n: int

    def __add__(self, other: Kinds) -> Kinds:
        names = self.values.keys() | other.values.keys()
        both = {k: self.values.get(k, ()) + other.values.get(k, ()) for k in sorted(names)}
        return Kinds(both, self.n + other.n)

    def joined(self, kind: str) -> Tensor:
        """(m, 1) the values of a kind; one 0 where there are none."""
        there = self.values.get(kind, ())
        return torch.from_numpy(np.concatenate(there) if there else np.zeros(1))[:, None]


@dataclass(frozen=True, eq=False)
class Geometry:
    """W1 between lengths of bonds (angstrom), angles or torsions (degrees), the mean over kinds.

    Kinds (`measures.geometry`) weigh as often as they are in the reference, if at least ten times;
    those that samples lack count as 0, so that a model gains nothing by leaving them out.
    """

    look: Looking
    of: Literal["bonds", "angles", "torsions"]
    better: Better = "lower"

    @property
    def name(self) -> str:
        """`bonds W1` and so on."""
        return f"{self.of} W1"

    def summary(self, batch: Batch) -> Kinds:
        """The values of all molecules, by kind."""
        total: dict[str, list[float]] = {}
        looked = self.look(batch)
        for m in looked:
            for kind, values in measures.geometry(m.molecule)[self.of].items():
                total.setdefault(kind, []).extend(values)
        return Kinds({k: (np.array(v),) for k, v in total.items()}, len(looked))

    def between(self, a: Kinds, b: Kinds) -> Score:
        """The mean W1, with the share of the reference whose kinds the samples have."""
        counts = {k: sum(map(len, v)) for k, v in b.values.items()}
        kept = {k: c for k, c in counts.items() if c >= FEWEST} or counts
        total = max(sum(kept.values()), 1)
        value = sum(
            c / total * float(wasserstein(a.joined(k), b.joined(k), 1)) for k, c in kept.items()
        )
        covered = sum(c for k, c in kept.items() if k in a.values) / total
        unit = "angstrom" if self.of == "bonds" else "degrees"
        protocol = f"W1 in {unit}, mean over {len(kept)} kinds of the reference"
        return Score(value, min(a.n, b.n), None, protocol, "lower", {"covered": covered})


@dataclass(frozen=True, eq=False)
class Sanity:
    """The share of valid molecules whose places pass all checks of `measures.sane`, of all."""

    look: Looking
    name: str = "sane geometry"
    better: Better = "higher"

    def summary(self, batch: Batch) -> Vectors:
        """Whether each molecule is valid, and which checks it passes."""
        rows = []
        for m in self.look(batch):
            found = {} if m.good is None else measures.sane(m.good)
            rows.append((bool(found), *(found.get(check, False) for check in measures.CHECKS)))
        return tabled(rows, 1 + len(measures.CHECKS))

    def between(self, a: Vectors, b: Vectors) -> Score:
        """Shares of `a`; the parts are of its valid molecules."""
        rows = a.rows
        valid = rows[:, 0].sum().clamp_min(1)
        shares = (rows[:, 1:].sum(0) / valid).tolist()
        parts = dict(zip(measures.CHECKS, shares, strict=True))
        protocol = "checks of PoseBusters and hydrogens, of all molecules; parts are of valid ones"
        return Score(float(rows.all(1).double().mean()), a.n, None, protocol, "higher", parts)


@dataclass(frozen=True, eq=False)
class Strain:
    """The share of molecules whose places are no more strained than those of the reference.

    Strain is the MMFF94 energy above the minimum nearby. The value is the share below the 0.95
    quantile of the reference, molecules without a strain (not valid) being above; the parts are
    medians in kcal/mol of those that have one.

    Attributes:
        most: molecules relaxed of each batch of a summary, the first ones.
    """

    look: Looking
    most: int = STRAINED
    name: str = "unstrained"
    better: Better = "higher"

    def summary(self, batch: Batch) -> Vectors:
        """The strain of each molecule looked at, and whether there is one."""
        rows = []
        for m in self.look(batch)[: self.most]:
            value = None if m.good is None else relaxing.strain(m.molecule)
            rows.append((value or 0.0, value is not None))
        return tabled(rows, 2)

    def between(self, a: Vectors, b: Vectors) -> Score:
        """The share of `a` below the quantile of `b`."""
        held = b.rows[b.rows[:, 1] > 0, 0]
        limit = float(held.quantile(0.95)) if len(held) else 0.0
        told = a.rows[:, 1] > 0
        value = float((told & (a.rows[:, 0] <= limit)).double().mean())
        own = a.rows[told, 0]
        parts = {"median of held-out": float(held.median())} if len(held) else {}
        parts |= {"median of samples": float(own.median())} if len(own) else {}
        protocol = f"share with MMFF94 strain up to {limit:.3g} kcal/mol, 0.95 of held-out ones"
        return Score(value, min(len(a.rows), len(b.rows)), None, protocol, "higher", parts)


@dataclass(frozen=True, eq=False)
class Shapes:
    """Valid molecules by key; adding joins them."""

    by_key: Mapping[str, tuple[Molecule, ...]]
    n: int

    def __add__(self, other: Shapes) -> Shapes:
        keys = sorted(self.by_key.keys() | other.by_key.keys())
        both = {k: self.by_key.get(k, ()) + other.by_key.get(k, ()) for k in keys}
        return Shapes(both, self.n + other.n)


@dataclass(frozen=True, eq=False)
class Conformers:
    """How far conformers are from the nearest real one of the same molecule, in angstrom.

    The value is the mean over the reference of the distance to the nearest sample (matching, MAT-R
    of Xu et al. 2021, arXiv:2105.07246); `measures.symmetric_rmsd` tells distances. The parts:
    `precision`, the mean over samples of the distance to the nearest of the reference (MAT-P);
    `covered`, the share of the reference within `near` of a sample (COV-R); `compared`, the share
    of the reference whose molecule the samples have. Where none is compared, all are as far apart
    as `FAR`.
    """

    look: Looking
    near: float = 0.5
    name: str = "conformer RMSD"
    better: Better = "lower"

    def summary(self, batch: Batch) -> Shapes:
        """The valid molecules."""
        found: dict[str, tuple[Molecule, ...]] = {}
        looked = self.look(batch)
        for m in looked:
            if m.good is not None:
                key = chem.key(m.molecule)
                found[key] = (*found.get(key, ()), m.molecule)
        return Shapes(found, len(looked))

    def between(self, a: Shapes, b: Shapes) -> Score:
        """Distances of the samples `a` and the reference `b`, molecule by molecule."""
        recall: list[float] = []
        precision: list[float] = []
        for key in sorted(a.by_key.keys() & b.by_key.keys()):
            made, real = a.by_key[key], b.by_key[key]
            apart = np.array([[_rmsd(r, m) for m in made] for r in real])
            recall += apart.min(1).tolist()
            precision += apart.min(0).tolist()
        total = max(sum(map(len, b.by_key.values())), 1)
        parts = {
            "precision": float(np.mean(precision)) if precision else FAR,
            "covered": sum(d <= self.near for d in recall) / total,
            "compared": len(recall) / total,
        }
        value = float(np.mean(recall)) if recall else FAR
        protocol = f"symmetric RMSD of heavy atoms to the nearest sample, covered at {self.near:g}"
        return Score(value, min(a.n, b.n), None, protocol, "lower", parts)


def _rmsd(a: Molecule, b: Molecule) -> float:
    try:
        return measures.symmetric_rmsd(a, b)
    except InputError:  # stereoisomers whose bonds differ in kind
        return FAR
