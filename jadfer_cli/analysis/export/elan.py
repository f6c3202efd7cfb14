"""ELAN annotation files, written with pympi-ling."""

from __future__ import annotations

import datetime
import os
import xml.etree.ElementTree as etree
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pympi.Elan import Eaf, to_adocument

from jadfer_cli._version import __version__
from jadfer_cli.analysis.export.base import Exporter
from jadfer_cli.analysis.export.tiers import tiers
from jadfer_cli.common import atomic_write
from jadfer_cli.text import xml_safe

if TYPE_CHECKING:
    from jadfer_cli.analysis.events import EventSet

_VOCABULARY, _TYPE = "jadfer expressions", "expression"
# the media types that ELAN itself writes
_MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mpg": "video/mpeg",
    ".mpeg": "video/mpeg",
    ".mov": "video/quicktime",
}
_ENGLISH = "eng"


def write(event_sets: Sequence[EventSet], out: Path) -> None:
    """Write the events of one result as an ELAN file.

    Times are in ms from the first picture. The video is linked by its absolute path and by the
    path from the file's folder, so that both files may be moved together.

    Raises:
        OutputError: The file cannot be written.
    """
    (events,) = event_sets
    eaf = Eaf(author=f"jadfer {__version__}")
    eaf.remove_tier("default")
    eaf.remove_linguistic_type("default-lt")
    eaf.adocument["DATE"] = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    eaf.header = {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"}
    _link_video(eaf, events, out)
    _add_vocabulary(eaf, events.result.labels)
    for tier in tiers(events):
        eaf.add_tier(tier.name, ling=_TYPE, part=tier.subject or None)
        for interval in tier.intervals:
            eaf.add_annotation(tier.name, interval.start_ms, interval.end_ms, interval.label)
    _sort_time_slots(eaf)
    eaf.properties = [("lastUsedAnnotationId", eaf.maxaid)]
    eaf.properties += [(f"jadfer:{key}", _text(value)) for key, value in events.settings().items()]
    with atomic_write(out) as part:
        # pympi's own function would rename a file that an interrupted run left under this name
        root = to_adocument(eaf)
        _make_valid(root)
        etree.ElementTree(root).write(part, encoding="UTF-8", xml_declaration=True)


def _add_vocabulary(eaf: Any, labels: Sequence[str]) -> None:
    eaf.add_linguistic_type(_TYPE)
    eaf.linguistic_types[_TYPE]["CONTROLLED_VOCABULARY_REF"] = _VOCABULARY
    eaf.add_language(_ENGLISH, "http://cdb.iso.org/lg/CDB-00138502-001", "English (eng)")
    eaf.add_controlled_vocabulary(_VOCABULARY)
    eaf.add_cv_description(_VOCABULARY, _ENGLISH, "Expressions that the model distinguishes")
    for label in labels:
        eaf.add_cv_entry(_VOCABULARY, f"cve_{label}", [(label, _ENGLISH, None)])


def _link_video(eaf: Any, events: EventSet, out: Path) -> None:
    video = _video_file(events)
    # as ELAN writes them: nothing is escaped, and a relative path begins with ./ or ../
    url = "file:///" + video.as_posix().lstrip("/")
    try:
        relative = Path(os.path.relpath(video, out.absolute().parent)).as_posix()
    except ValueError:  # on another drive
        relative = None
    if relative is not None and not relative.startswith("../"):
        relative = f"./{relative}"
    eaf.add_linked_file(url, relative, _MEDIA_TYPES.get(video.suffix.lower(), "video/*"))


def _video_file(events: EventSet) -> Path:
    """The video's absolute path: as recorded, relative to the result, or beside the result."""
    recorded, folder = Path(events.video), events.result.path.absolute().parent
    for path in (recorded, folder / recorded, folder / recorded.name):
        if path.is_file():
            return Path(os.path.abspath(path))
    return Path(os.path.abspath(recorded))  # missing here, so ELAN will ask for it


def _sort_time_slots(eaf: Any) -> None:
    """Number the time slots by time, as the format requires; pympi numbers them as added."""
    old = sorted(eaf.timeslots, key=lambda slot: (eaf.timeslots[slot], int(slot[2:])))
    new = {slot: f"ts{i}" for i, slot in enumerate(old, 1)}
    eaf.timeslots = {new[slot]: eaf.timeslots[slot] for slot in old}
    for aligned, *_ in eaf.tiers.values():
        for key, (start, end, *rest) in aligned.items():
            aligned[key] = (new[start], new[end], *rest)


def _make_valid(root: etree.Element) -> None:
    """Escape the characters of names and labels that XML does not allow."""
    for element in root.iter():
        element.text = element.text and xml_safe(element.text)
        for key, value in element.attrib.items():
            element.set(key, xml_safe(str(value)))


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


EXPORTERS = (Exporter("eaf", "ELAN", (".eaf",), "tiers for ELAN", write, in_player=True),)
