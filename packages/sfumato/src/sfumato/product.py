"""Products of processes over named fields, and samplers chosen part by part."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .errors import InputError, Unsupported
from .laws import Dirac, Joint, Law
from .process import Can, Noised, Process, by_step
from .random import Source
from .sampling import Ancestral, Multistep, Point, Sampler, _fit
from .state import Fields, Time

__all__ = ["PerPart", "Product"]

_SHARED = Can.STEP | Can.BRIDGE | Can.VELOCITY | Can.SCORE | Can.LIKELIHOOD


def _clock(t: Time, name: str) -> Any:
    """The time of one field."""
    if isinstance(t, Tensor):
        return t
    if name not in t:
        raise InputError(f"there is no time for the field {name!r}; given are {', '.join(t)}")
    return t[name]


class Product(Process):
    """Independent processes on the fields of a state, denoised together.

    STEP, BRIDGE, VELOCITY, SCORE and LIKELIHOOD hold where they hold for every part. A part whose
    time stands still in a step rests and draws nothing, so that context (bonds, a mask, past
    frames) may ride along at t = 0.

    Args:
        parts: process of each field.
    """

    accepts: ClassVar[tuple[type[Law], ...]] = (Joint,)

    def __init__(self, parts: Mapping[str, Process]) -> None:
        super().__init__()
        if not parts:
            raise InputError("a Product needs at least one part")
        self.parts = nn.ModuleDict(dict(parts))
        self.can = functools.reduce(operator.and_, (p.can for p in parts.values()), _SHARED)

    def part(self, name: str) -> Process:
        """The process of one field."""
        process = self.parts[name]
        assert isinstance(process, Process)
        return process

    def _each(self) -> list[tuple[str, Process]]:
        return [(name, self.part(name)) for name in self.parts]

    def prior(self, like: Any) -> Joint:
        return Joint({k: p.prior(like[k]) for k, p in self._each()})

    def marginal(self, x0: Any, t: Time) -> Joint:
        return Joint({k: p.marginal(x0[k], _clock(t, k)) for k, p in self._each()})

    def bridge(self, x0: Any, x: Any, t: Time, s: Time, row: Any = None) -> Joint:
        return self._step("bridge", x0, x, t, s, row)

    def transition(self, q: Any, x: Any, t: Time, s: Time, row: Any = None) -> Joint:
        return self._step("transition", q, x, t, s, row)

    def _step(self, law: str, given: Any, x: Any, t: Time, s: Time, row: Any) -> Joint:
        laws: dict[str, Law] = {}
        for k, p in self._each():
            u, v = _clock(t, k), _clock(s, k)
            rests, part_row = row[k] if row is not None else (_still(u, v), None)
            laws[k] = Dirac(x[k]) if rests else getattr(p, law)(given[k], x[k], u, v, part_row)
        return Joint(laws)

    def draw(self, x0: Any, t: Time, generator: Source) -> Noised:
        drawn = {k: p.draw(x0[k], _clock(t, k), generator) for k, p in self._each()}
        return Noised(
            Fields({k: d.x for k, d in drawn.items()}),
            Fields({k: d.target for k, d in drawn.items()}),
        )

    def plan(self, grid: Time) -> Sequence[Any]:
        columns = {}
        for k, p in self._each():
            own = _clock(grid, k)
            rests = [_still(t, s) for t, s in zip(own, own[1:], strict=False)]
            columns[k] = list(zip(rests, p.plan(own), strict=True))
        return by_step(columns)

    def clock(self, t: Time) -> dict[str, Any]:
        return {k: p.clock(_clock(t, k)) for k, p in self._each()}

    def plan_velocity(self, grid: Time) -> Sequence[Any]:
        return by_step({k: p.plan_velocity(_clock(grid, k)) for k, p in self._each()})

    def velocity(self, q: Any, x: Any, t: Time, row: Any = None) -> Fields:
        own = dict.fromkeys(self.parts) if row is None else row
        return Fields({k: p.velocity(q[k], x[k], _clock(t, k), own[k]) for k, p in self._each()})

    def score(self, q: Any, x: Any, t: Time) -> Fields:
        return Fields({k: p.score(q[k], x[k], _clock(t, k)) for k, p in self._each()})

    def project(self, x: Any) -> Fields:
        return Fields({k: p.project(x[k]) for k, p in self._each()})

    def given(self, **context: Any) -> Product:
        """Pin the context of parts: `given(field={"end": x1})`."""
        unknown = [k for k in context if k not in self.parts]
        if unknown:
            raise InputError(f"{self} has no part {', '.join(unknown)}")
        return Product({k: p.given(**context.get(k, {})) for k, p in self._each()})

    def check(self, q: Any) -> None:
        super().check(q)
        for k, p in self._each():
            if k not in q.parts:
                raise Unsupported(f"the denoiser returned no posterior for the part {k!r}")
            p.check(q[k])

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={p!r}" for k, p in self._each())


def _still(t: Time, s: Time) -> bool:
    """Whether a whole part rests (nested products decide for their own parts)."""
    return isinstance(t, Tensor) and isinstance(s, Tensor) and torch.equal(t, s)


@dataclass(frozen=True)
class PerPart(Multistep):
    """A sampler for each field of a product, with one joint network call per step.

    As in `Product`, a part whose time stands still in a step rests and draws nothing.

    Args:
        rules: one-evaluation samplers by field.
        default: the sampler of every other field.
    """

    rules: Mapping[str, Multistep] = field(default_factory=lambda: MappingProxyType({}))
    default: Multistep = Ancestral()

    needs: ClassVar[Can] = Can(0)

    def on(self, process: Process) -> PerPart:
        """This sampler with a rule for every part, each able to serve its part.

        Raises:
            Unsupported: naming the part that lacks what its rule needs.
        """
        if not isinstance(process, Product):
            raise Unsupported(f"PerPart needs a Product; {process} is one process. Use its rule")
        unknown = [k for k in self.rules if k not in process.parts]
        if unknown:
            raise Unsupported(
                f"PerPart has a rule for {', '.join(unknown)}, not a part of {process}"
            )
        return PerPart({k: self._rule(k, process.part(k)) for k in process.parts}, self.default)

    def _rule(self, name: str, part: Process) -> Multistep:
        rule: Sampler = self.rules.get(name, self.default)
        if not isinstance(rule, Multistep):
            raise Unsupported(
                f"part {name!r}: {type(rule).__name__} evaluates the denoiser more than once per "
                "step, so it cannot be one rule among several; use a multistep sampler"
            )
        try:
            fitted = _fit(rule, part)
        except Unsupported as error:
            raise Unsupported(f"part {name!r}: {error}") from None
        assert isinstance(fitted, Multistep)
        return fitted

    @property
    def deterministic(self) -> bool:
        return all(rule.deterministic for rule in self.rules.values())

    @property
    def memory(self) -> int:  # type: ignore[override]
        """Points that the most demanding rule looks back on."""
        return max(rule.memory for rule in self.rules.values())

    def plan(self, process: Process, grid: Time) -> Sequence[Any]:
        assert isinstance(process, Product)
        columns = {k: r.plan(process.part(k), _clock(grid, k)) for k, r in self.rules.items()}
        return by_step(columns)

    def advance(
        self, row: Any, process: Process, past: Sequence[Point], s: Time, generator: Source
    ) -> Any:
        assert isinstance(process, Product)
        after = {}
        for k, rule in self.rules.items():
            u, v = _clock(past[-1].t, k), _clock(s, k)
            if _still(u, v):
                after[k] = past[-1].x[k]
                continue
            recent = list(past)[-rule.memory :]
            own = [Point(_clock(p.t, k), p.x[k], p.posterior[k]) for p in recent]
            after[k] = rule.advance(row[k], process.part(k), own, v, generator)
        return Fields(after)
