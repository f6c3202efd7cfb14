"""Install a model file: the face landmarker from Google, or any model file from another machine."""

from __future__ import annotations

import zipfile
from pathlib import Path

from jadfer_cli.common import atomic_write, file_sha256
from jadfer_cli.errors import ModelError, OptionError
from jadfer_cli.faces.landmarker import MODEL, MODEL_NAME, MODEL_SHA256, models_folder
from jadfer_cli.faces.packs import PACKS, Pack
from jadfer_cli.installation.fetch import (
    KNOWN_ZIPS,
    TIMEOUT_S,
    Fetched,
    copy_stream,
    opened,
    source_errors,
    stage_of,
)
from jadfer_cli.installation.unpack import Progress

LANDMARKER_URL = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
    + MODEL
)
_MESH_GRAPH = "face_landmarks_detector.tflite"  # in every file of a face landmarker
_USED_BY_PATH = {".safetensors": ("model",), ".onnx": ("detector", "recogniser")}


def landmarker_path() -> Path:
    """Where the face landmarker is installed; it may not exist."""
    return models_folder() / MODEL


def has_landmarker() -> bool:
    """Whether the face landmarker is installed, undamaged."""
    return landmarker_path().is_file() and file_sha256(landmarker_path()) == MODEL_SHA256


def install_landmarker(
    source: str = LANDMARKER_URL,
    *,
    sha256: str | None = None,
    timeout_s: float = TIMEOUT_S,
    progress: Progress = lambda stage, done, total: None,
) -> Fetched:
    """Downloads or copies the face landmarker, and replaces an earlier one.

    Args:
        source: URL or path of the file.
        sha256: Expected hash; None for that of Google's file.
        timeout_s: Give up when the server sends nothing for this long.
        progress: Called as bytes arrive.

    Raises:
        ModelError: It cannot be read, or is another file; nothing is left behind.
        OptionError: The source is neither a file nor an http(s) URL.
        OutputError: The folder of models cannot be written.
    """
    expected = sha256.lower() if sha256 else MODEL_SHA256
    path = landmarker_path()
    by_hand = (
        f"By hand: download {LANDMARKER_URL} on any machine, then run "
        f"`jadfer models add /path/to/{MODEL}` here."
    )
    with atomic_write(path, durable=True) as part:
        with (
            source_errors(MODEL_NAME, source, by_hand),
            opened(source, timeout_s) as (stream, total),
        ):
            digest = copy_stream(stream, part, total, stage_of(source, MODEL_NAME), progress)
        if digest != expected:
            raise ModelError(
                f"The file from {source} is not the known {MODEL}: sha256 is {digest}, expected "
                f"{expected}.",
                f"It may be damaged. {by_hand} If you trust this file, accept it with `sha256` "
                f"{digest}",
            )
        if not _holds_landmarker(part):
            raise ModelError(f"The file from {source} is no face landmarker.", by_hand)
    return Fetched(path, source, digest, expected)


def pack_in(file: Path) -> Pack | None:
    """The pack whose zip this is, by its sha256, else by its name; None for other files.

    Raises:
        ModelError: The file is missing.
    """
    digest = _sha256(file)
    for name, known in KNOWN_ZIPS.items():
        if digest == known.sha256:
            return PACKS[name]
    return PACKS.get(file.stem) if file.suffix == ".zip" else None


def check_is_landmarker(file: Path) -> None:
    """Checks that a file that is no pack is a face landmarker.

    Raises:
        ModelError: The file is missing, or no model that is installed.
        OptionError: The file needs no installation.
    """
    if _sha256(file) == MODEL_SHA256 or _holds_landmarker(file):
        return
    if options := _USED_BY_PATH.get(file.suffix):
        uses = " or ".join(f"`{option}` {file}" for option in options)
        raise OptionError(f"{file} needs no installation.", f"Name it where it is used: {uses}")
    raise ModelError(
        f"{file} is neither the face landmarker nor the zip of an InsightFace pack.",
        f"The face landmarker is named {MODEL}; zips of packs are named "
        f"{', '.join(f'{name}.zip' for name in PACKS)}.",
    )


def _sha256(file: Path) -> str:
    try:
        return file_sha256(file)
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror or error}.") from error


def _holds_landmarker(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return _MESH_GRAPH in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False
