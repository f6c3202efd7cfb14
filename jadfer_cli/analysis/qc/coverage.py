"""Is a face seen, and is it good enough to rate?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from jadfer_cli.analysis.face_table import UNEXPLAINED
from jadfer_cli.analysis.qc.clip import Clip
from jadfer_cli.analysis.qc.finding import Check, Finding
from jadfer_cli.common import short_time
from jadfer_cli.records import UNUSABLE_REASONS
from jadfer_cli.text import count_text

MIN_FACE_SHARE = 0.5  # of the analysed time
MAX_UNUSABLE_SHARE = 0.1  # of the time with a face, for one reason

_WORDS = {
    "cut_off": "is cut off by the picture's edge",
    "low_score": "was detected with a low score",
    "too_small": "is too small",
    "turned": "is turned or tilted too far",
    "too_dark": "is too dark",
    "overexposed": "is overexposed",
    "blurred": "is blurred",
    "occluded": "is covered in part",
    UNEXPLAINED: "is not usable, and the result does not say why",
}


def _few_faces(clip: Clip) -> Iterator[Finding]:
    has_face = clip.annotated.has_face
    if not has_face.any():
        text = f"No face was found in {count_text(len(has_face), 'frame')}."
        yield Finding("few_faces", "no face", text, look="view")
        return
    share = float(clip.span_s[has_face].sum() / clip.span_s.sum())
    if share < MIN_FACE_SHARE:
        text = f"A face is seen in only {share:.0%} of the analysed time."
        yield Finding("few_faces", f"face in {share:.0%}", text, clip.first_s(~has_face))


def _dropouts(clip: Clip) -> Iterator[Finding]:
    if not clip.gaps:
        return
    longest = max(clip.gaps, key=lambda gap: gap.length_s)
    times = "once" if len(clip.gaps) == 1 else f"{len(clip.gaps)} times"
    text = (
        f"All faces are lost {times}; longest for {longest.length_s:.2f} s from "
        f"{short_time(longest.start_s)}."
    )
    brief = f"{count_text(len(clip.gaps), 'dropout')}, {longest.length_s:.1f} s"
    yield Finding("dropout", brief, text, longest.start_s)


def _unusable(reason: str) -> Check:
    """The check for faces that are not usable for one reason."""

    def find(clip: Clip) -> Iterator[Finding]:
        faces = clip.faces
        own = faces[faces["reason"] == reason]
        whole_s = float(faces["span_s"].sum())
        share = float(own["span_s"].sum()) / whole_s if whole_s else 0.0
        if share <= MAX_UNUSABLE_SHARE:
            return
        mask = np.zeros(len(clip.span_s), bool)
        mask[own["position"].to_numpy(np.int64)] = True
        at_s = clip.first_s(mask)
        text = f"In {share:.0%} of face time, the face {_WORDS[reason]}, longest from " \
            f"{short_time(at_s)}."  # fmt: skip
        yield Finding(reason, f"{reason} {share:.0%}", text, at_s)

    return Check(reason, f"the face {_WORDS[reason]}", find)


CHECKS = (
    Check("few_faces", f"a face in less than {MIN_FACE_SHARE:.0%} of the time", _few_faces),
    Check("dropout", "all faces are lost for a while", _dropouts),
    *(_unusable(reason) for reason in (*UNUSABLE_REASONS, UNEXPLAINED)),
)
