"""SEDD, MDLM, BD3LM and Duo: twins of random weights, and their networks from the descriptions."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from sfumato import InputError, Padded, random
from sfumato_cli.main import application
from sfumato_language.canvas import conditions
from sfumato_language.foreign import load, tokenizer_of
from sfumato_language.samples import texts_of
from sfumato_methods.discrete import Blocks, FirstHitting
from sfumato_train import draw

WORDS = ["the", "school", "was", "sold", "closed", "in", "may", "<|endoftext|>"]
END, MASK, WIDTH, HEADS, DEPTH, TOLD, BLOCK = 7, 8, 16, 2, 2, 12, 4
SIZES = {"hidden_dim": WIDTH, "cond_dim": TOLD, "n_blocks": DEPTH, "n_heads": HEADS,
         "model_length": 16, "dropout": 0.1}  # fmt: skip


def sedd(graph="absorb", scaled=True, **noise):
    model = {"hidden_size": WIDTH, "cond_dim": TOLD, "length": 16, "n_blocks": DEPTH,
             "n_heads": HEADS, "scale_by_sigma": scaled, "dropout": 0.1}  # fmt: skip
    noise = noise or {"type": "loglinear", "sigma_min": 1e-4, "sigma_max": 20}
    return {"tokens": 8, "graph": {"type": graph}, "noise": noise, "model": model}


CONFIGS = {
    "mdlm": {"model_type": "mdlm", "vocab_size": 9, "time_conditioning": False, **SIZES},
    "mdlm-timed": {"model_type": "mdlm", "vocab_size": 9, "time_conditioning": True, **SIZES},
    "duo": {"model_type": "DUO", "vocab_size": 9, "causal": False, "var_min": True, **SIZES},
    "bd3lm": {"model_type": "bd3lm", "vocab_size": 9, "block_size": BLOCK, "cross_attn": True,
              "adaln": True, "causal": False, "time_conditioning": False, **SIZES},
    "bd3lm-plain": {"model_type": "bd3lm", "vocab_size": 9, "block_size": BLOCK, "adaln": False,
                    "cross_attn": True, "time_conditioning": False, **SIZES},
    "sedd": sedd(),
    "sedd-whole": sedd(scaled=False),
    "sedd-uniform": sedd("uniform", False, type="geometric", sigma_min=1e-3, sigma_max=1.0),
}  # fmt: skip


def sizes_of(kind):
    """The tensors of a model and their shapes, as their authors call them."""
    k = 8 if kind == "sedd-uniform" else 9
    told = kind != "bd3lm-plain"
    found = {"vocab_embed.embedding": (k, WIDTH), "output_layer.norm_final.weight": (WIDTH,)}
    found |= {"output_layer.linear.weight": (k, WIDTH), "output_layer.linear.bias": (k,)}
    linear = {"output_layer.adaLN_modulation": (2 * WIDTH, TOLD)} if told else {}
    linear |= {"sigma_map.mlp.0": (TOLD, 256), "sigma_map.mlp.2": (TOLD, TOLD)} if told else {}
    for i in range(DEPTH):
        at = f"blocks.{i}."
        found |= {at + "norm1.weight": (WIDTH,), at + "norm2.weight": (WIDTH,)}
        found |= {at + "attn_qkv.weight": (3 * WIDTH, WIDTH)}
        found |= {at + "attn_out.weight": (WIDTH, WIDTH)}
        linear |= {at + "mlp.0": (4 * WIDTH, WIDTH), at + "mlp.2": (WIDTH, 4 * WIDTH)}
        linear |= {at + "adaLN_modulation": (6 * WIDTH, TOLD)} if told else {}
    for name, (out, inward) in linear.items():
        found |= {name + ".weight": (out, inward), name + ".bias": (out,)}
    return found


def twin(folder, kind, words=WORDS, **changed):
    """A folder as it is published, with GPT-2's place taken by a tokenizer of eight words."""
    from safetensors.torch import save_file
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIGS[kind] | changed))
    library = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, "the"))
    library.pre_tokenizer = Whitespace()
    library.save(str(folder / "tokenizer.json"))
    generator = random.derive(0, "twin", kind)
    weights = {
        name: random.normal(torch.empty(size), generator) * (0.7 if len(size) == 1 else 0.4)
        for name, size in sizes_of(kind).items()
    }
    prefix = "" if kind.startswith("sedd") else "backbone."
    saved = {prefix + name: value for name, value in weights.items()}
    saved |= {prefix + "rotary_emb.inv_freq": torch.zeros(WIDTH // HEADS // 2)}
    if kind.startswith("bd3lm"):
        saved |= {"sampling_eps_min": torch.tensor(0.001), "sampling_eps_max": torch.tensor(0.999)}
    save_file(saved, folder / "model.safetensors", {"format": "pt"})
    return weights


def reference(w, ids, sigma, place=None, allowed=None):
    """Logits (B, L, K) as the papers describe the network; sigma None: without modulation."""
    length, size = ids.shape[1], WIDTH // HEADS

    def linear(name, x):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    def normed(name, x):
        x = x - x.mean(-1, keepdim=True)
        return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * w[name + ".weight"]

    if sigma is not None:
        angle = sigma[:, None] * 1e4 ** (-torch.arange(128) / 128)
        c = linear("sigma_map.mlp.0", torch.cat((angle.cos(), angle.sin()), 1))
        c = linear("sigma_map.mlp.2", c * c.sigmoid())
        c = (c * c.sigmoid())[:, None]
    place = torch.arange(length) if place is None else place
    speed = 1e4 ** (-2 * torch.arange(size // 2) / size)
    turn = torch.polar(torch.ones(length, size // 2), place[:, None] * speed)

    def turned(v):  # pairs (i, i + D/2) are complex numbers
        z = torch.complex(v[..., : size // 2], v[..., size // 2 :]) * turn[:, None]
        return torch.cat((z.real, z.imag), -1)

    x = w["vocab_embed.embedding"][ids]
    for i in range(DEPTH):
        at = f"blocks.{i}."
        m = [torch.tensor(v) for v in (0.0, 0.0, 1.0, 0.0, 0.0, 1.0)]
        if sigma is not None:
            m = linear(at + "adaLN_modulation", c).split(WIDTH, -1)
        h = normed(at + "norm1", x) * (1 + m[1]) + m[0]
        q, k, v = (h @ w[at + "attn_qkv.weight"].T).split(WIDTH, -1)
        q, k, v = (one.reshape(len(ids), length, HEADS, size) for one in (q, k, v))
        score = torch.einsum("blhd,bmhd->bhlm", turned(q), turned(k)) / math.sqrt(size)
        if allowed is not None:
            score = score.masked_fill(~allowed, -torch.inf)
        mixed = torch.einsum("bhlm,bmhd->blhd", score.softmax(-1), v).reshape(x.shape)
        x = x + m[2] * (mixed @ w[at + "attn_out.weight"].T)
        h = linear(at + "mlp.0", normed(at + "norm2", x) * (1 + m[4]) + m[3])
        h = 0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
        x = x + m[5] * linear(at + "mlp.2", h)
    y = normed("output_layer.norm_final", x)
    if sigma is not None:
        shift, scale = linear("output_layer.adaLN_modulation", c).split(WIDTH, -1)
        y = y * (1 + scale) + shift
    return linear("output_layer.linear", y)


IDS = torch.tensor([[0, 8, 3, 8, 1, 8, 8, 2], [8, 4, 8, 5, 8, 8, 6, 8]])
TIME = torch.tensor([0.3, 0.8], dtype=torch.float64)
SIGMA = -torch.log1p(-TIME).float()


@pytest.mark.parametrize("kind", ["mdlm", "mdlm-timed"])
def test_an_mdlm_says_what_its_description_says(tmp_path, kind):
    w = twin(tmp_path / "m", kind)
    loaded = load(tmp_path / "m")
    assert loaded.tokenizer.mask == MASK and loaded.about["length"] == 16
    q = loaded.model.denoiser(IDS, TIME)
    logits = reference(w, IDS, SIGMA if kind == "mdlm-timed" else 0 * SIGMA)
    expected = logits[..., :MASK].double().softmax(-1)
    hidden = IDS == MASK
    torch.testing.assert_close(q.probs[hidden][:, :MASK], expected[hidden], atol=2e-5, rtol=0)
    assert bool((q.probs[..., MASK] == 0).all()) and q.probs[0, 0, 0] == 1
    padded = Padded(IDS, torch.arange(8) < torch.tensor([[8], [5]]))
    short = loaded.model.denoiser.net(padded, torch.zeros(2)).data[1, :5]
    alone = loaded.model.denoiser.net(IDS[1:, :5], torch.zeros(1))[0]
    torch.testing.assert_close(short, alone, atol=1e-4, rtol=0)
    at = IDS == 8
    some = loaded.model.denoiser.net(IDS, torch.zeros(2), at=at)
    torch.testing.assert_close(some, loaded.model.denoiser.net(IDS, torch.zeros(2))[at])


@pytest.mark.parametrize("kind", ["sedd", "sedd-whole"])
def test_a_sedd_that_masks_gives_its_ratios(tmp_path, kind):
    """log p_t(y)/p_t(x) = out - log(e^sigma - 1) - log(K - 1) if scaled; 0 for the token seen."""
    w = twin(tmp_path / "s", kind)
    denoiser = load(tmp_path / "s").model.denoiser
    q = denoiser(IDS, TIME)
    clock, at = torch.tensor([-0.5, 1.5]), IDS == MASK
    torch.testing.assert_close(denoiser.net(IDS, clock, at=at), denoiser.net(IDS, clock)[at])
    logits = reference(w, IDS, SIGMA)
    if kind == "sedd":
        logits = logits - torch.log(torch.expm1(SIGMA))[:, None, None] - math.log(8)
    ratio = logits.scatter(-1, IDS[..., None], 0.0).exp()
    hidden = IDS == MASK
    torch.testing.assert_close(q.ratios[hidden].float(), ratio[hidden], atol=1e-4, rtol=1e-4)
    expected = ratio[hidden][:, :MASK]
    expected = expected / expected.sum(-1, keepdim=True)
    torch.testing.assert_close(q.probs[hidden][:, :MASK].float(), expected, atol=2e-5, rtol=0)
    assert q.probs[0, 0, 0] == 1


def test_a_sedd_that_replaces_gives_its_ratios_and_posterior(tmp_path):
    """Sigma is at most that of its schedule; p(x_0) solves p_t = p_0 T at each place."""
    w = twin(tmp_path / "s", "sedd-uniform")
    ids = IDS.clamp(max=7)
    q = load(tmp_path / "s").model.denoiser(ids, TIME)
    ratio = reference(w, ids, SIGMA.clamp(max=1.0)).scatter(-1, ids[..., None], 0.0).exp()
    torch.testing.assert_close(q.ratios.float(), ratio, atol=1e-4, rtol=1e-4)
    keep = (1 - TIME)[:, None, None]
    matrix = keep * torch.eye(8) + (1 - keep) / 8
    source = torch.linalg.solve(matrix, ratio.double().mT).mT
    joint = (source * (keep * torch.eye(8)[ids] + (1 - keep) / 8)).clamp_min(0)
    expected = joint / joint.sum(-1, keepdim=True)
    torch.testing.assert_close(q.probs, expected, atol=1e-4, rtol=0)


def test_a_duo_steps_by_its_published_posterior(tmp_path):
    """(V a_t z*p + (a_ts - a_t) z + (a_s - a_t) p + (1 - a_ts)(1 - a_s)/V), normalised."""
    w = twin(tmp_path / "d", "duo")
    model = load(tmp_path / "d").model
    q = model.denoiser(IDS, TIME)
    logits = reference(w, IDS, SIGMA)
    logits[..., 8] = -torch.inf  # a row of the table that the tokenizer has no token for
    p = logits.double().softmax(-1)
    torch.testing.assert_close(q.probs.double(), p, atol=2e-5, rtol=0)
    s = TIME / 2
    step = model.process.transition(q, IDS, TIME, s)
    a, b = (1 - TIME)[:, None, None], (1 - s)[:, None, None]
    z = torch.nn.functional.one_hot(IDS, 9)
    law = 9 * a * z * p + (a / b - a) * z + (b - a) * p + (1 - a / b) * (1 - b) / 9
    law = law / (9 * a * p.gather(-1, IDS[..., None]) + 1 - a)
    torch.testing.assert_close(step.probs, law, atol=2e-5, rtol=0)


@pytest.mark.parametrize("kind", ["bd3lm", "bd3lm-plain"])
def test_a_bd3lm_says_of_a_block_what_its_training_pass_says(tmp_path, kind):
    """There x_t and x_0 stand side by side: a block of x_t reads itself and x_0 before it."""
    w = twin(tmp_path / "b", kind)
    net = load(tmp_path / "b").model.denoiser.net
    clean = torch.tensor([[7, 1, 2, 0, 4, 3, 0, 5, 6, 0, 1, 2]])
    noisy = clean.where(torch.rand(1, 12, generator=random.derive(0, "noise")) < 0.5, MASK)
    own = torch.arange(24) % 12 // BLOCK
    second = torch.arange(24) >= 12
    same = (own[:, None] == own) & (second[:, None] == second)
    before = (own[:, None] > own) & second
    sigma = None if kind == "bd3lm-plain" else torch.zeros(1)
    both = reference(
        w, torch.cat((noisy, clean), 1), sigma, torch.arange(24) % 12, allowed=same | before
    )
    clock = torch.zeros(1)
    for block in range(3):
        here = slice(block * BLOCK, (block + 1) * BLOCK)
        canvas = torch.cat((clean[:, : here.start], noisy[:, here.start :]), 1)
        said = net(canvas, clock)[:, here, :MASK]
        torch.testing.assert_close(said, both[:, here, :MASK], atol=2e-5, rtol=0)
        cached = net.recall(canvas, clock, here)(canvas[:, here], clock)[..., :MASK]
        torch.testing.assert_close(cached, said, atol=2e-5, rtol=0)
        padded = Padded(canvas, torch.arange(12)[None] < 12)
        cached = net.recall(padded, clock, here)(
            Padded(canvas[:, here], padded.mask[:, here]), clock
        )
        torch.testing.assert_close(cached.data[..., :MASK], said, atol=2e-5, rtol=0)
    with pytest.raises(InputError, match=r"use Blocks\(length=4\)"):
        net.recall(clean, clock, slice(0, 8))


def test_cached_blocks_are_those_without_a_memory(tmp_path, monkeypatch):
    twin(tmp_path / "b", "bd3lm")
    loaded = load(tmp_path / "b")
    asked = conditions({"prompt": "the school", "length": "9..16"}, 6, loaded.about)
    made = draw(loaded.model, 6, condition=asked, seed=3)
    assert bool((made.x.data[:, :3] == torch.tensor([END, 0, 1])).all())
    assert all(text.startswith("the school") for text in texts_of(made, loaded.about))
    calls = []
    plain = type(loaded.model.denoiser.net).recall
    monkeypatch.setattr(
        type(loaded.model.denoiser.net), "recall", lambda *a, **k: calls.append(1) or plain(*a, **k)
    )
    assert torch.equal(draw(loaded.model, 6, condition=asked, seed=3).x.data, made.x.data)
    assert calls
    monkeypatch.delattr(type(loaded.model.denoiser.net), "recall")
    assert torch.equal(draw(loaded.model, 6, condition=asked, seed=3).x.data, made.x.data)
    assert loaded.model.sampler == Blocks(FirstHitting(), BLOCK)


@pytest.mark.parametrize("kind", CONFIGS)
def test_all_write_and_keep_what_is_given(tmp_path, kind):
    twin(tmp_path / "t", kind)
    loaded = load(tmp_path / "t")
    model = replace(loaded.model, steps=16)
    made = draw(model, 4, seed=1).x.data
    assert made.shape == (4, 16) and bool((made < MASK).all())
    asked = conditions(
        {"text": "the school [MASK*3] in [MASK*2] may", "temperature": "0.9"}, 4, loaded.about
    ) if kind != "bd3lm" else conditions({"prompt": "the"}, 4, loaded.about)  # fmt: skip
    texts = texts_of(draw(model, 4, condition=asked, seed=2), loaded.about, whole=True)
    words = [text.split() for text in texts]
    if kind != "bd3lm":
        assert all(w[:2] == ["the", "school"] and w[5] == "in" and w[-1] == "may" for w in words)
        assert all(END not in map(WORDS.index, w) for w in words), "no end before what is known"
    assert len(made.unique(dim=0)) == 4
    if kind.startswith("sedd"):
        for sampler in ("rate-euler", "tau-leaping"):
            other = draw(model, 2, condition=conditions({"suffix": "may"}, 2, loaded.about),
                         sampler=sampler, steps=16, seed=1)  # fmt: skip
            texts = texts_of(other, loaded.about)
            assert all(text.endswith("may") for text in texts)
    assert tokenizer_of(tmp_path / "t").mask == loaded.tokenizer.mask


def test_the_command_fills_gaps_by_a_duo(tmp_path):
    from sfumato_language.filling import fill

    twin(tmp_path / "d", "duo")
    options = {"pattern": None, "allow": [], "sampler": None, "grid": None, "steps": 8, "seed": 0}
    options |= {"out": None, "device": "cpu", "weights": "ema", "trust": False}
    told = fill(
        tmp_path / "d", ["the school [MASK*2] closed"], 2, watch=True,
        trace=tmp_path / "way.json", **options,
    )  # fmt: skip
    assert all(
        row.startswith("the school ") and row.endswith(" closed") for row in told.split("\n")
    )
    assert len(json.loads((tmp_path / "way.json").read_text())["items"]) == 2


def test_weights_go_in_to_the_last_one(tmp_path):
    from safetensors.torch import load_file, save_file

    w = twin(tmp_path / "m", "mdlm")
    net = load(tmp_path / "m").model.denoiser.net
    ours = sorted(float(value.double().sum()) for value in net.state_dict().values())
    assert ours == sorted(float(value.double().sum()) for value in w.values())
    file = tmp_path / "m" / "model.safetensors"
    given = load_file(file)
    name = "backbone.blocks.1.attn_qkv.weight"
    save_file({k: v for k, v in given.items() if k != name}, file, {"format": "pt"})
    with pytest.raises(InputError, match=r"has no weights for blocks\.1\.attn_qkv\.weight"):
        load(tmp_path / "m")
    save_file({**given, name: torch.zeros(3, 3)}, file, {"format": "pt"})
    with pytest.raises(InputError, match=r"other shapes for blocks\.1\.attn_qkv\.weight \(3, 3\)"):
        load(tmp_path / "m")
    save_file({**given, "backbone.more": torch.zeros(1)}, file, {"format": "pt"})
    with pytest.raises(InputError, match="left-over weights more"):
        load(tmp_path / "m")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "m")


def test_files_of_torch_are_read_and_never_run(tmp_path):
    from safetensors.torch import load_file

    w = twin(tmp_path / "s", "sedd")
    file, old = tmp_path / "s" / "model.safetensors", tmp_path / "s" / "pytorch_model.bin"
    torch.save(load_file(file), old)
    file.unlink()
    net = load(tmp_path / "s").model.denoiser.net
    assert torch.equal(net.table.weight, w["vocab_embed.embedding"])

    class Evil:
        def __reduce__(self):
            return print, ("this was run",)

    torch.save({"a": Evil()}, old)
    with pytest.raises(InputError, match="is not loaded"):
        load(tmp_path / "s")
    old.unlink()
    with pytest.raises(InputError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        load(tmp_path / "s")


def test_shards_are_joined_and_stay_in_their_folder(tmp_path):
    from safetensors.torch import load_file, save_file

    w = twin(tmp_path / "m", "mdlm")
    file = tmp_path / "m" / "model.safetensors"
    given = load_file(file)
    halves = list(given)[::2], list(given)[1::2]
    placed = {}
    for number, names in enumerate(halves):
        save_file({name: given[name] for name in names}, tmp_path / "m" / f"{number}.safetensors")
        placed |= {name: f"{number}.safetensors" for name in names}
    file.unlink()
    index = tmp_path / "m" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": placed}))
    net = load(tmp_path / "m").model.denoiser.net
    assert torch.equal(net.table.weight, w["vocab_embed.embedding"])
    index.write_text(json.dumps({"weight_map": {"a": "../m/0.safetensors"}}))
    with pytest.raises(InputError, match="outside of its folder"):
        load(tmp_path / "m")


@pytest.mark.parametrize(
    ("kind", "changed", "says"),
    [
        ("duo", {"causal": True}, "causal=true is no diffusion model"),
        ("mdlm", {"n_heads": 5}, "does not split into 5 even heads"),
        ("mdlm", {"vocab_size": 4}, "has ids up to 7, and the model knows 4"),
        ("sedd", {"graph": {"type": "tree"}}, "neither absorb nor uniform"),
        ("sedd", {"model": {"length": 3}}, "it has no 'scale_by_sigma'"),
        ("bd3lm", {"block_size": 0}, "at least 1"),
        ("bd3lm", {"time_conditioning": True}, "told a time of their own"),
    ],
    ids=str,
)
def test_configurations_that_are_not_known_are_told(tmp_path, kind, changed, says):
    twin(tmp_path / "t", kind, **changed)
    with pytest.raises(InputError, match=says):
        load(tmp_path / "t")


def test_a_mask_of_the_tokenizer_is_that_of_all_but_sedd(tmp_path):
    words = ["[MASK]" if word == "in" else word for word in WORDS]
    for kind, mask in (("mdlm", 5), ("sedd", 8), ("duo", 9)):
        twin(tmp_path / kind, kind, words)
        loaded = load(tmp_path / kind)
        assert loaded.tokenizer.mask == mask
        kernel = loaded.model.process.kernel
        assert kernel.absorbs == (None if kind == "duo" else mask)
    assert load(tmp_path / "mdlm", mask=8, length=5).about["length"] == 5
    with pytest.raises(InputError, match="the mask of .* is id 7, which is its end too"):
        load(tmp_path / "mdlm", mask=END)


def test_a_missing_tokenizer_and_a_name_of_the_hub(tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    twin(tmp_path / "t", "mdlm")
    monkeypatch.setattr(hub, "snapshot_download", lambda name: str(tmp_path / name.split("/")[1]))
    assert load("somebody/t").tokenizer.mask == MASK
    (tmp_path / "t" / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"no tokenizer\.json; put that of"):
        load(tmp_path / "t")

    def refused(name):
        raise OSError("no way there")

    monkeypatch.setattr(hub, "snapshot_download", refused)
    with pytest.raises(InputError, match="is no folder, and none of the hub: no way there"):
        load("somebody/else")


def test_an_mdlm_is_tuned_by_adapters_and_others_are_not(tmp_path):
    pytest.importorskip("peft")
    from sfumato_train import open_run, start

    pairs = [{"prompt": f"the school {w}", "response": f"was {w}"} for w in ("sold", "closed")] * 8
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    w = twin(tmp_path / "mdlm", "mdlm")
    words = ["lora=2", "steps=2", "batch=4", "length=8", "separator= ", "held=0.2", "warmup=1"]

    def tuned(kind):
        args = [f"base={tmp_path / kind}", *words]
        return start("language/tuned", args, tmp_path / "p.jsonl", tmp_path / f"run-{kind}")

    model = open_run(tuned("mdlm")).model()
    state = model.denoiser.net.state_dict()
    assert torch.equal(state["blocks.0.inward.base_layer.weight"], w["blocks.0.attn_qkv.weight"])
    assert any(bool(v.any()) for name, v in state.items() if ".lora_B." in name)
    assert "head.weight" in state
    for kind, says in (("duo", "takes masked models"), ("bd3lm", "block by block")):
        twin(tmp_path / kind, kind)
        with pytest.raises(InputError, match=says):
            tuned(kind)


@pytest.mark.parametrize("kind", ["sedd", "mdlm", "duo", "bd3lm"])
def test_the_verb_takes_folders_of_others(tmp_path, kind):
    def cli(*words):
        return CliRunner().invoke(application(), list(map(str, words)))

    twin(tmp_path / kind, kind)
    (tmp_path / "a.txt").write_text("the school was sold")
    before = sorted(path.name for path in (tmp_path / kind).iterdir())
    done = cli("score", tmp_path / kind, "--data", tmp_path / "a.txt", "--draws", 2)
    assert done.exit_code == 0, done.output
    assert "1 documents, 5 tokens, 19 characters" in done.output and "wrote" not in done.output
    assert sorted(path.name for path in (tmp_path / kind).iterdir()) == before
    assert "held nothing out; name text with --data" in cli("score", tmp_path / kind).output
