"""Geometric Trajectory Diffusion Models.

Han et al. 2024, arXiv:2410.13027. Trajectories of points are diffused by a network that turns with
them, and given their first frames what follows is predicted better than without that symmetry. Here
five charged particles (`nbody`) are seen for ten frames of thirty; what is diffused is the way from
their last known places, so that translations are a symmetry too. The baseline is a transformer over
all frames of all particles with more weights, in the same diffusion. Told are the distances of the
last frame, the least of several draws; and that of particles which fly on as they were.

The prior that the paper learns, molecules and pedestrians are left out.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Tensor, nn

TRAIN, TEST, GIVEN, FRAMES = 1000, 50, 10, 30
STEPS, BATCH, LEARNING = 300, 32, 2e-3
SAMPLED, DRAWS = 20, 5
WIDTH, DEPTH = 32, 4


def trial(given: Trial) -> Mapping[str, Measured]:
    """Distances of the last frame: ours, the transformer's, and of constant velocity."""
    from sfumato_molecules.systems.flat import FlatTransformer
    from sfumato_molecules.systems.nbody import Trajectories, simulate
    from sfumato_molecules.trajectories import TrajectoryNetwork

    count = max(20, round(TRAIN * given.scale))
    held = max(5, round(TEST * given.scale))
    x, charge = simulate(count + held, given.seed, frames=FRAMES)
    train = Trajectories(x[:count], charge[:count], GIVEN)
    test = Trajectories(x[count:], charge[count:], GIVEN).batch(range(held))
    networks: Mapping[str, Any] = {
        "ours": lambda: TrajectoryNetwork(FRAMES, WIDTH, DEPTH),
        "flat": lambda: FlatTransformer(FRAMES, 2 * WIDTH, DEPTH),
    }
    found, costs = {}, {}
    for name, network in networks.items():
        began = time.monotonic()
        found[name] = _distance(_drawn(network, train, test, given), test.x)
        costs[name] = time.monotonic() - began
    past = test.condition["past"]
    speed = past[:, -1] - past[:, -2]
    straight = _distance([speed[:, None] * (FRAMES - GIVEN)], test.x)
    return {
        "symmetry": Measured(found["ours"], found["flat"], 0.0, held, costs["ours"]),
        "velocity": Measured(found["ours"], straight, 0.0, held, costs["ours"]),
    }


def _distance(drawn: list[Tensor], wanted: Tensor) -> float:
    """Mean over trajectories of the least distance of the last frame, a mean over particles."""
    import torch

    gaps = [(one[:, -1] - wanted[:, -1]).norm(dim=-1).mean(1) for one in drawn]
    return float(torch.stack(gaps).amin(0).mean())


def _drawn(network: Any, train: Any, test: Any, given: Trial) -> list[Tensor]:
    """Several predictions for each trajectory, by a network trained to denoise."""
    import torch

    import sfumato
    from sfumato import Preconditioned, Streams, random
    from sfumato_data import Batches, gather
    from sfumato_methods import grids
    from sfumato_methods.gaussian import cosine
    from sfumato_methods.solvers import DDIM
    from sfumato_train import Denoising
    from sfumato_train.runs import fresh

    net: nn.Module = fresh(given.seed, network)
    process = cosine()
    spread = float(gather(train, range(min(200, len(train)))).x.std())
    denoiser = Preconditioned(net, process, "edm", sigma_data=spread)
    objective = Denoising(process, denoiser, dropout=0.0)
    weights = list(net.parameters())
    steps = max(3, round(STEPS * given.scale))
    optimiser = torch.optim.AdamW(weights, lr=LEARNING, weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING, steps + 1, pct_start=0.05)
    batches = Batches(train, BATCH, given.seed)
    for step in range(steps):
        optimiser.zero_grad()
        generator = random.derive(given.seed, "loss", step)
        loss: Any = objective.loss("denoiser", batches(step), generator).each.mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        schedule.step()
    told = denoiser.eval().given(**test.condition)
    return [
        sfumato.sample(
            process, told, test.x, sampler=DDIM(), grid=grids.uniform(process, SAMPLED),
            generator=Streams.derive(given.seed, f"draw {draw}", range(len(test.x))),
        )
        for draw in range(DRAWS)
    ]  # fmt: skip


system = System(
    id="geotdm",
    title="Geometric Trajectory Diffusion Models",
    source="Han et al. 2024, arXiv:2410.13027",
    components=("equivariant",),
    trial=trial,
    claims=(
        Claim("last frames are nearer than without the symmetry", "symmetry", at_most=0.85),
        Claim("and nearer than those of particles that fly on", "velocity", at_most=0.7),
    ),
)
