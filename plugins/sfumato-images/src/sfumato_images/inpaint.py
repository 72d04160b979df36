"""Inpainting: the missing part of images, drawn to go with the part that is there."""

from __future__ import annotations

__all__ = ["inpaint"]

import torch
from torch import Tensor

from sfumato import Ancestral, InputError, Known, Model, Sampler, random
from sfumato_train import Run, draw


def inpaint(
    source: Run | Model,
    images: Tensor,
    mask: Tensor,
    *,
    label: Tensor | None = None,
    sampler: str | Sampler | None = None,
    steps: int = 50,
    guidance: float | None = None,
    seed: int = 0,
) -> Tensor:
    """Images whose pixels under the mask are kept and whose others are drawn by a model.

    Args:
        source: a run, or a model trained on images of this size.
        images: (N, C, H, W) in [-1, 1]; what stands outside the mask is ignored.
        mask: bool, (H, W) for all images or (N, H, W): True where a pixel is known.
        label: (N,) long, the class of each image, for a model that has classes.
        sampler: a sampler or its registered name; None: ancestral, whose fresh noise lets the new
            part adapt to the known one.
        steps: of the sampler.
        guidance: scale of classifier-free guidance; needs `label`.
        seed: of the draws.

    Returns:
        (N, C, H, W) in [-1, 1]; the known pixels are those of `images`, bit for bit.

    Raises:
        InputError: if the mask is not bool or does not fit, or the model makes other images.
    """
    model = source.model() if isinstance(source, Run) else source
    made = model.blank(1, random.derive(seed, "layout")).shape[1:]
    if images.ndim != 4 or images.shape[1:] != made:
        raise InputError(
            f"images of shape {tuple(images.shape)} do not fit this model, which makes "
            f"(N, {', '.join(map(str, made))})"
        )
    if mask.dtype is not torch.bool or mask.shape not in (
        images.shape[2:],
        (len(images), *images.shape[2:]),
    ):
        raise InputError(
            f"a mask is bool of shape {tuple(images.shape[2:])} or "
            f"{(len(images), *images.shape[2:])}, not {mask.dtype} of shape {tuple(mask.shape)}"
        )
    known = mask.expand(len(images), *images.shape[2:])[:, None].expand_as(images)
    values, latent = torch.where(known, images, 0), known
    if model.codec is not None:
        values = model.codec.encode(values, random.derive(seed, "codec"))
        latent = model.codec.mask(known)
    drawn = draw(
        model,
        len(images),
        sampler=Ancestral() if sampler is None else sampler,
        steps=steps,
        seed=seed,
        condition=None if label is None else {"label": label},
        guidance=guidance,
        constraint=Known(values, latent),
    )
    return torch.where(known, images, drawn.x.clamp(-1, 1))
