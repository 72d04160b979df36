"""Grids tuned to a run, and samplers of a run side by side."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from sfumato import Ancestral, InputError, Unsupported
from sfumato_methods import grids
from sfumato_methods.grids import Levels
from sfumato_methods.solvers import DDIM, DPMSolverPP, Heun
from sfumato_train import draw, open_run, start
from sfumato_train.comparing import compare, page, rows
from sfumato_train.drawing import calls
from sfumato_train.tuning import read_grid, tune_grid, write_grid


@pytest.fixture(scope="module")
def run(site, tmp_path_factory):
    import sfumato.plugins

    sfumato.plugins._installed.cache_clear()
    words = ["steps=300", "lr=5e-3", "held=0.4", "width=32"]
    yield open_run(
        start("toy/points", words, None, tmp_path_factory.mktemp("runs") / "run", device="cpu")
    )
    sfumato.plugins._installed.cache_clear()


def test_a_learned_grid_is_kept_and_lands_closer_to_many_steps(run):
    found = tune_grid(run, 4, sampler="dpmpp-2m", n=60, rounds=15, device="cpu")
    assert found.path == run.path / "grids" / "dpmpp-2m-ld3-4.json"
    assert found.after < 0.8 * found.before
    facts = json.loads(found.path.read_text())
    assert (facts["sampler"], facts["steps"], facts["after"]) == ("dpmpp-2m", 4, found.after)
    assert read_grid(found.path) == found.levels

    # 'after' is what sampling with the file gives, on noise that no part of the tuning has seen
    common = {"n": 300, "sampler": DPMSolverPP(), "seed": 5, "device": "cpu"}
    fine = draw(run, steps=64, **common).x
    own = draw(run, steps=4, **common).x
    tuned = draw(run, steps=4, grid=str(found.path), **common).x
    assert (tuned - fine).square().mean() < (own - fine).square().mean()


def test_shifts_of_a_file_reach_the_network(run, tmp_path):
    levels = grids.Levels((50.0, 2.0, 0.3, 0.01))
    plain, told = tmp_path / "plain.json", tmp_path / "told.json"
    write_grid(plain, levels, {})
    write_grid(told, Levels(levels.levels, (0.0, 0.3, 0.0)), {})
    common = {"sampler": DDIM(), "steps": 3, "device": "cpu"}
    x = [draw(run, 8, grid=str(path), **common).x for path in (plain, told)]
    assert not torch.allclose(*x)
    with pytest.raises(InputError, match="learned for 3 steps, not 4"):
        draw(run, 8, grid=str(told), **(common | {"steps": 4}))


def test_an_aligned_grid_lowers_its_bound(run):
    found = tune_grid(run, 5, sampler="ancestral", method="ays", n=100, device="cpu")
    assert found.levels.steps == 5 and found.after < found.before


def test_a_sampler_that_draws_has_no_teacher(run):
    with pytest.raises(InputError, match=r"Ancestral\(\) draws noise; tune its grid by .* ays"):
        tune_grid(run, 4, sampler="ancestral", device="cpu")
    with pytest.raises(InputError, match="at least 10 items, not 3"):
        tune_grid(run, 4, n=3, device="cpu")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "is damaged: it holds no JSON object"),
        ('{"format": 9}', "is no grid of format 1"),
        ('{"format": 1, "levels": ["a"], "shifts": []}', "lists of numbers"),
        ('{"format": 1, "levels": [1, 2], "shifts": []}', "numbers that descend"),
    ],
)
def test_a_file_that_is_no_grid_is_named(text, says, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=says):
        read_grid(tmp_path / "a.json")
    with pytest.raises(InputError, match="missing"):
        read_grid(tmp_path / "b.json")


def test_calls_are_counted(run):
    model = run.model(device="cpu")
    assert calls(model, 7, sampler=DDIM()) == 7
    assert calls(model, 7, sampler=Heun()) == 13
    one = {"label": torch.zeros(3, dtype=torch.long)}
    assert calls(model, 7, sampler=DDIM(), condition=one) == 7
    assert calls(model, 7, sampler=DDIM(), condition=one, guidance=2.0) == 14


def test_samplers_are_compared_on_the_same_items(run, monkeypatch, tmp_path):
    write_grid(tmp_path / "g.json", Levels((50.0, 2.0, 0.3, 0.01)), {})
    names = ["ddim", f"ddim@{tmp_path / 'g.json'}", "heun"]
    told = []
    found = compare(
        run,
        names,
        [3, 6],
        60,
        device="cpu",
        watch=lambda done, total, *_: told.append((done, total)),
    )
    assert [(one.sampler, one.steps, one.calls) for one in found] == [
        (name, steps, 2 * steps - 1 if name == "heun" else steps)
        for name in names
        for steps in (3, 6)
    ]
    assert told[-1] == (6 * 60, 6 * 60)
    assert len({one.score.floor for one in found}) == 1
    # each value is that of the samples which `draw` gives under the same conditions
    again = compare(run, ["heun"], [6], 60, device="cpu")
    assert again[0].score == found[-1].score != found[0].score
    table = rows(found)
    assert table[0][3] == "sliced-wasserstein" and len(table) == 7
    assert page(run, found).sections[0].blocks[0].charts[0].lines[2].x == [5, 11]


def test_what_a_process_cannot_serve_is_a_row_and_no_end(run, monkeypatch):
    def cannot(*args, **options):
        raise Unsupported("Other() needs SCORE")

    monkeypatch.setattr("sfumato_train.comparing.draw", cannot)
    found = compare(run, ["ddim"], [3], 60, device="cpu")
    assert found[0].score is None and found[0].why == "Other() needs SCORE"
    assert rows(found)[1][:3] == ["ddim", "3", "Other() needs SCORE"]
    assert "No sampler" in page(run, found).sections[0].blocks[0].text


def test_compare_refuses_what_makes_no_sense(run):
    with pytest.raises(InputError, match="one sampler or more"):
        compare(run, [], [3], device="cpu")
    with pytest.raises(InputError, match="step counts from 1"):
        compare(run, ["ddim"], [0], device="cpu")
    with pytest.raises(InputError, match="no metric 'slised-wasserstein'; did you mean sliced"):
        compare(run, ["ddim"], [3], metric="slised-wasserstein", device="cpu")


def test_a_model_with_a_sampler_that_draws_is_compared_too(run):
    model = replace(run.model(device="cpu"), sampler=Ancestral())
    assert calls(model, 5) == 5
