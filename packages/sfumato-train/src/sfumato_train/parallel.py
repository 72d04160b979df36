"""Several processes on one training: copies of the weights (DDP), or shards of them (FSDP2)."""

from __future__ import annotations

__all__ = ["Layout", "networks", "recompute", "replicated", "shard"]

from collections.abc import Iterator
from functools import partial
from typing import Literal

import torch
from torch import Generator, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from sfumato import Batch, Unsupported
from sfumato.denoiser import NetworkDenoiser

from .objective import Loss, Objective

Layout = Literal["replicate", "shard"]


class _Turn(nn.Module):
    """The loss of one player as a module whose parameters are that player's."""

    def __init__(self, objective: Objective, name: str, player: nn.Module) -> None:
        super().__init__()
        self.player = player
        self.name = name
        self.loss = objective.loss  # a bound method: the rest of the objective is no submodule

    def forward(self, batch: Batch, generator: Generator) -> Loss:
        return self.loss(self.name, batch, generator)


def replicated(objective: Objective, name: str, player: nn.Module) -> DistributedDataParallel:
    """The loss of a player, `(batch, generator) -> Loss`, whose gradients are averaged over all.

    The average is taken while the backward pass goes on (Li et al. 2020, arXiv:2006.15704). A
    parameter that a loss does not touch is allowed. Buffers stay each process's own.
    """
    size = sum(p.nbytes for p in player.parameters() if p.requires_grad) / 2**20
    return DistributedDataParallel(
        _Turn(objective, name, player),
        forward_sync_buffers=False,
        bucket_cap_mb=min(25, size / 4),  # several, or nothing goes on meanwhile
        find_unused_parameters=True,
        gradient_as_bucket_view=True,
    )


def networks(module: nn.Module) -> list[nn.Module]:
    """The networks inside the denoisers of a module, each once."""
    found = (m.net for m in module.modules() if isinstance(m, NetworkDenoiser))
    return list(dict.fromkeys(found))


def shard(module: nn.Module, device: torch.device) -> None:
    """Spread the weights of every network over the processes (FSDP2; Zhao et al. 2023,
    arXiv:2304.11277), its blocks one by one, so that only one is whole at a time.

    Raises:
        Unsupported: if a trained parameter lies outside the networks.
    """  # noqa: D205
    inside = {id(p) for net in networks(module) for p in net.parameters()}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and id(parameter) not in inside:
            raise Unsupported(
                f"fsdp shards the networks inside denoisers, but {name} is trained outside them; "
                "train it with copies of the weights instead"
            )
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for net in networks(module):
        for block in _blocks(net):
            fully_shard(block, mesh=mesh)
        fully_shard(net, mesh=mesh)
        if hasattr(net, "encode"):
            register_fsdp_forward_method(net, "encode")


def recompute(module: nn.Module) -> None:
    """Let the blocks of every network keep no activations but compute them again when needed.

    Memory falls from all blocks to one, for one more forward pass (Chen et al. 2016,
    arXiv:1604.06174). Results are the same bits, dropout included.
    """
    for net in networks(module):
        for block in _blocks(net):
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def _blocks(net: nn.Module) -> Iterator[nn.Module]:
    """The repeated blocks of a network: the outermost members of its module lists."""
    for child in net.children():
        if isinstance(child, nn.ModuleList):
            yield from (block for block in child if any(True for _ in block.parameters()))
        else:
            yield from _blocks(child)
