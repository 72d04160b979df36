"""A discrete diffusion model of graphs that is told a code of the graph, and learns the code.

Wesego 2025, "Graph Representation Learning with Diffusion Generative Models", arXiv:2501.13133: an
encoder makes a vector z of a clean graph, the denoiser is told z, and both are trained by the loss
of the denoiser alone. Theirs sees adjacency matrices in an order of the nodes as pictures; here
encoder and denoiser are equivariant, and padding plays no part.
"""

from __future__ import annotations

__all__ = ["AutoDenoiser", "Autoencoding", "Part", "embed"]

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from sfumato import Batch, Dataset, InputError, Process, state
from sfumato_nn.graphs.encoder import GraphEncoder
from sfumato_nn.graphs.transformer import GraphDenoiser, GraphTransformer
from sfumato_train import Jointly, Loss, Run

Part = Literal["z", "both"]
"""Of the representation: the code alone, or with what the denoiser makes of the clean graph."""

CHUNK = 128


class AutoDenoiser(GraphDenoiser):
    """A denoiser with the encoder whose codes it is told as the condition `vector`.

    Args:
        net: takes a `vector` of the length of the codes.
        process: of nodes and edges.
        classes: of nodes and of pairs.
        encoder: makes the codes.
    """

    def __init__(
        self,
        net: GraphTransformer,
        process: Process,
        classes: tuple[int, int],
        encoder: GraphEncoder,
    ) -> None:
        super().__init__(net, process, classes)
        self.encoder = encoder

    def embed(self, x: Any, part: Part = "z") -> Tensor:
        """(B, D) representations of length 1 of clean graphs.

        "z" is the code; "both" the code and the mean over the nodes of the middle of the denoiser
        at t = 0, each of the length 1/sqrt(2).
        """
        z = self.encoder(x)
        code = F.normalize(z, dim=-1)
        if part == "z":
            return code
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
        told = Batch(batch.x, {**batch.condition, "vector": denoiser.encoder(batch.x)})
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
    home = denoiser.encoder.own.device
    found = []
    for first in range(0, len(data), CHUNK):
        x = state.to(data.batch(range(first, min(first + CHUNK, len(data)))).x, home)
        found.append(denoiser.embed(x, part).float().cpu())
    return torch.cat(found)
