"""A Markov chain over tokens: a law of sequences of which everything is known in closed form."""

from __future__ import annotations

__all__ = ["Chain", "Counted", "Others", "unigram_entropy"]

import math
from typing import Any

import torch
from torch import Generator, Tensor

from sfumato import Categorical, random
from sfumato.sampling import Denoise
from sfumato_methods.discrete import Kernel, Tokens

_SPREAD = 2.0
"""Standard deviation of the logits of R: some 1.4 nats a token of 12, where none stays."""


class Chain:
    """x_1 ~ uniform, x_(i+1) ~ P[x_i], P = stay S + (1 - stay) R, the rows of R softmaxes.

    S is uniform within kin, groups of as many tokens; where each is alone, S = I.

    Called as a denoiser of masked sequences it returns the exact posterior of each token given all
    that are seen, whatever the time: p(x_i) is proportional to P^d[a, x_i] P^e[x_i, b] with a and b
    the nearest tokens that are seen, d places before and e behind.

    Args:
        tokens: K; the id K is the mask.
        length: L.
        generator: source of R.
        stay: probability that a token is of the kin of that before it, whatever R says.
        kin: tokens of a group; divides K.
    """

    def __init__(
        self, tokens: int, length: int, generator: Generator, stay: float = 0.0, kin: int = 1
    ) -> None:
        self.tokens, self.length = tokens, length
        like = torch.empty(tokens, tokens, dtype=torch.float64)
        same = torch.eye(tokens, dtype=torch.float64)
        moves = (_SPREAD * random.normal(like, generator)).softmax(-1)
        near = torch.kron(torch.eye(tokens // kin), torch.ones(kin, kin)).double() / kin
        self.matrix: Tensor = stay * near + (1 - stay) * moves
        powers = [same]
        for _ in range(length):
            powers.append(powers[-1] @ self.matrix)
        self.powers = torch.stack(powers)  # (L + 1, K, K)
        self.marginals = self.powers[:length].mean(1)  # (L, K) of x_i with nothing seen

    def sample(self, n: int, generator: Generator) -> Tensor:
        """(n, L) ids."""
        first = torch.full((n, self.tokens), 1 / self.tokens, dtype=torch.float64)
        found = [random.categorical(first, generator)]
        for _ in range(self.length - 1):
            found.append(random.categorical(self.matrix[found[-1]], generator))
        return torch.stack(found, 1)

    def nll(self, x: Tensor) -> Tensor:
        """(n,) nats of sequences (n, L)."""
        steps = self.matrix[x[:, :-1], x[:, 1:]].log().sum(1)
        return math.log(self.tokens) - steps

    def __call__(self, x: Tensor, t: Any) -> Tokens:
        place = torch.arange(self.length, device=x.device).expand_as(x)
        seen = x < self.tokens
        left = torch.where(seen, place, -1).cummax(1).values
        right = torch.where(seen, place, self.length).flip(1).cummin(1).values.flip(1)
        before = self.powers[
            place - left.clamp_min(0), x.gather(1, left.clamp_min(0)) % self.tokens
        ]
        before = torch.where((left < 0)[..., None], self.marginals, before)
        close = right.clamp(max=self.length - 1)
        back = self.powers.transpose(1, 2)[close - place, x.gather(1, close) % self.tokens]
        law = torch.where((right == self.length)[..., None], before, before * back)
        law = torch.where(seen[..., None], 1.0, law)  # carried over, not looked at
        return Tokens(torch.nn.functional.pad(law, (0, 1)).log(), self.tokens, x)


class Others:
    """The exact law of each token of a short noisy sequence, given all places but its own.

    What `denoise_resampled` learns; with `differs` the seen token is excluded, which is what
    `denoise_replaced` learns. Sums over all K^L sequences.

    Args:
        chain: law of the sequences.
        kernel: of the noise; every token may turn into any other.
        differs: whether the token is known not to be the one that is seen.
    """

    def __init__(self, chain: Chain, kernel: Kernel, *, differs: bool = False) -> None:
        self.kernel, self.differs = kernel, differs
        self.every = torch.cartesian_prod(*[torch.arange(chain.tokens)] * chain.length)
        self.law = (-chain.nll(self.every)).exp()
        self.once = torch.nn.functional.one_hot(self.every, chain.tokens).double()  # (S, L, K)

    def __call__(self, x: Tensor, t: Tensor) -> Categorical:
        seen = self.kernel.columns(x, torch.zeros_like(t), t).log()  # (B, L, K)
        each = torch.einsum("blk,slk->bsl", seen, self.once)
        weight = (each.sum(-1, keepdim=True) - each).exp() * self.law[:, None]
        found = torch.einsum("bsl,slk->blk", weight, self.once)
        if self.differs:
            found = found.scatter(-1, x[..., None], 0.0)
        return Categorical(probs=found / found.sum(-1, keepdim=True))


class Counted:
    """A denoiser that counts its calls."""

    def __init__(self, denoiser: Denoise) -> None:
        self.denoiser, self.calls = denoiser, 0

    def __call__(self, x: Any, t: Any) -> Any:
        self.calls += 1
        return self.denoiser(x, t)


def unigram_entropy(x: Tensor, tokens: int) -> Tensor:
    """(n,) entropy, in nats, of the frequencies of tokens within each sequence (n, L)."""
    counts = torch.nn.functional.one_hot(x, tokens).double().sum(1)
    entropy: Tensor = torch.special.entr(counts / x.shape[1]).sum(1)
    return entropy
