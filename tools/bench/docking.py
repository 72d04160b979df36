r"""How well the demo of docking docks pieces that are held out, and from which noise on it fails.

A model without latents (`molecules/docking`) is trained for each number of `--steps`. Told are the
shares of `docking.successes` of five poses (wanted of the last model: one of five within 2 angstrom
for at least 40 %, the median of the first at most 3 angstrom), and poses that start at the truth,
noised to a time t. With `--blind` nothing but elements and places is told of atoms. Two thirds of
the molecules read can be cut.

With `--confidence STEPS` a model of the confidence (`molecules/confidence`) is trained after each,
on `--draws` poses of each piece that was learned; told are `docking.rankings` of ten poses of each
piece held out.

    OMP_NUM_THREADS=1 .venv/bin/python tools/bench/docking.py --steps 1000 2600 --out docking/
    OMP_NUM_THREADS=1 .venv/bin/python tools/bench/docking.py --steps 1200 --confidence 3000 \
        --held 200 --out ranking/
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from keeping import kept

from sfumato import Model, random, run
from sfumato_molecules.docking.chemistry import unknown
from sfumato_molecules.docking.complexes import Complex, state_of
from sfumato_molecules.docking.confidence import ConfidenceNetwork
from sfumato_molecules.docking.data import Complexes, dataset, pieces
from sfumato_molecules.docking.docking import dock_all, rankings, successes
from sfumato_molecules.docking.drawn import drawn
from sfumato_molecules.docking.pose import posed
from sfumato_molecules.docking.recipes import Confidence, Docked
from sfumato_train import averaged, fit
from sfumato_train.runs import fresh

SHARE, MEDIAN, POSES, RANKED = 0.4, 3.0, 5, 10
TIMES = (0.2, 0.4, 0.6, 0.8)


def trained(
    asked: argparse.Namespace, steps: int, data: Complexes, held: Sequence[Complex]
) -> dict[str, Any]:
    """Shares of a model, what becomes of noised poses, and seconds of processor time."""
    recipe = Docked.model_validate({"seed": asked.seed, "steps": steps, "latents": 0, "warmup": 50})
    began = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        model = averaged(fresh(asked.seed, lambda: recipe.build(data)), recipe, Path(place))
    seconds = time.process_time() - began
    found: dict[str, Any] = successes(
        held, dock_all(model, data.about, held, POSES, seed=asked.seed)
    )
    back = {f"from {t:g}": restarted(model, data, held, t, asked.seed) for t in TIMES}
    sure = {"ranked": ranked(asked, model, data, held)} if asked.confidence else {}
    return {**found, **back, "seconds": seconds, **sure}


def ranked(
    asked: argparse.Namespace, model: Model, data: Complexes, held: Sequence[Complex]
) -> dict[str, float]:
    """How often ways to choose one of ten poses are right, and seconds of processor time."""
    recipe = Confidence.model_validate(
        {"seed": asked.seed, "steps": asked.confidence, "draws": asked.draws, "warmup": 50}
    )
    clock = [time.process_time()]
    poses = drawn(model, data, asked.draws, asked.seed)
    clock.append(time.process_time())
    training, last = fresh(asked.seed, lambda: recipe.build(poses)), []
    with tempfile.TemporaryDirectory() as place:
        fit(training, recipe, Path(place), on_save=lambda step, net: last.append(net))
    clock.append(time.process_time())
    net = last[-1]
    assert isinstance(net, ConfidenceNetwork)
    made = dock_all(model, data.about, held, RANKED, net.eval(), seed=asked.seed)
    return {
        **rankings(held, made),
        "near of those learned": float(poses.near.mean()),
        "seconds of drawing": clock[1] - clock[0],
        "seconds of learning": clock[2] - clock[1],
    }


@torch.inference_mode()
def restarted(
    model: Model, data: Complexes, held: Sequence[Complex], t: float, seed: int
) -> list[float]:
    """Median RMSD of poses noised to t, and of what the sampler makes of them, angstrom."""
    x0: Any = state_of(held, data.about)
    clock = torch.full((len(held),), t, dtype=torch.float64)
    start = model.process.draw(x0, clock, random.derive(seed, "noise")).x
    grid = torch.linspace(t, 0, max(2, round(t * model.steps)) + 1, dtype=torch.float64)
    frames = run(
        model.sampler, model.process, model.denoiser, start, grid, random.derive(seed, "steps")
    )
    *_, last = frames
    return [_median(x, x0) for x in (start, last.after)]


def _median(x: Any, x0: Any) -> float:
    """Median over items of the root mean square distance of atoms, symmetries left out."""
    places = posed(x)
    square = (places.data - posed(x0).data).square().sum(-1)
    total = square.new_zeros(places.items).index_add(0, places.owner, square)
    return float((total / places.counts).sqrt().median())


def main() -> None:
    """Measure, print, and fail where what is wanted is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--molecules", type=int, default=3000, help="read of the dictionary")
    parser.add_argument("--held", type=int, default=75)
    parser.add_argument("--steps", type=int, nargs="+", default=[1000, 2600])
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--confidence", type=int, default=0, help="steps of its model; 0: none")
    parser.add_argument("--draws", type=int, default=4, help="poses of each piece it learns from")
    parser.add_argument("--blind", action="store_true", help="features of atoms are not told")
    parser.add_argument("--out", type=Path, help="a folder for the numbers, to go on with")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = pieces(asked.molecules)
    if asked.blind:
        found = [replace(one, features=unknown(len(one.features))) for one in found]
    order = random.permutation(len(found), random.derive(asked.seed, "split")).tolist()
    held = [found[i] for i in order[: asked.held]]
    seen = {one.key for one in held}
    data = dataset([found[i] for i in order[asked.held :] if found[i].key not in seen])
    print(f"{len(data):,} pieces are learned, {len(held)} held out", flush=True)
    sizes = {k: v for k, v in vars(asked).items() if k not in ("out", "steps")}
    for steps in asked.steps:
        measure = partial(trained, asked, steps, data, held)
        told = kept(asked.out, f"{steps}", sizes, measure)
        print(f"{steps} steps: {told}", flush=True)
    if told["top-5"] < SHARE or told["median"] > MEDIAN:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
