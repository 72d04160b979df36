"""Processes and samplers under the names of the command line."""

from __future__ import annotations

from . import kernels
from .insertion import Insertion
from .orders import Confident, Entropy, LeftToRight, Margin, Ordered, RandomOrder, TopProbability
from .process import Discrete
from .remasking import Loop, Remasking, Rescale
from .schedules import Keep

__all__ = [
    "absorbing", "confident", "entropy", "insertion", "left_to_right", "margin", "mask_replace",
    "random_order", "remdm", "remdm_conf", "remdm_loop", "top_probability", "uniform",
]  # fmt: skip


def absorbing(vocabulary: int, keep: Keep | None = None) -> Discrete:
    """`Discrete(absorbing(vocabulary))`: id `vocabulary` is the mask."""
    return Discrete(kernels.absorbing(vocabulary, keep))


def uniform(classes: int, keep: Keep | None = None) -> Discrete:
    """`Discrete(uniform(classes))`."""
    return Discrete(kernels.uniform(classes, keep))


def mask_replace(vocabulary: int, keep: Keep | None = None, masked: float = 0.9) -> Discrete:
    """`Discrete(MaskReplace(vocabulary))`: id `vocabulary` is the mask."""
    return Discrete(kernels.MaskReplace(vocabulary, keep, masked))


def insertion(vocabulary: int) -> Insertion:
    """`Insertion(vocabulary)`: texts that grow; id `vocabulary` is the mask."""
    return Insertion(vocabulary)


def top_probability() -> Ordered:
    """The likeliest first."""
    return Ordered(TopProbability())


def margin() -> Ordered:
    """The clearest decision first."""
    return Ordered(Margin())


def entropy() -> Ordered:
    """The least uncertain first."""
    return Ordered(Entropy())


def random_order() -> Ordered:
    """A random order, a fixed number a step."""
    return Ordered(RandomOrder())


def left_to_right() -> Ordered:
    """The order of reading."""
    return Ordered(LeftToRight())


def confident() -> Ordered:
    """All tokens above 0.9 at once, and at least one."""
    return Ordered(TopProbability(), Confident(0.9))


def remdm() -> Remasking:
    """Remasking at a tenth of the largest rate."""
    return Remasking(Rescale(0.1))


def remdm_conf() -> Remasking:
    """The largest rate, shared among tokens by doubt."""
    return Remasking(Rescale(1.0), by_confidence=True)


def remdm_loop() -> Remasking:
    """Remasking half-way, with the share of masks held."""
    return Remasking(Loop())
