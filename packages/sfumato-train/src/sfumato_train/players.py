"""The players of an objective and their optimisers: one AdamW each, its state as named tensors."""

from __future__ import annotations

__all__ = ["Player", "rate"]

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sfumato import InputError

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

    Raises:
        InputError: if nothing in the module requires a gradient.
    """

    def __init__(self, name: str, module: nn.Module, settings: Settings) -> None:
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

    def add(self, loss: Tensor) -> None:
        """Add the gradient of a scalar; parameters of other players gather none."""
        loss.backward(inputs=self.parameters)  # type: ignore[no-untyped-call]

    def update(self, step: int) -> Tensor:
        """Clip the gradients, take the step, clear them; returns their norm before clipping."""
        norm = nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = rate(self.settings, step)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        return norm

    def state(self) -> dict[str, Tensor]:
        """What the optimiser remembers: `parameter/exp_avg` and so on."""
        return {
            f"{name}/{key}": value
            for name, parameter in self.named.items()
            for key, value in self.optimiser.state[parameter].items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Remember what `state()` gave.

        Raises:
            InputError: if it belongs to other parameters.
        """
        foreign = {key.rpartition("/")[0] for key in state} - self.named.keys()
        if foreign:
            raise InputError(f"the optimiser state has the unknown parameter {min(foreign)!r}")
        for key, value in state.items():
            name, _, kind = key.rpartition("/")
            parameter = self.named[name]
            self.optimiser.state[parameter][kind] = value.to(parameter.device, copy=True)
