"""Low-rank adapters in models of others, through peft.

Hu et al. 2021, arXiv:2106.09685: the weights stay as they are, and to each matrix of a linear layer
a product B A of rank r is added, which alone is trained.
"""

from __future__ import annotations

__all__ = ["adapted"]

from torch import nn

from sfumato import InputError


def adapted(inner: nn.Module, rank: int) -> nn.Module:
    """A model of transformers with adapters in all its linear layers but the last, in its place.

    At first they change nothing, B being zero.

    Args:
        inner: a `PreTrainedModel`, or another whose last linear layer is its head; its own weights
            are frozen.
        rank: r, at least 1.

    Raises:
        InputError: if peft is missing, or finds no layer to adapt.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise InputError("adapters need peft: pip install 'sfumato-language[lora]'") from None
    inner.requires_grad_(False)
    layers = [name for name, part in inner.named_modules() if isinstance(part, nn.Linear)]
    chosen = "all-linear" if hasattr(inner, "get_output_embeddings") else layers[:-1]
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=chosen)
    try:
        found: nn.Module = inject_adapter_in_model(config, inner)
    except ValueError as error:
        raise InputError(f"this model takes no adapters: {error}") from None
    return found
