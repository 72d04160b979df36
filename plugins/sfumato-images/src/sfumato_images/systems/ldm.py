"""High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al. 2021).

The paper compresses images by an autoencoder and diffuses its latents, for about the quality of a
diffusion of pixels at a fraction of the compute. The trial does both, on clothes (28 x 28, grey,
with classes) and on emoji (64 x 64, colour, without): two U-Nets of one family and of as many
weights, trained for equally many steps of equally many images, sampled in equally many steps.
"""

from __future__ import annotations

__all__ = ["CLOTHES", "EMOJI", "Arm", "Setting", "system"]

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from sfumato import Batch, Dataset, Model
    from sfumato_nn.autoencoder import KL


@dataclass(frozen=True)
class Arm:
    """A U-Net.

    Attributes:
        widths: channels per level.
        attention: levels with attention.
    """

    widths: tuple[int, ...]
    attention: tuple[int, ...]


@dataclass(frozen=True)
class Setting:
    """One data set and what is trained on it.

    Attributes:
        read: (train, held).
        n: samples, and real images on each side.
        pixel: the U-Net that sees pixels.
        latent: the U-Net that sees latents.
        coder: channels per level of the autoencoder.
        depth: channels of the latents.
        coding: steps of the autoencoder.
        steps: of both diffusions.
        kl: weight of the divergence in the autoencoder's loss.
    """

    read: Callable[[], tuple[Dataset, Dataset]]
    n: int
    pixel: Arm
    latent: Arm
    coder: tuple[int, ...]
    depth: int
    coding: int
    steps: int
    kl: float = 0.1


BATCH = 16
"""Images in each step, of the autoencoder and of both diffusions."""

SAMPLING = 10
"""Steps of the sampler, DPM-Solver++(2M); each is one call of the network."""


def clothes() -> tuple[Dataset, Dataset]:
    """Fashion-MNIST, its training and its test images."""
    import gzip

    import numpy as np
    import torch

    from sfumato_data import fetch

    from ..data import images

    def read(part: str) -> Dataset:
        folder = fetch("fashion-mnist")
        raw = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
        names = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())
        x = torch.from_numpy(np.frombuffer(raw, np.uint8, offset=16).copy()).view(-1, 1, 28, 28)
        labels = [str(label) for label in np.frombuffer(names, np.uint8, offset=8)]
        return images(len(x), lambda index: x[list(index)] / 127.5 - 1, labels)

    return read("train"), read("t10k")


def emoji() -> tuple[Dataset, Dataset]:
    """The pictures of Noto Color Emoji at 64 x 64, over white; a quarter is held out."""
    import io

    import numpy as np
    import torch
    from PIL import Image

    from sfumato import InputError
    from sfumato_data import fetch, split

    from ..data import images

    try:
        from fontTools.ttLib import TTFont
    except ImportError:
        raise InputError(
            "emoji are read from a font: pip install 'sfumato-images[emoji]'"
        ) from None
    font = TTFont(fetch("emoji") / "NotoColorEmoji.ttf")
    found = []
    for _, glyph in sorted(font["CBDT"].strikeData[0].items()):
        picture = Image.open(io.BytesIO(glyph.imageData)).convert("RGBA")
        side = max(picture.size)
        canvas = Image.new("RGBA", (side, side), "white")
        place = ((side - picture.width) // 2, (side - picture.height) // 2)
        canvas.alpha_composite(picture, place)
        small = canvas.convert("RGB").resize((64, 64), Image.Resampling.LANCZOS)
        found.append(np.asarray(small))
    x = torch.from_numpy(np.stack(found)).movedim(3, 1).contiguous()
    return split(images(len(x), lambda index: x[list(index)] / 127.5 - 1), 0.25, 0)


CLOTHES = Setting(
    clothes,
    n=1000,
    pixel=Arm((32, 64, 128), (2,)),
    latent=Arm((64, 128), (1,)),
    coder=(16, 32, 64),
    depth=4,
    coding=600,
    steps=300,
)
EMOJI = Setting(
    emoji,
    n=480,
    pixel=Arm((16, 32, 64, 128), (3,)),
    latent=Arm((32, 64, 128), (2,)),
    coder=(16, 32, 64),
    depth=4,
    coding=160,
    steps=120,
)


def trial(given: Trial) -> Mapping[str, Measured]:
    """Train an autoencoder and both diffusions, draw samples of both, and compare.

    - `flops`, `emoji-flops`: operations in convolutions and matrix products of training (three
      times a forward pass, and encoding) and of sampling (and decoding), on `images`;
    - `distance`, `emoji-distance`: Frechet distance to held-out images, in the features of
      a classifier trained here, or for emoji in those of EfficientNet-Lite0; the floor is that of
      other held-out images;
    - `with-autoencoder`, `emoji-with-autoencoder`: as `flops`, the training of the autoencoder
      counted too. No bound: it is trained once for any number of models;
    - `reconstruction`, `emoji-reconstruction`: the same distance of reconstructed held-out images,
      which latents can hardly fall below, beside that of the diffusion of pixels. No bound.
    """
    found: dict[str, Measured] = {}
    for prefix, setting in (("", CLOTHES), ("emoji-", EMOJI)):
        measured = compare(setting, given)
        found |= {prefix + key: value for key, value in measured.items()}
    return found


def compare(setting: Setting, given: Trial) -> dict[str, Measured]:
    """One data set of the trial."""
    from sfumato import Batch, random
    from sfumato_data import gather
    from sfumato_eval import Frechet
    from sfumato_train.coding import reconstructed
    from sfumato_train.yardstick import yardstick

    from ..domain import ImageDomain

    domain: Any = ImageDomain()
    setting = replace(
        setting,
        coding=max(1, round(setting.coding * given.scale)),
        steps=max(1, round(setting.steps * given.scale)),
    )
    train, held = setting.read()
    measure = yardstick(domain, train, held, setting.n, given.seed)
    metric = next(one for one in measure.metrics if isinstance(one, Frechet))
    folder = given.scratch / setting.read.__name__
    coder = _coder(setting, train, given, folder / "coder")
    made = reconstructed(coder, gather(measure.real).x, random.derive(given.seed, "made"))
    recovered = measure.score(metric, Batch(made))
    distance: dict[str, float] = {}
    cost: dict[str, float] = {}
    for name, codec in (("pixel", None), ("latent", coder)):
        model = _model(setting, train.about, codec, given.seed)
        model = _trained(model, setting, train, given, folder / name)
        score = measure.score(metric, _samples(model, setting, given, gather(measure.other)))
        distance[name] = score.value
        cost[name] = _operations(model, setting, train.about)
        print(f"{folder.name} {name}: distance {score.value:.4g}, floor {score.floor:.4g}, "
              f"{cost[name]:.4g} operations", flush=True)  # fmt: skip
    coding = _coding(coder, setting, train.about)
    n, floor, spent = setting.n, recovered.floor, cost["latent"]
    return {
        "flops": Measured(spent, cost["pixel"], None, n, spent),
        "distance": Measured(distance["latent"], distance["pixel"], floor, n, spent),
        "with-autoencoder": Measured(spent + coding, cost["pixel"], None, n, spent + coding),
        "reconstruction": Measured(recovered.value, distance["pixel"], floor, n, coding),
    }


def _coder(setting: Setting, train: Dataset, given: Trial, folder: Path) -> KL:
    """A trained autoencoder, frozen."""
    from sfumato_nn.autoencoder import KL
    from sfumato_train import Settings, Training, fit
    from sfumato_train.coding import Autoencoding
    from sfumato_train.runs import fresh

    size, channels = train.about["size"], train.about["channels"]
    options: dict[str, Any] = {
        "latent": setting.depth,
        "widths": setting.coder,
        "weight": setting.kl,
    }
    codec = fresh(given.seed, lambda: KL(channels, size, **options))
    settings = Settings(
        seed=given.seed, steps=setting.coding, batch=BATCH, lr=3e-3, warmup=20, ema=0
    )
    fit(Training(Autoencoding(codec), train, codec), settings, folder)
    return codec.eval().requires_grad_(False)


def _model(setting: Setting, about: Mapping[str, Any], codec: KL | None, seed: int) -> Model:
    """A diffusion of pixels, or of the latents of a codec."""
    import torch

    from sfumato import Model, Preconditioned
    from sfumato_methods.gaussian import edm
    from sfumato_methods.grids import karras
    from sfumato_methods.solvers import DPMSolverPP
    from sfumato_nn.unet import UNet
    from sfumato_train.runs import fresh

    shape, classes = (about["channels"], *about["size"]), len(about["classes"])
    channels, arm, scale = shape[0], setting.pixel, about["sigma_data"]
    if codec is not None:
        channels, arm, scale = codec.latent, setting.latent, 1.0
    process = edm()
    net = fresh(
        seed,
        lambda: UNet(channels, widths=arm.widths, attention=arm.attention, classes=classes),
    )
    return Model(
        process,
        Preconditioned(net, process, "edm", sigma_data=scale),
        sampler=DPMSolverPP(),
        grid=karras,
        steps=SAMPLING,
        blank=lambda n, generator: torch.zeros(n, *shape),
        codec=codec,
    )


def _trained(model: Model, setting: Setting, train: Dataset, given: Trial, folder: Path) -> Model:
    """The model with its weights averaged."""
    import math
    from functools import partial

    from sfumato_train import Denoising, Settings, Training, fit, times

    denoiser: Any = model.denoiser
    law = partial(times.lognormal, mean=-0.5 + math.log(denoiser.sigma_data), std=1.2)
    objective = Denoising(model.process, denoiser, model.codec, times=law)
    settings = Settings(
        seed=given.seed, steps=setting.steps, batch=BATCH, lr=1e-3, warmup=20, ema=0.98
    )
    last: list[Any] = []
    fit(
        Training(objective, train, model),
        settings,
        folder,
        on_save=lambda step, averaged: last.append(averaged),
    )
    averaged: Model = last[-1]
    return averaged


def _samples(model: Model, setting: Setting, given: Trial, asked: Batch) -> Batch:
    """As many samples as there are real images, asked for with their classes."""
    from sfumato_train import draw
    from sfumato_train.ema import parts

    parts(model).eval()
    return draw(model, setting.n, condition=asked.condition, seed=given.seed, batch=100)


def _operations(model: Model, setting: Setting, about: Mapping[str, Any]) -> float:
    """Operations of training a model and of sampling from it."""
    import torch

    from sfumato_nn.sizes import count_flops

    x = torch.zeros(1, about["channels"], *about["size"])
    codec: Any = model.codec
    inside = x if codec is None else codec.layout(x)
    net: Any = model.denoiser
    once = count_flops(net.net, inside, torch.zeros(1))
    coding = 0 if codec is None else count_flops(codec.encoder, x)
    decoding = 0 if codec is None else count_flops(codec.decoder, inside)
    trained = setting.steps * BATCH
    return float(trained * (3 * once + coding) + setting.n * (SAMPLING * once + decoding))


def _coding(codec: KL, setting: Setting, about: Mapping[str, Any]) -> float:
    """Operations of training the autoencoder."""
    import torch

    from sfumato_nn.sizes import count_flops

    x = torch.zeros(1, about["channels"], *about["size"])
    once = count_flops(codec.encoder, x) + count_flops(codec.decoder, codec.layout(x))
    return float(3 * setting.coding * BATCH * once)


system = System(
    id="ldm",
    title="High-Resolution Image Synthesis with Latent Diffusion Models",
    source="Rombach et al. 2021, arXiv:2112.10752",
    components=("unet", "edm", "dpmpp-2m", "karras", "autoencoding", "frechet", "images/kl"),
    recipe="images/kl",
    trial=trial,
    claims=(
        Claim(
            "clothes: training and sampling take at most 0.35 of the operations in latents",
            "flops",
            at_most=0.35,
        ),
        Claim("clothes: as close to data as pixels are, within 10 %", "distance", at_most=1.1),
        Claim(
            "emoji: training and sampling take at most 0.35 of the operations in latents",
            "emoji-flops",
            at_most=0.35,
        ),
        Claim("emoji: as close to data as pixels are, within 10 %", "emoji-distance", at_most=1.1),
    ),
)
