"""What the tests of the networks share."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def awake():
    """Gives every parameter of a network random values, so that nothing is zero by design."""

    def wake(net, seed=0, scale=0.3):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in net.parameters():
                fan = max(1, parameter[0].numel()) if parameter.ndim > 1 else 1
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                spread = 1.0 if parameter.ndim > 1 else scale
                centre = parameter if parameter.ndim == 1 else torch.zeros(())
                parameter.copy_(centre + noise * spread / fan**0.5)
        return net.eval()

    return wake


@pytest.fixture
def noise():
    """Standard normal numbers of a shape, the same for every run."""

    def draw(*shape, seed=1, dtype=torch.float32):
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)

    return draw
