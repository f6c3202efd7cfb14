"""Read the facial actions beside a result, one row per face, and pair them with its faces."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from jadfer_cli.analysis.face_table import FaceTable
from jadfer_cli.analysis.frame_times import Bools, Floats, Ints
from jadfer_cli.errors import OptionError, ResultError
from jadfer_cli.labels import ACTION_COLUMNS, MEASURE_COLUMNS, snake_case
from jadfer_cli.results.carried import beside
from jadfer_cli.results.companions import ACTIONS, COMPANIONS, MESH, MESH_COLUMN
from jadfer_cli.results.load import Result
from jadfer_cli.results.parquet import read_attrs, read_schema

PREFIX = "a_"
COLLECTED = "collected_actions"  # metadata entry of the actions of a dataset: one per video
_KEY = ("video", "frame", "track_id")
_WHAT = {ACTIONS: "actions", MESH: "meshes"}
_OPTIONS = {ACTIONS: "`actions`", MESH: "`actions` and `mesh`"}
# Actions that both sides of a face have, without the side: brow_down, eye_blink, ... In ARKit's
# names, jawLeft, mouthLeft and their right sides are directions, not sides.
_DIRECTIONS = ("jaw", "mouth")
PAIRED = tuple(
    name
    for column in ACTION_COLUMNS
    if column.endswith("_left")
    and (name := column.removeprefix(PREFIX).removesuffix("_left")) not in _DIRECTIONS
)


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
            if re.fullmatch(r"(?i)a[ud] ?_?\d+.*", name.strip()):
                hint = (
                    "Actions are no FACS units; `jadfer guide actions` names the nearest of each."
                )
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


def all_rows(result: Result) -> pd.DataFrame:
    """Read all columns of the file of actions of a result.

    Raises:
        ResultError: There are no actions, or they are those of another run, or damaged.
    """
    return _read(result, [name for name in COMPANIONS[ACTIONS].schema().names if name not in _KEY])


def origin(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same in the metadata of a result and in those of its actions."""
    return {"created": metadata.get("created"), ACTIONS: metadata.get(ACTIONS)}


def _read(result: Result, columns: Sequence[str], name: str = ACTIONS) -> pd.DataFrame:
    path = beside(result, name)
    if result.dataset is not None and not (path.is_file() and ACTIONS in result.metadata):
        raise ResultError(
            f"{result.path} is part of a dataset and has no {_WHAT[name]}.",
            "Annotate its video with `actions`, and collect the results again."
            if name == ACTIONS
            else "Name the result that it was collected from.",
        )
    if not path.is_file():
        raise ResultError(
            f"{result.path} has no {_WHAT[name]} beside it: there is no {path.name}.",
            f"Annotate the video with {_OPTIONS[name]}. If this is a copy of a result, such as "
            f"`jadfer identify` writes, copy {path.name} of the original beside it.",
        )
    try:
        metadata = read_attrs(path).get("jadfer")
        missing = {*COMPANIONS[name].schema().names} - {*read_schema(path).names}
        if missing or not isinstance(metadata, dict):
            raise ValueError(f"the columns {', '.join(sorted(missing))} are missing")
        filters = None
        if result.dataset is not None:
            metadata = metadata[COLLECTED].get(result.video, {})
            filters = [("video", "==", result.video)]
        if origin(metadata) != origin(result.metadata):
            raise _other_run(result, name)
        return pd.read_parquet(path, columns=["frame", "track_id", *columns], filters=filters)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        again = "Annotate the video again." if result.dataset is None else "Collect again."
        raise ResultError(f"{path} is damaged or was changed ({error}).", again) from error


def _other_run(result: Result, name: str = ACTIONS) -> ResultError:
    return ResultError(
        f"{beside(result, name)} belongs to another run than {result.path}.",
        "Copy both files of one run, or annotate the video again."
        if result.dataset is None
        else "Collect the results again.",
    )
