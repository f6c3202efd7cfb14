"""A control for ULC-AG: the same network with a graph of the expressions themselves.

`ulc.py` describes the network. Its nodes are the 8 expressions, linked as the raters' votes for
one face combine them, so it needs no action units: what ULC-AG gains over it is due to those.
"""

from __future__ import annotations

from dataclasses import dataclass

from jadfer_cli.expression.networks.base import NetworkKind
from jadfer_cli.expression.networks.ulc import Ulc, UlcConfig


@dataclass(frozen=True)
class UlcVotesConfig(UlcConfig):
    """Everything that rebuilds the network.

    Raises:
        ValueError: A value is unknown or out of range.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nodes != self.n_classes:
            raise ValueError(f"nodes must be n_classes, {self.n_classes}, got {self.nodes}")


NETWORK = NetworkKind(
    title="label correction by co-votes",
    source="a control of this program for ULC-AG, without action units",
    citation="",
    config=UlcVotesConfig,
    build=Ulc,
    tunable=("dropout",),
)
