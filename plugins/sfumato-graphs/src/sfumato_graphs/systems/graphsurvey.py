"""Generative Diffusion Models on Graphs: Methods and Applications.

Liu et al. 2023, arXiv:2302.02591. The survey orders graph generation into three families: score
matching with Langevin dynamics (EDP-GNN, arXiv:2003.00638), stochastic differential equations
(GDSS, arXiv:2202.02514) and discrete denoising diffusion (DiGress, arXiv:2209.14734); all make
realistic graphs, and the discrete ones the best by MMD. Here each trains the same network for the
same number of steps on small graphs of two communities (arXiv:1802.08773), and the mean over
degree, clustering and orbits of the MMD to held-out graphs, in kernels of total variation, is
compared with that of Erdos-Renyi graphs of the same sizes and density, and with each other. The
S4 solver of GDSS is compared with its predictor and corrector on the same network.
"""

from __future__ import annotations

__all__ = ["FAMILIES", "system"]

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    import networkx as nx

    from sfumato import Batch, Dataset, Model

GRAPHS = 200
"""Of which half are trained on."""

LARGEST = 20
"""Nodes of the largest of them."""

STEPS, BATCH, LEARNING = 2500, 16, 2e-3
SIGMAS = (1.6, 0.8, 0.6, 0.4, 0.2, 0.1)
"""The noise levels of EDP-GNN, at each of which there are MOVES moves (theirs are 1000).

Levels are far apart: with 25 moves the noise of one is still there at the next.
"""

STEPPED, MOVES = 50, 100
FAMILIES = ("digress", "uniform", "gdss", "edpgnn")


def trial(given: Trial) -> Mapping[str, Measured]:
    """Mean MMD of each family and of random graphs to the same held-out graphs."""
    from sfumato_graphs.data import graphs_of
    from sfumato_graphs.generators import generate
    from sfumato_train import draw

    count = max(16, 2 * round(GRAPHS * given.scale / 2))
    found = graphs_of(generate("community", count, given.seed))
    train, held = _part(found, 0, count // 2), _part(found, count // 2, count)
    schema = {**found.about, "largest": LARGEST}
    other = graphs_of(generate("community", count // 2, given.seed + 1000), schema=schema)
    floor = _distance(_all(other), _all(held))
    random_graphs = graphs_of(_erdos_renyi(train, given.seed), schema=found.about)
    chance = _distance(_all(random_graphs), _all(held))

    distances, costs = {}, {}
    split: Mapping[str, Measured] = {}
    n = count // 2
    for name in FAMILIES:
        began = time.monotonic()
        model, options = _trained(name, train, given)
        distances[name] = _distance(draw(model, n, seed=given.seed, **options), _all(held))
        costs[name] = time.monotonic() - began
        if name == "gdss":
            split = _split(model, given.seed, _all(held), distances[name], floor)
    told = {
        name: Measured(distances[name], chance, floor, n, costs[name])
        for name in ("digress", "gdss", "edpgnn")
    }
    best = min(told, key=lambda name: distances[name])
    return {
        **told,
        **split,
        "best": Measured(distances[best], floor, floor, n, costs[best]),
        "discrete": Measured(distances["digress"], distances["edpgnn"], floor, n, costs["digress"]),
        "marginal": Measured(
            distances["digress"], distances["uniform"], floor, n, costs["uniform"]
        ),
    }


def _part(data: Any, first: int, last: int) -> Dataset:
    from sfumato_data import subset

    return subset(data, range(first, last))


def _all(data: Dataset) -> Batch:
    from sfumato_data import gather

    return gather(data)


def _erdos_renyi(train: Dataset, seed: int) -> Sequence[nx.Graph]:
    """Graphs of the sizes of the training graphs whose pairs are edges with its mean density."""
    import networkx as nx

    from sfumato import random

    x = _all(train).x
    edges = x["edges"]
    density = float(edges.data[edges.mask].double().mean())
    return [
        nx.gnp_random_graph(
            size, density, seed=int(random.integers(0, 2**31, (), random.derive(seed, "random", i)))
        )
        for i, size in enumerate(x["nodes"].mask.sum(1).tolist())
    ]


def _distance(made: Batch, held: Batch) -> float:
    """Mean over the statistics of the MMD in kernels of total variation."""
    from sfumato_graphs.metrics import GraphMMD, Statistic

    statistics: tuple[Statistic, ...] = ("degree", "clustering", "orbit")
    values = []
    for statistic in statistics:
        metric = GraphMMD(statistic, "tv", largest=LARGEST)
        values.append(metric.between(metric.summary(made), metric.summary(held)).value)
    return sum(values) / len(values)


def _split(
    model: Model, seed: int, held: Batch, distance: float, floor: float
) -> Mapping[str, Measured]:
    """S4 with one step fewer against predictor and corrector: its calls, and its distance."""
    from sfumato.state import items
    from sfumato_methods.solvers import S4
    from sfumato_train import draw
    from sfumato_train.drawing import calls

    began = time.monotonic()
    n, steps = items(held.x), max(1, model.steps - 1)
    made = draw(model, n, seed=seed, sampler=S4(), steps=steps)
    few, many = calls(model, steps, sampler=S4()), calls(model, model.steps)
    cost = time.monotonic() - began
    return {
        "calls": Measured(few, many, None, n, cost),
        "split": Measured(_distance(made, held), distance, floor, n, cost),
    }


def _trained(name: str, train: Dataset, given: Trial) -> tuple[Model, Mapping[str, Any]]:
    """The model of a family, with averaged weights, and how samples are drawn from it."""
    from sfumato import Process
    from sfumato_graphs.recipes import Files, Scores
    from sfumato_methods.gaussian import VE, Gaussian
    from sfumato_methods.grids import Levels
    from sfumato_methods.solvers import AnnealedLangevin
    from sfumato_train import averaged
    from sfumato_train.runs import fresh

    fields: dict[str, Any] = {
        "seed": given.seed, "steps": max(2, round(STEPS * given.scale)), "batch": BATCH,
        "lr": LEARNING, "ema": 0.99, "warmup": 20, "width": 64, "pair_width": 16, "depth": 3,
        "sampling_steps": max(2, round(STEPPED * given.scale)),
    }  # fmt: skip

    class _Levelled(Scores):
        """Noise up to the first level of EDP-GNN."""

        def noising(self) -> Process:
            return Gaussian(VE(SIGMAS[-1] / 2, SIGMAS[0]))

    recipe: Any
    options: dict[str, Any] = {}
    if name == "edpgnn":
        recipe = _Levelled(**fields | {"sampling_steps": len(SIGMAS)})
        options = {
            "sampler": AnnealedLangevin(moves=max(1, round(MOVES * given.scale))),
            "grid": Levels((*SIGMAS, SIGMAS[-1] / 2)),
        }
    elif name == "gdss":
        recipe = Scores(**fields)
    else:
        recipe = Files(**fields, noise="marginal" if name == "digress" else "uniform")
    training = fresh(given.seed, lambda: recipe.build(train))
    return averaged(training, recipe, given.scratch / name), options


system = System(
    id="graphsurvey",
    title="Generative Diffusion Models on Graphs: Methods and Applications",
    source="Liu et al. 2023, arXiv:2302.02591",
    components=("graphs/files", "graphs/scores", "annealed-langevin", "predictor-corrector", "s4"),
    recipe="graphs/files",
    trial=trial,
    claims=(
        Claim("DiGress is twice as close to data as random graphs", "digress", at_most=0.5),
        Claim("GDSS is twice as close to data as random graphs", "gdss", at_most=0.5),
        Claim("EDP-GNN is twice as close to data as random graphs", "edpgnn", at_most=0.5),
        Claim("the best is within three times real graphs of each other", "best", at_most=3.0),
        Claim("the discrete family is closer than score matching", "discrete", at_most=0.8),
        Claim("S4 takes half the calls of predictor and corrector", "calls", at_most=0.5),
        Claim("and is at most 1.1 times as far from data", "split", at_most=1.1),
        Claim("noise from the law of the data beats uniform noise", "marginal", at_most=0.9),
    ),
    covers={
        "score matching with Langevin dynamics": "annealed-langevin",
        "stochastic differential equations": "graphs/scores",
        "denoising diffusion": "graphs/files",
    },
)
