"""Charts of an evaluation: confusion matrix and reliability diagram, as PNG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.training.calibrate import N_BINS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 150
_BLUE, _RED, _GREY = "#30638e", "#c8553d", "#888888"


def confusion_chart(found: dict[str, Any], title: str) -> Figure:
    """Draws a confusion matrix: rows true, columns predicted, shade and percentage by row."""
    from matplotlib.figure import Figure

    counts = np.array(found["confusion"])
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    labels, k = found["labels"], len(counts)
    figure = Figure(figsize=(1.5 + 0.85 * k, 1.3 + 0.75 * k), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for i in range(k):
        for j in range(k):
            colour = "white" if shares[i, j] > 55 else "black" if counts[i, j] else _GREY
            axes.text(j, i, f"{shares[i, j]:.0f}\n({counts[i, j]})", ha="center", va="center",
                      color=colour, fontsize=8)  # fmt: skip
    rows = [f"{label} (n={n})" for label, n in zip(labels, counts.sum(1), strict=True)]
    axes.set_xticks(range(k), labels, rotation=35, ha="right")
    axes.set_yticks(range(k), rows)
    axes.set_xlabel("model's top expression")
    axes.set_ylabel("label")
    axes.set_title(title, fontsize=10)
    bar = figure.colorbar(image, ax=axes, shrink=0.7)
    bar.set_label("% of the label's images")
    return figure


def reliability_chart(
    before: npt.NDArray[np.floating],
    after: npt.NDArray[np.floating],
    classes: npt.NDArray[np.intp],
    temperature: float,
    ece: tuple[float, float],
    title: str,
) -> Figure:
    """Draws how often the top expression is right by its probability, before and after calibration.

    Args:
        before: (n, K), probabilities without temperature.
        after: (n, K), with it.
        classes: (n,), the true classes.
        temperature: Divides the logits.
        ece: Expected calibration error before and after.
        title: Title of the figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.4), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=[3, 1])
    names = (
        "before temperature scaling",
        f"after it, temperature {temperature:.3f}",
    )
    for column, (p, name) in enumerate(zip((before, after), names, strict=True)):
        upper = figure.add_subplot(grid[0, column])
        lower = figure.add_subplot(grid[1, column], sharex=upper)
        _reliability(upper, lower, p, classes)
        upper.set_title(f"{name}\nECE {ece[column]:.3f}", fontsize=10)
        if column == 0:
            upper.set_ylabel("fraction right")
            lower.set_ylabel("images")
        lower.set_xlabel("probability of the top expression")
    figure.suptitle(title, fontsize=10)
    return figure


def _reliability(
    upper: Axes, lower: Axes, p: npt.NDArray[np.floating], classes: npt.NDArray[np.intp]
) -> None:
    top, right = p.max(1), p.argmax(1) == classes
    bins = np.minimum((top * N_BINS).astype(int), N_BINS - 1)
    n = np.bincount(bins, minlength=N_BINS)
    present = n > 0
    accuracy = np.bincount(bins, right, N_BINS)[present] / n[present]
    confidence = np.bincount(bins, top, N_BINS)[present] / n[present]
    width = 1 / N_BINS
    centres = (np.arange(N_BINS) + 0.5) * width
    upper.bar(centres[present], accuracy, width * 0.92, color=_BLUE, label="fraction right")
    upper.plot(confidence, accuracy, "o", color=_RED, markersize=4, label="mean of the bin")
    upper.plot([0, 1], [0, 1], "--", color=_GREY, linewidth=1, label="perfect calibration")
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1.02)
    upper.legend(fontsize=7, loc="upper left")
    lower.bar(centres, n, width * 0.92, color=_GREY)


def write(figure: Figure, path: Path) -> None:
    """Writes a chart as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI)
