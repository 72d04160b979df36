"""Masked Diffusion Models Are Secretly Time-Agnostic Masked Models (Zheng et al. 2024).

The time at which a mask falls does not depend on the network, so that a chain can be drawn exactly
in as many calls as there are tokens. Here with the exact posterior of a Markov chain over 12 tokens
and 64 places: calls, perplexity and entropy of the first-hitting sampler, against the ancestral
one in 1,000 steps. Their second point is what single precision does to categorical draws: the
entropy of tokens of Zipf's law over 50,257 of them, after 1,024 steps of Gumbel races. Their third
is that the loss without time and the one weighted by time are one function.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sfumato.survey import Claim, Measured, System, Trial

if TYPE_CHECKING:
    from torch import Tensor

    from sfumato import Sampler

    from .chain import Chain

TOKENS, LENGTH = 12, 64
N, ALONE = 500, 8
"""Sequences drawn in one batch for their law, and one by one to count calls."""
STEPS = 1000
ZIPF, RACES = 50257, 1024
DRAWS = 2000
"""Tokens of Zipf's law that our sampler draws."""
LOSSES = 40
"""Batches of 2,048 over which both losses and their gradients are averaged."""


def trial(given: Trial) -> Mapping[str, Measured]:
    """First-hitting against ancestral sampling, precision of draws, and two forms of the loss.

    - `calls`: of the denoiser for a sequence drawn alone, against ancestral sampling;
    - `cached`: the same against ancestral sampling that asks only where a mask falls. No bound;
    - `perplexity`: of samples under the chain, against those of ancestral sampling; the floor is
      that of sequences of the chain against others;
    - `entropy`: mean unigram entropy within a sample, likewise;
    - `float32`, `float64`: entropy of the token that an ancestral sampler with Gumbel races of 24
      or 53 random bits draws (its exact law), over that of Zipf's law;
    - `drawn`: mean surprisal of tokens that our ancestral sampler draws of that law in as many
      steps, over its entropy; of finitely many. No bound;
    - `loss`: any-order loss over the time-weighted one, of a network with random weights;
    - `gradient`: cosine between their gradients.
    """
    return {**_sampled(given), **_precision(given), **_losses(given)}


def _sampled(given: Trial) -> dict[str, Measured]:
    import torch

    from sfumato import Ancestral, random
    from sfumato_methods.discrete import CachedAncestral, FirstHitting

    from .chain import Chain, unigram_entropy

    chain = Chain(TOKENS, LENGTH, random.derive(given.seed, "chain"))
    n = max(20, round(N * given.scale))
    steps = max(LENGTH, round(STEPS * given.scale))
    fine = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    arms: dict[str, tuple[Sampler, Tensor]] = {
        "first": (FirstHitting(), fine[[0, -1]]),
        "ancestral": (Ancestral(), fine),
        "cached": (CachedAncestral(), fine),
    }
    calls, perplexity, entropy, cost = {}, {}, {}, {}
    for name, (sampler, grid) in arms.items():
        alone = [
            _drawn(chain, 1, sampler, grid, given.seed, f"{name} {i}")[1] for i in range(ALONE)
        ]
        calls[name] = sum(alone) / ALONE
        began = time.monotonic()
        x, _ = _drawn(chain, n, sampler, grid, given.seed, name)
        cost[name] = time.monotonic() - began
        perplexity[name] = float((chain.nll(x).mean() / LENGTH).exp())
        entropy[name] = float(unigram_entropy(x, TOKENS).mean())
    real, other = (chain.sample(n, random.derive(given.seed, part)) for part in ("real", "other"))
    floors = [
        float(((chain.nll(real).mean() - chain.nll(other).mean()) / LENGTH).exp()),
        float(unigram_entropy(real, TOKENS).mean() / unigram_entropy(other, TOKENS).mean()),
    ]
    spent = cost["first"]
    return {
        "calls": Measured(calls["first"], calls["ancestral"], None, ALONE, spent),
        "cached": Measured(calls["first"], calls["cached"], None, ALONE, spent),
        "perplexity": Measured(perplexity["first"], perplexity["ancestral"], floors[0], n, spent),
        "entropy": Measured(entropy["first"], entropy["ancestral"], floors[1], n, spent),
    }


def _drawn(
    chain: Chain, n: int, sampler: Sampler, grid: Tensor, seed: int, name: str
) -> tuple[Tensor, int]:
    """(n, L) samples of one batch, and how often the denoiser was called."""
    import torch

    from sfumato import random, sample
    from sfumato_methods.discrete import Discrete, absorbing

    from .chain import Counted

    asked = Counted(chain)
    like = torch.zeros(n, LENGTH, dtype=torch.long)
    process, source = Discrete(absorbing(TOKENS)), random.derive(seed, "sampling", name)
    x = sample(process, asked, like, sampler=sampler, grid=grid, generator=source)
    return x, asked.calls


def _precision(given: Trial) -> dict[str, Measured]:
    import torch

    from sfumato import random, sample
    from sfumato_methods.discrete import CachedAncestral, Discrete, Tokens, absorbing
    from sfumato_methods.discrete.races import entropy_ratio

    began = time.monotonic()
    probs = 1 / torch.arange(1, ZIPF + 1, dtype=torch.float64)
    probs = probs / probs.sum()
    entropy = float(torch.special.entr(probs).sum())
    found = {
        name: Measured(
            entropy * entropy_ratio(probs, RACES, bits), entropy, None, ZIPF,
            time.monotonic() - began,
        )
        for name, bits in (("float32", 24), ("float64", 53))
    }  # fmt: skip
    n = max(100, round(DRAWS * given.scale))
    logits = torch.nn.functional.pad(probs.log().float(), (0, 1))
    x = sample(
        Discrete(absorbing(ZIPF)),
        lambda x, t: Tokens(logits.expand(*x.shape, -1), ZIPF, x),
        torch.zeros(n, 1, dtype=torch.long),
        sampler=CachedAncestral(),
        grid=torch.linspace(1, 0, RACES + 1, dtype=torch.float64),
        generator=random.derive(given.seed, "zipf"),
    )
    surprisal = float(-probs[x].log().mean())
    found["drawn"] = Measured(surprisal, entropy, None, n, time.monotonic() - began)
    return found


def _losses(given: Trial) -> dict[str, Measured]:
    import torch

    from sfumato import random
    from sfumato_methods.discrete import Discrete, TokenDenoiser, absorbing
    from sfumato_methods.discrete.anyorder import any_order
    from sfumato_methods.discrete.losses import score_entropy
    from sfumato_nn.tokens import TokenTransformer
    from sfumato_train.runs import fresh
    from sfumato_train.times import stratified

    from .chain import Chain

    began, tokens, length, size = time.monotonic(), 4, 8, 2048
    net = fresh(given.seed, lambda: TokenTransformer(tokens + 1, width=16, depth=1, heads=1))
    source = random.derive(given.seed, "loud")
    with torch.no_grad():  # fresh blocks are the identity, of which little is to be seen
        for weight in net.parameters():
            weight.add_(0.3 * random.normal(weight, source))
    denoiser = TokenDenoiser(net, Discrete(absorbing(tokens)))
    chain = Chain(tokens, length, random.derive(given.seed, "short"))
    batches = max(2, round(LOSSES * given.scale))
    nats, slopes = [], []
    for law in (any_order, score_entropy):
        total = 0.0
        for parameter in net.parameters():
            parameter.grad = None
        for i in range(batches):
            source = random.derive(given.seed, law.__name__, i)
            x0, t = chain.sample(size, source), stratified(size, source).double()
            loss = law(denoiser.process, denoiser, x0, t, source).mean() / batches
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        nats.append(total)
        grads = [p.grad.flatten() for p in net.parameters() if p.grad is not None]
        slopes.append(torch.cat(grads).double())
    cosine = float(torch.nn.functional.cosine_similarity(slopes[0], slopes[1], 0))
    n, cost = batches * size, time.monotonic() - began
    return {
        "loss": Measured(nats[0], nats[1], None, n, cost),
        "gradient": Measured(cosine, 1.0, None, n, cost),
    }


system = System(
    id="mdmfhs",
    title="Masked Diffusion Models are Secretly Time-Agnostic Masked Models and Exploit "
    "Inaccurate Categorical Sampling",
    source="Zheng et al. 2024, arXiv:2409.02908",
    components=("absorbing", "first-hitting", "cached-ancestral", "ancestral", "tokens"),
    recipe="language/text",
    trial=trial,
    claims=(
        Claim("a tenth of the calls of ancestral sampling in 1,000 steps", "calls", at_most=0.1),
        Claim("its perplexity is at most 3 % higher", "perplexity", at_most=1.03),
        Claim("nor more than 3 % lower", "perplexity", at_least=0.97),
        Claim("its samples have 99 % of the entropy", "entropy", at_least=0.99),
        Claim("and not more than 101 %", "entropy", at_most=1.01),
        Claim("races in float32 lose a fifth of the entropy", "float32", at_most=0.83),
        Claim("and not more than that", "float32", at_least=0.78),
        Claim("races in float64 lose none", "float64", at_least=0.995),
        Claim("the gradient of the any-order loss is the time-weighted one", "gradient",
              at_least=0.99),
    ),
)  # fmt: skip
