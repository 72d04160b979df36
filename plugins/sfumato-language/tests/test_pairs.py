"""Prompts with responses: what is read, that prompts are never hidden, and other runs' weights."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from typer.testing import CliRunner

from sfumato import InputError, Padded, random
from sfumato_cli.main import application
from sfumato_language.canvas import CANVAS
from sfumato_language.denoiser import TextDenoiser
from sfumato_language.objective import AnyOrder, cross_entropy, maskable
from sfumato_language.pairs import read
from sfumato_language.samples import texts_of
from sfumato_methods.discrete import Discrete, absorbing
from sfumato_train import draw, evaluate, open_run, start
from sfumato_train.linked import CodecOf, ModelOf, links

SMALL = ["steps=3", "batch=8", "warmup=1", "network_size=nano", "sampling_steps=8", "held=0.2"]


def cli(*words):
    return CliRunner().invoke(application(), list(map(str, words)))


def wrote(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def asked(tmp_path):
    rows = [{"prompt": f"who was {i}?", "response": "closed" if i % 2 else "sold"}
            for i in range(20)]  # fmt: skip
    return wrote(tmp_path / "pairs.jsonl", *rows)


def test_pairs_and_chats_become_items(tmp_path):
    chat = [
        {"role": "system", "content": "be short"},
        {"role": "user", "content": "a?"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c?"},
        {"role": "assistant", "content": "d"},
    ]
    path = wrote(tmp_path / "p.jsonl", {"prompt": "1+1", "response": "2"}, {"messages": chat})
    data = read(path, length=32, tokenizer="byte", separator="|")
    batch = data.batch([0, 1, 2])
    canvas: Padded = batch.condition[CANVAS]
    decode = data.tokenizer.decode
    assert [decode(row.tolist()) for row in batch.x.data] == [
        "1+1|2", "be short|a?|b", "be short|a?|b|c?|d"
    ]  # fmt: skip
    for ids, shown, prompt in zip(
        batch.x.data, canvas.data, ("1+1|", "be short|a?|", "be short|a?|b|c?|"), strict=True
    ):
        known = shown != data.tokenizer.mask
        assert decode(ids[known].tolist()) == prompt
        assert torch.equal(ids[known], shown[known]) and not bool(known[len(prompt) :].any())
    assert bool((batch.x.data[0, 5:] == data.tokenizer.eos).all())
    assert data.keys() == ["p.jsonl:1", "p.jsonl:2", "p.jsonl:2"]


def test_bad_lines_are_told(tmp_path):
    path = tmp_path / "p.jsonl"
    for row, told in (
        ({"prompt": "a"}, "line 1 of .* has neither texts `prompt` and `response` nor"),
        ({"prompt": "a", "response": " "}, "line 1 of .* has an empty prompt or response"),
        ({"messages": [{"role": "user", "content": "a"}]}, "in which no assistant speaks"),
        ({"messages": [{"role": "cook", "content": "a"}]}, "a message has a `role`"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "has an empty prompt"),
        ({"prompt": "abcd", "response": "efgh"}, "have 5 \\+ 4 tokens and an end, more than the 9"),
    ):
        with pytest.raises(InputError, match=told):
            read(wrote(path, row), length=9)
    with pytest.raises(InputError, match="there is no pair of prompt and response"):
        read(wrote(path), length=9)
    (tmp_path / "p.txt").write_text("a")
    with pytest.raises(InputError, match="pairs are read from JSON lines"):
        read(tmp_path / "p.txt")


class Fixed(torch.nn.Module):
    """Logits by the place alone; notes what it was shown."""

    def __init__(self, logits):
        super().__init__()
        self.logits, self.seen = logits, []

    def forward(self, x, clock, at=None):
        self.seen.append((x.data, clock))
        return self.logits[None].expand(len(x.data), -1, -1)[at]


def test_only_responses_are_hidden_and_learned(asked):
    data = read(asked, length=24)
    size = data.tokenizer.size
    logits = random.normal(torch.empty(24, size + 1), random.derive(0, "logits"))
    net = Fixed(logits)
    denoiser = TextDenoiser(net, Discrete(absorbing(size)))
    batch = data.batch(range(20))
    law = logits[:, :size].double().log_softmax(-1)
    nats = -law[torch.arange(24), batch.x.data]
    answer = batch.condition[CANVAS].data == size
    seen_at = []
    losses = [
        AnyOrder(denoiser).loss("denoiser", batch, random.derive(i, "loss")).each
        for i in range(400)
    ]
    for x, _ in net.seen:
        hidden = x == size
        assert not bool((hidden & ~answer).any())
        seen_at.append(hidden.sum(1))
    # n is uniform on 1..L of each response, and the mean of the loss that of its nats
    count = torch.stack(seen_at).double()
    longest = answer.sum(1).double()
    assert bool((count.amax(0) == longest).all()) and bool((count.amin(0) == 1).all())
    expected = (nats * answer).sum(1) / longest
    each = torch.stack(losses).double()
    z = (each.mean(0) - expected) / (each.std(0) / 20)
    assert float(z.abs().max()) < 4.5, "20 items: false alarm 1.4e-4"


def test_the_clock_counts_what_may_be_hidden(asked):
    data = read(asked, length=24)
    size = data.tokenizer.size
    net = Fixed(torch.zeros(24, size + 1))
    process = Discrete(absorbing(size))
    batch = data.batch([0, 1])
    answer = batch.condition[CANVAS].data == size
    denoiser = TextDenoiser(net, process)
    cross_entropy(denoiser, batch, answer, maskable(denoiser, batch))
    expected = process.clock(torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(net.seen[0][1].double(), expected.double(), atol=1e-6, rtol=0)


def test_sums_are_learned_asked_and_measured(tmp_path):
    out = start("language/pairs", ["length=16", *SMALL], None, tmp_path / "sums", device="cpu")
    run = open_run(out)
    done = cli("sample", out, "-n", 3, "prompt=3 + 4", "--out", tmp_path / "a.jsonl")
    assert done.exit_code == 0, done.output
    texts = [json.loads(line)["text"] for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert all(text.startswith("3 + 4\n") for text in texts)
    asked = run.domain.condition({}, 3, run.about)
    made = texts_of(draw(run, 3, condition=asked), run.about)
    assert [text.split("\n")[0] for text in made] == ["0 + 0", "0 + 1", "0 + 2"]
    assert [row["name"] for row in evaluate(run, 8)][0] == "gen-ppl"
    assert "is a model of answers" in cli("score", out).output


def test_a_run_begins_with_the_weights_of_another(run_folder, asked, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(run_folder, base)
    words = [f"base={base}", "separator= ", "length=32", "lr=1e-9", "ema=0", "steps=1", "batch=8"]
    rows = [{"prompt": "The school was", "response": "sold on day 1."}] * 10
    path = wrote(tmp_path / "base.jsonl", *rows)
    out = start("language/pairs", words, path, tmp_path / "tuned", device="cpu")
    run, first = open_run(out), open_run(base)
    assert run.recipe.network_size == "nano"
    assert run.about["tokenizer"] == first.about["tokenizer"]
    (name, link), *_ = links(run.recipe)
    assert name == "base" and isinstance(link, ModelOf) and not isinstance(link, CodecOf)
    ours, theirs = (r.model(device="cpu").denoiser.state_dict() for r in (run, first))
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, atol=1e-7, rtol=0)
    # a changed base is noticed by a new run that was linked to it before, and a lost one is told
    shutil.move(base, tmp_path / "moved")
    start("language/pairs", ["steps=2"], None, out, device="cpu", resume=True)
    assert open_run(out).checkpoints()[-1].step == 2, "it goes on without the base"
    with pytest.raises(InputError, match="is gone"):
        link.fill(torch.nn.Identity())
    changed = link.model_copy(update={"path": str(tmp_path / "moved"), "sha256": "0"})
    with pytest.raises(InputError, match="are no longer those that were linked"):
        changed.fill(torch.nn.Identity())
    with pytest.raises(InputError, match="is not a folder"):
        start("language/pairs", words, path, tmp_path / "other", device="cpu")
    words = [f"base={tmp_path / 'moved'}", "network_size=tiny", "separator= "]
    with pytest.raises(InputError, match="does not fit the model"):
        start("language/pairs", words, path, tmp_path / "other", device="cpu")
