"""Speed of the package `fer` (PyPI) and of jadfer on the same clip and machine, alternating.

    python -m venv FER && FER/bin/pip install fer "setuptools<81" "opencv-contrib-python<5"
    python tests/bench/peer_fer.py CLIP --fer FER/bin/python --repeats 5

Each run decodes and scores the whole clip: fer frame by frame with OpenCV, as its examples do,
with its default face detector (Haar) and with its MTCNN; jadfer as `jadfer annotate` does. Prints
the median, lowest and highest frames/s, and the number of frames in which a face was found.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PEER = """
import json, sys, time
import cv2
from fer.fer import FER
for mtcnn in json.loads(sys.argv[2]):
    detector = FER(mtcnn=mtcnn)
    video = cv2.VideoCapture(sys.argv[1])
    ok, frame = video.read()
    detector.detect_emotions(frame)  # warm-up
    video = cv2.VideoCapture(sys.argv[1])
    began, frames, found = time.perf_counter(), 0, 0
    while True:
        ok, frame = video.read()
        if not ok:
            break
        frames += 1
        found += bool(detector.detect_emotions(frame))
    seconds = time.perf_counter() - began
    name = "fer, MTCNN" if mtcnn else "fer, default"
    print("RESULT " + json.dumps([name, frames, found, seconds]), flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip")
    parser.add_argument("--fer", required=True, help="Python with the package fer")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--without-mtcnn", action="store_true", help="its default detector only")
    a = parser.parse_args()
    from jadfer_cli import Annotator, IfExists

    annotator = Annotator()
    modes = json.dumps([False] if a.without_mtcnn else [False, True])
    runs: dict[str, list[tuple[int, int, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.parquet"
        annotator.annotate_to(a.clip, out)  # warm-up
        for _ in range(a.repeats):
            peer = subprocess.run(
                [a.fer, "-c", PEER, a.clip, modes], capture_output=True, text=True,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            )  # fmt: skip
            lines = [line for line in peer.stdout.splitlines() if line.startswith("RESULT ")]
            if peer.returncode:  # negative if its libraries conflict and crash
                sys.exit(f"{peer.stderr[-2000:]}\nfer ended with {peer.returncode}")
            for line in lines:
                name, *figures = json.loads(line.removeprefix("RESULT "))
                runs.setdefault(name, []).append(tuple(figures))
            began = time.perf_counter()
            counts = annotator.annotate_to(a.clip, out, if_exists=IfExists.OVERWRITE)["counts"]
            seconds = time.perf_counter() - began
            frames = counts["frames_analysed"]
            found = frames - counts["frames_without_face"]
            runs.setdefault("jadfer", []).append((frames, found, seconds))
    for name, each in runs.items():
        rates = [frames / seconds for frames, _, seconds in each]
        frames, found, _ = each[0]
        print(
            f"{name:14s} {statistics.median(rates):6.1f} frames/s ({min(rates):.1f} to "
            f"{max(rates):.1f}), a face in {found} of {frames} frames"
        )


if __name__ == "__main__":
    main()
