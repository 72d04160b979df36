"""Reports of runs of any domain: what they measure is right, what is missing is said."""

from __future__ import annotations

import html
import os
import re

import numpy as np
import pytest
import torch
from headless import look
from PIL import Image, ImageDraw
from torch import nn

from sfumato import (
    Ancestral,
    Batch,
    Categorical,
    Denoiser,
    Dirac,
    Fields,
    Implicit,
    InputError,
    Joint,
    Model,
    Product,
    random,
)  # fmt: skip
from sfumato_data import Tensors, split
from sfumato_eval.report import Scene
from sfumato_eval.report.charts import Chart, svg
from sfumato_methods.gaussian import linear
from sfumato_methods.grids import uniform
from sfumato_train import Denoising, Recipe, Run, evaluate, fit, open_run, start
from sfumato_train.files import append, write_json
from sfumato_train.recipe import Training
from sfumato_train.reporting import report
from sfumato_train.reporting.showing import _guess

SECTIONS = [
    "samples", "metrics", "quality-against-network-calls", "training", "denoising-over-time",
    "nearest-training-items", "configuration", "versions-and-machine", "how-to-reproduce",
    "not-measured",
]  # fmt: skip


def plot(batch, path):
    """A picture of points in the plane."""
    image = Image.new("RGB", (120, 120), "white")
    draw = ImageDraw.Draw(image)
    for x, y in batch.x[:, :2].tolist():
        draw.circle((60 + 15 * x, 60 + 15 * y), 3, fill="blue")
    image.save(path)
    return path


DRAWN = {}


@pytest.fixture(autouse=True)
def equal_charts_are_drawn_once(monkeypatch):
    """Drawing takes most of the time, and equal charts are equal."""

    def drawn(chart):
        if repr(chart) not in DRAWN:
            DRAWN[repr(chart)] = svg(chart)
        return DRAWN[repr(chart)]

    monkeypatch.setattr(Chart, "svg", property(drawn))


@pytest.fixture(scope="module")
def trained(site, tmp_path_factory):
    import sfumato.plugins

    sfumato.plugins._installed.cache_clear()
    words = ["steps=60", "log=10", "save=20", "held=0.4"]
    yield start("toy/points", words, None, tmp_path_factory.mktemp("runs") / "run", device="cpu")
    sfumato.plugins._installed.cache_clear()


@pytest.fixture
def run(trained, toy, monkeypatch):
    """A run of a domain that draws pictures."""
    run = open_run(trained)
    monkeypatch.setattr(
        type(run.domain), "preview", lambda self, batch, path, about: plot(batch, path)
    )
    return run


def written(run, tmp_path, *args, **options):
    """The report as text, and as a reader sees it."""
    path = report(run, *args, device="cpu", out=tmp_path / "report.html", **options)
    text = path.read_text(encoding="utf-8")
    assert re.findall(r'<section id="([^"]+)"', text) == SECTIONS
    return text


def rows(text, section):
    """The cells of the tables of a section."""
    part = text.partition(f'<section id="{section}"')[2].partition("</section>")[0]
    return [
        [html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)]
        for row in re.findall(r"<tr>(.*?)</tr>", part, re.S)
    ]


def missing(text):
    return {what: why for what, why in filter(None, rows(text, "not-measured"))}


def test_a_report_has_everything_and_a_browser_shows_it(run, tmp_path):
    told = []
    text = written(run, tmp_path, 40, steps=[2], watch=lambda *news: told.append(news[:2]))
    assert missing(text) == {} and "Nothing is missing" in text
    assert told[-1] == (120, 120) and (40, 120) in told
    fields = {cells[0]: cells[1:3] for cells in rows(text, "configuration") if cells}
    assert fields["steps"] == ["60", "20"] and fields["width"] == ["16", ""]
    packages = {cells[0]: cells for cells in rows(text, "versions-and-machine") if cells}
    assert packages["torch"][1] == packages["torch"][2] == torch.__version__
    seen = look(tmp_path / "report.html", tmp_path / "shot.png")
    assert seen["console"] == [] and seen["asked"] == [] and seen["overflow"] == 0
    assert seen["sections"] == SECTIONS and seen["title"] == "toy/points"
    # two grids, three samples at eight and seven times, eight pairs
    assert len(seen["images"]) == 2 + 3 * (8 + 7) + 2 * 8
    assert all(width == 120 and height == 120 for width, height, _ in seen["images"])
    # quality, loss, by level, learning rate, gradient, parts, throughput, distance
    assert len(seen["charts"]) == 8


def test_scores_are_those_of_evaluate(run, tmp_path):
    """And quality at the model's own steps is the score in the table."""
    text = written(run, tmp_path, 60, steps=[3], seed=4)
    (row,) = evaluate(run, 60, seed=4, device="cpu")
    (coarse,) = evaluate(run, 60, seed=4, steps=3, device="cpu")
    (shown,) = (cells for cells in rows(text, "metrics") if cells)
    assert shown[:6] == [
        row["name"], f"{row['value']:.4g}", f"{row['floor']:.4g}", f"{row['ratio']:.4g}", "lower",
        "60",
    ]  # fmt: skip
    three, own = (cells for cells in rows(text, "quality-against-network-calls") if cells)
    assert three[2] == f"{coarse['value']:.4g}" and own[2] == shown[1]
    assert (own[0], own[3]) == ("10 (default)", shown[3])


def test_network_calls_are_counted(run, tmp_path):
    """Heun makes two in each step but the last; guidance doubles them."""
    plain = rows(written(run, tmp_path, 8, steps=[3]), "quality-against-network-calls")
    guided = rows(
        written(run, tmp_path, 8, steps=[3], guidance=2.0), "quality-against-network-calls"
    )
    assert [cells[1] for cells in plain if cells] == ["5", "19"]
    assert [cells[1] for cells in guided if cells] == ["10", "38"]


def test_equal_seeds_give_equal_reports(run, tmp_path):
    def told(seed):
        text = written(run, tmp_path, 20, steps=[2], seed=seed)
        text = re.sub(r"reported on [^.]*\.", "", text)
        return re.sub(r'<section id="quality.*?</section>', "", text, flags=re.S)  # has a speed

    assert told(0) == told(0) != told(1)


def test_a_domain_in_space_has_scenes_of_the_samples(run, tmp_path, monkeypatch):
    def scenes(batch, about):
        assert about == run.about
        return [
            Scene([[x, y, 0]], [1], ["#102030"], [], "a point") for x, y in batch.x.tolist()[:3]
        ]

    monkeypatch.setattr(run.domain, "scenes", scenes, raising=False)
    part = written(run, tmp_path, 20, steps=[2]).partition('<section id="samples"')[2]
    assert part.partition("</section>")[0].count("<canvas") == 3


def test_a_copy_of_a_training_item_is_found(run, tmp_path, monkeypatch):
    """Samples that are training items stand above themselves, at distance 0."""
    train, _ = run.data()

    def copies(source, n, **options):
        return Batch(train.batch(range(n)).x, options["condition"])

    monkeypatch.setattr("sfumato_train.reporting.material.draw", copies)
    text = written(run, tmp_path, 20, steps=[2])
    part = text.partition('<section id="nearest-training-items"')[2].partition("</section>")[0]
    assert re.findall(r'<th scope="col">(.*?)</th>', part) == ["0"] * 8
    above, below = (re.findall(r'src="([^"]+)"', row) for row in part.split("<tr>")[2:4])
    assert above == below and len(set(above)) > 1


def test_training_is_drawn_from_the_rows(run, tmp_path):
    rows = [row for row in (run.path / "metrics.jsonl").read_text().splitlines() if row]
    text = written(run, tmp_path, 4, steps=[1])
    part = text.partition('<section id="training"')[2].partition("</section>")[0]
    titles = re.findall(r"<h3>(.*?)</h3>", part)
    assert titles[:4] == [
        "Loss", "Held-out loss by noise level", "Learning rate", "Gradient norm before clipping",
    ]  # fmt: skip
    loss = part.partition("<svg")[2].partition("</svg>")[0]
    assert ">training<" in loss and ">held-out<" in loss
    # a mark for each row that has the number
    marks = loss.count("<use ")
    assert marks >= len(rows) + 3


def test_the_commands_say_what_was_asked_for(run, tmp_path):
    text = html.unescape(written(run, tmp_path, 7, steps=[2, 3], seed=9, guidance=1.5))
    assert re.search(r"sfumato train toy/points \S*\s?.*steps=60.*held=0.4.* --out \S*run\n", text)
    assert "-n 7 --steps 2,3,10 --seed 9 --guidance 1.5" in text
    assert "width=" not in text.partition("sfumato train")[2].partition("\n")[0]


def test_a_domain_that_draws_no_pictures_gets_the_rest(trained, toy, tmp_path):
    """The preview of the toy domain is a file of numbers."""
    text = written(open_run(trained), tmp_path, 8, steps=[2])
    assert set(missing(text)) == {
        "The samples", "The denoising strip", "Pictures of the nearest training items",
    }  # fmt: skip
    assert all("is no PNG file" in why for why in missing(text).values())
    assert [cells for cells in rows(text, "metrics") if cells]
    assert "Distance to the nearest training item" in text


def test_a_failing_metric_does_not_take_others_along(run, tmp_path, monkeypatch):
    from sfumato_eval import SlicedWasserstein

    class Broken(SlicedWasserstein):
        name = "broken"

        def between(self, a, b):
            raise KeyError("<b>no such thing</b>")

    monkeypatch.setattr(
        type(run.domain), "metrics", lambda self, _: [SlicedWasserstein(), Broken()]
    )
    text = written(run, tmp_path, 8, steps=[2])
    assert missing(text) == {"The metric broken": "KeyError: '<b>no such thing</b>'"}
    assert "<b>" not in text
    assert [cells[0] for cells in rows(text, "metrics") if cells] == ["sliced-wasserstein"]


def test_without_held_out_data_the_rest_is_there(toy, monkeypatch, tmp_path):
    words = ["steps=2", "held=0"]
    run = open_run(start("toy/points", words, None, tmp_path / "run", device="cpu"))
    monkeypatch.setattr(
        type(run.domain), "preview", lambda self, batch, path, about: plot(batch, path)
    )
    text = written(run, tmp_path, steps=[2])
    assert set(missing(text)) == {"The metrics", "Quality against network calls"}
    assert "0 item(s) were held out" in missing(text)["The metrics"]
    assert "64 real items, trained on: none were held out" in text


def test_without_its_data_a_run_is_still_shown(toy, monkeypatch, tmp_path):
    np.save(tmp_path / "points.npy", toy.points(50).x.numpy())
    run = open_run(
        start("toy/points", ["steps=2"], tmp_path / "points.npy", tmp_path / "run", device="cpu")
    )
    monkeypatch.setattr(
        type(run.domain), "preview", lambda self, batch, path, about: plot(batch, path)
    )
    (tmp_path / "points.npy").unlink()
    text = written(run, tmp_path, 6, steps=[2])
    assert set(missing(text)) == {
        "The samples", "The metrics", "Quality against network calls", "Nearest training items",
    }  # fmt: skip
    assert all("points.npy is missing" in why for why in missing(text).values())
    assert text.count("<img") == 3 * (8 + 7) and "Learning rate" in text


class Both(Denoiser):
    """Of two fields, a constant."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(()))

    def forward(self, x, t):
        return Joint({k: Dirac(v * 0 + self.value) for k, v in x.items()})


class Twins(Recipe):
    domain = "twins"
    steps: int = 2
    batch: int = 8

    def model(self, about):
        process = Product({"a": linear(), "b": linear()})
        blank = Fields(a=torch.zeros(1, 2), b=torch.zeros(1, 3))
        return Model(process, Both(), Ancestral(), uniform, 4, lambda n, generator: blank)


class TwinDomain:
    """No conditions, no metrics, states of two fields."""

    name = "twins"

    def preview(self, batch, path, about):
        return plot(Batch(batch.x["a"]), path)

    def metrics(self, train):
        return []

    def condition(self, values, n, about):
        return {}

    def demo(self):
        x = Fields(
            a=random.normal(torch.empty(40, 2), random.derive(0, "a")),
            b=random.normal(torch.empty(40, 3), random.derive(0, "b")),
        )
        return Tensors(x, about={"evil": "<script>alert(1)</script>"})


def test_a_domain_of_fields_without_metrics_or_conditions(tmp_path):
    recipe, domain = Twins(held=0.5), TwinDomain()
    data = domain.demo()
    train, held = split(data, recipe.held, recipe.seed)
    model = recipe.model(data.about)
    objective = Denoising(model.process, model.denoiser, weight=lambda process, t: torch.ones(()))
    folder = tmp_path / "run"
    fit(Training(objective, train, model), recipe, folder, held=held)
    write_json(folder / "recipe.json", {"plugin": "twins", "versions": {"twins": "1"}})
    run = Run(folder, "twins/both", recipe, domain, data.about, None, len(data))
    text = written(run, tmp_path, 5, steps=[2])
    assert set(missing(text)) == {"Quality against network calls", "Nearest training items"}
    assert "states that are one tensor, not Fields" in missing(text)["Nearest training items"]
    assert "The domain twins has no metrics." in text
    assert text.count("<img") == 2 + 3 * (5 - 0 + 4) and "<script" not in text
    assert "twins==1" in text


def test_what_a_posterior_expects():
    generator = random.derive(0)
    probs = torch.tensor([[0.2, 0.7, 0.1], [0.5, 0.2, 0.3]])
    x = torch.randn(2, 3, generator=random.derive(1))
    guess = _guess(Joint(a=Categorical(probs=probs), b=Dirac(x), c=Implicit(lambda g: x + 1)),
                   generator)  # fmt: skip
    assert guess["a"].tolist() == [1, 0] and guess["b"] is x
    assert torch.equal(guess["c"], x + 1)


@pytest.mark.parametrize("lost", ["checkpoints", "metrics.jsonl"])
def test_an_empty_run_is_one_sentence_and_no_file(toy, tmp_path, lost):
    folder = start("toy/points", ["steps=2"], None, tmp_path / "run", device="cpu")
    (folder / lost).rename(tmp_path / "gone")
    if lost == "metrics.jsonl":
        (folder / lost).write_text("")
    names = sorted(os.listdir(folder))
    what = "no checkpoint" if lost == "checkpoints" else "nothing in metrics.jsonl"
    with pytest.raises(InputError, match=f"run has {what} to report on yet; train it first"):
        report(open_run(folder), device="cpu")
    assert sorted(os.listdir(folder)) == names


def test_what_does_not_fit_is_an_error_at_once(run, tmp_path):
    with pytest.raises(InputError, match="n must be at most 76, half of the 152 held-out items"):
        report(run, 81, device="cpu", out=tmp_path / "report.html")
    with pytest.raises(InputError, match="n must be at least 1, but is 0"):
        report(run, 0, device="cpu", out=tmp_path / "report.html")
    with pytest.raises(InputError, match="steps must be at least 1, but one is 0"):
        report(run, steps=[5, 0], device="cpu", out=tmp_path / "report.html")
    with pytest.raises(InputError, match="is a folder; name a file"):
        report(run, device="cpu", out=tmp_path)
    assert not os.listdir(tmp_path)


def test_a_full_disk_leaves_the_earlier_report(run, tmp_path, monkeypatch):
    path = report(run, 4, steps=[1], device="cpu", out=tmp_path / "report.html")
    before = path.read_bytes()

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        report(run, 5, steps=[1], device="cpu", out=path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["report.html"]


def test_rows_with_gaps_are_drawn(run, tmp_path, monkeypatch):
    """A player that had no turn leaves no loss."""
    import shutil

    shutil.copytree(run.path, tmp_path / "copy")
    row = {"step": 61, "loss": None, "grad_norm": None, "parts": {"critic.loss": -1.0}}
    append(tmp_path / "copy" / "metrics.jsonl", row | {"held_levels": [[-1.0, None], [2.0, 0.5]]})
    text = written(open_run(tmp_path / "copy"), tmp_path, 4, steps=[1])
    assert "The training curves" not in missing(text) and ">step 61<" in text
