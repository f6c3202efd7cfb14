"""What every column of a result means, in words; the sidecar and the README say the same."""

from __future__ import annotations

from collections.abc import Sequence

from jadfer_cli.results.schema import probability_columns

_BOX = "of the face's box in the displayed frame; null without a face"
_FACE = "null without a face"

# name: (description, unit)
_FIXED: dict[str, tuple[str, str]] = {
    "video": ("The video, as its path was given", ""),
    "frame": ("0-based index of the frame among those that the video shows", ""),
    "time_s": ("When the frame is shown, by the container's own clock; 0 at the first frame", "s"),
    "duration_s": ("How long the frame is shown", "s"),
    "frame_status": (
        "ok; corrupt: the decoder reported damage or gave no picture; "
        "repeated: the video shows the picture before once more",
        "",
    ),
    "face_detected": ("Whether this row holds a face", ""),
    "n_faces": ("How many faces (rows with a face) this frame has", ""),
    "track_id": ("Which person on screen, from 0 in each video; " + _FACE, ""),
    "face_source": (
        "detected: found in the whole frame; tracked: found where a neighbouring frame has it; "
        + _FACE,
        "",
    ),
    "bbox_x1": ("Left edge " + _BOX, "px"),
    "bbox_y1": ("Top edge " + _BOX, "px"),
    "bbox_x2": ("Right edge " + _BOX, "px"),
    "bbox_y2": ("Bottom edge " + _BOX, "px"),
    "det_score": ("The detector's confidence that this is a face, 0 to 1", ""),
    "interocular_px": ("Distance between the eyes in the frame: the size that counts", "px"),
    "blur": ("0 sharp to 1 blurred (Crete et al. 2007), on the aligned face", ""),
    "yaw_deg": ("Head turned: positive towards the image's right edge", "degree"),
    "pitch_deg": ("Head nodded: positive upwards", "degree"),
    "roll_deg": ("Head tilted: positive clockwise as seen in the image", "degree"),
    "usable": ("Whether size, sharpness and pose are good enough to judge the face", ""),
}
_LAST: dict[str, tuple[str, str]] = {
    "expression": ("The label with the highest probability", ""),
    "p_max": ("That probability", ""),
    "entropy": ("Entropy of the probabilities: 0 certain, ln(number of labels) undecided", "nat"),
}


def column_descriptions(labels: Sequence[str]) -> dict[str, dict[str, str]]:
    """BIDS-like descriptions of every column of a result, in column order.

    Args:
        labels: The model's labels.
    """
    probabilities = {
        name: (f"Calibrated probability of {name.removeprefix('p_')}; the p_ columns sum to 1", "")
        for name in probability_columns(labels)
    }
    return {
        name: {"Description": text} | ({"Units": unit} if unit else {})
        for name, (text, unit) in (_FIXED | probabilities | _LAST).items()
    }
