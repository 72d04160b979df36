"""What this plugin announces: the domain of text, its recipes and its verbs."""

from __future__ import annotations

__all__ = ["sfumato_register"]

from sfumato import hook
from sfumato.plugins import Add


@hook
def sfumato_register(add: Add) -> None:
    """Announce the domain, the recipes and the verbs."""
    add(
        "domain",
        "language",
        "sfumato_language.domain:domain",
        summary="text, JSONL, CSV, Parquet, data-set folders of Hugging Face, FASTA",
    )
