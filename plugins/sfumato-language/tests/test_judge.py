"""The judge: a tiny random GGUF against its twin in transformers, and what it says of text."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sfumato import InputError
from sfumato_cli.main import application
from sfumato_language.judge import Verdict, installed, load

gguf = pytest.importorskip("gguf")
transformers = pytest.importorskip("transformers")

WIDTH, HEADS, KEYS, LAYERS, CONTEXT = 16, 4, 2, 2, 12


def alphabet() -> list[str]:
    from tokenizers import pre_tokenizers

    return ["<|end|>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "th", "the"]


@pytest.fixture(scope="module")
def twin():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(alphabet()), hidden_size=WIDTH, intermediate_size=24,
        num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KEYS,
        max_position_embeddings=CONTEXT, rms_norm_eps=1e-5, initializer_range=0.5,
        tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 1e5},
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def interleaved(weight, heads):
    """Rows of a head from halves, as transformers turns them, to neighbours, as GGUF files have."""
    return weight.view(heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


@pytest.fixture(scope="module")
def file(twin, tmp_path_factory):
    path = tmp_path_factory.mktemp("judge") / "tiny.gguf"
    write(path, twin)
    return path


def write(path, twin, arch="llama", cut="smollm", skip=""):
    out = gguf.GGUFWriter(path, arch)
    out.add_block_count(LAYERS)
    out.add_embedding_length(WIDTH)
    out.add_head_count(HEADS)
    out.add_head_count_kv(KEYS)
    out.add_context_length(CONTEXT)
    out.add_layer_norm_rms_eps(1e-5)
    out.add_rope_freq_base(1e5)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre(cut)
    out.add_token_list(alphabet())
    out.add_token_types([3] + [1] * (len(alphabet()) - 1))
    out.add_token_merges(["t h", "th e"])
    out.add_bos_token_id(0)
    names = {
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    }  # fmt: skip
    state = twin.state_dict()
    tensors = {
        "token_embd.weight": state["model.embed_tokens.weight"],
        "output_norm.weight": state["model.norm.weight"],
    }
    for layer in range(LAYERS):
        for theirs, ours in names.items():
            value = state[f"model.layers.{layer}.{theirs}.weight"]
            heads = {"attn_q": HEADS, "attn_k": KEYS}.get(ours)
            value = interleaved(value, heads) if heads else value
            tensors[f"blk.{layer}.{ours}.weight"] = value
    for name, value in tensors.items():
        if name != skip:
            out.add_tensor(name, np.ascontiguousarray(value.numpy()))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def test_logits_are_those_of_transformers(file, twin):
    ids = torch.arange(24).view(2, 12) * 7 % len(alphabet())
    with torch.no_grad():
        expected = twin(input_ids=ids).logits
    torch.testing.assert_close(load(file).logits(ids), expected, atol=1e-5, rtol=1e-5)


def test_a_text_is_judged_in_windows_of_its_own_tokens(file, twin):
    judge = load(file)
    texts = ["the 12", "then the other thing, which is long", "a"]
    found = judge(texts)
    for i, text in enumerate(texts):
        ids = judge.tokenizer.encode(text).ids
        nats = 0.0
        for at in range(0, len(ids), CONTEXT - 1):
            row = torch.tensor([[0, *ids[at : at + CONTEXT - 1]]])
            with torch.no_grad():
                law = twin(input_ids=row).logits.double().log_softmax(-1)
            nats -= float(law[0, :-1].gather(-1, row[0, 1:, None]).sum())
        assert found.nats[i] == pytest.approx(nats, rel=1e-5) and found.tokens[i] == len(ids)
    assert judge.tokenizer.encode("the 12").tokens == ["the", "\u0120", "1", "2"]
    assert found.entropy[0] == pytest.approx(math.log(4)) and found.entropy[2] == 0
    assert found.perplexity == pytest.approx(math.exp(found.nats.sum() / found.tokens.sum()))
    with pytest.raises(InputError, match="there is no text to judge"):
        judge([])


def test_the_error_of_a_perplexity_is_that_of_resampled_texts():
    """Against 4,000 bootstrap samples of texts; the two differ by 10 % at most."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(20, 200, 80)
    nats = tokens * (1 + 0.2 * rng.normal(size=80))
    pick = rng.integers(0, 80, (4000, 80))
    spread = np.exp(nats[pick].sum(1) / tokens[pick].sum(1)).std()
    assert Verdict(nats, tokens, nats).error == pytest.approx(spread, rel=0.1)
    assert math.isnan(Verdict(nats[:1], tokens[:1], nats).error)


def test_the_verb_tells_perplexity_and_entropy(file, tmp_path):
    (tmp_path / "a.txt").write_text("the school\n\nthe other")
    (tmp_path / "b.jsonl").write_text('{"text": "the the the the"}\n')
    words = ["judge", tmp_path / "a.txt", tmp_path / "b.jsonl", "--model", file]
    done = CliRunner().invoke(application(), list(map(str, words)))
    assert done.exit_code == 0, done.output
    judge, head, first, second = done.output.splitlines()
    assert "tiny.gguf" in judge and head.split()[:2] == ["perplexity", "entropy"]
    assert " +- " in first and first.split()[4] == "2" and second.split()[2] == "1"
    (tmp_path / "a.txt").write_text("\n")
    done = CliRunner().invoke(application(), list(map(str, words)))
    assert done.exit_code and "there is no text in" in done.output


def test_what_is_no_judge_is_told(twin, tmp_path, monkeypatch):
    other = tmp_path / "other.gguf"
    write(other, twin, arch="gemma")
    with pytest.raises(InputError, match="architecture 'gemma'; a judge is a llama"):
        load(other)
    write(other, twin, cut="qwen2")
    with pytest.raises(InputError, match="has the tokenizer gpt2/qwen2"):
        load(other)
    write(other, twin, skip="blk.1.ffn_up.weight")
    with pytest.raises(InputError, match=r"has no blk\.1\.ffn_up\.weight"):
        load(other)
    other.write_bytes(other.read_bytes()[:3000])
    with pytest.raises(InputError, match="is no GGUF file"):
        load(other)
    with pytest.raises(InputError, match="is no GGUF file"):
        load(tmp_path / "none.gguf")
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(InputError, match="no judge is installed"):
        installed()
