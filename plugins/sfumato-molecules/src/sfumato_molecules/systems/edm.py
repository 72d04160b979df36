"""The public recipe of E(3)-equivariant diffusion, as others' models are compared with.

Hoogeboom et al. 2022, arXiv:2203.17003, and their code, written anew: a padded batch, messages of
all n_max^2 pairs, an MLP of messages and another one of displacements in every layer; noise of a
polynomial schedule on places and on scaled one-hot classes alike, of which the network says the
noise.
"""

from __future__ import annotations

__all__ = ["EDM", "NoiseDenoiser", "OneHot", "PaddedNetwork", "polynomial"]

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfumato import Ancestral, Dataset, Fields, Joint, Model, Process, Product, Ragged
from sfumato.denoiser import NetworkDenoiser
from sfumato.random import Source
from sfumato.state import Time, expand
from sfumato_data import gather
from sfumato_methods import grids
from sfumato_methods.discrete.sizes import Sizes
from sfumato_methods.gaussian import VP, Centred, Gaussian, Table
from sfumato_train import Jointly, Training

from ..denoiser import Weighted
from ..recipes import SDF, blank_of

ONE_HOT = 0.25
"""What a class is scaled by."""


def polynomial(steps: int = 1000, least: float = 1e-5) -> Table:
    """alpha^2 = (1 - 2 s)(1 - (k/T)^2)^2 + s at step k, neighbours at least 0.001 apart in ratio.

    Appendix B of the paper, and `clip_noise_schedule` of its code.
    """
    k = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    alpha2 = (1 - k**2).square()
    before = torch.cat((torch.ones(1, dtype=torch.float64), alpha2[:-1]))
    ratio = (alpha2 / before).clamp(0.001, 1)
    return VP.from_alpha_bar((1 - 2 * least) * ratio.cumprod(0) + least)


class PaddedNetwork(nn.Module):
    """An EGNN on (B, n) points with a mask, each pair in both orders and with itself.

    Args:
        classes: numbers of a point, in and out.
        width: channels.
        depth: layers.
    """

    def __init__(self, classes: int, width: int, depth: int) -> None:
        super().__init__()
        self.inward = nn.Linear(classes + 1, width)
        self.layers = nn.ModuleList(_Layer(width) for _ in range(depth))
        self.outward = nn.Linear(width, classes)

    def forward(self, x: Tensor, h: Tensor, t: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, n, 3), (B, n, classes), (B,), (B, n) to displacements and numbers."""
        items, count = mask.shape
        both = (mask[:, :, None] & mask[:, None]) & ~torch.eye(count, dtype=torch.bool)
        place = torch.arange(items * count).view(items, count)
        row = place[:, :, None].expand(-1, -1, count).reshape(-1)
        column = place[:, None].expand(-1, count, -1).reshape(-1)
        edges, points = both.reshape(-1, 1).float(), mask.reshape(-1, 1).float()
        x, start = x.reshape(-1, 3), x.reshape(-1, 3)
        time = t[:, None, None].expand(items, count, 1)
        h = self.inward(torch.cat((h, time), -1).reshape(items * count, -1))
        first = _squared(x, row, column)
        for layer in self.layers:
            h, x = layer(h, x, row, column, first, edges, points)
        shift = ((x - start) * points).view(items, count, 3)
        mean = shift.sum(1, keepdim=True) / mask.sum(1)[:, None, None]
        out = (self.outward(h) * points).view(items, count, -1)
        return (shift - mean) * mask[..., None], out


def _squared(x: Tensor, row: Tensor, column: Tensor) -> Tensor:
    return (x[row] - x[column]).square().sum(1, keepdim=True)


class _Layer(nn.Module):
    """Messages, then displacements."""

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = 2 * width + 2
        self.message = nn.Sequential(
            nn.Linear(wide, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.attention = nn.Sequential(nn.Linear(width, 1), nn.Sigmoid())
        self.node = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width))
        last = nn.Linear(width, 1, bias=False)
        nn.init.xavier_uniform_(last.weight, gain=0.001)
        self.move = nn.Sequential(
            nn.Linear(wide, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), last
        )

    def forward(
        self,
        h: Tensor,
        x: Tensor,
        row: Tensor,
        column: Tensor,
        first: Tensor,
        edges: Tensor,
        points: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Points h (B n, W) at x (B n, 3)."""
        d2 = _squared(x, row, column)
        m = self.message(torch.cat((h[row], h[column], d2, first), 1))
        m = m * self.attention(m) * edges
        total = torch.zeros_like(h).scatter_add_(0, row[:, None].expand_as(m), m) / 100
        h = (h + self.node(torch.cat((h, total), 1))) * points
        gap = (x[row] - x[column]) / ((d2 + 1e-8).sqrt() + 1)
        step = gap * self.move(torch.cat((h[row], h[column], d2, first), 1)) * edges
        moved = torch.zeros_like(x).scatter_add_(0, row[:, None].expand_as(step), step) / 100
        return h, (x + moved) * points


class OneHot(nn.Module):
    """A codec from classes of atoms to scaled one-hot vectors; places stay in angstrom."""

    exact: float | None = 1e-5

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def encode(self, x: Any, generator: Source) -> Fields:
        return self.layout(x)

    def layout(self, like: Any) -> Fields:
        atoms = like["atoms"]
        hot = F.one_hot(atoms.data, self.classes).float() * ONE_HOT
        places = Centred().project(like["positions"])
        return Fields(positions=places, atoms=Ragged(hot, atoms.owner, atoms.items))

    def decode(self, z: Any) -> Fields:
        atoms = z["atoms"]
        ids = Ragged(atoms.data.argmax(-1), atoms.owner, atoms.items)
        return Fields(positions=z["positions"], atoms=ids)

    def mask(self, m: Any) -> Any:
        return m


class NoiseDenoiser(NetworkDenoiser):
    """The network says the noise, and is told the time."""

    def forward(self, x: Any, t: Time) -> Joint:
        assert isinstance(self.process, Product) and isinstance(t, Tensor)
        part: Any = self.process.part("positions")
        alpha, sigma = part.alpha(t), part.sigma(t)
        places, atoms = x["positions"], x["atoms"]
        mask = torch.arange(int(places.counts.max())) < places.counts[:, None]
        dense = places.data.new_zeros(*mask.shape, 3 + atoms.data.shape[1])
        dense[mask] = torch.cat((places.data, atoms.data), 1)
        time = t.float().expand(places.items)
        shift, noise = self.net(dense[..., :3], dense[..., 3:], time, mask)
        weight = (alpha / sigma).square()
        told = {"positions": shift[mask], "atoms": noise[mask]}
        laws = {}
        for name, value in told.items():
            seen: Ragged = x[name]
            eps = Ragged(value, seen.owner, seen.items)
            mean = (seen - eps * expand(seen, sigma)) / expand(seen, alpha)
            laws[name] = Weighted(mean, weight)
        return Joint(laws)


class _Noised(Product):
    """Places and one-hot classes with Gaussian noise; the sizes of molecules beside."""

    def __init__(self, largest: int) -> None:
        table = polynomial()
        parts: dict[str, Process] = {
            "positions": Gaussian(table, Centred()), "atoms": Gaussian(table)
        }  # fmt: skip
        super().__init__(parts)
        self.sizes = Sizes(largest)


class EDM(SDF):
    """The public recipe, in the width and depth of ours."""

    def model(self, about: Mapping[str, Any]) -> Model:
        classes = len(about["classes"])
        process = _Noised(about["largest"])
        return Model(
            process=process,
            denoiser=NoiseDenoiser(PaddedNetwork(classes, self.width, self.depth), process),
            sampler=Ancestral(),
            grid=grids.uniform,
            steps=self.sampling_steps,
            blank=blank_of(process.sizes),
            codec=OneHot(classes),
            sizing=("atoms",),
        )

    def build(self, data: Dataset) -> Training:
        model = self.model(data.about)
        assert isinstance(model.process, _Noised)
        model.process.sizes.fill(gather(data).x["atoms"].counts)
        weight = {"positions": 1.0, "atoms": 1.0}
        return Training(Jointly(model.process, model.denoiser, weight, model.codec), data, model)
