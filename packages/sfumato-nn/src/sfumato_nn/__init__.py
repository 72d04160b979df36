"""Networks shared by the domains of sfumato; empty on purpose, so that it loads no torch.

Start from :mod:`sfumato_nn.sizes`: ``unet("tiny", channels=1)``, ``dit("small", channels=4)``.
"""

from __future__ import annotations

__all__: list[str] = []
