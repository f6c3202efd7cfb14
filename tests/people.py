"""Inputs for tests of `jadfer identify`: a panned photograph of six people, and a recogniser."""

from pathlib import Path

import cv2
import numpy as np
from made import Made, Track
from media import make_video

from jadfer_cli.common import file_sha256
from jadfer_cli.installation.samples import face_picture

# The people of the photograph from left to right; x1 y1 x2 y2 in px, checked by eye.
SIX = {
    "ann": (58, 262, 169, 396),
    "bob": (269, 147, 371, 266),
    "cat": (465, 265, 573, 416),
    "dan": (746, 339, 846, 481),
    "eve": (905, 54, 1013, 204),
    "fay": (1131, 271, 1226, 399),
}
FPS = 5
WIDTH_PX, HEIGHT_PX = 640, 886  # of the window that moves over the picture
# Neighbouring pixels of a similar picture are similar, so cosines are higher than of embeddings.
SETTINGS = ("--threshold", "0.8", "--alike", "0.75", "--threads", "1")


def window(x_px: int) -> np.ndarray:
    """The part of the picture that begins there, half its size."""
    return cv2.resize(
        np.ascontiguousarray(face_picture()[:, x_px : x_px + WIDTH_PX]),
        (WIDTH_PX // 2, HEIGHT_PX // 2 // 2 * 2), interpolation=cv2.INTER_AREA,
    )  # fmt: skip


def box_at(person: str, x_px: int) -> tuple[float, ...] | None:
    """The person's box in that window; None if it is not all inside."""
    x1, y1, x2, y2 = SIX[person]
    if x1 - 15 < x_px or x2 + 15 > x_px + WIDTH_PX:
        return None
    return ((x1 - x_px) / 2, y1 / 2, (x2 - x_px) / 2, y2 / 2)


def result_of(video: Path, frames: list[np.ndarray], tracks: list[Track], out: Path) -> Path:
    """Write a video, and its result with these tracks."""
    make_video(video, frames, fps=FPS)
    height, width = frames[0].shape[:2]
    return Made(
        tracks, len(frames), times_s=np.arange(len(frames)) / FPS, video=str(video),
        size_px=(width, height), sha256=file_sha256(video),
        metadata={"video": {"bytes": video.stat().st_size, "nominal_fps": float(FPS)}},
    ).write(out)  # fmt: skip


def panned(video: Path, out: Path, starts_px: list[int], names=tuple(SIX)) -> dict[int, str]:
    """Write a video that pans over the picture, and its result; returns who each track shows."""
    seen = {}
    for name in names:
        boxes = {i: box for i, x in enumerate(starts_px) if (box := box_at(name, x))}
        if boxes:
            seen[name] = boxes
    tracks = [Track(i, list(boxes), box_px=list(boxes.values()))
              for i, boxes in enumerate(seen.values())]  # fmt: skip
    result_of(video, [window(x) for x in starts_px], tracks, out)
    return dict(enumerate(seen))


def reference_pictures(folder: Path, names=tuple(SIX)) -> Path:
    """A folder per person with one picture, cut out of the photograph."""
    picture = face_picture()
    for name in names:
        x1, y1, x2, y2 = SIX[name]
        cut = picture[max(y1 - 50, 0) : y2 + 50, max(x1 - 50, 0) : x2 + 50]
        (folder / name).mkdir(parents=True)
        cv2.imwrite(str(folder / name / "1.png"), cut[:, :, ::-1])
    return folder


def tiny_recogniser(path: Path, side: int = 112) -> Path:
    """An ONNX file whose embedding is the crop itself, 14x14 px, without its mean."""
    from onnx import TensorProto, helper

    crop = helper.make_tensor_value_info("crop", TensorProto.FLOAT, ["n", 3, side, side])
    out = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", "d"])
    nodes = [
        helper.make_node("AveragePool", ["crop"], ["small"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("ReduceMean", ["small"], ["mean"], axes=[2, 3], keepdims=1),
        helper.make_node("Sub", ["small", "mean"], ["centred"]),
        helper.make_node("Flatten", ["centred"], ["embedding"]),
    ]
    graph = helper.make_graph(nodes, "tiny", [crop], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
