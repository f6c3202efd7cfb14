"""Everything that rebuilds a JADFER network, apart from its weights; needs no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

STEM_REDUCTIONS = {"mobilefacenet": 16, "ir50": 8}  # crop side over map side, of backbones.STEMS
STEM_NAMES = tuple(STEM_REDUCTIONS)
JAD_READINGS = ("none", "heads", "queries", "similar", "random")
BRANCHES = ("both", "context", "spatial", "pool")


@dataclass(frozen=True)
class JadferConfig:
    """Everything that rebuilds the network.

    Raises:
        ValueError: A value is unknown or sizes do not divide.
    """

    n_classes: int = 8  # K
    crop_px: int = 112  # S
    stem: str = "mobilefacenet"  # one of STEM_NAMES
    width: int = 256  # D
    heads: int = 8  # h
    paths: int = 4  # N, spatial paths
    map_hidden: int = 64  # channels inside each path's map
    context_layers: int = 2  # L_c
    interaction_layers: int = 2  # L_s
    mlp_ratio: float = 2.0
    dropout: float = 0.2  # in the head
    drop_path: float = 0.1  # chance that a face skips a block's attention or MLP
    jad: str = "heads"  # one of JAD_READINGS
    jad_p: float = 0.5  # chance that a sample's attention is dropped, in training only
    jad_rho: float = 0.1  # share of keys dropped for a query
    jad_tau: float = 0.9  # reading `similar`: heads this alike share their peaks
    branches: str = "both"  # one of BRANCHES; the others are for ablation
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)  # of RGB in [0, 1]
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("stem", self.stem, STEM_NAMES),
            ("jad", self.jad, JAD_READINGS),
            ("branches", self.branches, BRANCHES),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {value!r}")
        for name in ("n_classes", "width", "heads", "paths", "map_hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("context_layers", "interaction_layers", "mlp_ratio"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("dropout", "drop_path", "jad_p", "jad_rho"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        if self.crop_px < 32 or len(self.mean) != 3 or len(self.std) != 3:
            raise ValueError("crop_px must be at least 32; mean and std have three values")
        reduction = STEM_REDUCTIONS[self.stem]
        if self.crop_px % reduction:
            raise ValueError(
                f"crop_px must be a multiple of {reduction}, such as 96 or 112, got {self.crop_px}"
            )
        if self.width % self.heads or self.width % self.paths:
            raise ValueError(
                f"width {self.width} must divide by heads {self.heads} and paths {self.paths}"
            )
