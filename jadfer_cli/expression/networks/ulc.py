"""What the networks of uncertain label correction share: confidence, and a graph branch.

Uncertain label correction (ULC-AG: Liu et al. 2022, arXiv 2204.11053) trains two branches on the
stem's pooled feature. The target branch gives logits, weighted by the face's confidence:

    alpha = sigmoid(w x + b),    logits = alpha * fc(x)

as in the public code of SCN (Wang et al. 2020, kaiwang960112/Self-Cure-Network). The auxiliary
branch reads off the feature one vector for each node of a graph, passes them through two graph
convolutions (Kipf and Welling 2017, arXiv 1609.02907) over a fixed graph that `set_graph` takes
from the training set, and predicts for each node whether it is active. All node vectors of a face
together are its semantic feature. For each class the network keeps a template, a moving mean of
the semantic features of confident training faces; a recipe's `relabel` updates it.

A reconstruction: of the papers only the abstracts were at hand. Scoring uses the target branch
alone.

Shapes: B faces, C stem channels, K classes, N nodes of width d.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from jadfer_cli.expression.networks.base import Network, NetworkConfig, Output


@dataclass(frozen=True)
class UlcConfig(NetworkConfig):
    """Everything that rebuilds the network; each network has its number of nodes.

    Raises:
        ValueError: A value is unknown or out of range.
    """

    nodes: int = 8  # N
    node_width: int = 16  # d
    dropout: float = 0.2  # before the target branch

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("nodes", "node_width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"dropout must lie between 0 and 1, got {self.dropout}")


class GraphConvolution(nn.Module):
    """A (H W + b) for node features H and a row-normalised graph A."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, nodes: torch.Tensor, graph: torch.Tensor) -> torch.Tensor:
        """Maps (B, N, d) to (B, N, d) over a graph (N, N)."""
        y: torch.Tensor = graph @ self.linear(nodes)
        return y


class Ulc(Network):
    """Target branch, confidence, graph branch and templates.

    Args:
        config: Sizes and dropout.
    """

    config: UlcConfig
    graph: torch.Tensor
    templates: torch.Tensor

    def __init__(self, config: UlcConfig) -> None:
        super().__init__(config)
        channels, n, d = self.stem.channels, config.nodes, config.node_width
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(channels, config.n_classes)
        self.confidence = nn.Linear(channels, 1)
        self.to_nodes = nn.Linear(channels, n * d)
        self.convolutions = nn.ModuleList([GraphConvolution(d), GraphConvolution(d)])
        self.activity = nn.Parameter(torch.randn(n, d) * d**-0.5)  # one classifier per node
        self.activity_bias = nn.Parameter(torch.zeros(n))
        self.register_buffer("graph", torch.eye(n))  # rows sum to 1
        # zeros for a class of which no confident face has been seen
        self.register_buffer("templates", torch.zeros(config.n_classes, n * d))

    def set_graph(self, conditional: torch.Tensor) -> None:
        """Sets the graph from conditional probabilities (N, N), entry (i, j) being P(j | i).

        Every node is its own neighbour, and rows are normalised to sum 1.

        Raises:
            ValueError: The shape is another.
        """
        if conditional.shape != self.graph.shape:
            raise ValueError(
                f"the graph must be {tuple(self.graph.shape)}, got {tuple(conditional.shape)}"
            )
        linked = conditional.to(self.graph)
        linked = linked - linked.diag().diag() + torch.eye(len(linked), device=linked.device)
        self.graph.copy_(linked / linked.sum(1, keepdim=True))

    def score(self, fine: torch.Tensor) -> Output:
        """Scores faces by the stem's fine map.

        Returns:
            Logits (B, K); in training also "alpha" (B,), confidence; "activity" (B, N), logits of
            the nodes; "semantic" (B, N d), semantic features; and "templates" (K, N d), the
            network's own buffer.
        """
        return self._score(self.stem.coarse(fine).mean((2, 3)))  # (B, C)

    def _score(self, pooled: torch.Tensor) -> Output:
        alpha = self.confidence(pooled).sigmoid()  # (B, 1)
        logits = alpha * self.classifier(self.dropout(pooled))
        if not self.training:
            return Output(logits)
        shape = (-1, self.config.nodes, self.config.node_width)
        nodes = self.to_nodes(pooled).reshape(shape)  # (B, N, d)
        first, second = self.convolutions
        nodes = second(first(nodes, self.graph).relu(), self.graph)
        activity = (nodes * self.activity).sum(-1) + self.activity_bias  # (B, N)
        return Output(
            logits,
            {
                "alpha": alpha[:, 0], "activity": activity, "semantic": nodes.flatten(1),
                "templates": self.templates,
            },
        )  # fmt: skip
