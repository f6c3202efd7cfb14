"""Embeddings of the faces in rows: each face is found again in its video, aligned, recognised."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from jadfer_cli.analysis.frame_times import Ints
from jadfer_cli.faces.detector import Detector
from jadfer_cli.faces.recognise import Recogniser
from jadfer_cli.faces.regions import MATCH_IOU, REGION_MARGIN
from jadfer_cli.geometry import iou
from jadfer_cli.records import FloatArray, Frame, ImageArray, VideoInfo
from jadfer_cli.results.schema import BOX_COLUMNS
from jadfer_cli.stopping import raise_if_stopped
from jadfer_cli.video.reader import VideoReader

# Wraps the frames that are read; gets their number.
Frames = Callable[[Iterable[Frame], int], Iterable[Frame]]


class Embedder:
    """Finds faces at known boxes and recognises them.

    A result has boxes, but no landmarks unless they were asked for, and alignment needs them.

    Args:
        detector: Finds the landmarks.
        recogniser: Computes the embeddings.
    """

    def __init__(self, detector: Detector, recogniser: Recogniser) -> None:
        self.detector, self.recogniser = detector, recogniser

    def rows(
        self, info: VideoInfo, rows: pd.DataFrame, positions: Ints, progress: Frames
    ) -> FloatArray:
        """Compute the embeddings of some rows.

        Args:
            info: The video.
            rows: All rows of its result.
            positions: int64 (n,), of the rows to embed, ascending.
            progress: Wraps the frames as they are read.

        Returns:
            float32 (n, D), each of length 1; NaN where no face is found at the box again.
        """
        vectors = np.full((len(positions), self.recogniser.info.dimensions), np.nan, np.float32)
        frame = rows["frame"].to_numpy(np.int64)[positions]
        boxes = rows[list(BOX_COLUMNS)].to_numpy(np.float32)[positions]
        wanted = np.unique(frame)
        if not len(wanted):
            return vectors
        with VideoReader(info, wanted) as reader:
            for picture in progress(reader, len(wanted)):
                raise_if_stopped()
                if picture.image_rgb is None:
                    continue
                at = slice(*np.searchsorted(frame, [picture.index, picture.index + 1]))
                vectors[at] = self.boxes(picture.image_rgb, boxes[at])
        return vectors

    def boxes(self, image_rgb: ImageArray, boxes_px: FloatArray) -> FloatArray:
        """Compute the embeddings of the faces at boxes (n, 4): float32 (n, D), NaN without."""
        near = self.detector.detect_near(image_rgb, boxes_px, REGION_MARGIN)
        everywhere = self.detector.detect(image_rgb) if near is None else None
        vectors = np.full((len(boxes_px), self.recogniser.info.dimensions), np.nan, np.float32)
        landmarks, which = [], []
        for i, box in enumerate(boxes_px):
            faces = everywhere if near is None else near[i]
            overlap = iou(box[None], faces.boxes_px)[0] if faces is not None else np.empty(0)
            if faces is not None and len(overlap) and overlap.max() >= MATCH_IOU:
                landmarks.append(faces.landmarks_px[int(overlap.argmax())])
                which.append(i)
        if which:
            vectors[which] = self.recogniser.embed(image_rgb, np.stack(landmarks))
        return vectors
