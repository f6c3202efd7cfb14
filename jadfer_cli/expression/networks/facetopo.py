"""FaceTopoNet: landmarks walked along a learned tree (Kolahdouzi et al. 2022, arXiv 2209.06322).

Landmarks are the nodes of a tree that is learned: a symmetric matrix W of link strengths, of which
the spanning tree is taken, and walked from the nose tip in preorder. One LSTM reads the positions
of the landmarks in that order (structure), another what the face shows there (texture). A
landmark's embedding is multiplied by sigmoid(W) of the link to its parent, which trains W.
Attention weighs the two streams.

A reconstruction: of the paper only the abstract was at hand, which names the parts. Chosen here:
the maximum spanning tree, so that strong links stay (`tree = "minimum"` is the other choice);
children in the order of their links, strongest first; all sizes. Different here: the paper takes
positions from a landmark detector. Networks of this program see crops only, so a small head
predicts 36 landmarks from the stem's fine map. In training it is supervised by the meshes of
MediaPipe's face landmarker, and the gradient of the scores does not reach it. Texture is the
stem's fine map sampled at the predicted positions, in place of patches of the image.

`tree = "random"` is a control: a tree that is drawn once and never learned.

Shapes: B crops, N landmarks, C' channels of the fine map of H' x W', d units, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from jadfer_cli.expression.networks.base import Network, NetworkConfig, NetworkKind, Output

TREES = ("maximum", "minimum", "random")


@dataclass(frozen=True)
class FacetopoConfig(NetworkConfig):
    """Everything that rebuilds the network.

    Raises:
        ValueError: A value is unknown or out of range.
    """

    landmarks: int = 36  # N
    root: int = 29  # the nose tip, as `training.recipes.facetopo` orders the landmarks
    hidden: int = 64  # of the head that predicts positions
    width: int = 64  # d, of embeddings and LSTMs
    tree: str = "maximum"  # one of TREES
    tree_seed: int = 0  # of the random tree
    dropout: float = 0.2  # before the classifier

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("landmarks", "hidden", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.root < self.landmarks:
            raise ValueError(f"root must be a landmark below {self.landmarks}, got {self.root}")
        if self.tree not in TREES:
            raise ValueError(f"tree must be one of {TREES}, got {self.tree!r}")
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"dropout must lie between 0 and 1, got {self.dropout}")


def spanning_tree(strength: npt.NDArray[np.floating], *, maximum: bool) -> npt.NDArray[np.bool_]:
    """The links of the spanning tree of a complete graph, symmetric bool (N, N).

    Args:
        strength: Symmetric (N, N); the diagonal does not count.
        maximum: Whether the sum of the links is greatest or least.
    """
    from scipy.sparse.csgraph import minimum_spanning_tree

    cost = -strength.astype(np.float64) if maximum else strength.astype(np.float64)
    # SciPy takes zero for no link; a constant on all links leaves the tree as it is
    cost = cost - cost.min() + 1
    links = minimum_spanning_tree(cost).toarray() > 0
    tree: npt.NDArray[np.bool_] = links | links.T
    return tree


def preorder(
    tree: npt.NDArray[np.bool_], strength: npt.NDArray[np.floating], root: int
) -> tuple[list[int], list[int]]:
    """Walks a tree, each node before its children, children with stronger links first.

    Args:
        tree: Its links, symmetric (N, N).
        strength: Symmetric (N, N).
        root: Where the walk begins.

    Returns:
        The N nodes in order, and the parent of each of them; the root is its own.
    """
    order, parents, waiting = [], [], [(root, root)]
    while waiting:
        node, parent = waiting.pop()
        order.append(node)
        parents.append(parent)
        children = [c for c in np.flatnonzero(tree[node]).tolist() if c != parent]
        # the strongest is pushed last, so it is popped first
        waiting += [(c, node) for c in sorted(children, key=lambda c: strength[node, c])]
    return order, parents


def sampled(features: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Features at positions, interpolated between cells; the border's beyond their centres.

    Equal to PyTorch's `grid_sample` with border padding, in operations that also run in half
    precision on a CPU.

    Args:
        features: (B, C, H, W).
        positions: (B, N, 2), x and y in units of the map's sides.

    Returns:
        (B, N, C).
    """

    def shares(at: torch.Tensor, cells: int) -> torch.Tensor:
        """How much each cell counts, (B, N, cells)."""
        steps = torch.arange(cells, device=at.device, dtype=at.dtype)
        place = (at * cells - 0.5).clamp(0, cells - 1)  # in cells, 0 at the first one's centre
        return (1 - (place[..., None] - steps).abs()).clamp_min(0)

    height, width = features.shape[2:]
    rows, columns = shares(positions[..., 1], height), shares(positions[..., 0], width)
    weights = rows[..., :, None] * columns[..., None, :]  # (B, N, H, W)
    return weights.flatten(2) @ features.flatten(2).transpose(1, 2)


class Positions(nn.Module):
    """Predicts landmarks: the mean place under one map of weights each (soft argmax).

    Args:
        channels: Of the features.
        hidden: Channels between.
        landmarks: N.
    """

    def __init__(self, channels: int, hidden: int, landmarks: int) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, landmarks, 1),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Positions (B, N, 2), x and y in units of the map's sides, of features (B, C, H, W)."""
        height, width = features.shape[2:]
        weights = self.maps(features).float().flatten(2).softmax(-1)  # (B, N, HW)
        y, x = torch.meshgrid(
            (torch.arange(height, device=features.device) + 0.5) / height,
            (torch.arange(width, device=features.device) + 0.5) / width,
            indexing="ij",
        )
        places = torch.stack([x, y], -1).flatten(0, 1).to(weights)  # (HW, 2)
        positions: torch.Tensor = weights @ places
        return positions


class Facetopo(Network):
    """The network.

    Args:
        config: Sizes, and how the tree is made.
    """

    config: FacetopoConfig

    def __init__(self, config: FacetopoConfig) -> None:
        super().__init__(config)
        self.stem.end_at_fine()
        n, d = config.landmarks, config.width
        self.positions = Positions(self.stem.fine_channels, config.hidden, n)
        self.links = nn.Parameter(torch.randn(n, n))
        self.embed_structure = nn.Linear(2, d)
        self.embed_texture = nn.Linear(self.stem.fine_channels, d)
        self.structure = nn.LSTM(d, d, batch_first=True)
        self.texture = nn.LSTM(d, d, batch_first=True)
        self.attention = nn.Sequential(nn.Linear(d, d), nn.Tanh(), nn.Linear(d, 1))
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(d, config.n_classes)

    @property
    def strength(self) -> torch.Tensor:
        """W (N, N), symmetric."""
        return (self.links + self.links.T) / 2

    def walk(self) -> tuple[list[int], list[int]]:
        """The landmarks in the order of the walk, and their parents, as of `preorder`."""
        learned = self.strength.detach().float().cpu().numpy()
        if self.config.tree == "random":
            drawn = np.random.default_rng(self.config.tree_seed).normal(size=learned.shape)
            strength = drawn + drawn.T
        else:
            strength = learned
        tree = spanning_tree(strength, maximum=self.config.tree != "minimum")
        return preorder(tree, strength, self.config.root)

    def score(self, fine: torch.Tensor) -> Output:
        """Scores faces by the stem's fine map.

        Returns:
            Logits (B, K); "positions" (B, N, 2) of the landmarks, in units of the crop's side;
            "crop_px", that side.
        """
        positions = self.positions(fine)  # (B, N, 2)
        at = positions.detach()
        order, parents = self.walk()
        gates = self.strength[parents[1:], order[1:]].sigmoid()  # (N - 1,)
        gates = torch.cat([gates.new_ones(1), gates])[:, None]  # the root has no link above it
        structure = self.embed_structure(at - 0.5)[:, order] * gates  # (B, N, d)
        texture = self.embed_texture(sampled(fine, at.to(fine)))[:, order] * gates
        # oneDNN has no LSTM in bfloat16 on processors without its instructions
        with torch.autocast(fine.device.type, enabled=False):
            last = [
                branch(walked.float())[0][:, -1]
                for branch, walked in ((self.structure, structure), (self.texture, texture))
            ]
        ends = torch.stack(last, 1)  # (B, 2, d)
        shares = self.attention(ends).softmax(1)  # (B, 2, 1)
        logits = self.classifier(self.dropout((shares * ends).sum(1)))
        side = positions.new_tensor(self.config.crop_px)
        return Output(logits, {"positions": positions, "crop_px": side})


NETWORK = NetworkKind(
    title="FaceTopoNet",
    source="a reconstruction from the abstract, on predicted landmarks",
    citation="""@misc{Kolahdouzi2022,
  author = {Kolahdouzi, Mojtaba and Sepas-Moghaddam, Alireza and Etemad, Ali},
  title  = {{FaceTopoNet}: Facial Expression Recognition using Face Topology Learning},
  year   = {2022},
  note   = {arXiv:2209.06322}
}""",
    config=FacetopoConfig,
    build=Facetopo,
    tunable=("dropout",),
)
