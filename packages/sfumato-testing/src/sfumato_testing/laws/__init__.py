"""The laws C1 to C19, grouped by what they are about; importing this enters them into the book."""

from __future__ import annotations

from .alignment import C6_times_and_items, C7_reproducible
from .composition import C13_product, C19_planned
from .derivatives import C9_gradients, C10_rates
from .distribution import C1_bridge_law, C2_prior, C12_bound, C15_data_law
from .ends import C3_perfect_posterior, C4_rest
from .hygiene import C5_kept, C8_no_globals, C14_copies
from .plugin import C16_plugin
from .samplers import C11_order, C17_constraint, C18_interleaved

__all__ = [
    "C1_bridge_law",
    "C2_prior",
    "C3_perfect_posterior",
    "C4_rest",
    "C5_kept",
    "C6_times_and_items",
    "C7_reproducible",
    "C8_no_globals",
    "C9_gradients",
    "C10_rates",
    "C11_order",
    "C12_bound",
    "C13_product",
    "C14_copies",
    "C15_data_law",
    "C16_plugin",
    "C17_constraint",
    "C18_interleaved",
    "C19_planned",
]
