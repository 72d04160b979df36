"""Train for the Worst, Plan for the Best: Token Ordering in Masked Diffusions (Kim et al. 2025).

A masked model learns all orders of generation, and most of them are hard; asked first where it is
sure, the same network solves far more puzzles (Sudoku: from below 7 % to about 90 %). Here Sudoku
of 6 x 6: one network, trained for 750 steps on full grids, fills boards with 8 random clues, a cell
a call, tokens drawn at temperature 1. A board with clues may have several solutions; any counts.
The less a network is trained, the larger the ratio: the shares themselves are printed. Sudoku of
9 x 9, which wants far longer, is told with 60 clues after 300 steps.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato import Sampler
    from sfumato_methods.discrete import TokenDenoiser

    from .sudoku import Rules

TRAIN, BOARDS, CLUES = 12000, 200, 8
STEPS, BATCH, LEARNING = 750, 24, 2e-3
NINE_CLUES, NINE_STEPS = 60, 300
ORDERS = ("margin", "top-probability", "entropy", "left-to-right", "random-order")


def trial(given: Trial) -> Mapping[str, Measured]:
    """Train once, and fill the same boards in different orders.

    Each number is the share of boards that are solved in an order, over that of the random one.

    - `margin`: the largest less the second largest probability;
    - `top-probability`, `entropy`, `left-to-right`: likewise. No bound;
    - `nine`: by margin, of 9 x 9. No bound, and no ratio where nothing was solved in random order;
    """
    from .sudoku import NINE, SIX

    found = _orders(given, SIX, CLUES, STEPS, ORDERS)
    nine = _orders(given, NINE, NINE_CLUES, NINE_STEPS, ("margin", "random-order"))
    return found | {"nine": nine["margin"]}


def _orders(
    given: Trial, rules: Rules, clues: int, steps: int, orders: Sequence[str]
) -> dict[str, Measured]:
    """Shares of boards that are solved in each order, over those of the last one."""
    from sfumato import random, registry

    from .sudoku import boards

    n, size = max(20, round(BOARDS * given.scale)), f"{rules.digits} x {rules.digits}"
    train = boards(TRAIN, random.derive(given.seed, "train"), rules)
    held = boards(n, random.derive(given.seed, "held"), rules)
    denoiser = _trained(train, given, rules, steps)
    shares, cost = {}, {}
    for order in orders:
        began = time.monotonic()
        sampler = registry().load("sampler", order)()
        shares[order] = _share(denoiser, sampler, held, rules, clues, given.seed)
        cost[order] = time.monotonic() - began
        print(f"{size}, {order}: {shares[order]:.3f} solved", flush=True)
    last = orders[-1]
    return {
        order: Measured(shares[order], shares[last], 1.0, n, cost[order]) for order in orders[:-1]
    }


def _trained(train: Tensor, given: Trial, rules: Rules, steps: int) -> TokenDenoiser:
    from sfumato_methods.discrete import Discrete, TokenDenoiser, absorbing
    from sfumato_methods.discrete.anyorder import any_order
    from sfumato_train.runs import fresh

    from .fitting import PerItem, trained
    from .sudoku import SudokuNet

    net = fresh(given.seed, lambda: SudokuNet(rules=rules))
    denoiser = TokenDenoiser(net, Discrete(absorbing(rules.digits)))
    return trained(
        PerItem(denoiser, any_order), train, given,
        name=f"sudoku{rules.digits}", steps=steps, batch=BATCH, lr=LEARNING,
    )  # fmt: skip


def _share(
    denoiser: TokenDenoiser, sampler: Sampler, held: Tensor, rules: Rules, clues: int, seed: int
) -> float:
    """The share of boards that come out solved, with their clues kept."""
    import torch

    from sfumato import random, run

    from .sudoku import solved

    places = random.uniform(held.shape, random.derive(seed, "clues")).argsort(1)[:, :clues]
    clue = torch.zeros_like(held, dtype=torch.bool).scatter_(1, places, True)
    x = torch.where(clue, held, rules.digits)
    # of the chain's time, what is left when the clues are known; then one cell a step
    left = rules.cells - clues
    grid = torch.linspace(1, 0, left + 1, dtype=torch.float64) * (left / rules.cells)
    source = random.derive(seed, "sampling")
    with torch.inference_mode():
        for frame in run(sampler, denoiser.process, denoiser, x, grid, source):
            x = frame.after
    right = solved(x, rules) & ((x == held) | ~clue).all(1)
    return float(right.double().mean())


system = System(
    id="mdmorder",
    title="Train for the Worst, Plan for the Best: Understanding Token Ordering in Masked "
    "Diffusions",
    source="Kim et al. 2025, arXiv:2502.06768",
    components=("absorbing", "margin", "top-probability", "entropy", "left-to-right",
                "random-order"),
    trial=trial,
    claims=(
        Claim("by margin, twice as many boards are solved as in random order", "margin",
              at_least=2.0),
    ),
)  # fmt: skip
