"""Grids: the times at which a scheduler of diffusers would evaluate its network."""

from __future__ import annotations

__all__ = ["SchedulerGrid", "times"]

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sfumato import InputError, Process

from .clocks import Indices
from .conventions import Convention, convention, supported

_NEAR = 1e-3  # of an index: the tables of diffusers are float32

_SPACED_BY = {
    # these repeat timesteps, or put others between; the evenly stepping scheduler has the same ones
    "PNDMScheduler": "DDIMScheduler",
    "HeunDiscreteScheduler": "EulerDiscreteScheduler",
    "KDPM2DiscreteScheduler": "EulerDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler": "EulerDiscreteScheduler",
}


class SchedulerGrid:
    """The grid of a scheduler for any number of steps, its spacing as its configuration says.

    Like theirs, it need not begin at t = 1 ("leading" spacing) nor end at t = 0.

    Args:
        scheduler: of diffusers; a private copy is kept.
        tokens: length of the sequence that the network sees, where the configuration shifts the
            times by it (`use_dynamic_shifting`).
    """

    def __init__(self, scheduler: Any, tokens: int | None = None) -> None:
        self._scheduler = _evenly(scheduler)
        self._convention = convention(scheduler)
        self._tokens = tokens

    def __call__(self, process: Process, steps: int) -> Tensor:
        """(steps + 1,) times of `process`, descending; without a last step that would stand still.

        Args:
            process: that of the scheduler; of another affine one the times are those with the same
                noise levels sigma/alpha.
            steps: number of steps.
        """
        return self.spaced(process, steps, shift=self._shift())

    def spaced(
        self,
        process: Any,
        steps: int | None = None,
        *,
        timesteps: Sequence[float] | Tensor | None = None,
        sigmas: Sequence[float] | Tensor | None = None,
        shift: float | None = None,
    ) -> Tensor:
        """Times for a number of steps, or for these timesteps or sigmas in place of it.

        Args:
            process: as for a call.
            steps: number of steps.
            timesteps: what the network shall be told, descending.
            sigmas: noise levels as the scheduler counts them: sigma/alpha, or for flows the share
                of noise, which the scheduler yet shifts.
            shift: logarithm of the shift of the times (their `mu`).

        Raises:
            InputError: for less than 1 step.
        """
        if steps is not None and steps < 1:
            raise InputError(f"a grid needs at least 1 step, but {steps} were asked for")
        if timesteps is not None:
            level = self._ended(self._convention.clock.level(_column(timesteps)))
        elif sigmas is not None and self._convention.predict != "flow":
            level = self._ended(_column(sigmas).log())
        else:
            scheduler = copy.deepcopy(self._scheduler)
            options = {"mu": shift, "sigmas": None if sigmas is None else _column(sigmas).tolist()}
            steps = steps if sigmas is None else None
            scheduler.set_timesteps(steps, **{k: v for k, v in options.items() if v is not None})
            level = self._levels(scheduler)
        return times(process, self._convention, torch.unique_consecutive(level))

    def _levels(self, scheduler: Any) -> Tensor:
        """log(sigma/alpha) at each time, -inf at t = 0."""
        clock = self._convention.clock
        if isinstance(clock, Indices) and not hasattr(scheduler, "sigmas"):
            return self._ended(clock.level(_column(scheduler.timesteps)))
        sigmas = scheduler.sigmas.double().cpu()
        flow = self._convention.predict == "flow"
        return torch.logit(sigmas) if flow else sigmas.log()

    def _ended(self, level: Tensor) -> Tensor:
        """These levels, then that of the last state: clean, or the least level with any noise."""
        config = self._scheduler.config
        clean = config.get("set_alpha_to_one", True)
        clean = clean and config.get("final_sigmas_type", "zero") == "zero"
        clock = self._convention.clock
        least = clock.level(level.new_zeros(1)) if isinstance(clock, Indices) else level[-1:]
        return torch.cat([level, torch.full_like(least, -torch.inf) if clean else least])

    def _shift(self) -> float | None:
        config = self._scheduler.config
        if not config.get("use_dynamic_shifting"):
            return None
        if self._tokens is None:
            raise InputError(
                "the configuration shifts times by the length of the sequence "
                "(use_dynamic_shifting); give `tokens`, or load the whole pipeline"
            )
        low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
        base, most = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
        return float(base + (most - base) * (self._tokens - low) / (high - low))


def _evenly(scheduler: Any) -> Any:
    """A copy of the scheduler, or the one that has its timesteps once each."""
    name = _SPACED_BY.get(supported(scheduler))
    if name is None:
        return copy.deepcopy(scheduler)
    import diffusers

    # without the list of defaults (`_use_default_values`), for which the other class has its own
    facts = {k: v for k, v in scheduler.config.items() if not k.startswith("_")}
    return getattr(diffusers, name).from_config(facts)


def _column(values: Sequence[float] | Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64).cpu()


def times(process: Any, convention: Convention, level: Tensor) -> Tensor:
    """Times of a process with these log(sigma/alpha), float64.

    Levels within a thousandth of an index of an entry of the table are that entry.
    """
    clock = convention.clock
    if isinstance(clock, Indices):
        index = clock.timestep(level)
        entry = index.round()
        at_entry = clock.level(entry)
        near = ((index - entry).abs() < _NEAR) & (level > at_entry - _NEAR)  # not below the first
        level = torch.where(near, at_entry, level)
    t: Tensor = process.time(-2 * level)
    return t
