"""Check that results fit into one dataset: same columns, model and schema, and no video twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from jadfer_cli.analysis.failures import stored
from jadfer_cli.analysis.find import FoundResults
from jadfer_cli.analysis.provenance import compare_settings, model_sha256
from jadfer_cli.errors import ResultError
from jadfer_cli.results.columns import DERIVED
from jadfer_cli.results.load import Result
from jadfer_cli.text import count_text

_MAX_NAMES = 3  # files listed in a message
# checked on their own, or without effect on the values in the rows
_NOT_COMPARED = ("schema", "model", "--landmarks", "--relative-paths", "--file-names")
_ANNOTATE_AGAIN = "Annotate the videos of the fewer files again, or collect the others alone."
_SAME_STEPS = (
    "Collect the results that `jadfer annotate` wrote, or those of one later command, such as "
    "`jadfer identify` or `jadfer smooth`, run on all of them."
)
_ONE_MODEL = "Scores of different models cannot be compared; collect the results of each alone."


@dataclass(frozen=True)
class Source:
    """One result that goes into a dataset.

    Attributes:
        result: The result.
        relative_path: Its path below the folder that holds all inputs, e.g. "day1/clip.parquet".
        video: The value of the column `video` in the dataset; unique among the sources.
    """

    result: Result
    relative_path: str
    video: str


@dataclass(frozen=True)
class Dataset:
    """Results that can be collected into one dataset.

    Attributes:
        sources: In the order of their rows.
        warnings: How the results differ, one sentence each.
        mixed: Whether they are from several models.
        failures: Videos of the same batches that failed, as `analysis.failures.stored` gives them.
    """

    sources: tuple[Source, ...]
    warnings: tuple[str, ...]
    mixed: bool
    failures: tuple[dict[str, str], ...] = ()


class MixedModels(ResultError):
    """The results are of several models."""


class DuplicateVideos(ResultError):
    """Several results are of the same video."""


def check_dataset(
    found: FoundResults,
    *,
    mixed: bool = False,
    relative: bool = False,
    allow_duplicates: bool = False,
) -> Dataset:
    """Check that results fit together, and name each video in the dataset.

    Args:
        found: The results.
        mixed: Accept results of several models.
        relative: Name each video after the path of its result below the inputs' folder, like
            "day1/clip.mp4". By default this is done only where two videos have the same name.
        allow_duplicates: Accept several results of the same video, by its sha256.

    Raises:
        ResultError: The schema differs, or the columns do, without `mixed`.
        MixedModels: The model differs, without `mixed`.
        DuplicateVideos: Two results are of the same video, without `allow_duplicates`.
    """
    results = found.results
    models = [model_name(result) for result in results]
    schemas = [result.metadata["schema_version"] for result in results]
    _require_same(results, "schema", schemas, _ANNOTATE_AGAIN)
    if not mixed:
        _require_same(results, "model", models, _ONE_MODEL, MixedModels)
        columns = _extra_columns([result.columns for result in results])
        has_steps = any(key in r.metadata for r in results for key in (DERIVED, "people"))
        _require_same(results, "columns", columns, _SAME_STEPS if has_steps else _ANNOTATE_AGAIN)
    videos = _videos(results)
    warnings = _warnings(results, models) + _check_duplicates(results, allow_duplicates)
    names = [_name_from_path(found, r, video) for r, video in zip(results, videos, strict=True)]
    if not relative:
        counts = Counter(videos)
        renamed = [n for n, video in zip(names, videos, strict=True) if counts[video] > 1]
        names = [n if counts[video] > 1 else video for n, video in zip(names, videos, strict=True)]
        if renamed:
            warnings.append(
                f"{len(renamed):,} results are of videos with the same name; in the column video "
                f"they are named after the path of the result: {_listed(renamed)}."
            )
    _check_unique_names(results, names)
    paths = [found.relative_path(result).as_posix() for result in results]
    sources = map(Source, results, paths, names)
    failures = tuple(stored(found.failures, found.root))
    return Dataset(tuple(sources), tuple(warnings), len(set(models)) > 1, failures)


def model_name(result: Result) -> str:
    """Return the model of a result as the dataset's column `model` has it."""
    return f"{result.metadata['model']['name']} {model_sha256(result.metadata)[:8]}"


def _paths_by_value(results: Sequence[Result], values: Sequence[Any]) -> dict[str, list[str]]:
    """The results' paths, grouped by a value of each; the largest group first."""
    groups: dict[str, list[str]] = defaultdict(list)
    for result, value in zip(results, values, strict=True):
        groups[str(value)].append(str(result.path))
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def _listed(names: Sequence[str]) -> str:
    n_more = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {n_more:,} more" if n_more > 0 else "")


def _difference(what: str, groups: Mapping[str, Sequence[str]]) -> str:
    """One difference: "--fps differs: none in 297 results; 5.0 in a.parquet, b.parquet"."""
    (most, paths), *others = groups.items()
    parts = [f"{most} in {len(paths):,} {'results' if len(paths) > 1 else 'result'}"]
    parts += [f"{value} in {_listed(paths)}" for value, paths in others]
    return f"{what} differs: {'; '.join(parts)}."


def _require_same(
    results: Sequence[Result],
    what: str,
    values: Sequence[Any],
    hint: str,
    error: type[ResultError] = ResultError,
) -> None:
    groups = _paths_by_value(results, values)
    if len(groups) > 1:
        raise error(f"The results do not fit together: {_difference(what, groups)}", hint)


def _extra_columns(columns: Sequence[Sequence[str]]) -> list[str]:
    """The columns of each result, without those that all results have (about thirty)."""
    shared = set.intersection(*map(set, columns))
    return [", ".join(c for c in each if c not in shared) or "no others" for each in columns]


def _warnings(results: Sequence[Result], models: Sequence[str]) -> list[str]:
    """One sentence for each difference in how the results were made."""
    versions = [str(result.metadata["jadfer_version"]) for result in results]
    settings = {
        "model": models,
        **{k: v for k, v in compare_settings(results).items() if k not in _NOT_COMPARED},
        "jadfer version": versions,
    }
    groups = {name: _paths_by_value(results, values) for name, values in settings.items()}
    return [_difference(name, paths) for name, paths in groups.items() if len(paths) > 1]


def _videos(results: Sequence[Result]) -> list[str]:
    """The value of the column `video` in each result.

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


def _check_duplicates(results: Sequence[Result], allowed: bool) -> list[str]:
    """Name the results of the same video, by its sha256: in warnings if allowed, or in an error.

    Raises:
        DuplicateVideos: There are some, and they are not allowed.
    """
    hashes = [result.metadata["video"].get("sha256") for result in results]
    hashed = [(result, sha256) for result, sha256 in zip(results, hashes, strict=True) if sha256]
    groups = _paths_by_value([r for r, _ in hashed], [h for _, h in hashed]).values()
    same = [paths for paths in groups if len(paths) > 1]
    if same and not allowed:
        listed = "; ".join(_listed(paths) for paths in same[:_MAX_NAMES])
        more = f"; and {len(same) - _MAX_NAMES:,} more"
        raise DuplicateVideos(
            f"{count_text(len(same), 'video')}, by sha256, {'has' if len(same) == 1 else 'have'} "
            f"several results: {listed}{more if len(same) > _MAX_NAMES else ''}.",
            "Their rows would count several times; leave out all but one of each.",
        )
    return [f"The same video (by its sha256) has several results: {_listed(p)}." for p in same]


def _name_from_path(found: FoundResults, result: Result, video: str) -> str:
    """A video's name from the path of its result: day1/clip.parquet becomes day1/clip.mp4."""
    path = found.relative_path(result)
    suffix = video[video.rfind(".") :] if "." in video.replace("\\", "/").split("/")[-1] else ""
    return path.with_name(path.stem + suffix).as_posix()


def _check_unique_names(results: Sequence[Result], names: Sequence[str]) -> None:
    for name, paths in _paths_by_value(results, names).items():
        if len(paths) > 1:
            raise ResultError(
                f"{_listed(paths)} would both be called {name} in the column video.",
                "Rename one of the files, or name all videos by path with `relative`.",
            )
