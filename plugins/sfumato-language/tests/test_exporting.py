"""What is exported loads in transformers, says the same, and fills gaps from the command line."""

from __future__ import annotations

import json

import pytest
import torch
from typer.testing import CliRunner

from sfumato import InputError
from sfumato_cli.main import application
from sfumato_language.canvas import conditions
from sfumato_language.exporting import _library, export
from sfumato_language.foreign import load
from sfumato_language.tokens import Byte, Char, Json, Text8
from sfumato_train import draw, start

transformers = pytest.importorskip("transformers")


def cli(*words):
    return CliRunner().invoke(application(), list(map(str, words)))


@pytest.fixture(scope="module")
def folder(run_folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "model"
    done = cli("export", run_folder, out)
    assert done.exit_code == 0 and f"wrote {out}" in done.output, done.output
    return out


def test_transformers_loads_it_and_it_says_the_same(run, folder):
    names = {file.name for file in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    theirs, info = transformers.AutoModelForMaskedLM.from_pretrained(
        folder, trust_remote_code=True, output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    words = transformers.AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor([words.encode("The school was", add_special_tokens=False)])
    assert ids.shape == (1, 14) and words.decode(ids[0]) == "The school was"
    ids[0, 5:9] = words.mask_token_id
    with torch.no_grad():
        found = theirs.eval()(input_ids=ids).logits
        expected = run.model(device="cpu").denoiser.net(ids, torch.zeros(1))
    assert torch.equal(found, expected)
    assert words.eos_token_id == run.about["vocabulary"] - 1


def test_our_loader_draws_the_same_samples(run, folder):
    loaded = load(folder, trust=True)
    values = {"prompt": "The ", "suffix": "day 3."}
    assert loaded.about["vocabulary"] == run.about["vocabulary"] + 1, "the mask is a row of it"
    asked = conditions(values, 3, {**loaded.about, "length": 30})
    ours = conditions(values, 3, {**run.about, "length": 30})
    how = {"sampler": "first-hitting", "steps": 4, "seed": 5}
    made = draw(loaded.model, 3, condition=asked, **how)
    assert torch.equal(made.x.data, draw(run, 3, condition=ours, **how).x.data)


def test_infill_takes_the_folder(run_folder, folder):
    words = ("--text", "The [MASK*6] was sold.", "--seed", 3, "--steps", 4,
             "--sampler", "first-hitting")  # fmt: skip
    refused = cli("infill", folder, *words)
    assert refused.exit_code and "trust" in refused.output
    done = cli("infill", folder, *words, "--trust")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == cli("infill", run_folder, *words).stdout.splitlines()


@pytest.mark.parametrize(
    "tokenizer",
    [Byte(), Char(" abc\u00e9"), Text8(), Json.trained(["the cab of the caf\u00e9"] * 9, 264)],
    ids=["byte", "char", "text8", "bpe"],
)
def test_tokenizers_are_the_same(tokenizer):
    library = _library(tokenizer)
    texts = (
        ["abc cab", "a  b\u00e9"]
        if isinstance(tokenizer, Char)
        else ["the caf\u00e9 of 12", "a\n b"]
    )
    if isinstance(tokenizer, Text8):
        texts = ["The 12 caf\u00e9s,\n of old", "AB"]
    for text in texts:
        ids = library.encode(text, add_special_tokens=False).ids
        assert ids == tokenizer.encode(text).tolist()
        assert library.decode(ids) == tokenizer.decode(ids)


def test_what_cannot_be_exported_is_told(run_folder, folder, text, tmp_path):
    with pytest.raises(InputError, match="exists already"):
        export(run_folder, folder)
    words = ["steps=1", "network_size=pico", "batch=2", "length=16",
             "sampling_steps=2", "sampler=cached-ancestral", "documents=line"]  # fmt: skip
    for word, reason in (("timed=true", "is told the time"), ("contexts=99", "counted contexts")):
        place = tmp_path / word
        out = start("language/text", [word, *words], text, place / "run", device="cpu")
        with pytest.raises(InputError, match=reason):
            export(out, place / "out")
        assert not (place / "out").exists()
    gaps = json.loads(Json.trained(["abc"], 258).text)
    gaps["model"]["vocab"]["zz"] = 400
    with pytest.raises(InputError, match="have gaps"):
        _library(Json(json.dumps(gaps)))
