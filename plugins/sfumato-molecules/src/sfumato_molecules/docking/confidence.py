"""How sure a pose is: a network of a complex with a pose, trained on poses that a model drew.

Of each complex some poses are drawn, and the network learns by binary cross-entropy which of them
are within 2 angstrom of the truth (Corso et al. 2022, DiffDock, arXiv:2210.01776, section 3.4).
"""

from __future__ import annotations

__all__ = ["ConfidenceNetwork", "ConfidenceObjective", "confidences", "judge_of"]

from pathlib import Path

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from sfumato import Batch, Fields, InputError, state
from sfumato_nn.equivariant import EquivariantNetwork
from sfumato_train import Loss, Objective, Run, open_run

from ..molecule import Array
from .nn import BONDS, NODES, SCALE, SHELLS, scene
from .pose import posed

CHUNK = 32
"""Poses that are judged at a time."""


class ConfidenceNetwork(nn.Module):
    """The logit of a pose being near the truth: of the mean over ligand atoms of their numbers.

    Numbers of atoms do not change when the complex is turned, mirrored or moved, and neither they
    nor their mean depend on the order of the atoms.

    Args:
        elements: classes of atoms; one more stands for all others.
        width: channels.
        depth: layers.
        radius: angstrom; atoms farther apart send no messages, None: all do.
    """

    def __init__(self, elements: int, *, width: int, depth: int, radius: float | None) -> None:
        super().__init__()
        self.elements = elements
        self.net = EquivariantNetwork(
            elements + NODES, width, pairs=BONDS + SHELLS, width=width, depth=depth,
            radius=None if radius is None else radius / SCALE,
        )  # fmt: skip
        self.told = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, x: Fields) -> Tensor:
        """(B,) logits of the poses of a state, see `complexes`."""
        places = posed(x)
        graph = scene(x["complex"], places, self.elements)
        clock = graph.points.data.new_zeros(places.items)
        rows = self.net(graph.points, clock, graph.nodes, graph.bonds).nodes[graph.ligand]
        total = rows.new_zeros(places.items, rows.shape[1]).index_add(0, places.owner, rows)
        logit: Tensor = self.told(total / places.counts[:, None])
        return logit[:, 0]

    def shown(self, batch: Batch) -> Batch:
        """Poses with the fact `title`: how sure each is, and whether it is near the truth."""
        near = batch.condition["near"].tolist()
        sure = confidences(self, batch.x).tolist()
        titles = [f"{p:.2f}, {'near' if hit else 'far'}" for p, hit in zip(sure, near, strict=True)]
        return Batch(batch.x, batch.condition, {**batch.about, "title": titles})


class ConfidenceObjective(Objective):
    """Binary cross-entropy of whether poses are near the truth, the condition `near` of a batch.

    Args:
        net: what is trained.
    """

    def __init__(self, net: ConfidenceNetwork) -> None:
        super().__init__()
        self.net = net

    def players(self) -> dict[str, nn.Module]:
        return {"confidence": self.net}

    def loss(self, player: str, batch: Batch, generator: Generator) -> Loss:
        logit, near = self.net(batch.x), batch.condition["near"]
        each = F.binary_cross_entropy_with_logits(logit, near.to(logit), reduction="none")
        right = (logit.detach() > 0) == (near > 0.5)
        return Loss(each, {"right": right.to(logit)})


@torch.inference_mode()
def confidences(net: ConfidenceNetwork, x: Fields) -> Array:
    """(B,) probabilities of the poses of a state being within 2 angstrom of the truth, float64."""
    home, found = next(net.parameters()).device, []
    for index in torch.split(torch.arange(state.items(x)), CHUNK):
        found.append(net(state.to(state.select(x, index), home)).double().sigmoid().cpu())
    told: Array = torch.cat(found).numpy()
    return told


def judge_of(path: Path | str, docks: Run, *, device: str | None = None) -> ConfidenceNetwork:
    """The network of a run of `molecules/confidence`, for poses that another run draws.

    Args:
        path: the run folder.
        docks: the run that draws the poses.
        device: see `Run.model`.

    Raises:
        InputError: if it is no such run, or knows other elements than the run that draws.
    """
    run = open_run(path)
    net = run.trained(device=device)
    if not isinstance(net, ConfidenceNetwork):
        raise InputError(
            f"{run.path} is a run of {run.name}, which tells no confidence; train "
            "molecules/confidence for that"
        )
    own, asked = (list(one.about["elements"]) for one in (run, docks))
    if own != asked:
        raise InputError(
            f"{run.path} was trained on poses of the elements {', '.join(own)}, but {docks.path} "
            f"knows {', '.join(asked)}; train molecules/confidence with docking={docks.path}"
        )
    return net
