"""One picture of many trajectories."""

from __future__ import annotations

__all__ = ["preview"]

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from sfumato import Batch
from sfumato_train.files import write_bytes

MOST, ACROSS = 12, 4


def preview(batch: Batch, path: Path, about: Mapping[str, Any]) -> Path:
    """Write a PNG file with up to 12 systems, seen along the last axis.

    What was given is grey, what was made is coloured by point, what happened is dashed.
    """
    count = min(len(batch.x), MOST)
    down = -(-count // ACROSS)
    figure = Figure(figsize=(2.2 * ACROSS, 2.2 * down), layout="constrained")
    source, target = batch.condition.get("source"), batch.about.get("target")
    colours = colormaps["tab10"]
    for i, axes in enumerate(figure.subplots(down, ACROSS, squeeze=False).ravel()):
        axes.set_axis_off()
        if i >= count:
            continue
        axes.set_aspect("equal")
        for point, way in enumerate(batch.x[i].numpy()):
            begin = way[:1]
            if source is not None:
                past = source["past"][i, point].numpy()
                axes.plot(past[:, 0], past[:, 1], color="0.6", linewidth=1.2)
                begin = past[-1:]
            if target is not None:
                true = np.concatenate([begin, target[i][point].numpy()])
                axes.plot(true[:, 0], true[:, 1], "--", color="0.3", linewidth=0.8)
            drawn = np.concatenate([begin, way])
            axes.plot(drawn[:, 0], drawn[:, 1], color=colours(point % 10), linewidth=1.4)
            axes.plot(*drawn[-1, :2], "o", color=colours(point % 10), markersize=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=90)
    write_bytes(path, held.getvalue())
    return path
