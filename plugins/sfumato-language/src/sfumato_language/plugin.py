"""What this plugin announces: the domain of text, its recipes, its verbs and its systems."""

from __future__ import annotations

__all__ = ["sfumato_register"]

from sfumato import hook
from sfumato.plugins import Add


@hook
def sfumato_register(add: Add) -> None:
    """Announce the domain, the recipes, the verbs and the systems."""
    add(
        "domain",
        "language",
        "sfumato_language.domain:domain",
        summary="text, JSONL, CSV, Parquet, data-set folders of Hugging Face, FASTA",
    )
    add(
        "domain",
        "language-growing",
        "sfumato_language.domain:growing_domain",
        summary="the same, of models that insert tokens",
    )
    add(
        "domain",
        "language-pairs",
        "sfumato_language.domain:pairs_domain",
        summary="prompts with responses, and chats, as JSON lines",
    )
    add(
        "domain",
        "language-captions",
        "sfumato_language.domain:captions_domain",
        summary="pictures with captions: a folder, or a font of emoji",
    )
    for name, attribute, summary in (
        ("captions", "Captions", "captions of your pictures; by default of drawn scenes"),
        ("emoji", "Emoji", "emoji by their names; `sfumato data get emoji` first"),
        ("text", "Text", "masked diffusion of your text: bytes, characters or subwords"),
        ("pairs", "Pairs", "answers to prompts; may begin with the weights of another run"),
        ("tuned", "Tuned", "answers by a model of others, with low-rank adapters"),
        ("brown", "Brown", "the Brown corpus by characters; `sfumato data get brown` first"),
    ):
        add(
            "recipe",
            f"language/{name}",
            f"sfumato_language.recipes:{attribute}",
            summary=summary,
            source="Sahoo et al. 2024, arXiv:2406.07524",
        )
    add(
        "recipe",
        "language/dna",
        "sfumato_language.recipes:Dna",
        summary="sequences of few letters from FASTA, by diffusion on the simplex",
        source="Avdeyev et al. 2023, arXiv:2305.10699",
    )
    add(
        "recipe",
        "language/insertions",
        "sfumato_language.recipes:Insertions",
        summary="texts of any length, by insertion of tokens: their length is learned too",
        source="Kim et al. 2025, arXiv:2509.01025",
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
    for name, summary, source in (
        (
            "ardm",
            "groups of tokens by a budget of calls, and what a text takes when it is compressed",
            "Hoogeboom et al. 2021, arXiv:2110.02037",
        ),
        (
            "d3pm",
            "noise that masks against noise that replaces",
            "Austin et al. 2021, arXiv:2107.03006",
        ),
        (
            "ddsm",
            "classes as points of the simplex, with time dilation: Sudoku and promoters",
            "Avdeyev et al. 2023, arXiv:2305.10699",
        ),
        (
            "dllm",
            "block by block, with the rest of the text in a memory of keys and values",
            "Yu et al. 2025, arXiv:2506.13759",
        ),
        (
            "flexmdm",
            "texts that grow by insertion against texts with padding",
            "Kim et al. 2025, arXiv:2509.01025",
        ),
        (
            "lavida",
            "a picture as prefix of a text that is written in any order",
            "Li et al. 2025, arXiv:2505.16839",
        ),
        (
            "mdmfhs",
            "masks that fall event by event, and what single precision does to draws",
            "Zheng et al. 2024, arXiv:2409.02908",
        ),
        (
            "mdmorder",
            "one network fills Sudoku in different orders",
            "Kim et al. 2025, arXiv:2502.06768",
        ),
        (
            "sddlm",
            "cross-entropy where tokens were replaced, against the bound",
            "Zhu et al. 2025, arXiv:2510.22926",
        ),
        (
            "vmd",
            "a latent variable ties tokens together that are drawn in one step",
            "Zhang et al. 2025, arXiv:2510.23606",
        ),
    ):
        add(
            "system",
            f"language/{name}",
            f"sfumato_language.systems.{name}:system",
            summary=summary,
            source=source,
        )
