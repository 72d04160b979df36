"""How like sets of graphs are: MMD of four statistics in two kernel families, and what is new."""

from __future__ import annotations

__all__ = ["Distinct", "GraphMMD", "Valid", "metrics"]

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import networkx as nx
import numpy as np
import torch
from torch import Tensor

from sfumato import Batch, Dataset, InputError
from sfumato_data import gather
from sfumato_eval import Metric, Score, Vectors
from sfumato_eval.names import Names
from sfumato_eval.score import Better
from sfumato_nn.graphs.features import laplacian
from sfumato_nn.graphs.state import dense

from .data import networks
from .identity import fingerprint
from .orbits import orbit_counts
from .validity import VALID, kind_of

Family = Literal["emd", "tv"]
Statistic = Literal["degree", "clustering", "orbit", "spectral"]

BINS = {"clustering": 100, "spectral": 200}
SIGMA = {"degree": 1.0, "clustering": 0.1, "orbit": 30.0, "spectral": 1.0}
MOST = 1000
"""Graphs kept on each side of an MMD."""


def metrics(train: Dataset) -> Sequence[Metric[Any]]:
    """The four MMDs in the family of total variation, and what share is unique and novel.

    Where all training graphs are of one kind of `validity.VALID`, such as trees, the share that
    is valid as well comes with them.
    """
    about = train.about
    found: list[Metric[Any]] = [
        GraphMMD(statistic, "tv", int(about["largest"]))
        for statistic in ("degree", "clustering", "orbit", "spectral")
    ]
    seen = networks(gather(train).x, about)
    prints = frozenset(map(fingerprint, seen))
    kind = kind_of(seen)
    return [*found, Distinct(prints), *([] if kind is None else [Valid(kind, prints)])]


@dataclass(frozen=True)
class GraphMMD:
    """Squared MMD, biased, between the histograms of a statistic of graphs.

    Two families of kernels are in use, whose numbers cannot be compared. "emd" is that of GraphRNN
    (You et al. 2018, arXiv:1802.08773), EDP-GNN and GDSS: exp(-EMD^2 / (2 sigma^2)) with the earth
    mover's distance; "tv" that of GRAN (Liao et al. 2019, arXiv:1910.00760), SPECTRE and DiGress:
    exp(-TV^2 / (2 sigma^2)) with the total variation. Orbits are compared by their mean counts, not
    as histograms: by their Euclidean distance in the first family.

    - degree: a bin for each degree, sigma 1.
    - clustering: coefficients in 100 bins on [0, 1], sigma 0.1; EMD in units of the coefficient.
    - orbit: mean counts of the 15 orbits of at most four nodes, sigma 30.
    - spectral: eigenvalues of the normalised Laplacian in 200 bins on [0, 2], sigma 1; EMD in bins.

    Attributes:
        statistic: what is compared.
        family: the kernels.
        largest: nodes of the largest graph, for the bins of degrees.
        most: graphs kept of each side.
    """

    statistic: Statistic
    family: Family = "tv"
    largest: int = 100
    most: int = MOST
    better: Better = "lower"

    @property
    def name(self) -> str:
        """`degree-tv` and so on."""
        return f"{self.statistic}-{self.family}"

    def summary(self, batch: Batch) -> Vectors:
        """The statistic of each graph."""
        rows = describe(batch.x, self.statistic, self.largest)
        return Vectors.of(rows, rows.shape[1], self.most)

    def between(self, a: Vectors, b: Vectors) -> Score:
        """The distance; its floor is measured by the caller."""
        a.check(b)
        x, y = a.rows, b.rows
        value = self._mean(x, x) + self._mean(y, y) - 2 * self._mean(x, y)
        kernel = "total variation" if self.family == "tv" else "EMD"
        protocol = (
            f"biased squared MMD of {self.statistic}, Gaussian kernel of {kernel}, "
            f"sigma {SIGMA[self.statistic]:g}"
        )
        return Score(max(value, 0.0), min(a.kept, b.kept), None, protocol)

    def _mean(self, x: Tensor, y: Tensor) -> float:
        gap = x[:, None] - y
        if self.family == "tv":
            distance = gap.abs().sum(-1) / 2
        elif self.statistic == "orbit":
            distance = gap.square().sum(-1).sqrt()
        else:
            distance = gap.cumsum(-1).abs().sum(-1)
            if self.statistic == "clustering":
                distance = distance / BINS["clustering"]
        sigma = SIGMA[self.statistic]
        return float((-distance.square() / (2 * sigma * sigma)).exp().mean())


def describe(graphs: Any, statistic: Statistic, largest: int) -> Tensor:
    """(B, D) float64 histograms of a statistic, each summing to 1; of orbits the mean counts."""
    mask = graphs["nodes"].mask
    count = mask.shape[1]
    adjacency = (dense(graphs["edges"].data, count) > 0) & mask[:, :, None] & mask[:, None]
    each = [a[m][:, m].double() for a, m in zip(adjacency, mask, strict=True)]
    if statistic == "orbit":
        return torch.stack([orbit_counts(a).mean(0) for a in each])
    if statistic == "degree":
        bins = [torch.bincount(a.sum(1).long(), minlength=max(largest, count)) for a in each]
        width = max(map(len, bins))
        return torch.stack([_share(b, width) for b in bins])
    if statistic == "clustering":
        return torch.stack([_histogram(_clustering(a), "clustering", 0.0, 1.0) for a in each])
    return torch.stack([_histogram(_eigenvalues(a), "spectral", -1e-5, 2.0) for a in each])


def _share(counts: Tensor, width: int) -> Tensor:
    padded = torch.nn.functional.pad(counts.double(), (0, width - len(counts)))
    return padded / padded.sum()


def _histogram(values: Tensor, statistic: str, low: float, high: float) -> Tensor:
    counts, _ = np.histogram(values.numpy(), bins=BINS[statistic], range=(low, high))
    return _share(torch.from_numpy(counts), BINS[statistic])


def _clustering(a: Tensor) -> Tensor:
    degree = a.sum(1)
    triangles = (a * (a @ a)).sum(1)
    found: Tensor = triangles / (degree * (degree - 1)).clamp_min(1)
    return found


def _eigenvalues(a: Tensor) -> Tensor:
    found: Tensor = torch.linalg.eigvalsh(laplacian(a)).clamp(0, 2)
    return found


@dataclass(frozen=True, eq=False)
class Distinct:
    """The share of graphs that are new: each counts once, and not if it was trained on.

    Attributes:
        train: fingerprints of the training graphs.
    """

    train: frozenset[str]
    name: str = "unique and novel"
    better: Better = "higher"

    def summary(self, batch: Batch) -> Names:
        """The fingerprint of each graph."""
        about = {"nodes": {"attribute": None}, "edges": {"attribute": None}}
        return Names(tuple(map(fingerprint, networks(batch.x, about))))

    def between(self, a: Names, b: Names) -> Score:
        """Shares of `a`; `b` plays no part."""
        different = set(a.keys)
        parts = {
            "unique": len(different) / a.n,
            "novel": sum(p not in self.train for p in a.keys) / a.n,
        }
        value = len(different - self.train) / a.n
        return Score(value, a.n, None, "fingerprints, see sfumato_graphs.identity", "higher", parts)


@dataclass(frozen=True, eq=False)
class Valid:
    """The share of graphs that are valid, unique and novel at once (Martinkus et al. 2022).

    Attributes:
        kind: of `validity.VALID`: grid, lobster, planar, sbm or tree.
        train: fingerprints of the training graphs.
    """

    kind: str
    train: frozenset[str]
    better: Better = "higher"

    def __post_init__(self) -> None:
        if self.kind not in VALID:
            raise InputError(f"what is valid is known of {', '.join(VALID)}, not of {self.kind!r}")

    @property
    def name(self) -> str:
        """`valid tree` and so on."""
        return f"valid {self.kind}"

    def summary(self, batch: Batch) -> Names:
        """The fingerprint of each graph, marked where it is not valid."""
        about = {"nodes": {"attribute": None}, "edges": {"attribute": None}}
        valid: Callable[[nx.Graph], bool] = VALID[self.kind]
        return Names(tuple(fingerprint(g) if valid(g) else "" for g in networks(batch.x, about)))

    def between(self, a: Names, b: Names) -> Score:
        """Shares of `a`; `b` plays no part."""
        new = set(a.valid) - self.train
        protocol = f"{self.kind}s that are unique and not in the training set"
        return Score(len(new) / a.n, a.n, None, protocol, "higher", {"valid": len(a.valid) / a.n})
