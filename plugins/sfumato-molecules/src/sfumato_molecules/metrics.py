"""How like molecules are to real ones: validity, stability, novelty, chemistry, geometry."""

from __future__ import annotations

__all__ = ["Descriptor", "Distinct", "Geometry", "Sanity", "Stable", "Strain", "Valid", "metrics"]

import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sfumato import Batch, Dataset
from sfumato_data import keys_of, subset
from sfumato_eval import Features, Memorisation, Metric, Score, Vectors, wasserstein
from sfumato_eval.score import Better

from . import bonds, chem, measures, relaxing, valences
from .molecule import Molecule
from .state import molecules_of

FEWEST = 10
"""Values of a kind of length, angle or torsion in the reference that are compared."""

BITS = 1024
STRAINED = 25
"""Molecules of a batch whose strain is told: each is relaxed."""

REMEMBERED = 20_000
"""Training molecules that samples are compared with, spread evenly."""


@dataclass(frozen=True, eq=False)
class Looked:
    """One molecule, and what RDKit makes of it.

    Attributes:
        molecule: as the model made it.
        explicit: whether all hydrogens should be atoms.
    """

    molecule: Molecule
    explicit: bool

    @cached_property
    def parts(self) -> Any:
        """(n,) the connected part of each atom."""
        return bonds.fragments(self.molecule)

    @property
    def connected(self) -> bool:
        """Whether it is one molecule."""
        return len(self.molecule) > 0 and int(self.parts.max()) == 0

    @cached_property
    def whole(self) -> Any | None:
        """The RDKit molecule where all of it is valid: accepted, without radicals; else None."""
        return chem.valid(self.molecule, explicit=self.explicit)

    @cached_property
    def largest(self) -> Any | None:
        """The largest part where it is valid with hydrogens filled up to the valences, or None."""
        if not len(self.molecule):
            return None
        part = self.molecule
        if not self.connected:
            part = bonds.part(part, int(np.bincount(self.parts).argmax()))
        return chem.sanitised(part, explicit=False)

    @property
    def good(self) -> Any | None:
        """The RDKit molecule where it is one valid molecule, or None."""
        return self.whole if self.connected else None


class Looking:
    """Looks at a batch once when several metrics ask one by one.

    Args:
        about: facts of the data.
    """

    def __init__(self, about: Mapping[str, Any]) -> None:
        self.about = about
        self._last: tuple[weakref.ref[Batch], list[Looked]] | None = None

    def __call__(self, batch: Batch) -> list[Looked]:
        """The molecules of a batch."""
        if self._last is None or self._last[0]() is not batch:
            found = molecules_of(batch.x, self.about)
            made = [Looked(molecule, bool(self.about["hydrogens"])) for molecule in found]
            self._last = weakref.ref(batch), made
        return self._last[1]


def metrics(train: Dataset) -> Sequence[Metric[Any]]:
    """The metrics of molecules: in space also those of geometry; with hydrogens of stability."""
    about = train.about
    look = Looking(about)
    found: list[Metric[Any]] = [
        Valid(look),
        Distinct(look, frozenset(keys_of(train) or ())),
        *(Descriptor(look, name) for name in ("qed", "sa", "logp")),
        _memorisation(look, train),
    ]
    if about["hydrogens"]:
        found[1:1] = [Stable(look, "atom"), Stable(look, "molecule")]
    if about["dimensions"] == 3:
        found += [Geometry(look, kind) for kind in ("bonds", "angles", "torsions")]
        found.append(Sanity(look))
        if about["hydrogens"]:
            found.append(Strain(look))
    return found


def _rows(values: Iterable[Iterable[float]], width: int) -> Vectors:
    rows = torch.tensor([list(row) for row in values], dtype=torch.float64).reshape(-1, width)
    return Vectors.of(rows, width)


def _shares(rows: Vectors, names: Sequence[str]) -> dict[str, float]:
    return dict(zip(names, rows.rows.mean(0).tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class Valid:
    """The share of molecules that RDKit accepts, in the conventions of the literature.

    The value: the whole molecule has possible valences and no radicals, its hydrogens as they are.
    Its parts: `connected`, the share that is one molecule; `whole and connected`, both at once;
    `largest fragment`, the relaxed convention (Hoogeboom et al. 2022, arXiv:2203.17003), of the
    largest part only, with hydrogens filled up to the valences.
    """

    look: Looking
    name: str = "validity"
    better: Better = "higher"

    def summary(self, batch: Batch) -> Vectors:
        """Four marks for each molecule."""
        return _rows(
            (
                (m.whole is not None, m.connected, m.good is not None, m.largest is not None)
                for m in self.look(batch)
            ),
            4,
        )

    def between(self, a: Vectors, b: Vectors) -> Score:
        """Shares of `a`; `b` plays no part."""
        parts = _shares(a, ("whole", "connected", "whole and connected", "largest fragment"))
        value = parts.pop("whole")
        return Score(value, a.n, None, "whole molecules that RDKit accepts", "higher", parts)


@dataclass(frozen=True, eq=False)
class Stable:
    """The share of atoms, or of molecules all of whose atoms, have as many bonds as they take.

    By formal charges (`valences.accepted`); the part `neutral` goes by the valences of neutral
    atoms, which charged ones fail (Hoogeboom et al. 2022, arXiv:2203.17003).
    """

    look: Looking
    of: Literal["atom", "molecule"]
    better: Better = "higher"

    @property
    def name(self) -> str:
        """`atom stability` or `molecule stability`."""
        return f"{self.of} stability"

    def summary(self, batch: Batch) -> Vectors:
        """Stable atoms by each rule, and atoms, of each molecule."""
        return _rows(
            (
                (
                    valences.stable(m.molecule, charges=True).sum(),
                    valences.stable(m.molecule, charges=False).sum(),
                    len(m.molecule),
                )
                for m in self.look(batch)
            ),
            3,
        )

    def between(self, a: Vectors, b: Vectors) -> Score:
        """Shares of `a`; `b` plays no part."""
        charged, neutral, atoms = a.rows.unbind(1)
        if self.of == "atom":
            value, other = (float(side.sum() / atoms.sum()) for side in (charged, neutral))
        else:
            value, other = (float((side == atoms).double().mean()) for side in (charged, neutral))
        protocol = f"{self.of}s with the bonds that elements of their formal charge take"
        return Score(value, a.n, None, protocol, "higher", {"neutral": other})


@dataclass(frozen=True, eq=False)
class Names:
    """A key for each molecule, "" for one that is not valid; adding joins them."""

    keys: tuple[str, ...]

    @property
    def n(self) -> int:
        """Molecules."""
        return len(self.keys)

    def __add__(self, other: Names) -> Names:
        return Names(self.keys + other.keys)


@dataclass(frozen=True, eq=False)
class Distinct:
    """The share of molecules that are valid, unique and not among the training data.

    Molecules are the same by the first block of their InChIKey, which knows no stereo centres. The
    parts: `unique`, of the valid ones; `novel`, of the unique ones.

    Attributes:
        train: keys of the training data.
    """

    look: Looking
    train: frozenset[str]
    name: str = "valid, unique and novel"
    better: Better = "higher"

    def summary(self, batch: Batch) -> Names:
        """The key of each molecule."""
        return Names(
            tuple("" if m.good is None else chem.key(m.molecule) for m in self.look(batch))
        )

    def between(self, a: Names, b: Names) -> Score:
        """Shares of `a`; `b` plays no part."""
        valid = [key for key in a.keys if key]
        different = set(valid)
        new = different - self.train
        parts = {
            "valid": len(valid) / a.n,
            "unique": len(different) / max(len(valid), 1),
            "novel": len(new) / max(len(different), 1),
        }
        protocol = "of all molecules, by the first block of the InChIKey"
        return Score(len(new) / a.n, a.n, None, protocol, "higher", parts)


@dataclass(frozen=True, eq=False)
class Descriptor:
    """W1 between the laws of a property of molecules; of invalid ones the property counts as 0.

    Attributes:
        of: one of `measures.COMPUTED`.
    """

    look: Looking
    of: str
    better: Better = "lower"

    @property
    def name(self) -> str:
        """`QED` and so on."""
        return {"qed": "QED", "sa": "SA", "logp": "logP"}.get(self.of, self.of)

    def summary(self, batch: Batch) -> Vectors:
        """The property of each molecule, and whether it is valid."""
        rows = []
        for m in self.look(batch):
            made = m.good
            value = 0.0 if made is None else self._value(made)
            rows.append((value, made is not None))
        return _rows(rows, 2)

    def _value(self, made: Any) -> float:
        return measures.described(made, [self.of])[self.of]

    def between(self, a: Vectors, b: Vectors) -> Score:
        """W1; the parts are the means of the valid ones."""
        value = float(wasserstein(a.rows[:, :1], b.rows[:, :1], 1))
        parts = {
            f"mean of {side}": float(rows[:, 0].sum() / rows[:, 1].sum().clamp_min(1))
            for side, rows in (("samples", a.rows), ("held-out", b.rows))
        }
        return Score(value, min(a.n, b.n), None, f"W1 of {self.name}, invalid count as 0",
                     "lower", parts)  # fmt: skip


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
        return _rows(rows, 1 + len(measures.CHECKS))

    def between(self, a: Vectors, b: Vectors) -> Score:
        """Shares of `a`; the parts are of its valid molecules."""
        rows = a.rows
        valid = rows[:, 0].sum().clamp_min(1)
        shares = (rows[:, 1:].sum(0) / valid).tolist()
        parts = dict(zip(measures.CHECKS, shares, strict=True))
        protocol = "PoseBusters-like checks, of all molecules; parts are of valid ones"
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
        return _rows(rows, 2)

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


def _memorisation(look: Looking, train: Dataset) -> Memorisation:
    """Nearness to the training data by Morgan fingerprints of radius 2 (Rogers & Hahn 2010)."""
    from rdkit.Chem import rdFingerprintGenerator

    most = min(len(train), REMEMBERED)
    make = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=BITS)

    def vectors(batch: Batch) -> Tensor:
        rows = []
        for m in look(batch):
            made = m.largest
            rows.append(np.zeros(BITS) if made is None else make.GetCountFingerprintAsNumPy(made))
        return torch.from_numpy(np.stack(rows).astype(np.float32))

    few = subset(train, [i * len(train) // most for i in range(most)])
    return Memorisation.of(few, Features("counts of Morgan fingerprints", vectors))
