"""Pictures with captions: read, learned from once per token, described, written back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from fixtures import font
from PIL import Image
from typer.testing import CliRunner

from sfumato import Batch, InputError, Padded, random
from sfumato_cli.main import application
from sfumato_language import captioning, scenes
from sfumato_language.canvas import CANVAS
from sfumato_language.captioning import PICTURE, read
from sfumato_language.complementary import Complementary
from sfumato_language.denoiser import TextDenoiser
from sfumato_language.domain import captions_domain
from sfumato_language.objective import AnyOrder
from sfumato_methods.discrete import Discrete, absorbing
from sfumato_nn.pictured import PicturedTokens, PictureEncoder
from sfumato_nn.tokens import TokenTransformer
from sfumato_train import open_run, start

SMALL = ["steps=3", "batch=8", "warmup=1", "network_size=nano", "sampling_steps=4", "held=0.2"]
WORDS = ("red dot", "blue dot", "a green dot", "dark")


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures, some in a folder, of several sizes, formats and transparency."""
    root = tmp_path / "pictures"
    (root / "more").mkdir(parents=True)
    rows = []
    for i in range(12):
        mode = "RGBA" if i % 3 == 0 else "RGB"
        colour = (20 * i, 0, 255 - 20 * i, 128)[: len(mode)]
        name = f"more/{i}.png" if i % 2 else f"{i}.jpg" if mode == "RGB" else f"{i}.webp"
        Image.new(mode, (20 + i, 16), colour).save(root / name)
        rows.append({"file": name, "text": f"{WORDS[i % 4]} {i}"})
    (root / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def _rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def cli(*words):
    return CliRunner().invoke(application(), list(map(str, words)))


def test_a_folder_becomes_items(folder):
    data = read(folder, size=16, length=16, tokenizer="char")
    assert len(data) == 12 and len(set(data.keys())) == 12 and "more/1.png" in data.keys()
    batch = data.batch([0, 3])
    decode = data.tokenizer.decode
    said = {row["file"]: row["text"] for row in _rows(folder / "captions.jsonl")}
    texts = [decode(row.tolist()) for row in batch.x.data]
    assert texts == [said[data.keys()[0]], said[data.keys()[3]]]
    assert bool((batch.condition[CANVAS].data == data.tokenizer.mask).all())
    picture = batch.condition[PICTURE]
    assert picture.shape == (2, 3, 16, 16) and float(picture.abs().max()) <= 1
    assert bool((picture[:, :, 0] > 0.95).all()), "what is not square lies over white"
    kept = captioning.examples(data.about)
    torch.testing.assert_close(kept, data.batch([i * 12 // 8 for i in range(8)]).condition[PICTURE])


def test_a_font_of_emoji_becomes_items(tmp_path):
    font(tmp_path / "small.ttf")
    data = read(tmp_path / "small.ttf", size=8, length=48, tokenizer="char")
    assert len(data) == 24 and data.batch([0]).condition[PICTURE].shape == (1, 3, 8, 8)
    assert data.tokenizer.decode(data.batch([19]).x.data[0].tolist()).startswith("raised hand")
    assert len(set(data.keys()[18:])) == 1, "skin tones stay on one side of a split"


def test_bad_data_is_told(folder, tmp_path):
    with pytest.raises(InputError, match="has 9 tokens and an end, more than the 9"):
        read(folder, length=9, tokenizer="char")
    (folder / "captions.jsonl").rename(tmp_path / "gone")
    with pytest.raises(InputError, match="have no captions; they stand in captions.csv"):
        read(folder)
    with pytest.raises(InputError, match="no folder of pictures with captions"):
        read(tmp_path / "gone")
    with pytest.raises(InputError, match="there is no picture in"):
        (tmp_path / "empty").mkdir()
        read(tmp_path / "empty")
    with pytest.raises(InputError, match="does not exist; give a picture"):
        captioning.looked_at(tmp_path / "no.png", {"picture": [3, 8, 8]})
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"bad\.png holds a damaged picture"):
        captioning.looked_at(tmp_path / "bad.png", {"picture": [3, 8, 8]})


def test_scenes_are_what_their_captions_say():
    """Both captions name the same things from either side; the picture has them there."""
    for scene in scenes.scenes(40, random.derive(0, "scenes")):
        first, second = scenes.captions(scene)
        assert len(first.split()) == len(second.split()) == 14
        assert str(scene.first) in first and second.endswith(str(scene.first))
        picture = torch.from_numpy(np.array(scenes.draw(scene)))
        centres = []
        for thing in scene[:2]:
            there = (picture == torch.tensor(scenes.COLOURS[thing.colour])).all(-1).nonzero()
            assert len(there) > 8
            centres.append(there.double().mean(0))
        if scene.first.colour != scene.second.colour:
            down, across = (centres[0] - centres[1]).tolist()
            way = across if scene.relation < 2 else down
            assert (way < 0) == (scene.relation % 2 == 0), first
    assert len({scenes.captions(s) for s in scenes.scenes(200, random.derive(0, "x"))}) > 190


V, L = 5, 6


def _denoiser():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        text = TokenTransformer(V + 1, width=16, depth=1, heads=2)
        torch.nn.init.normal_(text.table.weight)
        net = PicturedTokens(text, PictureEncoder(3, (8, 8), width=16, depth=1, heads=2))
    return TextDenoiser(net, Discrete(absorbing(V)))


def _batch(n, seed=0):
    source = random.derive(seed, "batch")
    ids = random.integers(0, V, (n, L), source)
    return Batch(
        Padded(ids, torch.ones_like(ids, dtype=torch.bool)),
        {PICTURE: random.uniform((n, 3, 8, 8), source).float() * 2 - 1},
    )


def test_each_token_is_hidden_in_exactly_one_row_and_the_picture_encoded_once():
    denoiser, batch = _denoiser(), _batch(50)
    canvas = batch.x.data.clone()
    canvas[:, 2:] = V
    batch.condition[CANVAS] = Padded(canvas, batch.x.mask)
    calls, rows = [], []
    denoiser.net.encoder.register_forward_hook(lambda m, x, y: calls.append(len(y)))
    denoiser.net.tokens.register_forward_hook(lambda m, x, y: rows.append(x[0].data))
    Complementary(denoiser).loss("denoiser", batch, random.derive(1, "loss"))
    assert calls == [50] and len(rows) == 1
    first, second = (rows[0] == V).unflatten(0, (2, -1))
    free = torch.arange(L) >= 2
    assert bool(((first ^ second) == free).all()) and not bool((first & second).any())
    assert int(first.sum(1).min()) == 1 and set(first.sum(1).tolist()) == {1, 2, 3, 4}


@pytest.mark.parametrize("weights", ["even", "bound"])
def test_the_loss_is_that_of_two_separate_rows(weights):
    denoiser, batch = _denoiser(), _batch(4)
    objective = Complementary(denoiser, weights)
    found = objective.loss("denoiser", batch, random.derive(3, "loss")).each.detach()
    at, other = objective.masks(batch.x.mask, random.derive(3, "loss"))
    for i in range(4):
        nats, counts = [], []
        for hidden in (at[i], other[i]):
            x = Padded(batch.x.data[i : i + 1].masked_fill(hidden, V), batch.x.mask[i : i + 1])
            view = denoiser.given(picture=batch.condition[PICTURE][i : i + 1])
            logits = view.output(x, torch.tensor(0.5)).data[0].clone()
            logits[:, V] = -torch.inf
            each = torch.nn.functional.cross_entropy(logits, batch.x.data[i], reduction="none")
            nats.append(float(each[hidden].sum().detach()))
            counts.append(int(hidden.sum()))
        expected = sum(nats) / L
        if weights == "bound":
            means = [a / b for a, b in zip(nats, counts, strict=True) if b]
            expected = sum(means) / len(means)
        assert float(found[i]) == pytest.approx(expected, abs=1e-5)


def test_weighted_by_the_bound_it_estimates_the_bound_of_all_orders():
    """Of texts of which both rows hide something, n = L left out on both sides; 4 errors, 6e-5."""
    denoiser, one = _denoiser(), _batch(1, seed=5)
    many = Batch(
        Padded(one.x.data.expand(6000, L), one.x.mask.expand(6000, L)),
        {PICTURE: one.condition[PICTURE].expand(6000, -1, -1, -1)},
    )
    with torch.no_grad():
        pairs, plain = (
            kind(denoiser, *more).loss("denoiser", many, random.derive(seed, "loss"))
            for kind, more, seed in ((Complementary, ("bound",), 0), (AnyOrder, (), 1))
        )
    free = many.x.mask
    both = Complementary(denoiser).masks(free, random.derive(0, "loss"))[1].any(1)
    clock = denoiser.process.clock(torch.ones(1, dtype=torch.float64))
    a, b = pairs.each[both].double(), plain.each[plain.clock != clock].double()
    error = (float(a.var()) / len(a) + float(b.var()) / len(b)) ** 0.5
    assert len(a) < 6000 and abs(float(a.mean() - b.mean())) < 4 * error


def test_a_run_describes_pictures_and_its_table_is_read_back(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [*SMALL, "length=24", "size=16", "tokenizer=char", "crops=true", "pool=2", "patch=2"]
    out = start("language/captions", words, folder, tmp_path / "run", device="cpu")
    assert list((out / "previews").iterdir())
    told = cli("sample", out, "--data", folder, "--out", "told", "text=a[MASK*6] dot")
    assert told.exit_code == 0, told.output
    rows = _rows(tmp_path / "told/captions.jsonl")
    assert [row["file"] for row in rows] == read(folder, tokenizer="char").keys()
    assert all(row["text"].endswith(" dot") and len(row["ids"]) == 11 for row in rows)
    (folder / "captions.jsonl").write_bytes((tmp_path / "told/captions.jsonl").read_bytes())
    again = captions_domain.follow(folder, open_run(out).about, size=16, length=24)
    text = again.tokenizer.decode(again.batch([0]).x.data[0].tolist())
    assert text == " ".join(rows[0]["text"].split())

    one = cli("sample", out, "-n", 3, f"picture={folder / 'more/1.png'}", "--out", "x.jsonl")
    assert one.exit_code == 0, one.output
    assert len((tmp_path / "x.jsonl").read_text().splitlines()) == 3
    wrong = cli("sample", out, "--data", tmp_path / "nothing")
    assert wrong.exit_code != 0 and "does not exist; give a picture" in wrong.output
