"""A paragraph for a methods section, and what it cites, from the metadata of results alone."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jadfer_cli.analysis import bibliography as references
from jadfer_cli.analysis.provenance import changed_options, differing_settings, groups, short_sha256
from jadfer_cli.results.load import Result

Metadata = Mapping[str, Any]

_SETS = {
    "ferplus": "FER+",
    "rafdb": "RAF-DB",
    "affectnet7": "AffectNet (7 classes)",
    "affectnet8": "AffectNet (8 classes)",
}
_ENGINES = {"onnxruntime": "ONNX Runtime", "torch": "PyTorch"}
_TRACKER_NAMES = {"bytetrack": "ByteTrack", "ocsort": "OC-SORT"}
# options that the sentences name by themselves, or that do not shape scores
_SAID = ("--every", "--fps", "--tracker", "--detector", "--model", "--device", "--precision",
         "--engine", "--threads", "--batch-size", "--landmarks", "--relative-paths",
         "--redetect", "--start", "--end")  # fmt: skip


@dataclass(frozen=True)
class Methods:
    """What `jadfer methods` gives.

    Attributes:
        paragraphs: One, or an opening and one a group where results were not made alike.
        bibtex: An entry a work, the program first.
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
    """The methods section of these results.

    Args:
        results: One or more; only their metadata are used.
    """
    found = groups(results)
    keys: list[str] = []
    if len(found) == 1:
        paragraphs = [_paragraph(results, keys)]
    else:
        paragraphs = [
            f"The {len(results)} videos were not all processed alike: they form {len(found)} "
            f"groups that differ in {_listed(_differing(results))}."
        ]
        for i, group in enumerate(found, 1):
            paragraphs.append(f"Group {i} of {len(found)}. {_paragraph(group, keys)}")
    all_of = [result.metadata for result in results]
    versions = _distinct(all_of, lambda m: m["jadfer_version"])
    entries = [references.software(versions, _year(all_of))]
    entries += [references.entry(key) for key in dict.fromkeys(keys)]
    return Methods(tuple(paragraphs), tuple(entries))


def _differing(results: Sequence[Result]) -> list[str]:
    named = [
        name
        for name in ("model", "detector")
        if len({result.metadata[name]["sha256"] for result in results}) > 1
    ]
    return named + differing_settings(results)


def _paragraph(results: Sequence[Result], keys: list[str]) -> str:
    """The paragraph of results that were made alike; adds the works it cites to `keys`."""
    group = [result.metadata for result in results]

    def cite(key: str) -> str:
        keys.append(key)
        return references.cited(key)

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
    if detector["kind"] == "centerface":
        name = f"CenterFace ({cite(references.CENTERFACE)})"
    else:
        name = f"SCRFD ({cite(references.SCRFD)}; {detector['name']})"
    tracker = _TRACKER_NAMES.get(faces["tracker"], faces["tracker"])
    key = references.TRACKERS.get(faces["tracker"])
    yield f"Faces were detected by {name}, sha256 {short_sha256(detector['sha256'])},"
    redetect_s = m.get("redetect_s")
    if redetect_s:
        yield (
            f"in whole frames every {redetect_s:g} s and in between near where they had been seen,"
        )
    else:
        yield "in every analysed frame,"
    yield f"and followed over time with {tracker}{f' ({cite(key)})' if key else ''}."
    others = [flag for flag in changed_options(m) if flag not in _SAID]
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
    yield (
        f"Each face was scored by the network {model['name']} (sha256 "
        f"{short_sha256(model['sha256'])}), a reconstruction of JADFER "
        f"({cite(references.JADFER)}), whose authors published neither code nor weights; its "
        "figures are not those of that paper."
    )
    metrics = model.get("metrics") or {}
    training = metrics.get("training") or {}
    dataset = str(training.get("dataset") or "")
    if dataset:
        name = _SETS.get(dataset, "images of the users' own")
        if dataset in references.DATASETS:
            name += f" ({cite(references.DATASETS[dataset])})"
        images = f", {training['images']:,} images" if training.get("images") else ""
        yield f"It was trained on {name}{images}."
    else:
        yield "What it was trained on is not recorded in the results."
    yield f"It gives a calibrated probability of each of {len(m['labels'])} labels ({labels})."
    yield _measured(metrics) or "Its accuracy is not recorded in the results."
    if model.get("preview"):
        yield "The model is a preview, trained briefly; its scores are not meant for publication."


def _measured(metrics: Mapping[str, Any]) -> str:
    """The figures measured on test images, with protocol and n; empty where there are none."""
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

    said = [f"accuracy {per_cent('accuracy')}"]
    if "mean_class_recall" in figures:
        said.append(f"mean class recall {per_cent('mean_class_recall')}")
    if "ece" in figures:
        said.append(f"expected calibration error {figures['ece']:.3f}")
    return (
        f"On {figures['n']:,} images of {name} it reached {_listed(said)}; "
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
        f"{_share(usable, faces)} of {faces:,} faces{many} were usable by the program's rule on "
        f"size, sharpness ({cite(references.BLUR)}), head pose, detection score and place in the "
        "picture."
        if faces
        else "there is nothing to be scored."
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
    """When the last of the results was made."""
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
