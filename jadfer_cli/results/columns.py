"""Descriptions of all columns of a result, for the sidecar and the guides."""

from __future__ import annotations

from collections.abc import Sequence

from jadfer_cli.results.schema import probability_columns

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
        "tracked: found close to its position in a neighbouring frame; " + _FACE,
        "",
    ),
    "bbox_x1": ("Left edge " + _BOX, "px"),
    "bbox_y1": ("Top edge " + _BOX, "px"),
    "bbox_x2": ("Right edge " + _BOX, "px"),
    "bbox_y2": ("Bottom edge " + _BOX, "px"),
    "det_score": (
        "Confidence of the detector that this is a face, 0 to 1; of a face that the network "
        "follows, that of its last detection",
        "",
    ),
    "interocular_px": ("Distance between the eyes, which measures the size of the face", "px"),
    "blur": ("0 (sharp) to 1 (blurred), measured on the aligned face (Crete et al. 2007)", ""),
    "yaw_deg": ("Head turn: positive towards the image's right edge", "degree"),
    "pitch_deg": ("Head nod: positive upwards", "degree"),
    "roll_deg": ("Head tilt: positive clockwise as seen in the image", "degree"),
    "usable": ("Whether size, sharpness and pose are good enough to rate the face", ""),
}
_LAST: dict[str, tuple[str, str]] = {
    "expression": ("Label with the highest probability", ""),
    "p_max": ("The highest probability", ""),
    "entropy": (
        "Entropy of the probabilities: 0 if certain, ln(number of labels) if undecided",
        "nat",
    ),
}


def column_descriptions(labels: Sequence[str]) -> dict[str, dict[str, str]]:
    """Describe every column of a result, in column order, as a BIDS sidecar does.

    Args:
        labels: The model's labels.

    Returns:
        For each column "Description" and, if it has one, "Units".
    """
    probabilities = {
        name: (f"Calibrated probability of {name.removeprefix('p_')}; the p_ columns sum to 1", "")
        for name in probability_columns(labels)
    }
    return {
        name: {"Description": text} | ({"Units": unit} if unit else {})
        for name, (text, unit) in (_FIXED | probabilities | _LAST).items()
    }
