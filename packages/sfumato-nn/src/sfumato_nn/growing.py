"""A transformer over texts that grow: logits of tokens, and how many are missing in each gap."""

from __future__ import annotations

__all__ = ["GrowingTransformer"]

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from sfumato import Padded
from sfumato.errors import InputError

from .layers import zeroed
from .tokens import TokenTransformer


class GrowingTransformer(nn.Module):
    """Token ids to logits over ids, and a number for each gap before, between and behind them.

    A token that begins the text is put in front; what the network says there and at each token is
    of the gap behind it. Only the columns that some text of the batch reaches are worked on.

    Args:
        vocabulary: number of ids K, a mask included.
        width: channels per token.
        depth: number of blocks.
        heads: attention heads; width / heads is even.
        time: whether the network is told the clock, on which the gaps depend.
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        time: bool = True,
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.tokens = TokenTransformer(
            vocabulary + 1, width=width, depth=depth, heads=heads, time=time
        )
        self.gaps = zeroed(nn.Linear(width, 1))

    def encode(self, **condition: Any) -> dict[str, Any]:
        """There is nothing that it could be told.

        Raises:
            InputError: for any condition.
        """
        if condition:
            raise InputError(
                f"a network of texts that grow takes no condition; given were "
                f"{', '.join(condition)}"
            )
        return {}

    def forward(self, x: Padded, clock: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, M, K) and gaps (B, M + 1), 0 where there is no token.

        Args:
            x: ids (B, M), long, the tokens of each text at the front.
            clock: (B,).

        Raises:
            InputError: for an id outside the vocabulary.
        """
        used = int(x.mask.sum(1).max()) if len(x.mask) else 0
        rest = x.mask.shape[1] - used
        real = F.pad(x.mask[:, :used], (1, 0), value=True)
        ids = F.pad(x.data[:, :used].masked_fill(~real[:, 1:], 0), (1, 0), value=self.vocabulary)
        _check(ids[:, 1:], self.vocabulary)
        hidden, _ = self.tokens._hidden(Padded(ids, real), clock, None, None, None)
        hidden = self.tokens.norm(hidden)
        table, bias = self.tokens.table.weight, self.tokens.bias
        logits = F.linear(hidden[:, 1:], table[: self.vocabulary], bias[: self.vocabulary])
        logits = logits.masked_fill(~real[:, 1:, None], 0.0)
        gaps = self.gaps(hidden)[..., 0].masked_fill(~real, 0.0)
        return F.pad(logits, (0, 0, 0, rest)), F.pad(gaps, (0, rest))


def _check(ids: Tensor, vocabulary: int) -> None:
    """Raise `InputError` for the token that only the network itself puts in front."""
    if ids.numel() and int(ids.max()) >= vocabulary:
        raise InputError(
            f"there is a token id {int(ids.max())}, and this network knows 0 to {vocabulary - 1}"
        )
