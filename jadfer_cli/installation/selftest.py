"""The self test of `jadfer doctor`: every stage runs once on a picture that is installed."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from jadfer_cli.errors import JadferError
from jadfer_cli.installation.doctor import OK, PROBLEM, WARNING, Finding
from jadfer_cli.records import Faces, ImageArray

_GROUP = "Self test"
_FRAMES = 4
# Of insightface's own test picture, and how many faces it shows.
_PICTURE, _PICTURE_FACES = "data/images/t1.jpg", 6
_REINSTALL = "pip install --force-reinstall insightface"


class _NotTried(Exception):
    """A step has nothing to work on here."""


def run() -> Iterator[Finding]:
    """Video, detection, scoring and writing, each on its own; about a second in all."""
    yield _attempt("video", _video)
    pictures: list[ImageArray] = []
    found: list[Faces] = []
    yield _attempt("faces", lambda: _faces(pictures, found))
    if found:
        yield _attempt("expression", lambda: _expression(pictures[0], found[0]))
    yield _attempt("parquet", _parquet)


def _attempt(name: str, step: Callable[[], str]) -> Finding:
    started_s = time.perf_counter()
    try:
        told = step()
    except _NotTried as error:
        return Finding(_GROUP, name, WARNING, f"not tried: {error}", _REINSTALL)
    except JadferError as error:
        return Finding(_GROUP, name, PROBLEM, error.message, error.hint or "")
    except Exception as error:  # whatever a broken library throws is what is asked for here
        said = f"{type(error).__name__}: {error}"
        return Finding(_GROUP, name, PROBLEM, said, "See the lines above; if all is ok, report it.")
    return Finding(_GROUP, name, OK, f"{told}, {time.perf_counter() - started_s:.2f} s")


def face_picture() -> ImageArray:
    """uint8 RGB (886, 1280, 3) with six faces, out of the package insightface.

    Raises:
        _NotTried: The package does not bring it.
    """
    import cv2

    spec = importlib.util.find_spec("insightface")  # finds it without importing it
    for folder in (spec.submodule_search_locations if spec else None) or ():
        path = Path(folder) / _PICTURE
        image_bgr = cv2.imread(str(path)) if path.is_file() else None
        if image_bgr is not None:
            return np.ascontiguousarray(image_bgr[:, :, ::-1])
    raise _NotTried("no picture of faces is installed")


def _video() -> str:
    """Encodes a few frames and reads them back as a user's video is read."""
    from jadfer_cli.options import VideoOptions
    from jadfer_cli.video.reader import VideoReader
    from jadfer_cli.video.timeline import probe, select

    ramp = np.linspace(0, 255, 160, dtype=np.uint8)
    picture = np.broadcast_to(ramp[None, :, None], (128, 160, 3))
    with tempfile.TemporaryDirectory(prefix="jadfer-doctor-") as folder:
        path = Path(folder) / "test.mp4"
        codec = encode(path, [np.roll(picture, 8 * i, axis=1) for i in range(_FRAMES)])
        info = probe(str(path))
        with VideoReader(info, select(info, VideoOptions()), threads=1) as reader:
            got = [frame.image_rgb for frame in reader]
            names = ", ".join(name for _, name in reader.decoders)
    if len(got) != _FRAMES or any(image is None for image in got):
        raise ValueError(f"{_FRAMES} frames were written, {len(got)} came back")
    error = np.abs(got[0].astype(int) - picture).mean() if got[0] is not None else 255.0
    if error > 12:  # compression costs about 1 to 3 of 255
        raise ValueError(f"the picture came back changed by {error:.0f} of 255 on average")
    return f"{_FRAMES} frames of {codec} written and read back ({names})"


def encode(path: Path, pictures_rgb: list[ImageArray]) -> str:
    """Writes a tiny mp4; gives the codec, the first that this PyAV can encode."""
    import importlib

    av: Any = importlib.import_module("av")
    codec = next(c for c in ("libx264", "libopenh264", "mpeg4") if c in av.codecs_available)
    with av.open(str(path), "w") as container:
        height, width = pictures_rgb[0].shape[:2]
        stream = container.add_stream(codec, rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures_rgb:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return {"libx264": "h264", "libopenh264": "h264"}.get(codec, codec)


def _faces(pictures_rgb: list[ImageArray], found: list[Faces]) -> str:
    """Looks for the six faces with the embedded detector; adds picture and faces to the lists."""
    from jadfer_cli.faces.detect import load_detector
    from jadfer_cli.options import FaceOptions, ModelOptions
    from jadfer_cli.runtime import settle

    picture_rgb = face_picture()
    runtime = settle(ModelOptions())
    detector = load_detector(FaceOptions(detector="centerface"), runtime.threads, runtime.device)
    started_s = time.perf_counter()
    faces = detector.detect(picture_rgb)
    took_ms = 1000 * (time.perf_counter() - started_s)
    if len(faces) != _PICTURE_FACES:
        raise ValueError(f"CenterFace found {len(faces)} faces where {_PICTURE_FACES} are")
    pictures_rgb.append(picture_rgb)
    found.append(faces)
    return (
        f"CenterFace found {len(faces)} of {_PICTURE_FACES} faces in {took_ms:.0f} ms "
        f"({detector.info.provider})"
    )


def _expression(picture_rgb: ImageArray, faces: Faces) -> str:
    """Scores the faces with the default weights, as `annotate` would."""
    from jadfer_cli.expression import checkpoint
    from jadfer_cli.expression.predict import Predictor
    from jadfer_cli.faces import align
    from jadfer_cli.options import ModelOptions
    from jadfer_cli.runtime import settle

    options = ModelOptions()
    runtime = settle(options)
    predictor = Predictor(checkpoint.load(options.model), runtime)
    crops = align.crop(picture_rgb, faces.landmarks_px, predictor.crop_px)
    scores = predictor.probabilities(crops)  # (n, K)
    if not np.isfinite(scores).all() or np.abs(scores.sum(axis=1) - 1).max() > 1e-3:
        raise ValueError("the probabilities do not sum to 1")
    where = f"{runtime.device_name}, {runtime.precision}, {runtime.engine}"
    return f"{len(scores)} faces scored on {where}"


def _parquet() -> str:
    """Writes the columns of a result without rows, and one row of numbers, and reads them."""
    import pandas as pd

    from jadfer_cli.expression.checkpoint import LABELS
    from jadfer_cli.results.schema import result_schema

    with tempfile.TemporaryDirectory(prefix="jadfer-doctor-") as folder:
        path = Path(folder) / "test.parquet"
        result_schema(LABELS).empty_table().to_pandas().to_parquet(path)
        columns = len(pd.read_parquet(path).columns)
        rows = pd.DataFrame({"frame": range(3), "p_neutral": [0.25, 0.5, 0.75]})
        rows.to_parquet(path, compression="zstd")
        if not pd.read_parquet(path).equals(rows):
            raise ValueError("the rows came back changed")
    return f"{columns} columns of a result and {len(rows)} rows written and read back"
