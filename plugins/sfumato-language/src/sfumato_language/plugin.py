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
    add(
        "domain",
        "language-pairs",
        "sfumato_language.domain:pairs_domain",
        summary="prompts with responses, and chats, as JSON lines",
    )
    for name, attribute, summary in (
        ("text", "Text", "masked diffusion of your text: bytes, characters or subwords"),
        ("pairs", "Pairs", "answers to prompts; may begin with the weights of another run"),
        ("brown", "Brown", "the Brown corpus by characters; `sfumato data get brown` first"),
    ):
        add(
            "recipe",
            f"language/{name}",
            f"sfumato_language.recipes:{attribute}",
            summary=summary,
            source="Sahoo et al. 2024, arXiv:2406.07524",
        )
    for verb, summary in (
        ("infill", "fill the gaps in texts"),
        ("score", "bound the likelihood of text: bits a character, perplexity"),
        ("judge", "perplexity of texts under SmolLM2, with their entropy"),
        ("export", "write a model as a folder that transformers loads"),
        ("compress", "compress a text without loss"),
        ("decompress", "turn a compressed text back into what it was"),
    ):
        add(
            "command",
            f"language/{verb}",
            f"sfumato_language.commands:{verb}",
            summary=summary,
            source="Hoogeboom et al. 2021, arXiv:2110.02037",
        )
