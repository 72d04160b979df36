"""The loop: drives the players and turns of any objective, and can be stopped at any moment.

Everything random in a step is a function of (seed, step, turn, part of the batch), and everything
else is in the checkpoint, so that a run that was stopped and resumed ends with the same bits as one
that was not (on CPU; on GPUs as far as their kernels repeat themselves).
"""

from __future__ import annotations

__all__ = ["Diverged", "Watch", "fit"]

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from sfumato import Batch, Dataset, InputError, Model, random, state
from sfumato_data import Batches, gather, move, prefetched, select

from . import checkpoint
from .checkpoint import Keep, Saved
from .ema import EMA, parts
from .files import locked, trim
from .guards import Watch, evaluating, interruptible, own_rng, reseed, throttled
from .journal import Diverged, Journal, Turn
from .players import Player, rate
from .recipe import Settings, Training

HELD_ITEMS = 512
"""Held-out items that the validation loss is measured on."""

OnSave = Callable[[int, Model], None]


def fit(
    training: Training,
    settings: Settings,
    out: Path,
    *,
    held: Dataset | None = None,
    device: str | torch.device = "cpu",
    minutes: float | None = None,
    resume: bool = False,
    watch: Watch | None = None,
    on_save: OnSave | None = None,
) -> int:
    """Train until `settings.steps` are done or the time is over.

    Args:
        training: what a recipe built; its modules are moved to the device and trained in place.
        settings: how.
        out: the run folder; `metrics.jsonl` and `checkpoints/` are written in it.
        held: items never trained on, for the validation loss.
        device: where to train.
        minutes: stop, with a checkpoint, after this long.
        resume: go on from the last checkpoint in `out`, if there is one.
        watch: is told how it proceeds.
        on_save: called after each checkpoint with (steps done, model), the model with the averaged
            weights where an average is kept.

    Returns:
        The number of steps done, earlier ones included.

    Raises:
        Diverged: if a loss or a gradient is not finite; the last good checkpoint is kept.
        InputError: if `out` is being trained in by another process, holds an earlier training that
            is not to be resumed, or its checkpoint does not fit.
        KeyboardInterrupt: after Ctrl-C, when the step is finished and saved.
    """
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        loop = _Loop(training, settings, out, held, torch.device(device), on_save)
        return loop.run(minutes, resume, watch)


class _Loop:
    """What one call of `fit` holds together."""

    def __init__(
        self,
        training: Training,
        settings: Settings,
        out: Path,
        held: Dataset | None,
        device: torch.device,
        on_save: OnSave | None,
    ) -> None:
        self.settings = settings
        self.device = device
        self.objective = training.objective.to(device)
        self.model = training.model
        self.modules = parts(training.model).to(device)
        self.players = {
            name: Player(name, module, settings)
            for name, module in self.objective.players().items()
        }
        self.ema = EMA(training.model, settings.ema) if settings.ema else None
        self.batches = Batches(training.data, settings.batch, settings.seed)
        self.held = _spread(held)
        self.folder = out / "checkpoints"
        self.journal = Journal(out / "metrics.jsonl", next(iter(self.players)), settings.batch)
        self.on_save = on_save
        self.last: Saved | None = None

    def run(self, minutes: float | None, resume: bool, watch: Watch | None) -> int:
        checkpoint.tidy(self.folder)
        end = math.inf if minutes is None else time.monotonic() + 60 * minutes
        steps, done = self.settings.steps, self._resume() if resume else self._begin()
        tell = throttled(watch, steps)
        with (
            own_rng(self.device),
            interruptible() as interrupted,
            prefetched(self.batches, done, steps) as batches,
        ):
            self.journal.rest()
            for batch in batches:
                self._step(done, move(batch, self.device))
                done += 1
                over = done == steps or interrupted() or time.monotonic() > end
                self._record(done, over or done % self.settings.save == 0)
                tell(done, self.journal.loss, self.journal.items_per_s, over=over)
                if over:
                    break
            if interrupted() and done < steps:
                raise KeyboardInterrupt(f"stopped at step {done}; {self._kept()}")
        return done

    def _step(self, step: int, batch: Batch) -> None:
        """One step of all players whose turn it is."""
        reseed(random.derive(self.settings.seed, "network", step).initial_seed(), self.device)
        for turn, player in enumerate(self.objective.turns(step)):
            self._turn(step, turn, player, batch)
            self.objective.after(player, step)
        self.journal.step_done()
        if self.ema:
            self.ema.update(step + 1)

    def _turn(self, step: int, turn: int, name: str, batch: Batch) -> None:
        """Gather the gradients of a batch, part by part, and update one player."""
        player, total = self.players[name], state.items(batch.x)
        sums: dict[str, Tensor] = {}
        for k, part in enumerate(_cut(batch, self.settings.accumulation)):
            share = state.items(part.x) / total
            seed = self.settings.seed
            generator = random.derive(seed, "train", step, turn, k, device=self.device)
            loss = self.objective.loss(name, part, generator)
            mean = loss.each.mean() * share
            player.add(mean)
            found = {"loss": mean.detach()}
            found |= {key: value.detach().mean() * share for key, value in loss.parts.items()}
            sums = {key: sums[key] + value for key, value in found.items()} if sums else found
        norm = player.update(step)
        self.journal.note(Turn(step, name, sums.pop("loss"), norm, sums))

    def _record(self, done: int, save: bool) -> None:
        """Write a row and a checkpoint where it is time for them."""
        if not save and done % self.settings.log:
            return
        try:
            row = {"step": done, **self.journal.read(), "lr": rate(self.settings, done - 1)}
        except Diverged as error:
            raise Diverged(f"{error}; {self._kept()}; a smaller lr or clip may help") from None
        if save:
            held_loss = self._validate()
            row |= {} if held_loss is None else {"held_loss": held_loss}
            self.journal.write(row)
            self._save(done, held_loss)
            self.journal.rest()
        else:
            self.journal.write(row)

    def _save(self, done: int, held_loss: float | None) -> None:
        files: dict[str, Mapping[str, Tensor]] = {
            "model": checkpoint.collect(self.modules),
            "training": self._own_state() | self._optimisers(),
        }
        if self.ema:
            files["ema"] = checkpoint.collect(parts(self.ema.module()))
        keep = Keep(self.settings.keep)
        self.last = checkpoint.write(self.folder, done, files, held_loss, keep)
        if self.on_save:
            self.on_save(done, self.ema.module() if self.ema else self.model)

    def _own_state(self) -> dict[str, Tensor]:
        """The state of the objective that is not the model's."""
        both = nn.ModuleDict({"model": self.modules, "objective": self.objective})
        return {k: v for k, v in checkpoint.collect(both).items() if k.startswith("objective.")}

    def _optimisers(self) -> dict[str, Tensor]:
        return {
            f"optimiser/{name}/{key}": value
            for name, player in self.players.items()
            for key, value in player.state().items()
        }

    def _begin(self) -> int:
        """Begin at step 0, in a folder that holds no earlier training."""
        if checkpoint.saved(self.folder):
            raise InputError(f"{self.folder} holds an earlier training; resume it, or go elsewhere")
        trim(self.journal.path, 0)
        return 0

    def _resume(self) -> int:
        """Take up the last checkpoint; returns its step, 0 if there is none."""
        found = checkpoint.saved(self.folder)
        if not found:
            return self._begin()
        self.last = last = found[-1]
        if last.step > self.settings.steps:
            raise InputError(
                f"{last.path} is past the {self.settings.steps} steps asked for; ask for more"
            )
        checkpoint.load(last.path, "model", self.modules)
        if self.ema:
            checkpoint.load(last.path, "ema", parts(self.ema.module()))
        values = checkpoint.read(last.path, "training")
        for name, player in self.players.items():
            start = f"optimiser/{name}/"
            mine = [key for key in values if key.startswith(start)]
            player.load({key.removeprefix(start): values.pop(key) for key in mine})
        checkpoint.fill(self._own_state(), values, f"{last.path / 'training.safetensors'}")
        trim(self.journal.path, last.step)
        return last.step

    @torch.no_grad()
    def _validate(self) -> float | None:
        """Mean validation loss with the averaged weights; the same draws every time."""
        if self.held is None:
            return None
        count = state.items(self.held.x) * self.settings.accumulation / self.settings.batch
        each: list[Tensor] = []
        with evaluating(self.objective), self.ema.applied() if self.ema else nullcontext():
            for k, part in enumerate(_cut(self.held, math.ceil(count))):
                generator = random.derive(self.settings.seed, "held", k, device=self.device)
                found = self.objective.validate(move(part, self.device), generator)
                if found is None:
                    return None
                each.append(found)
        value = float(torch.cat(each).mean())
        return value if math.isfinite(value) else None

    def _kept(self) -> str:
        if self.last is None:
            return "no checkpoint had been written"
        return f"kept is {self.last.path}, from which it can be resumed"


def _cut(batch: Batch, count: int) -> Iterator[Batch]:
    """A batch in `count` parts of (nearly) equal size; fewer if it has fewer items."""
    if count == 1:
        yield batch
        return
    for index in torch.arange(state.items(batch.x)).tensor_split(count):
        if len(index):
            yield select(batch, index)


def _spread(held: Dataset | None) -> Batch | None:
    """Some held-out items, from all over the set."""
    if held is None or len(held) == 0:
        return None
    count = min(len(held), HELD_ITEMS)
    return gather(held, [i * len(held) // count for i in range(count)])
