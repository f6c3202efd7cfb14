"""The self-test of `jadfer doctor`: each stage runs once, on a picture that is installed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from jadfer_cli.installation import samples
from jadfer_cli.installation.findings import OK, WARNING, Finding, finding_from_error
from jadfer_cli.records import Faces, ImageArray

_GROUP = "Self test"
_N_FRAMES = 4
# Mean difference per pixel, of 255, that compression may cause; it causes about 1 to 3.
_MAX_COMPRESSION_ERROR = 12


def run() -> Iterator[Finding]:
    """Tests video, detection, scoring and writing one by one; takes about a second."""
    yield _test("video", _test_video)
    found: list[tuple[ImageArray, Faces]] = []
    yield _test("faces", lambda: _test_faces(found))
    if found:
        yield _test("expression", lambda: _test_expression(*found[0]))
    yield _test("parquet", _test_parquet)


def _test(name: str, step: Callable[[], str]) -> Finding:
    """Runs a step, which returns what it did, or raises."""
    started_s = time.perf_counter()
    try:
        detail = step()
    except samples.SampleMissing as error:
        return Finding(_GROUP, name, WARNING, f"not tested: {error.message}", error.hint or "")
    except Exception as error:  # a broken library may raise anything
        return finding_from_error(_GROUP, name, error)
    return Finding(_GROUP, name, OK, f"{detail}, {time.perf_counter() - started_s:.2f} s")


def _test_video() -> str:
    """Encodes a few frames, and reads them as a user's video is read."""
    from jadfer_cli.options import VideoOptions
    from jadfer_cli.video.encode import encode
    from jadfer_cli.video.reader import VideoReader
    from jadfer_cli.video.timeline import probe, select

    ramp = np.linspace(0, 255, 160, dtype=np.uint8)
    picture = np.broadcast_to(ramp[None, :, None], (128, 160, 3))
    with tempfile.TemporaryDirectory(prefix="jadfer-doctor-") as folder:
        path = Path(folder) / "test.mp4"
        codec = encode(path, [np.roll(picture, 8 * i, axis=1) for i in range(_N_FRAMES)])
        info = probe(str(path))
        with VideoReader(info, select(info, VideoOptions()), threads=1) as reader:
            read = [frame.image_rgb for frame in reader]
            decoders = ", ".join(name for _, name in reader.decoders)
    if len(read) != _N_FRAMES or any(image is None for image in read):
        raise ValueError(f"{_N_FRAMES} frames were written, but {len(read)} were read")
    error = np.abs(read[0].astype(int) - picture).mean() if read[0] is not None else 255.0
    if error > _MAX_COMPRESSION_ERROR:
        raise ValueError(f"the picture that was read differs by {error:.0f} of 255 on average")
    return f"{_N_FRAMES} frames of {codec} written and read back ({decoders})"


def _test_faces(found: list[tuple[ImageArray, Faces]]) -> str:
    """Detects six faces with the embedded detector; appends the picture and them to `found`."""
    from jadfer_cli.faces.detect import load_detector
    from jadfer_cli.options import FaceOptions, ModelOptions
    from jadfer_cli.runtime import settle

    picture_rgb = samples.face_picture()
    runtime = settle(ModelOptions())
    detector = load_detector(FaceOptions(detector="centerface"), runtime.threads, runtime.device)
    started_s = time.perf_counter()
    faces = detector.detect(picture_rgb)
    took_ms = 1000 * (time.perf_counter() - started_s)
    if len(faces) != samples.N_FACES:
        raise ValueError(f"CenterFace found {len(faces)} of {samples.N_FACES} faces")
    found.append((picture_rgb, faces))
    return (
        f"CenterFace found {len(faces)} of {samples.N_FACES} faces in {took_ms:.0f} ms "
        f"({detector.info.provider})"
    )


def _test_expression(picture_rgb: ImageArray, faces: Faces) -> str:
    """Scores the faces with the default weights, as `annotate` does."""
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


def _test_parquet() -> str:
    """Writes and reads the columns of a result, and a few rows of numbers."""
    import pandas as pd

    from jadfer_cli.expression.checkpoint import LABELS
    from jadfer_cli.results.schema import result_schema

    with tempfile.TemporaryDirectory(prefix="jadfer-doctor-") as folder:
        path = Path(folder) / "test.parquet"
        result_schema(LABELS).empty_table().to_pandas().to_parquet(path)
        n_columns = len(pd.read_parquet(path).columns)
        rows = pd.DataFrame({"frame": range(3), "p_neutral": [0.25, 0.5, 0.75]})
        rows.to_parquet(path, compression="zstd")
        if not pd.read_parquet(path).equals(rows):
            raise ValueError("the rows that were read differ from those written")
    return f"{n_columns} columns of a result and {len(rows)} rows written and read back"
