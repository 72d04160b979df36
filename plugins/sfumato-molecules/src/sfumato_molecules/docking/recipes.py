"""Recipes: poses by diffusion of translation, rotation and torsions, and how sure they are."""

from __future__ import annotations

__all__ = ["Confidence", "Docked"]

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, field_validator

from sfumato import Dataset, InputError, Model, registry
from sfumato_data import gather, split
from sfumato_methods import grids
from sfumato_train import Recipe, Training, open_run
from sfumato_train.devices import pick_device
from sfumato_train.ema import parts
from sfumato_train.linked import LinkedModel, ModelOf

from . import drawn
from .confidence import ConfidenceNetwork, ConfidenceObjective
from .data import DEMO, POCKET
from .latents import Latents
from .nn import ForceNetwork
from .process import Docking, DockingDenoiser, DockingObjective, walk


class Docked(Recipe):
    """Docks ligands to receptors: parts of molecules (demo), or your own complexes.

    Translation, rotation and torsions are noised (Corso et al. 2022, DiffDock, arXiv:2210.01776),
    and denoised by an equivariant network, which may have discrete latents that each pick an atom
    (Xu et al. 2024, DisCo-Diff, arXiv:2407.03300).
    """

    domain: ClassVar[str] = "molecules/docking"

    pocket: float = Field(POCKET, gt=0, description="angstrom around the ligand that are seen")
    most: int = Field(DEMO, ge=1, description="molecules of the demo that are cut in two")
    latents: int = Field(0, ge=0, le=8, description="discrete latents; 0: none")
    reach: float | None = Field(
        None, gt=0.1, description="angstrom, largest noise of translations; none: 1.5 x the data's"
    )
    eta: float = Field(
        1.0, ge=0, le=1, description="share of fresh noise in sampling; 0: probability flow"
    )
    width: int = Field(64, ge=8, description="channels of the network")
    depth: int = Field(4, ge=1, description="layers of the network")
    radius: float | None = Field(
        7.0, gt=0, description="angstrom; atoms farther apart send no messages"
    )
    sampling_steps: int = Field(20, ge=1, description="steps of the sampler")

    batch: int = Field(32, ge=1, description="complexes in each step")
    steps: int = Field(3000, ge=1, description="optimiser steps")
    lr: float = Field(4e-3, gt=0, le=1, description="peak learning rate of AdamW")
    ema: float = Field(0.995, ge=0, lt=1, description="decay of the averaged weights; 0: none kept")

    def reading(self) -> Mapping[str, Any]:
        return {"pocket": self.pocket, "most": self.most}

    def model(self, about: Mapping[str, Any]) -> Model:
        elements = len(about["elements"])
        latents = None
        if self.latents:
            latents = Latents(
                self.latents, elements, width=max(8, self.width // 2),
                depth=max(1, self.depth // 2), radius=self.radius,
            )  # fmt: skip
        spread = float(about["spread"])
        process = Docking(self.reach or 1.5 * spread, about["sizes"], latents)
        net = ForceNetwork(
            elements, self.latents, width=self.width, depth=self.depth, radius=self.radius
        )
        return Model(
            process=process,
            denoiser=DockingDenoiser(net, process, spread),
            sampler=walk(self.eta),
            grid=grids.uniform,
            steps=self.sampling_steps,
            blank=process.examples.blank,
        )

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        assert isinstance(model.process, Docking)
        assert isinstance(model.denoiser, DockingDenoiser)
        some = range(0, len(data), max(1, len(data) // 256))
        model.process.examples.fill(gather(data, some).x)
        return Training(DockingObjective(model.process, model.denoiser, self.steps), data, model)


class Confidence(Recipe):
    """Tells how likely a pose is within 2 angstrom of the truth, to rank poses by it.

    It learns from poses that a run of molecules/docking draws of its own data (Corso et al. 2022,
    DiffDock, arXiv:2210.01776, section 3.4). They are drawn before the first step, on a GPU if
    there is one, and kept in the folder of that run. What it held out stays held out.
    """

    domain: ClassVar[str] = "molecules/docking"

    docking: LinkedModel | None = Field(
        None, description="path of the run of molecules/docking that draws the poses"
    )
    draws: int = Field(4, ge=1, le=1000, description="poses of each complex")
    held: float | None = Field(None, description="none: what the run of molecules/docking held out")
    width: int = Field(48, ge=8, description="channels of the network")
    depth: int = Field(3, ge=1, description="layers of the network")
    radius: float | None = Field(
        7.0, gt=0, description="angstrom; atoms farther apart send no messages"
    )

    batch: int = Field(32, ge=1, description="poses in each step")
    steps: int = Field(3000, ge=1, description="optimiser steps")
    lr: float = Field(4e-3, gt=0, le=1, description="peak learning rate of AdamW")
    ema: float = Field(0.995, ge=0, lt=1, description="decay of the averaged weights; 0: none kept")

    @field_validator("docking")
    @classmethod
    def _docks(cls, link: ModelOf | None) -> ModelOf | None:
        if link is not None and not issubclass(registry().load("recipe", link.recipe), Docked):
            raise InputError(
                f"{link.path} is a run of {link.recipe}, which makes no poses; train "
                "molecules/docking for that"
            )
        return link

    @field_validator("held")
    @classmethod
    def _apart(cls, held: float | None) -> float | None:
        if held is not None:
            raise InputError(
                "what the run of molecules/docking held out is held out, no other share"
            )
        return held

    def reading(self) -> Mapping[str, Any]:
        return {name: self._drawer().values[name] for name in ("pocket", "most")}

    def _drawer(self) -> ModelOf:
        if self.docking is None:
            raise InputError("poses are drawn by a run of molecules/docking; give docking=RUN")
        return self.docking

    def prepared(self, data: Dataset) -> Dataset:
        """The poses of the complexes, drawn now unless they were before.

        Raises:
            InputError: if the data are not those of the run that draws, or it is gone or changed.
        """
        link = self._drawer()
        if dict(data.about) != link.about:
            where = open_run(link.path).data_path
            raise InputError(
                f"these are not the complexes that {link.path} was trained on; "
                + (f"give --data {where}" if where else "leave --data out")
            )
        apart = split(data, link.values["held"], link.values["seed"])[1].index
        name = f"{link.sha256[:16]}-{self.draws}-{self.seed}.safetensors"
        path = Path(link.path, "poses", name)
        if not path.is_file():
            model = link.check()
            parts(model).to(pick_device(None))
            drawn.save(drawn.drawn(model, data, self.draws, self.seed), path)
        return drawn.load(path, data, self.draws, apart)

    def trained(self, about: Mapping[str, Any]) -> ConfidenceNetwork:
        return ConfidenceNetwork(
            len(about["elements"]), width=self.width, depth=self.depth, radius=self.radius
        )

    def build(self, data: Dataset) -> Training:
        net = self.trained(data.about)
        return Training(ConfidenceObjective(net), data, net)
