"""A whole run: training, prompts kept bit for bit, verbs, scores, and other text."""

from __future__ import annotations

import json
import math

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from sfumato import Batch, InputError, Padded
from sfumato_cli.main import application
from sfumato_language import scoring
from sfumato_language.canvas import CANVAS
from sfumato_language.samples import read_back, texts_of, write
from sfumato_language.stream import stream, traced
from sfumato_train import draw, evaluate, open_run, start
from sfumato_train.runs import read_more


def cli(*words):
    return CliRunner().invoke(application(), list(map(str, words)))


def test_it_learns(run_folder):
    rows = [json.loads(line) for line in (run_folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["held_loss"] < 2.6 < math.log(38)
    assert len(rows[-1]["held_levels"]) >= 8
    picture = Image.open(next((run_folder / "previews").iterdir()))
    assert picture.width > 700


@pytest.mark.parametrize(
    "sampler",
    ["ancestral", "cached-ancestral", "first-hitting", "margin", "confident", "blocks", "remdm",
     "maskgit", "left-to-right", "tau-leaping"],
)  # fmt: skip
def test_what_is_given_is_kept_and_no_mask_is_left(run, sampler):
    asked = run.domain.condition(
        {"prompt": "The ", "suffix": "day 3.", "length": "30..33"}, 6, run.about
    )
    model = run.model()
    made = draw(model, 6, condition=asked, sampler=sampler, seed=4)
    for text, length in zip(
        texts_of(made, run.about, whole=True), (30, 31, 32, 33, 30, 31), strict=True
    ):
        assert text.startswith("The ") and text.endswith("day 3.") and len(text) == length
    assert bool((made.x.data[made.x.mask] < run.about["vocabulary"] - 1).sum() > 0)
    assert not bool((made.x.data == run.about["vocabulary"])[made.x.mask].any())
    if sampler == "blocks":
        return  # how many blocks there are depends on the longest text of a batch
    alone = draw(
        model,
        1,
        condition=run.domain.condition(
            {"prompt": "The ", "suffix": "day 3.", "length": "32"}, 1, run.about
        ),
        sampler=sampler,
        seed=4,
        first=2,
    )
    assert texts_of(alone, run.about)[0] == texts_of(made, run.about)[2]


def test_the_first_call_sees_the_prompt(run, monkeypatch):
    model = run.model()
    seen = []
    forward = type(model.denoiser).forward
    monkeypatch.setattr(
        type(model.denoiser),
        "forward",
        lambda self, x, t: (seen.append(x.data), forward(self, x, t))[1],
    )
    asked = run.domain.condition({"prompt": "The "}, 2, run.about)
    draw(model, 2, condition=asked, batch=2)
    assert all(torch.equal(x[:, :4], asked[CANVAS].data[:, :4]) for x in seen)


def test_a_prompt_weighs_more_by_its_word_and_not_by_the_option(run):
    asked = run.domain.condition({"prompt": "The ", "suffix": ".", "guidance": "3"}, 4, run.about)
    texts = texts_of(draw(run, 4, condition=asked, seed=0), run.about)
    assert all(text.startswith("The ") and text.endswith(".") for text in texts)
    same = dict(asked) | {"guidance": torch.ones(4)}
    plain = {name: asked[name] for name in ("canvas", "inside")}
    first, second = (draw(run, 4, condition=one, seed=0).x.data for one in (same, plain))
    assert torch.equal(first, second)
    with pytest.raises(InputError, match="strengthens a condition, but none is given"):
        draw(run, 4, condition=plain, guidance=3.0)


def test_a_stream_is_the_samples_step_by_step_and_a_trace_rebuilds_them(run):
    asked = run.domain.condition({"text": "The [MASK*9] was sold[MASK*8]"}, 2, run.about)
    model = run.model()
    made = draw(model, 2, condition=asked, seed=3)
    steps = list(stream(model, 2, condition=asked, seed=3))
    assert torch.equal(steps[-1].x.data, made.x.data) and len(steps) == 9
    x = steps[0].x.data.clone()
    for item in range(2):
        for row in traced(steps, item):
            x[item, row["places"]] = torch.tensor(row["ids"])
    assert torch.equal(x, made.x.data)


def test_infill_prints_or_writes(run_folder, tmp_path):
    words = ("infill", run_folder, "--text", "The [MASK*6] was sold.", "--steps", 4)
    printed = cli(*words, "-n", 2)
    assert printed.exit_code == 0, printed.output
    texts = printed.output.splitlines()
    assert len(texts) == 2 and all(t.startswith("The ") and t.endswith(" was sold.") for t in texts)
    out, trace = tmp_path / "o" / "filled.jsonl", tmp_path / "trace.json"
    written = cli(*words, "-n", 2, "--out", out, "--trace", trace)
    assert "wrote 2 texts" in written.output, written.output
    assert [json.loads(line)["text"] for line in out.read_text().splitlines()] == texts
    ways = json.loads(trace.read_text())
    assert [item["text"] for item in ways["items"]] == texts and ways["items"][0]["steps"]
    allowed = cli(*words, "-n", 3, "--allow", "bridge", "--allow", "school")
    assert {t[4:10] for t in allowed.output.splitlines()} <= {"bridge", "school"}, allowed.output
    kept = cli(*words, "--pattern", "The [a-f]+ was sold[.]")
    assert set(kept.output[4:10]) <= set("abcdef"), kept.output
    both = cli(*words, "--pattern", "a", "--allow", "b")
    assert both.exit_code and "goes without --pattern" in both.output
    watched = cli(*words, "--watch")
    assert "\u2592" in watched.output and watched.output.splitlines()[-1] == texts[0]
    again = cli(*words, "--out", out)
    assert again.exit_code and "exists already" in again.output
    assert cli(*words, "--out", tmp_path / "a.pdf").exit_code


@pytest.mark.parametrize("suffix", [".jsonl", ".txt", ""])
def test_sample_writes_a_file_or_a_folder_that_is_read_back(run_folder, run, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    words = ("sample", run_folder, "-n", 3, "prompt=The school", "--steps", 4, "--out", out)
    done = cli(*words)
    assert done.exit_code == 0, done.output
    assert Image.open(out.with_name(f"{out.name}.png")).height > 20
    if suffix == ".txt":
        assert out.read_text().count("The school") == 3
        return
    back = read_back(out, run.about)
    assert all(text.startswith("The school") for text in texts_of(Batch(back.x), run.about))
    if suffix:
        assert "exists already" in cli(*words).output
        assert "is one file" in cli(*words[:-1], tmp_path / "many.jsonl", "--shard", 2).output


def test_scores_are_the_bound_whatever_the_batch(run_folder, run):
    model = run.model()
    data = read_more(run, run.data_path)
    a, b = (scoring.score(model, data, draws=2, batch=size) for size in (7, 64))
    torch.testing.assert_close(torch.tensor(a.nats), torch.tensor(b.nats), atol=1e-4, rtol=0)
    assert a.tokens.sum() == len(data.shards.tokens)
    ratio, error = a.per(a.tokens)
    assert 0 < error < 0.2 and ratio < math.log(38)
    done = cli("score", run_folder, "--draws", 2)
    assert done.exit_code == 0 and "bits/char" in done.output, done.output
    kept = json.loads((run_folder / "score.json").read_text())
    assert kept["documents"] < 60 and kept["perplexity"] == pytest.approx(
        math.exp(kept["nats_per_token"])
    )


def test_the_error_of_a_ratio_is_that_of_resampled_documents():
    """Against 4,000 bootstrap samples of documents; the two differ by 10 % at most here."""
    from sfumato import random

    tokens = random.integers(20, 200, (80,), random.derive(0, "tokens")).numpy()
    nats = tokens * (1 + 0.3 * random.normal(torch.empty(80), random.derive(0, "nats")).numpy())
    _, error = scoring.Likelihood(nats, tokens, tokens).per(tokens)
    pick = random.integers(0, 80, (4000, 80), random.derive(0, "pick")).numpy()
    assert error == pytest.approx((nats[pick].sum(1) / tokens[pick].sum(1)).std(), rel=0.1)
    assert math.isnan(scoring.Likelihood(nats[:1], tokens[:1], tokens[:1]).per(tokens[:1])[1])


def test_other_text_is_read_by_the_tokenizer_of_the_run(run_folder, tmp_path):
    path = tmp_path / "other.txt"
    path.write_text("The library was sold.\nThe school was painted.")
    done = cli("score", run_folder, "--data", path, "--draws", 2)
    assert done.exit_code == 0 and "n            2 documents, 46 tokens" in done.output, done.output
    path.write_text("\u00c9mile was sold.")
    assert "this tokenizer has no '\u00c9'" in cli("score", run_folder, "--data", path).output


def test_evaluate_measures_samples_and_what_was_written(run_folder, run, tmp_path):
    rows = evaluate(run, 8, steps=4)
    names = [row["name"] for row in rows]
    assert names == ["gen-ppl", "entropy", "distinct-4", "memorisation"]
    assert all(row["floor"] is not None and row["n"] == 8 for row in rows)
    out = tmp_path / "made"
    assert cli("sample", run_folder, "-n", 8, "--steps", 4, "--out", out).exit_code == 0
    again = evaluate(run, 8, samples=out)
    assert [row["name"] for row in again] == names


def test_a_run_with_another_tokenizer_is_refused(run_folder, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run_folder, copy)
    facts = json.loads((copy / "recipe.json").read_text())
    facts["about"]["tokenizer"]["characters"] = facts["about"]["tokenizer"]["characters"][::-1]
    (copy / "recipe.json").write_text(json.dumps(facts))
    done = cli("infill", copy, "--text", "The [MASK]")
    assert done.exit_code and "the tokenizer of the run is damaged" in done.output
    with pytest.raises(InputError, match="is not what .* began with"):
        open_run(copy).data()


def test_ids_outside_the_vocabulary_are_refused(run, tmp_path):
    file = tmp_path / "samples.jsonl"
    file.write_text('{"text": "x", "ids": [1, 500]}\n')
    with pytest.raises(InputError, match="line 1 of .* has a token that is none"):
        read_back(file, run.about)
    write(
        Batch(Padded(torch.zeros(2, 3, dtype=torch.long), torch.ones(2, 3, dtype=torch.bool))),
        tmp_path,
        run.about,
    )
    assert read_back(tmp_path, run.about).x.data.tolist() == [[0] * 3] * 2


@pytest.mark.parametrize(
    "words",
    [["tokenizer=byte"], ["tokenizer=bpe", "vocabulary=300"], ["pack=false", "timed=true"]],
    ids=str,
)
def test_other_recipes_train_and_sample(text, tmp_path, words):
    out = start(
        "language/text",
        [
            *words,
            "documents=line",
            "steps=2",
            "network_size=nano",
            "batch=4",
            "length=64",
            "sampling_steps=4",
            "sampler=cached-ancestral",
        ],
        text,
        tmp_path / "run",
    )
    made = draw(open_run(out), 3)
    assert len(texts_of(made, open_run(out).about)) == 3


def test_the_demo_is_what_python_says_of_itself(tmp_path):
    from sfumato_language.domain import domain

    data = domain.demo()
    assert len(data.shards.tokens) > 300_000 and data.about["length"] == 128
    out = start(
        "language/text",
        [
            "tokenizer=byte",
            "length=32",
            "network_size=nano",
            "steps=1",
            "batch=2",
            "sampling_steps=2",
            "sampler=cached-ancestral",
        ],
        None,
        tmp_path / "run",
    )
    assert open_run(out).about["tokenizer"]["kind"] == "byte"


@pytest.mark.parametrize(
    "line",
    [
        b'{"ids": 7}',
        b'{"ids": [1.5]}',
        b'{"ids": [[1, 2]]}',
        b"[" * 100_000,
        b'{"ids": [true]}',
        b"\xff",
    ],
    ids=["number", "fraction", "nested", "deep", "truth", "bytes"],
)
def test_lines_that_are_no_samples_are_left_to_others(run, tmp_path, line):
    (tmp_path / "a.jsonl").write_bytes(line + b"\n")
    assert read_back(tmp_path / "a.jsonl", run.about) is None
