"""Inpainting and outpainting: the missing part of images, drawn to go with what is there."""

from __future__ import annotations

__all__ = ["inpaint", "made_by", "outpaint"]

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sfumato import Ancestral, InputError, Known, Model, Sampler, random
from sfumato_train import Run, Watch, draw
from sfumato_train.drawing import device_of


def inpaint(
    source: Run | Model,
    images: Tensor,
    mask: Tensor,
    *,
    condition: Mapping[str, Any] | None = None,
    sampler: str | Sampler | None = None,
    steps: int = 50,
    guidance: float | None = None,
    seed: int = 0,
    first: int = 0,
    watch: Watch | None = None,
) -> Tensor:
    """Images whose pixels under the mask are kept and whose others are drawn by a model.

    After each step the known pixels are drawn anew from the forward law (`Known`: RePaint without
    its resampling, Lugmayr et al. 2022, arXiv:2201.09865). That is not a draw of the conditional
    law: what is drawn looks at the known pixels through their noise, step by step, and depends on
    them less than it should.

    Args:
        source: a run, or a model.
        images: (N, C, H, W) in [-1, 1], of any size that the network takes; what stands outside
            the mask is ignored.
        mask: bool, (H, W) for all images or (N, H, W): True where a pixel is known.
        condition: named conditions of N items each (`domain.condition`); None: none.
        sampler: a sampler or its registered name; None: ancestral, whose fresh noise lets the new
            part adapt to the known one.
        steps: of the sampler.
        guidance: scale of classifier-free guidance; None: the model's own.
        seed: of the draws.
        first: number of the first image, for calls that continue one another.
        watch: is told how many images are done.

    Returns:
        (N, C, H, W) in [-1, 1]; the known pixels are those of `images`, bit for bit.

    Raises:
        InputError: if the mask is not bool or does not fit, or the model makes other images.
    """
    model = made_by(source, images)
    if mask.dtype is not torch.bool or mask.shape not in (
        images.shape[2:],
        (len(images), *images.shape[2:]),
    ):
        raise InputError(
            f"a mask is bool of shape {tuple(images.shape[2:])} or "
            f"{(len(images), *images.shape[2:])}, not {mask.dtype} of shape {tuple(mask.shape)}"
        )
    known = mask.expand(len(images), *images.shape[2:])[:, None].expand_as(images)
    clean = torch.where(known, images, 0)
    values, latent = clean, known
    if model.codec is not None:
        home = device_of(model)
        values = model.codec.encode(clean.to(home), random.derive(seed, "codec", device=home))
        latent = model.codec.mask(known.to(home))
    drawn = draw(
        model,
        len(images),
        sampler=Ancestral() if sampler is None else sampler,
        steps=steps,
        seed=seed,
        condition=condition,
        guidance=guidance,
        constraint=Known(values, latent),
        first=first,
        like=clean,
        watch=watch,
    )
    return torch.where(known, images, drawn.x.clamp(-1, 1))


def outpaint(
    source: Run | Model,
    images: Tensor,
    *,
    left: int = 0,
    right: int = 0,
    top: int = 0,
    bottom: int = 0,
    **options: Any,
) -> Tensor:
    """Images continued beyond their edges by a model whose network takes the larger size.

    Args:
        source: a run, or a model.
        images: (N, C, H, W) in [-1, 1].
        left: pixels to add, as are `right`, `top` and `bottom`.
        right: see `left`.
        top: see `left`.
        bottom: see `left`.
        options: of `inpaint`.

    Returns:
        (N, C, top + H + bottom, left + W + right); the given pixels are kept, bit for bit.

    Raises:
        InputError: if nothing or less is to be added; see `inpaint` too.
    """
    added = (left, right, top, bottom)
    if min(added) < 0 or not any(added):
        raise InputError(
            "outpainting adds pixels: at least one of left, right, top and bottom is positive and "
            f"none is negative, but they are {', '.join(map(str, added))}"
        )
    known = F.pad(torch.ones(images.shape[-2:], dtype=torch.bool), added)
    return inpaint(source, F.pad(images, added), known, **options)


def made_by(source: Run | Model, images: Tensor) -> Model:
    """The model of a source; raises `InputError` unless it makes images like these."""
    model = source.model() if isinstance(source, Run) else source
    made = model.blank(1, random.derive(0, "layout")).shape[1:]
    if images.ndim != 4 or images.shape[1] != made[0]:
        raise InputError(
            f"images of shape {tuple(images.shape)} do not fit this model, which makes "
            f"(N, {', '.join(map(str, made))})"
        )
    return model
