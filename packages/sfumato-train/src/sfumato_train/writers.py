"""Further places for the rows of a training: TensorBoard and Weights & Biases, both extras."""

from __future__ import annotations

__all__ = ["Writer", "opened"]

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import BaseModel

from sfumato import InputError
from sfumato.components import close_matches

Writer: TypeAlias = Callable[[Mapping[str, Any]], None]
"""Takes a row of `metrics.jsonl`."""


@contextmanager
def opened(names: Sequence[str], folder: Path, values: BaseModel) -> Iterator[list[Writer]]:
    """The writers of these names, closed when the block ends.

    Args:
        names: "tensorboard" (event files in `folder/tensorboard`), "wandb" (one run of the project
            "sfumato", or as its environment variables say; WANDB_MODE=offline needs no account).
        folder: the run folder.
        values: the recipe, told to wandb.

    Raises:
        InputError: for an unknown name, or one whose package is not installed.
    """
    with ExitStack() as stack:
        found = []
        for name in names:
            if name not in _WRITERS:
                close = close_matches(name, _WRITERS) or list(_WRITERS)
                raise InputError(f"there is no writer {name!r}; there is {' and '.join(close)}")
            try:
                found.append(stack.enter_context(_WRITERS[name](folder, values)))
            except ImportError as error:
                raise InputError(
                    f"the writer {name} needs {error.name}: pip install 'sfumato-train[{name}]'"
                ) from None
        yield found


def flat(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row by name: `loss`, `parts/name`; levels from 0, `held_levels/3`."""
    found: dict[str, float] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            found |= {f"{key}/{name}": number for name, number in value.items()}
        elif isinstance(value, list):
            found |= {f"{key}/{place}": number for place, (_, number) in enumerate(value)}
        else:
            found[key] = value
    return {key: value for key, value in found.items() if value is not None and key != "step"}


@contextmanager
def _tensorboard(folder: Path, values: BaseModel) -> Iterator[Writer]:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard")) as writer:

        def write(row: Mapping[str, Any]) -> None:
            for key, value in flat(row).items():
                writer.add_scalar(key, value, row["step"])

        yield write


@contextmanager
def _wandb(folder: Path, values: BaseModel) -> Iterator[Writer]:
    import wandb

    run = wandb.init(
        project="sfumato",
        name=folder.name,
        id=folder.absolute().as_posix().replace("/", "-")[-128:],
        resume="allow",
        dir=str(folder),
        config=values.model_dump(mode="json"),
    )
    try:
        yield lambda row: run.log(flat(row), step=row["step"])
    finally:
        run.finish()


_WRITERS = {"tensorboard": _tensorboard, "wandb": _wandb}
