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
        summary="your own images, class-conditional where sub-folders give classes",
        source="Karras et al. 2022, arXiv:2206.00364",
    )
