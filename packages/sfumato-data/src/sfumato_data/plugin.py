"""What sfumato-data announces: data sets that ship inside packages of registries."""

from __future__ import annotations

__all__ = ["sfumato_register"]

from sfumato import hook
from sfumato.plugins import Add


@hook
def sfumato_register(add: Add) -> None:
    """Announce the data sets; what they are is said by their `Source`."""
    for name, attribute, summary, source in (
        ("brown", "brown", "English text, the Brown corpus", "Francis & Kucera 1964"),
        ("digits8", "digits8", "handwritten digits, 8 x 8", "Alpaydin & Kaynak 1998, UCI"),
        ("emoji", "emoji", "colour pictures with captions", "Noto Color Emoji"),
        ("fashion-mnist", "fashion_mnist", "clothes, 28 x 28", "arXiv:1708.07747"),
        ("icbm152", "icbm152", "an average brain", "Fonov et al. 2011, NeuroImage 54"),
        ("moses", "moses", "drug-like molecules as SMILES", "arXiv:1811.12823"),
        ("opencv-digits", "opencv_digits", "handwritten digits, 20 x 20", "OpenCV samples"),
        ("pedestrians", "pedestrians", "people who walk, in five places", "arXiv:1803.10892"),
        ("photographs", "photographs", "five colour photographs", "scikit-image"),
        ("promoters", "promoters", "DNA upstream of fly genes", "UCSC dm3, Bioconductor"),
    ):
        add(
            "dataset",
            name,
            f"sfumato_data.known:{attribute}",
            summary=f"{summary}; `sfumato data get {name}`",
            source=source,
        )
