"""Makes examples/plot.png and examples/overlay.png from the demo, with the jadfer commands.

Run:  python examples/make_pictures.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.timeline import probe

HERE = Path(__file__).parent
FRAME = 8
JADFER = str(Path(sys.executable).with_name("jadfer"))


def jadfer(*arguments: object) -> None:
    """Runs a jadfer command."""
    subprocess.run([JADFER, *map(str, arguments), "-q", "--overwrite"], check=True)


def frame_bgr(video: Path) -> np.ndarray:
    """One frame of a video, uint8 (height, width, 3)."""
    (frame,) = VideoReader(probe(str(video)), np.array([FRAME]))
    assert frame.image_rgb is not None
    return frame.image_rgb[:, :, ::-1]


def main() -> None:
    """Annotates the demo and draws both pictures."""
    demo = HERE / "demo.mp4"
    with tempfile.TemporaryDirectory() as folder:
        result, plain, blurred = (
            Path(folder) / name for name in ("demo.parquet", "plain.mp4", "blurred.mp4")
        )
        jadfer("annotate", demo, "-o", result)
        jadfer("plot", result, "-o", HERE / "plot.png")
        jadfer("overlay", demo, result, "-o", plain)
        jadfer("overlay", demo, result, "-o", blurred, "--blur")
        gap = np.full((240, 12, 3), 255, np.uint8)
        sheet = np.hstack([frame_bgr(plain), gap, frame_bgr(blurred)])
    cv2.imwrite(str(HERE / "overlay.png"), sheet, [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
