"""Exponential moving average of a model's weights."""

from __future__ import annotations

__all__ = ["EMA", "parts"]

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sfumato import InputError, Model


def parts(model: Model) -> nn.ModuleDict:
    """The modules of a model, as one: denoiser, process, and the codec where it is a module."""
    found: dict[str, nn.Module] = {"denoiser": model.denoiser, "process": model.process}
    if isinstance(model.codec, nn.Module):
        found["codec"] = model.codec
    return nn.ModuleDict(found)


class EMA:
    """A copy of a model whose weights follow it: w <- d_k w + (1 - d_k) live, at update k.

    d_k = min(decay, (1 + k) / (10 + k)) with k = 1, 2, ..., so that the first weights are soon
    forgotten. Trained parameters and floating buffers are averaged, other buffers are copied.

    Args:
        model: the model to follow; the copy starts with its present weights, on its device.
        decay: in (0, 1).

    Raises:
        InputError: if `decay` lies outside (0, 1).
    """

    def __init__(self, model: Model, decay: float) -> None:
        if not 0 < decay < 1:
            raise InputError(f"the decay of an average lies in (0, 1), but is {decay}")
        self.decay = decay
        process, denoiser, codec = copy.deepcopy((model.process, model.denoiser, model.codec))
        self._model = replace(model, process=process, denoiser=denoiser, codec=codec)
        live, own = parts(model), parts(self._model)
        self._averaged: list[tuple[Tensor, Tensor]] = [
            pair
            for pair in zip(live.parameters(), own.parameters(), strict=True)
            if pair[0].requires_grad
        ]
        buffers = list(zip(live.buffers(), own.buffers(), strict=True))
        self._averaged += [pair for pair in buffers if pair[0].is_floating_point()]
        self._copied = [pair for pair in buffers if not pair[0].is_floating_point()]
        own.requires_grad_(False)

    def module(self) -> Model:
        """The model with the averaged weights."""
        return self._model

    def rate(self, update: int) -> float:
        """Decay d_k of update k."""
        return min(self.decay, (1 + update) / (10 + update))

    @torch.no_grad()
    def update(self, update: int) -> None:
        """Follow the live weights; `update` counts from 1."""
        own = [shadow for _, shadow in self._averaged]
        live = [value for value, _ in self._averaged]
        if own:
            get_ema_multi_avg_fn(self.rate(update))(own, live, None)  # type: ignore[no-untyped-call]
        for value, shadow in self._copied:
            shadow.copy_(value)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the live model has the averaged weights; nothing is copied."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        pairs: list[tuple[Tensor, Tensor]] = [*self._averaged, *self._copied]
        for live, shadow in pairs:
            live.data, shadow.data = shadow.data, live.data
