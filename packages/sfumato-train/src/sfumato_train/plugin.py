"""What sfumato-train announces: its objectives and tools, by bare names."""

from __future__ import annotations

__all__ = ["sfumato_register"]

from sfumato import hook
from sfumato.plugins import Add


@hook
def sfumato_register(add: Add) -> None:
    """Announce the objectives and the tools."""
    add(
        "objective",
        "denoising",
        "sfumato_train.objective:Denoising",
        summary="weighted denoising loss with stratified times and condition dropout",
        source="Ho et al. 2020, arXiv:2006.11239",
    )
    add(
        "objective",
        "coupled",
        "sfumato_train.coupled:Coupled",
        summary="denoising with sources, or noise, matched to the items by optimal transport",
        source="Pooladian et al. 2023, arXiv:2304.14772; Tong et al. 2023, arXiv:2302.00482",
    )
    add(
        "objective",
        "jointly",
        "sfumato_train.jointly:Jointly",
        summary="denoising of several fields, such as nodes and edges, with a weight for each",
        source="Vignac et al. 2022, arXiv:2209.14734",
    )
    add(
        "objective",
        "autoencoding",
        "sfumato_train.coding:Autoencoding",
        summary="reconstruction by a codec that is learned, on demand with features and a critic",
        source="Rombach et al. 2021, arXiv:2112.10752",
    )
    add(
        "objective",
        "variational",
        "sfumato_train.variational:Variational",
        summary="a bound on the likelihood, for process and denoiser together",
        source="Kingma et al. 2021, arXiv:2107.00630; Bartosh et al. 2023, arXiv:2310.08337",
    )
    add(
        "tool",
        "average",
        "sfumato_train.tools:average",
        summary="averages the weights of several checkpoints into a new run",
        source="Izmailov et al. 2018, arXiv:1803.05407; Liu et al. 2024, arXiv:2404.02241",
    )
    add(
        "tool",
        "likelihood",
        "sfumato_train.inspecting:likelihood",
        summary="bits per dimension of held-out data by the probability flow",
        source="Song et al. 2021, arXiv:2011.13456",
    )
    add(
        "tool",
        "dimension",
        "sfumato_train.inspecting:dimension",
        summary="intrinsic dimension about held-out data, from the score",
        source="Kamkari et al. 2024, arXiv:2406.03537; Stanczuk et al. 2022, arXiv:2212.12611",
    )
