"""The loop: drives the players and turns of any objective, and can be stopped at any moment.

Everything random in a step is a function of (seed, step, turn, part of the batch), and everything
else is in the checkpoint, so that a run that was stopped and resumed ends with the same bits as one
that was not (on CPU; on GPUs as far as their kernels repeat themselves). Several processes share
the parts of each batch, so that their number changes nothing but the order of sums.
"""

from __future__ import annotations

__all__ = ["LEVELS", "Diverged", "Watch", "check_shares", "fit", "averaged", "spread"]

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sfumato import Batch, Dataset, InputError, Model, random, state
from sfumato_data import Batches, gather, groups_of, move, prefetched, select

from .checkpoint import Saved
from .ema import Trained, parts
from .guards import Watch, evaluating, interruptible, own_rng, reseed, throttled
from .journal import Diverged, Journal, Turn
from .parallel import Layout, recompute, replicated, shard
from .players import Player, rate
from .processes import ALONE, World
from .recipe import Settings, Training
from .store import Store, averages

HELD_ITEMS = 512
"""Held-out items that the validation loss is measured on."""

LEVELS = 10
"""Groups of held-out items, by noise level, whose losses are told apart."""

OnSave = Callable[[int, Trained], None]


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
    writers: Sequence[Callable[[Mapping[str, Any]], None]] = (),
    world: World = ALONE,
    layout: Layout = "replicate",
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
            weights where an average is kept; in every process.
        writers: take each row of `metrics.jsonl` as well, see `sfumato_train.writers`.
        world: the processes that train together; each calls `fit` with the same arguments.
        layout: whether each process has a copy of the weights (DDP) or a shard of them (FSDP2).

    Returns:
        The number of steps done, earlier ones included.

    Raises:
        Diverged: if a loss or a gradient is not finite; the last good checkpoint is kept.
        InputError: if `out` is being trained in by another process, holds an earlier training that
            is not to be resumed, its checkpoint does not fit, or the parts of a batch cannot be
            shared equally by the processes.
        KeyboardInterrupt: after Ctrl-C, when the step is finished and saved.
    """
    check_shares(settings, world)
    store = Store(out, settings, world)
    with store.claimed():
        loop = _Loop(training, settings, store, held, torch.device(device), world, layout)
        loop.on_save, loop.writers = on_save, writers
        return loop.run(minutes, resume, watch)


def averaged(training: Training, settings: Settings, out: Path) -> Model:
    """The model of a training run to its end: with averaged weights, in evaluation mode.

    Args:
        training: what a recipe built, of a `Model`.
        settings: how.
        out: the run folder.

    Raises:
        Diverged: see `fit`.
    """
    last: list[Trained] = []
    fit(training, settings, out, on_save=lambda step, model: last.append(model))
    model = last[-1]
    assert isinstance(model, Model)
    parts(model).eval()
    return model


def check_shares(settings: Settings, world: World) -> None:
    """Raise `InputError` unless the processes can share the parts of a batch equally."""
    if settings.accumulation % world.size or settings.batch < settings.accumulation:
        raise InputError(
            f"batches of {settings.batch} in {settings.accumulation} part(s) cannot be shared "
            f"equally by {world.size} processes; accumulation must be a multiple of their number "
            "and at most the batch"
        )


class _Loop:
    """What one call of `fit` holds together."""

    on_save: OnSave | None = None
    writers: Sequence[Callable[[Mapping[str, Any]], None]] = ()

    def __init__(
        self,
        training: Training,
        settings: Settings,
        store: Store,
        held: Dataset | None,
        device: torch.device,
        world: World,
        layout: Layout,
    ) -> None:
        self.settings, self.store, self.device, self.world = settings, store, device, world
        self.objective = training.objective.to(device)
        self.model = training.model
        self.modules = parts(training.model).to(device)
        self.averages = averages(training.model, settings)
        players = self.objective.players()
        if settings.recompute:
            recompute(self.objective)
        if layout == "shard":
            shard(self.objective, device)
            for average in self.averages.values():
                shard(parts(average.module()), device)
        copies = world.size > 1 and layout == "replicate"
        self.players = {
            name: Player(
                name,
                module,
                settings,
                replicated(self.objective, name, module)
                if copies
                else partial(self.objective.loss, name),
            )
            for name, module in players.items()
        }
        self.batches = Batches(training.data, settings.batch, settings.seed)
        self.held = _kept(held)
        lead = next(iter(self.players))
        self.journal = Journal(store.metrics, lead, settings.batch, world)
        self.last: Saved | None = None

    def run(self, minutes: float | None, resume: bool, watch: Watch | None) -> int:
        end = math.inf if minutes is None else time.monotonic() + 60 * minutes
        steps, done = self.settings.steps, self._resume() if resume else self.store.begin()
        tell = throttled(watch, steps)
        with (
            own_rng(self.device),
            interruptible() as interrupted,
            prefetched(self._read, done, steps) as batches,
        ):
            self.journal.rest()
            for batch in batches:
                self._step(done, [move(part, self.device) for part in batch])
                done += 1
                asked = self.world.any(interrupted() or time.monotonic() > end)
                over = done == steps or asked
                self._record(done, over or done % self.settings.save == 0)
                tell(done, self.journal.loss, self.journal.items_per_s, over=over)
                if over:
                    break
            if interrupted() and done < steps:
                raise KeyboardInterrupt(f"stopped at step {done}; {self._kept()}")
        return done

    def _read(self, step: int) -> list[Batch]:
        """This process's parts of the batch of a step."""
        index, count = self.batches.index(step), self.settings.accumulation
        ends = [k * len(index) // count for k in range(count + 1)]
        own = range(self.world.rank, count, self.world.size)
        return [self.batches.dataset.batch(index[ends[k] : ends[k + 1]]) for k in own]

    def _step(self, step: int, batch: list[Batch]) -> None:
        """One step of all players whose turn it is."""
        for turn, player in enumerate(self.objective.turns(step)):
            self._turn(step, turn, player, batch)
            self.objective.after(player, step)
        self.journal.step_done()
        for average in self.averages.values():
            average.update(step + 1)

    def _turn(self, step: int, turn: int, name: str, batch: list[Batch]) -> None:
        """Gather the gradients of a batch, part by part, and update one player."""
        player, seed = self.players[name], self.settings.seed
        sums: dict[str, Tensor] = {}
        for place, part in enumerate(batch):
            k = self.world.rank + place * self.world.size
            share = state.items(part.x) / self.settings.batch
            generator = random.derive(seed, "train", step, turn, k, device=self.device)
            reseed(random.derive(seed, "network", step, turn, k).initial_seed(), self.device)
            with nullcontext() if place == len(batch) - 1 else player.apart():
                loss = player.loss(part, generator)
                mean = loss.each.mean() * share
                player.add(mean * self.world.size)  # gradients are averaged over the processes
            found = {"loss": mean.detach()}
            found |= {key: value.detach().mean() * share for key, value in loss.parts.items()}
            sums = {key: sums[key] + value for key, value in found.items()} if sums else found
        norm = player.update(step)
        for one in self.players.values():
            one.clear()
        self.journal.note(Turn(step, name, sums.pop("loss"), norm, sums))

    def _record(self, done: int, save: bool) -> None:
        """Write a row and a checkpoint where it is time for them."""
        if not save and done % self.settings.log:
            return
        try:
            row = {"step": done, **self.journal.read(), "lr": rate(self.settings, done - 1)}
        except Diverged as error:
            raise Diverged(f"{error}; {self._kept()}; a smaller lr or clip may help") from None
        held = self._validate() if save else {}
        try:
            self._tell(row | held)
            if save:
                self._save(done, held.get("held_loss"))
        except OSError as error:
            raise InputError(
                f"the run could not be written at step {done} ({error.strerror or error}); "
                f"{self._kept()}"
            ) from error

    def _save(self, done: int, held_loss: float | None) -> None:
        self.last = self.store.save(
            done, self.modules, self.objective, self.players, self.averages, held_loss
        )
        if self.on_save:
            first = self.averages.get("ema")
            self.on_save(done, first.module() if first else self.model)
        self.journal.rest()

    def _tell(self, row: Mapping[str, Any]) -> None:
        self.journal.write(row)
        for write in self.writers:
            write(row)

    def _resume(self) -> int:
        self.last = self.store.resume(self.modules, self.objective, self.players, self.averages)
        return self.last.step if self.last else 0

    @torch.no_grad()
    def _validate(self) -> dict[str, Any]:
        """Validation loss with the averaged weights, whole and by noise level; always the same
        draws."""  # noqa: D205, D209
        if not self.held:
            return {}
        parts, size = self.settings.accumulation, self.settings.batch
        cut = (_cut(one, math.ceil(state.items(one.x) * parts / size)) for one in self.held)
        each: list[Tensor] = []
        clocks: list[Tensor] = []
        first = self.averages.get("ema")
        with evaluating(self.objective), first.applied() if first else nullcontext():
            for k, part in enumerate(chain.from_iterable(cut)):
                generator = random.derive(self.settings.seed, "held", k, device=self.device)
                found = self.objective.validate(move(part, self.device), generator)
                if found is None:
                    return {}
                each.append(found.each)
                clocks += [] if found.clock is None else [found.clock]
        loss = torch.cat(each).double()
        row: dict[str, Any] = {"held_loss": _number(loss.mean())}
        return row | ({"held_levels": _by_level(loss, torch.cat(clocks))} if clocks else {})

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


def _kept(held: Dataset | None) -> list[Batch]:
    """Some held-out items, from all over the set; one batch for each group that they are of."""
    if held is None or len(held) == 0:
        return []
    groups = groups_of(held)
    if groups is None:
        return [spread(held, HELD_ITEMS)]
    some = _places(len(held), HELD_ITEMS)
    there = dict.fromkeys(groups[i] for i in some)
    return [gather(held, [i for i in some if groups[i] == group]) for group in there]


def spread(data: Dataset, most: int) -> Batch:
    """Some items, at most so many, from all over a set."""
    return gather(data, _places(len(data), most))


def _places(count: int, most: int) -> list[int]:
    some = min(count, most)
    return [i * count // some for i in range(some)]


def _by_level(loss: Tensor, clock: Tensor) -> list[list[float | None]]:
    """[mean clock, mean loss] of `LEVELS` groups of items, from little noise to much."""
    order = clock.argsort()
    groups = zip(clock[order].chunk(LEVELS), loss[order].chunk(LEVELS), strict=True)
    return [[_number(one.mean()), _number(other.mean())] for one, other in groups]


def _number(value: Tensor) -> float | None:
    """A number that JSON can hold."""
    number = float(value)
    return number if math.isfinite(number) else None
