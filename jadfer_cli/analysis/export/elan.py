"""ELAN annotation files (.eaf), by pympi-ling."""

from __future__ import annotations

import datetime
import os
import xml.etree.ElementTree as etree
from pathlib import Path
from typing import Any

from pympi.Elan import Eaf, to_adocument

from jadfer_cli._version import __version__
from jadfer_cli.analysis.events import EventSet, settings
from jadfer_cli.analysis.export.tiers import tiers
from jadfer_cli.common import atomic_write

_VOCABULARY, _TYPE = "jadfer expressions", "expression"
# the media types that ELAN itself writes
_MEDIA = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mpg": "video/mpeg",
    ".mpeg": "video/mpeg",
    ".mov": "video/quicktime",
}
_ENGLISH = "eng"


def write(found: EventSet, out: Path) -> None:
    """Writes the events of one result as an ELAN file, whole or not at all.

    Times are ms from the first picture. The video is linked by its absolute path and by that
    from the file's folder, so that both may be moved together.

    Raises:
        OutputError: It cannot be written.
    """
    eaf = Eaf(author=f"jadfer {__version__}")
    eaf.remove_tier("default")
    eaf.remove_linguistic_type("default-lt")
    eaf.adocument["DATE"] = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    eaf.header = {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"}
    _link(eaf, found, out)
    eaf.add_linguistic_type(_TYPE)
    eaf.linguistic_types[_TYPE]["CONTROLLED_VOCABULARY_REF"] = _VOCABULARY
    eaf.add_language(_ENGLISH, "http://cdb.iso.org/lg/CDB-00138502-001", "English (eng)")
    eaf.add_controlled_vocabulary(_VOCABULARY)
    eaf.add_cv_description(_VOCABULARY, _ENGLISH, "Expressions that the model tells apart")
    for label in found.result.labels:
        eaf.add_cv_entry(_VOCABULARY, f"cve_{label}", [(label, _ENGLISH, None)])
    for tier in tiers(found):
        eaf.add_tier(tier.name, ling=_TYPE, part=tier.subject or None)
        for span in tier.spans:
            eaf.add_annotation(tier.name, span.start_ms, span.end_ms, span.label)
    _order_times(eaf)
    eaf.properties = [("lastUsedAnnotationId", eaf.maxaid)]
    eaf.properties += [(f"jadfer:{key}", _text(value)) for key, value in settings(found).items()]
    with atomic_write(out) as part:
        # pympi's own writing would rename a file that a killed run left under this name
        tree = etree.ElementTree(to_adocument(eaf))
        tree.write(part, encoding="UTF-8", xml_declaration=True)


def _link(eaf: Any, found: EventSet, out: Path) -> None:
    video = _video_file(found)
    # as ELAN writes them: nothing is escaped, and a relative path begins with ./ or ../
    url = "file:///" + video.as_posix().lstrip("/")
    try:
        relative = Path(os.path.relpath(video, out.absolute().parent)).as_posix()
    except ValueError:  # on another drive
        relative = None
    if relative is not None and not relative.startswith("../"):
        relative = f"./{relative}"
    eaf.add_linked_file(url, relative, _MEDIA.get(video.suffix.lower(), "video/*"))


def _video_file(found: EventSet) -> Path:
    """The video's absolute path: as given, seen from here or from the result; or beside it."""
    given, folder = Path(found.video), found.result.path.absolute().parent
    for path in (given, folder / given, folder / given.name):
        if path.is_file():
            return Path(os.path.abspath(path))
    return Path(os.path.abspath(given))  # ELAN asks for it


def _order_times(eaf: Any) -> None:
    """Numbers the time slots by their time, as the format wants them; pympi by their making."""
    old = sorted(eaf.timeslots, key=lambda slot: (eaf.timeslots[slot], int(slot[2:])))
    new = {slot: f"ts{i}" for i, slot in enumerate(old, 1)}
    eaf.timeslots = {new[slot]: eaf.timeslots[slot] for slot in old}
    for aligned, *_ in eaf.tiers.values():
        for key, (start, end, *rest) in aligned.items():
            aligned[key] = (new[start], new[end], *rest)


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
