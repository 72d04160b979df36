"""Models of others: tiny twins of random weights, loaded; and what is said of bad ones."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

from sfumato import Batch, InputError, Padded, random
from sfumato_cli.main import application
from sfumato_language.canvas import conditions
from sfumato_language.foreign import load
from sfumato_language.objective import cross_entropy
from sfumato_language.samples import texts_of
from sfumato_language.tokens import rebuilt
from sfumato_train import draw

transformers = pytest.importorskip("transformers")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "school", "was", "sold", "closed"]
TABLE = 16  # rows of the embedding, more than the tokenizer has ids


@pytest.fixture
def bert(tmp_path):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=TABLE, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=20, initializer_range=0.5, pad_token_id=0,
    )  # fmt: skip
    folder = tmp_path / "bert"
    transformers.BertForMaskedLM(config).eval().save_pretrained(folder)
    library = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]"))
    library.pre_tokenizer = Whitespace()
    library.save(str(folder / "tokenizer.json"))
    return folder


def test_a_bert_gives_the_posteriors_that_transformers_gives(bert):
    loaded = load(bert)
    twin = transformers.BertForMaskedLM.from_pretrained(bert).eval()
    ids = torch.tensor([[5, 4, 7, 8], [4, 6, 0, 0]])
    mask = torch.tensor([[True] * 4, [True] * 2 + [False] * 2])
    q = loaded.model.denoiser(Padded(ids, mask), torch.tensor(0.5, dtype=torch.float64))
    for row, words, place in ((0, [2, 5, 4, 7, 8, 3], 1), (1, [2, 4, 6, 3], 0)):
        with torch.no_grad():
            logits = twin(torch.tensor([words])).logits[0, place + 1]
        logits[[4, *range(len(WORDS), TABLE)]] = -torch.inf  # the mask, and rows without a token
        expected = logits.double().softmax(-1)
        torch.testing.assert_close(q.probs.data[row, place], expected, atol=1e-6, rtol=0)
    assert q.probs.data[0, 0, 5] == 1, "what is not masked is carried over"


def test_a_bert_fills_gaps_and_is_scored(bert):
    loaded = load(bert)
    asked = conditions({"text": "the school [MASK*3] closed"}, 3, loaded.about)
    made = draw(loaded.model, 3, condition=asked, seed=1)
    assert bool((made.x.data < len(WORDS)).all()) and not bool((made.x.data == 4).any())
    texts = texts_of(made, loaded.about, whole=True)
    assert all(text.startswith("the school") and text.endswith("closed") for text in texts)
    at = torch.rand(made.x.data.shape, generator=random.derive(0, "at")) < 0.5
    nats = cross_entropy(loaded.model.denoiser, Batch(made.x), at, made.x.mask)
    assert bool((nats[at] > 0).all()) and bool((nats[~at] == 0).all())
    assert rebuilt(loaded.about["tokenizer"]).mask == 4


def test_the_verb_score_measures_text_of_any_of_its_tokens(bert, tmp_path):
    """Its words have ids beyond that of its end."""
    (tmp_path / "a.txt").write_text("the school was sold")
    words = ["score", bert, "--data", tmp_path / "a.txt", "--draws", 2]
    done = CliRunner().invoke(application(), list(map(str, words)))
    assert done.exit_code == 0 and "1 documents, 5 tokens, 19 characters" in done.output


def test_shifted_logits_of_a_model_with_its_own_code(bert, tmp_path):
    """As Dream: the logits at i are about token i + 1. Its code is run only if it is trusted."""
    folder = tmp_path / "twin"
    folder.mkdir()
    (folder / "tokenizer.json").write_text((bert / "tokenizer.json").read_text())
    (folder / "modeling_twin.py").write_text(CODE)
    auto = {"AutoConfig": "modeling_twin.TwinConfig", "AutoModel": "modeling_twin.Twin"}
    config = {"model_type": "dream_twin", "vocab_size": TABLE, "mask_token_id": 4,
              "auto_map": auto, "architectures": ["Twin"]}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    from safetensors.torch import save_file

    table = random.normal(torch.empty(TABLE, 8), random.derive(0, "table"))
    save_file({"table.weight": table}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match="if it came with code of its own that you trust"):
        load(folder)
    loaded = load(folder, trust=True)
    ids = torch.tensor([[5, 6, 4, 4]])
    raw = loaded.model.denoiser.net(ids, torch.zeros(1))
    plain = table[ids] @ table.T
    torch.testing.assert_close(raw[:, 1:, :10], plain[:, :-1, :10])
    assert torch.equal(
        load(folder, trust=True, shift=False).model.denoiser.net(ids, torch.zeros(1))[..., :10],
        plain[..., :10],
    )


def test_adapters_alone_learn_to_answer(bert, tmp_path):
    """A run of LoRA: the base stays bit for bit, the loss falls, and the run opens again."""
    pytest.importorskip("peft")
    from sfumato_train import open_run, start

    pairs = [{"prompt": f"the school {w}", "response": f"was {w}"} for w in ("sold", "closed")] * 8
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    words = [f"base={bert}", "lora=4", "steps=40", "batch=8", "length=8", "lr=3e-2", "ema=0",
             "warmup=2", "sampling_steps=4", "log=10", "separator= ", "held=0.2"]  # fmt: skip
    out = start("language/tuned", words, tmp_path / "p.jsonl", tmp_path / "run", device="cpu")
    run = open_run(out)
    state = run.model().denoiser.state_dict()
    for name, value in transformers.BertForMaskedLM.from_pretrained(bert).state_dict().items():
        inside = [k for k in state if k.replace(".base_layer", "").endswith(f"inner.{name}")]
        assert len(inside) == 1 and torch.equal(state[inside[0]], value), name
    lora = [value for name, value in state.items() if ".lora_B." in name]
    assert lora and all(value.shape[1] == 4 and bool(value.any()) for value in lora)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert losses[-1] < 0.7 * losses[0], losses
    asked = run.domain.condition({"prompt": "the school sold"}, 4, run.about)
    texts = texts_of(draw(run, 4, condition=asked, seed=0), run.about)
    assert all(text.startswith("the school sold") for text in texts)


def test_prompts_are_put_as_the_chat_template_has_them(bert, tmp_path):
    from sfumato_language.foreign import template_of, tokenizer_of
    from sfumato_language.pairs import read
    from sfumato_language.recipes import Tuned

    with pytest.raises(InputError, match="has no chat template that can be used"):
        template_of(bert)
    text = "{% for m in messages %}the {{ m.content }} {% endfor %}was "
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": text}
    (bert / "tokenizer_config.json").write_text(json.dumps(config))
    assert template_of(bert) == ("the ", " was ")
    reading = Tuned(base=str(bert), chat=True, length=9).reading()
    assert (reading["opening"], reading["separator"]) == ("the ", " was ")
    row = {"messages": [{"role": "user", "content": "school"},
                        {"role": "assistant", "content": "sold"}]}  # fmt: skip
    (tmp_path / "p.jsonl").write_text(json.dumps(row))
    data = read(tmp_path / "p.jsonl", **reading)
    assert data.batch([0]).x.data[0].tolist() == [5, 6, 7, 8, 3, 3, 3, 3, 3]
    asked = conditions({"prompt": "closed"}, 1, data.about)["canvas"].data[0].tolist()
    assert asked == [5, 9, 7, 4, 4, 4, 4, 4, 4] and tokenizer_of(bert).mask == 4
    row["messages"] *= 2
    (tmp_path / "p.jsonl").write_text(json.dumps(row))
    with pytest.raises(InputError, match="a chat of several turns"):
        read(tmp_path / "p.jsonl", **reading)


def _twin(folder, bert, kind, code, weights, auto="AutoModel", **config):
    """A folder as that of a published model, with code of its own and random weights."""
    from safetensors.torch import save_file

    folder.mkdir()
    (folder / "tokenizer.json").write_text((bert / "tokenizer.json").read_text())
    (folder / "modeling_twin.py").write_text(code.replace("KIND", kind))
    made = {"AutoConfig": "modeling_twin.TwinConfig", auto: "modeling_twin.Twin"}
    config = {"model_type": kind, "vocab_size": TABLE, "auto_map": made, **config}
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize("kind", ["Dream", "llada"])
def test_twins_of_dream_and_llada_are_told_padding_in_their_ways(bert, tmp_path, kind):
    """Dream (B, 1, L, L) bool and a shift, LLaDA (B, L); of LLaDA the mask is a known id."""
    names = {"Dream": "model.embed_tokens.weight", "llada": "model.transformer.wte.weight"}
    weights = {names[kind]: random.normal(torch.empty(TABLE, 8), random.derive(0, "twin"))}
    code = MIXED.replace("PLACE", names[kind]).replace("PAIRWISE", str(kind == "Dream"))
    folder = _twin(tmp_path / kind, bert, kind, code, weights, mask_token_id=4)
    loaded = load(folder, trust=True)
    ids = torch.tensor([[5, 4, 7, 0], [6, 4, 8, 9]])
    mask = torch.tensor([[True, True, True, False], [True] * 4])
    raw = loaded.model.denoiser.net(Padded(ids, mask), torch.zeros(2)).data
    table = weights[names[kind]]
    for row, count in ((0, 3), (1, 4)):
        # attention that is even over what is real
        mixed = table[ids[row, :count]] + table[ids[row, :count]].mean(0)
        logits = mixed @ table.T
        if kind == "Dream":
            logits = torch.cat((logits[:1], logits[:-1]))
        torch.testing.assert_close(raw[row, :count, :10], logits[:, :10], atol=1e-5, rtol=0)


def test_the_mask_of_llada_is_known(bert, tmp_path):
    """Id 126336 stands in no configuration; a smaller table than that is told to be too small."""
    weights = {"model.transformer.wte.weight": torch.zeros(TABLE, 8)}
    code = MIXED.replace("PLACE", "model.transformer.wte.weight").replace("PAIRWISE", "False")
    with pytest.raises(InputError, match="has ids up to 126336, and the model knows 16"):
        load(_twin(tmp_path / "llada", bert, "llada", code, weights), trust=True)


CODE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import MaskedLMOutput


class TwinConfig(PretrainedConfig):
    model_type = "dream_twin"


class Twin(PreTrainedModel):
    config_class = TwinConfig

    def __init__(self, config):
        super().__init__(config)
        self.table = torch.nn.Embedding(config.vocab_size, 8)
        self.post_init()

    def get_output_embeddings(self):
        return self.table

    def forward(self, input_ids, attention_mask=None):
        return MaskedLMOutput(logits=self.table(input_ids) @ self.table.weight.T)
"""


def test_weights_that_did_not_load_are_noticed(bert):
    from safetensors.torch import load_file, save_file

    file = bert / "model.safetensors"
    weights = load_file(file)
    name = "bert.encoder.layer.1.attention.self.query.weight"
    without = {key: value for key, value in weights.items() if key != name}
    save_file(without, file, {"format": "pt"})
    with pytest.raises(InputError, match=f"has no weights for {name}"):
        load(bert)
    save_file({**weights, "bert.more": torch.zeros(2)}, file, {"format": "pt"})
    with pytest.raises(InputError, match=r"has left-over weights bert\.more"):
        load(bert)


def test_masks_that_cannot_be_are_told(bert, tmp_path):
    with pytest.raises(InputError, match="the mask of .* is id 0, which is its padding"):
        load(bert, mask=0)
    with pytest.raises(InputError, match="has ids up to 99, and the model knows 16"):
        load(bert, mask=99)
    tokenizer = json.loads((bert / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["[HIDE]"] = tokenizer["model"]["vocab"].pop("[MASK]")
    (bert / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(InputError, match="no mask is known of"):
        load(bert)
    (bert / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"has no tokenizer\.json"):
        load(bert)
    with pytest.raises(InputError, match=r"has no config\.json"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "none of them"}')
    with pytest.raises(InputError, match="is no model that transformers loads"):
        load(tmp_path)


HEAD = """
import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import MaskedLMOutput


class TwinConfig(PretrainedConfig):
    model_type = "KIND"


class Part(torch.nn.Module):
    pass

"""

MIXED = (
    HEAD
    + """
class Twin(PreTrainedModel):
    config_class = TwinConfig

    def __init__(self, config):
        super().__init__(config)
        part = self
        *path, table, _ = "PLACE".split(".")
        for name in path:
            setattr(part, name, Part())
            part = getattr(part, name)
        self.place = part, table
        setattr(part, table, torch.nn.Embedding(config.vocab_size, 8))
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, position_ids=None):
        part, table = self.place
        weight = getattr(part, table).weight
        hidden = weight[input_ids]
        if PAIRWISE:
            assert attention_mask.dtype is torch.bool and attention_mask.ndim == 4
            share = attention_mask[:, 0].float()
        else:
            share = attention_mask[:, None].expand(-1, input_ids.shape[1], -1).float()
        share = share / share.sum(-1, keepdim=True).clamp_min(1)
        return MaskedLMOutput(logits=(hidden + share @ hidden) @ weight.T)
"""
)
