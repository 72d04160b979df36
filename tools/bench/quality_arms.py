"""The two sides of `quality.py`: data, training by CPU seconds, and n samples in 20 network calls.

Each side is a function of (part, seed, budget, options) and runs in a process of its own, one
thread each. It times a few steps first, on a copy, and from that sets the number of steps, so that
the learning rate ends where the budget does; what was really used is reported.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato import Model, Preconditioned, random
from sfumato_data import Tensors, fetch, subset
from sfumato_methods import grids
from sfumato_methods.gaussian import edm
from sfumato_methods.solvers import DPMSolverPP
from sfumato_nn.unet import UNet
from sfumato_train import Denoising, Settings, Training, fit, times
from sfumato_train.drawing import draw

CALLS, CHUNK = 20, 100  # network calls for a sample, samples at a time
CLASSES = 10
LEVELS = 1000  # noise levels of theirs
TUNING = 100
"""The seed that options are chosen on: it splits the training part, and sees no test image."""

RESERVE = 0.98
"""Share of the budget that ours plans to use, so that an error of the timing does not favour it."""

Options = Mapping[str, Any]

OURS: Options = {
    "widths": [16, 32, 112],
    "blocks": 2,
    "attention": [2],
    "batch": 32,
    "lr": 2e-3,
    "beta2": 0.99,
    "ema": 0.999,
    "noise_mean": -0.5,
    "noise_std": 1.2,
    "warmup": 50,
}
THEIRS: Options = {
    "widths": [16, 32, 64],
    "layers": 1,
    "groups": 8,
    "attention": [2],
    "batch": 32,
    "lr": 1e-3,
}


@dataclass(frozen=True)
class Part:
    """Training images and held-out images, (N, 1, 28, 28) in [-1, 1] with labels."""

    train: Tensors
    held: Tensors


def _dataset(x: Tensor, labels: Tensor) -> Tensors:
    about = {
        "size": [28, 28],
        "channels": 1,
        "classes": [str(i) for i in range(CLASSES)],
        "sigma_data": float(x.square().mean().sqrt()),
    }
    return Tensors(x, {"label": labels}, about)


def _digits() -> tuple[Tensor, Tensor]:
    """5,000 digits of 20 x 20, put into 28 x 28 so that the centre of mass is at the centre."""
    from PIL import Image

    with Image.open(fetch("opencv-digits") / "digits.png") as picture:
        grey = np.asarray(picture.convert("L"))
    small = grey.reshape(50, 20, 100, 20).swapaxes(1, 2).reshape(-1, 20, 20)
    x = np.zeros((len(small), 28, 28), np.uint8)
    place = np.arange(20) + 0.5
    for i, one in enumerate(small):
        down, right = (one.sum(1 - axis) @ place / one.sum() for axis in (0, 1))
        top, left = (int(np.clip(round(14 - centre), 0, 8)) for centre in (down, right))
        x[i, top : top + 20, left : left + 20] = one
    return _scaled(x), torch.arange(50).div(5, rounding_mode="floor").repeat_interleave(100)


def _fashion(side: str) -> tuple[Tensor, Tensor]:
    folder = fetch("fashion-mnist")

    def numbers(kind: str, skip: int) -> np.ndarray:
        packed = (folder / f"{side}-{kind}-ubyte.gz").read_bytes()
        return np.frombuffer(gzip.decompress(packed), np.uint8, offset=skip)

    x = numbers("images-idx3", 16).reshape(-1, 28, 28)
    return _scaled(x), torch.tensor(numbers("labels-idx1", 8), dtype=torch.long)


def _scaled(x: np.ndarray) -> Tensor:
    return torch.tensor(x, dtype=torch.float32)[:, None] / 127.5 - 1


@cache
def part(name: str, *, tuning: bool) -> Part:
    """The data of one comparison; the same for all seeds, apart from the one for tuning.

    Fashion-MNIST comes with its test images. Of the 5,000 digits 2,000, drawn at random once, are
    for the test: who wrote which is not known, so writers are on both sides. For tuning, a third
    (digits) or a sixth of the *training* images are held out instead.
    """
    if name == "digits":
        x, labels = _digits()
        order = random.permutation(len(x), random.derive(0, "quality", "test")).tolist()
        train, test = _pick(x, labels, order[:3000]), _pick(x, labels, order[3000:])
    else:
        train, test = _dataset(*_fashion("train")), _dataset(*_fashion("t10k"))
    if not tuning:
        return Part(train, test)
    held = {"digits": 1000, "fashion": 10_000}[name]
    order = random.permutation(len(train), random.derive(TUNING, "quality", "tuning")).tolist()
    x, labels = train.x, train.condition["label"]
    return Part(_pick(x, labels, order[held:]), _pick(x, labels, order[:held]))


def _pick(x: Tensor, labels: Tensor, index: list[int]) -> Tensors:
    return _dataset(x[index], labels[index])


def halves(held: Tensors, seed: int, n: int) -> tuple[Tensors, Tensors]:
    """(real, other): n held-out images each, as `sfumato_train.yardstick` takes them."""
    order = random.permutation(len(held), random.derive(seed, "evaluate")).tolist()

    def some(index: list[int]) -> Tensors:
        found = subset(held, sorted(index)).batch(range(n))
        return Tensors(found.x, found.condition, held.about)

    return some(order[:n]), some(order[n : 2 * n])


@dataclass(frozen=True)
class Made:
    """Samples, and what they cost."""

    x: Tensor
    facts: Mapping[str, Any]


class Clock:
    """When each step ended, as (seconds of CPU time of the process, of wall time)."""

    def __init__(self) -> None:
        self.stamps: list[tuple[float, float]] = []
        self.stamp()

    def stamp(self) -> None:
        """Note the present time."""
        self.stamps.append((time.process_time(), time.perf_counter()))

    def spent(self) -> float:
        """CPU seconds from the first stamp to the last."""
        return self.stamps[-1][0] - self.stamps[0][0]

    def each(self, skip: int) -> np.ndarray:
        """(steps, 2) CPU and wall seconds of the steps, without the first few."""
        return np.diff(np.array(self.stamps), axis=0)[skip:]


def our_net(options: Options) -> UNet:
    """A U-Net of ours."""
    return UNet(
        1,
        widths=options["widths"],
        blocks=options["blocks"],
        attention=options["attention"],
        classes=CLASSES,
    )


def our_training(net: nn.Module, data: Tensors, options: Options) -> Training:
    """EDM preconditioning, log-normal noise levels; DPM-Solver++(2M) on Karras' grid."""
    process, sigma_data = edm(), data.about["sigma_data"]
    denoiser = Preconditioned(net, process, "edm", sigma_data=sigma_data)
    mean = options["noise_mean"] + math.log(sigma_data)
    law = partial(times.lognormal, mean=mean, std=options["noise_std"])
    objective = Denoising(process, denoiser, times=law, dropout=0.0)
    return Training(
        objective, data, Model(process, denoiser, DPMSolverPP(), grids.karras, CALLS, _blank)
    )


def _blank(n: int, generator: torch.Generator) -> Tensor:
    return torch.zeros(n, 1, 28, 28)


def fit_ours(training: Training, steps: int, seed: int, options: Options) -> tuple[Model, Clock]:
    """The model with averaged weights after so many steps of `sfumato_train.fit`."""
    settings = Settings(
        seed=seed,
        steps=steps,
        batch=options["batch"],
        lr=options["lr"],
        beta2=options["beta2"],
        ema=options["ema"],
        warmup=options["warmup"],
        save=10**9,
    )
    kept: list[Model] = []
    after = training.objective.after
    clock = Clock()

    def stamp(player: str, step: int) -> None:
        after(player, step)
        clock.stamp()

    training.objective.after = stamp  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        fit(training, settings, Path(folder), on_save=lambda step, model: kept.append(model))
    clock.stamp()
    return kept[-1], clock


def ours(data: Tensors, labels: Tensor, seed: int, budget: float, options: Options) -> Made:
    """Samples of ours."""

    def built() -> Training:
        torch.manual_seed(seed)
        return our_training(our_net(options), data, options)

    def train(training: Training, steps: int) -> tuple[Model, Clock]:
        return fit_ours(training, steps, seed, options)

    steps = _steps(RESERVE * budget, lambda count: train(built(), count)[1])
    model, clock = train(built(), steps)
    began = time.process_time()
    made = draw(model, len(labels), seed=seed, condition={"label": labels}, batch=CHUNK)
    spent = time.process_time() - began
    return Made(made.x, _facts(model.denoiser, steps, options, clock, spent))


def their_net(options: Options) -> nn.Module:
    """A U-Net of theirs. It halves 28 x 28 twice without remainder, so nothing is padded."""
    from diffusers import UNet2DModel

    levels = range(len(options["widths"]))
    kinds = ["Attn" if i in options["attention"] else "" for i in levels]
    net: nn.Module = UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        layers_per_block=options["layers"],
        block_out_channels=options["widths"],
        norm_num_groups=options["groups"],
        down_block_types=[f"{kind}DownBlock2D" for kind in kinds],
        up_block_types=[f"{kind}UpBlock2D" for kind in reversed(kinds)],
        num_class_embeds=CLASSES,
    )
    return net


def fit_theirs(net: nn.Module, data: Tensors, steps: int, options: Options) -> tuple[Any, Clock]:
    """Their average after so many steps of the loop of their example, with class labels.

    DDPMScheduler of 1000 steps, noise prediction, AdamW (0.95, 0.999), warm-up over a tenth of the
    steps (at most 500) and cosine, gradients clipped to 1, EMAModel with its warm-up. Batches are
    taken from memory, not from a DataLoader, in its favour.
    """
    from diffusers import DDPMScheduler
    from diffusers.optimization import get_cosine_schedule_with_warmup
    from diffusers.training_utils import EMAModel

    x, classes = data.x, data.condition["label"]
    scheduler = DDPMScheduler(num_train_timesteps=LEVELS)
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=options["lr"], betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8
    )
    rate = get_cosine_schedule_with_warmup(optimiser, min(500, steps // 10), steps)
    ema = EMAModel(net.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    size, order = options["batch"], torch.empty(0, dtype=torch.long)
    clock = Clock()
    for _ in range(steps):
        if len(order) < size:
            order = torch.randperm(len(x))
        index, order = order[:size], order[size:]
        clean = x[index]
        noise = torch.randn_like(clean)
        t = torch.randint(0, LEVELS, (size,))
        noisy = scheduler.add_noise(clean, noise, t)
        loss = F.mse_loss(net(noisy, t, class_labels=classes[index]).sample, noise)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        rate.step()
        optimiser.zero_grad()
        ema.step(net.parameters())
        loss.detach().item()  # they log it
        clock.stamp()
    return ema, clock


def theirs(data: Tensors, labels: Tensor, seed: int, budget: float, options: Options) -> Made:
    """Samples of theirs, by DPMSolverMultistep."""
    from diffusers import DDPMScheduler, DPMSolverMultistepScheduler

    def built() -> nn.Module:
        torch.manual_seed(seed)
        return their_net(options)

    steps = _steps(budget, lambda count: fit_theirs(built(), data, count, options)[1])
    net = built()
    ema, clock = fit_theirs(net, data, steps, options)
    ema.copy_to(net.parameters())
    net.eval()
    began = time.process_time()
    chunks = []
    for some in labels.split(CHUNK):
        trained = DDPMScheduler(num_train_timesteps=LEVELS)
        sampler = DPMSolverMultistepScheduler.from_config(trained.config)
        sampler.set_timesteps(CALLS)
        y = torch.randn(len(some), 1, 28, 28)
        with torch.inference_mode():
            for t in sampler.timesteps:
                y = sampler.step(net(y, t, class_labels=some).sample, t, y).prev_sample
        chunks.append(y.clone())
    spent = time.process_time() - began
    return Made(torch.cat(chunks), _facts(net, steps, options, clock, spent))


def _steps(budget: float, run: Callable[[int], Clock]) -> int:
    """How many steps fit a budget of CPU seconds, from the median of 24 steps."""
    return max(1, int(budget / float(np.median(run(30).each(skip=6)[:24, 0]))))


def _facts(
    net: nn.Module, steps: int, options: Options, clock: Clock, sampled: float
) -> dict[str, Any]:
    return {
        "parameters": sum(p.numel() for p in net.parameters()),
        "steps": steps,
        "images": steps * options["batch"],
        "train_cpu_s": round(clock.spent(), 2),
        "sample_cpu_s": round(sampled, 2),
    }


ARMS: Mapping[str, tuple[Callable[..., Made], Options]] = {
    "ours": (ours, OURS),
    "theirs": (theirs, THEIRS),
}


def main() -> None:
    """Run one side; `quality.py` starts this."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("arm", choices=ARMS)
    parser.add_argument("data", choices=("digits", "fashion"))
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--n", type=int, required=True)
    parser.add_argument("--budget", type=float, required=True, help="CPU seconds of training")
    parser.add_argument("--options", type=json.loads, default={})
    parser.add_argument("--out", type=Path, required=True)
    words = parser.parse_args()
    torch.set_num_threads(1)
    run, options = ARMS[words.arm]
    data = part(words.data, tuning=words.seed == TUNING)
    _, other = halves(data.held, words.seed, words.n)
    made = run(
        data.train, other.condition["label"], words.seed, words.budget, {**options, **words.options}
    )
    np.save(words.out.with_suffix(".npy"), made.x.numpy().astype(np.float32))
    words.out.write_text(json.dumps(made.facts))


if __name__ == "__main__":
    main()
