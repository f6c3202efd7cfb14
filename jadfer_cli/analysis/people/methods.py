"""What a methods section says about people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

_HOW = {
    "references": "matched to the mean embeddings of reference pictures",
    "groups": "grouped by average linkage",
}
_SHA256_DIGITS = 12


def people_sentences(group: Sequence[dict[str, Any]], cite: Callable[[str], str]) -> Iterable[str]:
    """State how people were recognised, if they were; a sentence for each way.

    Args:
        group: Metadata of results.
        cite: Returns the citation of a BibTeX entry.
    """
    ways: dict[tuple[object, ...], int] = {}
    for people in (metadata["people"] for metadata in group if "people" in metadata):
        used = people["recogniser"]
        way = (
            used["name"], used["sha256"], used.get("citation"), people["method"],
            people["threshold"],
        )  # fmt: skip
        ways[way] = ways.get(way, 0) + 1
    for (name, sha256, citation, method, threshold), n in ways.items():
        cited = f"{cite(str(citation))}; " if citation else ""
        some = "" if n == len(group) else f" in {n:,} of {len(group):,} videos"
        yield (
            f"People were told apart{some} with the face recogniser {name} "
            f"({cited}SHA-256 {str(sha256)[:_SHA256_DIGITS]}): mean embeddings of parts of tracks "
            f"were {_HOW[str(method)]}, at a cosine of at least {threshold:g}."
        )
