"""A run as a folder that `from_pretrained` of transformers loads."""

from __future__ import annotations

__all__ = ["export"]

from pathlib import Path
from typing import Any

from sfumato import InputError
from sfumato_train import open_run
from sfumato_train.files import write_json, write_text
from sfumato_train.folders import check_place, placed

from .bytewise import BYTE_OF
from .denoiser import masked
from .recipes import Masked
from .tokens import Char, Json, Text8, Tokenizer, rebuilt

_CODE = "hub_model.py"  # in a folder that is no package: it is imported where transformers is
_END, _MASK = "<|sfumato_end|>", "<|sfumato_mask|>"


def export(path: Path, out: Path, weights: str = "ema") -> str:
    """Write `config.json`, `model.safetensors`, `tokenizer.json` and the code of the model.

    Args:
        path: of a run.
        out: a new folder.
        weights: see `Run.model`.

    Returns:
        What there is to say.

    Raises:
        InputError: if `out` exists, the network is told the time (models of transformers are not),
            or the tokenizer has no room for the end and the mask behind its ids.
    """
    from safetensors.torch import save_file

    if out.exists():
        raise InputError(f"{out} exists already; name a new folder, or take it away first")
    check_place(out)
    run = open_run(path)
    denoiser = masked(run.model(weights, device="cpu"))
    if not isinstance(run.recipe, Masked):
        raise InputError(f"{path} is exported only if language/text or language/pairs trained it")
    if run.recipe.timed:
        raise InputError(f"{path} has a network that is told the time; train it with timed=false")
    if run.recipe.contexts:
        raise InputError(
            f"{path} has counted contexts, which no folder of transformers has room for"
        )
    tokenizer = rebuilt(run.about["tokenizer"])
    library = _library(tokenizer)
    tensors = {
        f"net.{name}": value.contiguous() for name, value in denoiser.net.state_dict().items()
    }
    config = {
        "model_type": "sfumato_tokens",
        "architectures": ["SfumatoForMaskedLM"],
        "auto_map": {
            "AutoConfig": "hub_model.SfumatoConfig",
            "AutoModelForMaskedLM": "hub_model.SfumatoForMaskedLM",
        },
        "network": run.recipe.network,
        "network_size": run.recipe.network_size,
        "vocab_size": tokenizer.size + 1,
        "mask_token_id": tokenizer.mask,
        "eos_token_id": tokenizer.eos,
        "max_position_embeddings": int(run.about["length"]),
        "tie_word_embeddings": False,
    }
    with placed(out) as beside:
        save_file(tensors, beside / "model.safetensors", {"format": "pt"})
        write_json(beside / "config.json", config)
        library.save(str(beside / "tokenizer.json"))
        named = {
            "eos_token": _END,
            "mask_token": _MASK,
            "tokenizer_class": "PreTrainedTokenizerFast",
        }
        write_json(beside / "tokenizer_config.json", named)
        code = (Path(__file__).parent / "exported" / _CODE).read_text(encoding="utf-8")
        write_text(beside / _CODE, code)
    count = sum(value.numel() for value in tensors.values())
    return f"wrote {out}: {count} weights, a vocabulary of {tokenizer.size} and the mask"


def _library(tokenizer: Tokenizer) -> Any:
    """A tokenizer as one of the library tokenizers, with the end and the mask as special tokens."""
    from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
    from tokenizers import Tokenizer as Library

    library: Any
    if isinstance(tokenizer, Json):
        library = Library.from_str(tokenizer.text)
    elif isinstance(tokenizer, Char):
        # the unknown is a letter like any other: there is nothing to be said of what is not known
        words = {char: i for i, char in enumerate(tokenizer.characters)}
        library = Library(models.WordLevel(words, tokenizer.characters[0]))
        library.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        library.decoder = decoders.Fuse()
        if isinstance(tokenizer, Text8):
            digits = enumerate(tokenizer.digits)
            spelled = [normalizers.Replace(str(i), f" {word} ") for i, word in digits]
            library.normalizer = normalizers.Sequence(
                [normalizers.Lowercase(), *spelled, normalizers.Replace(Regex("[^a-z]+"), " ")]
            )
    else:
        library = Library(models.BPE(BYTE_OF, []))
        library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        library.decoder = decoders.ByteLevel()
    library.add_special_tokens([AddedToken(t, normalized=False) for t in (_END, _MASK)])
    if [library.token_to_id(t) for t in (_END, _MASK)] != [tokenizer.eos, tokenizer.mask]:
        raise InputError(
            "the ids of this tokenizer have gaps, so that its end and mask cannot stand behind them"
        )
    return library
