"""Sampling jobs: many samples, in shards, by any number of processes; see SCALE.md."""

from __future__ import annotations

__all__ = ["Asked", "Job", "job_batches", "open_job", "sample_job"]

from .shards import Asked, Job, job_batches, open_job
from .workers import sample_job
