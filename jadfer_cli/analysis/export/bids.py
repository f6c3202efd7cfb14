"""BIDS: events.tsv and the JSON sidecar that says what its columns mean."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from jadfer_cli._version import __version__
from jadfer_cli.analysis.events import EventSet
from jadfer_cli.analysis.tabular import write_table
from jadfer_cli.common import atomic_write

_SUFFIX = "_events"
# our columns under their names in BIDS, in its order: onset and duration come first
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


def file_name(result: str) -> str:
    """The events file of a result: its name, with the BIDS suffix replaced if it has one.

    sub-01_task-talk_beh gives sub-01_task-talk_events.tsv, clip gives clip_events.tsv.
    """
    *entities, suffix = result.split("_")
    is_bids = bool(entities) and re.fullmatch(r"sub-[0-9A-Za-z+]+", entities[0]) is not None
    stem = "_".join(entities) if is_bids and "-" not in suffix else result
    return stem.removesuffix(_SUFFIX) + _SUFFIX + ".tsv"


def sidecar(out: Path) -> Path:
    """The JSON file of an events file."""
    return out.with_suffix(".json")


def write(found: EventSet, out: Path) -> None:
    """Writes the events of one result and their sidecar, each whole or not at all.

    Raises:
        OutputError: One cannot be written.
    """
    table = found.events[list(_NAMES)].rename(columns=_NAMES)
    table["truncated"] = table["truncated"].replace("", None)
    with atomic_write(sidecar(out)) as part:
        text = json.dumps(_described(found), indent=2, ensure_ascii=False)
        part.write_text(text + "\n", encoding="utf-8")
    write_table(table, out)


def _described(found: EventSet) -> dict[str, Any]:
    rule, model = found.rule, found.result.metadata["model"]
    frame = "0-based index of the frame in the video; other frames count though not analysed"
    return {
        "onset": {
            "LongName": "Onset",
            "Description": "Begin of the first frame in which the probability is at least "
            f"{rule.on:g}, counted from the first picture of the video",
            "Units": "s",
        },
        "duration": {
            "LongName": "Duration",
            "Description": "Time to the end of the last frame before the probability is below "
            f"{rule.off:g}",
            "Units": "s",
        },
        "trial_type": {
            "LongName": "Expression",
            "Description": "What the face shows as a network sees it; not what the person feels",
            "Levels": {name: f"The face is seen as showing {name}" for name in found.expressions},
        },
        "track_id": {
            "LongName": "Track",
            "Description": "Which face in the video, from 0; a person who leaves and returns may "
            "have several",
        },
        "apex": {
            "LongName": "Apex",
            "Description": "When the frame with the highest probability is shown; the first of "
            "equals",
            "Units": "s",
        },
        "onset_frame": {"LongName": "Frame of the onset", "Description": frame},
        "apex_frame": {"LongName": "Frame of the apex", "Description": frame},
        "offset_frame": {"LongName": "Last frame", "Description": frame},
        "p_apex": {
            "LongName": "Probability at the apex",
            "Description": "Calibrated probability of the expression in the apex frame, 0 to 1",
        },
        "p_mean": {
            "LongName": "Mean probability",
            "Description": "Mean over the frames of the event in which the face was judged",
        },
        "n_frames": {
            "LongName": "Number of frames",
            "Description": "In how many frames of the event the face was judged",
        },
        "truncated": {
            "LongName": "Truncated",
            "Description": "Where the face could not be judged just before or after the event, "
            "which may be longer then",
            "Levels": {
                "start": "It may have begun earlier",
                "end": "It may have ended later",
                "both": "Both",
            },
        },
        "EventDetection": {
            "OnThreshold": rule.on,
            "OffThreshold": rule.off,
            "MinDuration": rule.min_duration_s,
            "MergeGap": rule.merge_gap_s,
            "UnusableFacesTaken": rule.all_faces,
        },
        "GeneratedBy": [
            {
                "Name": "jadfer",
                "Version": __version__,
                "Description": f"jadfer events, on scores of {model['name']}",
            }
        ],
        "SourceVideo": {"Path": found.video, "SHA256": found.result.metadata["video"]["sha256"]},
    }
