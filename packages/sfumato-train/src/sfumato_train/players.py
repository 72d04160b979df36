"""The players of an objective and their optimisers: one AdamW each, its state as named tensors."""

from __future__ import annotations

__all__ = ["Player", "rate"]

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Generator, Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sfumato import Batch, InputError

from .objective import Loss
from .recipe import Settings


def rate(settings: Settings, step: int) -> float:
    """Learning rate of a step: a linear rise over `warmup` steps, times a half cosine to 0."""
    rise = min(1.0, (step + 1) / (settings.warmup + 1))
    if settings.decay == "constant":
        return settings.lr * rise
    return settings.lr * rise * 0.5 * (1 + math.cos(math.pi * step / settings.steps))


class Player:
    """A module that is trained: its parameters and their AdamW.

    Weight decay acts on matrices and kernels only, not on biases and gains.

    Args:
        name: the player's name, for errors.
        module: where the parameters are; those that require no gradient are left alone.
        settings: learning rate, betas, weight decay, clipping.
        loss: what it minimises; of a `DistributedDataParallel` the gradients are averaged over all
            processes.

    Raises:
        InputError: if nothing in the module requires a gradient.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        settings: Settings,
        loss: Callable[[Batch, Generator], Loss],
    ) -> None:
        self.loss = loss
        self.named = {k: p for k, p in module.named_parameters() if p.requires_grad}
        self.parameters = list(self.named.values())
        if not self.parameters:
            raise InputError(f"player {name!r} has no parameter that requires a gradient")
        self.settings = settings
        wide = [p for p in self.parameters if p.ndim >= 2]
        narrow = [p for p in self.parameters if p.ndim < 2]
        groups = [
            {"params": wide, "weight_decay": settings.weight_decay},
            {"params": narrow, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=settings.lr,
            betas=(settings.beta1, settings.beta2),
            fused=True,
        )

    def apart(self) -> AbstractContextManager[None]:
        """Within the block gradients stay in this process: others parts of the batch follow."""
        if isinstance(self.loss, DistributedDataParallel):
            return self.loss.no_sync()
        return nullcontext()

    def add(self, loss: Tensor) -> None:
        """Add the gradient of a scalar; other players gather none, unless spread."""
        spread = hasattr(self.parameters[0], "full_tensor")
        # what is spread over processes is no part of the graph: whole copies of it are
        loss.backward(inputs=None if spread else self.parameters)  # type: ignore[no-untyped-call]

    def update(self, step: int) -> Tensor:
        """Clip the gradients and take the step; returns their norm before clipping."""
        norm = nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        if hasattr(norm, "full_tensor"):
            norm = norm.full_tensor()  # of weights that are spread over processes
        for group in self.optimiser.param_groups:
            group["lr"] = rate(self.settings, step)
        self.optimiser.step()
        return norm

    def clear(self) -> None:
        """Forget the gradients."""
        self.optimiser.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Tensor]:
        """What the optimiser remembers: `parameter/exp_avg` and so on."""
        return {
            f"{name}/{key}": value
            for name, parameter in self.named.items()
            for key, value in self.optimiser.state[parameter].items()
        }

    def blank(self, keys: Iterable[str]) -> None:
        """Make room for the state of these names, of `state()` of another training, to be filled.

        Raises:
            InputError: if one belongs to another parameter.
        """
        for key in keys:
            name, _, kind = key.rpartition("/")
            if name not in self.named:
                raise InputError(f"the optimiser state has the unknown parameter {name!r}")
            parameter = self.named[name]
            like = torch.zeros((), device=parameter.device) if kind == "step" else parameter
            self.optimiser.state[parameter][kind] = torch.zeros_like(like, requires_grad=False)
