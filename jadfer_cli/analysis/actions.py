"""Read the facial actions beside a result, one row per face, and pair them with its faces."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from jadfer_cli.analysis.face_table import FaceTable
from jadfer_cli.analysis.frame_times import Bools, Floats, Ints
from jadfer_cli.errors import OptionError, ResultError
from jadfer_cli.labels import ACTION_COLUMNS, MEASURE_COLUMNS, snake_case
from jadfer_cli.results.companions import ACTIONS, COMPANIONS, MESH, MESH_COLUMN
from jadfer_cli.results.load import Result
from jadfer_cli.results.parquet import read_attrs, read_schema
from jadfer_cli.results.paths import companion_path

PREFIX = "a_"
_WHAT = {ACTIONS: "actions", MESH: "meshes"}
# Actions that both sides of a face have, without the side: brow_down, eye_blink, ... In ARKit's
# names, jawLeft, mouthLeft and their right sides are directions, not sides.
_DIRECTIONS = ("jaw", "mouth")
PAIRED = tuple(
    name
    for column in ACTION_COLUMNS
    if column.endswith("_left")
    and (name := column.removeprefix(PREFIX).removesuffix("_left")) not in _DIRECTIONS
)


def has_actions(result: Result) -> bool:
    """Whether a file of actions belongs to a result and lies beside it."""
    return result.dataset is None and ACTIONS in result.metadata and _path(result).is_file()


def action_names() -> tuple[str, ...]:
    """The names of all actions: brow_down_left, ..."""
    return tuple(column.removeprefix(PREFIX) for column in ACTION_COLUMNS)


def resolve_actions(names: Sequence[str]) -> tuple[str, ...]:
    """Return the actions that a user named, without repeats.

    Args:
        names: jaw_open, a_jaw_open or jawOpen.

    Raises:
        OptionError: There is no such action.
    """
    known = action_names()
    found: dict[str, None] = {}
    for name in names:
        plain = snake_case(name.strip()) if re.search("[A-Z]", name) else name.strip()
        plain = plain.removeprefix(PREFIX)
        if plain not in known:
            near = difflib.get_close_matches(plain, known, 3)
            hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {', '.join(known)}."
            raise OptionError(f"`action` {name}: there is no such action.", hint)
        found[plain] = None
    return tuple(found)


def read_actions(
    result: Result, faces: FaceTable, columns: Sequence[str] = (*ACTION_COLUMNS, *MEASURE_COLUMNS)
) -> Floats:
    """Read the actions of the faces of a result.

    Args:
        result: The result.
        faces: Its n faces.
        columns: Columns of the file of actions.

    Returns:
        float64 (n, len(columns)); NaN where a face has no mesh.

    Raises:
        ResultError: There are no actions, or they are those of another run, or damaged.
    """
    rows = _read(result, columns)
    keys = pd.MultiIndex.from_arrays([rows["frame"], rows["track_id"]])
    wanted = pd.MultiIndex.from_arrays([faces.frame, faces.track])
    if not keys.is_unique or (len(at := keys.get_indexer(wanted)) and (at < 0).any()):
        raise _other_run(result)
    values: Floats = rows[list(columns)].to_numpy(np.float64)[keys.get_indexer(wanted)]
    return values


def seen_faces(
    result: Result, faces: FaceTable, columns: Sequence[str], *, tracks: Ints | None = None
) -> tuple[FaceTable, Floats]:
    """Return those of some faces that have a mesh, and their values (m, len(columns)).

    Args:
        result: The result.
        faces: Some of its n faces, e.g. the usable ones.
        columns: Columns of the file of actions.
        tracks: int64 (n,), the track IDs of the faces, where `faces` are those of people.

    Raises:
        ResultError: As for `read_actions`.
    """
    own = faces if tracks is None else replace(faces, track=tracks)
    values = read_actions(result, own, columns)
    seen: Bools = np.asarray(np.isfinite(values).all(axis=1), np.bool_)
    return faces.take(seen), values[seen]


def read_meshes(result: Result) -> dict[tuple[int, int], Floats]:
    """Read the meshes of a result.

    Returns:
        float32 (478, 3) by frame and track: x, y and depth in px. Faces without a mesh are left
        out.

    Raises:
        ResultError: There are no meshes, or they are those of another run, or damaged.
    """
    rows = _read(result, [MESH_COLUMN], MESH).dropna(subset=[MESH_COLUMN])
    keys = zip(rows["frame"].tolist(), rows["track_id"].tolist(), strict=True)
    meshes = (np.asarray(flat).reshape(-1, 3) for flat in rows[MESH_COLUMN])
    return dict(zip(keys, meshes, strict=True))


def _path(result: Result, name: str = ACTIONS) -> Path:
    return companion_path(result.path, name)


def _read(result: Result, columns: Sequence[str], name: str = ACTIONS) -> pd.DataFrame:
    path = _path(result, name)
    if result.dataset is not None:
        raise ResultError(
            f"{result.path} is part of a dataset, which holds no {_WHAT[name]}.",
            "Name the results that it was collected from.",
        )
    if not path.is_file():
        raise ResultError(
            f"{result.path} has no {_WHAT[name]} beside it: there is no {path.name}.",
            f"Annotate the video with `{name}`. If this is a copy of a result, such as `jadfer "
            f"identify` writes, copy {path.name} of the original beside it.",
        )
    try:
        metadata = read_attrs(path).get("jadfer")
        missing = {*COMPANIONS[name].schema().names} - {*read_schema(path).names}
        if missing or not isinstance(metadata, dict):
            raise ValueError(f"the columns {', '.join(sorted(missing))} are missing")
        if any(metadata.get(key) != result.metadata.get(key) for key in ("created", ACTIONS)):
            raise _other_run(result, name)
        return pd.read_parquet(path, columns=["frame", "track_id", *columns])
    except (OSError, ValueError, TypeError) as error:  # pyarrow's errors are ValueErrors
        raise ResultError(
            f"{path} is damaged or was changed ({error}).", "Annotate the video again."
        ) from error


def _other_run(result: Result, name: str = ACTIONS) -> ResultError:
    return ResultError(
        f"{_path(result, name)} belongs to another run than {result.path}.",
        "Copy both files of one run, or annotate the video again.",
    )
