"""A discrete diffusion model of graphs that is told a code of the graph, and learns the code.

Wesego 2025, "Graph Representation Learning with Diffusion Generative Models", arXiv:2501.13133: an
encoder makes a vector z of a clean graph, the denoiser is told z, and both are trained by the loss
of the denoiser alone. Theirs sees adjacency matrices, their nodes in breadth-first order, as
pictures. Here the encoder does not depend on the order; the denoiser is a network of graphs, which
sees the place of each node in an order where it is asked for: without that z cannot tell it which
of the nodes has which neighbours, and noisy graphs hardly do. Padding plays no part.
"""

from __future__ import annotations

__all__ = ["AutoDenoiser", "Autoencoding", "Part", "embed"]

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from sfumato import Batch, Dataset, InputError, Process, state
from sfumato.state import Time
from sfumato_nn.graphs.encoder import Encoder
from sfumato_nn.graphs.order import ordered
from sfumato_nn.graphs.transformer import GraphDenoiser, GraphTransformer
from sfumato_nn.positions import waves
from sfumato_train import Jointly, Loss, Run

Part = Literal["z", "both"]
"""Of the representation: the code alone, or with what the denoiser makes of the clean graph."""

CHUNK = 128

PLACES = 16
"""Numbers that tell the place of a node."""


class AutoDenoiser(GraphDenoiser):
    """A denoiser with the encoder whose codes it is told as the condition `vector`.

    Args:
        net: takes a `vector` of the length of the codes.
        process: of nodes and edges.
        classes: of nodes and of pairs.
        encoder: makes the codes.
        places: tell the network the place of each node, `PLACES` numbers beyond its classes.
    """

    def __init__(
        self,
        net: GraphTransformer,
        process: Process,
        classes: tuple[int, int],
        encoder: Encoder,
        places: bool,
    ) -> None:
        super().__init__(net, process, classes)
        self.encoder, self.places = encoder, places

    def shown(self, x: Any, t: Time) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        node, pair, joined, mask, clock = super().shown(x, t)
        if self.places:
            place = waves([node.shape[1]], PLACES, node.device).expand(len(node), -1, -1)
            node = torch.cat((node.to(place), place), -1)
        return node, pair, joined, mask, clock

    def embed(self, x: Any, part: Part = "z") -> Tensor:
        """(B, D) representations of length 1 of clean graphs.

        "z" is the code; "both" the code and the mean over the nodes of the middle of the denoiser
        at t = 0, each of the length 1/sqrt(2).
        """
        z = self.encoder(x)
        code = F.normalize(z, dim=-1)
        if part == "z":
            return code
        x = ordered(x) if self.places else x
        net: Any = self.net
        shown = self.shown(x, torch.zeros((), dtype=torch.float64))
        h = net.middle(shown, **net.encode(vector=z))
        mask = x["nodes"].mask
        mean = (h * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return torch.cat((code, F.normalize(mean, dim=-1)), -1) / 2**0.5


class Autoencoding(Jointly):
    """The loss of a denoiser that is told the codes of the very graphs; see `Jointly`."""

    def loss(self, player: str, batch: Batch, generator: Generator) -> Loss:
        denoiser = self.denoiser
        assert isinstance(denoiser, AutoDenoiser)
        x = ordered(batch.x) if denoiser.places else batch.x
        told = Batch(x, {**batch.condition, "vector": denoiser.encoder(x)})
        return super().loss(player, told, generator)


@torch.no_grad()
def embed(
    run: Run, data: Dataset, *, part: Part = "z", weights: str = "ema", device: str | None = None
) -> Tensor:
    """(N, D) representations of graphs by a run of `graphs/autoencoder`, on the CPU.

    Raises:
        InputError: for a run without an encoder.
    """
    model = run.model(weights, device=device)
    denoiser = model.denoiser
    if not isinstance(denoiser, AutoDenoiser):
        raise InputError(
            f"{run.path} is a run of {run.name}, which makes no representations; train "
            "graphs/autoencoder"
        )
    home = denoiser.encoder.outward.weight.device
    found = []
    for first in range(0, len(data), CHUNK):
        x = state.to(data.batch(range(first, min(first + CHUNK, len(data)))).x, home)
        found.append(denoiser.embed(x, part).float().cpu())
    return torch.cat(found)
