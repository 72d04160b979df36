"""Networks, pipelines and folders of diffusers as models of sfumato."""

from __future__ import annotations

__all__ = ["from_model", "from_pipeline", "load"]

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from sfumato import Codec, InputError, Model, Unsupported

from .adapters import Adapter, Prompts, adapt
from .codec import Autoencoder
from .conventions import convention
from .denoiser import DiffusersDenoiser
from .folders import fetch
from .grids import SchedulerGrid
from .scheduler import SfumatoScheduler
from .texts import prompts as texts

_NETWORKS = ("unet", "transformer")
_AUTOENCODERS = ("vae", "vqvae")


def load(
    source: Path | str,
    *,
    scheduler: Any = None,
    size: int | Sequence[int] | None = None,
    dtype: torch.dtype | None = None,
    revision: str | None = None,
    variant: str | None = None,
    offline: bool | None = None,
) -> Model:
    """The model in a local folder, or in a repository of the hub.

    Args:
        source: a folder with a model_index.json (a pipeline), or with the config.json of one
            network; else `owner/name` on the hub.
        scheduler: in place of the one that comes with it; a network on its own needs one.
        size: side or (height, width) of the samples in pixels; None: what the network was made for.
        dtype: of the weights; None: as stored.
        revision: of the repository.
        variant: of the weights, such as "fp16".
        offline: take only what is on this machine; None: where the source is a folder.

    Raises:
        InputError: if something is missing, damaged, pickled or of an unknown class.
        Unsupported: for networks, schedulers or options that have no counterpart here.
    """
    found = fetch(source, dtype=dtype, revision=revision, variant=variant, offline=offline)
    if isinstance(found, nn.Module):
        if scheduler is None:
            raise InputError(
                f"{source} holds a network without a scheduler; give the scheduler that it was "
                "trained with: load(..., scheduler=...)"
            )
        return from_model(found, scheduler, size=size)
    return from_pipeline(found, scheduler=scheduler, size=size)


def from_pipeline(
    pipe: Any, *, scheduler: Any = None, size: int | Sequence[int] | None = None
) -> Model:
    """The model inside a pipeline of diffusers, which shares its weights.

    Args:
        pipe: with a `unet` or `transformer`, a scheduler, and maybe an autoencoder and text
            encoders.
        scheduler: in place of that of the pipeline.
        size: side or (height, width) of the samples in pixels; None: what the network was made for.

    Raises:
        Unsupported: for networks, schedulers or options that have no counterpart here.
    """
    parts = pipe.components
    network = next((parts[n] for n in _NETWORKS if parts.get(n) is not None), None)
    scheduler = scheduler or parts.get("scheduler")
    if network is None or scheduler is None:
        raise Unsupported(
            f"{type(pipe).__name__} has no {' or '.join(_NETWORKS)} with a scheduler; what it has "
            f"is {', '.join(parts)}"
        )
    vae = next((parts[n] for n in _AUTOENCODERS if parts.get(n) is not None), None)
    codec = None if vae is None else Autoencoder(vae)
    adapter = adapt(network, texts(pipe, network))
    if size is None and codec is not None and network.config.get("sample_size") is None:
        size = getattr(pipe, "default_sample_size", None)
        size = None if size is None else size * codec.factor
    return from_model(adapter, scheduler, codec=codec, size=size)


def from_model(
    model: nn.Module,
    scheduler: Any,
    *,
    codec: Codec | None = None,
    prompts: Prompts | None = None,
    size: int | Sequence[int] | None = None,
) -> Model:
    """The model of a network and the scheduler that it was trained with.

    Args:
        model: a network of diffusers, or an `Adapter` around any network.
        scheduler: of diffusers; process, clock, prediction, sampler and grid come from it.
        codec: between images and the state of the network, such as `Autoencoder(vae)`.
        prompts: what texts become, where there are text encoders.
        size: side or (height, width) of the samples in pixels; None: what the network was made for.

    Raises:
        InputError: if the network does not return what it takes, or says no size.
        Unsupported: for networks, schedulers or options that have no counterpart here.
    """
    adapter = model if isinstance(model, Adapter) else adapt(model, prompts)
    ours = scheduler if isinstance(scheduler, SfumatoScheduler) else None
    scheduler = scheduler if ours is None else ours.theirs
    rules = convention(scheduler)
    shape, state = _shapes(adapter, codec, size)
    spacing = SchedulerGrid(scheduler, tokens=state[0] * state[1] // adapter.patch**2)
    return Model(
        process=rules.process,
        denoiser=DiffusersDenoiser(adapter, rules),
        sampler=rules.sampler if ours is None else ours.sampler,
        grid=spacing if ours is None else ours.grid,
        steps=rules.steps,
        blank=partial(_blank, shape),
        codec=codec,
    )


def _shapes(
    adapter: Adapter, codec: Codec | None, size: int | Sequence[int] | None
) -> tuple[tuple[int, int, int], tuple[int, int]]:
    """(channels, height, width) of a sample, and (height, width) of the state."""
    config: Any = getattr(adapter.model, "config", {})
    own = config.get("sample_size")
    factor = getattr(codec, "factor", 1)
    if size is None and own is not None:
        size = [side * factor for side in _pair(own)]
    if size is None:
        raise InputError(
            f"{type(adapter.model).__name__} does not say what size it was made for; give "
            "size=(height, width) in pixels"
        )
    height, width = _pair(size)
    channels = adapter.channels if codec is None else 3
    if codec is not None:
        z = codec.layout(torch.zeros(1, channels, height, width, device="meta"))
        if z.shape[1] != adapter.channels:
            raise InputError(
                f"the codec gives {z.shape[1]} channels, but {type(adapter.model).__name__} takes "
                f"{adapter.channels}"
            )
        return (channels, height, width), (z.shape[2], z.shape[3])
    return (channels, height, width), (height, width)


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def _blank(shape: tuple[int, int, int], n: int, generator: Generator) -> Tensor:
    return torch.zeros(n, *shape)
