"""SEDD, MDLM, BD3LM and Duo from a folder, as denoisers of our processes, without code of theirs.

All are the network of `ddit`; a folder holds `config.json`, weights, and a `tokenizer.json`, which
their authors leave to GPT-2 (it has to be put there). What they are told and say:

- SEDD (Lou et al. 2023, arXiv:2310.16834): sigma; log ratios p_t(y)/p_t(x), of a chain that masks
  (the mask is the last row of the table) or that replaces by any token.
- MDLM (Sahoo et al. 2024, arXiv:2406.07524): nothing, or sigma; logits of masked tokens.
- BD3LM (Arriola et al. 2025, arXiv:2503.09573): the same, a token reading its own block and those
  before; every text begins with the token that begins documents, which is none of it.
- Duo (Sahoo et al. 2025, arXiv:2506.10892): sigma; logits of p in the joint reverse form of the
  chain that replaces (their eq. 4 with p in the place of x).

Their times differ in the schedule alone, and sigma says it: each is put on keep(t) = 1 - t.
"""

from __future__ import annotations

__all__ = ["ENDS", "LONGEST", "MASKS", "Loaded", "kind_of", "load", "tokenizer_of"]

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sfumato import Ancestral, InputError, Model
from sfumato_methods.discrete import (
    Blocks,
    Discrete,
    FirstHitting,
    JointDiscrete,
    RankOne,
    uniform,
)
from sfumato_methods.grids import uniform as even

from .canvas import CANVAS, Blank, Clamped
from .ddit import BlockwiseTransformer, NoiseTransformer, ScoreTransformer, Shape
from .denoiser import ScoreTextDenoiser, TextDenoiser
from .tokens import Foreign
from .weights import weights_of, whole

LONGEST = 512
MASKS = ("[MASK]", "<mask>", "<|mdm_mask|>", "<|mask|>")
ENDS = ("[SEP]", "</s>", "<|endoftext|>", "<eos>")
_BEGINS = ("[CLS]", "<s>", "<|endoftext|>")
_KINDS = ("mdlm", "bd3lm", "duo")
_LOG_LINEAR = 0.0, -math.log(1e-3)  # sigma at both ends of the schedule that all of them have
_DERIVED = ("rotary_emb.inv_freq", "sampling_eps_min", "sampling_eps_max")
_PARTS = {"inward": "attn_qkv", "outward": "attn_out", "modulation": "adaLN_modulation"}
_ENDS_OF = {
    "table.weight": "vocab_embed.embedding",
    "norm.weight": "output_layer.norm_final.weight",
    "head": "output_layer.linear",
    "modulation": "output_layer.adaLN_modulation",
    "level": "sigma_map.mlp",
}


class Loaded(NamedTuple):
    """A model of somebody else's, and what it needs to be told text.

    Attributes:
        model: for `draw` and `stream`, and for `scoring.score`.
        tokenizer: its tokenizer.
        about: facts, as those of a data set, for `canvas.conditions` and `samples.texts_of`.
    """

    model: Model
    tokenizer: Foreign
    about: dict[str, Any]


def kind_of(config: Mapping[str, Any]) -> str | None:
    """sedd, mdlm, bd3lm or duo; None: another."""
    kind = str(config.get("model_type", "")).lower()
    if kind in _KINDS:
        return kind
    return "sedd" if isinstance(config.get("graph"), dict) and "tokens" in config else None


def load(
    folder: Path, config: Mapping[str, Any], *, mask: int | None = None, length: int | None = None
) -> Loaded:
    """The model of a folder, as `foreign.load`.

    Raises:
        InputError: if the configuration says what is not known here, weights are missing, left
            over or of another shape, or the tokenizer does not fit.
    """
    kind, shape, room, masks, scaled = _facts(folder, config)
    tokenizer = _tokenizer(folder, kind, shape.classes, masks, mask)
    last = max(tokenizer.size - 1, tokenizer.mask if masks else 0)
    if last >= shape.classes:
        raise InputError(
            f"the tokenizer of {folder} has ids up to {last}, and the model knows {shape.classes}"
        )
    if tokenizer.mask == tokenizer.eos:
        raise InputError(
            f"the mask of {folder} is id {tokenizer.mask}, which is its end too; name another with "
            "mask=..."
        )
    size = min(room, LONGEST) if length is None else length
    with torch.device("meta"):
        net = _network(kind, shape, tokenizer.size, masks, scaled)
    _fill(net, folder)
    process = _process(kind, shape.classes, tokenizer.mask if masks else None)
    begin = tokenizer.id_of(*_BEGINS) if kind == "bd3lm" else None
    model = Model(
        process=process,
        denoiser=(
            ScoreTextDenoiser(net, process, tokenizer.eos)
            if kind == "sedd"
            else TextDenoiser(net, process, eos=tokenizer.eos)
        ),
        sampler=_sampler(kind, shape, masks),
        grid=even,
        steps=max(64, -(-size // shape.block) if shape.block else 0),
        blank=(
            Blank(size, tokenizer.mask, begin=begin) if masks else Clamped(size, tokenizer.mask)
        ),
        sizing=(CANVAS,),
    )
    about = {
        "tokenizer": tokenizer.facts(),
        "length": size,
        "vocabulary": shape.classes,
        "pack": False,
        "begin": begin,
    }
    return Loaded(model, tokenizer, about)


def tokenizer_of(folder: Path, config: Mapping[str, Any]) -> Foreign:
    """The tokenizer of a model that `load` takes; reads no weights.

    Raises:
        InputError: see `load`.
    """
    facts = _facts(folder, config)
    return _tokenizer(folder, facts.kind, facts.shape.classes, facts.masks, None)


class _Facts(NamedTuple):
    """What a configuration says.

    Attributes:
        kind: see `kind_of`.
        shape: of the network.
        room: tokens of the longest text.
        masks: whether the chain masks, or replaces.
        scaled: see `ScoreTransformer`.
    """

    kind: str
    shape: Shape
    room: int
    masks: bool
    scaled: bool


def _facts(folder: Path, config: Mapping[str, Any]) -> _Facts:
    kind = kind_of(config) or ""
    try:
        if kind == "sedd":
            scaled = bool(config["model"]["scale_by_sigma"])
            return _Facts(kind, *_sedd(config), config["graph"]["type"] == "absorb", scaled)
        return _Facts(kind, *_shape(config, kind), kind != "duo", False)
    except (KeyError, TypeError, ValueError) as error:
        what = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{folder / 'config.json'} is not that of a {kind}: {what}") from None


def _sedd(config: Mapping[str, Any]) -> tuple[Shape, int]:
    """The shape of a SEDD, and its longest text."""
    model, noise, graph = config["model"], config["noise"], config["graph"]["type"]
    if graph not in ("absorb", "uniform"):
        raise ValueError(f"graph {graph!r} is neither absorb nor uniform")
    if graph == "uniform" and model["scale_by_sigma"]:
        raise ValueError("scale_by_sigma is for graphs that absorb")
    if noise["type"] == "geometric":
        sigma = float(noise["sigma_min"]), float(noise["sigma_max"])
    elif noise["type"] == "loglinear":
        sigma = _LOG_LINEAR
    else:
        raise ValueError(f"noise {noise['type']!r} is neither loglinear nor geometric")
    classes = int(config["tokens"]) + (graph == "absorb")
    names = ("hidden_size", "n_blocks", "n_heads", "cond_dim", "length")
    width, depth, heads, told, room = (int(model[name]) for name in names)
    return Shape(classes, width, depth, heads, told, sigma), room


def _shape(config: Mapping[str, Any], kind: str) -> tuple[Shape, int]:
    """The shape of an MDLM, a BD3LM or a Duo, and its longest text."""
    if config.get("causal", False):
        raise ValueError("causal=true is no diffusion model")
    names = ("vocab_size", "hidden_dim", "n_blocks", "n_heads", "cond_dim")
    classes, width, depth, heads, told = (int(config[name]) for name in names)
    timed = config.get("time_conditioning", kind == "duo")
    block = int(config["block_size"]) if kind == "bd3lm" and config["cross_attn"] else None
    if timed and block is not None:
        raise ValueError("blocks that are told a time of their own are not known here")
    shape = Shape(
        classes, width, depth, heads,
        told if config.get("adaln", True) else None, _LOG_LINEAR if timed else None, block,
    )  # fmt: skip
    return shape, int(config["model_length"])


def _process(kind: str, classes: int, mask: int | None) -> Discrete:
    """The chain that masks, or replaces."""
    if mask is not None:
        law = torch.zeros(classes, dtype=torch.float64)
        law[mask] = 1
        return Discrete(RankOne(law))
    return (Discrete if kind == "sedd" else JointDiscrete)(uniform(classes))


def _tokenizer(folder: Path, kind: str, classes: int, masks: bool, mask: int | None) -> Foreign:
    """With its end and mask: one that it has, or the last row of the table, as always of SEDD.

    Where nothing masks, the mask is an id beyond the table.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise InputError(
            f"{folder} has no tokenizer.json; put that of the tokenizer there which the model was "
            "trained with (mostly that of GPT-2)"
        )
    text = file.read_text(encoding="utf-8")
    plain = Foreign(text, 0, 0)
    eos = plain.id_of(*ENDS)
    if eos is None:
        raise InputError(f"no end of a text is known of {folder}: its tokenizer has none of {ENDS}")
    if not masks:
        return Foreign(text, eos, classes)
    if mask is None and kind != "sedd":
        mask = plain.id_of(*MASKS)
    return Foreign(text, eos, classes - 1 if mask is None else mask)


def _network(kind: str, shape: Shape, tokens: int, masks: bool, scaled: bool) -> NoiseTransformer:
    if kind == "sedd" and masks:
        return ScoreTransformer(shape, tokens, scaled)
    return (BlockwiseTransformer if shape.block else NoiseTransformer)(shape, tokens)


def _sampler(kind: str, shape: Shape, masks: bool) -> Any:
    if shape.block is not None:
        return Blocks(FirstHitting(), shape.block)
    return FirstHitting() if masks and kind != "sedd" else Ancestral()


def _fill(net: NoiseTransformer, folder: Path) -> None:
    """Put the weights of a folder in, all of them, and nothing else."""
    given = {name.removeprefix("backbone."): value for name, value in weights_of(folder).items()}
    wanted = {_theirs(name): (name, value.shape) for name, value in net.state_dict().items()}
    whole(
        folder,
        {
            "missing_keys": wanted.keys() - given.keys(),
            "unexpected_keys": given.keys() - wanted.keys() - set(_DERIVED),
            "mismatched_keys": [
                f"{name} {tuple(given[name].shape)}, not {tuple(size)}"
                for name, (_, size) in wanted.items()
                if name in given and given[name].shape != size
            ],
        },
    )
    state = {ours: given[name].float() for name, (ours, _) in wanted.items()}
    net.load_state_dict(state, assign=True)
    net.requires_grad_(False).eval()


def _theirs(name: str) -> str:
    """What a weight of ours is called by them."""
    if name in _ENDS_OF:
        return _ENDS_OF[name]
    first, rest = name.split(".", 1)
    if first in _ENDS_OF:
        return f"{_ENDS_OF[first]}.{rest}"
    number, part, rest = rest.split(".", 2)
    return f"{first}.{number}.{_PARTS.get(part, part)}.{rest}"
