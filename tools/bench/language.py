"""Language models: what a training step costs beside a plain loop, and sampling beside its network.

    python tools/bench/language.py [--rounds 7]

Both sides train the same network on the same tokens, in turns, in one process; times are minima of
thread time. Sampling is measured against a stub network that costs nothing, so that all of it is
overhead, at a vocabulary of 32,000.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import sfumato
from sfumato import Batch, Padded, random
from sfumato_language.denoiser import TextDenoiser
from sfumato_language.objective import AnyOrder
from sfumato_methods.discrete import Discrete, FirstHitting, absorbing
from sfumato_methods.grids import uniform
from sfumato_nn.sizes import tokens


def fastest(sides: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of thread time of each side, the least of some rounds in turns."""
    found = dict.fromkeys(sides, float("inf"))
    for _ in range(rounds):
        for name, call in sides.items():
            began = time.thread_time()
            call()
            found[name] = min(found[name], time.thread_time() - began)
    return found


def training(rounds: int, vocabulary: int = 86, batch: int = 32, length: int = 128) -> str:
    """One step, ours and that of a plain masked language model."""
    generator = random.derive(0, "bench")
    net = tokens("tiny", vocabulary=vocabulary + 1)
    objective = AnyOrder(TextDenoiser(net, Discrete(absorbing(vocabulary))))
    x = random.integers(0, vocabulary, (batch, length), generator)
    real = torch.ones_like(x, dtype=torch.bool)
    document = torch.zeros_like(x)

    def step(loss: Tensor) -> None:
        torch.autograd.backward([loss])
        net.zero_grad()

    def ours() -> None:
        data = Batch(Padded(x, real), {"document": document})
        step(objective.loss("denoiser", data, generator).each.mean())

    def plain() -> None:
        share = random.uniform((batch, 1), generator)
        hidden = random.uniform((batch, length), generator) < share
        logits = net(x.masked_fill(hidden, vocabulary), torch.zeros(batch))
        step(F.cross_entropy(logits[hidden], x[hidden]))

    time_of = fastest({"ours": ours, "plain": plain}, rounds)
    rate = {name: batch * length / seconds for name, seconds in time_of.items()}
    return (
        f"training step, {batch} x {length}: ours {rate['ours']:,.0f} tokens/s, plain "
        f"{rate['plain']:,.0f}, ratio {rate['ours'] / rate['plain']:.3f}"
    )


class _Stub(nn.Module):
    """Logits that cost nothing."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: Tensor, clock: Tensor) -> Tensor:
        return self.logits


def sampling(rounds: int, batch: int, vocabulary: int = 32_000, length: int = 256) -> str:
    """First hitting without a network, beside one forward pass of a network of 6 x 512."""
    logits = random.normal(torch.empty(batch, length, vocabulary + 1), random.derive(0, "logits"))
    process = Discrete(absorbing(vocabulary))
    denoiser = TextDenoiser(_Stub(logits), process)
    like = torch.full((batch, length), vocabulary)
    net = tokens("small", vocabulary=vocabulary + 1).eval().requires_grad_(False)
    clock = torch.zeros(batch)

    def drawn() -> None:
        sfumato.sample(
            process,
            denoiser,
            like,
            sampler=FirstHitting(),
            grid=uniform(process, 2),
            generator=random.derive(0, "draws"),
        )

    with torch.inference_mode():
        time_of = fastest({"draws": drawn, "call": lambda: net(like, clock)}, rounds)
    each = time_of["draws"] / length
    return (
        f"sampling, batch {batch}, {length} tokens of {vocabulary:,}: {1e3 * each:.2f} ms a step "
        f"outside the network, {each / time_of['call']:.1%} of its {1e3 * time_of['call']:.0f} ms"
    )


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(training(rounds))
    for batch in (1, 8):
        print(sampling(min(rounds, 3), batch))


if __name__ == "__main__":
    main()
