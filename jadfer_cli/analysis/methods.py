"""The methods section: a paragraph, and the works it cites, from the metadata of results."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jadfer_cli.analysis import bibliography
from jadfer_cli.analysis.provenance import changed_options, differing_settings, groups, short_sha256
from jadfer_cli.expression import networks
from jadfer_cli.results.load import Result
from jadfer_cli.text import count_text

Metadata = Mapping[str, Any]

_SETS = {
    "ferplus": "FER+",
    "rafdb": "RAF-DB",
    "affectnet7": "AffectNet (7 classes)",
    "affectnet8": "AffectNet (8 classes)",
}
_ENGINES = {"onnxruntime": "ONNX Runtime", "torch": "PyTorch"}
_TRACKER_NAMES = {"bytetrack": "ByteTrack", "ocsort": "OC-SORT"}
# options that the sentences already state, or that do not affect scores
_STATED = ("--every", "--fps", "--tracker", "--detector", "--model", "--device", "--precision",
         "--engine", "--threads", "--batch-size", "--landmarks", "--relative-paths", "--file-names",
         "--redetect", "--start", "--end")  # fmt: skip
# for results whose metadata do not describe their network or detector
_FIRST_ARCHITECTURE = "jadfer"
_DETECTORS = {
    "centerface": ("CenterFace", bibliography.CENTERFACE),
    "scrfd": ("SCRFD", bibliography.SCRFD),
}


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


def describe(results: Sequence[Result]) -> Methods:
    """Writes the methods section of some results.

    Args:
        results: One or more; only their metadata are used.
    """
    found = groups(results)
    works: dict[str, str] = {}  # BibTeX by key, in the order in which they are cited
    if len(found) == 1:
        paragraphs = [_paragraph(results, works)]
    else:
        paragraphs = [
            f"The {len(results)} videos were not all processed alike: they form {len(found)} "
            f"groups, which differ in {_listed(_differing(results))}."
        ]
        for i, group in enumerate(found, 1):
            paragraphs.append(f"Group {i} of {len(found)}. {_paragraph(group, works)}")
    all_of = [result.metadata for result in results]
    versions = _distinct(all_of, lambda m: m["jadfer_version"])
    program = bibliography.software(versions, _year(all_of))
    return Methods(tuple(paragraphs), (program, *works.values()))


def _differing(results: Sequence[Result]) -> list[str]:
    named = [
        name
        for name in ("model", "detector")
        if len({result.metadata[name]["sha256"] for result in results}) > 1
    ]
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
            *_model(group[0], cite),
            *_coverage(group, cite),
            *_software(group),
        )
    )


def _videos(group: Sequence[Metadata]) -> Iterable[str]:
    m = group[0]
    versions = _listed(_distinct(group, lambda m: m["jadfer_version"]))
    cited = f"(The jadfer authors, {_year(group)})"
    yield f"Facial expressions were annotated with jadfer {versions} {cited}."
    lengths = [float(m["video"]["duration_s"]) for m in group]
    rates = _span([float(m["video"]["nominal_fps"]) for m in group], "{:.4g}")
    if len(group) == 1:
        yield f"In one video of {_length(lengths[0])} with {rates} frames per second,"
    else:
        yield (
            f"In {len(group):,} videos, {_length(sum(lengths))} in all ({_length(min(lengths))} to "
            f"{_length(max(lengths))} each), with {rates} frames per second,"
        )
    video = m["options"]["video"]
    which = "every frame"
    if video["fps"] is not None:
        which = f"at most {video['fps']:g} frames per second"
    elif video["every"] > 1:
        which = f"every {_ordinal(video['every'])} frame"
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


def _faces(m: Metadata, cite: Callable[[str], str]) -> Iterable[str]:
    detector, faces = m["detector"], m["options"]["faces"]
    title, work = _DETECTORS.get(detector["kind"], _DETECTORS["scrfd"])
    title = detector.get("title") or title
    citation = detector.get("citation") or bibliography.entry(work)
    # CenterFace has one file, named like the method
    file = "" if detector["name"].lower() == title.lower() else f"; {detector['name']}"
    name = f"{title} ({cite(citation)}{file})"
    tracker = _TRACKER_NAMES.get(faces["tracker"], faces["tracker"])
    if faces["tracker"] in bibliography.TRACKERS:
        tracker += f" ({cite(bibliography.entry(bibliography.TRACKERS[faces['tracker']]))})"
    yield f"Faces were detected by {name}, sha256 {short_sha256(detector['sha256'])},"
    redetect_s = m.get("redetect_s")
    if redetect_s:
        yield (f"in full frames every {redetect_s:g} s and, in between, near their last position,")
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


def _model(m: Metadata, cite: Callable[[str], str]) -> Iterable[str]:
    model = m["model"]
    labels = _listed(m["labels"])
    network = model.get("network") or networks.facts(_FIRST_ARCHITECTURE)
    described = f"{network['title']} ("
    caution = ""
    if network["citation"]:
        described += f"{cite(network['citation'])}; "
        caution = "; its figures are not those of that paper"
    yield (
        f"Each face was scored by the network {model['name']} (sha256 "
        f"{short_sha256(model['sha256'])}), of the architecture {described}{network['source']})"
        f"{caution}."
    )
    metrics = model.get("metrics") or {}
    training = metrics.get("training") or {}
    dataset = str(training.get("dataset") or "")
    if dataset:
        name = _SETS.get(dataset, "the users' own images")
        if dataset in bibliography.DATASETS:
            name += f" ({cite(bibliography.entry(bibliography.DATASETS[dataset]))})"
        images = f", {training['images']:,} images" if training.get("images") else ""
        yield f"It was trained on {name}{images}{_method(training, network, cite)}."
    else:
        yield "What it was trained on is not recorded in the results."
    yield f"It gives a calibrated probability for each of {len(m['labels'])} labels ({labels})."
    yield _measured(metrics) or "Its accuracy is not recorded in the results."
    if model.get("preview"):
        yield "The model is a briefly trained preview; its scores are not meant for publication."


def _method(training: Metadata, network: Metadata, cite: Callable[[str], str]) -> str:
    """How the model was trained, unless the recipe is but the network's own."""
    method = training.get("method") or {}
    if not method or method["title"] == network["title"]:
        return ""
    citation = f"{cite(method['citation'])}; " if method["citation"] else ""
    caution = "; its figures are not those of that paper" if citation else ""
    return f" by the method {method['title']} ({citation}{method['source']}){caution}"


def _measured(metrics: Mapping[str, Any]) -> str:
    """The figures measured on test images, with protocol and n; empty if there are none."""
    found = {
        name.replace("_", " "): value
        for name, value in metrics.items()
        if isinstance(value, Mapping) and "accuracy" in value and "n" in value
    }
    if not found:
        return ""
    best = max(found, key=lambda name: ("test" in name, "majority" in name))
    figures = found[best]
    words = best.split(maxsplit=2)
    name = " ".join([_SETS.get(words[0], words[0]), *words[1:]])
    if len(words) == 3:
        name = f"{_SETS.get(words[0], words[0])} ({words[1]} split, protocol: {words[2]})"
    intervals = figures.get("intervals_95") or {}

    def per_cent(key: str) -> str:
        text = f"{100 * figures[key]:.1f}%"
        if key in intervals:
            low, high = intervals[key]
            text += f" (95% bootstrap interval {100 * low:.1f} to {100 * high:.1f})"
        return text

    stated = [f"accuracy {per_cent('accuracy')}"]
    if "mean_class_recall" in figures:
        stated.append(f"mean class recall {per_cent('mean_class_recall')}")
    if "ece" in figures:
        stated.append(f"expected calibration error {figures['ece']:.3f}")
    return (
        f"On {figures['n']:,} images of {name} it reached {_listed(stated)}; "
        "this was not measured on the present videos."
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
    many = f" ({_by_video(with_face)})" if len(group) > 1 else ""
    yield f"A face was found in {_share(seen, frames)} of {frames:,} analysed frames{many};"
    by_video = [c["faces_usable"] / c["faces"] for c in counts if c["faces"]]
    many = f" ({_by_video(by_video)})" if len(by_video) > 1 else ""
    yield (
        f"{_share(usable, faces)} of {count_text(faces, 'face')}{many} "
        f"{'was' if faces == 1 else 'were'} usable by the program's rule on size, "
        f"sharpness ({cite(bibliography.entry(bibliography.BLUR))}), head pose, detection "
        "score and position in the image."
        if faces
        else "there was nothing to score."
    )
    without = sum(not c["faces"] for c in counts)
    if without and len(group) > 1:
        yield f"In {without} of the {len(group)} videos no face was found."
    corrupt = sum(c["frames_corrupt"] for c in counts)
    if corrupt:
        yield f"{corrupt:,} frames were corrupt."


def _software(group: Sequence[Metadata]) -> Iterable[str]:
    precision = _listed(_distinct(group, lambda m: m["precision"]))
    device = _listed(_distinct(group, lambda m: m["device_name"]))
    engine = _listed(
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


def _span(values: Sequence[float], form: str) -> str:
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low} to {high}"


def _by_video(shares: Sequence[float]) -> str:
    return (
        f"by video {100 * min(shares):.0f} to {100 * max(shares):.0f}%, "
        f"median {100 * statistics.median(shares):.0f}%"
    )


def _share(n: int, of: int) -> str:
    return f"{100 * n / of:.1f}%" if of else "0%"


def _length(seconds: float) -> str:
    """A length in words: 9.0 s, 4 min 5 s, 1 h 3 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"


def _ordinal(n: int) -> str:
    ending = {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th") if n % 100 not in (11, 12, 13) else "th"
    return "second" if n == 2 else "third" if n == 3 else f"{n}{ending}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
