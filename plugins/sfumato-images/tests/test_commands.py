"""The editing verbs from the command line: files in, files out, known pixels as they were."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from sfumato_cli.main import application
from sfumato_images.data import demo
from sfumato_images.files import pictures
from sfumato_train import start


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run that has hardly been trained, two digits as files, and a mask."""
    root = tmp_path_factory.mktemp("edits")
    start("images/digits", ["steps=3", "batch=8"], out=root / "run")
    for name, image in zip("ab", pictures(demo().batch([0, 1]).x), strict=True):
        image.save(root / f"{name}.png")
    drawn = np.zeros((8, 8), np.uint8)
    drawn[4:] = 255
    Image.fromarray(drawn).save(root / "mask.png")
    Image.new("RGB", (20, 30), "red").save(root / "large.jpg")
    return root


def run(*words):
    return CliRunner().invoke(application(), [str(word) for word in words])


def levels(path):
    return np.asarray(Image.open(path))


def test_inpaint_keeps_what_is_black_in_the_mask(place, tmp_path):
    out = tmp_path / "out"
    done = run(
        "inpaint", place / "run", "--image", place / "a.png", "--image", place / "b.png",
        "--mask", place / "mask.png", "-n", 3, "--steps", 4, "--out", out, "label=3",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in out.glob("*.png")) == [
        f"{s}-{i}.png" for s in "ab" for i in "012"
    ]
    for name in "ab":
        source = levels(place / f"{name}.png")
        for i in range(3):
            got = levels(out / f"{name}-{i}.png")
            assert (got[:4] == source[:4]).all() and (got[4:] != source[4:]).any()
    assert (levels(out / "a-0.png") != levels(out / "a-1.png")).any()
    facts = json.loads((out / "samples.json").read_text())
    assert facts["verb"] == "inpaint" and facts["words"] == ["label=3"] and facts["n"] == 3
    sheet = Image.open(tmp_path / "out.png")
    assert sheet.size == (5 * (8 * 12 + 4) + 4, 2 * (8 * 12 + 4) + 4)
    assert f"wrote 6 pictures to {out}" in done.output


def test_outpaint_grows_the_canvas(place, tmp_path):
    done = run(
        "outpaint", place / "run", "--image", place / "a.png", "--left", 3, "--bottom", 2,
        "--steps", 3, "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    got = levels(tmp_path / "out" / "a-0.png")
    assert got.shape == (10, 11) and (got[:8, 3:] == levels(place / "a.png")).all()


def test_vary_at_no_noise_copies_and_else_draws(place, tmp_path):
    for noise, same in ((0, True), (0.6, False)):
        words = ("--image", place / "a.png", "--noise", noise, "--steps", 4)
        done = run("vary", place / "run", *words, "--out", tmp_path / "out", "label=0..9", "-n", 2)
        assert done.exit_code == 0, done.output
        assert (levels(tmp_path / "out" / "a-1.png") == levels(place / "a.png")).all() == same
    assert Image.open(tmp_path / "out.png").width == 3 * (8 * 12 + 4) + 4


def test_the_same_command_gives_the_same_pictures_one_at_a_time_or_together(place, tmp_path):
    options = ("--noise", 0.7, "--steps", 3, "--seed", 2)
    run("vary", place / "run", "--image", place / "a.png", "--image", place / "b.png", *options,
        "--out", tmp_path / "both")  # fmt: skip
    run("vary", place / "run", "--image", place / "a.png", *options, "--out", tmp_path / "one")
    a, b = levels(tmp_path / "both" / "a-0.png"), levels(tmp_path / "one" / "a-0.png")
    assert np.abs(a.astype(int) - b).max() <= 1


def test_pictures_of_another_size_are_brought_to_that_of_the_model_or_left(place, tmp_path):
    words = ("--image", place / "large.jpg", "--noise", 0.5, "--steps", 3, "--out")
    assert run("vary", place / "run", *words, tmp_path / "cut").exit_code == 0
    assert levels(tmp_path / "cut" / "large-0.png").shape == (8, 8)
    assert run("vary", place / "run", *words, tmp_path / "whole", "--as-is").exit_code == 0
    assert levels(tmp_path / "whole" / "large-0.png").shape == (30, 20)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("vary", "--image", "no.png", "--noise", 0.5), "no.png cannot be read"),
        (("vary", "--image", "empty", "--noise", 0.5), "there is no picture"),
        (("vary", "--image", "a.png", "--noise", 0.5, "label=x"), "there is no class 'x'"),
        (("vary", "--image", "a.png", "--noise", 0.5, "prompt=x"), "no condition 'prompt'"),
        (("vary", "--image", "a.png", "--noise", 0.5, "--guidance", 2), "none is given"),
        (("outpaint", "--image", "a.png"), "outpainting adds pixels"),
        (("inpaint", "--image", "large.jpg", "--mask", "mask.png"), "they must have one size"),
        (
            ("inpaint", "--image", "a.png", "--mask", "a.png", "--mask", "b.png"),
            "2 masks for 1 pictures",
        ),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(place, tmp_path, words, message, monkeypatch):
    (place / "empty").mkdir(exist_ok=True)
    monkeypatch.chdir(place)
    done = run(words[0], place / "run", *words[1:], "--out", tmp_path / "out")
    assert done.exit_code == 1 and message in done.output, done.output
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_left_alone(place, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    done = run("vary", place / "run", "--image", place / "a.png", "--noise", 0, "--out", tmp_path)
    assert done.exit_code == 1 and "no samples of ours" in done.output
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_pixels_of_a_saved_picture_survive_the_way_in_and_out():
    x = (torch.arange(256).float() / 127.5 - 1).reshape(1, 1, 16, 16)
    assert (np.asarray(pictures(x)[0]).flatten() == np.arange(256)).all()
