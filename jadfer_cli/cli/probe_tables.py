"""The tables of `jadfer evaluate --probes`."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from jadfer_cli.cli.tables import figures, title


def probe_tables(found: dict[str, Any] | None) -> list[Table | Text]:
    """Returns what disturbing the network's parts costs, and what its maps show.

    Args:
        found: The figures of `training.probes.probe`; None for no tables.
    """
    if found is None:
        return []
    rows = [
        [
            name, f"{100 * f['accuracy']:.1f} %", f"{100 * f['accuracy_lost']:.1f}",
            f"{100 * f['mean_class_recall']:.1f} %", f"{100 * f['recall_lost']:.1f}",
            f"{100 * f['labels_changed']:.1f} %",
        ]
        for name, f in found["by_probe"].items()
    ]  # fmt: skip
    head = ["disturbed", "accuracy", "lost", "mean recall", "lost", "labels changed"]
    return [
        title(f"Probes: parts of the network disturbed, {found['protocol']}, n = {found['n']:,}"),
        figures(head, rows, right=range(1, len(head))),
        Text(
            "A part that can be disturbed at no cost contributes nothing. SB: the spatial branch. "
            "JAD: joint attention dropping, which acts only in training, forced on; random "
            "dropping takes as much attention. Recall is the mean over the expressions."
        ),
        *_context(found),
        *_maps(found["maps"]),
    ]


def _context(found: dict[str, Any]) -> list[Text]:
    context = found.get("context")
    if not context or not context["n"]:
        return []
    return [
        Text(
            f"With another face's context, {context['other']:.1%} of the predictions follow that "
            f"face, {context['own']:.1%} their own, {context['neither']:.1%} neither (n = "
            f"{context['n']:,} faces whose own prediction differs from the other's)."
        )
    ]


def _maps(maps: dict[str, Any]) -> list[Text]:
    shares = ", ".join(f"{share:.1%}" for share in maps["image_share"])
    texts = [f"Share of each map's variance that depends on the image, by path: {shares}."]
    if maps["overlap_of_means"] is not None:
        texts.append(
            f"Mean cosine between the maps of two paths: {maps['overlap_of_means']:.3f} between "
            f"their mean maps, {maps['overlap_of_rest']:.3f} between what depends on the image."
        )
    return [Text(text) for text in texts]
