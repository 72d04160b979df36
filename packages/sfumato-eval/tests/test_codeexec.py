"""The example in one file: its formulas, and that it learns; the whole is a claim."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import torch

from sfumato import Preconditioned, Trial, random
from sfumato_data import fetch
from sfumato_eval.systems import codeexec
from sfumato_eval.systems import codeexec_example as example
from sfumato_nn.unet import UNet


@pytest.fixture(scope="module")
def digits():
    return example.read(fetch("digits8"))


@pytest.fixture
def small(monkeypatch):
    """A network that learns something in two seconds."""

    def network():
        return UNet(1, widths=(16, 16), blocks=1, classes=example.CLASSES)

    monkeypatch.setattr(example, "network", network)


def test_the_example_is_one_file_of_at_most_300_lines():
    source = Path(example.__file__).read_text()
    assert len(source.splitlines()) <= 300
    for part in ("Data", "forward process", "network", "loss", "training loop", "Sampling"):
        assert f". {part} --" in source or f"The {part} --" in source


def test_a_line_is_an_image_and_its_label(tmp_path, digits):
    (tmp_path / "data").mkdir()
    with gzip.open(tmp_path / "data" / "digits.csv.gz", "wt") as file:
        file.write(",".join([*(str(i % 17) for i in range(64)), "7"]) + "\n")
        file.write(",".join([*["16"] * 64, "0"]) + "\n")
    x, label = example.read(tmp_path)
    assert x[0, 0, 0, :3].tolist() == [-1, -0.875, -0.75] and bool((x[1] == 1).all())
    assert label.tolist() == [7, 0]
    assert digits.x.shape == (1797, 1, 8, 8) and digits.label.bincount().min() > 170
    assert float(digits.x.min()) == -1 and float(digits.x.max()) == 1


def test_the_forward_process_is_that_of_the_formula(digits):
    process, alpha_bar = example.forward_process(), (1 - example.BETAS).cumprod(0)
    i = torch.tensor([1, 250, 1000])
    x0, eps = digits.x[:3].double(), random.normal(digits.x[:3].double(), random.derive(0, "eps"))
    kept = alpha_bar[i - 1].reshape(3, 1, 1, 1)
    expected = kept.sqrt() * x0 + (1 - kept).sqrt() * eps
    found = example.noisy(process, x0, i / example.T, eps)
    assert torch.allclose(found, expected, atol=1e-6)
    assert alpha_bar[-1] < 1e-4


def test_the_first_loss_is_the_variance_of_the_noise(digits):
    net = example.seeded(example.network, 0)
    batch = example.Digits(digits.x[:256], digits.label[:256])
    error = example.loss(net, example.forward_process(), batch, random.derive(0, "loss"))
    assert float(error.detach()) == pytest.approx(
        1.0, abs=0.05
    )  # it says 0 at first; 4 sd are 0.044


def test_training_learns_and_is_a_function_of_the_seed(digits, small):
    losses = []
    train = example.Digits(digits.x[:1000], digits.label[:1000])
    denoiser = example.train(train, 150, 1, lambda step, error: losses.append(error))
    assert sum(losses[-20:]) < 0.6 * sum(losses[:20]) and len(losses) == 150
    again = [example.train(train, 3, seed) for seed in (1, 1, 2)]
    one, same, other = (next(d.parameters()) for d in again)
    assert torch.equal(one, same) and not torch.equal(one, other)
    x = example.ddim(denoiser, 4, random.derive(0, "draw"), 10)
    assert x.shape == (4, 1, 8, 8) and float(x.abs().max()) <= 1
    assert len(example.show(x).splitlines()) == 8


def test_guidance_goes_from_any_digit_to_this_one_and_beyond(digits):
    net = example.seeded(example.network, 3)
    for weight in net.parameters():  # the output of a new network is zero
        weight.data.add_(0.02)
    denoiser = Preconditioned(net, example.forward_process(), "eps")
    x, t = digits.x[:5], torch.tensor(0.5, dtype=torch.float64)
    label = torch.arange(5)
    any_digit, this = denoiser(x, t).mean, denoiser.given(label=label)(x, t).mean
    assert not torch.allclose(any_digit, this)
    for scale in (0.0, 1.0, 2.5):
        expected = any_digit + scale * (this - any_digit)
        found = example.guided(denoiser, label, scale)(x, t).mean
        assert torch.allclose(found, expected, atol=1e-5)


def test_what_is_held_out_is_not_trained_on(digits):
    folder = fetch("digits8")
    train, held = codeexec.halves(folder, 0)
    assert len(held.x) == codeexec.HELD and len(train.x) + len(held.x) == len(digits.x)
    together = torch.cat([train.x, held.x]).flatten(1).double()
    original = digits.x.flatten(1).double()
    assert torch.equal(together.sum(0), original.sum(0))
    assert not torch.equal(codeexec.halves(folder, 1)[1].x, held.x)


def test_the_trial_measures_what_its_claims_need(monkeypatch, small, tmp_path):
    for name, value in (("HELD", 60), ("FEW", 4), ("MANY", 12), ("TRAIN_STEPS", 120)):
        monkeypatch.setattr(codeexec, name, value)
    found = codeexec.trial(Trial(0, 1.0, "cpu", tmp_path, 1.0))
    assert {claim.key for claim in codeexec.system.claims} == found.keys()
    noise = found["noise"]
    assert noise.n == 60 and 0 < noise.floor < noise.method < noise.baseline
    assert found["few-steps"].baseline == noise.method
