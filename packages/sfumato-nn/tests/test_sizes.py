import pytest
import torch
from torch import nn

from sfumato import InputError
from sfumato_nn.attention import Attention
from sfumato_nn.sizes import SIZES, count_flops, count_parameters, dit, parameters_by_size, unet


@pytest.mark.parametrize("build", [unet, dit])
def test_meta_counts_are_real_counts(build, noise):
    real = build("tiny", channels=3, classes=4, vector=6)
    with torch.device("meta"):
        ghost = build("tiny", channels=3, classes=4, vector=6)
    assert count_parameters(ghost) == count_parameters(real)
    x, vector = noise(2, 3, 9, 9), noise(2, 6)
    label = torch.tensor([0, 1])
    flops = count_flops(real, x, torch.zeros(2), **real.encode(label=label, vector=vector))
    context = ghost.encode(label=label.to("meta"), vector=vector.to("meta"))
    assert flops == count_flops(ghost, x.to("meta"), torch.zeros(2, device="meta"), **context)
    assert flops > 2 * count_parameters(real)


@pytest.mark.parametrize("network", ["unet", "dit"])
def test_sizes_are_listed_from_small_to_large(network):
    counts = parameters_by_size(network, channels=3)
    assert list(counts) == list(SIZES[network])
    assert list(counts.values()) == sorted(set(counts.values()))
    build = {"unet": unet, "dit": dit}[network]
    assert counts["tiny"] == count_parameters(build("tiny", channels=3))


def test_dit_sizes_are_those_of_the_paper():
    # Table 1 of arXiv:2212.09748: 33, 130, 458 and 675 million; ours have gains, SwiGLU rounded
    # up to 8, no label table and a small embedding of the clock.
    counts = parameters_by_size("dit", channels=4)
    for size, millions in {"small": 33, "base": 130, "large": 458, "xlarge": 675}.items():
        assert counts[size] / 1e6 == pytest.approx(millions, rel=0.02)


def test_options_win_over_the_size():
    assert len(dit("small", channels=1, depth=2).blocks) == 2
    assert unet("tiny", channels=1, widths=(8, 8, 8)).inward.out_channels == 8


def test_known_flops(noise):
    conv = nn.Conv2d(3, 5, 3, padding=1)
    assert count_flops(conv, noise(2, 3, 7, 6)) == 2 * (3 * 9) * 5 * (7 * 6) * 2
    assert count_flops(nn.Linear(11, 13), noise(4, 11)) == 2 * 11 * 13 * 4
    tokens, width = 10, 16
    assert count_flops(Attention(width, 2), noise(3, tokens, width)) == 3 * (
        2 * tokens * width * 4 * width + 2 * (2 * tokens * tokens * width)
    )


def test_known_parameters():
    assert count_parameters(nn.Conv2d(3, 5, 3)) == 3 * 5 * 9 + 5
    shared = nn.Linear(4, 4)
    assert count_parameters(nn.Sequential(shared, shared)) == 20
    assert count_parameters(shared.requires_grad_(False)) == 0


@pytest.mark.parametrize("build", [unet, dit])
def test_an_unknown_size_names_the_close_ones(build):
    with pytest.raises(InputError, match="unknown size 'smal'; did you mean small"):
        build("smal", channels=1)
    with pytest.raises(InputError, match="unknown size 'XXL'; there is tiny,"):
        build("XXL", channels=1)
    with pytest.raises(InputError, match="unknown network 'unets'; did you mean unet"):
        parameters_by_size("unets", channels=1)
