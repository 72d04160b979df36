"""Autoregressive Diffusion Models (Hoogeboom et al. 2021).

A model of any order generates several tokens in one call, and a dynamic program says how many when;
it compresses single items in few calls of the network. Two trials:

- groups by the dynamic program against groups of equal size, with the exact posterior of a Markov
  chain over 12 tokens and 64 places; costs are measured on some sequences, and the nats on others.
  A token of it is one of a pair with probability 0.95, the pair of that before it: a few that are
  known tell much of the others, but not all. In chains that forget at once, both kinds of groups
  differ by less than 1 %, and in those that forget nothing few calls take more than 1.10;
- a small model of the Brown corpus by characters, with counted contexts (see `counts`), trained in
  a minute, compresses held-out documents by 32 calls for each window of 128 characters, and texts
  of 1 to 512 bytes cut out of them by 8.
"""

from __future__ import annotations

__all__ = ["system"]

import time
from collections.abc import Mapping

from sfumato.survey import Claim, Measured, System, Trial

TOKENS, LENGTH, N, STAY, KIN = 12, 64, 500, 0.95, 2
SIZE, WINDOW, STEPS, BATCH, LEARNING = "pico", 128, 300, 32, 6e-3
CONTEXTS, HELD = 1 << 16, 0.2
DOCUMENTS, TEXTS, BYTES, CALLS, FEW = 50, 1000, 512, 32, 8


def trial(given: Trial) -> Mapping[str, Measured]:
    """Budgets of calls on a known law, and compression by a model trained here.

    - `budget`: nats of held-out sequences with L/8 calls, groups by the program against equal ones;
    - `full`: the same against L calls; `quarter`: as `budget` with L/4 calls, no bound;
    - `bits`: of the code of held-out documents, against what the model gives them; `short-bits` of
      the texts, where a byte that the code ends in counts for more;
    - `exact`: documents and texts that came back byte by byte, of all;
    - `size`: of the files of documents, against the least of zlib, bz2 and xz; `short-size` of the
      texts, where the header counts for more, no bound.
    """
    return {**_budgets(given), **_compressed(given)}


def _budgets(given: Trial) -> dict[str, Measured]:
    from sfumato import random
    from sfumato_methods.discrete import Discrete, absorbing
    from sfumato_methods.discrete.anyorder import budget, costs, spent

    from .chain import Chain

    began = time.monotonic()
    chain = Chain(TOKENS, LENGTH, random.derive(given.seed, "chain"), STAY, KIN)
    process, n = Discrete(absorbing(TOKENS)), max(50, round(N * given.scale))
    fitted, held = (
        costs(
            process, chain, chain.sample(n, random.derive(given.seed, part)),
            random.derive(given.seed, part, "order"),
        )
        for part in ("train", "held")
    )  # fmt: skip

    def nats(calls: int) -> tuple[float, float]:
        return spent(held, budget(fitted, calls)), spent(held, [LENGTH // calls] * calls)

    whole = float(held.sum())
    (few, equal), (more, wide) = nats(LENGTH // 8), nats(LENGTH // 4)
    cost = time.monotonic() - began
    return {
        "budget": Measured(few, equal, None, n, cost),
        "full": Measured(few, whole, None, n, cost),
        "quarter": Measured(more, wide, None, n, cost),
    }


def _compressed(given: Trial) -> dict[str, Measured]:
    import bz2
    import lzma
    import zlib

    from ..compression import Coder, header
    from .text import of_brown

    began = time.monotonic()
    made = of_brown(
        given, length=WINDOW, steps=STEPS, batch=BATCH, lr=LEARNING, size=SIZE, contexts=CONTEXTS,
        held=HELD,
    )  # fmt: skip
    coder = Coder(made.model, made.tokenizer, made.length)
    documents = made.documents[: max(1, round(DOCUMENTS * given.scale))]
    texts = _cuttings("".join(documents), max(2, round(TEXTS * given.scale)), given.seed)
    found, right, total = {}, 0, 0
    for prefix, items, calls in (("", documents, CALLS), ("short-", texts, FEW)):
        code, bits, size, best = 0.0, 0.0, 0, 0
        for text in items:
            packed = coder.compress(text, calls=calls)
            right += coder.decompress(packed.content) == text
            raw = text.encode()
            code, bits = code + 8 * len(header(packed.content)[1]), bits + packed.bits
            size += len(packed.content)
            best += min(len(zlib.compress(raw, 9)), len(bz2.compress(raw)), len(lzma.compress(raw)))
        total, n, cost = total + len(items), len(items), time.monotonic() - began
        characters = sum(map(len, items))
        print(
            f"{prefix or 'whole '}texts: {n}, {bits / characters:.3f} bits a character, the best "
            f"of zlib, bz2 and xz {8 * best / characters:.3f}",
            flush=True,
        )
        found[prefix + "bits"] = Measured(code, bits, None, n, cost)
        found[prefix + "size"] = Measured(float(size), float(best), None, n, cost)
    return found | {"exact": Measured(right, total, None, total, time.monotonic() - began)}


def _cuttings(whole: str, count: int, seed: int) -> list[str]:
    """Texts of 1 to 512 characters, their places and sizes drawn."""
    from sfumato import random

    source = random.derive(seed, "texts")
    sizes = random.integers(1, BYTES + 1, (count,), source).tolist()
    starts = (random.uniform((count,), source) * max(1, len(whole) - BYTES)).long().tolist()
    return [whole[start : start + size] for start, size in zip(starts, sizes, strict=True)]


system = System(
    id="ardm",
    title="Autoregressive Diffusion Models",
    source="Hoogeboom et al. 2021, arXiv:2110.02037",
    components=("absorbing", "random-order", "tokens", "language/brown", "language/compress"),
    recipe="language/brown",
    trial=trial,
    claims=(
        Claim("an eighth of the calls: at most 0.97 of the nats of equal groups", "budget",
              at_most=0.97),
        Claim("and at most 1.10 of the nats of a call a token", "full", at_most=1.10),
        Claim("the code of documents takes at most 1.02 of the bits of the model", "bits",
              at_most=1.02),
        Claim("and so does that of texts of up to 512 bytes", "short-bits", at_most=1.02),
        Claim("all texts come back byte by byte", "exact", at_least=1.0),
        Claim("files of documents are smaller than those of zlib, bz2 and xz", "size",
              at_most=1.0),
    ),
)  # fmt: skip
