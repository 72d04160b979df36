"""Models of others: tiny twins of random weights, loaded; and what is said of bad ones."""

from __future__ import annotations

import json

import pytest
import torch

from sfumato import Batch, InputError, Padded, random
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
    nats = cross_entropy(loaded.model.denoiser, Batch(made.x), at)
    assert bool((nats[at] > 0).all()) and bool((nats[~at] == 0).all())
    assert rebuilt(loaded.about["tokenizer"]).mask == 4


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
    with pytest.raises(InputError, match="is no model that transformers loads"):
        load(tmp_path)
