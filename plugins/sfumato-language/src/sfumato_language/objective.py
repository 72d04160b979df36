"""Any-order training of masked models: exactly n tokens hidden, n uniform and stratified."""

from __future__ import annotations

__all__ = ["AnyOrder", "cross_entropy", "hide", "maskable"]

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from sfumato import Batch, InputError, Padded, random
from sfumato_methods.discrete import TokenDenoiser
from sfumato_train import Loss, Objective
from sfumato_train.times import stratified

from .canvas import CANVAS


class AnyOrder(Objective):
    """Mean cross-entropy of n hidden tokens given the others, n uniform on 1..L.

    In nats a token, E_n (1/n) sum over hidden of -log p(x_i | the rest): the bound on -log p(x) of
    all orders of generation at once, equal to the masked-diffusion bound of every schedule
    (Hoogeboom et al. 2021, arXiv:2110.02037, eq. 4; Zheng et al. 2024, arXiv:2409.02908, prop. 3.1;
    Ou et al. 2024, arXiv:2406.03736). That n is exact, and low-discrepancy over the batch, takes
    most of the noise out of it. Where the data has a condition `canvas`, L counts its masks: what
    it shows, a prompt, is never hidden and has no part in the loss.

    With `complementary`, an item is gone through twice, and what is hidden the second time are the
    L - n tokens that were seen the first (Li et al. 2025, arXiv:2505.16839, section 3.2): each
    token is learned exactly once a pair. With both means of weight 1/2, and the first alone where
    n = L, the loss is the same bound: n and L - n are as likely.

    With `shares` n is uniform on a part of 1..L, and the loss is no bound: where nearly all is
    hidden there is little to learn, and where nearly nothing is, few tokens learn it, so that a
    short training comes further (clipped schedules; Arriola et al. 2025, arXiv:2503.09573).

    Args:
        denoiser: what is trained; its process masks.
        complementary: learn every token of an item, in two calls.
        shares: least and largest n/L, in [0, 1].

    Raises:
        InputError: unless the least share is below the largest.
    """

    def __init__(
        self,
        denoiser: TokenDenoiser,
        *,
        complementary: bool = False,
        shares: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        super().__init__()
        if not 0 <= shares[0] < shares[1] <= 1:
            raise InputError(
                f"shares of hidden tokens lie in [0, 1], the least before the largest, not {shares}"
            )
        self.denoiser, self.complementary, self.shares = denoiser, complementary, shares

    def players(self) -> dict[str, nn.Module]:
        return {"denoiser": self.denoiser}

    def loss(self, player: str, batch: Batch, generator: Generator) -> Loss:
        x0: Padded = batch.x
        low, high = self.shares
        share = (low + (high - low) * stratified(len(x0.data), generator)).to(x0.data.device)
        noise = random.uniform(x0.mask.shape, generator).to(x0.data.device)
        free = maskable(self.denoiser, batch)
        at, count = hide(free, share, noise)
        mean = cross_entropy(self.denoiser, batch, at, free).sum(1) / count
        if self.complementary:
            rest = free & ~at
            other = cross_entropy(self.denoiser, batch, rest, free).sum(1)
            other = other / rest.sum(1).clamp_min(1)
            mean = torch.where(rest.any(1), (mean + other) / 2, mean)
        level = (count / free.sum(1)).double()
        return Loss(mean, clock=self.denoiser.process.clock(level))


def maskable(denoiser: TokenDenoiser, batch: Batch) -> Tensor:
    """(B, L) bool: which tokens may be hidden: those that are real and masked in the canvas."""
    x0: Padded = batch.x
    canvas: Padded | None = batch.condition.get(CANVAS)
    if canvas is None:
        return x0.mask
    return x0.mask & (canvas.data == denoiser.process.kernel.mask)


def hide(real: Tensor, share: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Which tokens are hidden, (B, L) bool: n = 1 + floor(share L) of them, any set as likely.

    Args:
        real: (B, L) bool, what is no padding; L is counted in it.
        share: (B,) on [0, 1).
        noise: (B, L) uniform on [0, 1), by which they are chosen.

    Returns:
        The tokens, and (B,) n.
    """
    count = (share * real.sum(1)).floor().long() + 1
    order = noise.masked_fill(~real, 2.0).argsort(1)
    first = torch.arange(real.shape[1], device=real.device) < count[:, None]
    return torch.zeros_like(real).scatter_(1, order, first), count


def cross_entropy(denoiser: TokenDenoiser, batch: Batch, at: Tensor, free: Tensor) -> Tensor:
    """(B, L) nats of the tokens `at`, given all others; 0 elsewhere.

    The head is run, and the vocabulary gone through, for hidden tokens alone.

    Args:
        denoiser: its process masks.
        batch: clean ids, and what the network is told.
        at: (B, L) bool: which tokens are hidden.
        free: (B, L) bool: which tokens may be, see `maskable`; the time is the share that is.
    """
    x0: Padded = batch.x
    mask = denoiser.process.kernel.mask
    assert mask is not None
    x = Padded(x0.data.masked_fill(at, mask), x0.mask)
    level = (at.sum(1) / free.sum(1)).double()  # keep(t) = 1 - t, so that this is t
    told = {name: value for name, value in batch.condition.items() if name != CANVAS}
    logits = denoiser.given(**told, at=at).output(x, level).float()
    logits[:, mask] = -torch.inf  # it is no data
    nats = F.cross_entropy(logits, x0.data[at], reduction="none")
    return nats.new_zeros(at.shape).masked_scatter(at, nats)
