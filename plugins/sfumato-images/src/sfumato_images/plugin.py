"""What this plugin announces: the domain of images and its recipes."""

from __future__ import annotations

__all__ = ["sfumato_register"]

from sfumato import hook
from sfumato.plugins import Add


@hook
def sfumato_register(add: Add) -> None:
    """Announce the domain and the recipes."""
    add(
        "domain",
        "images",
        "sfumato_images.domain:domain",
        summary="folders of PNG and JPEG files, .npy and .npz arrays",
    )
    add(
        "recipe",
        "images/digits",
        "sfumato_images.recipes:Digits",
        summary="class-conditional 8 x 8 handwritten digits, the demo: two minutes on two cores",
        source="Karras et al. 2022, arXiv:2206.00364",
    )
    add(
        "recipe",
        "images/folder",
        "sfumato_images.recipes:Folder",
        summary="your own images, class-conditional where sub-folders give classes",
        source="Karras et al. 2022, arXiv:2206.00364",
    )
    add(
        "recipe",
        "images/kl",
        "sfumato_images.codecs:KLCodec",
        summary="an autoencoder of your images, for diffusion models of its latents",
        source="Rombach et al. 2021, arXiv:2112.10752",
    )
    add(
        "recipe",
        "images/vq",
        "sfumato_images.codecs:VQCodec",
        summary="an autoencoder with a code book, for discrete and continuous models of latents",
        source="van den Oord et al. 2017, arXiv:1711.00937",
    )
    add(
        "system",
        "images/ldm",
        "sfumato_images.systems.ldm:system",
        summary="diffusion of an autoencoder's latents against diffusion of pixels",
        source="Rombach et al. 2021, arXiv:2112.10752",
    )
