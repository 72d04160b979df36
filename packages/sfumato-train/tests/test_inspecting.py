"""Tools that measure a run: their numbers against the closed forms of an exact model."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from sfumato import Affine, Denoiser, Dirac, InputError, Unsupported
from sfumato_data import Tensors
from sfumato_train import open_run, start
from sfumato_train.inspecting import dimension, likelihood
from sfumato_train.runs import Run


@pytest.fixture(scope="module")
def run(site, tmp_path_factory):
    import sfumato.plugins

    sfumato.plugins._installed.cache_clear()
    words = ["steps=400", "lr=5e-3", "held=0.4", "width=64"]
    yield open_run(
        start("toy/points", words, None, tmp_path_factory.mktemp("runs") / "run", device="cpu")
    )
    sfumato.plugins._installed.cache_clear()


class Normal(Denoiser):
    """The exact denoiser of independent normal numbers under a process."""

    def __init__(self, process, std):
        super().__init__()
        self.process, self.std = process, std

    def given(self, **condition):
        return self

    def forward(self, x, t):
        a, b = self.process.alpha(t), self.process.sigma(t)
        return Dirac(x * (a * self.std**2 / (a * a * self.std**2 + b * b)).to(x))


@pytest.fixture
def exact(run, monkeypatch):
    """The run with the exact model of normal data of these standard deviations in its place."""

    def make(x, std, codec=None):
        plain = run.model(device="cpu")
        model = replace(plain, denoiser=Normal(plain.process, std), codec=codec)
        data = Tensors(x, {"label": torch.zeros(len(x), dtype=torch.long)}, run.about)
        monkeypatch.setattr(Run, "model", lambda self, *args, **kwargs: model)
        monkeypatch.setattr(Run, "data", lambda self: (data, data))
        return run

    return make


def read(path):
    return json.loads(path.read_text())


def bits(report):
    return [each["bits"] for each in report["each"]]


def test_the_likelihood_of_a_normal_is_its_entropy_in_any_units(exact, tmp_path):
    """Bits of a density change by log2 of the unit; those of levels do not."""
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(1)).double()
    want = (0.5 * x.square() + 0.5 * math.log(2 * math.pi)).sum(1)
    said = likelihood(exact(x, 1.0), tmp_path / "one", n=60, trace="exact", batch=7)
    found = read(tmp_path / "one" / "likelihood.json")
    order = sorted(one["nats"] for one in found["each"])
    assert order == pytest.approx(sorted(want.tolist()), abs=1e-3)
    assert found["bits per dimension"] == pytest.approx(
        float(want.mean()) / 2 / math.log(2), abs=1e-3
    )
    assert found["standard error"] == pytest.approx(
        float(want.std()) / 2 / math.log(2) / math.sqrt(60), rel=1e-2
    )
    assert f"{found['bits per dimension']:.4f}" in said and "60 held-out items" in said
    wide = Affine(0.5, 8.0)
    likelihood(exact(8 * x + 0.5, 1.0, wide), tmp_path / "two", n=60, trace="exact")
    other = read(tmp_path / "two" / "likelihood.json")
    assert other["bits per dimension"] == pytest.approx(found["bits per dimension"] + 3, abs=1e-5)


def test_quantised_data_is_dequantised_and_its_bits_are_bounded_below_by_the_entropy(
    exact, tmp_path
):
    """For a fine quantisation of a normal, -log2 P(cell) is the entropy to 0.02 bits."""
    levels, std = 256, 0.25
    step = 2 / (levels - 1)
    raw = torch.randn(200, 2, generator=torch.Generator().manual_seed(2)).double() * std
    x = (((raw + 1) / step).round() * step - 1).clamp(-1, 1)
    run = exact(x, std)
    likelihood(run, tmp_path / "a", n=200, trace="exact", levels=levels, batch=100)
    cells = torch.distributions.Normal(0.0, std)
    exact_bits = -(cells.cdf(x + step / 2) - cells.cdf(x - step / 2)).log2().mean()
    found = read(tmp_path / "a" / "likelihood.json")
    assert found["bits per dimension"] == pytest.approx(float(exact_bits), abs=0.02)
    likelihood(run, tmp_path / "b", n=200, trace="exact", levels=levels, batch=37)
    again = read(tmp_path / "b" / "likelihood.json")
    assert bits(again) == pytest.approx(bits(found), rel=1e-12)
    with pytest.raises(InputError, match="do not lie on 200 levels from -1 to 1"):
        likelihood(run, tmp_path / "c", levels=200)
    assert not (tmp_path / "c").exists()


def test_probes_agree_with_the_exact_trace_on_a_trained_run(run, tmp_path):
    common = {"n": 40, "steps": 12, "noise": 0.01, "device": "cpu"}
    for name, options in {
        "exact": {"trace": "exact"},
        "hutchinson": {"probes": 4},
        "again": {"probes": 4, "batch": 5},
        "hutch++": {"trace": "hutch++", "probes": 2},
    }.items():
        likelihood(run, tmp_path / name, **common, **options)
    found = {one.name: read(one / "likelihood.json") for one in tmp_path.iterdir()}
    told = {name: bits(one) for name, one in found.items()}
    assert told["hutch++"] == pytest.approx(told["exact"], abs=1e-3)  # its sketch holds rank 2
    gap = torch.tensor(told["hutchinson"]) - torch.tensor(told["exact"])
    error = torch.tensor([each["probe error in bits"] for each in found["hutchinson"]["each"]])
    assert float(gap.abs().max()) > 1e-4 and float((gap / error).abs().median()) < 2
    assert told["again"] == pytest.approx(told["hutchinson"], abs=1e-3)
    # three clouds of standard deviation 0.3, labels known: about log2(0.3 (2 pi e)^(1/2)) = 0.31
    assert 0.2 < found["exact"]["bits per dimension"] < 0.8
    one = likelihood(run, tmp_path / "single", n=1, steps=2, device="cpu")
    assert "nan" in one and read(tmp_path / "single" / "likelihood.json")["standard error"] is None


def test_the_dimension_of_data_is_found_by_both_methods(exact, tmp_path):
    x = torch.zeros(10, 2, dtype=torch.float64)
    x[:, 0] = torch.linspace(-1, 1, 10)
    run = exact(x, torch.tensor([1.0, 1e-4]).double())
    seen = []
    dimension(run, tmp_path / "told", batch=4, watch=lambda *news: seen.append(news))
    assert seen[-1] == (10, 10, None, None)
    for method in ("flipd", "svd"):
        said = dimension(run, tmp_path / method, method=method, trace="exact")
        found = read(tmp_path / method / "dimension.json")
        assert found["dimension"] == pytest.approx(1, abs=0.02) and found["items"] == 10
        assert "of 2 numbers" in said and len(found["each"]) == 10
    dimension(run, tmp_path / "few", method="svd", draws=8, batch=3, n=5)
    assert read(tmp_path / "few" / "dimension.json")["items"] == 5


def test_what_has_no_likelihood_says_why(run, exact, tmp_path, monkeypatch):
    class Learned:
        exact = None

    x = torch.zeros(3, 2)
    with pytest.raises(Unsupported, match="only shifts and scales, not Learned"):
        likelihood(exact(x, 1.0, Learned()), tmp_path / "a")
    empty = exact(x[:0], 1.0)
    with pytest.raises(InputError, match="held out no items"):
        likelihood(empty, tmp_path / "a")
    from sfumato_methods.discrete import Discrete, uniform

    plain = exact(x, 1.0)
    other = replace(plain.model(), process=Discrete(uniform(3)))
    monkeypatch.setattr(Run, "model", lambda self, *args, **kwargs: other)
    for tool in (likelihood, dimension):
        with pytest.raises(Unsupported, match=r"noise levels \(AFFINE\)"):
            tool(plain, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_the_tools_are_announced_and_their_options_checked():
    from sfumato import registry
    from sfumato_cli.apply import options
    from sfumato_train import parse_words

    for name in ("likelihood", "dimension"):
        form = options(registry().load("tool", name), name)
        with pytest.raises(InputError, match="greater than or equal to 1"):
            parse_words(form, ["n=0"])
    assert parse_words(options(likelihood, "likelihood"), ["levels=256", "trace=hutch++"]).n == 100
