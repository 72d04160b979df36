"""The recipe of learned forward processes: what it builds, a run, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from sfumato import Unsupported, random
from sfumato_images.learned import Learned
from sfumato_methods.gaussian import VP, Linear
from sfumato_methods.learned import NDM, NFDM
from sfumato_train import draw, open_run, start

SHAPES = {"size": [6, 5], "channels": 3, "classes": ["a", "b"], "sigma_data": 0.5}


def test_the_process_is_bent_and_the_denoiser_is_that_of_what_is_bent():
    model = Learned().model(SHAPES)
    assert isinstance(model.process, NDM) and model.process.base.schedule == VP()
    assert model.denoiser.process.schedule == VP() and model.denoiser.sigma_data == 0.5
    flow = Learned(forward="nfdm", process="linear", start=1e-2).model(SHAPES).process
    assert isinstance(flow, NFDM) and flow.base.schedule == Linear()
    x = random.normal(model.blank(2, random.derive(0)), random.derive(0, "x"))
    t = torch.tensor([0.2, 0.7], dtype=torch.float64)
    for process in (model.process, flow):  # new networks bend nothing
        assert torch.equal(process.marginal(x, t).mean, process.base.marginal(x, t).mean)


def test_a_run_trains_both_and_is_sampled_by_two_samplers(tmp_path):
    words = ["steps=2", "batch=4", "save=2", "log=1", "warmup=1", "sampling_steps=2"]
    start("images/learned", words, out=tmp_path / "run")
    run = open_run(tmp_path / "run")
    model = run.model("live")
    weights = [p for p in model.process.parameters() if p.ndim > 1]
    assert any(bool(p.any()) for p in weights)
    last = model.process.net.state_dict()
    assert any(bool(last[name].any()) for name in list(last)[-2:])  # zero when new
    for sampler in (None, "ancestral"):
        x = draw(run, 2, sampler=sampler).x
        assert x.shape == (2, 1, 8, 8) and bool(x.isfinite().all())


def test_what_a_bound_does_not_use_is_refused():
    with pytest.raises(ValueError, match="its own weight and times; take out noise_mean"):
        Learned(noise_mean=0.1)
    with pytest.raises(Unsupported, match="needs AFFINE; NDM"):
        Learned(process="ndm").model(SHAPES)
