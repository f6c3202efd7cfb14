"""Descriptions of all columns of a result, for the sidecar and the guides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jadfer_cli.labels import ACTION_COLUMNS, BLENDSHAPES
from jadfer_cli.results.schema import probability_columns

DERIVED = "derived"  # metadata entry: a list with one entry per set of added columns
_BOX = "of the face's box in the displayed frame; null without a face"
_FACE = "null without a face"

# Description and unit by column.
_FIXED: dict[str, tuple[str, str]] = {
    "video": ("Path of the video, as given", ""),
    "frame": ("0-based index among the frames that the video shows", ""),
    "time_s": ("Presentation time from the container; 0 at the first frame", "s"),
    "duration_s": ("Time for which the frame is shown", "s"),
    "frame_status": (
        "ok; corrupt: the decoder reported damage or returned no picture; "
        "repeated: the video shows the previous picture again",
        "",
    ),
    "face_detected": ("Whether this row holds a face", ""),
    "n_faces": ("Number of faces in this frame, one row each", ""),
    "track_id": (
        "ID of the face track, one per person on screen; starts at 0 in each video; " + _FACE,
        "",
    ),
    "face_source": (
        "detected: found in a search of the whole frame; "
        "tracked: found close to where it is in neighbouring frames, or placed between two "
        "frames in which it was found; " + _FACE,
        "",
    ),
    "bbox_x1": ("Left edge " + _BOX, "px"),
    "bbox_y1": ("Top edge " + _BOX, "px"),
    "bbox_x2": ("Right edge " + _BOX, "px"),
    "bbox_y2": ("Bottom edge " + _BOX, "px"),
    "det_score": (
        "Confidence of the detector that this is a face, 0 to 1; of a face that the network "
        "follows, that of its last detection; of one placed between two frames, between theirs",
        "",
    ),
    "interocular_px": ("Distance between the eyes, which measures the size of the face", "px"),
    "blur": (
        "0 (sharp) to 1 (blurred), measured on the face aligned to 112 px (Crete et al. 2007)",
        "",
    ),
    "light": (
        "Brightness of the lighter parts of the face, 0 (black) to 1 (white): the 95th percentile "
        "of its grey values",
        "",
    ),
    "clipped": ("Part of the face that is white, so that no detail is left, 0 to 1", ""),
    "mouth_contrast": (
        "Contrast in the place of the mouth, in units of the contrast of the face; low if the "
        "mouth is covered",
        "",
    ),
    "yaw_deg": ("Head turn: positive towards the image's right edge", "degree"),
    "pitch_deg": ("Head nod: positive upwards", "degree"),
    "roll_deg": ("Head tilt: positive clockwise as seen in the image", "degree"),
    "usable": (
        "Whether size, sharpness, light and pose are good enough to rate the face; "
        "see unusable_reason",
        "",
    ),
    "unusable_reason": (
        "Why the face is not usable, the first that applies: cut_off by the picture's edge, "
        "low_score of the detector, too_small, too_dark, overexposed, occluded (the mouth is "
        "covered), turned, blurred; "
        "null for a usable face and without a face",
        "",
    ),
}
_LAST: dict[str, tuple[str, str]] = {
    "expression": ("Label with the highest probability", ""),
    "p_max": ("The highest probability", ""),
    "entropy": (
        "Entropy of the probabilities: 0 if certain, ln(number of labels) if undecided",
        "nat",
    ),
}

# Columns that `jadfer identify` adds.
PERSON_DESCRIPTIONS: dict[str, dict[str, str]] = {
    "person": {
        "Description": "Name of the person: a folder of reference pictures, or person_N for the "
        "Nth one found without references; unknown if nobody was recognised; " + _FACE
    },
    "person_score": {
        "Description": "Cosine of the face's embedding, averaged over this part of the track, and "
        "that of the person; for unknown, of the most similar person; null without anything to "
        "compare"
    },
}

# What a probability is, by the definition of the scores; None: not recorded.
_PROBABILITY: dict[str | None, str] = {
    "votes": "Share of raters who would choose {}, of those who name an expression",
    "majority": "Probability that the majority of raters would choose {}, if one agrees",
    None: "Probability of {}",
}


def column_descriptions(
    labels: Sequence[str], scores: str | None = None, columns: Sequence[str] = ()
) -> dict[str, dict[str, str]]:
    """Describe every column of a result, in column order, as a BIDS sidecar does.

    Args:
        labels: The model's labels.
        scores: What the probabilities mean, "votes" or "majority"; None if it is not recorded.
        columns: Names of all columns, if other commands have added some.

    Returns:
        For each column "Description" and, if it has one, "Units".
    """
    meaning = _PROBABILITY.get(scores, _PROBABILITY[None])
    probabilities = {
        name: (f"{meaning.format(name.removeprefix('p_'))}; the p_ columns sum to 1", "")
        for name in probability_columns(labels)
    }
    described = {
        name: {"Description": text} | ({"Units": unit} if unit else {})
        for name, (text, unit) in (_FIXED | probabilities | _LAST).items()
    }
    return described | {k: v for k, v in PERSON_DESCRIPTIONS.items() if k in columns}


def descriptions_of(
    metadata: Mapping[str, Any], columns: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Describe every column of a stored result, also those that other commands added.

    Args:
        metadata: Of the result.
        columns: Names of all its columns.
    """
    described = column_descriptions(metadata["labels"], metadata["model"].get("scores"), columns)
    added = {
        name: {"Description": str(text)}
        for entry in metadata.get(DERIVED, [])
        for name, text in entry.get("descriptions", {}).items()
    }
    return described | {name: text for name, text in added.items() if name in columns}


_NO_MESH = "null if no face is seen in the crop"
_KEY = ("video", "frame", "track_id")
# Measures of the mesh: description and unit by column, in the order of `labels.MEASURE_COLUMNS`.
_MEASURES: dict[str, tuple[str, str]] = {
    **{
        f"ear_{side}": (
            f"Eye aspect ratio of the person's {side} eye: height of its opening over width, 0 if "
            f"closed (Soukupova and Cech 2016); {_NO_MESH}",
            "",
        )
        for side in ("left", "right")
    },
    **{
        f"gaze_{angle}_{side}_deg": (
            f"{what} of the person's {side} eye in the head, from iris and lid corners: positive "
            f"{positive}; {_NO_MESH}",
            "degree",
        )
        for angle, what, positive in (
            ("yaw", "Turn", "towards the image's right edge"),
            ("pitch", "Elevation", "upwards"),
        )
        for side in ("left", "right")
    },
    "mouth_opening": (
        "Gap between the inner lips over the distance of the outer eye corners; " + _NO_MESH,
        "",
    ),
    "mesh_yaw_deg": ("Head turn by the mesh, signs as yaw_deg; " + _NO_MESH, "degree"),
    "mesh_pitch_deg": ("Head nod by the mesh, signs as pitch_deg; " + _NO_MESH, "degree"),
    "mesh_roll_deg": ("Head tilt by the mesh, signs as roll_deg; " + _NO_MESH, "degree"),
    "mesh_presence": (
        "Probability that the crop shows a face; below 0.5 all other values are null",
        "",
    ),
}


def action_descriptions() -> dict[str, dict[str, str]]:
    """Describe every column of a file of actions, in column order, as a BIDS sidecar does."""
    coefficients = {
        column: (
            f"Coefficient {name} of MediaPipe's face landmarker, 0 to 1; left and right are the "
            f"person's own; {_NO_MESH}",
            "",
        )
        for column, name in zip(ACTION_COLUMNS, BLENDSHAPES, strict=True)
    }
    coefficients["a_neutral"] = ("Coefficient _neutral, which MediaPipe does not use", "")
    key = {name: _FIXED[name] for name in _KEY}
    return {
        name: {"Description": text} | ({"Units": unit} if unit else {})
        for name, (text, unit) in (key | coefficients | _MEASURES).items()
    }
