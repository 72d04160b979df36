"""Image to image: pictures noised to a chosen level and drawn anew from there."""

from __future__ import annotations

__all__ = ["vary"]

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sfumato import InputError, Model, Sampler
from sfumato_train import Run, Watch, draw

from .inpaint import made_by


def vary(
    source: Run | Model,
    images: Tensor,
    noise: float,
    *,
    condition: Mapping[str, Any] | None = None,
    sampler: str | Sampler | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    seed: int = 0,
    first: int = 0,
    watch: Watch | None = None,
) -> Tensor:
    """Images drawn by a model from noised ones, which keep what the noise left of them.

    Meng et al. 2021, arXiv:2108.01073.

    Args:
        source: a run, or a model.
        images: (N, C, H, W) in [-1, 1], of any size that the network takes.
        noise: how far to go, as the share of the steps that is taken: 0 returns the images, 1 is
            plain sampling. Of the grid t_0 = 1, ..., t_steps = 0 the walk begins at
            t_(steps - ceil(noise * steps)).
        condition: named conditions of N items each (`domain.condition`); None: none.
        sampler: a sampler or its registered name; None: the model's own.
        steps: of the whole grid; None: the model's own.
        guidance: scale of classifier-free guidance; None: the model's own.
        seed: of the draws.
        first: number of the first image, for calls that continue one another.
        watch: is told how many images are done.

    Returns:
        (N, C, H, W) in [-1, 1].

    Raises:
        InputError: if `noise` lies outside [0, 1], or the model makes other images.
    """
    if not 0 <= noise <= 1:
        raise InputError(f"noise is the share of the steps taken, in [0, 1], but is {noise}")
    model = made_by(source, images)
    if noise == 0:
        return images.clone()
    drawn = draw(
        model,
        len(images),
        sampler=sampler,
        steps=steps,
        seed=seed,
        condition=condition,
        guidance=guidance,
        like=images,
        noise=noise,
        first=first,
        watch=watch,
    )
    made: Tensor = drawn.x.clamp(-1, 1)
    return made
