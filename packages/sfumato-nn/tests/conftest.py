"""What the tests of the networks share."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def awake():
    """Gives every parameter of a network random values, so that nothing is zero by design."""

    def wake(net, seed=0):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                if parameter.ndim > 1:
                    parameter.copy_(noise / parameter[0].numel() ** 0.5)
                else:
                    gain = "norm" in name and name.endswith("weight")
                    parameter.copy_(gain + 0.3 * noise)
        return net.eval()

    return wake


@pytest.fixture
def noise():
    """Standard normal numbers of a shape, the same for every run."""

    def draw(*shape, seed=1):
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    return draw
