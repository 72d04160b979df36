"""Recipes of text: from data to a model and its sampler."""

from __future__ import annotations

from .captions import Captions, Emoji
from .inserted import Insertions
from .masked import Brown, Masked, Pairs, Text
from .strands import Dna
from .tuned import Tuned

__all__ = ["Brown", "Captions", "Dna", "Emoji", "Insertions", "Masked", "Pairs", "Text", "Tuned"]
