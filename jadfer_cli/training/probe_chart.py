"""A picture of spatial maps: each path's mean, and its maps on twelve faces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from jadfer_cli.training.probes import Probed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def probe_chart(found: Probed, title: str) -> Figure:
    """Draws one row a path: its mean map, then its map over each face.

    Every map has a colour scale of its own, from its least to its greatest value.
    """
    from matplotlib.figure import Figure

    n_paths, n_faces = len(found.mean_maps), len(found.examples_rgb)
    figure = Figure(figsize=(0.8 * (n_faces + 2), 0.85 * (n_paths + 1) + 0.8), layout="constrained")
    grid = figure.subplots(n_paths + 1, n_faces + 1, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    grid[0, 0].text(0.5, 0.1, "mean map", ha="center", fontsize=8)
    for column in range(n_faces):
        grid[0, column + 1].imshow(found.examples_rgb[column])
    for path in range(n_paths):
        share = found.figures["maps"]["image_share"][path]
        _draw(grid[path + 1, 0], found.mean_maps[path])
        grid[path + 1, 0].text(
            -0.15, 0.5, f"path {path + 1}\n{share:.0%} by image", fontsize=7, ha="right",
            va="center", transform=grid[path + 1, 0].transAxes,
        )  # fmt: skip
        for column in range(n_faces):
            _draw(grid[path + 1, column + 1], found.example_maps[column, path],
                  found.examples_rgb[column])  # fmt: skip
    figure.suptitle(title, fontsize=9)
    return figure


def _draw(
    axes: Axes,
    values: npt.NDArray[np.floating],
    face_rgb: npt.NDArray[np.uint8] | None = None,
) -> None:
    """Draws a map, over a pale face if one is given."""
    side = 1.0
    extent = (0.0, side, side, 0.0)
    if face_rgb is not None:
        axes.imshow(face_rgb.mean(2), cmap="gray", extent=extent)
    axes.imshow(values, cmap="viridis", extent=extent, alpha=1.0 if face_rgb is None else 0.6)
