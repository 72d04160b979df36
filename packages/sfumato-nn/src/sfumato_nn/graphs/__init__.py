"""Graphs whose nodes and pairs of nodes have classes or numbers: their states and networks.

`state` says how a graph is stored, `features` what a network is told of its structure,
`transformer` is the network.
"""

from __future__ import annotations

__all__: list[str] = []
