"""Agreement with coders as a figure: confusion, and kappa by class with intervals."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jadfer_cli.analysis.agreement.pairs import ALL, FRAME, Pair
from jadfer_cli.analysis.agreement.ratings import MACHINE
from jadfer_cli.analysis.plots.colours import COLOURS
from jadfer_cli.common import atomic_write
from jadfer_cli.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDINGS = (".png", ".svg", ".pdf")
_STYLE: Any = {
    "font.size": 8.0,
    "axes.linewidth": 0.6,
    "pdf.fonttype": 42,
    "svg.hashsalt": "jadfer",
}
_MACHINE, _HUMAN = COLOURS["sadness"], COLOURS["anger"]  # blue and orange-red of Okabe and Ito
_DARK = 0.6  # shares above it are written in white


def write(main: Pair, human: Pair | None, classes: Sequence[str], out: Path) -> None:
    """Draw the figure into a file, atomically; the suffix decides the format.

    Left, the confusion of coders (rows) and machine (columns), as shares of each row. Right,
    kappa over all classes and of each class against the rest, with the 95 % interval over clips
    (thin) and over blocks of time (thick).

    Args:
        main: Coders and machine.
        human: Coders among each other; None for one coder.
        classes: The K classes.
        out: Ends in one of ENDINGS.

    Raises:
        OutputError: The file cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    used = [k for k in range(len(classes)) if main.confusion[k].any() or main.confusion[:, k].any()]
    kind = out.suffix[1:]
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with atomic_write(out) as part, rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        figure = Figure(figsize=(7.2, 1.4 + 0.27 * max(len(used), 4)), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
        _confusion(left, main, [classes[k] for k in used], used)
        _forest(right, main, human, [classes[k] for k in used])
        figure.savefig(part, dpi=200, format=kind, metadata=metadata)


def _confusion(panel: Axes, pair: Pair, names: Sequence[str], used: Sequence[int]) -> None:
    counts = pair.confusion[np.ix_(used, used)]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            if counts[i].sum():
                panel.text(
                    j, i, f"{share:.0%}".removesuffix("%"), ha="center", va="center", size=7,
                    color="white" if share > _DARK else "black",
                )  # fmt: skip
    labels = [one_line(name) for name in names]
    panel.set_xticks(range(len(names)), labels, rotation=40, ha="right", parse_math=False)
    panel.set_yticks(range(len(names)), labels, parse_math=False)
    panel.set_xlabel(pair.b)
    panel.set_ylabel(one_line(pair.a), parse_math=False)
    panel.set_title(f"Per cent of the time of each row ({pair.n_clips} clips)", size=8, loc="left")


def _forest(panel: Axes, main: Pair, human: Pair | None, names: Sequence[str]) -> None:
    rows = [ALL, *names]
    pairs = [(main, _MACHINE, f"{one_line(main.a)} and {MACHINE}")]
    if human is not None:
        label = "coders among each other" if human.a == human.b else f"{human.a} and {human.b}"
        pairs.append((human, _HUMAN, one_line(label)))
    for number, (pair, colour, label) in enumerate(pairs):
        shift = 0.16 * (2 * number - 1) if human is not None else 0.0
        for row, cls in enumerate(rows):
            found = pair.find(FRAME, "kappa", cls)
            at = row + shift
            for ends, width in ((found.clips, 1.0), (found.blocks, 2.8)):
                if np.isfinite(ends).all():
                    panel.plot(ends, (at, at), color=colour, lw=width, solid_capstyle="butt")
            if np.isfinite(found.value):
                name = label if cls == ALL else "_"
                panel.plot(found.value, at, "o", color=colour, ms=4, label=name, clip_on=False)
    panel.set_yticks(range(len(rows)), ["all classes", *map(one_line, names)], parse_math=False)
    panel.set_ylim(len(rows) - 0.5, -0.5)
    low = min(panel.get_xlim()[0], 0.0)
    panel.set_xlim(max(low, -1.0), 1.0)
    panel.axvline(0, color="#8C8C8C", lw=0.6, zorder=0)
    panel.axhline(0.5, color="#E9E9E9", lw=0.8, zorder=0)
    panel.spines[["top", "right"]].set_visible(False)
    panel.set_xlabel("Cohen's kappa; 95% intervals:\nthick over blocks of time, thin over clips")
    if human is not None:
        legend = panel.legend(
            frameon=False, fontsize=7, loc="lower left", bbox_to_anchor=(0, 1), ncols=2
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
