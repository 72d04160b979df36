"""Real promoters of Drosophila, and a track of where a strand has the motifs of core promoters.

The sequences are the last bases before annotated starts of transcription (Bioconductor's
`dm3_upstream2000`, which Debian ships: `sfumato data get promoters`). What of a strand is active
is not measured with them; a track is computed from weight matrices of elements that promoters of
this fly are known for (Ohler et al. 2002, and the GAGA factor; consensus sequences in IUPAC
letters). So the track is a function of the strand that is known exactly, and a model that
is told the track of a strand can be held to it.
"""

from __future__ import annotations

__all__ = ["BASES", "MOTIFS", "activity", "strands"]

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..reading import Reading, documents

BASES = "ACGT"
MOTIFS = ("TATAWAAR", "TCAGTY", "TATCGATA", "CAGCTG", "GAGAG")
"""TATA box, initiator, DRE, E-box, GAGA factor."""
_LETTERS = {"A": "A", "C": "C", "G": "G", "T": "T", "W": "AT", "R": "AG", "Y": "CT"}
_SURE = 0.94
"""Probability of the bases of a consensus letter; the rest is shared by the others."""


def strands(folder: Path, length: int) -> Tensor:
    """(N, length) the distinct last bases of each sequence, ids into `BASES`, sorted.

    Args:
        folder: where `dm3_upstream2000.fa.gz` is.
        length: bases before the start of transcription.
    """
    file = folder / "dm3_upstream2000.fa.gz"
    ends = {text[-length:].upper() for _, text in documents(file, Reading())}
    kept = sorted(end for end in ends if len(end) == length and set(end) <= set(BASES))
    return torch.tensor([[BASES.index(base) for base in end] for end in kept])


def activity(x: Tensor) -> Tensor:
    """(N, L) how much of a motif begins at each base of (N, L) ids: a sum over motifs, in [0, 5].

    For each motif sigmoid(s - 3/4 s_max), s the log odds of its weight matrix against equal
    frequencies in nats and s_max their largest value; 0 where it would end beyond the strand.
    """
    total = torch.zeros(x.shape, dtype=torch.float64)
    for motif in MOTIFS:
        matrix = _log_odds(motif)
        width = len(motif)
        windows = F.one_hot(x, 4).double().unfold(1, width, 1)  # (N, L - w + 1, 4, w)
        score = (windows * matrix.mT).sum((-1, -2))
        level = 0.75 * float(matrix.amax(1).sum())
        total[:, : score.shape[1]] += torch.sigmoid(score - level)
    return total


def _log_odds(motif: str) -> Tensor:
    """(w, 4) log of the probability of each base over 1/4."""
    rows = []
    for letter in motif:
        allowed = _LETTERS[letter]
        other = (1 - _SURE) / (4 - len(allowed))
        each = [_SURE / len(allowed) if base in allowed else other for base in BASES]
        rows.append([math.log(4 * p) for p in each])
    return torch.tensor(rows, dtype=torch.float64)
