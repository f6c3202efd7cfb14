"""Codes from annotation files of ELAN, read with pympi-ling."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from jadfer_cli.analysis.agreement.codes import ONE_CODER, Code, CodeSet
from jadfer_cli.errors import CodesError


@dataclass(frozen=True)
class TierChoice:
    """Which tiers are read, and whether they name the coders.

    Attributes:
        patterns: Tiers whose name fits one of these patterns are read; all if empty.
        named_by_tier: Take the tier's name for that of the coder.
    """

    patterns: tuple[str, ...] = ()
    named_by_tier: bool = False

    def takes(self, tier: str) -> bool:
        """Whether a tier is read."""
        return not self.patterns or any(fnmatch.fnmatchcase(tier, p) for p in self.patterns)


def hint(choice: TierChoice) -> str | None:
    """What to do if no tier was found."""
    return (
        f"No tier of ELAN fits {', '.join(choice.patterns)}; names are case-sensitive, and * "
        "stands for any letters."
        if choice.patterns
        else None
    )


def read(path: Path, choice: TierChoice) -> CodeSet:
    """Read the tiers of one file.

    The clip is the linked video, or else the name of the file. A tier names its coder
    (annotator) and the coded person (participant); without an annotator, the document's author
    is the coder. An annotation without text has the label of its tier, as in tiers for one
    expression each. A tier without annotations counts as coded. A media offset, by which ELAN
    leaves out the begin of a video (TIME_ORIGIN), is added to the times.

    Raises:
        CodesError: The file is not one of ELAN.
    """
    document = _open(path)
    clip, offset_ms = _clip(document, path)
    codes, coded = [], set()
    for name in document.get_tier_names():
        if not choice.takes(name):
            continue
        attributes = document.get_parameters_for_tier(name)
        coder = name if choice.named_by_tier else _coder(document, attributes)
        coded.add((clip, coder))
        for start_ms, end_ms, text in _annotations(document, name, path):
            codes.append(
                Code(
                    clip, coder, (attributes.get("PARTICIPANT") or "").strip(),
                    (start_ms + offset_ms) / 1000, (end_ms + offset_ms) / 1000,
                    text.strip() or name, f"{path}, tier {name}",
                )
            )  # fmt: skip
    return CodeSet(tuple(codes), frozenset(coded), (path,))


def _open(path: Path) -> Any:
    from pympi.Elan import Eaf

    try:
        return Eaf(str(path), suppress_version_warning=True)
    except Exception as error:  # pympi raises KeyError, ValueError and plain Exception
        raise CodesError(
            f"{path} cannot be read as an ELAN file ({type(error).__name__}: {error}).",
            "Open it in ELAN and save it again.",
        ) from error


def _annotations(document: Any, name: str, path: Path) -> list[tuple[float, float, str]]:
    """Start and end in ms, and text, of each annotation of a tier or of a dependent tier."""
    try:
        found = document.get_annotation_data_for_tier(name)
    except KeyError as error:
        raise CodesError(
            f"{path}: the tier {name} refers to an annotation that is missing ({error})."
        ) from error
    if any(start is None or end is None for start, end, *_ in found):
        raise CodesError(
            f"{path}: the tier {name} has annotations without a time.",
            "Give them times in ELAN, or leave the tier out with `tier`.",
        )
    return [(float(start), float(end), str(text or "")) for start, end, text, *_ in found]


def _coder(document: Any, attributes: Any) -> str:
    author = str(document.adocument.get("AUTHOR") or "").strip()
    return (attributes.get("ANNOTATOR") or "").strip() or author or ONE_CODER


def _clip(document: Any, path: Path) -> tuple[str, float]:
    """The clip, and how much of its begin ELAN leaves out, in ms."""
    for media in document.get_linked_files():
        url = media.get("RELATIVE_MEDIA_URL") or media.get("MEDIA_URL") or ""
        if url and not str(media.get("MIME_TYPE", "")).startswith("audio"):
            return unquote(url).removeprefix("file://"), float(media.get("TIME_ORIGIN") or 0)
    return path.stem, 0.0
