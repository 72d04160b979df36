"""Recipe: poses of ligands, by diffusion of translation, rotation and torsions."""

from __future__ import annotations

__all__ = ["Docked"]

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from sfumato import Dataset, Model
from sfumato_data import gather
from sfumato_methods import grids
from sfumato_train import Recipe, Training

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
