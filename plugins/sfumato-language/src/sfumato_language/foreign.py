"""Masked models of others, through transformers, as denoisers of our masking process.

BERT and its like, and models that come with code of their own, from a folder that `save_pretrained`
wrote. What differs between the published ones, as far as it stands in no configuration:

- LLaDA (`GSAI-ML/LLaDA-8B-Base`): the mask is id 126336; padding is told by (B, L).
- Dream (`Dream-org/Dream-v0-Base-7B`): logits at a place are about the next token; what is read is
  told by (B, 1, L, L) bool, and its logits carry no padding of the batch.

SEDD, MDLM, BD3LM and Duo are loaded by `published`, without code of theirs.
"""

from __future__ import annotations

__all__ = ["Loaded", "MaskedNetwork", "load", "template_of", "tokenizer_of"]

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sfumato import InputError, Model, Padded
from sfumato_methods.discrete import Discrete, FirstHitting, RankOne
from sfumato_methods.grids import uniform

from .canvas import CANVAS, Blank
from .denoiser import TextDenoiser
from .published import ENDS, LONGEST, MASKS, Loaded, kind_of
from .published import load as load_published
from .published import tokenizer_of as published_tokenizer
from .tokens import Foreign
from .weights import config_of, local, whole

_KNOWN_MASKS = {"llada": 126336}  # by model type; it stands in no configuration
_SHIFTED = ("dream",)
_PAIRWISE = ("dream",)  # what is read is told for each pair of places
_PROMPT = "PROMPT"
_ROOMS = ("max_position_embeddings", "max_sequence_length", "model_length")
_AUTO = ("AutoModelForMaskedLM", "AutoModelForCausalLM", "AutoModel")


class MaskedNetwork(nn.Module):
    """A model of transformers, called as networks are here.

    Args:
        inner: maps `input_ids` and `attention_mask` (B, L) to an output with `logits` (B, L, K).
        tokens: ids that the tokenizer knows; those beyond, which pad the table, get -inf.
        shift: whether its logits at a place are about the next token, as those of a causal model.
        frame: ids to be put before and behind each text, which the model was trained with.
        pairwise: whether it wants what is read as (B, 1, L, L) bool, not (B, L).
    """

    def __init__(
        self,
        inner: nn.Module,
        tokens: int,
        shift: bool,
        frame: tuple[int, int] | None,
        pairwise: bool = False,
    ) -> None:
        super().__init__()
        self.inner, self.tokens, self.shift, self.frame = inner, tokens, shift, frame
        self.pairwise = pairwise
        takes = inspect.signature(inner.forward).parameters
        more = any(one.kind is one.VAR_KEYWORD for one in takes.values())
        self.padded = more or "attention_mask" in takes

    def forward(self, x: Tensor | Padded, clock: Tensor, *, at: Tensor | None = None) -> Any:
        """Logits (B, L, K) in the container of `x`; of the tokens `at` alone, (N, K)."""
        ids, real = (x.data, x.mask) if isinstance(x, Padded) else (x, torch.ones_like(x).bool())
        framed = ids if self.frame is None else _framed(ids, real, self.frame)
        there = real if self.frame is None else torch.cat((torch.ones_like(real[:, :2]), real), 1)
        logits = self._logits(framed, there)
        if self.frame is not None:
            logits = logits[:, 1:-1]
        if self.shift:
            logits = torch.cat((logits[:, :1], logits[:, :-1]), 1)
        logits = logits.clone()
        logits[..., self.tokens :] = -torch.inf
        if at is not None:
            return logits[at]
        return Padded(logits, real) if isinstance(x, Padded) else logits

    def _logits(self, ids: Tensor, real: Tensor) -> Tensor:
        """What the model says of ids (B, L), of which the real ones are read."""
        told: dict[str, Tensor] = {}
        if not self.padded:
            if not bool(real.all()):
                raise InputError(
                    "this model takes no padding: give it texts of one length, one at a time if "
                    "need be"
                )
        elif self.pairwise:
            told["attention_mask"] = (real[:, :, None] & real[:, None])[:, None]
        else:
            told["attention_mask"] = real.long()
        out = self.inner(input_ids=ids, **told)
        logits: Tensor = out if isinstance(out, Tensor) else out.logits
        return logits


def _framed(ids: Tensor, real: Tensor, frame: tuple[int, int]) -> Tensor:
    """(B, L + 2) ids, the second of the frame directly behind what is real."""
    first, last = frame
    edge = torch.full_like(ids[:, :1], first)
    out = torch.cat((edge, ids, ids[:, -1:]), 1)
    return out.scatter(1, real.sum(1, keepdim=True) + 1, last)


def load(
    path: Path | str,
    *,
    mask: int | None = None,
    shift: bool | None = None,
    length: int | None = None,
    trust: bool = False,
) -> Loaded:
    """A language model from a folder, or the hub where that is reachable (`owner/name`).

    SEDD, MDLM, BD3LM and Duo are read by `published`, all others by transformers.

    Args:
        path: a folder with `config.json`, weights as safetensors and `tokenizer.json`.
        mask: id of the mask; None: as the configuration, the tokenizer, or what is known says.
        shift: whether its logits are about the next token; None: of Dream alone.
        length: tokens of a window; None: as many as it has positions, at most 512.
        trust: run the code that came with it.

    Raises:
        InputError: if transformers is missing, the folder cannot be read, weights are missing or
            left over, no mask is known, the mask is the padding, or ids and table do not fit.
    """
    path = local(path)
    if kind_of(config_of(path)) is not None:
        return load_published(path, config_of(path), mask=mask, length=length)
    transformers, config = _config(path, trust)
    try:
        name = next((n for n in _AUTO if n in (getattr(config, "auto_map", None) or {})), _AUTO[0])
        inner, info = getattr(transformers, name).from_pretrained(
            path, trust_remote_code=trust, output_loading_info=True, use_safetensors=True
        )
    except (OSError, ValueError, ImportError) as error:
        raise _no_model(path, error, trust) from None
    whole(path, info)
    kind = str(config.model_type).lower()
    if getattr(config, "time_conditioning", False):
        raise InputError(f"{path} is told the time of its masks, which no model loaded here is")
    tokenizer, pad = _tokenizer(path, config, kind, mask)
    table = inner.get_output_embeddings()
    classes = int(config.vocab_size if table is None else table.weight.shape[0])
    if max(tokenizer.size, tokenizer.mask + 1) > classes:
        raise InputError(
            f"the tokenizer of {path} has ids up to {max(tokenizer.size - 1, tokenizer.mask)}, and "
            f"the model knows {classes}"
        )
    if tokenizer.mask in (pad, tokenizer.eos):
        raise InputError(
            f"the mask of {path} is id {tokenizer.mask}, which is its padding or its end too; name "
            "another with mask=..."
        )
    law = torch.zeros(classes, dtype=torch.float64)
    law[tokenizer.mask] = 1
    process = Discrete(RankOne(law))
    first, last = tokenizer.id_of("[CLS]", "<s>"), tokenizer.id_of("[SEP]", "</s>")
    framed = name == _AUTO[0] and kind != "sfumato_tokens"
    both = (first, last) if framed and first is not None and last is not None else None
    shift = _is(kind, _SHIFTED) if shift is None else shift
    net = MaskedNetwork(inner, tokenizer.size, shift, both, _is(kind, _PAIRWISE)).eval()
    net.requires_grad_(False)
    places = (getattr(config, name, None) for name in _ROOMS)
    room = next((int(n) for n in places if n), LONGEST) - (0 if both is None else 2)
    size = min(room, LONGEST) if length is None else length
    about = {"tokenizer": tokenizer.facts(), "length": size, "vocabulary": classes, "pack": False}
    model = Model(
        process=process,
        denoiser=TextDenoiser(net, process, eos=tokenizer.eos),
        sampler=FirstHitting(),
        grid=uniform,
        steps=64,
        blank=Blank(size, tokenizer.mask),
        sizing=(CANVAS,),
    )
    return Loaded(model, tokenizer, about)


def tokenizer_of(path: Path | str, *, trust: bool = False) -> Foreign:
    """The tokenizer of a folder that `load` takes; reads no weights.

    Raises:
        InputError: see `load`.
    """
    path = local(path)
    if kind_of(config_of(path)) is not None:
        return published_tokenizer(path, config_of(path))
    _, config = _config(path, trust)
    return _tokenizer(path, config, str(config.model_type).lower(), None)[0]


def template_of(path: Path | str, *, trust: bool = False) -> tuple[str, str]:
    """What the chat template of a model puts before a prompt, and between it and a response.

    Raises:
        InputError: if it has none, or one that changes prompts; see `load`.
    """
    transformers, _ = _config(path, trust)
    try:
        library = transformers.AutoTokenizer.from_pretrained(path, trust_remote_code=trust)
        asked = [{"role": "user", "content": _PROMPT}]
        told = library.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    except Exception as error:  # templates are programs, which raise what they like
        raise InputError(f"{path} has no chat template that can be used: {error}") from None
    before, found, behind = str(told).partition(_PROMPT)
    if not found or _PROMPT in behind:
        raise InputError(f"the chat template of {path} does not hold a prompt once, as it is")
    return before, behind


def _config(path: Path | str, trust: bool) -> tuple[Any, Any]:
    """The library, and the configuration of a model."""
    try:
        import transformers
    except ImportError:
        raise InputError(
            "models of others need transformers: pip install 'sfumato-language[transformers]'"
        ) from None
    try:
        return transformers, transformers.AutoConfig.from_pretrained(path, trust_remote_code=trust)
    except (OSError, ValueError, ImportError) as error:
        raise _no_model(path, error, trust) from None


def _no_model(path: Path | str, error: Exception, trust: bool) -> InputError:
    more = "" if trust else "; if it came with code of its own that you trust, say trust=True"
    return InputError(f"{path} is no model that transformers loads: {error}{more}")


def _tokenizer(path: Path, config: Any, kind: str, mask: int | None) -> tuple[Foreign, int | None]:
    file = path / "tokenizer.json"
    if not file.is_file():
        raise InputError(f"{path} has no tokenizer.json")
    text = file.read_text(encoding="utf-8")
    plain = Foreign(text, 0, 0)
    if mask is None:
        mask = getattr(config, "mask_token_id", None)
    if mask is None:
        known = next((i for name, i in _KNOWN_MASKS.items() if name in kind), None)
        mask = plain.id_of(*MASKS) if known is None else known
    if mask is None:
        raise InputError(f"no mask is known of {path}; name its id with mask=...")
    eos = getattr(config, "eos_token_id", None)
    if not isinstance(eos, int):
        eos = plain.id_of(*ENDS)
    if not isinstance(eos, int):
        raise InputError(f"no end of a text is known of {path}: its tokenizer has none of {ENDS}")
    return Foreign(text, eos, int(mask)), getattr(config, "pad_token_id", None)


def _is(kind: str, some: tuple[str, ...]) -> bool:
    return any(name in kind for name in some)
