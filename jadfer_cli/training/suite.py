"""One table of a model's figures on many tests: labelled faces, clips judged by eye, stability.

A suite is a TOML file. Paths are relative to it:

    [[sets]]
    name = "own faces"
    dataset = "folder"
    data = "faces"

    [[clips]]
    file = "clips/interview.mp4"
    first = 0
    last = 50
    expression = "neutral"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jadfer_cli.errors import OptionError
from jadfer_cli.expression.predict import Predictor
from jadfer_cli.labels import LABELS
from jadfer_cli.runtime import Runtime
from jadfer_cli.training import clip_faces
from jadfer_cli.training import start as starts
from jadfer_cli.training.data import DataOptions
from jadfer_cli.training.measure import measure
from jadfer_cli.training.reporting import Reporter

_CRF = 32


class ClipRange(NamedTuple):
    """Frames of a clip that show one expression: first to last, both included; None: the end."""

    file: Path
    first: int
    last: int | None
    expression: str


class LabelledSet(NamedTuple):
    """A data set and the split that is measured."""

    name: str
    options: DataOptions
    split: str


@dataclass(frozen=True)
class Suite:
    """The tests of a suite.

    Attributes:
        sets: Labelled faces.
        clips: Ranges judged by eye.
        compressed: Clips that are also compressed by H.264 at CRF 32.
    """

    sets: tuple[LabelledSet, ...] = ()
    clips: tuple[ClipRange, ...] = ()
    compressed: tuple[Path, ...] = ()


class Value(NamedTuple):
    """A figure with its 95 % interval; None where frames of one clip depend on each other."""

    value: float
    interval: tuple[float, float] | None = None


@dataclass
class Row:
    """One test.

    Attributes:
        test: What is measured, in words.
        n: Images, frames or comparisons.
        unit: "share", "error" (a calibration error) or "per second".
        values: By model.
    """

    test: str
    n: int
    unit: str = "share"
    values: dict[str, Value] = field(default_factory=dict)


def read(path: Path) -> Suite:
    """Reads a suite.

    Raises:
        OptionError: It is missing, not TOML, or an entry is wrong.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise OptionError(f"The suite {path} cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"The suite {path} is not TOML: {error}.") from error
    try:
        suite = _suite(table, path.resolve().parent)
    except (KeyError, TypeError, AttributeError) as error:
        raise OptionError(
            f"The suite {path} lacks an entry, or has one of the wrong type: {error}.",
            "[[sets]] needs dataset and data; [[clips]] needs file, first and expression.",
        ) from error
    for clip in suite.clips:
        if clip.expression not in LABELS:
            raise OptionError(
                f"The suite {path}: {clip.expression} is not an expression.",
                f"Expressions: {', '.join(LABELS)}.",
            )
    missing = [str(clip.file) for clip in suite.clips if not clip.file.is_file()]
    if missing:
        raise OptionError(f"The suite {path} names {missing[0]}, which is not a file.")
    if not (suite.sets or suite.clips):
        raise OptionError(f"The suite {path} has neither [[sets]] nor [[clips]].")
    return suite


def _suite(table: Mapping[str, Any], folder: Path) -> Suite:
    sets = [
        LabelledSet(
            str(entry.get("name", f"{entry['dataset']} {entry.get('split', 'test')}")),
            DataOptions(
                entry["dataset"],
                folder / entry["data"],
                folder / entry["votes"] if "votes" in entry else None,
                tuple(entry.get("classes", ())),
                (entry.get("detector", "auto"),),
            ),
            entry.get("split", "test"),
        )
        for entry in table.get("sets", ())
    ]
    clips = [
        ClipRange(folder / entry["file"], entry["first"], entry.get("last"), entry["expression"])
        for entry in table.get("clips", ())
    ]
    return Suite(tuple(sets), tuple(clips), tuple(folder / x for x in table.get("compressed", ())))


def run(suite: Suite, models: Sequence[str], runtime: Runtime, report: Reporter) -> list[Row]:
    """Measures models on a suite.

    Args:
        suite: As read.
        models: Names or paths of checkpoints; each gives a column.
        runtime: Device, threads and batch size.
        report: Receives notes and progress.

    Raises:
        ModelError: A model cannot be loaded, or has other labels.
        TrainingError: A data set cannot be read.
        VideoError: A clip cannot be read.
    """
    rows: dict[str, Row] = {}
    for model in models:
        starts.labelled(model)  # before hours on the others
    for labelled in suite.sets:
        for model in models:
            _add_set(rows, labelled, model, runtime, report)
    if suite.clips:
        _add_clips(rows, suite, models, runtime, report)
    return list(rows.values())


def _add(
    rows: dict[str, Row], test: str, n: int, model: str, value: Value, unit: str = "share"
) -> None:
    rows.setdefault(test, Row(test, n, unit)).values[model] = value


def _add_set(
    rows: dict[str, Row], labelled: LabelledSet, model: str, runtime: Runtime, report: Reporter
) -> None:
    """Accuracy, recall and calibration error by protocol, also without twins of training."""
    found = measure(model, labelled.options, labelled.split, runtime, report=report).figures
    for kind, protocols in (("", found["protocols"]), ("clean ", found["clean"] or {})):
        for protocol, f in protocols.items():
            if not f["n"] or (kind and f["n"] == found["protocols"][protocol]["n"]):
                continue
            place = f"{labelled.name}, {kind}{protocol}"
            for key, words in (("accuracy", "accuracy"), ("mean_class_recall", "mean recall")):
                interval = (float(f["intervals_95"][key][0]), float(f["intervals_95"][key][1]))
                _add(rows, f"{place}: {words}", f["n"], model, Value(f[key], interval))
            ece = f["intervals_95"]["ece"]
            value = Value(f["ece"], (float(ece[0]), float(ece[1])))
            _add(rows, f"{place}: ECE", f["n"], model, value, "error")
            if not kind and "neutral" in f["recall"]:
                n = int(sum(f["confusion"][f["labels"].index("neutral")]))
                read_as = Value(1 - f["recall"]["neutral"])
                _add(rows, f"{place}: neutral read as another", n, model, read_as)


def _add_clips(
    rows: dict[str, Row], suite: Suite, models: Sequence[str], runtime: Runtime, report: Reporter
) -> None:
    """Shares of frames with the label judged by eye, label changes, and label flips."""
    finder = clip_faces.Finder(runtime.threads)
    predictors = {model: Predictor(starts.labelled(model), runtime) for model in models}
    files = list(dict.fromkeys(clip.file for clip in suite.clips))
    flips = {model: dict[str, list[int]]() for model in models}
    changes = {model: np.zeros(2) for model in models}
    with report.counting("clips", len(files)) as progress:
        for done, file in enumerate(files):
            for crop_px in {predictor.crop_px for predictor in predictors.values()}:
                same = {m: p for m, p in predictors.items() if p.crop_px == crop_px}
                faces = clip_faces.read(file, finder, crop_px)
                again = (
                    clip_faces.compressed(file, finder, crop_px, _CRF)
                    if file in suite.compressed
                    else None
                )
                for model, predictor in same.items():
                    labels = clip_faces.labels_per_frame(faces, _labels(predictor, faces))
                    for clip in (clip for clip in suite.clips if clip.file == file):
                        changes[model] += _add_range(rows, clip, labels, faces, model)
                    for name, (n, of) in clip_faces.flips(predictor.probabilities, faces).items():
                        total = flips[model].setdefault(name, [0, 0])
                        total[:] = [total[0] + n, total[1] + of]
                    if again is not None:
                        _add_compressed(rows, file, labels, again, model, predictor)
            progress(done + 1)
    for model in models:
        count, seconds = changes[model]
        per_second = Value(float(count / max(seconds, 1e-9)))
        _add(rows, "label changes in these ranges", round(seconds), model, per_second, "per second")
        for name, (n, of) in flips[model].items():
            _add(rows, f"clips, {name}: labels changed", of, model, Value(n / max(of, 1)))


def _labels(predictor: Predictor, faces: clip_faces.ClipFaces) -> np.ndarray[Any, Any]:
    if not len(faces.frames):
        return np.empty(0, int)
    return np.asarray(predictor.probabilities(faces.crops["unchanged"]).argmax(1))


def _add_range(
    rows: dict[str, Row],
    clip: ClipRange,
    labels: np.ndarray[Any, Any],
    faces: clip_faces.ClipFaces,
    model: str,
) -> tuple[int, float]:
    """Adds a range's row; gives its label changes and seconds. A missed face counts as wrong."""
    last = faces.n_frames - 1 if clip.last is None else clip.last
    own = labels[clip.first : last + 1]
    share = float((own == LABELS.index(clip.expression)).mean()) if len(own) else 0.0
    test = f"{clip.file.name} {clip.first}-{last}: {clip.expression}"
    _add(rows, test, len(own), model, Value(share))
    return clip_faces.changes_per_second(own, faces.time_s[clip.first : last + 1])


def _add_compressed(
    rows: dict[str, Row],
    file: Path,
    labels: np.ndarray[Any, Any],
    again: clip_faces.ClipFaces,
    model: str,
    predictor: Predictor,
) -> None:
    n = min(len(labels), again.n_frames)
    theirs = clip_faces.labels_per_frame(again, _labels(predictor, again))[:n]
    value = Value(float((theirs != labels[:n]).mean()) if n else 0.0)
    _add(rows, f"{file.name} at H.264 CRF {_CRF}: labels changed", n, model, value)
