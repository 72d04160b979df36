"""Runs: begun, resumed, opened, and refused with one clear sentence."""

from __future__ import annotations

import json
import shutil
from itertools import combinations

import numpy as np
import pytest
import torch

import sfumato.plugins
from sfumato import Batch, InputError
from sfumato_data import gather
from sfumato_train import Diverged, checkpoint, evaluate, files, open_run, start, starting
from sfumato_train import runs as runs_module
from sfumato_train.linked import CodecOf, ModelOf

SHORT = ["steps=20", "save=10", "log=5"]


def begin(out, *words, **options):
    return start("toy/points", [*SHORT, *words], None, out, device="cpu", **options)


def final(out, step=20):
    folder = out / "checkpoints" / f"step-{step:06d}"
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


@pytest.fixture
def run(toy, tmp_path):
    return open_run(begin(tmp_path / "run"))


def test_a_run_folder_holds_what_is_promised(run):
    assert sorted(p.name for p in run.path.iterdir() if p.name[0] != ".") == [
        "checkpoints",
        "metrics.jsonl",
        "previews",
        "recipe.json",
    ]
    facts = json.loads((run.path / "recipe.json").read_text())
    assert facts["recipe"] == "toy/points" and facts["plugin"] == "toy-points"
    assert facts["versions"].keys() == {"sfumato", "toy-points", "torch", "python"}
    assert facts["values"]["steps"] == 20 and facts["data"] == {"path": None, "items": 400}
    assert [p.name for p in sorted((run.path / "previews").iterdir())] == [
        "step-000010.png",
        "step-000020.png",
    ]
    assert [one.step for one in run.checkpoints()] == [10, 20]
    assert run.recipe == type(run.recipe)(
        steps=20, save=10, log=5, precision="fp32"
    ) and run.about == {"classes": ["a", "b", "c"], "shape": [2]}


def test_a_model_comes_back_with_its_weights(run):
    live, average = run.model("live", device="cpu"), run.model(device="cpu")
    path = run.checkpoints()[-1].path
    for model, stem in ((live, "model"), (average, "ema")):
        stored = checkpoint.read(path, stem)
        for name, value in model.denoiser.state_dict().items():
            assert torch.equal(value, stored[f"denoiser.{name}"])
        assert not any(m.training for m in model.denoiser.modules())
        assert not any(p.requires_grad for p in model.denoiser.parameters())
    first = run.model("live", 10, device="cpu").denoiser.net.inward.weight
    assert not torch.equal(first, live.denoiser.net.inward.weight)


def test_a_run_without_an_average_gives_the_live_weights(toy, tmp_path):
    run = open_run(begin(tmp_path / "run", "ema=0"))
    one, other = run.model(device="cpu"), run.model("live", device="cpu")
    assert torch.equal(one.denoiser.net.inward.weight, other.denoiser.net.inward.weight)


def test_the_best_checkpoint_is_that_with_the_lowest_validation_loss(run):
    for one, loss in zip(run.checkpoints(), (0.1, 0.2), strict=True):
        facts = json.loads((one.path / "state.json").read_text())
        (one.path / "state.json").write_text(json.dumps({**facts, "held_loss": loss}))
    best, tenth = (run.model("live", which, device="cpu") for which in ("best", 10))
    assert torch.equal(best.denoiser.net.inward.weight, tenth.denoiser.net.inward.weight)


def test_training_and_held_out_data_are_told_apart_for_ever(run):
    train, held = run.data()
    again = open_run(run.path).data()
    assert len(train) + len(held) == 400 and len(held) > 0
    for one, other in zip((train, held), again, strict=True):
        assert torch.equal(gather(one).x, gather(other).x)
    assert not set(map(tuple, gather(train).x.tolist())) & set(map(tuple, gather(held).x.tolist()))


def test_a_resumed_run_is_the_uninterrupted_one(toy, tmp_path):
    begin(tmp_path / "whole", "dropout=0.1")

    class Stop(Exception):
        pass

    def stop(step, total, loss, items_per_s):
        if step >= 17:
            raise Stop

    with pytest.raises(Stop):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sfumato_train.guards.PAUSE", 0)
            begin(tmp_path / "parts", "dropout=0.1", watch=stop)
    assert [one.step for one in open_run(tmp_path / "parts").checkpoints()] == [10]
    start("toy/points", [], None, tmp_path / "parts", resume=True, device="cpu")
    assert final(tmp_path / "parts") == final(tmp_path / "whole")
    told = [row["step"] for row in files.rows(tmp_path / "parts" / "metrics.jsonl")]
    assert told == [5, 10, 15, 20]  # the row of step 15 was written twice, and is there once


def test_a_run_can_be_made_longer(run):
    start("toy/points", ["steps=30"], None, run.path, resume=True, device="cpu")
    assert open_run(run.path).recipe.steps == 30
    assert [one.step for one in run.checkpoints()][-1] == 30


def test_resuming_where_there_is_nothing_begins(toy, tmp_path):
    assert begin(tmp_path / "run", resume=True) == tmp_path / "run"
    assert len(final(tmp_path / "run")) == 3


@pytest.mark.parametrize(
    ("name", "words", "options", "message"),
    [
        ("toy/points", ["lr=0.1"], {}, r"begun with lr=0.0005 and cannot go on with 0.1; .*steps"),
        ("toy/points", ["stpes=9"], {}, "no field 'stpes'; did you mean steps"),
        ("toy/duel", [], {}, "holds a run of 'toy/points'; 'toy/duel' cannot go on with it"),
        (
            "toy/points",
            [],
            {"data_path": "other.npy"},
            "begun with the data at None, not other.npy",
        ),
        ("toy/points", [], {"batch": 3}, r"batches in 1 part\(s\), and batch=3 would change that"),
        ("toy/points", ["steps=15"], {}, "past the 15 steps"),
    ],
)
def test_what_would_be_another_run_is_not_resumed(run, name, words, options, message):
    before = {p: p.read_bytes() for p in run.path.rglob("*.safetensors")}
    with pytest.raises(InputError, match=message):
        start(name, words, options.pop("data_path", None), run.path, resume=True, **options)
    assert {p: p.read_bytes() for p in run.path.rglob("*.safetensors")} == before


@pytest.mark.parametrize(
    ("name", "words", "options", "message"),
    [
        ("toy/point", [], {}, "no recipe 'toy/point'; did you mean toy/points"),
        ("toy/points", ["width=0"], {}, r"width=0: .*\(accepted: int >= 1 and <= 512\)"),
        ("toy/points", [], {"data_path": "nowhere.npy"}, "nowhere.npy is missing"),
        ("toy/points", [], {"device": "cudda"}, "no device 'cudda' here"),
        ("toy/points", [], {"minutes": 0.0}, "minutes must be positive, but is 0.0"),
        ("toy/points", [], {"batch": 0}, "batch must be at least 1"),
        ("toy/points", ["held=1"], {}, "held=1: .*less than 1"),
    ],
)
def test_bad_requests_leave_no_folder_behind(toy, tmp_path, name, words, options, message):
    with pytest.raises(InputError, match=message) as caught:
        start(name, words, options.pop("data_path", None), tmp_path / "run", **options)
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_data_that_is_all_held_out_is_told(toy, tmp_path):
    np.save(tmp_path / "one.npy", np.ones((1, 2), np.float32))
    with pytest.raises(InputError, match="1 items, all of which are held out; held=0 trains"):
        start("toy/points", ["held=0.9999"], tmp_path / "one.npy", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_that_is_in_use_is_not_written_to(run, tmp_path):
    with pytest.raises(InputError, match="already holds a run; resume it"):
        begin(run.path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match="is not an empty folder"):
        begin(tmp_path / "photos")
    assert [p.name for p in (tmp_path / "photos").iterdir()] == ["me.jpg"]


def test_without_a_name_a_run_gets_the_first_free_one(toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [str(start("toy/points", ["steps=1"], device="cpu")) for _ in range(2)]
    assert names == ["runs/points-1", "runs/points-2"]


def test_a_batch_that_fits_becomes_parts(toy, tmp_path):
    run = open_run(begin(tmp_path / "run", "batch=32", batch=5))
    assert run.recipe.accumulation == 7  # ceil(32 / 5)


def test_little_memory_makes_parts(toy, tmp_path, monkeypatch):
    monkeypatch.setattr("sfumato_train.starting.fitting_batch", lambda *args: 10)
    run = open_run(begin(tmp_path / "run", "batch=32", "accumulation=2"))
    assert run.recipe.accumulation == 4


class Ragged:
    """Items 0 to 5 of sizes that are known or not."""

    about: dict[str, int] = {}

    def __init__(self, *sizes):
        self.own = sizes or None

    def __len__(self):
        return 6

    def batch(self, index):
        return Batch(torch.as_tensor(index))

    def sizes(self):
        return self.own


def test_what_fits_is_measured_on_the_greatest_items():
    """Not on whatever comes first: that may be the smallest."""
    sized = Ragged(3, 1, 4, 1, 5, 2)
    assert starting._greatest(sized, 2, 0).x.tolist() == [4, 2]
    assert starting._greatest(sized, 8, 0).x.tolist()[:4] == [4, 2, 0, 5]
    assert len(starting._greatest(sized, 8, 0).x) == 8
    assert sorted(starting._greatest(Ragged(), 6, 0).x.tolist()) == list(range(6))


def test_bf16_computes_in_bf16_and_is_stored(toy, tmp_path):
    run = open_run(begin(tmp_path / "run", precision="bf16"))
    assert run.recipe.precision == "bf16"
    assert run.model(device="cpu").denoiser.autocast is None
    assert run.model(device="cpu", precision="bf16").denoiser.autocast is torch.bfloat16
    assert final(tmp_path / "run") != final(begin(tmp_path / "other"))


def test_diverging_tells_where_the_good_checkpoint_is(toy, tmp_path):
    with pytest.raises(Diverged, match="step 12; kept is .*step-000010"):
        start("toy/nan", SHORT, None, tmp_path / "run", device="cpu")
    assert open_run(tmp_path / "run").model(device="cpu") is not None


def test_data_that_has_changed_is_noticed(toy, tmp_path):
    data, out = tmp_path / "points.npy", tmp_path / "run"
    np.save(data, np.zeros((50, 2), np.float32))
    start("toy/points", SHORT, data, out, device="cpu")
    assert open_run(out).data_path == data
    np.save(data, np.zeros((60, 2), np.float32))
    with pytest.raises(InputError, match="has 60 items .* then it had 50"):
        open_run(out).data()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: shutil.rmtree(p), "is not a folder"),
        (lambda p: (p / "recipe.json").unlink(), "is not a run: it holds no recipe.json"),
        (lambda p: (p / "recipe.json").write_text("{"), "recipe.json is damaged"),
        (lambda p: (p / "recipe.json").write_text("{}"), "is not the recipe of a run"),
        (lambda p: edit(p, format=2), "format 2, which is newer than the 1"),
        (lambda p: edit(p, data=None), "is damaged: it lacks data"),
        (
            lambda p: edit(p, recipe="toy/gone"),
            r"needs the recipe 'toy/gone' .* install toy-points",
        ),
        (lambda p: edit(p, values={"widht": 3}), "does not fit the recipe .*did you mean width"),
    ],
)
def test_what_is_not_a_run_is_named(run, change, message):
    change(run.path)
    with pytest.raises(InputError, match=message) as caught:
        open_run(run.path)
    assert "\n" not in str(caught.value)


def edit(path, **changes):
    facts = {**json.loads((path / "recipe.json").read_text()), **changes}
    facts = {k: v for k, v in facts.items() if v is not None}
    (path / "recipe.json").write_text(json.dumps(facts))


def test_a_run_of_a_plugin_that_is_gone_names_it(run, monkeypatch):
    monkeypatch.setattr(sfumato.plugins, "_installed", sfumato.plugins.Registry)
    with pytest.raises(
        InputError, match="no installed plugin announces a recipe; install toy-points"
    ):
        open_run(run.path)


def test_a_checkpoint_that_is_not_there_is_named(run):
    with pytest.raises(InputError, match="no checkpoint of step 7; there is 10, 20"):
        run.model(step=7)
    shutil.rmtree(run.path / "checkpoints")
    with pytest.raises(InputError, match="has no checkpoint yet; train it first"):
        run.model()


def test_a_checkpoint_of_another_recipe_does_not_load(run):
    edit(run.path, values={**run.recipe.model_dump(mode="json"), "width": 17})
    with pytest.raises(InputError, match=r"ema.safetensors: denoiser.net.\S+ is float32 of shape"):
        open_run(run.path).model(device="cpu")


def test_other_versions_are_told_where_a_checkpoint_does_not_fit(run):
    """Versions alone are no error: what fits is loaded."""
    facts = json.loads((run.path / "recipe.json").read_text())
    edit(run.path, versions={**facts["versions"], "sfumato": "0.0.7", facts["plugin"]: "0.0.9"})
    assert open_run(run.path).model(device="cpu") is not None
    edit(run.path, values={**run.recipe.model_dump(mode="json"), "width": 17})
    with pytest.raises(
        InputError,
        match=r"of shape .*; the run was written with sfumato 0.0.7 and toy-points 0.0.9, and "
        r"installed is sfumato \d",
    ):
        open_run(run.path).model(device="cpu")


def test_weights_are_chosen_by_name(toy, tmp_path):
    words = [*SHORT, "decays=0.5,", "widths=0.05,0.2"]
    run = open_run(start("toy/points", words, None, tmp_path / "run", device="cpu"))
    found = {
        which: run.model(which, device="cpu").denoiser.net.inward.weight
        for which in ("ema", "live", "ema-0.5", "power-0.05", "power-0.1", "power-0.2")
    }
    stored = checkpoint.read(run.path / "averages" / "step-000020", "power-0.2")
    assert torch.allclose(found["power-0.2"], stored["denoiser.net.inward.weight"], atol=1e-6)
    for one, other in combinations(found.values(), 2):
        assert not torch.equal(one, other) and torch.allclose(one, other, atol=1e-3)
    for which, message in (
        ("ema-0.7", "no weights 'ema-0.7'; there is live, ema, ema-0.5 and power-WIDTH"),
        ("power-x", "the width of an average is a number"),
        ("power-0.5", r"lies in \(0, 0.289\), but is 0.5"),
    ):
        with pytest.raises(InputError, match=message):
            run.model(which, device="cpu")
    plain = open_run(start("toy/points", SHORT, None, tmp_path / "plain", device="cpu"))
    with pytest.raises(InputError, match="no snapshots of averages; train with widths"):
        plain.model("power-0.1", device="cpu")


def test_a_folder_that_cannot_be_made_is_an_error(toy, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"the folder .*file/run cannot be made: Not a directory"):
        start("toy/points", SHORT, None, tmp_path / "file" / "run", device="cpu")


def test_an_older_recipe_is_migrated(run, monkeypatch):
    monkeypatch.setattr(runs_module, "FORMAT", 2)
    monkeypatch.setattr(
        runs_module, "MIGRATIONS", {1: lambda f: {**f, "values": {**f["values"], "width": 9}}}
    )
    assert open_run(run.path).recipe.width == 9


def test_first_weights_are_a_function_of_the_seed(toy):
    one, two, three = (
        runs_module.fresh(seed, lambda: toy.Toy().model({"shape": [2]})).denoiser.net.inward.weight
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, two) and not torch.equal(one, three)


def test_a_module_that_neither_draws_nor_codes_is_trained_and_shown(toy, tmp_path, monkeypatch):
    words = ["steps=60", "save=30", "batch=64", "lr=0.05", "warmup=0", "ema=0.5"]
    run = open_run(start("toy/judge", words, None, tmp_path / "run", device="cpu"))
    judge, held = run.trained(device="cpu"), gather(run.data()[1])
    assert not judge.training
    right = judge(held.x).argmax(1) == held.condition["label"]
    assert right.float().mean() > 0.9
    assert run.checkpoints()[-1].held_loss < 0.3
    *_, last = sorted((run.path / "previews").iterdir())
    count = starting.PREVIEW_ITEMS
    some = held.x[[i * len(held.x) // count for i in range(count)]]
    assert np.allclose(json.loads(last.read_text()), judge(some).tolist(), atol=1e-6)
    for ask in (run.model, lambda: evaluate(run), lambda: ModelOf.of(run.path)):
        with pytest.raises(InputError, match="is a run of toy/judge, which draws no samples"):
            ask()
    with pytest.raises(InputError, match="has no codec with weights"):
        CodecOf.of(run.path)
    monkeypatch.setattr(toy.Judging, "trained", lambda self, about: toy.Mute())
    start("toy/judge", words, None, tmp_path / "silent", device="cpu")
    assert not (tmp_path / "silent" / "previews").exists()


def test_a_linked_model_is_the_averaged_one_and_must_stay(run):
    link = ModelOf.of(run.path)
    assert torch.equal(
        checkpoint.collect(link.check().denoiser)["net.inward.weight"],
        checkpoint.collect(run.model(device="cpu").denoiser)["net.inward.weight"],
    )
    start("toy/points", ["steps=24"], None, run.path, device="cpu", resume=True)
    with pytest.raises(InputError, match="no longer those that were linked"):
        link.check()
    shutil.rmtree(run.path)
    with pytest.raises(InputError, match="is gone"):
        link.check()
