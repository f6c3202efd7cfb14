"""What `jadfer identify` writes: results with names, a table of people, embeddings on request."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from jadfer_cli.analysis.find import FoundResults
from jadfer_cli.analysis.people.identify import Identified, person_columns
from jadfer_cli.common import already_exists, atomic_write, check_writable
from jadfer_cli.results.columns import PERSON_DESCRIPTIONS
from jadfer_cli.results.extended import write_extended
from jadfer_cli.results.load import Result
from jadfer_cli.results.paths import sidecar_path
from jadfer_cli.results.schema import PERSON_COLUMNS, UNKNOWN

if TYPE_CHECKING:
    from jadfer_cli.faces.recognise import RecogniserInfo

TABLE = "people.csv"  # in the output folder
_METADATA = "people"  # in the metadata of a result


@dataclass(frozen=True)
class Appearance:
    """A stretch of a track that shows one person.

    Attributes:
        person: The name.
        result: Path of the result.
        video: Path of the video, as recorded.
        track_id: The track.
        start_s, end_s: Start of its first frame and end of its last one.
        seen_s: How long its frames are shown, without gaps.
        faces: Number of rows.
        recognised: Number of faces that were recognised.
        person_score: Mean score of its parts, weighted by `recognised`; None without any.
        changes: Whether the track shows somebody else before or after.
    """

    person: str
    result: str
    video: str
    track_id: int
    start_s: float
    end_s: float
    seen_s: float
    faces: int
    recognised: int
    person_score: float | None
    changes: bool


def appearances(identified: Identified) -> list[Appearance]:
    """List where each person appears: one entry per stretch of a track, by result and track."""
    found = []
    numbered = list(enumerate(identified.parts))
    for (index, track), group in groupby(numbered, key=lambda p: (p[1].result, p[1].track_id)):
        result = identified.seen[index].result
        stretches = [
            (name, list(members))
            for name, members in groupby(group, key=lambda p: identified.name_of(p[0]))
        ]
        for name, members in stretches:
            parts = [part for _, part in members]
            scores = np.array([identified.matches.score[i] for i, _ in members])
            weights = np.array([part.n_samples for part in parts], np.float64)
            known = np.isfinite(scores)
            score = (
                float(np.average(scores[known], weights=weights[known])) if known.any() else None
            )
            found.append(
                Appearance(
                    name, str(result.path), str(result.metadata["video"]["path"]), track,
                    parts[0].start_s, parts[-1].end_s, sum(part.seen_s for part in parts),
                    sum(len(part.rows) for part in parts),
                    int(weights.sum()), score, len(stretches) > 1,
                )
            )  # fmt: skip
    return found


def appearance_table(found: Sequence[Appearance]) -> pd.DataFrame:
    """One row per appearance, sorted by person, with `unknown` last."""
    names = list(Appearance.__dataclass_fields__)
    table = pd.DataFrame([asdict(each) for each in found], columns=names)
    table["last"] = table["person"] == UNKNOWN
    table = table.sort_values(["last", "person"], kind="stable", ignore_index=True)
    table["person_score"] = table["person_score"].astype("float64").round(4)
    times = ["start_s", "end_s", "seen_s"]
    table[times] = table[times].astype("float64").round(6)
    return table.drop(columns="last")


def result_paths(found: FoundResults, folder: Path) -> dict[Path, Path]:
    """Where the new result of each result goes, in the same tree.

    Results of an earlier run, in a folder below the inputs, are left out.
    """
    own, root = Path(os.path.abspath(folder)), Path(os.path.abspath(found.root))
    return {
        result.path: folder / found.relative_path(result)
        for result in found.results
        if own == root or not Path(os.path.abspath(result.path)).is_relative_to(own)
    }


def check_targets(targets: Sequence[Path], *, overwrite: bool) -> None:
    """Check early that files may be written.

    Raises:
        OptionError: One exists, and `overwrite` is off.
        OutputError: One cannot be written.
    """
    for path in targets:
        check_writable(path)
        if path.exists() and not overwrite:
            raise already_exists(path)


def write_results(
    identified: Identified, paths: dict[Path, Path], settings: dict[str, Any]
) -> Iterator[tuple[Result, Path]]:
    """Write the results with the columns `person` and `person_score`; yields each once written.

    Raises:
        ResultError: A result changed while this ran.
        OutputError: A file cannot be written.
    """
    for which, seen in enumerate(identified.seen):
        result, out = seen.result, paths[seen.result.path]
        columns = person_columns(identified, which, len(seen.frames))
        has_face = result.rows(["track_id"])["track_id"].notna().to_numpy(bool)
        columns.loc[has_face & columns["person"].isna().to_numpy(), "person"] = UNKNOWN
        columns["person"] = columns["person"].astype("category")
        described = settings | {"persons": columns["person"].cat.categories.tolist()}
        columns["person_score"] = columns["person_score"].astype("float32")
        write_extended(
            result, columns[list(PERSON_COLUMNS)], out, {_METADATA: described}, PERSON_DESCRIPTIONS
        )
        yield result, out


def settings_of(
    info: RecogniserInfo, detector: str, threshold: float, alike: float, step_s: float,
    references: dict[str, int] | None,
) -> dict[str, Any]:  # fmt: skip
    """What the metadata of the new results say about the recognition, JSON-ready."""
    return {
        "recogniser": {k: v for k, v in asdict(info).items() if k != "path"},
        "detector": detector,
        "method": "groups" if references is None else "references",
        "threshold": threshold,
        "alike": alike,
        "step_s": step_s,
        "reference_pictures": references,
    }


def write_vectors(identified: Identified, out: Path) -> int:
    """Write the embeddings of all recognised faces as an .npz file; returns their number.

    Raises:
        OutputError: The file cannot be written.
    """
    kept = [(str(each.result.path), each.vectors) for each in identified.seen if each.vectors]
    names = [np.full(len(vectors[0]), name) for name, vectors in kept]
    frames, tracks, embeddings = (
        np.concatenate([vectors[i] for _, vectors in kept]) if kept else np.empty(0)
        for i in range(3)
    )
    with atomic_write(out) as part, part.open("wb") as file:
        np.savez_compressed(
            file, result=np.concatenate(names) if names else np.empty(0, str), frame=frames,
            track_id=tracks, embedding=embeddings,
        )  # fmt: skip
    return len(frames)


def targets(paths: dict[Path, Path], folder: Path, vectors: Path | None) -> list[Path]:
    """All files that will be written."""
    results = [each for out in paths.values() for each in (out, sidecar_path(out))]
    return [*results, folder / TABLE, *([vectors] if vectors else [])]
