"""What the command line knows of molecules."""

from __future__ import annotations

__all__ = ["MoleculeDomain", "domain"]

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from sfumato import Batch, Dataset, InputError
from sfumato_data.asking import spans
from sfumato_eval.report import Scene

from . import components, data, metrics, preview, writing
from .files import ORGANIC
from .state import molecules_of


class MoleculeDomain:
    """The `sfumato.domain.Domain` of molecules; see the functions that its methods call."""

    name: ClassVar[str] = "molecules"
    suffixes: ClassVar[Sequence[str]] = writing.WRITTEN

    def read(self, path: Path, **options: Any) -> Dataset:
        """Molecules at `path`; takes the options of `data.molecules_of_file`."""
        return data.molecules_of_file(Path(path), **options)

    def follow(self, path: Path, about: Mapping[str, Any], **options: Any) -> Dataset:
        """Other molecules for a model of data with the facts `about`, which they have to fit."""
        own = {k: v for k, v in options.items() if k not in ("dimensions", "conditions")}
        return data.molecules_of_file(Path(path), about=about, **own)

    def demo_path(self) -> Path:
        """The Chemical Component Dictionary of the wwPDB, as biotite has it."""
        return components.demo_path()

    def demo(self) -> Dataset:
        """Its molecules of C, H, N, O, F, S, P, Cl: three atoms or more, at most nine heavy."""
        return data.molecules_of_file(self.demo_path(), elements=ORGANIC, heavy=9, fewest=3)

    def write(self, batch: Batch, path: Path, about: Mapping[str, Any]) -> list[Path]:
        """The kind of file that the suffix says; an SD file in a folder."""
        made = molecules_of(batch.x, about)
        return writing.write(made, Path(path), explicit=bool(about["hydrogens"]))

    def preview(self, batch: Batch, path: Path, about: Mapping[str, Any]) -> Path:
        """Drawings of molecules."""
        return preview.preview(batch, Path(path), about)

    def scenes(self, batch: Batch, about: Mapping[str, Any]) -> Sequence[Scene]:
        """Molecules in space, to be turned in a report."""
        return preview.scenes(batch, about)

    def metrics(self, train: Dataset) -> Sequence[Any]:
        """Validity, stability, novelty, chemistry and geometry: see `metrics.metrics`."""
        return metrics.metrics(train)

    def condition(
        self, values: Mapping[str, str], n: int, about: Mapping[str, Any]
    ) -> Mapping[str, Tensor]:
        """What n samples are asked for with: `atoms=12`, `atoms=9..20`, `qed=0.8`, or nothing.

        The samples go through several values in turn. Without `atoms` the numbers of atoms are
        drawn from those of the training data. Properties that the model was told in training are
        all given or none is.

        Raises:
            InputError: for another condition, a number of atoms that training has not seen, a
                value that is no number or far from those of training, or only some properties.
        """
        known = about["conditions"]
        for name in values:
            if name != "atoms" and name not in known:
                there = ", ".join(["atoms", *known])
                raise InputError(f"there is no condition {name!r}; this model takes {there}")
        missing = [name for name in known if name not in values]
        if missing and len(missing) < len(known):
            raise InputError(f"{', '.join(missing)} is missing: give all properties or none")
        found = {
            name: _cycled(_numbers(name, values[name], about), n) for name in known if not missing
        }
        if "atoms" in values:
            sizes = _sizes(values["atoms"], about["sizes"])
            found["atoms"] = torch.tensor([sizes[i % len(sizes)] for i in range(n)])
        return found


def _cycled(values: Sequence[float], n: int) -> Tensor:
    return torch.tensor([values[i % len(values)] for i in range(n)])


def _numbers(name: str, text: str, about: Mapping[str, Any]) -> list[float]:
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"{name}={text} is no number, nor several with commas") from None
    low, high = (about["conditions"][name][side] for side in ("low", "high"))
    if not all(low - (high - low) <= value <= high + (high - low) for value in found):
        raise InputError(f"{name}={text}: in training it lies between {low:.4g} and {high:.4g}")
    return found


def _sizes(text: str, seen: Mapping[str, int]) -> list[int]:
    found: list[int] = []
    for span in spans("atoms", text, "atoms"):
        found += [n for n in span if str(n) in seen or len(span) == 1]
    unseen = [n for n in found if str(n) not in seen]
    if unseen or not found:
        sizes = [int(size) for size in seen]
        what = f"{unseen[0]} atoms were" if unseen else "none of these sizes was"
        raise InputError(
            f"atoms={text}: {what} not seen in training, whose molecules have {min(sizes)} to "
            f"{max(sizes)}"
        )
    return found


domain = MoleculeDomain()
