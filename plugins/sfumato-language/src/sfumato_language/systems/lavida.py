"""LaViDa: A Large Diffusion Language Model for Multimodal Understanding (Li et al. 2025).

A picture stands before a text as a prefix that reads itself alone, so that its keys and values are
made once; training hides each token in one of two rows; text is written in half as many calls as it
has tokens, and to a given end if need be. On drawn scenes of two things, whose captions are
checked, it is compared with an autoregressive network of the same weights, pictures and steps that
keeps its keys and values too; on emoji and their names, complementary masks with independent ones.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato import Dataset
    from sfumato_nn.pictured import PicturedTokens, PictureEncoder

    from ..captioning import Captions
    from ..denoiser import TextDenoiser
    from ..scenes import Scene

SCENES, HELD, ALONE = 6000, 300, 24
"""Scenes to train on, held out, and of these described one at a time to measure the time."""
WIDTH, DEPTH, HEADS = 64, 4, 2
PATCH, POOL, SEEN, SIGHT = 8, 1, 2, 400
"""Of the vision transformer: pixels of a patch a side, patches a side that become one vector,
blocks, and steps of its own training."""
STEPS, BATCH, LEARNING = 1200, 16, 1.5e-3
EMOJI_STEPS, EMOJI_LENGTH, DRAWS = 250, 32, 8
"""Steps on emoji, tokens of a name, and sets of hidden tokens a name that the bound averages."""
COLD = 0.05
"""Temperature at which captions are written: all but the likeliest token."""
PREFIX, REPEATS = 256, 5
"""Vectors of the prefix whose memory is timed, and how often; the least time counts."""


def trial(given: Trial) -> Mapping[str, Measured]:
    """Train both kinds on scenes, two trainings on emoji; compare.

    - `seconds`: of processor time to describe pictures one by one, autoregressively over ours, in
      half as many calls as a caption has tokens;
    - `accuracy`: tokens that are those of a true caption, the nearer one, ours over theirs;
    - `endings`: captions that end as is asked, theirs against ours, where the end asked for is
      that of one of the two true captions; `true-endings`: those of ours that are true besides;
    - `prefix`: processor time of a caption after a prefix of 256 vectors, without a memory over
      with it;
    - `masks`: bound on the nats of a held-out name, complementary masks over independent ones.
    """
    import copy

    import torch

    from ..complementary import Complementary
    from .fitting import scaled

    data, scenes = _scenes(given.seed)
    held = range(SCENES, SCENES + HELD)
    steps = scaled(STEPS, given)
    index = range(SCENES)
    fresh = _denoiser(data, given, _seen(data, given, index))
    ours = _fitted(Complementary(copy.deepcopy(fresh)), data, given, "scenes", steps, index)
    theirs = _autoregressive(fresh, data, given, "autoregressive", steps, index)
    with torch.inference_mode():
        found = {"seconds": _seconds(ours, theirs, data, held)}
        found |= _quality(ours, theirs, data, [scenes[i] for i in held], held, given.seed)
        found["prefix"] = _prefix()
    return found | {"masks": _masks(given, scaled(EMOJI_STEPS, given))}


def _scenes(seed: int) -> tuple[Captions, list[Scene]]:
    """Scenes with one of their captions each, those held out at the end."""
    import numpy as np
    import torch

    from sfumato import random

    from .. import scenes
    from ..captioning import Captions
    from ..tokens import Json

    drawn = scenes.scenes(SCENES + HELD, random.derive(seed, "scenes"))
    texts = [scenes.captions(scene)[i % 2] for i, scene in enumerate(drawn)]
    pixels = np.stack([np.asarray(scenes.draw(scene)) for scene in drawn])
    tokenizer = Json.trained(texts, 400)
    rows = [[*tokenizer.encode(text), tokenizer.eos] for text in texts]
    about = {"length": len(rows[0]), "vocabulary": tokenizer.size, "tokenizer": tokenizer.facts()}
    x = torch.from_numpy(pixels).movedim(3, 1)
    return Captions(np.array(rows), x, [""] * len(texts), tokenizer, about), drawn


def _encoder(data: Captions) -> PictureEncoder:
    from sfumato_nn.pictured import PictureEncoder

    channels, *size = data.pixels.shape[1:]
    return PictureEncoder(
        channels, size, patch=PATCH, pool=POOL, width=WIDTH, depth=SEEN, heads=HEADS
    )


def _seen(data: Captions, given: Trial, index: Sequence[int]) -> PictureEncoder:
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
        return nn.ModuleList([_encoder(data), nn.Linear(WIDTH, data.tokenizer.size)])

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


def _denoiser(data: Captions, given: Trial, encoder: PictureEncoder) -> TextDenoiser:
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


def _autoregressive(
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

    found: Any = _fitted(NextToken(fresh), data, given, name, steps, index)
    net: PicturedTokens = found.net
    return net


def _fitted(
    objective: Any, data: Captions, given: Trial, name: str, steps: int, index: Sequence[int]
) -> TextDenoiser:
    """The denoiser of an objective with averaged weights, trained on some items."""
    from sfumato import Ancestral, Model
    from sfumato_data import subset
    from sfumato_methods.grids import uniform
    from sfumato_train import Settings, Training, fit
    from sfumato_train.ema import parts

    from ..canvas import Blank

    settings = Settings(
        seed=given.seed, steps=steps, batch=BATCH, lr=LEARNING, warmup=min(50, steps // 2), ema=0.98
    )
    denoiser = objective.denoiser
    blank = Blank(int(data.about["length"]), data.tokenizer.mask)
    model = Model(
        denoiser.process, denoiser, sampler=Ancestral(), grid=uniform, steps=8, blank=blank
    )
    last: list[Any] = []
    fit(
        Training(objective, subset(data, index), model),
        settings,
        given.scratch / name,
        on_save=lambda step, averaged: last.append(averaged),
    )
    parts(last[-1]).eval()
    found: TextDenoiser = last[-1].denoiser
    return found


def _greedy(net: PicturedTokens, picture: Tensor, begin: int, end: int, length: int) -> Tensor:
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


def _written(denoiser: TextDenoiser, picture: Tensor, canvas: Tensor, seed: int) -> Tensor:
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


def _seconds(
    ours: TextDenoiser, theirs: PicturedTokens, data: Captions, held: Sequence[int]
) -> Measured:
    import torch

    picture = data.batch(held[:ALONE]).condition["picture"]
    length, mask, end = int(data.about["length"]), data.tokenizer.mask, data.tokenizer.eos
    empty = torch.full((1, length), mask)
    kinds: dict[str, Callable[[Tensor], Tensor]] = {
        "ours": lambda one: _written(ours, one, empty, 0),
        "theirs": lambda one: _greedy(theirs, one, mask, end, length),
    }
    spent = dict.fromkeys(kinds, 0.0)
    for one in picture.split(1):
        for name, describe in kinds.items():
            spent[name] += min(_timed(partial(describe, one)) for _ in range(REPEATS))
    return Measured(spent["theirs"], spent["ours"], None, len(picture), spent["ours"])


def _timed(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def _quality(
    ours: TextDenoiser,
    theirs: PicturedTokens,
    data: Captions,
    scenes: Sequence[Scene],
    held: Sequence[int],
    seed: int,
) -> dict[str, Measured]:
    """Tokens that are right, and captions that end as asked, of either kind."""
    import torch

    from sfumato import random

    from ..scenes import captions

    tokenizer, length = data.tokenizer, int(data.about["length"])
    picture = data.batch(held).condition["picture"]
    both = [[torch.from_numpy(tokenizer.encode(t)) for t in captions(s)] for s in scenes]
    true = torch.full((2, len(scenes), length), tokenizer.eos)
    for i, pair in enumerate(both):
        for k, ids in enumerate(pair):
            true[k, i, : len(ids)] = ids
    began = time.process_time()
    empty = torch.full((len(scenes), length), tokenizer.mask)
    wrote = _written(ours, picture, empty, seed)
    said = _greedy(theirs, picture, tokenizer.mask, tokenizer.eos, length)
    right = [float((ids == true).double().mean(-1).amax(0).mean()) for ids in (wrote, said)]

    thing = len(tokenizer.encode(f" {scenes[0].first}"))  # of all captions the last tokens
    which = random.integers(0, 2, (len(scenes),), random.derive(seed, "endings"))
    asked = true[which, torch.arange(len(scenes))]
    ending = slice(length - 1 - thing, length)
    canvas = empty.clone()
    canvas[:, ending] = asked[:, ending]
    filled = _written(ours, picture, canvas, seed)
    kept, met = (
        float((ids[:, ending] == asked[:, ending]).all(1).double().mean()) for ids in (filled, said)
    )
    whole, free = (float((ids == true).all(-1).any(0).double().mean()) for ids in (filled, wrote))
    n, cost = len(scenes), time.process_time() - began
    return {
        "accuracy": Measured(right[0], right[1], None, n, cost),
        "endings": Measured(met, kept, None, n, cost),
        "kept": Measured(kept, 1.0, None, n, cost),
        "true-endings": Measured(whole, free, None, n, cost),
    }


def _prefix() -> Measured:
    """A caption of 16 tokens in 8 calls: the prefix in each of them, over once."""
    import torch

    from sfumato import random
    from sfumato_nn.pictured import PicturedTokens, PictureEncoder
    from sfumato_nn.tokens import TokenTransformer
    from sfumato_train.runs import fresh

    def made() -> PicturedTokens:
        text = TokenTransformer(400, width=WIDTH, depth=DEPTH, heads=HEADS)
        side = round(PREFIX**0.5)
        return PicturedTokens(text, PictureEncoder(3, (side, side), patch=1, width=WIDTH))

    net = fresh(0, made).eval()
    source = random.derive(0, "prefix")
    picture = random.uniform((1, *net.encoder.size), source).float() * 2 - 1
    ids = random.integers(0, 400, (1, 16), source)
    vectors, clock = net.project(net.encoder(picture)), torch.zeros(1)

    def kept() -> None:
        memory = net.tokens.prefill(vectors)
        for _ in range(8):
            net(ids, clock, memory=memory)

    def anew() -> None:
        for _ in range(8):
            net(ids, clock, memory=net.tokens.prefill(vectors))

    spent = {kept: float("inf"), anew: float("inf")}
    for _ in range(REPEATS):
        for call, least in spent.items():
            spent[call] = min(least, _timed(call))
    return Measured(spent[anew], spent[kept], None, REPEATS, spent[kept])


def _masks(given: Trial, steps: int) -> Measured:
    """Nats of held-out names of emoji, bounded by the same hidden sets for both."""
    import copy

    import sfumato_data
    from sfumato import random
    from sfumato_data import split

    from ..captioning import read
    from ..complementary import Complementary
    from ..objective import AnyOrder, hide

    class Independent(Complementary):
        """Both rows hide what they like."""

        def masks(self, free: Tensor, generator: Any) -> tuple[Tensor, Tensor]:
            first, _ = super().masks(free, generator)
            share = random.uniform((len(free),), generator).to(free.device)
            noise = random.uniform(free.shape, generator).to(free.device)
            return first, hide(free, share, noise)[0]

    every = read(sfumato_data.fetch("emoji"), length=EMOJI_LENGTH)
    train, held = split(every, 0.1, given.seed)
    found, fresh = [], _denoiser(every, given, _seen(every, given, train.index))
    for kind in (Complementary, Independent):
        objective = kind(copy.deepcopy(fresh))
        denoiser = _fitted(objective, every, given, kind.__name__, steps, train.index)
        found.append(_bound(AnyOrder(denoiser), held, random.derive(given.seed, "held")))
    n = len(held) * DRAWS
    return Measured(found[0], found[1], None, n, 0.0)


def _bound(objective: Any, held: Dataset, generator: Any) -> float:
    """Mean over items of the bound of all orders, in nats a token."""
    import torch

    from sfumato_data import gather

    batch = gather(held)
    with torch.inference_mode():
        each = [objective.loss("denoiser", batch, generator).each for _ in range(DRAWS)]
    return float(torch.stack(each).double().mean())


system = System(
    id="lavida",
    title="LaViDa: A Large Diffusion Language Model for Multimodal Understanding",
    source="Li et al. 2025, arXiv:2505.16839",
    components=("language/captions", "language/emoji", "tokens", "top-probability", "shifted"),
    recipe="language/captions",
    trial=trial,
    claims=(
        Claim("1.5 times as fast as autoregression with a KV cache", "seconds", at_least=1.5),
        Claim("as many tokens are right, within 2 %", "accuracy", at_least=0.98),
        Claim("1.5 times as fast with the prefix in memory", "prefix", at_least=1.5),
        Claim("complementary masks: 1 % fewer nats", "masks", at_most=0.99),
        Claim("every caption ends as is asked", "kept", at_least=1.0),
        Claim("of autoregression at most 70 % do", "endings", at_most=0.7),
    ),
    covers={
        "complementary masks": "language/captions",
        "prefix": "tokens",
        "time shift": "shifted",
    },
)
