"""Runs: a recipe trained on data, in a folder that everything later is done from.

`recipe.json` (what, on which data, with which versions), `metrics.jsonl`, `checkpoints/`,
`previews/`, and `samples/` where the command line puts samples.
"""

from __future__ import annotations

__all__ = [
    "Follows", "Run", "domain_of", "fresh", "open_run", "read", "read_more", "write",
]  # fmt: skip

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import torch
from torch import nn

import sfumato
from sfumato import Batch, Dataset, Domain, InputError, Model, random, registry
from sfumato.components import UnknownName
from sfumato_data import Parted, groups_of, keys_of, sizes_of, spans_of, split, where

from . import checkpoint
from .checkpoint import Saved
from .devices import pick_device, set_precision
from .ema import Trained, parts
from .files import make_folder, read_json, write_json
from .guards import own_rng, reseed
from .recipe import CodecRecipe, Recipe
from .store import combined
from .words import parse_words

FORMAT = 1
"""Of recipe.json; older ones are brought up to date by `MIGRATIONS`."""

MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""From a format to the next: maps the content of recipe.json to the new content."""

LONGEST = 500
"""Characters of facts that an error shows."""

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes:
        path: the folder.
        name: registered name of the recipe, `images/digits`.
        recipe: the recipe with its values.
        domain: the domain of the recipe.
        about: facts of the data that the model is built from.
        data_path: where the data was read; None for that of the recipe or the domain.
        data_items: how many items it had.
    """

    path: Path
    name: str
    recipe: Recipe
    domain: Domain
    about: Mapping[str, Any]
    data_path: Path | None
    data_items: int

    def checkpoints(self) -> list[Saved]:
        """The checkpoints, ascending by step."""
        return checkpoint.saved(self.path / "checkpoints")

    def model(
        self,
        which: str = "ema",
        step: int | Literal["best"] | None = None,
        *,
        device: str | None = None,
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> Model:
        """The model of a checkpoint, in evaluation mode.

        Args:
            which: "ema", averaged weights (of a run that keeps none: the live ones); "live" ones;
                "ema-0.9999", a further average that the recipe names in `decays`; "power-0.1", the
                power-function average of any width, put together from those that the recipe names
                in `widths` (Karras et al. 2024, arXiv:2312.02696).
            step: of the checkpoint; "best" by validation loss; None: the last.
            device: where to put it; None: a GPU if there is one.
            precision: arithmetic of its network.

        Raises:
            InputError: if there are no such weights, or they are damaged or do not fit the recipe,
                or the run trained what draws no samples.
        """
        model = self.trained(which, step, device=device, precision=precision)
        if self.codes:
            raise InputError(
                f"{self.path} is a codec, which draws no samples; train a model of its latents "
                f"with codec={self.path}"
            )
        if not isinstance(model, Model):
            raise InputError(f"{self.path} is a run of {self.name}, which draws no samples")
        return model

    def codec(
        self,
        which: str = "ema",
        step: int | Literal["best"] | None = None,
        *,
        device: str | None = None,
    ) -> nn.Module:
        """The codec of a checkpoint, in evaluation mode: trained by the run, or used by it.

        Args:
            which: as of `model`, like the other arguments.
            step: see there.
            device: see there.

        Raises:
            InputError: as `model`, or if the run has no codec with weights.
        """
        found = self.trained(which, step, device=device)
        codec = found.codec if isinstance(found, Model) else found
        if not isinstance(codec, nn.Module) or not (self.codes or isinstance(found, Model)):
            raise InputError(
                f"{self.path} has no codec with weights; give a run of a codec such as images/kl"
            )
        return codec

    @property
    def codes(self) -> bool:
        """Whether what it trains is a codec."""
        return isinstance(self.recipe, CodecRecipe)

    def trained(
        self,
        which: str = "ema",
        step: int | Literal["best"] | None = None,
        *,
        device: str | None = None,
        precision: Literal["fp32", "bf16"] = "fp32",
    ) -> Trained:
        """What a checkpoint stores, whatever it is; arguments and errors as of `model`."""
        saved = self._saved(step)
        place = pick_device(device)
        model = fresh(self.recipe.seed, lambda: self.recipe.trained(self.about))
        modules = parts(model)
        targets = checkpoint.collect(modules)
        try:
            if which.startswith("power-"):
                width = which.removeprefix("power-")
                values = combined(self.path / "averages", self.recipe.widths, saved.step, width)
                checkpoint.fill(targets, values, f"{self.path / 'averages'}")
            else:
                checkpoint.load(saved.path, self._stem(which), targets)
        except InputError as error:
            raise InputError(f"{error}{_aged(self.path)}") from None
        set_precision(modules, precision)
        modules.to(place).eval().requires_grad_(False)
        return model

    def data(self) -> tuple[Dataset, Dataset]:
        """(train, held): training never saw an item of the second.

        Raises:
            InputError: if the data cannot be read, or is no longer what the run began with.
        """
        data = read(self.domain, self.recipe, self.data_path)
        if len(data) != self.data_items or data.about != self.about:
            what = f"the data at {self.data_path}" if self.data_path else "the data of the recipe"
            raise InputError(
                f"{what} is not what {self.path} began with: it has {len(data)} items and facts "
                f"{_short(data.about)}, then it had {self.data_items} and {_short(self.about)}"
            )
        return split(data, self.recipe.held, self.recipe.seed)

    def _stem(self, which: str) -> str:
        """The file of a checkpoint that holds these weights."""
        there = {"live": "model", "ema": "ema" if self.recipe.ema else "model"}
        there |= {f"ema-{decay:g}": f"ema-{decay:g}" for decay in self.recipe.decays}
        if which not in there:
            also = " and power-WIDTH" if self.recipe.widths else ""
            raise InputError(
                f"{self.path} has no weights {which!r}; there is {', '.join(there)}{also}"
            )
        return there[which]

    def _saved(self, step: int | Literal["best"] | None) -> Saved:
        found = self.checkpoints()
        if not found:
            raise InputError(f"{self.path} has no checkpoint yet; train it first")
        if step is None:
            return found[-1]
        if step == "best":
            return checkpoint.best(found) or found[-1]
        for one in found:
            if one.step == step:
                return one
        there = ", ".join(str(one.step) for one in found)
        raise InputError(f"{self.path} has no checkpoint of step {step}; there is {there}")


def open_run(path: Path | str) -> Run:
    """The run in a folder, its recipe rebuilt.

    Raises:
        InputError: if the folder is missing or is not a run, was written by a newer sfumato, or
            its recipe or domain is not installed or does not accept the stored values.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"{path} is not a folder; give the folder of a run")
    if not (path / "recipe.json").is_file():
        raise InputError(f"{path} is not a run: it holds no recipe.json")
    facts = _facts(path / "recipe.json")
    name, where = facts["recipe"], facts["data"]
    try:
        recipe_class = registry().load("recipe", name)
        recipe = parse_words(recipe_class, (), facts["values"])
        domain = domain_of(recipe_class)
    except UnknownName as error:
        raise InputError(
            f"{path} needs the recipe {name!r} and its domain: {error}; install {facts['plugin']}"
        ) from None
    except InputError as error:
        raise InputError(
            f"{path / 'recipe.json'} does not fit the recipe {name!r}: {error}{_aged(path)}"
        ) from None
    data_path = None if where["path"] is None else Path(where["path"])
    return Run(path, name, recipe, domain, facts["about"], data_path, where["items"])


def domain_of(recipe_class: type[Recipe]) -> Domain:
    """The domain that a recipe names; plugins announce a domain as an object or as its class."""
    found: Any = registry().load("domain", recipe_class.domain)
    domain: Domain = found() if isinstance(found, type) else found
    return domain


def fresh(seed: int, make: Callable[[], T]) -> T:
    """What `make` builds, with first weights that depend on the seed alone."""
    cpu = torch.device("cpu")
    with own_rng(cpu):
        reseed(random.derive(seed, "weights").initial_seed(), cpu)
        return make()


def read(domain: Domain, recipe: Recipe, path: Path | None) -> Dataset:
    """The data at a path, else what the recipe or the domain has; facts are as JSON keeps them.

    Raises:
        InputError: if it cannot be read, or is the recipe's own and was not fetched yet.
    """
    if path is None and recipe.known is not None:
        path = where(recipe.known)
        if path is None:
            raise InputError(
                f"the data set {recipe.known} is not fetched yet; `sfumato data get "
                f"{recipe.known}` does it, or name data of your own with --data"
            )
    if path is None and isinstance(domain, Illustrates):
        path = domain.demo_path()
    data = domain.demo() if path is None else domain.read(path, **recipe.reading())
    data = recipe.prepared(data)
    return _Plain(data, json.loads(json.dumps(dict(data.about))))


@runtime_checkable
class Illustrates(Protocol):
    """What a domain adds whose demo is read as any other data, by the fields of a recipe."""

    def demo_path(self) -> Path:
        """Where the data of `demo` is."""


@runtime_checkable
class Follows(Protocol):
    """What a domain adds whose reader makes something of the data, such as a vocabulary."""

    def follow(self, path: Path, about: Mapping[str, Any], **options: Any) -> Dataset:
        """Other data, read by what was made of the data with the facts `about`, which it keeps."""


def read_more(run: Run, path: Path) -> Dataset:
    """Other data at a path as that of a run was read; raises as `read` does."""
    if isinstance(run.domain, Follows):
        return run.domain.follow(path, run.about, **run.recipe.reading())
    return read(run.domain, run.recipe, path)


@dataclass(frozen=True, eq=False)
class _Plain:
    """A data set whose facts went through JSON, as those that a model is rebuilt from will."""

    source: Dataset
    about: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.source)

    def keys(self) -> Sequence[str] | None:
        return keys_of(self.source)

    def groups(self) -> Sequence[int] | None:
        return groups_of(self.source)

    def sizes(self) -> Sequence[int] | None:
        return sizes_of(self.source)

    def spans(self) -> Sequence[tuple[int, int]] | None:
        return spans_of(self.source)

    def test_part(self) -> Sequence[int] | None:
        return self.source.test_part() if isinstance(self.source, Parted) else None

    def batch(self, index: Sequence[int]) -> Batch:
        return self.source.batch(index)


def _short(about: Mapping[str, Any]) -> str:
    text = str(dict(about))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def write(run: Run) -> None:
    """Begin a run folder: write `recipe.json`, whole or not at all."""
    make_folder(run.path)
    owner = registry().find("recipe", run.name).owner
    write_json(
        run.path / "recipe.json",
        {
            "format": FORMAT,
            "recipe": run.name,
            "plugin": owner,
            "domain": run.recipe.domain,
            "values": run.recipe.model_dump(mode="json"),
            "about": run.about,
            "data": {"path": run.data_path and str(run.data_path), "items": run.data_items},
            "versions": {
                "sfumato": sfumato.__version__,
                owner: version(owner),
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        },
    )


def _aged(path: Path) -> str:
    """What to add to an error where a run was written with other versions than are installed."""
    facts = read_json(path / "recipe.json")
    owner, written = facts["plugin"], facts.get("versions", {})
    here = {"sfumato": sfumato.__version__, owner: version(owner)}
    old = [f"{name} {written.get(name)}" for name in here if written.get(name) != here[name]]
    if not old:
        return ""
    now = " and ".join(f"{name} {number}" for name, number in here.items())
    return f"; the run was written with {' and '.join(old)}, and installed is {now}"


def _facts(path: Path) -> dict[str, Any]:
    facts = read_json(path)
    written = facts.get("format")
    if not isinstance(written, int) or "recipe" not in facts:
        raise InputError(f"{path} is not the recipe of a run")
    if written > FORMAT:
        raise InputError(
            f"{path} has format {written}, which is newer than the {FORMAT} that this sfumato "
            "reads; update sfumato"
        )
    for older in range(written, FORMAT):
        facts = MIGRATIONS[older](facts)
    missing = {"plugin", "values", "about", "data"} - facts.keys()
    if missing:
        raise InputError(f"{path} is damaged: it lacks {', '.join(sorted(missing))}")
    return facts
