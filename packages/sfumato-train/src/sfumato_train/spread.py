"""Tensors that are spread over processes, as folders of safetensors.

Written and read by torch's distributed checkpoints with their safetensors storage, in which nothing
is pickled: each process writes what it holds, and any number of processes reads what it needs.
"""

from __future__ import annotations

__all__ = ["load", "read", "save", "shapes", "share"]

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load as fill
from torch.distributed.checkpoint.state_dict_saver import save as write
from torch.distributed.tensor import DTensor, distribute_tensor

from .files import sync


def save(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Write tensors; called by all processes, each of which writes its share."""
    own = {name: value.detach() for name, value in tensors.items()}
    with _quietly():
        writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
        write(own, storage_writer=writer)
    for path in folder.glob("*.safetensors"):
        sync(path)


def shapes(folder: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Shape and dtype of each tensor in a folder."""
    entries = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    return {
        name: (entry.size, entry.properties.dtype)
        for name, entry in entries.items()
        if isinstance(entry, TensorStorageMetadata)
    }


@torch.no_grad()
def load(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Fill tensors that are spread over processes; called by all of them."""
    with _quietly():
        fill(
            {name: value.detach() for name, value in tensors.items()},
            storage_reader=HuggingFaceStorageReader(str(folder)),
        )


@torch.no_grad()
def share(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Fill tensors that are spread over processes from whole ones, which every process has."""
    for name, target in tensors.items():
        value = values[name].to(target.device)
        if isinstance(target, DTensor):
            place = (target.device_mesh, target.placements)
            value = distribute_tensor(value, *place, src_data_rank=None)
        target.copy_(value)


def read(folder: Path) -> dict[str, Tensor]:
    """The whole tensors, on the CPU of this process; the others need not take part."""
    found = {name: torch.empty(size, dtype=dtype) for name, (size, dtype) in shapes(folder).items()}
    with _quietly():
        reader = HuggingFaceStorageReader(str(folder))
        fill(found, storage_reader=reader, no_dist=True)
    return found


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the remarks of torch that one process is enough, and on what it writes."""
    log = logging.getLogger("torch.distributed.checkpoint")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
