"""Moving averages of a model's weights: exponential, and with a power function as profile."""

from __future__ import annotations

__all__ = ["EMA", "Rate", "Trained", "exponential", "gamma", "parts", "posthoc", "power"]

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from sfumato import InputError, Model

Trained: TypeAlias = Model | nn.Module
"""What a checkpoint stores: a model that samples are drawn from, or one module, as a codec is."""

Rate: TypeAlias = Callable[[int], float]
"""From the number of an update, counted from 1, to the share of the old average that is kept."""

WIDEST = 12**-0.5
"""Relative width of the flat profile, the limit of what a power function can have."""


def parts(model: Trained) -> nn.ModuleDict:
    """The modules of a model, as one: denoiser, process, and the codec where it is a module."""
    if not isinstance(model, Model):
        return nn.ModuleDict({"codec": model})
    found: dict[str, nn.Module] = {"denoiser": model.denoiser, "process": model.process}
    if isinstance(model.codec, nn.Module):
        found["codec"] = model.codec
    return nn.ModuleDict(found)


def exponential(decay: float) -> Rate:
    """min(decay, (1 + k) / (10 + k)) at update k, so that the first weights are soon forgotten.

    Raises:
        InputError: if `decay` lies outside (0, 1).
    """
    if not 0 < decay < 1:
        raise InputError(f"the decay of an average lies in (0, 1), but is {decay}")
    return lambda update: min(decay, (1 + update) / (10 + update))


def gamma(width: float) -> float:
    """The exponent of the power function of a relative width (Karras et al. 2024, eq. 43-44).

    The profile t^gamma on [0, 1] has standard deviation
    width = sqrt(gamma + 1) / ((gamma + 2) sqrt(gamma + 3)).

    Raises:
        InputError: if the width lies outside (0, 12^-0.5), between one moment and a flat profile.
    """
    if not 0 < width < WIDEST:
        raise InputError(f"the width of an average lies in (0, {WIDEST:.3f}), but is {width}")
    square = width**-2
    # (gamma + 2)^2 (gamma + 3) width^2 = gamma + 1
    return float(np.roots([1, 7, 16 - square, 12 - square]).real.max())


def power(width: float) -> Rate:
    """(1 - 1/k)^(gamma + 1) at update k: a profile t^gamma over the whole training so far.

    Karras et al. 2024, arXiv:2312.02696, section 3.1; raises as `gamma` does.
    """
    exponent = gamma(width) + 1
    return lambda update: (1 - 1 / update) ** exponent


def posthoc(snapshots: Sequence[tuple[int, float]], step: int, width: float) -> list[float]:
    """Weights of snapshots whose sum is the average of another width, by least squares.

    The combination of the snapshots' profiles that is nearest to the wanted profile, as in Karras
    et al. 2024, arXiv:2312.02696, algorithm 3, but among those that sum to one: with few snapshots
    the unconstrained one would also scale the model's weights.

    Args:
        snapshots: (update, width) of each stored power-function average.
        step: the update at which the wanted average ends; at most that of the last snapshot.
        width: of the wanted average.

    Raises:
        InputError: if there is no snapshot, `step` is later than all, or a width is out of range.
    """
    if not snapshots:
        raise InputError("there is no snapshot of a power-function average to combine")
    if step > max(update for update, _ in snapshots):
        raise InputError(f"an average at step {step} needs a snapshot at that step or later")
    times = np.array([update for update, _ in snapshots], float)[:, None]
    exponents = np.array([gamma(one) for _, one in snapshots])[:, None]
    among = _overlap(times, exponents, times.T, exponents.T)
    wanted = _overlap(times, exponents, np.array([[float(step)]]), np.array([[gamma(width)]]))
    count = len(snapshots)
    system = np.ones((count + 1, count + 1))  # with the multiplier of the constraint
    system[:count, :count], system[count, count] = among, 0
    solution = np.linalg.lstsq(system, np.append(wanted[:, 0], 1.0), rcond=None)[0]
    return [float(share) for share in solution[:count]]


def _overlap(t: np.ndarray, a: np.ndarray, s: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The inner product of the normalised profiles x^a on [0, t] and x^b on [0, s]."""
    last, first = np.maximum(t, s), np.minimum(t, s)
    exponent = np.where(t < s, b, a)
    product = (a + 1) * (b + 1) / ((a + b + 1) * last)
    return np.asarray(product * (first / last) ** exponent)


class EMA:
    """A copy of a model whose weights follow it: w <- d_k w + (1 - d_k) live, at update k.

    Trained parameters and floating buffers are averaged, other buffers are copied.

    Args:
        model: the model, or codec, to follow; the copy starts with its present weights, on the
            device of those.
        rate: d_k, see `exponential` and `power`.
    """

    def __init__(self, model: Trained, rate: Rate) -> None:
        self.rate = rate
        self._followed = model
        self._model: Trained
        if isinstance(model, Model):
            process, denoiser, codec = copy.deepcopy((model.process, model.denoiser, model.codec))
            self._model = replace(model, process=process, denoiser=denoiser, codec=codec)
        else:
            self._model = copy.deepcopy(model)

    @cached_property
    def _groups(self) -> list[tuple[list[Tensor], list[Tensor]]]:
        """(live, own) of what is averaged, of one kind each: whole tensors, and spread ones.

        Looked up at the first update, when weights that are to be spread over processes are.
        """
        live, own = parts(self._followed), parts(self._model)
        pairs: list[tuple[Tensor, Tensor]] = [
            pair
            for pair in zip(live.parameters(), own.parameters(), strict=True)
            if pair[0].requires_grad
        ]
        own.requires_grad_(False)
        pairs += [
            pair
            for pair in zip(live.buffers(), own.buffers(), strict=True)
            if pair[0].is_floating_point()
        ]
        groups: dict[type, tuple[list[Tensor], list[Tensor]]] = {}
        for one, other in pairs:
            group = groups.setdefault(type(other.data), ([], []))
            group[0].append(one)
            group[1].append(other)
        return list(groups.values())

    @cached_property
    def _copied(self) -> list[tuple[Tensor, Tensor]]:
        """(live, own) of the buffers that are copied."""
        live, own = parts(self._followed), parts(self._model)
        pairs = zip(live.buffers(), own.buffers(), strict=True)
        return [pair for pair in pairs if not pair[0].is_floating_point()]

    def module(self) -> Trained:
        """The model, or codec, with the averaged weights."""
        return self._model

    @torch.no_grad()
    def update(self, update: int) -> None:
        """Follow the live weights; `update` counts from 1."""
        follow = get_ema_multi_avg_fn(self.rate(update))  # type: ignore[no-untyped-call]
        for live, own in self._groups:
            follow(own, live, None)
        for value, shadow in self._copied:
            shadow.copy_(value)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the live model has the averaged weights, and this one the live ones."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        averaged = [pair for group in self._groups for pair in zip(*group, strict=True)]
        for live, own in [*averaged, *self._copied]:
            kept = live.clone()
            live.copy_(own)
            own.copy_(kept)
