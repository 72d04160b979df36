"""What samplers of masked tokens cost beside their network, and how much memory they take.

`python tools/bench/tokens.py` walks L = 256 tokens of K = 32,000 classes with a transformer of 6
layers and width 512, for batches of 1 and 8: thread CPU time outside the network over that inside,
for the same steps of one run. `--memory` walks K = 128,000, L = 512, batch 4 with a stub network
and prints the peak of the process.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

import torch
from torch import Tensor, nn

from sfumato import random, run
from sfumato_methods.discrete import (
    CachedAncestral,
    Discrete,
    Entropy,
    FirstHitting,
    Margin,
    MaskGIT,
    Ordered,
    Remasking,
    Temperature,
    TokenDenoiser,
    TopProbability,
    absorbing,
)

SAMPLERS = {
    "first-hitting": FirstHitting(),
    "cached-ancestral": CachedAncestral(),
    "remdm": Remasking(),
    "top-probability": Ordered(TopProbability()),
    "margin": Ordered(Margin()),
    "entropy": Ordered(Entropy()),
    "maskgit": MaskGIT(),
}


class Network(nn.Module):
    """A bidirectional transformer that times itself."""

    def __init__(self, classes: int, width: int, layers: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 8, 4 * width, batch_first=True)
        self.embed = nn.Embedding(classes, width)
        self.body = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)
        self.spent = 0.0

    def forward(self, ids: Tensor, clock: Tensor) -> Tensor:
        """Logits (B, L, K)."""
        start = time.thread_time()
        out: Tensor = self.head(self.body(self.embed(ids)))
        self.spent += time.thread_time() - start
        return out


class Stub(nn.Module):
    """Logits of no meaning, made without a network."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.row = nn.Parameter(torch.linspace(0, 3, classes))

    def forward(self, ids: Tensor, clock: Tensor) -> Tensor:
        """Logits (B, L, K)."""
        return self.row.expand(*ids.shape, -1).contiguous()


def overhead(name: str, network: Network, batch: int, length: int, steps: int) -> float:
    """Thread CPU time outside the network over that inside, the least of the steps of a run."""
    classes = network.head.out_features
    process = Discrete(absorbing(classes - 1))
    denoiser = TokenDenoiser(network.eval(), process)
    x = torch.full((batch, length), classes - 1)
    # as many masks fall in a step as with one for every token, at the beginning and the most costly
    grid = 1 - torch.arange(steps + 1, dtype=torch.float64) / length
    ratios = []
    with torch.inference_mode():
        frames: Any = run(SAMPLERS[name], process, denoiser, x, grid, random.derive(0, name))
        while True:
            network.spent, start = 0.0, time.thread_time()
            if next(frames, None) is None:
                return min(ratios)
            whole = time.thread_time() - start
            if network.spent:
                ratios.append((whole - network.spent) / network.spent)


def memory() -> float:
    """Peak of the process in GiB after a few steps with K = 128,000, L = 512, batch 4."""
    process = Discrete(absorbing(127_999))
    denoiser = Temperature(TokenDenoiser(Stub(128_000), process), 0.9)
    x, grid = torch.full((4, 512), 127_999), torch.tensor([1.0, 0.99, 0.0], dtype=torch.float64)
    with torch.inference_mode():
        for name in ("first-hitting", "margin"):
            steps = grid[:2] if name == "first-hitting" else grid
            for _ in run(SAMPLERS[name], process, denoiser, x, steps, random.derive(0, name)):
                pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Print the table, or the memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--steps", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.memory:
        print(f"peak {memory():.2f} GiB")
        return
    network = Network(32_000, 512, 6)
    for batch in (1, 8):
        for name in SAMPLERS:
            share = overhead(name, network, batch, 256, given.steps)
            print(f"batch {batch}, {name:>16}: {100 * share:5.1f} % of the network", flush=True)


if __name__ == "__main__":
    main()
