"""Runs of pairs from the command line: trained, sampled with sources, measured, shown."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from sfumato import Batch, InputError
from sfumato_cli.main import application
from sfumato_data import gather
from sfumato_eval import Memorisation, SlicedWasserstein, pixels
from sfumato_images.data import demo
from sfumato_images.degrading import degraded, enlarged, parse
from sfumato_images.domain import ImageDomain, domain
from sfumato_images.fidelity import psnr, ssim
from sfumato_images.files import decode, pictures
from sfumato_images.recipes import Folder
from sfumato_images.sources import read as sources
from sfumato_train import draw, evaluate, open_run, start
from sfumato_train.yardstick import yardstick

COUNT = 40


def run(*words):
    return CliRunner().invoke(application(), [str(word) for word in words])


def levels(x):
    """Images as a file holds them."""
    return ((x.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def save(x, folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in zip(names, pictures(x), strict=True):
        image.save(folder / f"{name}.png")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pairs of digits, blurred and whole, and a bridge that has hardly been trained on them."""
    root = tmp_path_factory.mktemp("pairs")
    x = demo().batch(range(COUNT)).x
    names = [f"{i:02}" for i in range(COUNT)]
    save(degraded(x, parse("blur:1"), 0, range(COUNT)), root / "pairs" / "source", names)
    save(x, root / "pairs" / "target", names)
    words = ["steps=2", "batch=8", "process=ddbm", "held=0.5", "save=2", "sampling_steps=2"]
    start("images/folder", words, root / "pairs", root / "run")
    return root


def test_a_process_that_begins_at_a_source_comes_with_its_sampler(place):
    recipe = open_run(place / "run").recipe
    assert (recipe.sampler, recipe.grid, recipe.times) == ("dbim", "booted", "uniform")
    assert Folder(process="ddbm", sampler="bridge-heun").sampler == "bridge-heun"
    assert Folder(process="linear").sampler == "dpmpp-2m"


def test_each_source_is_restored_under_its_name(place, tmp_path):
    (tmp_path / "some").mkdir()
    for name in ("07", "03"):
        file = place / "pairs" / "source" / f"{name}.png"
        (tmp_path / "some" / f"my {name}.png").write_bytes(file.read_bytes())
    done = run(
        "sample", place / "run", "--data", tmp_path / "some", "--sampler", "dbim", "--steps", 3,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "wrote 2 restorations" in done.output
    assert sorted(p.name for p in (tmp_path / "out").glob("*.png")) == ["my 03.png", "my 07.png"]
    opened = open_run(place / "run")
    x = torch.stack([decode(tmp_path / "some" / f"my {name}.png", 1) for name in ("03", "07")])
    want = draw(opened, 2, condition={"source": x}, sampler="dbim", steps=3)
    got = torch.stack([decode(tmp_path / "out" / f"my {name}.png", 1) for name in ("03", "07")])
    assert (got - want.x.clamp(-1, 1)).abs().max() <= 1.01 / 255
    note = json.loads((tmp_path / "out" / "samples.json").read_text())
    assert note["n"] == 2 and note["steps"] == 3 and note["sources"] == str(tmp_path / "some")
    assert (tmp_path / "out.png").stat().st_size > 200


def test_several_of_each_and_targets_where_there_are_some(place, tmp_path):
    done = run("sample", place / "run", "--data", place / "pairs", "-n", 2, "--out", tmp_path / "o")
    assert done.exit_code == 0, done.output
    names = sorted(p.name for p in (tmp_path / "o").glob("*.png"))
    assert len(names) == 2 * COUNT and names[:3] == ["00-0.png", "00-1.png", "01-0.png"]
    one, other = (np.asarray(Image.open(tmp_path / "o" / name)) for name in names[:2])
    assert (one != other).any()
    found = sources(place / "pairs", open_run(place / "run").about).batch([3])
    assert torch.allclose(found.about["target"][0], levels(demo().batch([3]).x[0]), atol=1e-6)
    assert found.about["name"] == ["03"]


def test_without_sources_those_held_out_are_restored(place, tmp_path):
    done = run("sample", place / "run", "-n", 5, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "out").glob("*.png"))) == 5
    assert (tmp_path / "out" / "000000004.png").exists()


def test_clean_pictures_are_degraded_where_that_is_asked_for(place, tmp_path):
    about = open_run(place / "run").about
    found = domain.sources(place / "pairs" / "target", {"degrade": "blur:1"}, about)
    batch = found.batch([0, 1])
    assert torch.allclose(batch.x, levels(demo().batch([0, 1]).x), atol=1e-6)
    assert torch.equal(batch.condition["source"], degraded(batch.x, parse("blur:1"), 0, [0, 1]))
    plain = domain.sources(place / "pairs" / "source", {}, about).batch([0])
    assert torch.equal(plain.x, plain.condition["source"]) and "target" not in plain.about
    one = domain.sources(place / "pairs" / "source" / "05.png", {}, about)
    assert len(one) == 1 and one.batch([0]).about["name"] == ["05"]


def test_small_sources_are_enlarged_as_in_training(tmp_path):
    x = demo().batch(range(4)).x
    save(x, tmp_path / "small", "abcd")
    save(enlarged(x, 2, "nearest"), tmp_path / "large", "wxyz")
    for degrade, way in (("down:2,nearest", "nearest"), ("down:2", "bicubic")):
        about = Folder(degrade=degrade).prepared(domain.read(tmp_path / "large")).about
        found = domain.sources(tmp_path / "small", {}, about).batch([1])
        want = enlarged(levels(x[1:2]), 2, way)
        assert torch.allclose(found.condition["source"], want, atol=1e-6)
    np.save(tmp_path / "x.npy", x[:, 0].numpy())
    found = domain.sources(tmp_path / "x.npy", {}, about).batch([1])
    assert torch.allclose(found.condition["source"], enlarged(x[1:2], 2), atol=1e-6)


@pytest.fixture
def plain(monkeypatch):
    """Metrics in pixels, which need no network to be trained."""

    def metrics(self, train):
        return [SlicedWasserstein(pixels), Memorisation.of(train, pixels)]

    monkeypatch.setattr(ImageDomain, "metrics", metrics)


def test_pairs_are_measured_against_their_targets_and_beside_their_sources(place, plain):
    opened = open_run(place / "run")
    rows = {row["name"]: row for row in evaluate(opened, 6, steps=2, seed=1)}
    assert list(rows)[:6] == [
        "psnr", "psnr of the source", "ssim", "ssim of the source", "feature-distance",
        "feature-distance of the source",
    ]  # fmt: skip
    assert len(rows) == 8 and all(row["n"] == 6 for row in rows.values())
    pairs = gather(yardstick(domain, *opened.data(), 6, 1).other)
    source = pairs.condition["source"]
    assert rows["psnr of the source"]["value"] == pytest.approx(float(psnr(pairs.x, source).mean()))
    made = draw(opened, 6, condition=pairs.condition, steps=2, seed=1).x
    close = float(ssim(pairs.x, made.clamp(-1, 1)).mean())
    assert rows["ssim"]["value"] == pytest.approx(close, abs=1e-5)
    gap = (pairs.x - made).double().flatten(1).square().mean(1).sqrt().mean()
    assert rows["feature-distance"]["value"] == pytest.approx(float(gap), abs=1e-5)
    other = {row["name"]: row for row in evaluate(opened, 9, data_path=place / "pairs", steps=1)}
    assert other["psnr"]["n"] == 9  # the moments of other data may differ
    with pytest.raises(InputError, match="is a run of pairs"):
        evaluate(opened, 3, samples=place)


def test_a_picture_of_pairs_shows_source_output_and_target(tmp_path):
    x = torch.linspace(-1, 1, 12)[:, None, None, None].expand(12, 1, 64, 64)
    known = Batch(x, {"source": -x}, {"target": list(x)})
    domain.preview(known, tmp_path / "a.png", {"classes": []})
    domain.preview(Batch(x, {"source": -x}), tmp_path / "b.png", {"classes": []})
    a, b = (Image.open(tmp_path / f"{name}.png") for name in "ab")
    assert a.height == 2 * 3 * 68 + 4 and b.height == 2 * 2 * 68 + 4 and a.width == b.width
    left = a.width - 10 * 68
    levels = [np.asarray(a)[4 + 68 * row + 30, left + 30] for row in range(4)]
    assert levels == [255, 0, 0, round(127.5 * (1 - x[10, 0, 0, 0].item()))]


def test_previews_of_the_training_show_held_out_pairs(place):
    (shown,) = (place / "run" / "previews").glob("*.png")
    assert Image.open(shown).height == 2 * 3 * (48 + 4) + 4


def test_a_report_shows_strips_and_measures_pairs(place, tmp_path, plain):
    done = run("report", place / "run", "-n", 6, "--steps", 2, "--out", tmp_path / "r.html")
    assert done.exit_code == 0, done.output
    text = (tmp_path / "r.html").read_text()
    assert "psnr of the source" in text and "sources, what the model makes of them" in text
    assert "Nothing is missing from this report" in text


def test_other_processes_see_the_source_beside_the_noisy_image(tmp_path):
    words = ["steps=2", "batch=4", "degrade=mask:0.3", "save=2", "sampling_steps=2"]
    opened = open_run(start("images/digits", words, out=tmp_path / "run"))
    model = opened.model()
    with torch.no_grad():
        for weight in model.denoiser.parameters():
            weight.add_(0.05)
    source = torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])
    made = draw(model, 2, condition={"source": source, "label": torch.tensor([1, 1])})
    alone = draw(model, 1, condition={"source": source[1:], "label": torch.tensor([1])}, first=1)
    assert torch.allclose(made.x[1:], alone.x, atol=1e-5)
    swapped = draw(model, 2, condition={"source": source.flip(0), "label": torch.tensor([1, 1])})
    assert not torch.allclose(made.x, swapped.x, atol=1e-3)
    with pytest.raises(InputError, match="source"):
        draw(model, 2)


def test_a_latent_bridge_restores_and_its_codec_is_no_run_of_pairs(place, tmp_path, plain):
    words = ["steps=2", "batch=4", "save=2", "factor=2"]
    codec = start("images/kl", words, place / "pairs", tmp_path / "codec")
    assert run("report", codec, "-n", 2, "--out", tmp_path / "r.html").exit_code == 0
    assert "psnr of the source" not in (tmp_path / "r.html").read_text()
    words = [f"codec={codec}", "process=ddbm", "steps=2", "batch=4", "save=2", "sampling_steps=2"]
    opened = open_run(start("images/folder", words, place / "pairs", tmp_path / "run"))
    done = run("sample", tmp_path / "run", "--data", place / "pairs", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    model, pairs = opened.model(), opened.data()[1].batch([0, 1])
    made = draw(model, 2, condition=pairs.condition)
    assert made.x.shape == pairs.x.shape and not torch.equal(made.x[0], made.x[1])
    assert model.denoiser.net.net.channels == 2 * model.codec.layout(pairs.x).shape[1]


def test_pictures_of_several_sizes_are_restored_in_theirs(tmp_path):
    noise = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(6):
        size = (20, 40) if i % 3 else (40, 20)
        picture = Image.fromarray(noise.integers(0, 256, size, dtype=np.uint8))
        picture.save(tmp_path / "photos" / f"{i}.png")
    words = ["buckets=32", "degrade=noise:0.1", "process=ddbm", "steps=1", "batch=2", "save=1"]
    start("images/folder", [*words, "sampling_steps=2"], tmp_path / "photos", tmp_path / "run")
    done = run("sample", tmp_path / "run", "--data", tmp_path / "photos", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    tall = [(size := Image.open(tmp_path / "out" / f"{i}.png").size)[1] > size[0] for i in range(6)]
    assert tall == [True, False, False, True, False, False]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--data", "large.png"), "large.png is 20 x 30 (height x width), but this run takes"),
        (("--data", "nowhere"), "nowhere"),
        (("--data", "pairs/source", "label=3"), "there is no condition 'label'"),
        (("--data", "pairs/source", "degrade=blurr:1"), "did you mean blur"),
        (("--data", "pairs", "degrade=blur:1"), "has sources of its own"),
        (("--data", "two"), "both a.bmp and a.png"),
        (("-n", 3, "degrade=blur:1"), "there is no condition 'degrade'"),
        (("-n", 3, "--shard", 2), "is drawn by one process"),
    ],
)
def test_what_cannot_be_restored_is_told_and_nothing_is_written(
    place, tmp_path, words, message, monkeypatch
):
    Image.new("L", (30, 20)).save(place / "large.png")
    (place / "two").mkdir(exist_ok=True)
    for suffix in ("bmp", "png"):
        Image.new("L", (8, 8)).save(place / "two" / f"a.{suffix}")
    monkeypatch.chdir(place)
    done = run("sample", place / "run", *words, "--out", tmp_path / "out")
    assert done.exit_code == 1 and message in " ".join(done.output.split()), done.output
    assert not list(tmp_path.iterdir())


def test_a_run_without_pairs_takes_no_sources(place, tmp_path):
    start("images/digits", ["steps=1", "batch=4", "save=1"], out=tmp_path / "plain")
    done = run("sample", tmp_path / "plain", "--data", place / "pairs", "--out", tmp_path / "out")
    assert done.exit_code == 1 and "was not trained on pairs" in done.output
    with pytest.raises(InputError, match="begins at a source, but the data has no pairs"):
        start("images/digits", ["process=ddbm"], out=tmp_path / "bridge")
    with pytest.raises(InputError, match="leave predict out"):
        words = ["process=ddbm", "predict=eps", "degrade=blur:1"]
        start("images/digits", words, out=tmp_path / "bridge")
    assert not (tmp_path / "bridge").exists()
