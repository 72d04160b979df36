"""Training throughput of `fit` over a plain hand-written loop, for the same network and updates.

Both do per step: a batch in random order, stratified times, noise, forward, backward, clipping,
AdamW (fused), EMA. Rounds alternate, and CPU time of the whole process is counted (the thread that
reads ahead included), so that a busy machine disturbs both alike; each line gives the median over
the rounds of plain over ours, for one seed.

    OMP_NUM_THREADS=1 .venv/bin/python tools/bench/throughput.py
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sfumato import Model, Preconditioned, random
from sfumato_data import Tensors
from sfumato_methods.gaussian import linear
from sfumato_methods.grids import uniform
from sfumato_methods.solvers import Heun
from sfumato_train import Denoising, Settings, Training, fit


class Net(nn.Module):
    """Three 3x3 convolutions with the clock as a channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in ((2, width), (width, width), (width, width)):
            layers += [nn.Conv2d(a, b, 3, padding=1), nn.SiLU()]
        self.body = nn.Sequential(*layers, nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, x: Tensor, clock: Tensor) -> Tensor:
        """The flow, (B, 1, H, W)."""
        plane = clock.float()[:, None, None, None].expand_as(x)
        flow: Tensor = self.body(torch.cat([x, plane], 1))
        return flow


def plain(net: nn.Module, x: Tensor, batch: int, steps: int) -> float:
    """CPU seconds per step of a loop as one writes it by hand."""
    parameters = list(net.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=5e-4, betas=(0.9, 0.99), fused=True)
    ema = AveragedModel(
        net,
        multi_avg_fn=get_ema_multi_avg_fn(0.999),  # type: ignore[no-untyped-call]
    )
    began = time.process_time()
    for step in range(steps):
        x0 = x[torch.randint(len(x), (batch,))]
        t = ((torch.randperm(batch) + torch.rand(1)) / batch).clamp(1e-4, 1 - 1e-4)
        s = t[:, None, None, None]
        noise = torch.randn_like(x0)
        scale = ((1 - s).square() + s.square()).rsqrt()
        flow = net(((1 - s) * x0 + s * noise) * scale, torch.logit(t))
        loss = (flow - (noise - x0)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for group in optimiser.param_groups:
            group["lr"] = 5e-4 * min(1, step / 100)
        optimiser.step()
        ema.update_parameters(net)
        if step % 50 == 49:
            loss.item()
    return (time.process_time() - began) / steps


def ours(net: nn.Module, x: Tensor, batch: int, steps: int) -> float:
    """CPU seconds per step of `fit`, from the end of the first to the end of the last."""
    process = linear()
    model = Model(
        process, Preconditioned(net, process, "flow"), Heun(), uniform, 20, lambda n, g: x[:n]
    )
    training = Training(Denoising(process, model.denoiser), Tensors(x), model)
    settings = Settings(steps=steps, batch=batch, log=50, save=10**6)
    with tempfile.TemporaryDirectory() as out:
        stamps: list[float] = []
        objective = training.objective
        after = objective.after

        def stamp(player: str, step: int) -> None:
            after(player, step)
            stamps.append(time.process_time())

        objective.after = stamp  # type: ignore[method-assign]
        fit(training, settings, Path(out))
    return (stamps[-1] - stamps[0]) / (len(stamps) - 1)


def main() -> None:
    """Print one row for each seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--size", type=int, default=8)
    words = parser.parse_args()
    for seed in range(3):
        x = random.normal(torch.empty(1797, 1, words.size, words.size), random.derive(seed, "x"))
        ratios = []
        for _ in range(words.rounds):
            a, b = (loop(Net(words.width), x, words.batch, words.steps) for loop in (plain, ours))
            ratios.append(a / b)
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"seed {seed}: ratio {middle:.3f} (quartiles {low:.3f} to {high:.3f})", end="")
        print(f", last round: plain {1e3 * a:.2f} ms, fit {1e3 * b:.2f} ms", flush=True)


if __name__ == "__main__":
    main()
