"""What sfumato-train announces: its objectives, by bare names."""

from __future__ import annotations

__all__ = ["sfumato_register"]

from sfumato import hook
from sfumato.plugins import Add


@hook
def sfumato_register(add: Add) -> None:
    """Announce the objectives."""
    add(
        "objective",
        "denoising",
        "sfumato_train.objective:Denoising",
        summary="weighted denoising loss with stratified times and condition dropout",
        source="Ho et al. 2020, arXiv:2006.11239",
    )
