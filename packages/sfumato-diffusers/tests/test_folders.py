"""Loading from folders: what is there is loaded, what is wrong is told in one sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMPipeline
from safetensors.torch import load_file, save_file

from sfumato import InputError, Unsupported, sample
from sfumato_diffusers import SfumatoScheduler, from_pipeline, load
from sfumato_methods.solvers import DPMSolverPP

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(unet: Any, tmp_path: Path) -> Path:
    """A saved pipeline."""
    DDPMPipeline(unet(), DDIMScheduler()).save_pretrained(tmp_path / "pipe")
    return tmp_path / "pipe"


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def draw(model: Any) -> torch.Tensor:
    return sample(
        model.process, model.denoiser, model.blank(2, torch.Generator()), sampler=model.sampler,
        grid=model.grid(model.process, 4), generator=torch.Generator().manual_seed(0),
    )  # fmt: skip


def test_a_pipeline_a_network_and_a_saved_sampler_of_ours(folder: Path, tmp_path: Path) -> None:
    model = load(folder)
    whole = draw(model)
    assert whole.shape == (2, 1, 8, 8)
    alone = load(folder / "unet", scheduler=DDIMScheduler())
    assert torch.equal(draw(alone), whole)
    assert draw(load(folder, size=(16, 8))).shape == (2, 1, 16, 8)
    pipe = DDPMPipeline.from_pretrained(folder)
    pipe.scheduler = SfumatoScheduler.from_scheduler(pipe.scheduler, DPMSolverPP(), grid="logsnr")
    pipe.save_pretrained(tmp_path / "ours")
    again = load(tmp_path / "ours")
    assert again.sampler == DPMSolverPP()
    assert torch.equal(draw(again), draw(from_pipeline(pipe)))
    assert isinstance(DDPMPipeline.from_pretrained(tmp_path / "ours").scheduler, SfumatoScheduler)


def missing_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def pickled_weights(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "unet/diffusion_pytorch_model.bin")


def cut_weights(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:1000])


def a_weight_less(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    del weights["conv_in.weight"]
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


def a_weight_of_another_shape(folder: Path) -> None:
    weights = load_file(folder / WEIGHTS)
    weights["conv_in.weight"] = torch.zeros(3, 3)
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})


BROKEN = {
    "weights": (missing_weights, "unet has no weights: a .safetensors file is missing"),
    "pickle": (pickled_weights, r"weights pickled \(diffusion_pytorch_model.bin\), and a pickle"),
    "cut": (cut_weights, "cannot be loaded"),
    "lacks": (a_weight_less, "lacks 1 weights of a UNet2DModel, the first of them conv_in.weight"),
    "shape": (a_weight_of_another_shape, "cannot be loaded"),
    "config": (
        lambda f: (f / "unet/config.json").unlink(),
        "unet has no configuration: a config.json is missing",
    ),
    "part": (lambda f: shutil.rmtree(f / "scheduler"), "names the part scheduler, but there is no"),
    "index": (
        lambda f: (f / "model_index.json").unlink(),
        "has neither a model_index.json",
    ),
    "json": (lambda f: (f / "model_index.json").write_text("{"), "is no JSON file"),
    "scheduler": (
        lambda f: edit(f / "model_index.json", scheduler=["diffusers", "FooScheduler"]),
        "names the unknown scheduler FooScheduler of diffusers",
    ),
    "network": (
        lambda f: edit(f / "model_index.json", unet=["diffusers", "UNet9DModel"]),
        "names the unknown class UNet9DModel of diffusers",
    ),
    "library": (
        lambda f: edit(f / "model_index.json", unet=["os", "system"]),
        "names the unknown class system of os",
    ),
    "pipeline": (
        lambda f: edit(f / "model_index.json", _class_name="MyPipeline"),
        "names the unknown class MyPipeline",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_folder_is_told_in_one_sentence(what: str, folder: Path) -> None:
    damage, message = BROKEN[what]
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_other_sources_are_told_in_one_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give the scheduler that it was trained with"):
        load(folder / "unet")
    with pytest.raises(InputError, match="is neither a folder nor the name of a repository"):
        load(tmp_path / "nowhere")
    with pytest.raises(InputError, match="nobody/nothing cannot be loaded from the hub"):
        load("nobody/nothing", offline=True)


def test_schedulers_and_options_without_a_counterpart(folder: Path) -> None:
    edit(folder / "model_index.json", scheduler=["diffusers", "LCMScheduler"])
    with pytest.raises(Unsupported, match="LCMScheduler is not a scheduler that"):
        load(folder)
    pipe = DDPMPipeline.from_pretrained(folder)
    for options, message in [
        ({"prediction_type": "score"}, "prediction_type 'score' is not read"),
        ({"rescale_betas_zero_snr": True}, "pure noise, of which a network that predicts"),
    ]:
        with pytest.raises((InputError, Unsupported), match=message):
            from_pipeline(pipe, scheduler=DDIMScheduler(**options))


def test_the_import_is_light() -> None:
    code = (
        "import sys, sfumato_diffusers\n"
        "print({'torch', 'diffusers', 'transformers'} & set(sys.modules))\n"
        "sfumato_diffusers.Adapter, sfumato_diffusers.convention\n"
        "print({'diffusers', 'transformers'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["set()", "set()"]
