"""Any-Order Flexible Length Masked Diffusion (Kim et al. 2025).

A masked model that also inserts masks needs no canvas of a fixed length with padding. Two trials,
in each of which networks of one size (but for the head of the gaps) have equal data and seeds, and
are trained for equal processor time (ways) or equally many steps (brackets):

- ways through a maze of 8 x 8 cells, the same in training and test, of which the network sees only
  ways: between the ends and two places anywhere on the way, given in order, a way is filled in.
  Pairs of ends that are asked for were never trained on, though the way back may have been. A model
  that inserts begins with these goals and grows the way around them. A padded one reads them in
  front of its canvas, since where on the way they stand is not known (`valid`); or it has a canvas
  of its own behind each goal, with room for the longest way to the next one (`rooms`), which takes
  more places, but tells it where the goals are. (Were the way always parted in three equal pieces,
  rooms would be short, and this model better than the one that inserts, 0.9 to 0.8.);
- balanced strings of two kinds of brackets, up to 32 of them, most far shorter: how far the lengths
  of samples are from those of the data, and what was worked on to get them. Event by event, a text
  of n tokens takes about 4 n calls on n/2 tokens, a canvas of L takes L calls on L tokens: what is
  spared is a matter of n^2/L^2, and where all lengths are as likely it is little.

The padded model is trained on exactly n hidden tokens and drawn from a token a call, the model that
inserts event by event; both samplers are exact for a perfect network.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato import Padded

    from .lengths import Sizes
    from .mazes import Maze

SIDE, GOALS, SHORTEST = 8, 4, 6
"""Cells along an edge of the maze, goals with both ends, cells of the shortest way."""
PAIRS = 16
"""Pairs of brackets, at most."""
TRAIN, N = 20000, 300
STEPS, BATCH, LEARNING = 1200, 64, 3e-3
WIDTH, DEPTH, HEADS = 64, 2, 2
PROBED = 60
"""Steps that tell what a step costs, with optimiser and averages, which are much of it for small
networks."""


def trial(given: Trial) -> Mapping[str, Measured]:
    """Train both models on ways and on brackets, and draw from them.

    - `valid`: share of ways that lead through the maze from goal to goal, inserted over padded with
      the goals in front;
    - `rooms`: the same over padded with a canvas behind each goal;
    - `shortest`: as `valid`, of those that are the only way without a detour. No bound;
    - `length`: Wasserstein distance of the lengths of strings of brackets from those of the data,
      inserted over padded; the floor is that of other data, as many;
    - `tokens`: tokens that the network worked on to draw these strings, each by itself;
    - `balanced`: share of strings that are balanced. No bound;
    - `seconds`: of processor time to train on both kinds of data, a canvas behind each goal. No
      bound.
    """
    from .lengths import Sizes

    sizes = Sizes(WIDTH, DEPTH, HEADS, STEPS, BATCH, LEARNING)
    ways, *took = _mazes(given, sizes)
    strings, *more = _brackets(given, sizes)
    inserted, padded = (a + b for a, b in zip(took, more, strict=True))
    return {**ways, **strings, "seconds": Measured(inserted, padded, None, 2, inserted + padded)}


class _Ways(NamedTuple):
    """Ways through a maze.

    Attributes:
        x: Padded cells (n, M).
        goals: (n, GOALS) cells.
        kept: (n, M) bool, where on the way they stand.
    """

    x: Padded
    goals: Tensor
    kept: Tensor


def _ways(maze: Maze, pairs: Tensor, n: int, seed: int, name: str) -> _Ways:
    """N ways between ends out of pairs (P, 2), with goals anywhere between."""
    import torch

    from sfumato import random

    ends = pairs[random.integers(0, len(pairs), (n,), random.derive(seed, name))]
    x = maze.ways(ends[:, 0], ends[:, 1], int(maze.steps.max()) + 1)
    steps = x.mask.sum(1, keepdim=True) - 1
    drawn = random.uniform(tuple(x.mask.shape), random.derive(seed, f"{name} goals"))
    since = torch.arange(x.mask.shape[1])
    between = drawn.masked_fill((since == 0) | (since >= steps), -1)
    inner = between.topk(GOALS - 2, 1).indices.sort(1).values
    place = torch.cat((torch.zeros_like(steps), inner, steps), 1)
    kept = torch.zeros_like(x.mask).scatter_(1, place, True)
    return _Ways(x, x.data.gather(1, place), kept)


def _canvases(ways: _Ways, room: int, mask: int | None = None) -> Tensor:
    """The goals with `room` places behind each but the last: cells, then padding; or the mask.

    Returns:
        (n, GOALS + (GOALS - 1) room) ids; id SIDE^2 is the padding.
    """
    import torch

    x, since = ways.x, torch.arange(ways.x.data.shape[1])
    gap = (ways.kept.cumsum(1) - 1).clamp_min(0)
    begins = torch.where(ways.kept, since, 0).cummax(1).values
    slot = gap * (room + 1) + since - begins  # where a cell of the way goes
    size = GOALS + (GOALS - 1) * room
    fill = SIDE * SIDE if mask is None else mask
    shown = x.mask if mask is None else ways.kept
    out = torch.full((len(x.data), size + 1), fill)
    out.scatter_(1, torch.where(shown, slot, size), torch.where(shown, x.data, fill))
    return out[:, :size]


def _mazes(given: Trial, sizes: Sizes) -> tuple[dict[str, Measured], float, float]:
    """Numbers of the ways, and the seconds of training of both kinds."""
    import torch
    import torch.nn.functional as F

    from sfumato import Padded, random

    from .lengths import dropped, filled, full, grown, inserting, learned, padding
    from .mazes import Maze, leads

    began, cells = time.monotonic(), SIDE * SIDE
    maze = Maze(SIDE, random.derive(given.seed, "maze"))
    pairs = (maze.steps >= SHORTEST - 1).nonzero()
    pairs = pairs[random.permutation(len(pairs), random.derive(given.seed, "pairs"))]
    n = max(20, round(N * given.scale))
    train = _ways(maze, pairs[len(pairs) // 10 :], TRAIN, given.seed, "train")
    held = _ways(maze, pairs[: len(pairs) // 10], n, given.seed, "held")

    hidden = cells + 1
    fronts = torch.cat((train.goals, train.x.data.masked_fill(~train.x.mask, cells)), 1)
    room = int(maze.steps.max()) - GOALS + 1  # cells between two goals, at most
    longest = train.x.data.shape[1]
    told = {
        "front": [F.pad(w.goals, (0, longest), value=hidden) for w in (train, held)],
        "rooms": [_canvases(w, room, hidden) for w in (train, held)],
    }
    makes = {
        "inserted": partial(inserting, train.x, cells, sizes, given.seed, kept=train.kept),
        "front": partial(
            padding, fronts, hidden, sizes, given.seed, canvas=full(told["front"][0])
        ),
        "rooms": partial(
            padding, _canvases(train, room), hidden, sizes, given.seed,
            canvas=full(told["rooms"][0]),
        ),
    }  # fmt: skip
    few, each = sizes._replace(steps=PROBED), {}
    for number, (name, make) in enumerate([*makes.items()] * 2):  # the first round warms up
        _, each[name] = learned(make(), few, given, f"{name} timed {number}")
    models, took = {}, {}
    for name, make in makes.items():
        own = sizes._replace(steps=round(STEPS * each["rooms"] / each[name]))
        models[name], took[name] = learned(make(), own, given, name)
        print(f"ways, {name}: {own.steps} steps, {took[name]:.1f} s", flush=True)

    insert = models["inserted"]
    like = F.pad(held.goals, (0, longest - GOALS))
    goals = (torch.arange(like.shape[1]) < GOALS).expand_as(like)
    drawn = {
        "inserted": grown(insert.process.given(kept=goals), insert, Padded(like, goals), given.seed)
    }
    for name, skipped in (("front", GOALS), ("rooms", 0)):
        pad = models[name]
        ids = filled(pad.process, pad, told[name][1], given.seed)
        drawn[name] = dropped(ids[:, skipped:], cells)
    valid, short = {}, {}
    for name, x in drawn.items():
        right = leads(maze, x, held.goals)
        alone = right & (x.mask.sum(1) == held.x.mask.sum(1))
        valid[name], short[name] = float(right.double().mean()), float(alone.double().mean())
        print(f"ways, {name}: {valid[name]:.3f} lead to the end", flush=True)
    cost = time.monotonic() - began
    found = {
        "valid": Measured(valid["inserted"], valid["front"], 1.0, n, cost),
        "rooms": Measured(valid["inserted"], valid["rooms"], 1.0, n, cost),
        "shortest": Measured(short["inserted"], short["front"], 1.0, n, cost),
    }
    return found, took["inserted"], took["rooms"]


def _brackets(given: Trial, sizes: Sizes) -> tuple[dict[str, Measured], float, float]:
    """Numbers of the strings, and the seconds of training of both kinds."""
    import torch

    from sfumato import random

    from .brackets import KINDS, balanced, brackets
    from .lengths import Counted, dropped, filled, full, grown, inserting, learned, padding

    began, tokens, n = time.monotonic(), 2 * KINDS, max(20, round(N * given.scale))
    train, real, other = (
        brackets(count, PAIRS, random.derive(given.seed, name))
        for name, count in (("strings", TRAIN), ("real", TRAIN), ("other", n))
    )
    insert, took = learned(inserting(train, tokens, sizes, given.seed), sizes, given, "inserting")
    counted = Counted(insert, extra=1)  # the network puts a token in front
    drawn = {"inserted": grown(insert.process, counted, full(other.data), given.seed)}
    whole = train.data.masked_fill(~train.mask, tokens)
    padded = padding(whole, tokens + 1, sizes, given.seed)
    pad, longer = learned(padded, sizes, given, "padding")
    fixed, empty = Counted(pad), torch.full_like(other.data, tokens + 1)
    drawn["padded"] = dropped(filled(pad.process, fixed, empty, given.seed), tokens)
    away = {name: _away(x, real) for name, x in drawn.items()}
    right = {name: float(balanced(x).double().mean()) for name, x in drawn.items()}
    print(f"strings: {away} from the lengths, {right} balanced", flush=True)
    cost = time.monotonic() - began
    return (
        {
            "length": Measured(away["inserted"], away["padded"], _away(other, real), n, cost),
            "tokens": Measured(counted.tokens, fixed.tokens, None, n, cost),
            "balanced": Measured(right["inserted"], right["padded"], 1.0, n, cost),
        },
        took,
        longer,
    )


def _away(x: Padded, real: Padded) -> float:
    """Wasserstein distance of lengths, in tokens."""
    from sfumato_eval import wasserstein

    return float(wasserstein(x.mask.sum(1, keepdim=True), real.mask.sum(1, keepdim=True), 1))


system = System(
    id="flexmdm",
    title="Any-Order Flexible Length Masked Diffusion",
    source="Kim et al. 2025, arXiv:2509.01025",
    components=("growing", "tokens", "absorbing", "event-driven", "first-hitting"),
    recipe="language/insertions",
    trial=trial,
    claims=(
        Claim("1.3 times as many ways lead through the maze as with goals in front of a canvas",
              "valid", at_least=1.3),
        Claim("and as with a canvas behind each goal", "rooms", at_least=1.3),
        Claim("lengths of strings are no further from the data", "length", at_most=1.0),
        Claim("with 0.6 of the tokens to work on", "tokens", at_most=0.6),
    ),
)  # fmt: skip
