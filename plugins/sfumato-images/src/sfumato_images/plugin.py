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
        summary="folders and zips of pictures, .npy, .npz and IDX arrays",
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
        summary="your own images, told the classes and captions that they have",
        source="Karras et al. 2022, arXiv:2206.00364",
    )
    add(
        "recipe",
        "images/learned",
        "sfumato_images.learned:Learned",
        summary="your own images, the noising process learned with the denoiser by a bound",
        source="Bartosh et al. 2023, arXiv:2310.08337",
    )
    add(
        "recipe",
        "images/fashion",
        "sfumato_images.recipes:Fashion",
        summary="class-conditional clothes, 28 x 28; `sfumato data get fashion-mnist` first",
        source="Xiao et al. 2017, arXiv:1708.07747",
    )
    add(
        "recipe",
        "images/emoji",
        "sfumato_images.recipes:Emoji",
        summary="emoji by their names, 32 x 32; `sfumato data get emoji` first",
        source="Noto Color Emoji",
    )
    add(
        "recipe",
        "images/photos",
        "sfumato_images.recipes:Photos",
        summary="patches of photographs, 32 x 32; `sfumato data get photographs` first",
        source="scikit-image",
    )
    for verb, summary, source in (
        ("inpaint", "draw anew what a mask marks in pictures", "arXiv:2201.09865"),
        ("outpaint", "continue pictures beyond their edges", "arXiv:2201.09865"),
        ("vary", "draw pictures anew from a level of noise", "arXiv:2108.01073"),
    ):
        add(
            "command",
            f"images/{verb}",
            f"sfumato_images.commands:{verb}",
            summary=summary,
            source=source,
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
