"""What a training step costs, so that trainings that are compared get equal time.

Steps of all are timed in turns before the first of them begins, and each gets as many as fill its
time: what else a machine does meanwhile is no part of it, and a training that was stopped goes on.
"""

from __future__ import annotations

__all__ = ["seconds_a_step"]

import statistics
import time
from collections.abc import Callable, Mapping

import torch

from sfumato import random
from sfumato_data import Batches

from .guards import own_rng
from .recipe import Training


def seconds_a_step(
    makes: Mapping[str, Callable[[], Training]], batch: int, rounds: int = 6
) -> dict[str, float]:
    """Seconds of all threads' processors together, divided by their number, of a step of each.

    Loss and gradient of each player are counted, the optimiser is not. The first round warms up,
    and what is told is the median of the others, as the cost of a step differs from batch to batch.

    Args:
        makes: builds each training, which is thrown away.
        batch: items in a step.
        rounds: steps of each, at least 2.
    """
    spent: dict[str, list[float]] = {name: [] for name in makes}
    built = {name: make() for name, make in makes.items()}
    batches = {name: Batches(made.data, batch, 0) for name, made in built.items()}
    for number in range(rounds):
        for name, made in built.items():
            items = batches[name](number)
            began = time.process_time()
            with own_rng(torch.device("cpu")):
                for player in made.objective.players():
                    loss = made.objective.loss(player, items, random.derive(number, "timing"))
                    torch.autograd.backward([loss.each.mean()])
            spent[name].append((time.process_time() - began) / torch.get_num_threads())
            made.objective.zero_grad()
    return {name: statistics.median(times[1:]) for name, times in spent.items()}
