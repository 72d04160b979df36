"""The recipes: what they build, and a whole run from training to the table of metrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from fixtures import clothes
from PIL import Image

from sfumato import InputError, random, registry
from sfumato_data import Source, gather
from sfumato_images.data import demo, read
from sfumato_images.domain import domain
from sfumato_images.recipes import Digits, Flipped, Folder
from sfumato_methods.gaussian import Linear
from sfumato_train import draw, evaluate, open_run, start

SHAPES = {"size": [6, 5], "channels": 3, "classes": ["a", "b"], "sigma_data": 0.5}


def test_the_model_fits_the_data():
    model = Folder(network_size="tiny", process="linear", predict="flow").model(SHAPES)
    x = model.blank(4, random.derive(0))
    assert x.shape == (4, 3, 6, 5) and (x == 0).all()
    q = model.denoiser.given(label=torch.tensor([0, 1, 1, 0]))(x, torch.tensor(0.5))
    assert q.mean.shape == x.shape
    assert model.process.schedule == Linear()
    assert model.denoiser.sigma_data == 0.5 and model.denoiser.predict == "flow"
    with pytest.raises(InputError, match="2"):
        model.denoiser.given(label=torch.tensor([2]))


def test_a_transformer_is_one_word_away():
    model = Folder(network="dit", network_size="tiny").model(SHAPES)
    assert model.denoiser(model.blank(2, random.derive(0)), torch.tensor(0.5)).mean.shape[0] == 2


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"network": "unett"}, "no network 'unett'; did you mean unet"),
        ({"network_size": "tinny"}, "unknown size 'tinny'; did you mean tiny"),
        ({"process": "lineer"}, "no process 'lineer'; did you mean linear"),
        ({"sampler": "dpmpp"}, "no sampler 'dpmpp'; did you mean dpmpp-"),
        ({"grid": "karas"}, "no grid 'karas'; did you mean karras"),
        ({"weight": "snr"}, "no weight 'snr'; did you mean min-snr"),
    ],
)
def test_unknown_names_give_close_matches(field, message):
    with pytest.raises(InputError, match=message):
        Folder(**{"network_size": "tiny", **field}).build(demo())


def test_noise_levels_are_log_normal_about_the_scale_of_the_data():
    data = demo()
    training = Digits(noise_mean=-0.3, noise_std=0.8).build(data)
    u = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    t = training.objective.times(training.model.process, u)
    level = -0.5 * training.model.process.logsnr(t) - math.log(data.about["sigma_data"])
    assert float(level.mean()) == pytest.approx(-0.3, abs=0.01)
    assert float(level.std()) == pytest.approx(0.8, abs=0.01)


def test_mirror_images_follow_the_images():
    data = demo()
    twice = Flipped(data)
    plain = gather(data, [3, 1796]).x
    both = twice.batch([3, 1797 + 3, 1797 + 1796])
    assert len(twice) == 2 * 1797
    assert torch.equal(both.x, torch.stack([plain[0], plain[0].flip(2), plain[1].flip(2)]))
    assert both.condition["label"].tolist() == [
        data.batch([i]).condition["label"] for i in (3, 3, 1796)
    ]
    assert len(Digits(flip=True).build(data).data) == 2 * 1797


def test_a_run_from_training_to_metrics(tmp_path):
    words = ["steps=20", "batch=16", "save=20"]
    run = open_run(start("images/digits", words, out=tmp_path / "run"))
    condition = domain.condition({"label": "0..9"}, 20, run.about)
    made = draw(run, 20, condition=condition, steps=4, seed=7, guidance=2.0)
    assert made.x.shape == (20, 1, 8, 8) and made.x.isfinite().all()
    domain.write(made, tmp_path / "out", run.about)
    back = read(tmp_path / "out")
    assert torch.equal(back.batch(range(20)).condition["label"], condition["label"])
    assert (back.batch(range(20)).x - made.x.clamp(-1, 1)).abs().max() <= 1.001 / 255
    assert domain.preview(made, tmp_path / "out.png", run.about).stat().st_size > 500
    rows = {row["name"]: row for row in evaluate(run, 60, steps=4)}
    distances = ["frechet", "kid", "coverage", "sliced-wasserstein"]
    assert list(rows) == ["recognised", *distances, "memorisation"]
    assert rows["recognised"]["floor"] >= 0.95
    assert all(row["n"] == 60 for row in rows.values())


def test_a_folder_of_pictures_from_training_to_samples(tmp_path):
    noise = np.random.default_rng(0)
    for i in range(12):
        side = noise.integers(9, 20, 2)
        path = tmp_path / "photos" / ("red", "green")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (*side, 3), dtype=np.uint8)).save(path)
    words = ["steps=3", "size=8", "network_size=tiny", "batch=4", "flip=true", "held=0.3"]
    run = open_run(start("images/folder", words, tmp_path / "photos", tmp_path / "run"))
    assert run.about["classes"] == ["green", "red"]
    condition = domain.condition({"label": "red"}, 3, run.about)
    assert draw(run, 3, steps=2, condition=condition).x.shape == (3, 3, 8, 8)
    with pytest.raises(InputError, match="differ in size"):
        start("images/folder", [], tmp_path / "photos", tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(("side", "levels"), [(8, 2), (16, 2), (17, 3), (32, 3), (64, 4), (100, 5)])
def test_a_unet_sees_large_images_as_a_whole(side, levels):
    net = Folder().model({**SHAPES, "size": [side, side // 2]}).denoiser.net
    assert len(net.down) == levels
    assert (net.down[-1][0].attention is not None) == (levels > 2)


@pytest.mark.parametrize(
    ("name", "data"),
    [("fashion", "fashion-mnist"), ("emoji", "emoji"), ("photos", "photographs")],
)
def test_a_recipe_says_how_to_get_its_data(name, data, monkeypatch, tmp_path):
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match=f"{data} is not fetched yet; `sfumato data get {data}`"):
        start(f"images/{name}", [], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert isinstance(registry().load("dataset", data), Source)


def test_fashion_holds_out_its_test_part(tmp_path):
    clothes(tmp_path / "idx")
    words = ["steps=2", "batch=4", "network_size=tiny", "sampling_steps=2"]
    run = open_run(start("images/fashion", words, tmp_path / "idx", tmp_path / "run"))
    train, held = run.data()
    assert (len(train), len(held)) == (60, 20) and list(held.index) == list(range(60, 80))
    condition = domain.condition({"label": "sneaker,0"}, 2, run.about)
    assert condition["label"].tolist() == [7, 0]
    made = draw(run, 2, condition=condition, steps=2)
    domain.write(made, tmp_path / "out", run.about)
    assert read(tmp_path / "out").about["classes"] == ["sneaker", "t-shirt"]
    with pytest.raises(InputError, match="no test part of its own"):
        start("images/digits", ["held=none"], out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_photographs_are_cut_into_patches(tmp_path):
    noise = np.random.default_rng(0)
    for i in range(3):
        path = tmp_path / "photos" / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (80, 100, 3), dtype=np.uint8)).save(path)
    words = ["steps=2", "batch=4", "size=16", "stride=16", "held=0.4", "sampling_steps=2"]
    run = open_run(start("images/photos", words, tmp_path / "photos", tmp_path / "run"))
    assert run.about["size"] == [16, 16] and run.data_items == 3 * 5 * 6
    made = draw(run, 3, steps=2)
    domain.write(made, tmp_path / "out", run.about)
    back = domain.read(tmp_path / "out", **run.recipe.reading())
    assert (back.batch(range(3)).x - made.x.clamp(-1, 1)).abs().max() <= 1.001 / 255
