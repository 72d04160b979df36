"""Our molecules in space against the public recipe at equal processor time, with curves.

    OMP_NUM_THREADS=1 .venv/bin/python tools/bench/stability.py --minutes 30 --heavy 9 --out runs/e3
    OMP_NUM_THREADS=1 .venv/bin/python tools/bench/stability.py --minutes 5 --heavy 20 --seeds 3

The trial of the system `e3diffusion`, as long as is asked for and on molecules of the Chemical
Component Dictionary with up to `--heavy` heavy atoms. Told of each recipe, of the real molecules,
and of their shortfalls: shares of stable atoms, of stable molecules, and of molecules that are one
piece and valid with the hydrogens that they have, bonds told by the distances for all; and how many
of the latter are no training molecules. For ours also with the bonds that it makes itself.

Everything is kept in --out, and what was stopped goes on: `curves.json` and `curves.png` have the
shares along the training, `result-SEED.json` the last. The ratio of the shortfalls of atoms is
printed at the end; 0.7 at most is wanted.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sfumato_data import gather
from sfumato_molecules.domain import domain
from sfumato_molecules.files import ORGANIC
from sfumato_molecules.looking import Looked
from sfumato_molecules.state import molecules_of
from sfumato_molecules.systems.e3diffusion import FIELDS, LEARNING, measures, recipes
from sfumato_train import draw, fit
from sfumato_train.ema import parts
from sfumato_train.pacing import seconds_a_step
from sfumato_train.runs import fresh

LIMIT = 0.7
PROBED = 64  # samples at a point of a curve


def own_bonds(x: Any, data: Any) -> float:
    """The share of molecules that are whole with the bonds that the model made."""
    looked = [Looked(molecule, explicit=True) for molecule in molecules_of(x, data.about)]
    return sum(one.good is not None for one in looked) / len(looked)


def told(model: Any, data: Any, count: int, seed: int) -> dict[str, float]:
    """What is measured of samples."""
    x = draw(model, count, seed=seed).x
    found = measures(x, data)
    return {**found, "whole by its own bonds": own_bonds(x, data)} if "bonds" in x else found


def run(name: str, recipe: Any, data: Any, cost: float, count: int, out: Path) -> dict[str, float]:
    """Train an arm, or go on, with a curve beside; what is measured at the end."""
    result = out / "result.json"
    if result.exists():
        return dict(json.loads(result.read_text()))
    out.mkdir(parents=True, exist_ok=True)
    curve, averaged = out / "curve.jsonl", out / "averaged.pt"

    def saved(step: int, model: Any) -> None:
        torch.save(parts(model).state_dict(), averaged)
        parts(model).eval()
        row = {"minutes": step * cost / 60, **told(model, data, PROBED, recipe.seed)}
        with curve.open("a") as file:
            file.write(json.dumps(row) + "\n")
        shares = ", ".join(f"{key} {value:.3f}" for key, value in row.items())
        print(f"{name} {recipe.seed}: step {step} of {recipe.steps}: {shares}", flush=True)

    training = fresh(recipe.seed, partial(recipe.build, data))
    fit(training, recipe, out / "run", resume=True, on_save=saved)
    modules = parts(training.model)
    modules.load_state_dict(torch.load(averaged, weights_only=True))
    modules.eval()
    found = told(training.model, data, count, recipe.seed)
    result.write_text(json.dumps({**found, "steps": recipe.steps, "seconds a step": cost}))
    return found


def picture(out: Path, real: dict[str, float]) -> None:
    """`curves.json` and `curves.png` of all that there is."""
    from matplotlib.figure import Figure

    curves = {
        file.parent.name: [json.loads(line) for line in file.read_text().splitlines()]
        for file in sorted(out.glob("*/curve.jsonl"))
    }
    (out / "curves.json").write_text(json.dumps({"real": real, **curves}, indent=1))
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    for axes, share in zip(figure.subplots(1, 3), ("atoms", "molecules", "whole"), strict=True):
        for name, rows in curves.items():
            colour = "tab:blue" if name.startswith("ours") else "tab:orange"
            axes.plot(
                [row["minutes"] for row in rows], [row[share] for row in rows], ".-",
                color=colour, label=name,
            )  # fmt: skip
        axes.axhline(real[share], color="grey", linestyle=":", label="real")
        axes.set(xlabel="minutes of training", title=share, ylim=(0, 1))
    figure.axes[0].legend()
    figure.savefig(out / "curves.png", dpi=120)


def main() -> None:
    """Train both for each seed; print shares and ratios; fail above the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--heavy", type=int, default=9)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--samples", type=int, default=250)
    parser.add_argument("--points", type=int, default=6, help="of each curve")
    parser.add_argument("--lr", type=float, help="of both; by default those of the system")
    parser.add_argument("--out", type=Path, default=Path("runs/stability"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    path = domain.demo_path()
    data = domain.read(path, heavy=asked.heavy, elements=ORGANIC, fewest=3, dimensions=3)
    real = measures(gather(data, range(0, len(data), max(1, len(data) // 500))).x, data)
    print(f"{len(data):,} molecules, real ones: {real}", flush=True)
    ratios = []
    for seed in range(asked.first, asked.first + asked.seeds):
        plain = {
            name: kind(seed=seed, lr=asked.lr or LEARNING[name], heavy=asked.heavy, **FIELDS)
            for name, kind in recipes().items()
        }
        plan = asked.out / f"plan-{seed}.json"
        if not plan.exists():
            plan.parent.mkdir(parents=True, exist_ok=True)
            makes = {name: partial(recipe.build, data) for name, recipe in plain.items()}
            plan.write_text(json.dumps(seconds_a_step(makes, FIELDS["batch"], rounds=12)))
        cost, found = json.loads(plan.read_text()), {}
        for name, recipe in plain.items():
            steps = max(asked.points, round(60 * asked.minutes / cost[name]))
            recipe = recipe.model_copy(
                update={"steps": steps, "save": math.ceil(steps / asked.points), "log": steps}
            )
            out = asked.out / f"{name}-{seed}"
            found[name] = run(name, recipe, data, cost[name], asked.samples, out)
            picture(asked.out, real)
        short = {name: real["atoms"] - shares["atoms"] for name, shares in found.items()}
        ratios.append(short["ours"] / short["public"])
        print(f"seed {seed}, {asked.minutes:g} minutes each, at most {asked.heavy} heavy atoms:")
        for name, shares in found.items():
            print(f"  {name}: shortfall {short[name]:.4f}; {shares}")
        print(f"  ratio {ratios[-1]:.3f}", flush=True)
    worst = statistics.median(ratios)
    print(f"median ratio {worst:.3f} of {len(ratios)}, at most {LIMIT} is wanted")
    raise SystemExit(worst > LIMIT)


if __name__ == "__main__":
    main()
