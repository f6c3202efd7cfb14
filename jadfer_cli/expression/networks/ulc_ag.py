"""ULC-AG: uncertain label correction by a graph of action units (Liu et al. 2022).

arXiv 2204.11053; `ulc.py` describes the network. Its nodes are the 18 action units of
`training.actions`. A reconstruction from the abstract.
"""

from __future__ import annotations

from dataclasses import dataclass

from jadfer_cli.expression.networks.base import NetworkKind
from jadfer_cli.expression.networks.ulc import Ulc, UlcConfig


@dataclass(frozen=True)
class UlcAgConfig(UlcConfig):
    """Everything that rebuilds the network."""

    nodes: int = 18  # action units


NETWORK = NetworkKind(
    title="ULC-AG",
    source="a reconstruction from the abstract and the public code of SCN",
    citation="""@inproceedings{Liu2022ulcag,
  author    = {Liu, Yang and Zhang, Xingming and Kauttonen, Janne and Zhao, Guoying},
  title     = {Uncertain Label Correction via Auxiliary Action Unit Graphs for Facial Expression
               Recognition},
  booktitle = {26th International Conference on Pattern Recognition},
  year      = {2022},
  doi       = {10.1109/ICPR56361.2022.9956650},
  note      = {arXiv:2204.11053}
}""",
    config=UlcAgConfig,
    build=Ulc,
    tunable=("dropout",),
)
