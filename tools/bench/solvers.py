"""The shoot-out of solvers: ours against `diffusers`, error and distance at equal calls.

Run: `.venv/bin/python tools/bench/solvers.py [--seeds 5] [--digits] [--azula FOLDER]
[--json FILE] [--figure FILE]`.

1. Mixtures in 64 dimensions (10 components of standard deviation 0.05 about standard normal means,
   linear betas of DDPM, float64): the error of 2,000 samples against a fine solution from the same
   noise, as RMS over all numbers, median over samples, and share that ends nearest another mean.
   One sampler and grid of ours (`Angular()` on `focused`, chosen on seeds 100 to 119) against each
   scheduler of theirs on each of its grids. At 5 calls also `UniPC(3)` on a grid that is learned
   for each mixture, from noises of its own (`grids.learn` with shifts, settings chosen on seeds
   from 100 on).
2. Mixtures in two dimensions, of two widths: the same, and the sliced 2-Wasserstein distance to
   fresh data, beside that of data to data.
   With `--azula FOLDER` the samplers of azula take part (see `solvers_azula.py`).
3. With `--digits`: a network trained on 8 x 8 digits for two minutes, sliced distance to held-out
   images. No fine solution is exact for a network, so errors are against 200 steps of DPM-Solver++.

A network call counts wherever it is made; the last denoising step is one. Theirs is given its own
noise levels as exact times, not rounded to its table, which is to its advantage.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import diffusers
import torch
from solvers_azula import Go, contestants
from torch import Tensor

from sfumato import Batch, Dirac, random, run
from sfumato.sampling import Denoise
from sfumato_eval.sliced import SlicedWasserstein
from sfumato_methods import grids
from sfumato_methods.gaussian import VP, Gaussian
from sfumato_methods.grids import Levels, focused
from sfumato_methods.solvers import RK4, Angular, DPMSolverPP, ExponentialAB, UniPC

BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
PROCESS = Gaussian(VP.from_betas(BETAS))
SAMPLES = 2000
CALLS = (5, 10, 20)
DEFAULT = "sfumato: Angular() on focused"
TUNED = "sfumato: UniPC-3 on a learned grid"
TUNED_CALLS = 5
TUNING, ROUNDS = 8000, 100
"""Noises that a grid is learned from, and passes over them."""

OURS: dict[str, tuple[Any, Callable[[Any, int], Tensor]]] = {
    DEFAULT: (Angular(), focused),
    "sfumato: UniPC(3, bound=5) on logsnr": (UniPC(3, bound=5.0), grids.logsnr),
    "sfumato: exp-AB3, noise, on logsnr": (ExponentialAB(3, "noise"), grids.logsnr),
    "sfumato: DPM++2M on karras": (DPMSolverPP(2), grids.karras),
    "sfumato: UniPC-3 on uniform": (UniPC(3), grids.uniform),
}

TABLE = {
    "num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear",
    "prediction_type": "epsilon",
}  # fmt: skip
THEIR_GRIDS: dict[str, dict[str, Any]] = {
    "linspace": {"timestep_spacing": "linspace"},
    "leading": {"timestep_spacing": "leading"},
    "trailing": {"timestep_spacing": "trailing"},
    "karras": {"timestep_spacing": "linspace", "use_karras_sigmas": True},
    "exponential": {"timestep_spacing": "linspace", "use_exponential_sigmas": True},
    "beta": {"timestep_spacing": "linspace", "use_beta_sigmas": True},
}
THEIRS: dict[str, tuple[Any, dict[str, Any]]] = {
    "DDIM": (diffusers.DDIMScheduler, {"clip_sample": False}),
    "DPM++2M": (diffusers.DPMSolverMultistepScheduler, {"solver_order": 2}),
    "DPM++3M": (diffusers.DPMSolverMultistepScheduler, {"solver_order": 3}),
    "DEIS-2": (diffusers.DEISMultistepScheduler, {"solver_order": 2}),
    "DEIS-3": (diffusers.DEISMultistepScheduler, {"solver_order": 3}),
    "UniPC-2": (diffusers.UniPCMultistepScheduler, {"solver_order": 2}),
    "UniPC-2 bh1": (
        diffusers.UniPCMultistepScheduler, {"solver_order": 2, "solver_type": "bh1"},
    ),
    "UniPC-3": (diffusers.UniPCMultistepScheduler, {"solver_order": 3}),
    "Euler": (diffusers.EulerDiscreteScheduler, {}),
    "LMS": (diffusers.LMSDiscreteScheduler, {}),
}  # fmt: skip

Level = Tensor | float
Mean = Callable[[Tensor, Level, Level], Tensor]
"""Posterior mean of the data in x = alpha x_0 + sigma eps."""


class Mixture:
    """Equal components of one width; counts the calls of its exact posterior mean."""

    def __init__(self, seed: int, dim: int, components: int, std: float) -> None:
        source = random.derive(seed, "mixture", dim)
        like = torch.zeros(components, dim, dtype=torch.float64)
        self.centres = random.normal(like, source)
        self.std = std
        self.start = random.normal(like.new_zeros(SAMPLES, dim), random.derive(seed, "start", dim))
        self.calls = 0

    def sample(self, n: int, source: Any) -> Tensor:
        """Draw (n, dim) items."""
        pick = random.integers(0, len(self.centres), (n,), source)
        drawn: Tensor = self.centres[pick]
        return drawn + self.std * random.normal(drawn, source)

    def mean(self, x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        """The posterior mean."""
        self.calls += 1
        total = (alpha * self.std) ** 2 + sigma**2
        near = alpha * (x @ self.centres.T) - 0.5 * alpha**2 * self.centres.square().sum(1)
        gain = alpha * self.std**2 / total
        weighted: Tensor = (near / total).softmax(1) @ self.centres
        return gain * x + (1 - gain * alpha) * weighted

    def nearest(self, x: Tensor) -> Tensor:
        """(n,) the component that each item is nearest to."""
        return torch.cdist(x, self.centres).argmin(1)


def denoised(mean: Mean) -> Denoise:
    """The posterior mean as a denoiser, a gradient through the time included."""
    return lambda x, t: Dirac(mean(x, PROCESS.alpha(t), PROCESS.sigma(t)))


def sampled(mean: Mean, start: Tensor, sampler: Any, grid: Any, calls: int) -> Tensor:
    """Where a sampler of ours takes the noise, on a grid of so many steps."""
    denoiser = denoised(mean)
    if isinstance(grid, Levels):
        denoiser = grid.told(PROCESS, denoiser, calls)
    x = start
    with torch.inference_mode():
        for frame in run(sampler, PROCESS, denoiser, x, grid(PROCESS, calls), torch.Generator()):
            x = frame.after
    return x.clone()


def learned(mixture: Mixture, seed: int, calls: int) -> Levels:
    """A grid for `UniPC(3)`, learned on other noises than those that are measured."""
    source = random.derive(seed, "tuning")
    noise = random.normal(mixture.start.new_empty(TUNING, mixture.start.shape[1]), source)
    teacher = sampled(mixture.mean, noise, UniPC(3), partial(grids.logsnr, sigma_min=2e-3), 64)
    return grids.learn(
        PROCESS,
        lambda _: denoised(mixture.mean),
        noise,
        teacher,
        calls,
        sampler=UniPC(3),
        generator=source,
        start=Levels.of(PROCESS, grids.uniform(PROCESS, calls)),
        rounds=ROUNDS,
        batch=TUNING // 8,
        shifted=True,
    ).levels


def scheduled(mean: Mean, start: Tensor, name: str, grid: str, calls: int) -> Tensor | None:
    """Where a scheduler of theirs takes the noise; None where it has no such grid."""
    kind, options = THEIRS[name]
    if name == "DDIM" and grid not in ("linspace", "leading", "trailing"):
        return None
    scheduler = kind(**TABLE, **options, **THEIR_GRIDS[grid])
    scheduler.set_timesteps(calls)
    unscaled = name in ("Euler", "LMS")
    x = start * float(scheduler.init_noise_sigma) if unscaled else start
    for i, t in enumerate(scheduler.timesteps):
        if hasattr(scheduler, "sigmas"):
            ratio = float(scheduler.sigmas[i])
            alpha = (1 + ratio**2) ** -0.5
            sigma = ratio * alpha
        else:
            kept = float(scheduler.alphas_cumprod[int(t)])
            alpha, sigma = kept**0.5, (1 - kept) ** 0.5
        seen = x * alpha if unscaled else x
        if unscaled:
            scheduler.scale_model_input(x, t)
        eps = (seen - alpha * mean(seen, alpha, sigma)) / sigma
        x = scheduler.step(eps, t, x).prev_sample
    return x


def fine(mean: Mean, start: Tensor) -> Tensor:
    """The solution by 400 steps of RK4, equal in log-SNR down to a noise level of 2e-4."""
    grid = partial(grids.logsnr, sigma_min=2e-4, sigma_max=1e3)
    return sampled(mean, start, RK4(), grid, 400)


class Score(NamedTuple):
    """Error against the fine solution, and distance to the data."""

    rms: float
    median: float
    moved: float
    calls: int
    sliced: float = float("nan")


def contest(
    mixture: Mixture,
    calls: int,
    want: Tensor,
    data: Tensor | None,
    tuned: Levels | None,
    azula: Mapping[str, Go],
) -> dict[str, Score]:
    """Every contestant on one mixture."""
    metric = SlicedWasserstein()
    real = None if data is None else metric.summary(Batch(data))

    def score(go: Callable[[], Tensor | None]) -> Score | None:
        mixture.calls = 0
        x = go()
        if x is None:
            return None
        each = (x - want).square().mean(1)
        moved = mixture.nearest(x) != mixture.nearest(want)
        figures = each.mean().sqrt(), each.sqrt().median(), moved.double().mean()
        if not bool(x.isfinite().all()):
            return Score(*[float("inf")] * 2, float(moved.double().mean()), mixture.calls)
        far = metric.between(metric.summary(Batch(x)), real).value if real is not None else None
        return Score(*map(float, figures), mixture.calls, float("nan") if far is None else far)

    found: dict[str, Score | None] = {}
    ours = OURS if tuned is None else {**OURS, TUNED: (UniPC(3), tuned)}
    for name, (sampler, grid) in ours.items():
        found[name] = score(lambda: sampled(mixture.mean, mixture.start, sampler, grid, calls))  # noqa: B023
    for name in THEIRS:
        for grid_name in THEIR_GRIDS:
            found[f"diffusers: {name} on {grid_name}"] = score(
                lambda: scheduled(mixture.mean, mixture.start, name, grid_name, calls)  # noqa: B023
            )
    for name, go in azula.items():
        found[name] = score(lambda: go(mixture.mean, mixture.start, calls))  # noqa: B023
    return {name: value for name, value in found.items() if value is not None}


def table(title: str, rows: Mapping[str, list[Score]], shown: int = 6) -> None:
    """Print ours, the best of theirs, and the ratio of our default to their best."""
    pooled = {name: statistics.fmean(s.rms for s in scores) for name, scores in rows.items()}
    theirs = sorted((name for name in rows if name.startswith("diff")), key=pooled.__getitem__)
    print(f"\n{title}\n{'':52s} {'RMS':>8s} {'median':>8s} {'moved':>7s} {'sliced':>8s}")
    azula = sorted((name for name in rows if name.startswith("azula")), key=pooled.__getitem__)
    ours = [name for name in rows if name.startswith("sfumato")]
    for name in [*ours, *theirs[:shown], *azula[:3]]:
        columns = [statistics.fmean(column) for column in zip(*rows[name], strict=True)]
        rms, median, moved, _, sliced = columns
        print(f"{name:52s} {rms:8.4f} {median:8.4f} {moved:7.4f} {sliced:8.4f}")
    for name, label in ((DEFAULT, "default"), (TUNED, "learned grid")):
        if name in rows:
            each = [
                score.rms / min(rows[one][i].rms for one in theirs)
                for i, score in enumerate(rows[name])
            ]
            print(f"{label} / best of theirs, of the means: {pooled[name] / pooled[theirs[0]]:.2f}")
            print(f"{label} / best of theirs on each mixture:", " ".join(f"{r:.2f}" for r in each))


PARTS = {
    "64d": ("64 dimensions, std 0.05", 64, 0.05),
    "2d-narrow": ("2 dimensions, std 0.05", 2, 0.05),
    "2d-wide": ("2 dimensions, std 0.25", 2, 0.25),
}


def mixtures(
    parts: list[str], seeds: list[int], results: dict[str, Any], azula: Mapping[str, Go]
) -> None:
    """Parts 1 and 2."""
    for label, dim, std in (PARTS[part] for part in parts):
        kept: dict[int, dict[str, list[Score]]] = {calls: {} for calls in CALLS}
        floors = []
        for seed in seeds:
            mixture = Mixture(seed, dim, 10, std)
            want = fine(mixture.mean, mixture.start)
            data = mixture.sample(SAMPLES, random.derive(seed, "data")) if dim == 2 else None
            if data is not None:
                metric, other = SlicedWasserstein(), random.derive(seed, "more data")
                more = metric.summary(Batch(mixture.sample(SAMPLES, other)))
                floors.append(metric.between(more, metric.summary(Batch(data))).value)
            for calls in CALLS:
                tunes = dim > 2 and calls == TUNED_CALLS
                tuned = learned(mixture, seed, calls) if tunes else None
                for name, score in contest(mixture, calls, want, data, tuned, azula).items():
                    assert score.calls == calls, (name, score)
                    kept[calls].setdefault(name, []).append(score)
        for calls in CALLS:
            table(f"{label}: {calls} calls, {len(seeds)} mixtures x {SAMPLES}", kept[calls])
            results[f"{label}, {calls} calls"] = kept[calls]
        if floors:
            print(f"sliced distance of data to data: {statistics.fmean(floors):.4f}")


def digits(seed: int, results: dict[str, Any]) -> None:
    """Part 3."""
    from sfumato_data import fetch
    from sfumato_eval.systems import codeexec, codeexec_example

    train, held = codeexec.halves(fetch("digits8"), seed)
    denoiser = codeexec_example.train(train, codeexec.TRAIN_STEPS, seed)
    start = random.normal(held.x, random.derive(seed, "start"))

    def mean(x: Tensor, alpha: Level, sigma: Level) -> Tensor:
        ratio = -2 * torch.as_tensor(sigma / alpha, dtype=torch.float64).log()
        with torch.inference_mode():
            return denoiser(x, PROCESS.time(ratio)).mean

    metric = SlicedWasserstein()
    real = metric.summary(Batch(held.x))
    floor = metric.between(metric.summary(Batch(train.x[: len(held.x)])), real).value
    want = sampled(mean, start, DPMSolverPP(), grids.logsnr, 200)
    print(f"\ndigits, {len(start)} images; sliced distance of training to held-out: {floor:.4f}")
    for calls in CALLS:
        for name, go in {
            **{name: (lambda s=s, g=g, c=calls: sampled(mean, start, s, g, c))
               for name, (s, g) in OURS.items()},
            **{f"diffusers: {n} on {g}": (lambda n=n, g=g, c=calls: scheduled(mean, start, n, g, c))
               for n in ("DDIM", "DPM++2M", "UniPC-2", "UniPC-3") for g in ("trailing", "karras")},
        }.items():  # fmt: skip
            x = go()
            if x is None:
                continue
            rms = float((x - want).square().mean().sqrt())
            far = metric.between(metric.summary(Batch(x)), real).value
            print(f"{calls:3d} {name:52s} RMS {rms:7.4f}   sliced {far:7.4f}")
            results.setdefault(f"digits, {calls} calls", {})[name] = [rms, far]


def figure(results: Mapping[str, Any], path: Path) -> None:
    """Error against calls in 64 dimensions: ours, and the best of theirs for each solver."""
    from matplotlib.figure import Figure

    fig = Figure(figsize=(7, 4.2), layout="constrained")
    axes = fig.subplots()
    rows = {calls: results[f"64 dimensions, std 0.05, {calls} calls"] for calls in CALLS}
    mean = {
        c: {n: statistics.fmean(s.rms for s in v) for n, v in r.items()} for c, r in rows.items()
    }
    tuned = mean[TUNED_CALLS].get(TUNED)
    if tuned is not None:
        axes.plot([TUNED_CALLS], [tuned], "*", markersize=11, label=TUNED)
    for name in OURS:
        axes.plot(CALLS, [mean[c][name] for c in CALLS], marker="o", label=name)
    for solver in ("DDIM", "DPM++2M", "DPM++3M", "DEIS-3", "UniPC-3"):
        lines = [n for n in mean[CALLS[0]] if n.startswith(f"diffusers: {solver} on")]
        best = [min(mean[c][n] for n in lines) for c in CALLS]
        axes.plot(CALLS, best, "--", marker=".", label=f"diffusers: {solver}, best of its grids")
    axes.set(xscale="log", yscale="log", xlabel="network calls", ylabel="RMS error", xticks=CALLS)
    axes.set_xticklabels([str(c) for c in CALLS])
    axes.minorticks_off()
    axes.set_title("64-d mixtures, error to a fine solution", fontsize=10)
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)
    fig.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Print the tables; save them and draw them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--parts", nargs="*", choices=[*PARTS], default=[*PARTS])
    parser.add_argument("--digits", action="store_true")
    parser.add_argument("--azula", type=Path, metavar="FOLDER")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    diffusers.utils.logging.set_verbosity_error()
    results: dict[str, Any] = {}
    hand = {"logsnr": grids.logsnr, "karras": grids.karras}
    azula = contestants(args.azula, PROCESS, hand) if args.azula else {}
    mixtures(args.parts, [args.first_seed + i for i in range(args.seeds)], results, azula)
    if args.digits:
        digits(args.first_seed, results)
    if args.json:
        args.json.write_text(json.dumps({"argv": sys.argv[1:], "results": results}, indent=1))
    if args.figure:
        figure(results, args.figure)


if __name__ == "__main__":
    main()
