"""The methods section of a study that is still to be run, from its options: for preregistration."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jadfer_cli._version import __version__
from jadfer_cli.analysis import bibliography
from jadfer_cli.analysis.event_rule import Rule
from jadfer_cli.analysis.methods import BY_NETWORK, GLANCES, TRACKER_NAMES, Methods
from jadfer_cli.analysis.methods_model import model_sentences
from jadfer_cli.analysis.provenance import short_sha256
from jadfer_cli.analysis.wording import ordinal
from jadfer_cli.common import file_sha256
from jadfer_cli.expression import checkpoint, networks
from jadfer_cli.faces.detect import CENTERFACE, DetectorKind, find_weights
from jadfer_cli.faces.packs import installed_packs
from jadfer_cli.options import AnnotateOptions, FaceOptions, VideoOptions
from jadfer_cli.text import count_text

Cite = Callable[[str], str]


def planned(options: AnnotateOptions) -> Methods:
    """Writes the methods section of a run that is planned.

    Args:
        options: Of the run. With the detector "auto", the one that this machine would use.

    Raises:
        ModelError: The model or the detector is missing or damaged.
    """
    works: dict[str, str] = {}

    def cite(bibtex: str) -> str:
        works.setdefault(bibliography.key_of(bibtex), bibtex)
        return bibliography.cited(bibtex)

    year = str(datetime.now(UTC).year)
    paragraph = " ".join(
        (
            f"Facial expressions will be annotated with jadfer {__version__} (The jadfer authors, "
            f"{year}).",
            _frames(options.video),
            *_faces(options.faces, cite),
            *_model(options, cite),
            "A face will count only if the program marks it as usable, by a rule on size, "
            f"sharpness ({cite(bibliography.entry(bibliography.BLUR))}), light, head pose, "
            "visibility of the mouth, detection score and position in the image; faces in "
            "corrupt frames will not count.",
            f"Events, episodes and transitions will be counted by hysteresis ({Rule().text()}).",
            "The probabilities say how a face looks, not what the person feels.",
        )
    )
    program = bibliography.software([__version__], year)
    return Methods((paragraph,), (program, *works.values()))


def _frames(video: VideoOptions) -> str:
    which = "Every frame"
    if video.fps is not None:
        which = f"At most {video.fps:g} frames per second"
    elif video.every > 1:
        which = f"Every {ordinal(video.every)} frame"
    if video.start_s is not None or video.end_s is not None:
        until = "the end" if video.end_s is None else f"{video.end_s:g} s"
        which += f" from {video.start_s or 0:g} s to {until}"
    turned = "" if video.rotate is None else f", rotated clockwise by {video.rotate} degrees"
    return f"{which}{turned} will be analysed, at the presentation times stored in the files."


def _faces(faces: FaceOptions, cite: Cite) -> Iterable[str]:
    kind, name, path = _detector(faces.detector)
    file = "" if name.lower() == kind.title.lower() else f"; {name}"
    yield (
        f"Faces will be detected by {kind.title} ({cite(kind.citation)}{file}), sha256 "
        f"{short_sha256(file_sha256(path))}, in frames scaled to {faces.detection_size} px, with a "
        f"score of at least {faces.detection_threshold:g}"
    )
    if faces.redetect_s:
        glances, between = GLANCES, BY_NETWORK
        if faces.follower == "detector":
            glances = ","
            between = (
                "where they are expected, or placed between two frames in which they are found"
            )
        yield f"(in full frames every {faces.redetect_s:g} s{glances} in between {between}),"
    else:
        yield "(in every analysed frame),"
    tracker = TRACKER_NAMES.get(faces.tracker, faces.tracker)
    if faces.tracker in bibliography.TRACKERS:
        tracker += f" ({cite(bibliography.entry(bibliography.TRACKERS[faces.tracker]))})"
    yield (
        f"and tracked with {tracker}, across gaps up to {faces.track_gap_s:g} s. Boxes smaller "
        f"than {faces.min_face_px:g} px will be ignored."
    )
    if faces.max_faces is not None:
        kept = count_text(faces.max_faces, "track")
        yield f"At most {kept} per video will be kept, those seen longest and largest."


def _detector(wanted: str) -> tuple[DetectorKind, str, Path]:
    """The kind, the name and the file of the detector that would be used."""
    if wanted == "auto":
        packs = list(installed_packs())
        wanted = packs[0].name if packs else CENTERFACE.name
    found = find_weights(wanted)
    return found.kind, found.name, found.path


def _model(options: AnnotateOptions, cite: Cite) -> Iterable[str]:
    loaded = checkpoint.load(options.model.model)
    metadata: dict[str, Any] = {
        "labels": loaded.labels,
        "model": {
            "name": loaded.entry.name,
            "sha256": loaded.sha256,
            "preview": loaded.entry.preview,
            "terms": loaded.entry.terms,
            "network": networks.facts(loaded.architecture),
            "metrics": loaded.metrics,
        },
    }
    for sentence in model_sentences(metadata, cite):
        yield sentence.replace("Each face was scored", "Each face will be scored").replace(
            "on the present videos", "on the videos of this study"
        )
