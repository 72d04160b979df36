"""Pictures of any aspect in sizes of one area: read, trained on, sampled and measured."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato import InputError
from sfumato_data import Batches, alike, groups_of, split
from sfumato_eval import SlicedWasserstein
from sfumato_images.buckets import nearest, sizes
from sfumato_images.data import read
from sfumato_images.domain import domain
from sfumato_images.files import decode
from sfumato_images.recipes import Folder
from sfumato_train import draw, evaluate, open_run, start

SHAPES = [(20, 20)] * 6 + [(30, 20)] * 10 + [(16, 40)] * 4 + [(64, 16)] * 2


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for i, shape in enumerate(SHAPES):
        level = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
        path = tmp_path / "photos" / ("cat" if i % 2 else "dog") / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(level).save(path)
    return tmp_path / "photos"


@pytest.mark.parametrize("side", [8, 16, 24, 32, 64, 72, 256, 512, 520, 1024])
def test_buckets_have_one_area_and_aspects_from_1_2_to_2_1(side):
    found = sizes(side)
    assert (side, side) in found and len(set(found)) == len(found)
    assert {(w, h) for h, w in found} == set(found)
    for height, width in found:
        assert height % 8 == width % 8 == 0
        assert abs(height * width / side**2 - 1) <= 0.1
        assert 0.5 <= height / width <= 2
    aspects = [h / w for h, w in found]
    assert aspects == sorted(aspects, reverse=True)
    if side >= 64:  # no picture within the range loses more than a sixth of a side
        steps = [a / b for a, b in zip(aspects, aspects[1:], strict=False)]
        assert max(steps) < 1.45 and max(aspects) > 1.7
        assert len(found) <= 17 or side == 520


def test_sizes_of_64():
    assert sizes(64) == [(88, 48), (72, 56), (64, 64), (56, 72), (48, 88)]


@pytest.mark.parametrize("side", [0, 4, 30, 4104, -8])
def test_a_side_that_is_no_multiple_is_told(side):
    with pytest.raises(InputError, match=f"buckets={side}: .*multiple of 8"):
        sizes(side)


@pytest.mark.parametrize(
    ("size", "bucket"),
    [((64, 64), (64, 64)), ((1000, 999), (64, 64)), ((500, 100), (88, 48)), ((90, 100), (64, 64)),
     ((80, 100), (56, 72)), ((100, 168), (48, 88)), ((100, 10_000), (48, 88))],
)  # fmt: skip
def test_the_nearest_bucket_is_that_of_the_nearest_ratio(size, bucket):
    grid = sizes(64)
    assert grid[nearest(size, grid)] == bucket


def test_pictures_are_read_in_the_bucket_of_their_aspect(photos):
    found = read(photos, buckets=32)
    grid = sizes(32)
    assert found.about["buckets"] == grid
    want = [grid[nearest(shape, grid)] for shape in SHAPES]
    files = {f"{name}/{i:02}.png": i for i in range(len(SHAPES)) for name in ("cat", "dog")}
    order = [files[key] for key in found.keys()]
    assert found.about["size"] == list(want[6]), "the most common"
    for place, i in enumerate(order):
        x = found.batch([place]).x
        assert tuple(x.shape[2:]) == want[i]
        assert torch.equal(x[0], decode(photos / found.keys()[place], 3, want[i], "cut"))
        assert (groups_of(found)[place] == 0) == (want[i] == want[6])
    main = alike(found)
    assert len(main) == 12 and main.batch(range(12)).x.shape[2:] == want[6]
    with pytest.raises(InputError, match="different sizes were asked for as one batch"):
        found.batch(range(len(found)))


def test_batches_of_pictures_are_of_one_size_and_follow_their_shares(photos):
    train, _ = split(read(photos, buckets=32), 0.2, 0)
    batches = Batches(train, 4, seed=1)
    seen = [tuple(batches(step).x.shape[2:]) for step in range(3 * len(train))]
    groups = groups_of(train)
    for group in set(groups):
        size = tuple(train.batch([groups.index(group)]).x.shape[2:])
        share = groups.count(group) / len(train)
        assert abs(seen.count(size) - share * len(seen)) <= 1 + share * len(train) / 4


def test_options_that_exclude_each_other_are_told(photos, tmp_path):
    with pytest.raises(InputError, match="size=32 and buckets=32 exclude each other"):
        read(photos, size=32, buckets=32)
    np.save(tmp_path / "a.npy", np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(InputError, match="8 x 8; buckets=16 resizes files of pictures only"):
        read(tmp_path / "a.npy", buckets=16)


WORDS = [
    "buckets=32", "batch=4", "held=0.3", "network_size=tiny", "decay=constant", "flip=true",
    "sampling_steps=1",
]  # fmt: skip


def test_a_run_on_buckets_resumes_exactly_and_samples_in_each(photos, tmp_path, monkeypatch):
    whole = start("images/folder", [*WORDS, "steps=6"], photos, tmp_path / "a", device="cpu")
    parts = start("images/folder", [*WORDS, "steps=3"], photos, tmp_path / "b", device="cpu")
    start("images/folder", ["steps=6"], photos, parts, device="cpu", resume=True)
    one, other = open_run(whole), open_run(parts)
    weights = [run.model("live", device="cpu").denoiser.state_dict() for run in (one, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    row = json.loads((whole / "metrics.jsonl").read_text().splitlines()[-1])
    assert row["step"] == 6 and row["held_loss"] > 0

    assert draw(one, 2, steps=2).x.shape == (2, 3, *one.about["size"])
    for height, width in one.about["buckets"]:
        condition = domain.condition({"size": f"{height}x{width}"}, 3, one.about)
        made = draw(one, 3, steps=2, condition=condition).x
        assert made.shape == (3, 3, height, width)
        last = {name: value[2:] for name, value in condition.items()}
        alone = draw(one, 1, steps=2, first=2, condition=last).x
        torch.testing.assert_close(alone, made[2:], rtol=0, atol=1e-4)
    seen = []
    monkeypatch.setattr(
        "sfumato_images.metrics.metrics",
        lambda train: (seen.append(train), [SlicedWasserstein()])[1],
    )
    (row,) = evaluate(one, 1, steps=1)
    assert row["n"] == 1 and row["value"] > 0
    assert seen[0].batch(range(len(seen[0]))).x.shape[2:] == tuple(one.about["size"])


def test_the_size_of_samples_is_a_condition_of_runs_on_buckets_alone():
    about = {"classes": ["cat", "dog"], "buckets": [[24, 24], [32, 16]], "size": [24, 24]}
    found = domain.condition({"size": "32x16", "label": "dog"}, 3, about)
    assert found["size"].tolist() == [[32, 16]] * 3 and found["label"].tolist() == [1, 1, 1]
    assert domain.condition({"size": "24"}, 2, about)["label"].tolist() == [0, 1]
    assert "size" not in domain.condition({}, 2, about)
    with pytest.raises(InputError, match=r"size=16x32: this model takes 24x24, 32x16"):
        domain.condition({"size": "16x32"}, 2, about)
    with pytest.raises(
        InputError, match="no condition 'size'; this model takes the condition label"
    ):
        domain.condition({"size": "24"}, 2, {"classes": ["cat"], "size": [24, 24]})


def test_guidance_needs_a_condition_that_the_network_is_told():
    about = {"size": [24, 24], "channels": 3, "classes": [], "sigma_data": 0.5}
    model = Folder(network_size="tiny").model({**about, "buckets": [[24, 24], [32, 16]]})
    size = {"size": torch.tensor([[32, 16]])}
    assert draw(model, 1, steps=1, condition=size).x.shape == (1, 3, 32, 16)
    with pytest.raises(InputError, match="guidance=2 strengthens a condition, but none is given"):
        draw(model, 1, steps=1, condition=size, guidance=2)
