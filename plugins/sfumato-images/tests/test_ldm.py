"""The system `ldm`: what its trial compares is comparable, and what it counts is what it does."""

from __future__ import annotations

import sys

import pytest
import torch

from sfumato import InputError, Trial, random, registry
from sfumato_images.data import images
from sfumato_images.systems import ldm
from sfumato_nn.autoencoder import KL
from sfumato_nn.sizes import count_flops, count_parameters

SHAPES = {
    "clothes": {"size": [28, 28], "channels": 1, "classes": list("0123456789"), "sigma_data": 0.5},
    "emoji": {"size": [64, 64], "channels": 3, "classes": [], "sigma_data": 0.5},
}
SETTINGS = {"clothes": ldm.CLOTHES, "emoji": ldm.EMOJI}


def both(name):
    setting, about = SETTINGS[name], SHAPES[name]
    with torch.random.fork_rng():
        codec = KL(about["channels"], about["size"], latent=setting.depth, widths=setting.coder)
    return setting, about, [ldm._model(setting, about, c, 0) for c in (None, codec)]


@pytest.mark.parametrize("name", SETTINGS)
def test_both_networks_have_as_many_weights(name):
    pixel, latent = (count_parameters(model.denoiser.net) for model in both(name)[2])
    assert 0.9 < latent / pixel < 1.1


@pytest.mark.parametrize("name", SETTINGS)
def test_operations_are_those_of_training_and_sampling(name):
    setting, about, (pixel, latent) = both(name)
    x = torch.zeros(1, about["channels"], *about["size"])
    seen, drawn = setting.steps * ldm.BATCH, setting.n
    once = count_flops(pixel.denoiser.net, x, torch.zeros(1))
    expected = once * (3 * seen + ldm.SAMPLING * drawn)
    assert ldm._operations(pixel, setting, about) == pytest.approx(expected)
    z = latent.codec.layout(x)
    once = count_flops(latent.denoiser.net, z, torch.zeros(1))
    coding, decoding = count_flops(latent.codec.encoder, x), count_flops(latent.codec.decoder, z)
    expected = once * (3 * seen + ldm.SAMPLING * drawn) + coding * seen + decoding * drawn
    assert ldm._operations(latent, setting, about) == pytest.approx(expected)


@pytest.mark.slow
def test_the_trial_runs_on_noise(tmp_path):
    source = random.derive(0, "noise")
    x = 2 * random.uniform((120, 1, 8, 8), source).float() - 1
    data = images(len(x), lambda index: x[list(index)])
    arm = ldm.Arm((4, 8), ())
    setting = ldm.Setting(
        lambda: (data, data),
        n=20,
        pixel=arm,
        latent=arm,
        coder=(4, 4),
        depth=2,
        coding=20,
        steps=10,
    )
    found = ldm.compare(setting, Trial(0, 0.2, "cpu", tmp_path, 5))
    assert set(found) == {"flops", "distance", "with-autoencoder", "reconstruction"}
    assert found["flops"].ratio < found["with-autoencoder"].ratio
    assert found["distance"].floor == found["reconstruction"].floor
    assert all(one.n == 20 for one in found.values())


def test_its_components_are_there_and_its_claims_are_about_what_it_measures():
    names = {(c.kind, c.name) for kind in ("network", "process", "sampler", "grid", "objective",
             "metric", "recipe") for c in registry().list(kind)}  # fmt: skip
    known = {name for _, name in names}
    assert set(ldm.system.components) <= known
    keys = {"flops", "distance", "emoji-flops", "emoji-distance"}
    assert {claim.key for claim in ldm.system.claims} == keys
    assert registry().load("system", "images/ldm") is ldm.system


def test_emoji_need_a_library_that_reads_fonts(monkeypatch):
    monkeypatch.setitem(sys.modules, "fontTools.ttLib", None)
    with pytest.raises(InputError, match=r"pip install 'sfumato-images\[emoji\]'"):
        ldm.emoji()
