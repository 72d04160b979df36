"""One picture of poses in their receptors."""

from __future__ import annotations

__all__ = ["preview"]

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sfumato import Batch, Fields
from sfumato_train.files import write_bytes

from .pose import posed

MOST, ACROSS = 12, 4


def preview(batch: Batch, path: Path, about: Mapping[str, Any]) -> Path:
    """Write a PNG file with up to 12 complexes, seen along the axis of least extent.

    Receptor atoms are grey, the pose is blue, the ligand as it was given is dashed. Above each is
    its `title`, where the batch has that fact.
    """
    x: Fields = batch.x
    told = x["complex"]
    made, given = posed(x), told["places"]
    titles, count = batch.about.get("title"), min(given.items, MOST)
    down = -(-count // ACROSS)
    figure = Figure(figsize=(2.4 * ACROSS, 2.4 * down), layout="constrained")
    for i, axes in enumerate(figure.subplots(down, ACROSS, squeeze=False).ravel()):
        axes.set_axis_off()
        if i >= count:
            continue
        axes.set_aspect("equal")
        axes.set_title(titles[i] if titles else "", fontsize=9)
        around = told["receptor"].data[told["receptor"].owner == i].numpy()
        bonds = told["bonds"].data[told["bonds"].owner == i].tolist()
        new, old = (part.data[part.owner == i].numpy() for part in (made, given))
        both = np.concatenate([around, old])
        turn = np.linalg.svd(both - both.mean(0), full_matrices=False)[2][:2].T
        axes.plot(*(around @ turn).T, "o", color="0.75", markersize=3)
        for places, style in ((old, {"color": "0.3", "linestyle": "--", "linewidth": 0.8}),
                              (new, {"color": "tab:blue", "linewidth": 1.6})):  # fmt: skip
            for a, b, _ in bonds:
                axes.plot(*(places[[a, b]] @ turn).T, **style)
    path.parent.mkdir(parents=True, exist_ok=True)
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=90)
    write_bytes(path, held.getvalue())
    return path
