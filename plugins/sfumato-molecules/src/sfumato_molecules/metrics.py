"""How like molecules are to real ones: validity, stability, novelty, chemistry."""

from __future__ import annotations

__all__ = ["Descriptor", "Distinct", "Stable", "Valid", "metrics"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sfumato import Batch, Dataset
from sfumato_data import keys_of, subset
from sfumato_eval import Features, Memorisation, Metric, Score, Vectors, wasserstein
from sfumato_eval.names import Names
from sfumato_eval.score import Better

from . import chem, measures, valences
from .looking import Looking, shares, tabled
from .spatial import Geometry, Sanity, Strain

BITS = 1024
APART = 100.0
"""Distance of what is not valid from what is; that of fingerprints is a tenth of it."""

REMEMBERED = 20_000
"""Training molecules that samples are compared with, spread evenly."""


def metrics(train: Dataset) -> Sequence[Metric[Any]]:
    """The metrics of molecules: in space also those of geometry; with hydrogens of stability.

    Memorisation is left out of data that is mostly conformers of the same molecules, which
    fingerprints do not tell apart.
    """
    about, keys = train.about, keys_of(train) or ()
    look = Looking(about)
    found: list[Metric[Any]] = [Valid(look)]
    if about["hydrogens"]:
        found += [Stable(look, "atom"), Stable(look, "molecule")]
    found.append(Distinct(look, frozenset(keys)))
    found += [Descriptor(look, name) for name in ("qed", "sa", "logp")]
    if 2 * len(set(keys)) > len(keys):
        found.append(_memorisation(look, train))
    if about["dimensions"] == 3:
        found += [Geometry(look, kind) for kind in ("bonds", "angles", "torsions")]
        found.append(Sanity(look))
        if about["hydrogens"]:
            found.append(Strain(look))
    return found


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
        return tabled(
            (
                (m.whole is not None, m.connected, m.good is not None, m.largest is not None)
                for m in self.look(batch)
            ),
            4,
        )

    def between(self, a: Vectors, b: Vectors) -> Score:
        """Shares of `a`; `b` plays no part."""
        parts = shares(a, ("whole", "connected", "whole and connected", "largest fragment"))
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
        return tabled(
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
        different = set(a.valid)
        new = different - self.train
        parts = {
            "valid": len(a.valid) / a.n,
            "unique": len(different) / max(len(a.valid), 1),
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
        return tabled(rows, 2)

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


def _memorisation(look: Looking, train: Dataset) -> Memorisation:
    """Nearness to the training data by Morgan fingerprints of radius 2 (Rogers & Hahn 2010).

    What is not one valid molecule is far from all that are: it is no copy of one.
    """
    from rdkit.Chem import rdFingerprintGenerator

    most = min(len(train), REMEMBERED)
    make = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=BITS)

    def vectors(batch: Batch) -> Tensor:
        looked = look(batch)
        found = np.zeros((len(looked), BITS + 1), np.float32)
        for row, m in zip(found, looked, strict=True):
            if m.good is None:
                row[BITS] = APART
            else:
                row[:BITS] = make.GetCountFingerprintAsNumPy(m.good)
        return torch.from_numpy(found)

    few = subset(train, [i * len(train) // most for i in range(most)])
    return Memorisation.of(few, Features("counts of Morgan fingerprints", vectors))
