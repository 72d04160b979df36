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
    from sfumato_nn.pictured import PicturedTokens

    from ..captioning import Captions
    from ..denoiser import TextDenoiser
    from ..scenes import Scene

SCENES, HELD, ALONE = 6000, 300, 24
"""Scenes to train on, held out, and of these described one at a time to measure the time."""
STEPS = 1200
EMOJI_STEPS, EMOJI_LENGTH, DRAWS = 250, 32, 8
"""Steps on emoji, tokens of a name, and sets of hidden tokens a name that the bound averages."""
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
    from .captioners import autoregressive, fitted, sighted, untrained
    from .fitting import scaled

    data, scenes = _scenes(given.seed)
    held = range(SCENES, SCENES + HELD)
    steps = scaled(STEPS, given)
    index = range(SCENES)
    fresh = untrained(data, given, sighted(data, given, index))
    ours = fitted(Complementary(copy.deepcopy(fresh)), data, given, "scenes", steps, index)
    theirs = autoregressive(fresh, data, given, "autoregressive", steps, index)
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


def _seconds(
    ours: TextDenoiser, theirs: PicturedTokens, data: Captions, held: Sequence[int]
) -> Measured:
    import torch

    from .captioners import greedy, written

    picture = data.batch(held[:ALONE]).condition["picture"]
    length, mask, end = int(data.about["length"]), data.tokenizer.mask, data.tokenizer.eos
    empty = torch.full((1, length), mask)
    kinds: dict[str, Callable[[Tensor], Tensor]] = {
        "ours": lambda one: written(ours, one, empty, 0),
        "theirs": lambda one: greedy(theirs, one, mask, end, length),
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
    from .captioners import greedy, written

    tokenizer, length = data.tokenizer, int(data.about["length"])
    picture = data.batch(held).condition["picture"]
    both = [[torch.from_numpy(tokenizer.encode(t)) for t in captions(s)] for s in scenes]
    true = torch.full((2, len(scenes), length), tokenizer.eos)
    for i, pair in enumerate(both):
        for k, ids in enumerate(pair):
            true[k, i, : len(ids)] = ids
    began = time.process_time()
    empty = torch.full((len(scenes), length), tokenizer.mask)
    wrote = written(ours, picture, empty, seed)
    said = greedy(theirs, picture, tokenizer.mask, tokenizer.eos, length)
    right = [float((ids == true).double().mean(-1).amax(0).mean()) for ids in (wrote, said)]

    thing = len(tokenizer.encode(f" {scenes[0].first}"))  # of all captions the last tokens
    which = random.integers(0, 2, (len(scenes),), random.derive(seed, "endings"))
    asked = true[which, torch.arange(len(scenes))]
    ending = slice(length - 1 - thing, length)
    canvas = empty.clone()
    canvas[:, ending] = asked[:, ending]
    filled = written(ours, picture, canvas, seed)
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

    from .captioners import DEPTH, HEADS, WIDTH

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
    from .captioners import fitted, sighted, untrained

    class Independent(Complementary):
        """Both rows hide what they like."""

        def masks(self, free: Tensor, generator: Any) -> tuple[Tensor, Tensor]:
            first, _ = super().masks(free, generator)
            share = random.uniform((len(free),), generator).to(free.device)
            noise = random.uniform(free.shape, generator).to(free.device)
            return first, hide(free, share, noise)[0]

    every = read(sfumato_data.fetch("emoji"), length=EMOJI_LENGTH)
    train, held = split(every, 0.1, given.seed)
    found, fresh = [], untrained(every, given, sighted(every, given, train.index))
    for kind in (Complementary, Independent):
        objective = kind(copy.deepcopy(fresh))
        denoiser = fitted(objective, every, given, kind.__name__, steps, train.index)
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
