"""What a network is told besides its input: the clock, a class label, a vector."""

from __future__ import annotations

__all__ = ["ClockEmbedding", "Conditioner"]

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato import Maybe
from sfumato.components import close_matches
from sfumato.errors import InputError

Condition = Tensor | Maybe


class ClockEmbedding(nn.Module):
    """Embedding of a clock: cosines and sines of it at fixed frequencies, then a small MLP.

    The frequencies are geometric from 1/8 to 8 radians per unit of the clock, which is
    log(sigma / alpha) within [-10, 10]: the slowest is monotone over that range, the fastest
    resolves a tenth of a unit. Angles are computed in float32 or better whatever the dtype of
    the network.
    """

    def __init__(self, width: int, frequencies: int = 32) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.inward = nn.Linear(2 * frequencies, width)
        self.outward = nn.Linear(width, width)

    def forward(self, clock: Tensor) -> Tensor:
        """Embed a clock (...) as (..., width)."""
        speed = torch.linspace(
            -math.log(8), math.log(8), self.frequencies, dtype=torch.float32, device=clock.device
        )
        angle = clock[..., None] * speed.exp()
        features = torch.cat((angle.cos(), angle.sin()), dim=-1).to(self.inward.weight.dtype)
        y: Tensor = self.outward(F.silu(self.inward(features)))
        return y


class Conditioner(nn.Module):
    """Turns a class label and a vector into one context per item; what is absent has a null.

    Args:
        width: width of the context.
        classes: how many classes ``label`` may take; 0 for a network without labels.
        vector: length of ``vector`` (attributes, a sentence embedding); 0 for none.

    The context is the sum of an embedding per condition. A condition that is not given, or not
    present in a `Maybe`, contributes its learned null embedding, so that an item whose
    conditions were all dropped has exactly the context of an unconditional call.
    """

    def __init__(self, width: int, classes: int = 0, vector: int = 0) -> None:
        super().__init__()
        if classes < 0 or vector < 0:
            raise InputError(f"classes and vector are counts, got {classes} and {vector}")
        self.width = width
        self.classes = classes
        self.length = vector
        if classes:
            self.label = nn.Embedding(classes + 1, width)  # the last row is the null class
        if vector:
            self.vector = nn.Sequential(
                nn.Linear(vector, width), nn.SiLU(), nn.Linear(width, width)
            )
            self.no_vector = nn.Parameter(torch.zeros(1, width))

    @property
    def names(self) -> tuple[str, ...]:
        """The conditions this network takes."""
        given = {"label": self.classes, "vector": self.length}
        return tuple(name for name, size in given.items() if size)

    def encode(self, **condition: Condition) -> Tensor:
        """Context (B, width) of the given conditions; the null context (1, width) of none.

        Args:
            condition: ``label`` (B,) of integers in [0, classes) and ``vector`` (B, length) of
                floats, each plain or in a `Maybe`. What an absent item holds is never read.

        Raises:
            InputError: for an unknown name, a wrong shape or dtype, a label out of range, and
                when the network was built without conditions.
        """
        if not self.names:
            raise InputError("this network was built without classes and vector: no condition fits")
        for name in condition:
            if name not in self.names:
                raise InputError(_unknown(name, self.names))
        parts = []
        if self.classes:
            label = condition.get("label")
            parts.append(self.label.weight[-1:] if label is None else self._label(label))
        if self.length:
            vector = condition.get("vector")
            parts.append(self.no_vector if vector is None else self._vector(vector))
        if len(condition) == 2 and len(parts[0]) != len(parts[1]):
            raise InputError(f"got {len(parts[0])} labels but {len(parts[1])} vectors")
        return functools.reduce(torch.add, parts)

    def forward(self, signal: Tensor, context: Tensor | None) -> Tensor:
        """Add the context (B, width), by default the null one, to a signal (B, ..., width).

        Raises:
            InputError: the context has another shape.
        """
        if context is None:
            if not self.names:
                return signal
            context = self.encode()
        items, width = len(signal), self.width
        if context.ndim != 2 or len(context) not in (1, items) or context.shape[1] != width:
            raise InputError(
                f"this network takes a context ({items}, {width}) made by its encode(), "
                f"got {tuple(context.shape)}"
            )
        return signal + context.view(-1, *[1] * (signal.ndim - 2), width)

    def _label(self, condition: Condition) -> Tensor:
        label, present = _open(condition)
        if label.ndim != 1 or label.is_floating_point() or label.dtype is torch.bool:
            raise InputError(
                f"label takes one integer per item, shape (B,), got {_describe(label)}"
            )
        label = label.long()
        if present is not None:
            label = torch.where(present, label, self.classes)
        wrong = (label < 0) | (label >= self.classes)
        if present is not None:
            wrong = wrong & present
        if not wrong.is_meta and wrong.any():
            raise InputError(
                f"label {int(label[wrong][0])} is out of range: "
                f"this network knows the classes 0 to {self.classes - 1}"
            )
        return F.embedding(label, self.label.weight)

    def _vector(self, condition: Condition) -> Tensor:
        vector, present = _open(condition)
        if vector.ndim != 2 or vector.shape[1] != self.length or not vector.is_floating_point():
            raise InputError(
                f"vector takes {self.length} floats per item, shape (B, {self.length}), "
                f"got {_describe(vector)}"
            )
        vector = vector.to(self.no_vector.dtype)
        if present is not None:
            # Absent rows may hold anything; hidden afterwards only, a NaN would reach gradients.
            vector = torch.where(present[:, None], vector, 0)
        known: Tensor = self.vector(vector)
        return known if present is None else torch.where(present[:, None], known, self.no_vector)


def _open(condition: Condition) -> tuple[Tensor, Tensor | None]:
    if not isinstance(condition, Maybe):
        return condition, None
    value, present = condition.value, condition.present
    if present.dtype is not torch.bool or present.shape != value.shape[:1]:
        raise InputError(
            f"present takes one bool per item, shape ({len(value)},), got {_describe(present)}"
        )
    return value, present


def _describe(x: Tensor) -> str:
    return f"{str(x.dtype).removeprefix('torch.')} of shape {tuple(x.shape)}"


def _unknown(name: str, names: tuple[str, ...]) -> str:
    close = close_matches(name, names)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"unknown condition {name!r}: this network takes {' and '.join(names)}{hint}"
