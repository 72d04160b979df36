"""Training of graph transformers: batches of graphs of like size against batches in any order.

The graphs are those of `sfumato generate`, by default lobsters of 10 to 100 nodes, in the sizes
that their law gives. Both ways train the network of `graphs/files` by Adam on every graph once, in
batches of the same number; in one, `sfumato_data.Batches` is told the sizes. Rounds alternate.
Printed are the squares of nodes that each touches, batch x n_max^2 over the sum of n_i^2, the
medians of graphs a second, and their ratio (>= 1.5 is wanted).

    OMP_NUM_THREADS=1 .venv/bin/python tools/bench/graphs.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from sfumato import Batch, random
from sfumato_data import Batches
from sfumato_graphs.data import Graphs, graphs_of
from sfumato_graphs.generators import generate
from sfumato_graphs.recipes import Files
from sfumato_train.runs import fresh

LIMIT = 1.5


@dataclass(frozen=True)
class Unmeasured:
    """Graphs that do not tell their sizes."""

    source: Graphs
    about: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, index: Sequence[int]) -> Batch:
        """The graphs at `index`."""
        return self.source.batch(index)


def main() -> None:
    """Measure, print, and fail below the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", default="lobster")
    parser.add_argument("--graphs", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    data = graphs_of(generate(asked.kind, asked.graphs, 0))
    sizes = torch.tensor(data.sizes()).double()
    fields: dict[str, Any] = {"width": asked.width, "depth": asked.depth}
    recipe = Files(**fields)
    training = fresh(0, lambda: recipe.build(data))
    objective, weights = training.objective, list(training.objective.parameters())
    adam = torch.optim.Adam(weights, fused=True)
    ways = {"like size": Batches(data, asked.batch, 0),
            "any order": Batches(Unmeasured(data), asked.batch, 0)}  # fmt: skip
    epoch = asked.graphs // asked.batch
    told = f"{int(sizes.min())} to {int(sizes.max())} nodes, mean {float(sizes.mean()):.1f}"
    print(f"{asked.graphs} graphs, {told}")
    for name, batches in ways.items():
        index = [batches.index(step) for step in range(epoch)]
        touched = sum(len(i) * float(sizes[i].max()) ** 2 for i in index)
        own = sum(float(sizes[i].square().sum()) for i in index)
        print(f"{name}: {touched / own:.2f} of the sum of n_i^2")

    def round_of(batches: Batches) -> float:
        began = time.thread_time()
        for step in range(epoch):
            loss = objective.loss("denoiser", batches(step), random.derive(0, "bench", step))
            adam.zero_grad()
            loss.each.mean().backward()  # type: ignore[no-untyped-call]
            adam.step()
        return float(epoch * asked.batch / (time.thread_time() - began))

    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(asked.rounds):
        for name, batches in ways.items():
            rates[name].append(round_of(batches))
    found = {name: statistics.median(each) for name, each in rates.items()}
    ratio = found["like size"] / found["any order"]
    print(", ".join(f"{name} {value:.1f} graphs/s" for name, value in found.items()))
    print(f"ratio {ratio:.2f} (wanted: at least {LIMIT})")
    if ratio < LIMIT:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
