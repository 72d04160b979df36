"""Codecs: trained as runs, used by other runs, which keep them."""

from __future__ import annotations

import html
import json
import math
import shutil

import pytest
import torch

from sfumato import Affine, InputError, Model, random
from sfumato_data import Tensors, gather, select
from sfumato_images.codecs import KLCodec, VQCodec
from sfumato_images.data import demo
from sfumato_images.fidelity import fidelity, psnr, ssim
from sfumato_images.inpaint import inpaint
from sfumato_images.recipes import Digits
from sfumato_train import draw, evaluate, fit, open_run, parse_words, start
from sfumato_train.checkpoint import collect
from sfumato_train.coding import Autoencoding, reconstructed
from sfumato_train.linked import CodecOf, digest
from sfumato_train.reporting import report

QUICK = ["factor=2", "width=8", "latent=2", "batch=32", "save=20"]
LATENT = ["steps=6", "batch=16", "save=3", "keep=9"]


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    """A codec of the digits, trained hardly at all."""
    return start("images/kl", [*QUICK, "steps=40"], out=tmp_path_factory.mktemp("codec") / "kl")


@pytest.fixture(scope="module")
def latent(codec, tmp_path_factory):
    """A model of its latents."""
    out = tmp_path_factory.mktemp("latent") / "digits"
    return start("images/digits", [*LATENT, f"codec={codec}"], out=out)


def copied(path, folder):
    return shutil.copytree(path, folder / path.name)


@pytest.mark.parametrize(
    ("kind", "options", "least"), [(KLCodec, {"kl": 1e-6}, 20.0), (VQCodec, {}, 14.0)]
)
def test_it_learns_64_digits_by_heart(kind, options, least, tmp_path):
    some = gather(demo(), range(64))
    data = Tensors(some.x, about=demo().about)
    recipe = kind(factor=2, width=16, steps=150, batch=64, lr=3e-3, ema=0, **options)
    training = recipe.build(data)
    fit(training, recipe, tmp_path)
    codec = training.model
    made = reconstructed(codec, some.x, random.derive(0, "z"))
    assert psnr(some.x, made).mean() > least
    z = codec.encode(some.x, random.derive(0, "z"))
    assert z.mean((0, 2, 3)).abs().max() < 0.2
    assert (z.std((0, 2, 3)) - 1).abs().max() < 0.2
    rows = [json.loads(row) for row in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["parts"]["error"] < 0.5 * rows[0]["parts"]["error"]
    if kind is VQCodec:
        assert 20 < rows[-1]["parts"]["perplexity"] <= 512
    else:
        check_that_known_latents_hardly_feel_the_unknown(codec, some.x)


def check_that_known_latents_hardly_feel_the_unknown(codec, x):
    """The rule of `mask` neglects little, and without the cells around it would neglect much."""
    known = torch.zeros_like(x, dtype=torch.bool)
    known[:, :, :6] = True
    with torch.no_grad():
        whole, half = (codec.posterior(v).mean for v in (x, torch.where(known, x, 0.0)))
    moved = (whole - half).square().mean(0).mean((0, 2)).sqrt() / codec.variance.mean().sqrt()
    assert codec.mask(known)[0, 0].all(1).tolist() == [True, True, False, False]
    assert moved[:2].max() < 0.25  # standard deviations of a latent
    assert moved[2] > 0.3  # its own cell is known, that below is not


def test_a_critic_joins_at_its_step_also_after_a_resume(tmp_path):
    words = ["factor=2", "width=8", "batch=8", "critic=0.1", "critic_start=2", "log=1", "save=2"]
    words += ["decay=constant"]
    whole = start("images/kl", [*words, "steps=4"], out=tmp_path / "whole")
    half = start("images/kl", [*words, "steps=2"], out=tmp_path / "half")
    start("images/kl", ["steps=4"], out=half, resume=True)
    for path in (whole, half):
        rows = [json.loads(row) for row in (path / "metrics.jsonl").read_text().splitlines()]
        assert ["verdict" in row["parts"] for row in rows] == [False, False, True, True]
    same = (open_run(path).codec("live", device="cpu") for path in (whole, half))
    assert digest(next(same)) == digest(next(same))


def test_the_critic_alone_is_moved_by_its_own_loss():
    objective = KLCodec(factor=2, width=8, critic=0.1, critic_start=0).build(demo()).objective
    batch = gather(demo(), range(8))
    assert objective.turns(0) == ("autoencoder", "critic")
    loss = objective.loss("critic", batch, random.derive(0, "l")).each.mean()
    gradients = torch.autograd.grad(loss, list(objective.critic.parameters()))
    assert any(g.abs().max() > 0 for g in gradients)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(loss, list(objective.codec.parameters()))
    fake, real = objective.critic(-batch.x), objective.critic(batch.x)
    by_hand = (1 - real).relu().mean((1, 2, 3)) + (1 + fake).relu().mean((1, 2, 3))
    torch.testing.assert_close(objective._verdict(batch.x, -batch.x).each, by_hand)


def test_validation_is_the_error_of_reconstruction_and_changes_nothing():
    objective = VQCodec(factor=2, width=8).build(demo()).objective
    batch = gather(demo(), range(8))
    before = digest(objective.codec)
    found = objective.validate(batch, random.derive(0, "v")).each
    with torch.no_grad():
        made = objective.codec(batch.x, random.derive(0, "v")).x
    gap = (made - batch.x).flatten(1)
    torch.testing.assert_close(found, gap.abs().mean(1) + gap.square().mean(1), atol=1e-4, rtol=0)
    assert digest(objective.codec) == before


def test_a_codec_run_says_that_it_draws_no_samples(codec):
    with pytest.raises(InputError, match=f"is a codec, which draws no samples.*codec={codec}"):
        draw(open_run(codec), 2)
    with pytest.raises(InputError, match="has no sampler and no steps"):
        evaluate(open_run(codec), 4, sampler="ddim", steps=3)


def test_a_codec_run_is_measured_by_its_reconstructions(codec):
    run = open_run(codec)
    assert run.codes
    rows = {row["name"]: row for row in evaluate(run, 80)}
    assert rows["psnr"]["n"] == 80
    assert 5 < rows["psnr"]["value"] < 60
    assert {"ssim", "frechet", "recognised"} <= rows.keys()
    assert len(list((codec / "previews").iterdir())) == 2


def test_the_codec_is_the_same_before_and_after(codec, latent):
    run, trained = open_run(latent), open_run(codec).codec(device="cpu")
    for which in ("ema", "live"):
        for step in (3, 6):
            assert digest(run.codec(which, step, device="cpu")) == digest(trained)
    assert run.recipe.codec.sha256 == digest(trained)
    assert run.recipe.codec.path == str(codec)
    model = run.model(device="cpu")
    assert isinstance(model, Model)
    assert not any(p.requires_grad for p in model.codec.parameters())
    assert draw(model, 3, steps=2).x.shape == (3, 1, 8, 8)


def test_the_diffusion_sees_standard_latents(codec, latent):
    run = open_run(latent)
    train, _ = run.data()
    z = run.codec(device="cpu").encode(gather(train).x, random.derive(0, "z"))
    assert z.mean((0, 2, 3)).abs().max() < 0.3
    assert (z.std((0, 2, 3)) - 1).abs().max() < 0.3
    assert run.model(device="cpu").denoiser.sigma_data == 1


def test_a_run_needs_its_codec_no_more_once_it_has_a_checkpoint(codec, tmp_path):
    own = copied(codec, tmp_path)
    out = start("images/digits", [*LATENT, f"codec={own}"], out=tmp_path / "a")
    start("images/digits", [*LATENT[1:], "steps=3", f"codec={own}"], out=tmp_path / "b")
    shutil.rmtree(own)
    model = open_run(out).model(device="cpu")
    gone = start("images/digits", ["steps=6"], out=tmp_path / "b", resume=True)
    assert open_run(gone).recipe.codec == open_run(out).recipe.codec
    # the cosine of `b` was begun for three steps, so only its codec is that of `a`
    assert digest(open_run(gone).codec(device="cpu")) == digest(model.codec)
    # and another run may take the codec from it
    assert CodecOf.of(out).sha256 == open_run(out).recipe.codec.sha256


def test_resuming_is_exact(codec, tmp_path):
    words = ["batch=16", "save=3", "decay=constant", f"codec={codec}"]
    whole = start("images/digits", [*words, "steps=6"], out=tmp_path / "whole")
    half = start("images/digits", [*words, "steps=3"], out=tmp_path / "half")
    start("images/digits", ["steps=6"], out=half, resume=True)
    for which in ("ema", "live"):
        one, other = (open_run(path).model(which, device="cpu") for path in (whole, half))
        pairs = zip(collect(one.denoiser).values(), collect(other.denoiser).values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_resuming_a_codec_is_exact(tmp_path):
    words = ["factor=2", "width=8", "batch=16", "save=3", "decay=constant", "codes=32"]
    whole = start("images/vq", [*words, "steps=6"], out=tmp_path / "whole")
    half = start("images/vq", [*words, "steps=3"], out=tmp_path / "half")
    start("images/vq", ["steps=6"], out=half, resume=True)
    for which in ("ema", "live"):
        one, other = (open_run(path).codec(which, device="cpu") for path in (whole, half))
        assert digest(one) == digest(other)


def test_a_changed_codec_is_refused(codec, latent, tmp_path):
    own = copied(codec, tmp_path)
    out = start("images/digits", [*LATENT[1:], "steps=3", f"codec={own}"], out=tmp_path / "a")
    start("images/kl", ["steps=41"], out=own, resume=True)
    with pytest.raises(InputError, match="the codec at .* has changed"):
        start("images/digits", ["steps=6"], out=out, resume=True)
    with pytest.raises(InputError, match="was begun with codec="):
        start("images/digits", ["steps=6", f"codec={own}"], out=out, resume=True)


@pytest.mark.parametrize(
    ("path", "says"),
    [("nowhere", "codec=nowhere: nowhere is not a folder"), ("", "codec")],
)
def test_a_missing_codec_is_refused(path, says):
    with pytest.raises(InputError, match=says):
        parse_words(Digits, [f"codec={path}"])


def test_a_run_without_a_codec_is_refused(tmp_path):
    out = start("images/digits", ["steps=1", "batch=8"], out=tmp_path / "plain")
    with pytest.raises(InputError, match="has no codec with weights"):
        parse_words(Digits, [f"codec={out}"])


def test_data_of_other_channels_is_refused(codec):
    recipe = parse_words(Digits, [f"codec={codec}"])
    with pytest.raises(InputError, match=r"1 channel\(s\), and this data has 3"):
        recipe.model({**demo().about, "channels": 3})


def test_data_of_another_size_is_fine(codec):
    model = parse_words(Digits, [f"codec={codec}"]).model({**demo().about, "size": [11, 16]})
    assert draw(model, 2, steps=1).x.shape == (2, 1, 11, 16)


def test_inpainting_goes_through_the_codec(latent):
    x = gather(demo(), range(4)).x
    known = torch.zeros(8, 8, dtype=torch.bool)
    known[:4] = True
    filled = inpaint(open_run(latent), x, known, steps=3)
    assert torch.equal(filled[..., :4, :], x[..., :4, :])
    assert filled.isfinite().all()
    # what stands outside the mask changes nothing
    other = torch.where(known, x, 0.7)
    torch.testing.assert_close(inpaint(open_run(latent), other, known, steps=3), filled)


def test_psnr_and_ssim_are_the_formulas():
    x = random.uniform((3, 1, 16, 12), random.derive(0, "x")) * 2 - 1
    y = (x + 0.1 * random.normal(x, random.derive(0, "y"))).clamp(-1, 1)
    for a, b, found in zip(x, y, psnr(x, y), strict=True):
        assert found == pytest.approx(10 * math.log10(4 / float((a - b).square().mean())))
    weight = torch.exp(-0.5 * ((torch.arange(11).double() - 5) / 1.5).square())
    weight = torch.outer(weight, weight) / weight.sum() ** 2
    values = []
    for top in range(6):
        for left in range(2):
            a, b = (v[0, 0, top : top + 11, left : left + 11] for v in (x, y))
            ma, mb = (a * weight).sum(), (b * weight).sum()
            va, vb = ((a - ma) ** 2 * weight).sum(), ((b - mb) ** 2 * weight).sum()
            both = ((a - ma) * (b - mb) * weight).sum()
            c1, c2 = 0.02**2, 0.06**2
            first = (2 * ma * mb + c1) / (ma**2 + mb**2 + c1)
            values.append(first * (2 * both + c2) / (va + vb + c2))
    assert float(ssim(x, y)[0]) == pytest.approx(float(torch.stack(values).mean()), rel=1e-9)
    assert ssim(x, x).tolist() == pytest.approx([1, 1, 1])


def test_fidelity_of_equal_images_is_perfect():
    some = select(gather(demo(), range(4)), torch.arange(4))
    found = fidelity(some, some)
    assert found["psnr"].value == 100
    assert found["ssim"].value == pytest.approx(1)
    assert found["ssim"].n == 4


@pytest.mark.parametrize(
    ("words", "says"),
    [(["factor=3"], "2, 4 or 8"), (["latent=0"], "greater than"), (["codec=x"], "no field")],
)
def test_wrong_fields_are_refused(words, says):
    with pytest.raises(InputError, match=says):
        parse_words(KLCodec, words)


def test_features_need_colour():
    with pytest.raises(InputError, match="colour"):
        KLCodec(features=1.0).build(demo())


def test_the_objective_needs_a_module():
    with pytest.raises(InputError, match="no module"):
        Autoencoding(Affine(0.0, 1.0))


@pytest.mark.slow
def test_both_kinds_of_run_are_reported(codec, latent, tmp_path):
    path = report(open_run(codec), 16, out=tmp_path / "codec.html")
    text = html.unescape(path.read_text())
    assert "Nothing is missing from this report" in text
    for words in ("A codec of the data of images/kl", "16 reconstructions", "psnr"):
        assert words in text
    path = report(open_run(latent), 8, steps=[2], out=tmp_path / "latent.html")
    text = html.unescape(path.read_text())
    assert "Nothing is missing from this report" in text
    assert f"codec={codec}" in text
