"""Discrete Diffusion in Large Language and Multimodal Models: A Survey (Yu et al. 2025).

What serves such models fast: text block by block, several tokens a call where the model is sure,
and keys and values of the rest of the text kept for a block (Wu et al. 2025, arXiv:2505.22618)
instead of being worked out anew in each call. Here a small model of the Brown corpus by characters
writes texts of 256 in blocks of 32, with that memory and without; and since the memory is an
approximation once a token of the block is known, its choices are compared with those of the whole
network on the same states.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato import Model

LENGTH, BLOCK, N = 256, 32, 8
STEPS, BATCH, LEARNING = 300, 8, 6e-3
REPEATS = 2
"""Generations of either kind that are timed, in turn; the faster one counts."""


def trial(given: Trial) -> Mapping[str, Measured]:
    """Train, write with the memory and without, compare time and choices.

    - `seconds`: of processor time to write the texts, with the memory over without;
    - `agreement`: tokens that were shown by a law of the memory, whose likeliest token is that of
      the whole network on the same state, of all of them;
    - `calls`: steps that were made, with the memory, over one a token. No bound: it is what a
      threshold of 0.9 spares, which grows with what the model knows.
    """
    from .text import of_brown

    model = of_brown(given, length=LENGTH, steps=STEPS, batch=BATCH, lr=LEARNING).model
    spent: dict[str, float] = {}
    for _ in range(REPEATS):
        for name, ask in (("kept", model.denoiser), ("anew", _forgetful(model))):
            began = time.process_time()
            sum(1 for _ in _written(model, ask, given.seed))
            took = time.process_time() - began
            spent[name] = min(took, spent.get(name, took))
    same, total, steps = _agreement(model, given.seed)
    return {
        "seconds": Measured(spent["kept"], spent["anew"], None, N, spent["kept"]),
        "agreement": Measured(same, total, None, total, spent["kept"]),
        "calls": Measured(steps, LENGTH, None, N, spent["kept"]),
    }


def _written(model: Model, ask: Any, seed: int) -> Any:
    """The frames of N texts."""
    import torch

    from sfumato import random, run
    from sfumato_methods.discrete import Blocks

    mask: Any = model.process
    x = torch.full((N, LENGTH), mask.kernel.absorbs)
    grid = torch.linspace(1, 0, LENGTH + 1, dtype=torch.float64)
    sampler, source = Blocks(length=BLOCK), random.derive(seed, "sampling")
    with torch.inference_mode():
        for frame in run(sampler, model.process, ask, x, grid, source):
            if not bool((frame.before == mask.kernel.absorbs).any()):
                break
            yield frame


def _forgetful(model: Model) -> Any:
    """The denoiser without a memory."""
    from sfumato_methods.discrete import Tokens

    def ask(x: Any, t: Any) -> Tokens:
        q: Any = model.denoiser(x, t)
        return Tokens(q.raw, q.mask, q.seen)

    return ask


def _agreement(model: Model, seed: int) -> tuple[int, int, int]:
    """Shown tokens on whose likeliest value both laws agree, of how many; and steps made."""
    same = total = steps = 0
    for frame in _written(model, model.denoiser, seed):
        shown: Tensor = frame.before != frame.after
        kept, steps = frame.posterior, steps + 1
        if kept.raw.shape[1] == LENGTH or not bool(shown.any()):
            continue  # the first call, which fills the memory
        first = int(shown.any(0).nonzero()[0]) // BLOCK * BLOCK
        span = slice(first, first + kept.raw.shape[1])
        whole: Any = model.denoiser(frame.before, frame.t)
        here = shown[:, span]
        best = kept.raw[here][:, : kept.mask].argmax(-1)
        same += int((best == whole.raw[:, span][here][:, : kept.mask].argmax(-1)).sum())
        total += len(best)
    return same, total, steps


system = System(
    id="dllm",
    title="Discrete Diffusion in Large Language and Multimodal Models: A Survey",
    source="Yu et al. 2025, arXiv:2506.13759",
    components=("language/brown", "blocks", "confident", "top-probability", "tokens"),
    recipe="language/brown",
    trial=trial,
    claims=(
        Claim("1.5 times as fast with the memory", "seconds", at_most=1 / 1.5),
        Claim("98 % of its choices are those of the whole network", "agreement", at_least=0.98),
    ),
    covers={
        "block by block": "blocks",
        "threshold of confidence": "confident",
        "order by confidence": "top-probability",
        "order by margin": "margin",
        "remasking": "remdm",
        "exact events": "first-hitting",
    },
)
