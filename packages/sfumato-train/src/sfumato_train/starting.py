"""Beginning a run, and going on with one."""

from __future__ import annotations

__all__ = ["Shows", "start"]

import copy
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch

from sfumato import Batch, Dataset, InputError, Model, random, registry
from sfumato_data import Batches, move, sizes_of, split

from .coding import side_by_side
from .devices import fitting_batch, pick_device, resolve_precision, set_precision
from .drawing import draw
from .ema import Trained, parts
from .guards import Watch, evaluating, own_rng
from .linked import kept
from .loop import check_shares, fit, spread
from .pairing import asked, is_paired, restored
from .parallel import Layout
from .processes import World, joined
from .recipe import Recipe, Training
from .runs import Run, domain_of, fresh, open_run, read, write
from .words import parse_words
from .writers import opened

PREVIEW_ITEMS = 16
"""Samples in the picture that is made at each checkpoint."""

FREE = ("steps", "log", "save", "keep")
"""Fields that may change when a run goes on; all others would make it another run."""


@runtime_checkable
class Shows(Protocol):
    """What a module adds that neither draws nor codes, and has something to show."""

    def shown(self, batch: Batch) -> Batch:
        """Items with what it says of them, on the CPU, as the domain's `preview` takes them."""


def start(
    recipe_name: str,
    words: Sequence[str] = (),
    data_path: Path | str | None = None,
    out: Path | str | None = None,
    *,
    resume: bool = False,
    device: str | None = None,
    precision: Literal["auto", "fp32", "bf16"] | None = None,
    minutes: float | None = None,
    batch: int | None = None,
    watch: Watch | None = None,
    writers: Sequence[str] = (),
    layout: Layout = "replicate",
) -> Path:
    """Train a recipe and return the run folder.

    Under torchrun all processes train the one run together; each calls this function.

    Args:
        recipe_name: `plugin/name` of a registered recipe.
        words: `key=value` fields of the recipe.
        data_path: given to the `read` of the recipe's domain; None: the data set that the recipe
            knows, else the `demo()` of the domain.
        out: the run folder, new or empty; None: the first free `runs/<name>-<i>`.
        resume: go on with the run in `out`, exactly. Data and fields are those it began with;
            `words` may change `steps`, `log`, `save` and `keep`. A folder without a run begins one.
        device: "cpu", "cuda", "cuda:1"; None: a GPU if there is one.
        precision: overrides the field of the recipe.
        minutes: stop cleanly, with a checkpoint, after this long.
        batch: items in memory at a time: the batch of the recipe is cut into parts whose gradients
            add up. None: the `accumulation` of the recipe, or more parts where memory is short.
        watch: is told how the training proceeds.
        writers: names of further places for the rows of `metrics.jsonl`: see `writers`.
        layout: whether each process has a copy of the weights (DDP) or a shard of them (FSDP2);
            may change when a run goes on, as the number of processes may.

    Raises:
        InputError: for an unknown recipe or field (with close matches), a value of the wrong type
            or range, data that cannot be read or has changed, a folder that already holds a run.
        Diverged: (an InputError) a loss or gradient is no longer finite; the message names step
            and cause and the last good checkpoint, which is kept.
        KeyboardInterrupt: after Ctrl-C, once the run is saved; its text says what was kept.
    """
    if minutes is not None and not minutes > 0:
        raise InputError(f"minutes must be positive, but is {minutes}")
    if batch is not None and batch < 1:
        raise InputError(f"batch must be at least 1, but is {batch}")
    if layout == "shard" and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        raise InputError("shards of the weights need several processes; start them with torchrun")
    world = joined()
    place = pick_device(device, world.local if world.size > 1 else None)
    recipe_class = registry().load("recipe", recipe_name)
    if precision is not None:
        words = [*words, f"precision={precision}"]
    folder = _agreed(recipe_name, world) if out is None else Path(out)
    if not world.first:
        world.wait()  # until the first process has begun the run
        run, training, held = _built(open_run(folder))
    elif resume and (folder / "recipe.json").exists():
        run, training, held = _built(
            _continued(folder, recipe_name, words, data_path, batch, world)
        )
    else:
        _must_be_new(folder)
        recipe = parse_words(recipe_class, words)
        run, training, held = _begun(folder, recipe_name, recipe, data_path, place, batch, world)
    if world.first:
        world.wait()
    shown = held if len(held) else training.data
    set_precision(training.objective, "bf16" if run.recipe.precision == "bf16" else "fp32")
    with opened(writers if world.first else (), folder, run.recipe) as rows:
        fit(
            training,
            run.recipe,
            folder,
            held=held,
            device=place,
            minutes=minutes,
            resume=resume,
            watch=watch if world.first else None,
            on_save=lambda step, model: _preview(run, step, model, shown, world),
            writers=rows,
            world=world,
            layout=layout,
        )
    return folder


def _built(run: Run) -> tuple[Run, Training, Dataset]:
    """A run, what it trains, and its held-out data."""
    train, held = run.data()
    recipe = kept(run)
    return run, fresh(recipe.seed, lambda: recipe.build(train)), held


def _begun(
    folder: Path,
    name: str,
    recipe: Recipe,
    data_path: Path | str | None,
    place: torch.device,
    batch: int | None,
    world: World,
) -> tuple[Run, Training, Dataset]:
    """A new run on disk, and the same of it."""
    domain = domain_of(type(recipe))
    source = None if data_path is None else Path(data_path).absolute()
    data = read(domain, recipe, source)
    train, held = split(data, recipe.held, recipe.seed)
    if not len(train):
        raise InputError(
            f"the data has {len(data)} items, all of which are held out; held=0 trains on them all"
        )
    training = fresh(recipe.seed, lambda: recipe.build(train))
    precision = resolve_precision(recipe.precision, place)
    set_precision(training.objective, precision)
    asked = batch or _fitting(recipe, training, place)
    least = max(math.ceil(recipe.batch / asked), 1 if batch else recipe.accumulation)
    settled = {"precision": precision, "accumulation": _shares(least, world)}
    recipe = recipe.model_copy(update=settled)
    check_shares(recipe, world)
    run = Run(folder, name, recipe, domain, data.about, source, len(data))
    write(run)
    return run, training, held


def _continued(
    folder: Path,
    name: str,
    words: Sequence[str],
    data_path: Path | str | None,
    batch: int | None,
    world: World,
) -> Run:
    """The run in a folder, with the fields that may change changed.

    Raises:
        InputError: if what is asked for would make it another run.
    """
    run = open_run(folder)
    if run.name != name:
        raise InputError(f"{folder} holds a run of {run.name!r}; {name!r} cannot go on with it")
    if data_path is not None and Path(data_path).absolute() != run.data_path:
        raise InputError(f"{folder} was begun with the data at {run.data_path}, not {data_path}")
    recipe = parse_words(type(run.recipe), words, run.recipe.model_dump(mode="json"))
    for field in type(recipe).model_fields:
        was, asked = getattr(run.recipe, field), getattr(recipe, field)
        if field not in FREE and was != asked and (field, asked) != ("precision", "auto"):
            raise InputError(
                f"{folder} was begun with {field}={was} and cannot go on with {asked}; when a run "
                f"is resumed only {', '.join(FREE)} may change"
            )
    if batch is not None and _shares(recipe.batch / batch, world) != recipe.accumulation:
        raise InputError(
            f"{folder} was begun with batches in {recipe.accumulation} part(s), and batch={batch} "
            "would change that; leave it out"
        )
    changed = {field: getattr(recipe, field) for field in FREE}
    recipe = run.recipe.model_copy(update=changed)
    if recipe != run.recipe:
        run = replace(run, recipe=recipe)
        if world.first:
            write(run)
    return run


def _shares(least: float, world: World) -> int:
    """The least number of parts of a batch that the processes can share equally."""
    return world.size * math.ceil(least / world.size)


def _fitting(recipe: Recipe, training: Training, place: torch.device) -> int:
    """How many items of a batch can be processed at once."""
    probe = copy.deepcopy(training.objective).to(place)
    weights = [*probe.parameters(), *probe.buffers()]

    def once(items: int) -> object:
        batch = move(_greatest(training.data, items, recipe.seed), place)
        generator = random.derive(recipe.seed, "fit", device=place)
        return [probe.loss(player, batch, generator) for player in probe.players()]

    # gradient, two moments, the average and the training's own copy
    reserve = 5 * sum(w.nbytes for w in weights)
    with own_rng(place):
        return fitting_batch(once, recipe.batch, place, weights, reserve)


def _greatest(data: Dataset, items: int, seed: int) -> Batch:
    """So many items of which no batch takes more memory."""
    sizes = sizes_of(data)
    if sizes is None:
        return Batches(data, items, seed)(0)
    return data.batch(np.resize(np.argsort(sizes)[::-1], items).tolist())


def _must_be_new(folder: Path) -> None:
    if folder.is_dir() and (folder / "recipe.json").exists():
        raise InputError(f"{folder} already holds a run; resume it, or choose another folder")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is not an empty folder; a run needs a new or an empty one")


def _agreed(name: str, world: World) -> Path:
    """The first folder `runs/<name>-<i>` that is not there, the same for all processes."""
    tail = name.rpartition("/")[2]
    number = next(i for i in count(1) if not (Path("runs") / f"{tail}-{i}").exists())
    number = int(world.total(torch.tensor(number if world.first else 0)))
    return Path("runs") / f"{tail}-{number}"


def _preview(run: Run, step: int, model: Trained, held: Dataset, world: World) -> None:
    """Draw a few samples, the same noise every time, and let the domain show them.

    Of a codec, held-out items are shown, each before what becomes of it; of a model of pairs, what
    it makes of held-out sources; of a module of any other kind, what it says of held-out items
    (`Shows`), or nothing. All processes draw, since the weights may be spread over them; the first
    one shows.
    """
    with evaluating(parts(model)):
        if isinstance(model, Model) and is_paired(run.about):
            pairs = asked(held, held, PREVIEW_ITEMS)
            made = draw(model, PREVIEW_ITEMS, condition=pairs.condition, batch=PREVIEW_ITEMS)
            samples = restored(made, pairs)
        elif isinstance(model, Model):
            condition = run.domain.condition({}, PREVIEW_ITEMS, run.about)
            samples = draw(model, PREVIEW_ITEMS, condition=condition, batch=PREVIEW_ITEMS)
        elif run.codes:
            samples = side_by_side(model, spread(held, PREVIEW_ITEMS // 2), run.recipe.seed)
        elif isinstance(model, Shows):
            samples = model.shown(spread(held, PREVIEW_ITEMS))
        else:
            return
    if not world.first:
        return
    folder = run.path / "previews"
    folder.mkdir(exist_ok=True)
    run.domain.preview(samples, folder / f"step-{step:06d}.png", run.about)
