"""Our samplers as schedulers of diffusers: an existing pipeline takes one in one line."""

from __future__ import annotations

__all__ = ["SfumatoScheduler"]

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import diffusers
import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor, nn

from sfumato import InputError, Process, Sampler, Streams, Unsupported, expand, registry
from sfumato.random import Source
from sfumato_methods.grids import uniform

from .clocks import Indices
from .conventions import FAMILIES, convention, supported
from .denoiser import Call, DiffusersDenoiser
from .grids import SchedulerGrid
from .walking import Walk, calls, forgets

_OWN = ("sampler", "options", "grid", "base")


class SfumatoScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]
    """A sampler of sfumato behind the interface of a scheduler of diffusers.

    The state is that of the process: for chains of betas and for flows the one that the network
    sees, for EDM the data plus noise, which `scale_model_input` scales. A sampler with several
    network calls a step has its timesteps repeated, as `order` says.

    Args:
        sampler: one of sfumato, or its registered name.
        options: of the sampler, where it is named.
        grid: a function of (process, steps), or its registered name: the times to walk. None: the
            timesteps that the base has.
        base: class of the scheduler whose noise the network was trained with.
        settings: configuration of the base.

    Raises:
        InputError: for an unknown base, or options that the sampler does not take.
        Unsupported: for a base, a sampler or a combination that has no counterpart.
    """

    def __init__(
        self,
        sampler: Sampler | str = "dpmpp-2m",
        *,
        options: Mapping[str, Any] | None = None,
        grid: Callable[[Process, int], Tensor] | str | None = None,
        base: str = "DDPMScheduler",
        **settings: Any,
    ) -> None:
        if base not in FAMILIES:
            raise InputError(
                f"{base!r} is not a scheduler that sfumato-diffusers can read; it reads "
                f"{', '.join(FAMILIES)}"
            )
        self._theirs = theirs = getattr(diffusers, base).from_config(settings)
        self._sampler = _sampler(sampler, options or {})
        self._grid = registry().load("grid", grid) if isinstance(grid, str) else grid
        self._spacing = SchedulerGrid(theirs)
        self._rules = DiffusersDenoiser(nn.Identity(), convention(theirs))
        self._process: Any = self._rules.process
        probe = calls(self._sampler, self._process, uniform(self._process, 2))
        self._order = max(map(len, probe))
        self._forgetful = self._order > 1 and forgets(self._sampler, self._process)
        register: Any = self.register_to_config
        register(
            **{name: value for name, value in theirs.config.items() if not name.startswith("_")},
            sampler=_name("sampler", type(self._sampler)),
            options=_values(self._sampler),
            grid=None if self._grid is None else _name("grid", self._grid),
            base=base,
        )
        self.timesteps: Tensor = theirs.timesteps
        self.num_inference_steps: int | None = None
        self._forget()

    @classmethod
    def from_scheduler(
        cls,
        scheduler: Any,
        sampler: Sampler | str = "dpmpp-2m",
        *,
        grid: Callable[[Process, int], Tensor] | str | None = None,
    ) -> Self:
        """For the network that `scheduler` was made for; noise and prediction are taken from it."""
        config = {k: v for k, v in scheduler.config.items() if k not in _OWN or k == "base"}
        base = config.pop("base", None) or supported(scheduler)
        return cls(sampler, grid=grid, base=base, **_public(config))

    @classmethod
    def from_config(
        cls, config: Any = None, return_unused_kwargs: bool = False, **given: Any
    ) -> Any:
        """One with this configuration: its own, or that of a scheduler of diffusers.

        Args:
            config: as `scheduler.config`, or read from a file.
            return_unused_kwargs: whether to return a pair, the second an empty mapping.
            given: in place of what the configuration says, or beside it.
        """
        facts = {**(config or {}), **given}
        base = facts.pop("base", None) or facts.get("_class_name") or _class_of(config or {})
        own = {name: facts.pop(name) for name in _OWN if facts.get(name) is not None}
        if "sampler" in given and "options" not in given:  # those stored are of another sampler
            own.pop("options", None)
        scheduler = cls(**own, base=base, **_public(facts))
        return (scheduler, {}) if return_unused_kwargs else scheduler

    def save_config(self, *args: Any, **kwargs: Any) -> None:
        """Write the configuration to a folder.

        Raises:
            Unsupported: if the sampler or the grid has no registered name.
        """
        config: Any = self.config
        if config.sampler is None or (self._grid is not None and config.grid is None):
            raise Unsupported(
                f"a scheduler is saved by the names of its parts, and {self._sampler} or its grid "
                "has none; announce them in a plugin (sfumato_register)"
            )
        super().save_config(*args, **kwargs)

    @property
    def theirs(self) -> Any:
        """The scheduler of diffusers that the network was trained with."""
        return self._theirs

    @property
    def sampler(self) -> Sampler:
        """Our sampler."""
        return self._sampler

    @property
    def grid(self) -> Callable[[Process, int], Tensor]:
        """Our grid, or that of the scheduler of diffusers."""
        return self._grid or self._spacing

    # What a pipeline asks before it starts.

    @property
    def order(self) -> int:
        """Network calls per step; the last step may have fewer."""
        return self._order

    @property
    def init_noise_sigma(self) -> float:
        """Standard deviation of the first state where that of the data is 1."""
        first = self._times[:1] if self.num_inference_steps else torch.ones(1, dtype=torch.float64)
        power = self._process.alpha(first).square() + self._process.sigma(first).square()
        return float(power.sqrt())

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: Sequence[float] | Tensor | None = None,
        sigmas: Sequence[float] | Tensor | None = None,
        mu: float | None = None,
    ) -> None:
        """Begin a new trajectory; whatever was left of the last one is forgotten.

        Args:
            num_inference_steps: number of steps.
            device: where `timesteps` go.
            timesteps: what the network shall be told, descending. With a grid of its own the
                scheduler only counts these, and `sigmas`.
            sigmas: noise levels as the base counts them.
            mu: logarithm of a shift of the times, where the base has it.

        Raises:
            InputError: unless just one of the number, `timesteps` and `sigmas` says the steps.
        """
        listed = [v for v in (timesteps, sigmas) if v is not None]
        if len(listed) > 1 or (num_inference_steps is None and not listed):
            raise InputError("give the number of steps, or timesteps, or sigmas")
        if self._grid is not None:
            count = len(listed[0]) if listed else num_inference_steps
            self._times = self._grid(self._process, int(count or 0))
        else:
            self._times = self._spacing.spaced(
                self._process, num_inference_steps, timesteps=timesteps, sigmas=sigmas, shift=mu
            )
        asked = calls(self._sampler, self._process, self._times)
        self._begins = [0]
        for times in asked:
            self._begins.append(self._begins[-1] + len(times))
        call = self._rules.call(torch.stack([t for times in asked for t in times]))
        keep, gain, scale = (column.tolist() for column in call[:3])
        self._calls = [Call(*row) for row in zip(keep, gain, scale, call.timestep, strict=True)]
        self.timesteps = self._told(call.timestep).to(device)
        self.num_inference_steps = len(asked)
        self._forget()

    def _told(self, timesteps: Tensor) -> Tensor:
        """Whole indices as integers, as their pipelines expect; else float32."""
        whole = isinstance(self._rules.convention.clock, Indices)
        whole = whole and bool((timesteps == timesteps.round()).all())
        return timesteps.long() if whole else timesteps.float()

    def _forget(self) -> None:
        self._walk: Walk | None = None
        self._index: int | None = None
        self._begin: int | None = None

    @property
    def step_index(self) -> int | None:
        """Number of the next network call; None before the first."""
        return self._index

    @property
    def begin_index(self) -> int | None:
        """Number of the first network call, where a pipeline has set it."""
        return self._begin

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Begin at this entry of `timesteps` (image-to-image)."""
        self._begin = begin_index

    # What it asks at each step.

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        """The state as the network sees it."""
        if self._index is None:
            self._start(timestep)
        scale = self._calls[self._index or 0].scale
        return sample if abs(scale - 1) < 1e-12 else sample * scale

    def step(
        self,
        model_output: Tensor,
        timestep: Any,
        sample: Tensor,
        generator: torch.Generator | list[torch.Generator] | None = None,
        eta: float = 0.0,
        use_clipped_model_output: bool | None = None,
        return_dict: bool = True,
    ) -> DDIMSchedulerOutput | tuple[Tensor, Tensor]:
        """The state of the next network call.

        Args:
            model_output: (B, C, H, W) or (B, 2C, H, W), of which the second half is left out.
            timestep: the entry of `timesteps` that the network was told.
            sample: the state, (B, C, H, W).
            generator: for samplers that draw; a list has one for each item. Those of the first
                step serve the whole trajectory. None: the global one of torch, as in diffusers.
            eta: must be 0; the sampler says how much noise it adds.
            use_clipped_model_output: of no effect; the noise always agrees with the data.
            return_dict: whether to return an object, else a tuple.

        Raises:
            InputError: before `set_timesteps`, after the last step, or at an unknown timestep.
            Unsupported: for another eta than 0.
        """
        if eta:
            raise Unsupported(f"eta is a matter of the sampler: SfumatoScheduler(DDIM(eta={eta}))")
        if self._index is None:
            self._start(timestep)
        index = self._index or 0
        if index >= len(self._calls):
            raise InputError("the last step is done; call set_timesteps for a new trajectory")
        if self._walk is None:
            self._walk = self._walk_from(index, generator)
        call = self._calls[index]
        x = sample.float() if sample.dtype in (torch.float16, torch.bfloat16) else sample
        q = self._rules.read(x, model_output[:, : sample.shape[1]], call.keep, call.gain)
        after = self._walk.step(x, q).to(sample.dtype)
        self._index = index + 1
        data = q.mean.to(sample.dtype)
        return DDIMSchedulerOutput(after, data) if return_dict else (after, data)

    def _start(self, timestep: Any) -> None:
        """Find the first network call of a trajectory."""
        if self.num_inference_steps is None:
            raise InputError("call set_timesteps before the first step")
        if self._begin is not None:
            self._index = self._begin
            return
        told = torch.as_tensor(timestep, device=self.timesteps.device)
        at = [int(i) for i in (self.timesteps == told).nonzero()]
        first = [i for i in at if i in self._begins]
        if not first:
            raise InputError(f"{timestep} is no entry of `timesteps` at which a step begins")
        self._index = first[0]

    def _walk_from(self, index: int, generator: Any) -> Walk:
        if index not in self._begins:
            raise InputError(
                f"entry {index} of `timesteps` is in the middle of a step of {self._order} network "
                f"calls; begin at a multiple of {self._order}"
            )
        source: Source = torch.default_generator if generator is None else generator
        if isinstance(generator, list):
            source = generator[0] if len(generator) == 1 else Streams(generator)
        left = self._times[self._begins.index(index) :]
        return Walk(
            self._sampler,
            self._process,
            left,
            source,
            several=self._order > 1,
            forgetful=self._forgetful,
        )

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """The state alpha x_0 + sigma eps at any timesteps, () or (B,)."""
        rules, process = self._rules, self._process
        level = rules.convention.clock.level(torch.as_tensor(timesteps).double().cpu())
        t = process.time(-2 * level)
        x, eps = original_samples, noise
        noised: Tensor = x * expand(x, process.alpha(t)) + eps * expand(x, process.sigma(t))
        return noised

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """`add_noise` by the name that pipelines of flows know it by."""
        return self.add_noise(sample, noise, timestep)

    def __len__(self) -> int:
        return int(self._theirs.config.num_train_timesteps)


def _sampler(sampler: Sampler | str, options: Mapping[str, Any]) -> Sampler:
    if not isinstance(sampler, str):
        if options:
            raise InputError("options go with the name of a sampler; this one has its own")
        return sampler
    kind = registry().load("sampler", sampler)
    try:
        found: Sampler = kind(**options)
    except TypeError as error:
        raise InputError(f"the sampler {sampler} does not take {dict(options)}: {error}") from None
    return found


def _values(sampler: Any) -> dict[str, Any]:
    if not dataclasses.is_dataclass(sampler) or isinstance(sampler, type):
        return {}
    return dataclasses.asdict(sampler)


def _name(kind: str, value: Any) -> str | None:
    """The registered name of a component; None where it has none."""
    for component in registry().list(kind):
        if component.target.endswith(f":{value.__name__}") and component.load() is value:
            return component.name
    return None


def _class_of(config: Mapping[str, Any]) -> str:
    """The class with just these options; the configuration of a new scheduler does not name it."""
    options = set(_public(config))
    for name in FAMILIES:
        if set(inspect.signature(getattr(diffusers, name)).parameters) == options:
            return name
    raise InputError(
        "this configuration does not say of which scheduler it is; use "
        "SfumatoScheduler.from_scheduler(pipe.scheduler)"
    )


def _public(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if not name.startswith("_")}
