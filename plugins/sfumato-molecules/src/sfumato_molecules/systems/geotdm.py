"""Geometric Trajectory Diffusion Models.

Han et al. 2024, arXiv:2410.13027: trajectories of points are forecast best by diffusion whose
network turns with them, around a prior that is learned with it. Here 1,000 simulated systems of
five charges are trained on, 10 frames given and 20 to come; of each of the systems held out five
forecasts are drawn and the closest counts, as in the paper. Compared are a transformer of the same
size without symmetry, the same model around the middle of the last frame, and constant velocity.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato import Model

    from ..trajectories.data import Tracks
    from ..trajectories.recipes import Trajectories

TRAINED, HELD, DRAWS = 1000, 100, 5
STEPS, BATCH, RATE = 500, 32, 3e-3
WIDTH, DEPTH, STEPPED = 32, 4, 20


def trial(given: Trial) -> Mapping[str, Measured]:
    """ADE and FDE of forecasts, the closest of five."""
    from sfumato_molecules.trajectories.data import constant_velocity, tracks_of
    from sfumato_molecules.trajectories.metrics import displacements
    from sfumato_molecules.trajectories.nbody import simulate
    from sfumato_molecules.trajectories.recipes import Trajectories

    trained, held = (max(8, round(n * given.scale)) for n in (TRAINED, HELD))
    tracks = simulate("charged", trained + held, given.seed)
    data = tracks_of(tracks[:trained], given=10, future=20)
    other = tracks_of(tracks[trained:], given=10, future=20, like=data.about)
    true = other.batch(range(held))
    steady = constant_velocity(true.condition["source"]["past"], true.x.shape[2])
    plain = [float(value.mean()) for value in displacements(steady, true.x)]

    fields: dict[str, Any] = {
        "seed": given.seed, "steps": max(2, round(STEPS * given.scale)), "batch": BATCH,
        "lr": RATE, "ema": 0.99, "warmup": 20, "width": WIDTH, "depth": DEPTH,
        "sampling_steps": max(2, round(STEPPED * given.scale)),
    }  # fmt: skip
    arms = {
        "learned": Trajectories(**fields),
        "middle": Trajectories(**fields, reference="middle"),
        "unsymmetric": _unsymmetric()(**fields, reference="last"),
    }
    ade, fde, costs = {}, {}, {}
    for name, recipe in arms.items():
        began = time.monotonic()
        made = _forecasts(_model(name, recipe, data, given), other, given)
        found = [displacements(one, true.x) for one in made]
        ade[name], fde[name] = (
            float(_closest([pair[i] for pair in found]).mean()) for i in range(2)
        )
        costs[name] = time.monotonic() - began
    cost = costs["learned"]
    return {
        "symmetry": Measured(fde["learned"], fde["unsymmetric"], None, held, cost),
        "reference": Measured(ade["learned"], ade["middle"], None, held, cost),
        "velocity": Measured(ade["learned"], plain[0], None, held, cost),
    }


def _closest(errors: list[Tensor]) -> Tensor:
    import torch

    return torch.stack(errors).amin(0)


def _model(name: str, recipe: Trajectories, data: Tracks, given: Trial) -> Model:
    from sfumato_train import averaged
    from sfumato_train.runs import fresh

    training = fresh(given.seed, lambda: recipe.build(data))
    return averaged(training, recipe, given.scratch / name)


def _forecasts(model: Model, data: Tracks, given: Trial) -> list[Tensor]:
    """Five draws of each trajectory."""
    from sfumato_train import draw

    asked = data.batch(range(len(data)))
    found = []
    for k in range(DRAWS):
        made = draw(
            model, len(data), condition=asked.condition, like=asked.x, seed=given.seed,
            first=k * len(data),
        )  # fmt: skip
        found.append(made.x)
    return found


def _unsymmetric() -> type[Trajectories]:
    """The recipe with a transformer that sees coordinates as plain numbers."""
    import torch
    from torch import nn

    from sfumato_molecules.trajectories.recipes import Trajectories
    from sfumato_nn.attention import Attention
    from sfumato_nn.embed import ClockEmbedding

    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
            self.time, self.space = Attention(width, 4), Attention(width, 4)
            self.inner = nn.Sequential(
                nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
            )

        def forward(self, h: Tensor) -> Tensor:
            items, points, frames, _ = h.shape
            own = self.norms[0](h).flatten(0, 1)
            h = h + self.time(own).unflatten(0, (items, points))
            across = self.norms[1](h).transpose(1, 2).flatten(0, 1)
            h = h + self.space(across).unflatten(0, (items, frames)).transpose(1, 2)
            out: Tensor = h + self.inner(self.norms[2](h))
            return out

    class Plain(nn.Module):
        """Attention along time and between points, on positions from the middle."""

        def __init__(self, kinds: int, dims: int, frames: int) -> None:
            super().__init__()
            self.first = nn.Linear(dims + kinds, WIDTH)
            self.when = nn.Parameter(0.02 * torch.ones(frames, WIDTH))
            self.clock = ClockEmbedding(WIDTH)
            self.blocks = nn.ModuleList(Block(WIDTH) for _ in range(DEPTH))
            self.last = nn.Linear(WIDTH, dims)

        def encode(self, source: Any) -> dict[str, Tensor]:
            return {"past": source["past"], "kind": source["kind"]}

        def forward(self, x: Tensor, clock: Tensor, past: Tensor, kind: Tensor) -> Tensor:
            middle = past[:, :, -1:].mean(1, keepdim=True)
            every = torch.cat([past.to(x), x], 2) - middle.to(x)
            kinds = kind.to(x)[:, :, None].expand(-1, -1, every.shape[2], -1)
            told = self.clock(clock)[:, None, None]
            h = self.first(torch.cat([every, kinds], -1)) + self.when + told
            for block in self.blocks:
                h = block(h)
            out: Tensor = self.last(h)[:, :, past.shape[2] :]
            return out

    class Unsymmetric(Trajectories):
        """Without symmetry."""

        def network(self, about: Mapping[str, Any]) -> nn.Module:
            frames = about["source"]["frames"] + about["future"]
            return Plain(len(about["features"]), about["dimensions"], frames)

    return Unsymmetric


system = System(
    id="geotdm",
    title="Geometric Trajectory Diffusion Models",
    source="Han et al. 2024, arXiv:2410.13027",
    components=("molecules/trajectories",),
    recipe="molecules/trajectories",
    trial=trial,
    claims=(
        Claim("a network that turns with the points ends closer", "symmetry", at_most=0.85),
        Claim("a learned prior is closer than the middle of the points", "reference", at_most=0.95),
        Claim("forecasts beat constant velocity", "velocity", at_most=0.7),
    ),
)
