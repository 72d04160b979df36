"""What this plugin announces: the domain of graphs, its recipes and verbs."""

from __future__ import annotations

__all__ = ["sfumato_register"]

from sfumato import hook
from sfumato.plugins import Add

DIGRESS = "Vignac et al. 2022, arXiv:2209.14734"
DDAE = "Wesego 2025, arXiv:2501.13133"


@hook
def sfumato_register(add: Add) -> None:
    """Announce the domain, the recipes and the verbs."""
    add(
        "domain",
        "graphs",
        "sfumato_graphs.domain:domain",
        summary="GraphML, GML, GEXF, edge lists, graph6, node-link JSON, matrices, TU folders",
    )
    add(
        "recipe",
        "graphs/atlas",
        "sfumato_graphs.recipes:Atlas",
        summary="all graphs of up to seven nodes, the demo: a few minutes on two cores",
        source=DIGRESS,
    )
    add(
        "recipe",
        "graphs/files",
        "sfumato_graphs.recipes:Files",
        summary="your own graphs, with classes of nodes and edges",
        source=DIGRESS,
    )
    add(
        "recipe",
        "graphs/scores",
        "sfumato_graphs.recipes:Scores",
        summary="your own graphs as real numbers, by score matching",
        source="Jo et al. 2022, arXiv:2202.02514; Niu et al. 2020, arXiv:2003.00638",
    )
    add(
        "recipe",
        "graphs/autoencoder",
        "sfumato_graphs.recipes:AutoEncoder",
        summary="your own graphs, with a code of each for other tasks: `sfumato embed`",
        source=DDAE,
    )
    add(
        "command",
        "graphs/embed",
        "sfumato_graphs.commands:embed",
        summary="write the codes that a run of graphs/autoencoder makes of graphs",
        source=DDAE,
    )
    add(
        "command",
        "graphs/generate",
        "sfumato_graphs.commands:generate",
        summary="make random graphs that papers train on: community, planar, sbm, tree, ...",
    )
    add(
        "command",
        "graphs/complete",
        "sfumato_graphs.commands:complete",
        summary="draw what is missing in a graph of which a part is known",
        source=DIGRESS,
    )
    add(
        "system",
        "graphs/graphddae",
        "sfumato_graphs.systems.graphddae:system",
        summary="codes of graphs learned by discrete diffusion, against untrained ones and VGAE's",
        source=DDAE,
    )
    add(
        "system",
        "graphs/graphsurvey",
        "sfumato_graphs.systems.graphsurvey:system",
        summary="three families of graph diffusion against random graphs and each other",
        source="Liu et al. 2023, arXiv:2302.02591",
    )
