"""How a run refers to what another run trained: by path and by hash of its weights."""

from __future__ import annotations

__all__ = [
    "CodecOf", "Linked", "LinkedModel", "ModelOf", "digest", "kept", "linked_model", "links",
]  # fmt: skip

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict
from torch import nn

from sfumato import Codec, InputError, Model, registry

from . import checkpoint
from .ema import parts
from .recipe import CodecRecipe, Recipe
from .runs import Run, open_run
from .words import parse_words


class _Link(BaseModel):
    """Where weights are, what they are, and how their module is built.

    What it says is stored with the run that uses it, whose checkpoints hold the weights too; so
    that run needs the other one no more once it has a checkpoint.

    Attributes:
        path: of the run, absolute.
        sha256: of the weights, see `digest`.
        recipe: registered name of the recipe that builds it.
        values: fields of that recipe.
        about: facts of the data that it was trained on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    sha256: str
    recipe: str
    values: dict[str, Any]
    about: dict[str, Any]

    def __str__(self) -> str:
        return self.path


class CodecOf(_Link):
    """A trained codec.

    A recipe has it as a field of type `Linked`, whose word is the path of a run: `codec=runs/kl`.
    """

    @classmethod
    def of(cls, path: Path | str) -> CodecOf:
        """The codec of a run: of one that trained it, or of one that used it.

        Raises:
            InputError: if there is no run with a checkpoint, or it has no codec with weights.
        """
        run = open_run(path)
        weights = digest(run.codec(device="cpu"))
        at = str(Path(path).absolute())
        for _, used in links(run.recipe):
            if isinstance(used, CodecOf):
                return used.model_copy(update={"path": at, "sha256": weights})
        values = run.recipe.model_dump(mode="json")
        about = dict(run.about)
        return cls(path=at, sha256=weights, recipe=run.name, values=values, about=about)

    def blank(self, about: Mapping[str, Any]) -> nn.Module:
        """The module for data with these facts, its weights fresh, to be filled by a checkpoint.

        Raises:
            InputError: if its recipe is not installed, or it codes data of other channels.
        """
        if about["channels"] != self.about["channels"]:
            raise InputError(
                f"the codec of {self.path} codes data of {self.about['channels']} channel(s), and "
                f"this data has {about['channels']}"
            )
        recipe = parse_words(registry().load("recipe", self.recipe), (), self.values)
        if not isinstance(recipe, CodecRecipe):
            raise InputError(f"{self.recipe!r} is no recipe of a codec, as {self.path} says it is")
        return recipe.codec({**self.about, **about}).eval().requires_grad_(False)

    def check(self) -> nn.Module:
        """The codec of the run, with its weights.

        Raises:
            InputError: if the run is gone, or its codec is not the one that was linked.
        """
        if not Path(self.path).is_dir():
            raise InputError(
                f"the codec at {self.path} is gone, and this run has no checkpoint with its weights"
            )
        found = open_run(self.path).codec(device="cpu")
        if digest(found) != self.sha256:
            raise InputError(
                f"the codec at {self.path} has changed: its weights are no longer those that were "
                "linked; begin a new run, or put the old codec back"
            )
        return found

    def fill(self, module: nn.Module) -> None:
        """Give a module from `blank` the weights of the run; raises as `check` does."""
        checkpoint.fill(checkpoint.collect(module), checkpoint.collect(self.check()), self.path)


class ModelOf(_Link):
    """A trained model, whose averaged weights another run begins with, or draws with.

    A recipe has it as a field of type `LinkedModel`, whose word is the path of a run.
    """

    @classmethod
    def of(cls, path: Path | str) -> ModelOf:
        """The model of a run.

        Raises:
            InputError: if there is no run with a checkpoint, or it trained a codec.
        """
        run = open_run(path)
        return cls(
            path=str(Path(path).absolute()),
            sha256=digest(parts(run.model(device="cpu"))),
            recipe=run.name,
            values=run.recipe.model_dump(mode="json"),
            about=dict(run.about),
        )

    def check(self) -> Model:
        """The model of the run, on the CPU, in evaluation mode.

        Raises:
            InputError: if the run is gone, or its weights are not those that were linked.
        """
        if not Path(self.path).is_dir():
            raise InputError(f"the run {self.path}, whose weights this one needs, is gone")
        found = open_run(self.path).model(device="cpu")
        if digest(parts(found)) != self.sha256:
            raise InputError(
                f"the weights of {self.path} are no longer those that were linked; begin a new run"
            )
        return found

    def fill(self, module: nn.Module) -> None:
        """Give the parts of a model the weights of the run.

        Raises:
            InputError: as `check` does, or if its model is of another form.
        """
        found = checkpoint.collect(parts(self.check()))
        checkpoint.fill(checkpoint.collect(module), found, self.path)


def _resolved(value: Any) -> Any:
    return CodecOf.of(value) if isinstance(value, str | Path) else value


Linked = Annotated[CodecOf, BeforeValidator(_resolved)]
"""Type of a recipe's field that names a trained codec by the path of its run."""


def linked_model(value: Any) -> ModelOf:
    """A link from the path of a run, from what is stored of one, or as it is."""
    return ModelOf.of(value) if isinstance(value, str | Path) else ModelOf.model_validate(value)


LinkedModel = Annotated[ModelOf, BeforeValidator(linked_model)]
"""Type of a recipe's field that names a trained model by the path of its run."""


def kept(run: Run) -> Recipe:
    """The recipe of a run that goes on, what it is linked to read from the run's own checkpoint.

    Raises:
        InputError: if the codec is still where it was, but has changed.
    """
    for name, link in links(run.recipe):
        if not run.checkpoints():
            continue
        if not isinstance(link, CodecOf):
            return run.recipe.model_copy(update={name: None})
        if Path(link.path).is_dir():
            link.check()
        own = link.model_copy(update={"path": str(run.path)})
        return run.recipe.model_copy(update={name: own})
    return run.recipe


def links(recipe: Recipe) -> list[tuple[str, CodecOf | ModelOf]]:
    """The fields of a recipe that are linked to another run."""
    found = ((name, getattr(recipe, name)) for name in type(recipe).model_fields)
    return [(name, value) for name, value in found if isinstance(value, CodecOf | ModelOf)]


def digest(codec: Codec | nn.Module) -> str:
    """SHA-256 of the names, kinds, shapes and bytes of a module's weights and buffers."""
    assert isinstance(codec, nn.Module)
    total = hashlib.sha256()
    for name, value in sorted(checkpoint.collect(codec).items()):
        host = value.detach().cpu().contiguous()
        total.update(f"{name} {host.dtype} {tuple(host.shape)} ".encode())
        total.update(host.numpy().tobytes())
    return total.hexdigest()
