"""Simple Denoising Diffusion Language Models (Zhu et al. 2025).

Models of replaced tokens can be trained by a cross-entropy where a token was replaced, without the
bound and its weights; wrong tokens may be pushed away. Here on a Markov chain over 12 tokens and 16
places, of which the perplexity of samples is known exactly: networks of one size with equal data,
steps and seeds, trained on the bound of uniform-state models, on the cross-entropy of resampled
places (which includes those that came out as they were: what is learnt is then the law given the
other tokens, which `JointDiscrete` takes), and on the published one of places that differ. There
the clean token is never the one that is seen, so that the network gives that no probability, and a
chain that takes this for p(x_0 | x_t) keeps throwing good tokens away.

This is no matter of training: with the exact minimisers of both losses, on sequences of 3 places
(`minimiser`), the samples of the published one are as bad. What the network gains by excluding the
seen token is 1/K nats on average: with 12 tokens it is learnt at once, with the 30,000 and more of
the paper hardly at all, and there both losses amount to the same.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato_methods.discrete import Discrete, TokenDenoiser

TOKENS, LENGTH = 12, 16
TRAIN, N = 20000, 1000
STEPS, BATCH, LEARNING = 1000, 64, 3e-3
SAMPLING = 64
WIDTH, DEPTH, HEADS = 48, 2, 2
EXACT = 400
"""Samples of 3 places that are drawn with exact minimisers."""
TIMED = 20
"""Training steps of either loss that are timed, in turn; the fastest counts."""
EDGE = 1e-3
"""Times in training are so far from 0 and 1."""


def trial(given: Trial) -> Mapping[str, Measured]:
    """Train on four losses, draw in 64 steps, compare samples.

    - `perplexity`: of samples under the chain, trained on resampled places against the bound; the
      floor is that of sequences of the chain;
    - `entropy`: mean unigram entropy within a sample, likewise;
    - `published`: perplexity, trained on places that differ, against the bound;
    - `minimiser`: perplexity, with the exact minimiser on places that differ, against that on
      resampled ones, on sequences of 3 places. No bound;
    - `contrastive`: perplexity with wrong tokens pushed away, against without;
    - `contrastive-entropy`: entropy within a sample, likewise;
    - `seconds`: of processor time of a training step, resampled places against the bound.
    """
    import torch

    from sfumato import Ancestral, random, sample
    from sfumato_methods.grids import uniform as even

    from .chain import Chain, unigram_entropy

    chain = Chain(TOKENS, LENGTH, random.derive(given.seed, "chain"))
    train = chain.sample(TRAIN, random.derive(given.seed, "train"))
    n, began = max(100, round(N * given.scale)), time.monotonic()
    real = chain.sample(n, random.derive(given.seed, "real"))
    perplexity, entropy = {}, {}
    for name in ("bound", "resampled", "replaced", "contrastive"):
        denoiser = _trained(name, train, given)
        x = sample(
            denoiser.process,
            denoiser,
            torch.zeros(n, LENGTH, dtype=torch.long),
            sampler=Ancestral(),
            grid=even(denoiser.process, SAMPLING),
            generator=random.derive(given.seed, "sampling"),
        )
        perplexity[name] = float((chain.nll(x).mean() / LENGTH).exp())
        entropy[name] = float(unigram_entropy(x, TOKENS).mean())
        print(f"{name}: perplexity {perplexity[name]:.3f}, entropy {entropy[name]:.3f}", flush=True)
    cost = time.monotonic() - began
    floor = float((chain.nll(real).mean() / LENGTH).exp())
    rest = float(unigram_entropy(real, TOKENS).mean())

    def ratio(values: dict[str, float], name: str, other: str, base: float) -> Measured:
        return Measured(values[name], values[other], base, n, cost)

    return {
        "perplexity": ratio(perplexity, "resampled", "bound", floor),
        "entropy": ratio(entropy, "resampled", "bound", rest),
        "published": ratio(perplexity, "replaced", "bound", floor),
        "contrastive": ratio(perplexity, "contrastive", "replaced", floor),
        "contrastive-entropy": ratio(entropy, "contrastive", "replaced", rest),
        "minimiser": _minimisers(given),
        "seconds": _seconds(train, given),
    }


def _minimisers(given: Trial) -> Measured:
    """Perplexity of samples with what both losses would teach, without any training."""
    import torch

    from sfumato import Ancestral, random, sample
    from sfumato_methods.discrete import Discrete, JointDiscrete, uniform
    from sfumato_methods.grids import uniform as even

    from .chain import Chain, Others

    began, n = time.monotonic(), max(100, round(EXACT * given.scale))
    chain = Chain(TOKENS, 3, random.derive(given.seed, "chain"))
    real = chain.sample(n, random.derive(given.seed, "real"))
    found = []
    for form, differs in ((Discrete, True), (JointDiscrete, False)):
        process = form(uniform(TOKENS))
        x = sample(
            process,
            Others(chain, process.kernel, differs=differs),
            torch.zeros(n, 3, dtype=torch.long),
            sampler=Ancestral(),
            grid=even(process, SAMPLING),
            generator=random.derive(given.seed, "exact"),
        )
        found.append(float((chain.nll(x).mean() / 3).exp()))
    floor = float((chain.nll(real).mean() / 3).exp())
    print(f"minimisers: perplexity {found[0]:.3f} and {found[1]:.3f}, of {floor:.3f}", flush=True)
    return Measured(found[0], found[1], floor, n, time.monotonic() - began)


def _law(name: str) -> Any:
    """A loss at times away from 0 and 1."""
    from sfumato_methods.discrete.losses import score_entropy
    from sfumato_methods.discrete.replaced import (
        contrastive,
        denoise_replaced,
        denoise_resampled,
    )

    loss: Any = {
        "bound": score_entropy,
        "resampled": denoise_resampled,
        "replaced": denoise_replaced,
        "contrastive": contrastive,
    }[name]

    def law(process: Discrete, denoiser: TokenDenoiser, x0: Any, t: Tensor, generator: Any) -> Any:
        return loss(process, denoiser, x0, t.clamp(EDGE, 1 - EDGE), generator)

    return law


def _denoiser(name: str, seed: int) -> TokenDenoiser:
    """A fresh network, and the reverse law that what it learns is made for."""
    from sfumato_methods.discrete import Discrete, JointDiscrete, TokenDenoiser, uniform
    from sfumato_nn.tokens import TokenTransformer
    from sfumato_train.runs import fresh

    form = JointDiscrete if name in ("bound", "resampled") else Discrete
    net = fresh(
        seed, lambda: TokenTransformer(TOKENS, width=WIDTH, depth=DEPTH, heads=HEADS, time=True)
    )
    return TokenDenoiser(net, form(uniform(TOKENS)))


def _trained(name: str, train: Tensor, given: Trial) -> TokenDenoiser:
    from .fitting import PerItem, trained

    objective = PerItem(_denoiser(name, given.seed), _law(name))
    return trained(objective, train, given, name=name, steps=STEPS, batch=BATCH, lr=LEARNING)


def _seconds(train: Tensor, given: Trial) -> Measured:
    """Processor time of loss and gradient of a batch."""
    from sfumato import random
    from sfumato_train.times import stratified

    names = ("resampled", "bound")
    arms = {name: (_denoiser(name, given.seed), _law(name)) for name in names}
    least = dict.fromkeys(names, float("inf"))
    for i in range(TIMED):
        for name, (denoiser, law) in arms.items():
            source = random.derive(given.seed, "timed", i)
            t = stratified(BATCH, source).double()
            began = time.process_time()
            law(denoiser.process, denoiser, train[:BATCH], t, source).mean().backward()
            least[name] = min(least[name], time.process_time() - began)
    return Measured(least["resampled"], least["bound"], None, TIMED, sum(least.values()))


system = System(
    id="sddlm",
    title="Simple Denoising Diffusion Language Models",
    source="Zhu et al. 2025, arXiv:2510.22926",
    components=("uniform", "ancestral", "tokens"),
    trial=trial,
    claims=(
        Claim("samples as good as those of the bound, within 5 %", "perplexity", at_most=1.05),
        Claim("with 97 % of their entropy", "entropy", at_least=0.97),
        Claim("and not more than 103 %", "entropy", at_most=1.03),
        Claim("as published, on places that differ: likewise within 5 %", "published",
              at_most=1.05),
        Claim("pushing wrong tokens away gains 3 %", "contrastive", at_most=0.97),
        Claim("with 97 % of the entropy", "contrastive-entropy", at_least=0.97),
        Claim("a training step takes 0.9 of the time", "seconds", at_most=0.9),
    ),
)  # fmt: skip
