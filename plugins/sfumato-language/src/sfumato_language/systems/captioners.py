"""Networks that describe pictures, trained in a trial: by masked diffusion, or one by one."""

from __future__ import annotations

__all__ = [
    "BATCH",
    "DEPTH",
    "HEADS",
    "WIDTH",
    "autoregressive",
    "fitted",
    "greedy",
    "sighted",
    "untrained",
    "written",
]

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from sfumato import Trial

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato_nn.pictured import PicturedTokens, PictureEncoder

    from ..captioning import Captions
    from ..denoiser import TextDenoiser

WIDTH, DEPTH, HEADS = 64, 4, 2
PATCH, POOL, SEEN, SIGHT = 8, 1, 2, 400
"""Of the vision transformer: pixels of a patch a side, patches a side that become one vector,
blocks, and steps of its own training."""
BATCH, LEARNING = 16, 1.5e-3
COLD = 0.05
"""Temperature at which captions are written: all but the likeliest token."""


def encoder_of(data: Captions) -> PictureEncoder:
    from sfumato_nn.pictured import PictureEncoder

    channels, *size = data.pixels.shape[1:]
    return PictureEncoder(
        channels, size, patch=PATCH, pool=POOL, width=WIDTH, depth=SEEN, heads=HEADS
    )


def sighted(data: Captions, given: Trial, index: Sequence[int]) -> PictureEncoder:
    """A vision transformer that was trained to tell which tokens a caption has.

    It stands for the SigLIP encoder that the published model begins with (Zhai et al. 2023,
    arXiv:2303.15343): a sigmoid for each token, of the mean of all vectors.
    """
    import torch
    import torch.nn.functional as F
    from torch import nn

    from sfumato import random
    from sfumato_train.runs import fresh

    from .fitting import scaled

    def made() -> nn.ModuleList:
        return nn.ModuleList([encoder_of(data), nn.Linear(WIDTH, data.tokenizer.size)])

    parts, source = fresh(given.seed, made), random.derive(given.seed, "encoder")
    encoder, head = parts
    steps = scaled(SIGHT, given)
    adam = torch.optim.AdamW(parts.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 3e-3, steps)
    for _ in range(steps):
        place = random.integers(0, len(index), (2 * BATCH,), source).tolist()
        batch = data.batch([index[i] for i in place])
        has = torch.zeros(len(place), data.tokenizer.size).scatter_(1, batch.x.data, 1.0)
        loss = F.binary_cross_entropy_with_logits(
            head(encoder(batch.condition["picture"]).mean(1)), has
        )
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        schedule.step()
    found: Any = encoder
    return found  # type: ignore[no-any-return]


def untrained(data: Captions, given: Trial, encoder: PictureEncoder) -> TextDenoiser:
    """A fresh text network behind a copy of an encoder."""
    import copy

    from sfumato_methods.discrete import Discrete, absorbing
    from sfumato_nn.pictured import PicturedTokens
    from sfumato_nn.tokens import TokenTransformer
    from sfumato_train.runs import fresh

    from ..denoiser import TextDenoiser

    def made() -> PicturedTokens:
        text = TokenTransformer(
            data.tokenizer.size + 1, width=WIDTH, depth=DEPTH, heads=HEADS, near=0.0
        )
        return PicturedTokens(text, copy.deepcopy(encoder))

    return TextDenoiser(fresh(given.seed, made), Discrete(absorbing(data.tokenizer.size)))


def autoregressive(
    fresh: TextDenoiser,
    data: Captions,
    given: Trial,
    name: str,
    steps: int,
    index: Sequence[int],
) -> PicturedTokens:
    """A network that was trained to say each token from those before it."""
    import torch
    import torch.nn.functional as F

    from sfumato_train import Loss, Objective

    class NextToken(Objective):
        def __init__(self, denoiser: TextDenoiser) -> None:
            super().__init__()
            self.denoiser = denoiser

        def players(self) -> dict[str, Any]:
            return {"denoiser": self.denoiser}

        def loss(self, player: str, batch: Any, generator: Any) -> Loss:
            ids: Tensor = batch.x.data
            net: Any = self.denoiser.net
            begin = torch.full_like(ids[:, :1], data.tokenizer.mask)
            level = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
            context = net.encode(picture=batch.condition["picture"])
            clock = torch.zeros(len(ids), device=ids.device)
            logits = net(torch.cat((begin, ids[:, :-1]), 1), clock, level=level, **context)
            return Loss(F.cross_entropy(logits.mT, ids, reduction="none").mean(1))

    found: Any = fitted(NextToken(fresh), data, given, name, steps, index)
    net: PicturedTokens = found.net
    return net


def fitted(
    objective: Any, data: Captions, given: Trial, name: str, steps: int, index: Sequence[int]
) -> TextDenoiser:
    """The denoiser of an objective with averaged weights, trained on some items."""
    from sfumato import Ancestral, Model
    from sfumato_data import subset
    from sfumato_methods.grids import uniform
    from sfumato_train import Settings, Training, averaged

    from ..canvas import Blank

    settings = Settings(
        seed=given.seed, steps=steps, batch=BATCH, lr=LEARNING, warmup=min(50, steps // 2), ema=0.98
    )
    denoiser = objective.denoiser
    blank = Blank(int(data.about["length"]), data.tokenizer.mask)
    model = Model(
        denoiser.process, denoiser, sampler=Ancestral(), grid=uniform, steps=8, blank=blank
    )
    training = Training(objective, subset(data, index), model)
    return cast("TextDenoiser", averaged(training, settings, given.scratch / name).denoiser)


def greedy(net: PicturedTokens, picture: Tensor, begin: int, end: int, length: int) -> Tensor:
    """Captions (B, L) by the likeliest token after another, with a memory of all before it."""
    import torch

    memory = net.encode(picture=picture)["memory"]
    ids = torch.full((len(picture), 1), begin)
    clock, rows = torch.zeros(len(picture)), []
    done = torch.zeros(len(picture), dtype=torch.bool)
    for _ in range(length):
        logits, memory = net.tokens.extend(ids, clock, memory)
        ids = logits[:, :, :begin].argmax(-1)
        rows.append(ids)
        done |= ids[:, 0] == end
        if bool(done.all()):
            break
    said = torch.cat(rows, 1)
    return torch.nn.functional.pad(said, (0, length - said.shape[1]), value=end)


def written(denoiser: TextDenoiser, picture: Tensor, canvas: Tensor, seed: int) -> Tensor:
    """Captions (B, L) drawn into canvases (B, L) in half as many steps as these have masks."""
    from sfumato import random, sample
    from sfumato_methods.discrete import (
        Ordered,
        Prompt,
        ShiftedCounts,
        Temperature,
        TopProbability,
    )

    process = denoiser.process
    hidden: Tensor = canvas.eq(denoiser.process.kernel.classes - 1)  # the mask is the last id
    masks, prompt = int(hidden[0].sum()), Prompt(canvas, ~hidden)
    x: Tensor = sample(
        process,
        Temperature(denoiser.given(picture=picture), COLD),
        canvas,
        sampler=Ordered(TopProbability()),
        grid=ShiftedCounts(masks)(process, max(1, masks // 2)),
        generator=random.derive(seed, "captions"),
        constraint=prompt,
        start=prompt.start(process),
    )
    return x
