"""What this plugin announces: the domain of molecules, its data sets, metrics and verbs."""

from __future__ import annotations

__all__ = ["sfumato_register"]

from sfumato import hook
from sfumato.plugins import Add


@hook
def sfumato_register(add: Add) -> None:
    """Announce the domain, the data sets, the metrics and the verbs."""
    add(
        "domain",
        "molecules/trajectories",
        "sfumato_molecules.trajectories.domain:domain",
        summary="points that move together: .npz arrays, runs of XYZ, tracked pedestrians",
    )
    add(
        "recipe",
        "molecules/trajectories",
        "sfumato_molecules.trajectories.recipes:Trajectories",
        summary="the frames to come of moving points: simulated charges, or your own",
        source="Han et al. 2024, arXiv:2410.13027",
    )
    add(
        "system",
        "molecules/geotdm",
        "sfumato_molecules.systems.geotdm:system",
        summary="forecasts of charges against a network without symmetry and constant velocity",
        source="Han et al. 2024, arXiv:2410.13027",
    )
