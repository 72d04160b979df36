"""Training of equivariant networks: molecules a second, on lists of pairs and on padded tensors.

The molecules are those of wwPDB's Chemical Component Dictionary with at most `--heavy` heavy atoms
(`ccd3d`), in their true sizes, hydrogens included. Both networks have the same width, depth and
input (places, kinds of atoms, a time) and learn to take noise away by one step of Adam a batch.

- padded: as in the public code of Hoogeboom et al. 2022, arXiv:2203.17003, written anew (`edm`). A
  batch is padded to its largest molecule, and messages are computed for all n_max^2 pairs and
  masked, with an MLP of messages and another one of displacements in every layer.
- ragged: `sfumato_nn.equivariant`, on the pairs that exist.

Rounds alternate on the same batches; printed are the medians of molecules a second, their ratio
(>= 1.5 is wanted), and by how much the cost of each grows when one molecule of 60 atoms is added to
a batch of 64 small ones.

    OMP_NUM_THREADS=1 .venv/bin/python tools/bench/egnn.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sfumato import Ragged, random
from sfumato_molecules.domain import domain
from sfumato_molecules.files import ORGANIC
from sfumato_molecules.systems.edm import PaddedNetwork
from sfumato_nn.equivariant import EquivariantNetwork
from sfumato_nn.sizes import count_parameters

LIMIT = 1.5
KINDS = 9


def sizes(heavy: int) -> list[int]:
    """Atoms of the molecules of `ccd3d`."""
    path = domain.demo_path()
    data = domain.read(path, heavy=heavy, elements=ORGANIC, fewest=3, dimensions=3)
    return [int(size) for size, count in data.about["sizes"].items() for _ in range(count)]


def steps(width: int, depth: int) -> dict[str, Callable[[Sequence[int], int], None]]:
    """One training step of either network, on noise of molecules of these sizes."""
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        ragged = EquivariantNetwork(KINDS, KINDS, width=width, depth=depth)
        padded = PaddedNetwork(KINDS, width, depth)
    optimisers: dict[nn.Module, torch.optim.Adam] = {
        net: torch.optim.Adam(net.parameters(), fused=True) for net in (ragged, padded)
    }
    print(f"parameters: ragged {count_parameters(ragged):,}, padded {count_parameters(padded):,}")

    def drawn(counts: Sequence[int], seed: int) -> tuple[Tensor, Tensor, Tensor, Ragged]:
        generator = random.derive(seed, "batch")
        n = torch.tensor(counts)
        mask = torch.arange(max(counts)) < n[:, None]
        x = random.normal(torch.empty(*mask.shape, 3 + KINDS), generator) * mask[..., None]
        rows = Ragged(x[mask], torch.repeat_interleave(n), len(counts))
        return x, mask, random.normal(torch.empty(len(counts)), generator), rows

    def by_lists(counts: Sequence[int], seed: int) -> None:
        *_, t, rows = drawn(counts, seed)
        out = ragged(Ragged(rows.data[:, :3], rows.owner, rows.items), t, rows.data[:, 3:])
        error = torch.cat((out.shift, out.nodes), 1) - rows.data
        learn(ragged, error.square().mean())

    def by_padding(counts: Sequence[int], seed: int) -> None:
        x, mask, t, _ = drawn(counts, seed)
        error = torch.cat(padded(x[..., :3], x[..., 3:], t, mask), -1) - x
        learn(padded, error.square().sum() / (mask.sum() * x.shape[-1]))

    def learn(net: nn.Module, loss: Tensor) -> None:
        optimisers[net].zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimisers[net].step()

    return {"ragged": by_lists, "padded": by_padding}


def timed(step: Callable[[Sequence[int], int], None], batches: Sequence[Sequence[int]]) -> float:
    """Seconds of this thread for all batches."""
    began = time.thread_time()
    for seed, counts in enumerate(batches):
        step(counts, seed)
    return time.thread_time() - began


def main() -> None:
    """Measure, print, and fail below the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heavy", type=int, default=9)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    every = sizes(asked.heavy)
    order = random.permutation(len(every), random.derive(0, "order")).tolist()
    chosen = [every[i % len(every)] for i in order[: asked.batch * asked.batches]]
    batches = [chosen[i :: asked.batches] for i in range(asked.batches)]
    mean, square = statistics.mean(every), statistics.mean(n * n for n in every)
    told = f"{min(every)} to {max(every)} atoms, mean {mean:.1f}, of n^2 {square:.0f}"
    print(f"{len(every):,} molecules of {told}")
    both = steps(asked.width, asked.depth)
    rate: dict[str, list[float]] = {name: [] for name in both}
    for _ in range(asked.rounds):
        for name, step in both.items():
            rate[name].append(sum(map(len, batches)) / timed(step, batches))
    found = {name: statistics.median(each) for name, each in rate.items()}
    ratio = found["ragged"] / found["padded"]
    print(", ".join(f"{name} {value:.0f} molecules/s" for name, value in found.items()))
    print(f"ratio {ratio:.2f} (wanted: at least {LIMIT})")
    small = [[12] * 64]
    for name, step in both.items():
        each = [(timed(step, small), timed(step, [[*small[0], 60]])) for _ in range(asked.rounds)]
        grown = statistics.median(b / a for a, b in each)
        print(f"{name}: a molecule of 60 atoms beside 64 of 12 costs {grown:.2f} times as much")
    if ratio < LIMIT:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
