"""A masked diffusion model of sfumato as a model of transformers.

`sfumato export` puts this file beside the weights, from where `from_pretrained` runs it with
`trust_remote_code=True`; it needs sfumato-language installed.
"""

from __future__ import annotations

__all__ = ["SfumatoConfig", "SfumatoForMaskedLM"]

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import MaskedLMOutput

from sfumato import Padded, registry


class SfumatoConfig(PretrainedConfig):  # type: ignore[misc]
    """Names a registered network and one of its sizes."""

    model_type = "sfumato_tokens"

    def __init__(
        self, network: str = "tokens", network_size: str = "tiny", vocab_size: int = 2, **more: Any
    ) -> None:
        self.network, self.network_size, self.vocab_size = network, network_size, vocab_size
        super().__init__(**more)


class SfumatoForMaskedLM(PreTrainedModel):  # type: ignore[misc]
    """Logits (B, L, K) of the token at each place, those of the mask and its like included."""

    config_class = SfumatoConfig

    def __init__(self, config: SfumatoConfig) -> None:
        super().__init__(config)
        make = registry().load("network", config.network)
        self.net: nn.Module = make(config.network_size, vocabulary=config.vocab_size, time=False)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Weights come from the file."""

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **_: Any
    ) -> MaskedLMOutput:
        """Logits of ids (B, L); where `attention_mask` is 0 nothing is read."""
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        clock = torch.zeros(len(input_ids), device=input_ids.device)  # not looked at
        return MaskedLMOutput(logits=self.net(Padded(input_ids, real.bool()), clock).data)
