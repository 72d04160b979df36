"""Diffusion around a reference that is learned."""

import pytest
import torch
from torch import nn

from sfumato import Dirac, InputError, random
from sfumato_methods.bridges import Around, Pinned, Referenced, Referring
from sfumato_methods.gaussian import Cosine

SOURCE = {"past": torch.tensor([[0.5, -1.0], [0.2, 0.7]], dtype=torch.float64)}


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def forward(self, source):
        return self.gain * source["past"]


def test_it_is_pinned_to_what_the_reference_says_of_the_source():
    plain = Pinned(Around(Cosine())).given(source=2 * SOURCE["past"])
    own = Referenced(Twice(), Cosine()).given(source=SOURCE)
    x0, t = torch.ones(2, 2, dtype=torch.float64), torch.tensor([0.3, 0.8], dtype=torch.float64)
    for a, b in ((plain, own),):
        assert torch.equal(a.marginal(x0, t).mean, b.marginal(x0, t).mean)
        assert torch.equal(a.prior(x0).mean, b.prior(x0).mean)


def test_the_state_is_the_diffusion_of_what_the_data_is_away_from_the_reference():
    process = Referenced(Twice(), Cosine()).given(source=SOURCE)
    x0, t = torch.full((2, 2), 3.0, dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64)
    reference = 2 * SOURCE["past"]
    law = process.marginal(x0, t)
    alpha, sigma = Cosine().alpha(t), Cosine().sigma(t)
    assert torch.allclose(law.mean - reference, alpha * (x0 - reference), atol=1e-15)
    assert torch.allclose(torch.as_tensor(law.std), sigma)


def test_the_reference_is_trained_through_the_noisy_state_and_the_mean():
    process = Referenced(Twice(), Cosine())
    denoiser = Referring(nn.Identity(), process)
    denoiser.net.forward = lambda x, clock, **context: torch.tanh(x)
    x0, t = torch.ones(2, 2, dtype=torch.float64), torch.tensor([0.3, 0.8], dtype=torch.float64)

    def loss():
        drawn = process.given(source=SOURCE).draw(x0, t, random.derive(0, "noise"))
        return denoiser.given(source=SOURCE)(drawn.x, t).loss(drawn.target).sum()

    loss().backward()
    found, step = float(process.reference.gain.grad), 1e-6
    with torch.no_grad():
        process.reference.gain += step
        above = loss()
        process.reference.gain -= 2 * step
        slope = (above - loss()) / (2 * step)
    assert found == pytest.approx(float(slope), rel=1e-7)


def test_a_perfect_network_gives_the_data_back():
    process = Referenced(Twice(), Cosine())
    deviation, x0 = 0.7, torch.tensor([[1.5, -0.2], [0.1, 0.4]], dtype=torch.float64)
    t = torch.tensor([0.2, 0.9], dtype=torch.float64)
    x = process.given(source=SOURCE).draw(x0, t, random.derive(1, "noise")).x
    y, reference = x - 2 * SOURCE["past"], 2 * SOURCE["past"]
    alpha, sigma = Cosine().alpha(t)[:, None], Cosine().sigma(t)[:, None]
    total = (alpha * deviation) ** 2 + sigma**2
    want = (x0 - reference - alpha * deviation**2 / total * y) / (sigma * deviation / total**0.5)
    denoiser = Referring(nn.Identity(), process, sigma_data=deviation)
    denoiser.net.forward = lambda x, clock, **context: want
    found = denoiser.given(source=SOURCE)(x, t)
    assert isinstance(found, Dirac)
    assert torch.allclose(found.mean, x0, atol=1e-13)


def test_a_source_is_needed():
    process = Referenced(Twice(), Cosine())
    x, t = torch.zeros(2, 2), torch.tensor(0.5)
    with pytest.raises(InputError, match="source"):
        Referring(nn.Identity(), process)(x, t)
    with pytest.raises(InputError, match="positive"):
        Referring(nn.Identity(), process, sigma_data=0.0)
