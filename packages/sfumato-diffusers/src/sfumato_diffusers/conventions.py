"""What the scheduler of a diffusers model says about its network: process, clock, prediction."""

from __future__ import annotations

__all__ = ["FAMILIES", "Clip", "Convention", "Quantile", "convention", "supported"]

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sfumato import Ancestral, InputError, Sampler, Unsupported
from sfumato.denoiser import Prediction
from sfumato_methods.gaussian import EDM, Gaussian, Linear
from sfumato_methods.solvers import DDIM, DPMSolverPP, Euler

from .clocks import Clock, Indices, Quarter, Share
from .schedules import schedule


@dataclass(frozen=True)
class Clip:
    """Predicted data kept within [-limit, limit] (their `clip_sample`)."""

    limit: float

    def __call__(self, x0: Tensor) -> Tensor:
        return x0.clamp(-self.limit, self.limit)


@dataclass(frozen=True)
class Quantile:
    """Dynamic thresholding (Saharia et al. 2022, arXiv:2205.11487, section 2.3).

    With s the quantile of |x_0| of an item, within [1, most], x_0 becomes clip(x_0, -s, s)/s.
    """

    share: float
    most: float

    def __call__(self, x0: Tensor) -> Tensor:
        s = torch.quantile(x0.flatten(1).float().abs(), self.share, dim=1).clamp(1, self.most)
        s = s.to(x0).reshape(-1, *[1] * (x0.ndim - 1))
        return torch.clamp(x0, -s, s) / s


@dataclass(frozen=True, eq=False)
class Convention:
    """How a network of diffusers is called and read.

    Attributes:
        process: whose laws the network was trained on.
        clock: what it is told at a noise level.
        predict: what it returns.
        sign: of what it returns; -1 for the v of an EDM scheduler.
        sigma_data: for predict = "edm".
        limit: applied to the predicted data; None: nothing.
        sampler: our sampler of the method of the scheduler, or the closest.
        steps: how many of it to take unless told.
    """

    process: Gaussian
    clock: Clock
    predict: Prediction
    sampler: Sampler
    steps: int
    sign: float = 1.0
    sigma_data: float = 1.0
    limit: Callable[[Tensor], Tensor] | None = None


_PREDICTIONS: Mapping[str, Prediction] = {
    "epsilon": "eps",
    "v_prediction": "v",
    "sample": "x0",
    "flow_prediction": "flow",
}

_FEW, _SOME = 25, 50

FAMILIES: Mapping[str, tuple[str, Sampler, int | None]] = {
    # class: (where its noise comes from, sampler, steps; None: as many as the chain has)
    "DDPMScheduler": ("betas", Ancestral(), None),
    "DDPMParallelScheduler": ("betas", Ancestral(), None),
    "DDIMScheduler": ("betas", DDIM(), _SOME),
    "DDIMParallelScheduler": ("betas", DDIM(), _SOME),
    "PNDMScheduler": ("betas", DDIM(), _SOME),
    "EulerDiscreteScheduler": ("betas", DDIM(), _SOME),
    "EulerAncestralDiscreteScheduler": ("betas", Ancestral(), _SOME),
    "HeunDiscreteScheduler": ("betas", DPMSolverPP(), _FEW),
    "KDPM2DiscreteScheduler": ("betas", DPMSolverPP(), _FEW),
    "KDPM2AncestralDiscreteScheduler": ("betas", Ancestral(), _SOME),
    "LMSDiscreteScheduler": ("betas", DPMSolverPP(), _FEW),
    "DEISMultistepScheduler": ("betas", DPMSolverPP(), _FEW),
    "DPMSolverMultistepScheduler": ("betas", DPMSolverPP(), _FEW),
    "DPMSolverSinglestepScheduler": ("betas", DPMSolverPP(), _FEW),
    "UniPCMultistepScheduler": ("betas", DPMSolverPP(), _FEW),
    "FlowMatchEulerDiscreteScheduler": ("flow", Euler(), _SOME),
    "FlowMatchHeunDiscreteScheduler": ("flow", DPMSolverPP(), _FEW),
    "EDMEulerScheduler": ("edm", DDIM(), _SOME),
    "EDMDPMSolverMultistepScheduler": ("edm", DPMSolverPP(), _FEW),
}


def supported(scheduler: Any) -> str:
    """The class in `FAMILIES` that a scheduler is of, or inherits from.

    Raises:
        Unsupported: if there is none.
    """
    for kind in type(scheduler).__mro__:
        if kind.__name__ in FAMILIES:
            return kind.__name__
    raise Unsupported(
        f"{type(scheduler).__name__} is not a scheduler that sfumato-diffusers can read; it reads "
        f"{', '.join(FAMILIES)}. Give Model.denoiser a Convention of your own, or one of these "
        "with the noise that the network was trained on"
    )


def convention(scheduler: Any) -> Convention:
    """Process, clock and prediction from a scheduler of diffusers.

    The table of alpha is their own, float32, since the network was trained with it; our time of
    its index i is (i + 1)/T, and log alpha is linear between.

    Raises:
        Unsupported: for a scheduler or an option that has no process here.
        InputError: for options that contradict each other.
    """
    name = supported(scheduler)
    kind, sampler, steps = FAMILIES[name]
    config = scheduler.config
    count = int(config.num_train_timesteps)
    common: dict[str, Any] = {"sampler": sampler, "steps": steps or count, "limit": _limit(config)}
    if kind == "flow":
        return _flow(config, name, "flow", common)
    if kind == "edm":
        signs = {"epsilon": 1.0, "v_prediction": -1.0}
        return Convention(
            Gaussian(EDM(float(config.sigma_max))),
            Quarter(),
            "edm",
            sign=signs[_prediction(config, name, signs)],
            sigma_data=float(config.sigma_data),
            **common,
        )
    predict = _PREDICTIONS[_prediction(config, name, _PREDICTIONS)]
    if config.get("use_flow_sigmas"):
        return _flow(config, name, predict, common)
    if predict == "flow":
        raise InputError(
            f"{name}: prediction_type 'flow_prediction' needs use_flow_sigmas=True; without it the "
            "noise is that of a chain of betas, for which a flow is not defined"
        )
    if config.get("timestep_type") == "continuous" and predict == "v":
        top = config.get("sigma_max") or float(scheduler.sigmas.max())
        return Convention(Gaussian(EDM(float(top))), Quarter(), predict, **common)
    alpha_bar = scheduler.alphas_cumprod
    if predict == "eps" and float(alpha_bar[-1]) == 0:
        raise InputError(
            f"{name}: with rescale_betas_zero_snr the last state is pure noise, of which a "
            "network that predicts the noise says nothing; use prediction_type 'v_prediction' or "
            "'sample'"
        )
    return Convention(Gaussian(schedule(alpha_bar)), Indices(alpha_bar), predict, **common)


def _flow(config: Any, name: str, predict: Prediction, common: dict[str, Any]) -> Convention:
    if config.get("invert_sigmas"):
        raise Unsupported(
            f"{name}: invert_sigmas runs time from data to noise, which has no process here"
        )
    if predict != "flow":
        raise Unsupported(
            f"{name}: use_flow_sigmas with prediction_type {config.prediction_type!r} is not read; "
            "accepted is 'flow_prediction'"
        )
    clock = Share(int(config.num_train_timesteps))
    return Convention(Gaussian(Linear()), clock, "flow", **common)


def _prediction(config: Any, name: str, known: Mapping[str, Any]) -> str:
    found = config.get("prediction_type", "epsilon")
    if found not in known:
        raise Unsupported(
            f"{name}: prediction_type {found!r} is not read; accepted are {', '.join(known)}"
        )
    return str(found)


def _limit(config: Any) -> Callable[[Tensor], Tensor] | None:
    if config.get("thresholding"):
        return Quantile(config.dynamic_thresholding_ratio, config.sample_max_value)
    if config.get("clip_sample"):
        return Clip(float(config.get("clip_sample_range", 1.0)))
    return None
