"""Sudoku of 9 x 9: how many boards a masked model solves in which order of cells.

    python tools/bench/sudoku.py [--seeds 0 1 2] [--steps 800] [--clues 40] [--out FOLDER]

The numbers of 6 x 6 are claims of the system `mdmorder`; 9 x 9 wants more than its trial has time
for. Here one network is trained on full grids, of which a part is hidden that is at most a little
larger than that of the boards asked for, and its attention begins with one head for each of rows,
columns, boxes and the cell itself, which it would have to find first. All orders fill the same
boards, a cell a call, tokens drawn at temperature 1; a board may have several solutions, any
counts. With `--out` a training is taken up where it was stopped.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sfumato import Sampler, Trial, random
from sfumato_language.systems.fitting import PerItem, trained
from sfumato_language.systems.mdmorder import _share as share
from sfumato_language.systems.sudoku import NINE, Block, SudokuNet, boards
from sfumato_methods.discrete import (
    Discrete,
    Entropy,
    Margin,
    Ordered,
    RandomOrder,
    TokenDenoiser,
    TopProbability,
    absorbing,
)
from sfumato_methods.discrete.anyorder import any_order
from sfumato_train.runs import fresh

ORDERS: dict[str, Sampler] = {
    "random": Ordered(RandomOrder()),
    "margin": Ordered(Margin()),
    "entropy": Ordered(Entropy()),
    "top-probability": Ordered(TopProbability()),
}
TRAIN, BATCH, LEARNING, WIDTH, DEPTH, SHARP = 20_000, 16, 3e-3, 96, 3, 4.0


def model(given: Trial, steps: int, most: float) -> TokenDenoiser:
    """A network trained on grids of which a share of at most `most` is hidden."""

    def network() -> SudokuNet:
        net = SudokuNet(WIDTH, DEPTH, 4, rules=NINE)
        with torch.no_grad():
            for block in net.blocks:
                assert isinstance(block, Block)
                block.bias.copy_(SHARP * torch.eye(4))  # (heads, relations)
        return net

    def law(process: Any, denoiser: Any, x0: Any, t: Tensor, generator: Any) -> Tensor:
        return any_order(process, denoiser, x0, most * t, generator)

    denoiser = TokenDenoiser(fresh(given.seed, network), Discrete(absorbing(NINE.digits)))
    train = boards(TRAIN, random.derive(given.seed, "train"), NINE)
    return trained(
        PerItem(denoiser, law), train, given,
        name=f"nine-{given.seed}", steps=steps, batch=BATCH, lr=LEARNING,
    )  # fmt: skip


def main() -> None:
    """Print the shares of each seed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--clues", type=int, nargs="+", default=[40])
    parser.add_argument("--boards", type=int, default=100)
    parser.add_argument("--out", type=Path, default=None)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    most = min(1.0, 1.1 * (1 - min(asked.clues) / NINE.cells))
    with tempfile.TemporaryDirectory() as spare:
        for seed in asked.seeds:
            began = time.process_time()
            scratch = asked.out or Path(spare)
            given = Trial(seed=seed, scale=1.0, device="cpu", scratch=scratch, minutes=5.0)
            denoiser = model(given, asked.steps, most)
            took = time.process_time() - began
            held = boards(asked.boards, random.derive(seed, "held"), NINE)
            for clues in asked.clues:
                shares = {
                    name: share(denoiser, sampler, held, NINE, clues, seed)
                    for name, sampler in ORDERS.items()
                }
                told = ", ".join(f"{name} {value:.2f}" for name, value in shares.items())
                print(
                    f"seed {seed}, {asked.steps} steps in {took:.0f} s of CPU, {clues} clues, "
                    f"{asked.boards} boards solved: {told}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
