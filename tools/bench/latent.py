"""Diffusion of latents against diffusion of pixels: the trial of the system `ldm`, as a table.

    OMP_NUM_THREADS=1 .venv/bin/python tools/bench/latent.py [--seeds 3] [--scale 1]

For clothes (28 x 28) and emoji (64 x 64): operations of training and sampling, Frechet distance of
samples and of reconstructions to held-out images, and the floor of that, for each seed; then the
median ratios. About ten minutes a seed on one core. What is compared, and how, is said in
`sfumato_images.systems.ldm`; `sfumato claims images/ldm` runs the same trial and judges it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from sfumato import Trial
from sfumato_images.systems.ldm import system


def main() -> None:
    """Print a row for each number of each seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="less for fewer steps")
    words = parser.parse_args()
    ratios: dict[str, list[float]] = {}
    head = ("seed", "number", "latent", "pixel", "ratio", "floor", "n")
    print("{:>4} {:<24} {:>11} {:>11} {:>7} {:>9} {:>5}".format(*head))
    for seed in range(words.seeds):
        with tempfile.TemporaryDirectory() as folder:
            found = system.trial(Trial(seed, words.scale, "cpu", Path(folder), 60))
        for key, one in found.items():
            ratios.setdefault(key, []).append(one.ratio)
            floor = "-" if one.floor is None else f"{one.floor:.4g}"
            print(f"{seed:>4} {key:<24} {one.method:>11.4g} {one.baseline:>11.4g} "
                  f"{one.ratio:>7.3f} {floor:>9} {one.n:>5}", flush=True)  # fmt: skip
    for key, values in ratios.items():
        print(f"{key}: median ratio {statistics.median(values):.3f}")


if __name__ == "__main__":
    main()
