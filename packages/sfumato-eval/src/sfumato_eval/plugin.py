"""What sfumato-eval announces: its metrics, by bare names."""

from __future__ import annotations

__all__ = ["sfumato_register"]

from sfumato import hook
from sfumato.plugins import Add


@hook
def sfumato_register(add: Add) -> None:
    """Announce the metrics."""
    add(
        "metric",
        "sliced-wasserstein",
        "sfumato_eval.sliced:SlicedWasserstein",
        summary="Wasserstein distance along random directions, exact in each",
        source="Bonneel et al. 2015",
    )
    add(
        "metric",
        "kid",
        "sfumato_eval.kernels:KID",
        summary="unbiased squared MMD with the cubic kernel, in any features",
        source="arXiv:1801.01401",
    )
    add(
        "metric",
        "mmd",
        "sfumato_eval.kernels:MMD",
        summary="unbiased squared MMD with Gaussian kernels at several lengths",
        source="Gretton et al. 2012",
    )
    add(
        "metric",
        "frechet",
        "sfumato_eval.frechet:Frechet",
        summary="Frechet distance between Gaussians fitted to any features",
        source="arXiv:1706.08500",
    )
    add(
        "metric",
        "memorisation",
        "sfumato_eval.memorisation:Memorisation.of",
        summary="share of samples closer to the training set than unseen real items",
    )
    add(
        "metric",
        "recognised",
        "sfumato_eval.recognised:Recognised",
        summary="share of samples in which a classifier sees the class asked for",
    )
