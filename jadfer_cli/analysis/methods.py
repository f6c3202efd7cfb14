"""The methods section: a paragraph, and the works it cites, from the metadata of results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jadfer_cli.analysis import bibliography
from jadfer_cli.analysis.failures import Failure
from jadfer_cli.analysis.methods_model import model_sentences
from jadfer_cli.analysis.methods_rules import rule_sentences
from jadfer_cli.analysis.methods_steps import derived_sentences
from jadfer_cli.analysis.people.methods import people_sentences
from jadfer_cli.analysis.provenance import (
    changed_options,
    differing_settings,
    groups,
    model_sha256,
    short_sha256,
)
from jadfer_cli.analysis.wording import by_video, length, listed, ordinal, share, span
from jadfer_cli.errors import ResultError
from jadfer_cli.faces.detect import DETECTORS
from jadfer_cli.results.load import Result
from jadfer_cli.results.revision import row_revision
from jadfer_cli.text import count_text, without_subject

Metadata = Mapping[str, Any]

_MAX_REASONS = 3
_PLACED_SINCE = 5  # revision of rows from which on faces are placed between two frames
_ENGINES = {"onnxruntime": "ONNX Runtime", "torch": "PyTorch"}
TRACKER_NAMES = {"bytetrack": "ByteTrack", "ocsort": "OC-SORT"}
# options that the sentences already state, or that do not affect scores
_STATED = ("--every", "--fps", "--tracker", "--detector", "--model", "--device", "--precision",
         "--engine", "--threads", "--batch-size", "--landmarks", "--actions", "--mesh",
         "--relative-paths", "--file-names", "--redetect", "--start", "--end",
         "--scores")  # fmt: skip


@dataclass(frozen=True)
class Methods:
    """What `jadfer methods` gives.

    Attributes:
        paragraphs: One; or an introduction and one per group, if results were made differently.
        bibtex: One entry per work, the program first.
    """

    paragraphs: tuple[str, ...]
    bibtex: tuple[str, ...]

    def text(self) -> str:
        """Paragraphs and BibTeX as plain text."""
        return "\n\n".join((*self.paragraphs, *self.bibtex)) + "\n"

    def markdown(self) -> str:
        """Paragraphs, and BibTeX in a code block."""
        body = "\n\n".join(self.paragraphs)
        return f"{body}\n\n```bibtex\n" + "\n\n".join(self.bibtex) + "\n```\n"

    def bib(self) -> str:
        """BibTeX alone."""
        return "\n\n".join(self.bibtex) + "\n"


def describe(
    results: Sequence[Result], failures: Sequence[Failure] = (), tables: Sequence[Path] = ()
) -> Methods:
    """Writes the methods section of some results.

    Args:
        results: One or more; only their metadata are used.
        failures: Videos of the same batches without a result.
        tables: Parquet files that `jadfer events`, `summary` or `design` wrote; others
            are ignored.
    """
    imported = [result for result in results if "imported" in result.metadata]
    if imported:
        raise ResultError(
            f"{imported[0].path} was imported from {imported[0].metadata['imported']['tool']}, so "
            "jadfer cannot describe how it was made.",
            "Describe and cite that tool; leave its results out here.",
        )
    found = groups(results)
    works: dict[str, str] = {}  # BibTeX by key, in the order in which they are cited
    if len(found) == 1:
        paragraphs = [_paragraph(results, works)]
    else:
        paragraphs = [
            f"The {len(results)} videos were not all processed alike: they form {len(found)} "
            f"groups, which differ in {listed(_differing(results))}."
        ]
        for i, group in enumerate(found, 1):
            paragraphs.append(f"Group {i} of {len(found)}. {_paragraph(group, works)}")
    paragraphs[-1] += f" {rule_sentences(tables)}"
    if failures:
        paragraphs.append(_failed(len(results), failures))
    all_of = [result.metadata for result in results]
    versions = _distinct(all_of, lambda m: m["jadfer_version"])
    program = bibliography.software(versions, _year(all_of))
    return Methods(tuple(paragraphs), (program, *works.values()))


def _failed(n_results: int, failures: Sequence[Failure]) -> str:
    """What became of the videos without a result."""
    n = len(failures)
    reasons = Counter(  # without the name of the video, which no two have in common
        without_subject(failure.reason, failure.path).rstrip(".") or "no reason recorded"
        for failure in failures
    )
    named = "; ".join(
        f"{reason} ({count_text(k, 'video')})" for reason, k in reasons.most_common(_MAX_REASONS)
    )
    more = len(reasons) - _MAX_REASONS
    return (
        f"Of {n_results + n:,} videos, {n_results:,} {'was' if n_results == 1 else 'were'} "
        f"annotated; {n:,} could not be, and "
        f"{'is' if n == 1 else 'are'} not part of these figures. "
        f"Reasons: {named}{f'; and {more:,} more' if more > 0 else ''}."
    )


def _differing(results: Sequence[Result]) -> list[str]:
    hashes: dict[str, Callable[[Metadata], str]] = {
        "model": model_sha256, "detector": lambda m: m["detector"]["sha256"],
    }  # fmt: skip
    named = [name for name, of in hashes.items() if len({of(r.metadata) for r in results}) > 1]
    return named + differing_settings(results)


def _paragraph(results: Sequence[Result], works: dict[str, str]) -> str:
    """The paragraph of results made with the same settings; adds what it cites to `works`."""
    group = [result.metadata for result in results]

    def cite(bibtex: str) -> str:
        known = works.setdefault(bibliography.key_of(bibtex), bibtex)
        if known.split() != bibtex.split():  # a name of its own, so that neither work is lost
            key = bibliography.key_of(bibtex)
            works.setdefault(f"{key}b", bibtex.replace(key, f"{key}b", 1))
        return bibliography.cited(bibtex)

    return " ".join(
        (
            *_videos(group),
            *_faces(group[0], cite),
            *model_sentences(group[0], cite),
            *_actions(group[0], cite),
            *_coverage(group, cite),
            *people_sentences(group, cite),
            *derived_sentences(group),
            *_software(group),
        )
    )


def _videos(group: Sequence[Metadata]) -> Iterable[str]:
    m = group[0]
    versions = listed(_distinct(group, lambda m: m["jadfer_version"]))
    cited = f"(The jadfer authors, {_year(group)})"
    yield f"Facial expressions were annotated with jadfer {versions} {cited}."
    lengths = [float(m["video"]["duration_s"]) for m in group]
    rates = span([float(m["video"]["nominal_fps"]) for m in group], "{:.4g}")
    if len(group) == 1:
        yield f"In one video of {length(lengths[0])} with {rates} frames per second,"
    else:
        yield (
            f"In {len(group):,} videos, {length(sum(lengths))} in all ({length(min(lengths))} to "
            f"{length(max(lengths))} each), with {rates} frames per second,"
        )
    video = m["options"]["video"]
    which = "every frame"
    if video["fps"] is not None:
        which = f"at most {video['fps']:g} frames per second"
    elif video["every"] > 1:
        which = f"every {ordinal(video['every'])} frame"
    if video["start_s"] is not None or video["end_s"] is not None:
        start, end = video["start_s"] or 0, video["end_s"]
        which += f" from {start:g} s " + ("to the end" if end is None else f"to {end:g} s")
    plural = video["fps"] is not None
    yield (
        f"{which} {'were' if plural else 'was'} analysed; times are the presentation times stored "
        f"in the file{'' if len(group) == 1 else 's'}."
    )
    varying = sum(bool(m["video"]["variable_frame_rate"]) for m in group)
    if varying:
        alone = "Its frame rate varied." if len(group) == 1 else ""
        yield alone or f"The frame rate varied in {varying} of them."


# of FaceOptions.follower
GLANCES = ", three of four times at half the resolution,"
BY_NETWORK = "near their last position by a small network of the program's own"


def _between(m: Metadata) -> str:
    """How faces were found between searches of the full frame."""
    if m.get("follower"):
        return BY_NETWORK
    if row_revision(m) < _PLACED_SINCE:
        return "near their last position"
    return "where they were expected, or placed between two frames in which they were found"


def _faces(m: Metadata, cite: Callable[[str], str]) -> Iterable[str]:
    detector, faces = m["detector"], m["options"]["faces"]
    # the metadata of older results do not describe their detector
    known = DETECTORS.get(detector["kind"], DETECTORS["scrfd"])
    title = detector.get("title") or known.title
    citation = detector.get("citation") or known.citation
    # CenterFace has one file, named like the method
    file = "" if detector["name"].lower() == title.lower() else f"; {detector['name']}"
    name = f"{title} ({cite(citation)}{file})"
    tracker = TRACKER_NAMES.get(faces["tracker"], faces["tracker"])
    if faces["tracker"] in bibliography.TRACKERS:
        tracker += f" ({cite(bibliography.entry(bibliography.TRACKERS[faces['tracker']]))})"
    yield f"Faces were detected by {name}, sha256 {short_sha256(detector['sha256'])},"
    redetect_s = m.get("redetect_s")
    if redetect_s:
        any_size = not detector.get("input_px")  # else each search is a complete one
        glances = GLANCES if m.get("follower") and any_size else ""
        yield f"in full frames every {redetect_s:g} s{glances} and, in between, {_between(m)},"
    else:
        yield "in every analysed frame,"
    yield f"and tracked over time with {tracker}."
    others = [flag for flag in changed_options(m) if flag not in _STATED]
    if others:
        options = changed_options(m)
        yield (
            "Options other than the defaults: "
            + ", ".join(f"{flag} {options[flag]}" for flag in others)
            + "."
        )


def _actions(m: Metadata, cite: Callable[[str], str]) -> Iterable[str]:
    if found := m.get("actions"):
        works = "; ".join(cite(bibliography.entry(key)) for key in bibliography.LANDMARKER)
        yield (
            "Facial actions (52 blendshape coefficients, eyes, gaze, mouth and head pose) were "
            f"computed for each face by MediaPipe's face landmarker ({works}), sha256 "
            f"{short_sha256(found['sha256'])}; they are not FACS codes."
        )


def _coverage(group: Sequence[Metadata], cite: Callable[[str], str]) -> Iterable[str]:
    counts = [m["counts"] for m in group]
    frames = sum(c["frames_analysed"] for c in counts)
    with_face = [
        (c["frames_analysed"] - c["frames_without_face"]) / c["frames_analysed"]
        for c in counts
        if c["frames_analysed"]
    ]
    seen = frames - sum(c["frames_without_face"] for c in counts)
    faces, usable = (sum(c[name] for c in counts) for name in ("faces", "faces_usable"))
    many = f" ({by_video(with_face)})" if len(group) > 1 else ""
    yield f"A face was found in {share(seen, frames)} of {frames:,} analysed frames{many};"
    by_face = [c["faces_usable"] / c["faces"] for c in counts if c["faces"]]
    many = f" ({by_video(by_face)})" if len(by_face) > 1 else ""
    yield (
        f"{share(usable, faces)} of {count_text(faces, 'face')}{many} "
        f"{'was' if faces == 1 else 'were'} usable by the program's rule on size, "
        f"sharpness ({cite(bibliography.entry(bibliography.BLUR))}), light, head pose, "
        "visibility of the mouth, detection score and position in the image. The limits of this "
        "rule follow how jadfer-compact-0.4 fails on worse pictures, not on these videos."
        if faces
        else "there was nothing to score."
    )
    without = sum(not c["faces"] for c in counts)
    if without and len(group) > 1:
        yield f"In {without} of the {len(group)} videos no face was found."
    corrupt = sum(c["frames_corrupt"] for c in counts)
    if corrupt:
        yield f"{count_text(corrupt, 'frame')} {'was' if corrupt == 1 else 'were'} corrupt."


def _software(group: Sequence[Metadata]) -> Iterable[str]:
    precision = listed(_distinct(group, lambda m: m["precision"]))
    device = listed(_distinct(group, lambda m: m["device_name"]))
    engine = listed(
        _distinct(group, lambda m: _ENGINES.get(m.get("engine") or "torch", m.get("engine")))
    )
    names = {
        "Python": "python", "PyTorch": "torch", "ONNX Runtime": "onnxruntime", "PyAV": "av",
        "decord2": "decord2", "trackers": "trackers", "OpenCV": "opencv-python",
    }  # fmt: skip
    found = {
        name: sorted({str(m["versions"][package]) for m in group if m["versions"].get(package)})
        for name, package in names.items()
    }
    versions = [f"{name} {' / '.join(these)}" for name, these in found.items() if these]
    yield f"Computation was in {precision} with {engine} ({device}); {', '.join(versions)}."
    yield "The probabilities say how a face looks, not what the person feels."


def _year(group: Sequence[Metadata]) -> str:
    """The year of the latest result."""
    return max(str(m.get("created") or "n.d.")[:4] for m in group)


def _distinct(group: Sequence[Metadata], of: Callable[[Metadata], Any]) -> list[str]:
    return sorted({str(value) for m in group if (value := of(m)) is not None})
