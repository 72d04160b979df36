"""A masked and an autoregressive model of the Brown corpus, of equal size and equal time.

    python tools/bench/autoregressive.py [--minutes 20] [--threads 2] [--seeds 1] [--out runs/order]

Both train the network `tokens` on the same windows of characters, by the loop, optimiser, schedule
and average of `language/brown`; one sees what is not masked, the other what stands before (the same
network with a triangle of attention, each token told the one before it). Before the first step of
either, steps of both are timed in turns, and each gets as many as fill the minutes, so that what
else the machine does is no part of it. On documents that were held out one is measured by the bound
of all orders and the other by its likelihood, in bits a character; windows are measured one by one.

`key=value` are fields of the recipe, for both, or with a `masked.` or `causal.` before it for one.
Everything is kept in --out, and a run that was stopped goes on: `curves.json` and `curves.png` have
the bits at a dozen checkpoints, `result.json` the last. The ratio is printed at the end; the aim is
1.4 at most.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

import sfumato_data
from sfumato import Batch, Model
from sfumato_data import keys_of, split
from sfumato_language import windows
from sfumato_language.denoiser import TextDenoiser
from sfumato_language.recipes import Brown
from sfumato_language.scoring import score
from sfumato_language.windows import DOCUMENT, Windows
from sfumato_nn.tokens import TokenTransformer
from sfumato_train import Loss, Objective, Training, fit
from sfumato_train.ema import parts
from sfumato_train.pacing import seconds_a_step
from sfumato_train.runs import fresh

ARMS = ("masked", "causal")
AIM = 1.4
POINTS, PROBED, HELD, DRAWS = 12, 160, 20, 4  # checkpoints, windows at each; documents at the end
FIELDS: dict[str, Any] = {
    "length": 128, "batch": 32, "lr": 3e-3, "warmup": 100, "ema": 0.995,
}  # fmt: skip


class Causal(Objective):
    """Mean cross-entropy of each token given those before it in its document."""

    def __init__(self, denoiser: TextDenoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def players(self) -> dict[str, nn.Module]:
        return {"denoiser": self.denoiser}

    def loss(self, player: str, batch: Batch, generator: Generator) -> Loss:
        return Loss(causal_nats(self.denoiser, batch).sum(1) / batch.x.mask.sum(1))


def causal_nats(denoiser: TextDenoiser, batch: Batch) -> Tensor:
    """(B, L) nats of each token given those before it; 0 for padding."""
    ids, real, net = batch.x.data, batch.x.mask, denoiser.net
    assert isinstance(net, TokenTransformer)
    start = net.vocabulary - 1  # the mask stands before a document
    before = F.pad(ids[:, :-1], (1, 0), value=start)
    document = batch.condition.get(DOCUMENT)
    told: dict[str, Any] = {"level": torch.arange(ids.shape[1])[None]}
    if document is not None:
        first = document != F.pad(document[:, :-1], (1, 0), value=-1)
        before = before.masked_fill(first, start)
        told["document"] = document
    logits = net(before, torch.zeros(len(ids)), **net.encode(**told), at=real).float()
    logits[:, start] = -torch.inf
    nats = F.cross_entropy(logits, ids[real], reduction="none")
    return nats.new_zeros(ids.shape).masked_scatter(real, nats)


def training(arm: str, recipe: Brown, data: Any) -> Training:
    """What an arm trains, from the same first weights."""

    def make() -> Training:
        made = recipe.build(data)
        assert isinstance(made.model, Model) and isinstance(made.model.denoiser, TextDenoiser)
        if arm == "masked":
            return made
        return Training(Causal(made.model.denoiser), made.data, made.model)

    return fresh(recipe.seed, make)


@torch.no_grad()
def bits(arm: str, model: Any, data: Windows, draws: int) -> float:
    """Bits a character of some windows."""
    parts(model).eval()
    denoiser = model.denoiser
    assert isinstance(denoiser, TextDenoiser)
    if arm == "masked":
        nats = float(score(model, data, draws=draws).nats.sum())
    else:
        nats = sum(
            float(causal_nats(denoiser, data.batch(range(i, min(i + 64, len(data))))).sum())
            for i in range(0, len(data), 64)
        )
    tokens = sum(piece.length for i in range(len(data)) for piece in data.of(i))  # ends included
    return nats / math.log(2) / tokens


def run(arm: str, recipe: Brown, made: Training, cost: float, out: Path, held: Windows) -> float:
    """Train an arm, or go on, with a curve beside; bits a character of the held-out documents."""
    result = out / "result.json"
    if result.exists():
        return float(json.loads(result.read_text())["bits"])
    curve, averaged = out / "curve.jsonl", out / "averaged.pt"
    probe = held.part(range(min(PROBED, len(held))))

    def saved(step: int, model: Any) -> None:
        torch.save(parts(model).state_dict(), averaged)
        row = {"step": step, "seconds": step * cost, "bits": bits(arm, model, probe, 1)}
        with curve.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{arm} {recipe.seed}: step {step} of {recipe.steps}, {row['bits']:.3f}", flush=True)

    fit(made, recipe, out / "run", resume=True, on_save=saved)
    parts(made.model).load_state_dict(torch.load(averaged, weights_only=True))
    found = bits(arm, made.model, held, DRAWS)
    result.write_text(json.dumps({"bits": found, "steps": recipe.steps, "seconds_a_step": cost}))
    return found


def picture(out: Path, seeds: Sequence[int]) -> None:
    """`curves.json` and `curves.png` of all that there is."""
    from matplotlib.figure import Figure

    curves = {
        f"{arm}-{seed}": [json.loads(line) for line in file.read_text().splitlines()]
        for seed in seeds
        for arm in ARMS
        if (file := out / f"{arm}-{seed}" / "curve.jsonl").exists()
    }
    (out / "curves.json").write_text(json.dumps(curves, indent=1))
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, rows in curves.items():
        colour = "tab:blue" if name.startswith("masked") else "tab:orange"
        axes.plot(
            [row["seconds"] / 60 for row in rows], [row["bits"] for row in rows], ".-",
            color=colour, label=name,
        )  # fmt: skip
    axes.set(xlabel="minutes of training", ylabel="bits a character, held out")
    axes.legend()
    figure.savefig(out / "curves.png", dpi=120)


def values(words: Sequence[str], arm: str) -> dict[str, Any]:
    """The fields that the command line gives an arm."""
    found: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        owner, dot, field = name.partition(".")
        if not dot or owner == arm:
            found[field if dot else name] = value
    return found


def main() -> None:
    """Train both for each seed; print bits and ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("fields", nargs="*", metavar="key=value")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--out", type=Path, default=Path("runs/order"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    folder, ratios = sfumato_data.fetch("brown"), []
    seeds = range(given.first, given.first + given.seeds)
    for seed in seeds:
        plain = {
            arm: Brown(**{**FIELDS, **values(given.fields, arm), "seed": seed}) for arm in ARMS
        }
        data = windows.read(folder, **plain["masked"].reading())
        train, rest = split(data, plain["masked"].held, seed)
        names = sorted(set(keys_of(rest) or ()))[:HELD]
        keys = data.keys()
        held = data.part([i for i in rest.index if keys[i] in names])
        plan = given.out / f"plan-{seed}.json"
        if not plan.exists():
            makes = {arm: partial(training, arm, plain[arm], train) for arm in ARMS}
            plan.parent.mkdir(parents=True, exist_ok=True)
            plan.write_text(json.dumps(seconds_a_step(makes, plain["masked"].batch)))
        cost, found = json.loads(plan.read_text()), {}
        for arm in ARMS:
            steps = max(POINTS, round(60 * given.minutes / cost[arm]))
            recipe = plain[arm].model_copy(
                update={"steps": steps, "save": math.ceil(steps / POINTS), "log": steps}
            )
            out = given.out / f"{arm}-{seed}"
            out.mkdir(exist_ok=True)
            found[arm] = run(arm, recipe, training(arm, recipe, train), cost[arm], out, held)
        picture(given.out, seeds)
        ratios.append(found["masked"] / found["causal"])
        print(
            f"seed {seed}, {given.minutes:g} minutes each: masked {found['masked']:.3f}, causal "
            f"{found['causal']:.3f} bits a character of {len(names)} documents, ratio "
            f"{ratios[-1]:.3f}",
            flush=True,
        )
    print(f"median ratio {statistics.median(ratios):.3f} of {len(ratios)}, the aim is {AIM}")


if __name__ == "__main__":
    main()
