"""Whether training waits for its data: 10,000 small PNG files, read while a U-Net is trained.

The files are made from the digits demo, enlarged. They would fit in memory, where the images
domain would keep them; here they are opened and decoded again for every batch, which is what a
larger folder costs. Per seed and round two blocks of the same training steps are timed, one after
the other: with batches from `prefetched`, and with one batch held in memory. Printed are

- wait: share of the time of the first block that was spent waiting for the next batch (<= 2 %);
- ratio: its time per step over that of the second block, so what decoding beside the step costs,
  waiting or not (cores are shared).

    OMP_NUM_THREADS=1 .venv/bin/python tools/bench/loader.py
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image
from torch.nn.functional import interpolate

from sfumato import Batch, random
from sfumato_data import Batches, prefetched
from sfumato_images import data as images
from sfumato_images.recipes import Folder

LIMIT = 0.02


def make(folder: Path, count: int, size: int) -> None:
    """Write `count` grey PNG files of `size` x `size`: the digits, enlarged and shifted."""
    digits = images.demo()
    x = digits.batch(range(len(digits))).x
    x = interpolate(x, size=(size, size), mode="bicubic").clamp(-1, 1)
    levels = ((x[:, 0] + 1) * 127.5).round().to(torch.uint8)
    for i in range(count):
        shifted = levels[i % len(levels)].roll(i // len(levels), 1)
        Image.fromarray(shifted.numpy()).save(folder / f"{i:06}.png")


def training(data: images.Images, network: str, seed: int) -> Callable[[int, Batch], None]:
    """One step of the recipe for folders: draw, loss, gradients, AdamW."""
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(seed)
        objective = Folder.model_validate({"network_size": network}).build(data).objective
    (player,) = objective.players()
    optimiser = torch.optim.AdamW(objective.parameters(), lr=1e-4, fused=True)

    def step(number: int, batch: Batch) -> None:
        optimiser.zero_grad()
        loss = objective.loss(player, batch, random.derive(seed, "train", number)).each.mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


def block(
    step: Callable[[int, Batch], None], batches: Iterator[Batch], steps: int, warm: int
) -> tuple[float, float]:
    """(seconds per step, seconds of it spent waiting); the first `warm` steps are not counted."""
    waited = began = 0.0
    for number in range(warm + steps):
        if number == warm:
            waited, began = 0.0, time.perf_counter()
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        step(number, batch)
    return (time.perf_counter() - began) / steps, waited / steps


def measure(data: images.Images, words: argparse.Namespace, seed: int) -> tuple[float, float]:
    """(wait share, ratio) of one seed: medians over the rounds."""
    batches = Batches(data, words.batch, seed)
    held = batches(0)
    step = training(data, words.network, seed)
    waits, ratios = [], []
    warm = 5  # by then the batches that were read before the block began are used up
    for _ in range(words.rounds):
        with prefetched(batches, 0, warm + words.steps) as ahead:
            with_loader, waited = block(step, ahead, words.steps, warm)
        without, _ = block(step, iter(lambda: held, None), words.steps, 1)
        waits.append(waited / with_loader)
        ratios.append(with_loader / without)
        print(
            f"  seed {seed}: {1e3 * with_loader:8.2f} ms a step with the loader, "
            f"{1e3 * waited:6.3f} ms of it waiting; {1e3 * without:8.2f} ms without",
            flush=True,
        )
    return statistics.median(waits), statistics.median(ratios)


def main() -> None:
    """Print one line for each round, and a table of the seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=16, help="pixels a side")
    parser.add_argument("--network", default="tiny", help="size of the U-Net")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40, help="timed steps of a block")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="1 round of 6 steps")
    words = parser.parse_args()
    if words.quick:
        words.rounds, words.steps = 1, 6
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, words.files, words.size)
        images.MEMORY = 0  # decode for every batch
        data = images.read(folder)
        network = f"{words.network} U-Net, batches of {words.batch}"
        print(f"{len(data)} files of {words.size} x {words.size}, {network}, ", end="")
        print(f"{torch.get_num_threads()} threads of torch")
        found = [measure(data, words, seed) for seed in range(3)]
    print("seed   wait     ratio of the step times")
    for seed, (wait, ratio) in enumerate(found):
        print(f"{seed:4d} {100 * wait:6.2f} %   {ratio:.3f}")
    worst = max(wait for wait, _ in found)
    print(f"waiting: at most {100 * worst:.2f} % of a step; wanted: <= {100 * LIMIT:.0f} %")


if __name__ == "__main__":
    main()
