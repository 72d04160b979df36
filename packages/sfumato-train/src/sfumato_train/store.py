"""What a training keeps in its run folder: rows, checkpoints, snapshots of averages."""

from __future__ import annotations

__all__ = ["Store", "averages", "combined"]

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor, nn

from sfumato import InputError

from . import checkpoint
from .checkpoint import Keep, Saved
from .ema import EMA, Trained, exponential, parts, posthoc, power
from .files import locked, make_folder, trim
from .players import Player
from .processes import World
from .recipe import Settings

EVERY = 1_000_000_000  # snapshots of power-function averages are all needed


def averages(model: Trained, settings: Settings) -> dict[str, EMA]:
    """The averages that the settings name: `ema`, `ema-0.9999`, `power-0.05`."""
    rates = {"ema": exponential(settings.ema)} if settings.ema else {}
    rates |= {f"ema-{decay:g}": exponential(decay) for decay in settings.decays}
    rates |= {f"power-{width:g}": power(width) for width in settings.widths}
    return {name: EMA(model, rate) for name, rate in rates.items()}


class Store:
    """The run folder of a training, written by the first process.

    Args:
        out: the run folder.
        settings: how many checkpoints are kept, and how long the training is.
        world: the processes that train together.
    """

    def __init__(self, out: Path, settings: Settings, world: World) -> None:
        self.out, self.world = out, world
        self.metrics = out / "metrics.jsonl"
        self.checkpoints = out / "checkpoints"
        self.snapshots = out / "averages"
        self.keep = Keep(settings.keep)
        self.steps = settings.steps

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Be the only ones who train in the folder; what a killed process left is removed.

        Raises:
            InputError: if others train in it, or it cannot be made.
        """
        if not self.world.first:
            self.world.wait()
            yield
            return
        make_folder(self.out)
        with locked(self.out):
            for folder in (self.checkpoints, self.snapshots):
                checkpoint.tidy(folder)
            self.world.wait()
            yield

    def begin(self) -> int:
        """Begin at step 0.

        Raises:
            InputError: if the folder holds an earlier training.
        """
        if checkpoint.saved(self.checkpoints):
            raise InputError(f"{self.out} holds an earlier training; resume it, or go elsewhere")
        self.world.wait()
        if self.world.first:
            trim(self.metrics, 0)
        return 0

    def save(
        self,
        step: int,
        model: nn.ModuleDict,
        objective: nn.Module,
        players: Mapping[str, Player],
        kept: Mapping[str, EMA],
        held_loss: float | None,
    ) -> Saved:
        """Write everything that the training needs to go on from `step`."""
        files = {name: checkpoint.collect(parts(one.module())) for name, one in kept.items()}
        profiles = {name: files.pop(name) for name in list(files) if name.startswith("power-")}
        if profiles:  # before the checkpoint, which is resumed with them
            keep = Keep(EVERY, best=False)
            checkpoint.write(self.snapshots, step, profiles, None, keep, self.world)
        files["model"] = checkpoint.collect(model)
        files["training"] = _own(model, objective) | _optimisers(players)
        return checkpoint.write(self.checkpoints, step, files, held_loss, self.keep, self.world)

    def resume(
        self,
        model: nn.ModuleDict,
        objective: nn.Module,
        players: Mapping[str, Player],
        kept: Mapping[str, EMA],
    ) -> Saved | None:
        """Take up the last checkpoint, if there is one, and cut off the rows after it.

        Raises:
            InputError: if it does not fit, or is past the end of the training.
        """
        found = checkpoint.saved(self.checkpoints)
        if not found:
            self.begin()
            return None
        last = found[-1]
        if last.step > self.steps:
            raise InputError(f"{last.path} is past the {self.steps} steps asked for; ask for more")
        checkpoint.load(last.path, "model", checkpoint.collect(model))
        for name, average in kept.items():
            folder = self.snapshots / last.path.name if name.startswith("power-") else last.path
            checkpoint.load(folder, name, checkpoint.collect(parts(average.module())))
        keys = checkpoint.names(last.path, "training")
        for name, player in players.items():
            start = f"optimiser/{name}/"
            player.blank(key.removeprefix(start) for key in keys if key.startswith(start))
        checkpoint.load(last.path, "training", _own(model, objective) | _optimisers(players))
        self.world.wait()
        if self.world.first:
            trim(self.metrics, last.step)
        return last


def combined(folder: Path, widths: Sequence[float], step: int, wanted: str) -> dict[str, Tensor]:
    """The power-function average of a width at a step, from the snapshots in a folder.

    Args:
        folder: the `averages/` of a run.
        widths: of the snapshots.
        step: where the average ends.
        wanted: the width, as a word.

    Raises:
        InputError: if there are no snapshots, they are damaged, or the width is out of range.
    """
    found = [one for one in checkpoint.saved(folder) if one.step <= step]
    if not found or not widths:
        raise InputError(f"{folder} has no snapshots of averages; train with widths=0.05,0.1")
    try:
        width = float(wanted)
    except ValueError:
        raise InputError(f"power-{wanted}: the width of an average is a number") from None
    pairs = [(one, kept) for one in found for kept in widths]
    shares = posthoc([(one.step, kept) for one, kept in pairs], step, width)
    return checkpoint.combined(
        [
            (one.path, f"power-{kept:g}", share)
            for (one, kept), share in zip(pairs, shares, strict=True)
        ]
    )


def _own(model: nn.ModuleDict, objective: nn.Module) -> dict[str, Tensor]:
    """The state of the objective that is not the model's."""
    both = nn.ModuleDict({"model": model, "objective": objective})
    return {k: v for k, v in checkpoint.collect(both).items() if k.startswith("objective.")}


def _optimisers(players: Mapping[str, Player]) -> dict[str, Tensor]:
    return {
        f"optimiser/{name}/{key}": value
        for name, player in players.items()
        for key, value in player.state().items()
    }
