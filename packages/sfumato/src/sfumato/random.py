"""The one funnel for randomness: every draw takes a `torch.Generator` or `Streams`.

`Streams` holds one generator per item, so that an item does not depend on its neighbours or on
the batch size. Sub-streams are made by `fork`, which consumes a draw of the parent, or by
`derive` from a seed and a path of names; never by using one integer seed twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Generator, Tensor

from .errors import InputError
from .state import Fields, Padded, Ragged, apply

__all__ = [
    "Source", "Streams", "categorical", "derive", "draw", "exponential", "fork", "integers",
    "normal", "permutation", "uniform",
]  # fmt: skip


class Streams(tuple[Generator, ...]):
    """One generator per item: item i draws from generator i alone."""

    __slots__ = ()

    @classmethod
    def derive(cls, seed: int, name: str, numbers: Sequence[int]) -> Streams:
        """The streams of the items `numbers`, each a function of (seed, name, number) alone."""
        return cls(derive(seed, name, i) for i in numbers)


_AT, _WORDS = 24, 624  # the Mersenne twister inside the state of a CPU generator
Source: TypeAlias = Generator | Streams
_Fill: TypeAlias = Callable[[Sequence[int], Generator], Tensor]


def derive(seed: int, *path: str | int, device: str | torch.device = "cpu") -> Generator:
    """A generator that is a function of the seed and of a path of names or numbers."""
    words = hashlib.shake_128(repr((seed, *path)).encode()).digest(8 + 4 * _WORDS)
    generator = Generator(device).manual_seed(int.from_bytes(words[:8], "little") >> 1)
    if generator.device.type == "cpu":  # its seed counts 32 bits only: streams would soon collide
        state = generator.get_state().numpy()
        state[_AT : _AT + 8 * _WORDS].view(np.uint64)[:] = np.frombuffer(words[8:], np.uint32)
        generator.set_state(torch.from_numpy(state))
    return generator


def fork(generator: Source, name: str) -> Any:
    """A new source, independent of what `generator` yields next; consumes one draw of it."""
    if isinstance(generator, Streams):
        return Streams(fork(g, name) for g in generator)
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    return derive(int(seed), name, device=generator.device)


@singledispatch
def draw(like: Any, fill: _Fill, generator: Source) -> Any:
    """A state shaped like `like`, filled by `fill(shape, generator)`.

    With `Streams` every item is filled from its own generator, and only its valid part is drawn,
    so that padding and neighbours change nothing.

    Raises:
        InputError: if there are more or fewer streams than items.
    """
    raise TypeError(f"{type(like).__name__} is not a state that can be drawn")


def _each(generator: Streams, count: int) -> Streams:
    if len(generator) != count:
        raise InputError(f"{len(generator)} streams were given for {count} items; give one each")
    return generator


@draw.register
def _(like: Tensor, fill: _Fill, generator: Source) -> Tensor:
    if isinstance(generator, Streams):
        streams = _each(generator, len(like))
        if not streams:
            return torch.empty_like(like)
        return torch.stack([fill(like.shape[1:], g) for g in streams]).to(like.device)
    return fill(like.shape, generator).to(like.device)


@draw.register
def _(like: Ragged, fill: _Fill, generator: Source) -> Ragged:
    if not isinstance(generator, Streams):
        return Ragged(draw(like.data, fill, generator), like.owner, like.items)
    counts, rest = like.counts.tolist(), like.data.shape[1:]
    rows = [fill((n, *rest), g) for n, g in zip(counts, _each(generator, like.items), strict=True)]
    return Ragged(torch.cat(rows).to(like.data.device), like.owner, like.items)


@draw.register
def _(like: Padded, fill: _Fill, generator: Source) -> Padded:
    if not isinstance(generator, Streams):
        return Padded(draw(like.data, fill, generator), like.mask)
    counts, rest = like.mask.flatten(1).sum(1).tolist(), like.data.shape[like.mask.ndim :]
    streams = _each(generator, len(like.data))
    rows = torch.cat([fill((n, *rest), g) for n, g in zip(counts, streams, strict=True)])
    data = rows.new_zeros(like.data.shape, device=like.data.device)
    data[like.mask] = rows.to(data.device)
    return Padded(data, like.mask)


@draw.register
def _(like: Fields, fill: _Fill, generator: Source) -> Fields:
    return Fields({k: draw(v, fill, generator) for k, v in like.items()})


def normal(like: Any, generator: Source) -> Any:
    """Standard normal noise with the layout, dtype and device of the state `like`."""
    if isinstance(like, Fields):
        return Fields({k: normal(v, generator) for k, v in like.items()})
    values = like if isinstance(like, Tensor) else like.data
    dtype = values.dtype if values.is_floating_point() else torch.float32
    if values is like and isinstance(generator, Generator) and like.device == generator.device:
        blank = torch.empty_like(like, dtype=dtype, memory_format=torch.contiguous_format)
        return blank.normal_(generator=generator)  # the common case, spared the dispatch
    return draw(
        like, lambda n, g: torch.randn(n, generator=g, dtype=dtype, device=g.device), generator
    )


def exponential(like: Any, generator: Source) -> Any:
    """Standard exponential draws in float64, never zero, with the layout of `like`."""

    def fill(shape: Sequence[int], g: Generator) -> Tensor:
        e = torch.empty(shape, dtype=torch.float64, device=g.device).exponential_(generator=g)
        return e.clamp_min_(1e-300)

    return draw(like, fill, generator)


def categorical(probs: Any, generator: Source) -> Any:
    """Ids drawn from the last dimension of `probs` (not necessarily normalised), in float64.

    An exponential race: argmax of p/e with e ~ Exp(1). In single precision such races lose every
    event rarer than 2^-24, which distorts long chains (Zheng et al., arXiv:2409.02908).
    """
    e = exponential(probs, generator)
    return apply(probs, lambda p, u: (p.double() / u).argmax(-1), e)


def uniform(shape: Sequence[int], generator: Generator) -> Tensor:
    """Uniform draws on [0, 1), float64."""
    return torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)


def integers(low: int, high: int, shape: Sequence[int], generator: Generator) -> Tensor:
    """Integers uniform on [low, high), long."""
    return torch.randint(low, high, tuple(shape), generator=generator, device=generator.device)


def permutation(count: int, generator: Generator) -> Tensor:
    """A random order of 0..count-1, long."""
    return torch.randperm(count, generator=generator, device=generator.device)
