"""Whether results fit into one dataset: their columns, model and settings; no video twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from jadfer_cli.analysis.find import FoundResults
from jadfer_cli.errors import ResultError
from jadfer_cli.results.load import Result
from jadfer_cli.results.settings import fingerprint

_NAMED = 3  # files that a message names
# what is refused or does not touch the rows is not compared as a setting
_NO_SETTINGS = ("schema", "model", "landmarks", "relative-paths")


@dataclass(frozen=True)
class Source:
    """One result on its way into a dataset.

    Attributes:
        result: The result.
        below: Its place below the folder that holds all, e.g. "day1/clip.parquet".
        video: What the column `video` will say; no other source says the same.
    """

    result: Result
    below: str
    video: str


@dataclass(frozen=True)
class Agreed:
    """Results that may stand in one dataset.

    Attributes:
        sources: In the order of their rows.
        warnings: What differs between them.
        mixed: Whether several models made them.
    """

    sources: tuple[Source, ...]
    warnings: tuple[str, ...]
    mixed: bool


def agree(found: FoundResults, *, mixed: bool = False, relative: bool = False) -> Agreed:
    """Checks that results fit together, and gives each video its name in the dataset.

    Args:
        found: The results.
        mixed: Take results of several models.
        relative: Name each video by the place of its result below the inputs' folder,
            "day1/clip.mp4"; else as its result does, but where two would be the same.

    Raises:
        ResultError: The schema or, without `mixed`, the model or the columns differ; or two
            results are of the same video.
    """
    results = found.results
    models = [model_name(r) for r in results]
    _need_one(results, "schema", [r.metadata["schema_version"] for r in results], _FEWER_AGAIN)
    if not mixed:
        _need_one(results, "model", models, f"{_ONE_MODEL} --mixed takes them all.")
        _need_one(results, "columns", _apart([r.columns for r in results]), _FEWER_AGAIN)
    videos = _videos(results)
    warnings = [_told("model", _by(results, models))] if len(set(models)) > 1 else []
    warnings += _settings(results)
    warnings += _twice(results, videos)
    names = [_place(found, r, video) for r, video in zip(results, videos, strict=True)]
    if not relative:
        times = Counter(videos)
        renamed = [n for n, video in zip(names, videos, strict=True) if times[video] > 1]
        names = [n if times[video] > 1 else video for n, video in zip(names, videos, strict=True)]
        if renamed:
            warnings.append(
                f"{len(renamed):,} results share their name of the video with another; there the "
                f"column video has the place of the result: {_some(renamed)}."
            )
    _refuse_same_names(results, names)
    below = [found.relative_path(r).as_posix() for r in results]
    sources = map(Source, results, below, names)
    return Agreed(tuple(sources), tuple(warnings), len(set(models)) > 1)


_FEWER_AGAIN = "Annotate the videos of the fewer files again, or collect the others alone."
_ONE_MODEL = "Scores of different models cannot be compared; collect each model's results alone."


def model_name(result: Result) -> str:
    """Which model made a result, for people: its name and the start of its sha256."""
    model = result.metadata["model"]
    return f"{model['name']} {model['sha256'][:8]}"


def _by(results: Sequence[Result], values: Sequence[Any]) -> dict[str, list[str]]:
    """The results' paths by what they have; what most have comes first."""
    groups: dict[str, list[str]] = defaultdict(list)
    for result, value in zip(results, values, strict=True):
        groups[str(value)].append(str(result.path))
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _told(what: str, groups: Mapping[str, Sequence[str]]) -> str:
    """One difference: "fps differs: None in 297 results; 5.0 in a.parquet, b.parquet"."""
    (most, paths), *others = groups.items()
    parts = [f"{most} in {len(paths):,} {'results' if len(paths) > 1 else 'result'}"]
    parts += [f"{value} in {_some(paths)}" for value, paths in others]
    return f"{what} differs: {'; '.join(parts)}."


def _need_one(results: Sequence[Result], what: str, values: Sequence[Any], hint: str) -> None:
    groups = _by(results, values)
    if len(groups) > 1:
        raise ResultError(f"The results do not fit together: {_told(what, groups)}", hint)


def _apart(columns: Sequence[Sequence[str]]) -> list[str]:
    """What sets each result's columns apart: it has some thirty that all have."""
    shared = set.intersection(*map(set, columns))
    return [", ".join(c for c in each if c not in shared) or "no others" for each in columns]


def _settings(results: Sequence[Result]) -> list[str]:
    """The settings that differ, each in a sentence."""
    prints = [_settings_of(r) for r in results]
    names = dict.fromkeys(name for each in prints for name in each)
    groups = {name: _by(results, [each.get(name) for each in prints]) for name in names}
    return [_told(name, found) for name, found in groups.items() if len(found) > 1]


def _settings_of(result: Result) -> dict[str, Any]:
    """What decides a result's rows, beside video and model, by name, for people."""
    found = {k: v for k, v in fingerprint(result.metadata).items() if k not in _NO_SETTINGS}
    found["detector"] = f"{result.metadata['detector']['name']} {found['detector'][:8]}"
    return found | {"jadfer version": result.metadata["jadfer_version"]}


def _videos(results: Sequence[Result]) -> list[str]:
    """What the column `video` of each result says.

    Raises:
        ResultError: A result is damaged, or holds several videos.
    """
    found = []
    for result in results:
        try:
            column = pq.read_table(result.path, columns=["video"])["video"]
        except (OSError, ValueError) as error:
            raise ResultError(f"{result.path} cannot be read: {error}.") from error
        names = column.unique().to_pylist()
        if len(names) > 1:
            raise ResultError(
                f"{result.path} holds rows of {len(names)} videos.",
                "Name results as `jadfer annotate` wrote them.",
            )
        found.append(names[0] if names else result.metadata["video"]["path"])
    return found


def _twice(results: Sequence[Result], videos: Sequence[str]) -> list[str]:
    """Refuses results of one video under one name, and tells of copies under several.

    Raises:
        ResultError: The same video, by name and sha256, twice.
    """
    hashes = [r.metadata["video"].get("sha256") for r in results]
    known = [(r, (h, v)) for r, h, v in zip(results, hashes, videos, strict=True) if h]
    taken = [r for r, _ in known]
    for paths in _by(taken, [key for _, key in known]).values():
        if len(paths) > 1:
            raise ResultError(
                f"{len(paths)} results are of the same video: {_some(paths)}.",
                "Its rows would count several times; leave all but one out.",
            )
    groups = _by(taken, [sha256 for _, (sha256, _) in known]).values()
    return [
        f"The same video (by its sha256) has {len(paths)} results under several names: "
        f"{_some(paths)}."
        for paths in groups
        if len(paths) > 1
    ]


def _place(found: FoundResults, result: Result, video: str) -> str:
    """A video's name by the place of its result: day1/clip.parquet is of day1/clip.mp4."""
    below = found.relative_path(result)
    ending = video[video.rfind(".") :] if "." in video.replace("\\", "/").split("/")[-1] else ""
    return below.with_name(below.stem + ending).as_posix()


def _refuse_same_names(results: Sequence[Result], names: Sequence[str]) -> None:
    for name, paths in _by(results, names).items():
        if len(paths) > 1:
            raise ResultError(
                f"{_some(paths)} would both be called {name} in the column video.",
                "Rename one of the files; --relative names all by their place.",
            )
