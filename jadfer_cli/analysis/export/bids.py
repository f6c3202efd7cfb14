"""BIDS: events.tsv files with JSON sidecars, in a folder that is a BIDS derivative."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jadfer_cli._version import __version__
from jadfer_cli.analysis.export.base import Exporter
from jadfer_cli.analysis.tabular import write_table
from jadfer_cli.common import atomic_write
from jadfer_cli.text import json_text

if TYPE_CHECKING:
    from jadfer_cli.analysis.events import EventSet

_SUFFIX = "_events"
_VERSION = "1.10.0"  # of the specification
_DATASET = "dataset_description.json"
_BIDS_NAME = re.compile(r"(sub-[0-9A-Za-z+]+)_(?:(ses-[0-9A-Za-z+]+)_)?.*task-.+")
# folders of a BIDS subject that may hold events
_DATATYPES = ("beh", "eeg", "func", "ieeg", "meg", "motion", "nirs", "pet")
# BIDS names for our columns, in its order: onset and duration come first
_NAMES = {
    "onset_s": "onset",
    "duration_s": "duration",
    "expression": "trial_type",
    "track_id": "track_id",
    "apex_s": "apex",
    "onset_frame": "onset_frame",
    "apex_frame": "apex_frame",
    "offset_frame": "offset_frame",
    "p_apex": "p_apex",
    "p_mean": "p_mean",
    "n_frames": "n_frames",
    "truncated": "truncated",
}
_PERSON = ("Person", "Who it is, as `jadfer identify` named people")
_FRAME_INDEX = "0-based index of the frame in the video; frames that were not analysed also count"


def file_name(result: str) -> str:
    """Return the name of the events file of a result; a BIDS suffix is replaced.

    sub-01_task-talk_beh becomes sub-01_task-talk_events.tsv, and clip becomes clip_events.tsv.
    """
    *entities, suffix = result.split("_")
    is_bids = bool(entities) and re.fullmatch(r"sub-[0-9A-Za-z+]+", entities[0]) is not None
    stem = "_".join(entities) if is_bids and "-" not in suffix else result
    return stem.removesuffix(_SUFFIX) + _SUFFIX + ".tsv"


def folder(result: Path, below: Path) -> Path:
    """Return where the events of a result lie in a derivative: sub-01/ses-2/beh.

    Args:
        result: Its name gives subject and session, the name of its folder the datatype; without
            one it is beh.
        below: Its folder below the inputs, for a result whose name is not a BIDS name.
    """
    named = _BIDS_NAME.fullmatch(result.stem)
    if named is None:
        return below
    datatype = result.absolute().parent.name
    levels = [named[1], named[2], datatype if datatype in _DATATYPES else "beh"]
    return Path(*filter(None, levels))


def describe_dataset(out: Path, files: Sequence[Path]) -> Path | None:
    """Write dataset_description.json into a folder of events, unless it has one.

    Returns:
        The file; None if it exists already, or no file has a BIDS name.

    Raises:
        OutputError: The file cannot be written.
    """
    path = out / _DATASET
    if path.exists() or not any(_BIDS_NAME.fullmatch(file.name) for file in files):
        return None
    described = {
        "Name": "Facial expression events by jadfer",
        "BIDSVersion": _VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {"Name": "jadfer", "Version": __version__, "Description": "jadfer events"},
        ],
    }
    with atomic_write(path) as part:
        part.write_text(json_text(described, indent=2) + "\n", encoding="utf-8", newline="\n")
    return path


def naming_note(files: Sequence[Path]) -> str | None:
    """Return what to do about files whose names are not BIDS names; None if all are."""
    others = [f for f in files if not _BIDS_NAME.fullmatch(f.name)]
    if not others:
        return None
    return (
        f"{others[0].name} is not a BIDS name{_more(len(others) - 1)}: it needs a subject and a "
        "task. Name results like sub-01_task-talk_beh.parquet, or files like "
        "sub-01_task-talk_events.tsv."
    )


def _more(n: int) -> str:
    return f", and {n:,} more are not" if n > 1 else ", and one more is not" if n else ""


def sidecar(out: Path) -> Path:
    """Return the path of the JSON file of an events file."""
    return out.with_suffix(".json")


def write(event_sets: Sequence[EventSet], out: Path) -> None:
    """Write the events of one result, and their sidecar.

    Raises:
        OutputError: A file cannot be written.
    """
    (events,) = event_sets
    own = [name for name in ("person",) if name in events.events]
    table = events.events[[*_NAMES, *own]].rename(columns=_NAMES)
    table["truncated"] = table["truncated"].replace("", None)
    with atomic_write(sidecar(out)) as part:
        described = _describe_columns(events) | _describe_source(events)
        text = json_text(described, indent=2)
        part.write_text(text + "\n", encoding="utf-8", newline="\n")
    write_table(table, out)


_OF_LABELS = "Calibrated probability of the expression"
_OF_ALL = "Probability of the expression, coefficient of the action, or closure of the eyes"


def _describe_columns(events: EventSet) -> dict[str, Any]:
    rule = events.rule
    only_labels = set(events.expressions) <= set(events.result.labels)
    value, at_apex = ("probability", _OF_LABELS) if only_labels else ("value", _OF_ALL)
    return {
        "onset": _seconds(
            "Onset",
            f"Start of the first frame in which the {value} is at least {rule.on:g}, counted "
            "from the first picture of the video",
        ),
        "duration": _seconds(
            "Duration",
            f"Time to the end of the last frame before the {value} is below {rule.off:g}",
        ),
        "trial_type": _column(
            "Expression",
            "What the face shows according to a network; not what the person feels",
            {name: f"The face is seen as showing {name}" for name in events.expressions},
        ),
        "track_id": _column(
            "Track",
            "Which face in the video, from 0; a person who leaves and returns may have several",
        ),
        **({"person": _column(*_PERSON)} if "person" in events.events else {}),
        "apex": _seconds(
            "Apex",
            f"When the frame with the highest {value} is shown; the first if several are equal",
        ),
        "onset_frame": _column("Frame of the onset", _FRAME_INDEX),
        "apex_frame": _column("Frame of the apex", _FRAME_INDEX),
        "offset_frame": _column("Last frame", _FRAME_INDEX),
        "p_apex": _column(
            f"{value.capitalize()} at the apex", f"{at_apex} in the apex frame, 0 to 1"
        ),
        "p_mean": _column(
            f"Mean {value}",
            "Mean over the frames of the event in which the face was judged",
        ),
        "n_frames": _column(
            "Number of frames", "Number of frames of the event in which the face was judged"
        ),
        "truncated": _column(
            "Truncated",
            "At which end the face could not be judged just outside the event, which may "
            "therefore be longer",
            {"start": "It may have begun earlier", "end": "It may have ended later",
             "both": "Both"},
        ),
    }  # fmt: skip


def _column(name: str, text: str, levels: dict[str, str] | None = None) -> dict[str, Any]:
    return {"LongName": name, "Description": text} | ({"Levels": levels} if levels else {})


def _seconds(name: str, text: str) -> dict[str, Any]:
    return _column(name, text) | {"Units": "s"}


def _describe_source(events: EventSet) -> dict[str, Any]:
    from jadfer_cli.analysis.event_rule import Rule  # brings pandas

    rule, metadata = events.rule, events.result.metadata
    by = {"OnThreshold": rule.on, "OffThreshold": rule.off}
    if isinstance(rule, Rule):
        by |= {"MinDuration": rule.min_duration_s, "MergeGap": rule.merge_gap_s}
    else:
        by |= rule.settings()
    return {
        "EventDetection": by | {"UnusableFacesTaken": rule.all_faces},
        "GeneratedBy": [
            {
                "Name": "jadfer",
                "Version": __version__,
                "Description": f"jadfer events, on scores of {metadata['model']['name']}",
            }
        ],
        "SourceVideo": {"Path": events.video, "SHA256": metadata["video"]["sha256"]},
    }


EXPORTERS = (
    Exporter(
        name="bids",
        title="BIDS",
        suffixes=("_events.tsv",),
        help="events.tsv and its JSON sidecar; in a folder, a BIDS derivative",
        write=write,
        chosen_by_suffix=False,  # .tsv is a plain table
        file_name=file_name,
        folder=folder,
        describe_folder=describe_dataset,
        sidecars=lambda out: (sidecar(out),),
        note=naming_note,
    ),
)
