"""Measures of a model: likelihood, geometry of trajectories, gauge and dimension, reproduction."""

from __future__ import annotations

from .likelihood import Likelihood, log_likelihood
from .traces import Exact, Hutchinson, HutchPP, divergence

__all__ = ["Exact", "HutchPP", "Hutchinson", "Likelihood", "divergence", "log_likelihood"]
