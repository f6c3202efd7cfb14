"""What `--actions` costs: seconds, core-seconds and memory of runs with and without, by turns.

    python tests/bench/actions_speed.py CLIP --model face_landmarker.task [--runs 2] [--faces 64]

Each run is a process of its own, one after the other: without, with, without, with. Core-seconds
count all its processes and threads, so other work on the machine changes them little. Memory is
that of its largest process. Then the network of the mesh alone, the larger of the two, runs on
crops of the clip's faces, one at a time and in batches, on one thread.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import av
import numpy as np
import pandas as pd

from jadfer_cli.faces import align
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.faces.landmarker import MODEL_VARIABLE, square_of_landmarks
from jadfer_cli.options import FaceOptions

COMMAND = (sys.executable, "-c", "from jadfer_cli.cli import main; main()", "annotate")
BATCHES = (1, 4, 16)
REPEATS = 5  # of the faces; the fastest counts
CROP_PX = 256


def run(clip: Path, out: Path, *options: str) -> dict[str, float]:
    """Seconds, core-seconds and memory of one run."""
    begin = time.perf_counter()
    process = subprocess.Popen([*COMMAND, str(clip), "-o", str(out), "--quiet", *options])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"jadfer failed on {clip}")
    return {"s": time.perf_counter() - begin, "core_s": used.ru_utime + used.ru_stime,
            "mb": used.ru_maxrss / 1024}  # fmt: skip


def runs(clip: Path, n: int, threads: int) -> None:
    """Prints each run, and what a face costs by the means."""
    found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    print("actions       s  core-s    MB", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "clip.parquet")
        for i in range(2 * n):
            on = bool(i % 2)
            options = ["--detector", "centerface", "--threads", str(threads), "--overwrite"]
            one = run(clip, out, *options, *(["--actions"] if on else []))
            found[on].append(one)
            print(f"{'with' if on else 'without':9}{one['s']:6.1f}{one['core_s']:8.1f}"
                  f"{one['mb']:6.0f}", flush=True)  # fmt: skip
        faces = int(pd.read_parquet(out)["face_detected"].sum())
    mean = {on: pd.DataFrame(several).mean() for on, several in found.items()}
    more = mean[True] - mean[False]
    print(f"{faces} faces: {1000 * more['core_s'] / faces:.1f} ms of a core per face more "
          f"({mean[False]['core_s']:.1f} -> {mean[True]['core_s']:.1f} core-s), "
          f"{more['mb']:.0f} MB more")  # fmt: skip


def crops(clip: Path, n: int) -> np.ndarray:
    """Crops (n, 256, 256, 3) of the clip's faces, float32 from 0 to 1, as the mesh takes them."""
    detector, found = load_detector(FaceOptions(detector="centerface"), 1), []
    with av.open(str(clip)) as container:
        for frame in container.decode(video=0):
            image = frame.to_ndarray(format="rgb24")
            for five in detector.detect(image).landmarks_px:
                matrix = square_of_landmarks(five.astype(np.float64))
                found.append(align.warp(image, matrix[None], CROP_PX)[0])
            if len(found) >= n:
                break
    return np.stack(found[:n]).astype(np.float32) / np.float32(255)


def batching(model: Path, faces: np.ndarray) -> None:
    """Prints milliseconds of a core per face for each size of a batch."""
    from ai_edge_litert.interpreter import Interpreter

    with zipfile.ZipFile(model) as archive:
        graph = archive.read("face_landmarks_detector.tflite")
    alone: np.ndarray | None = None
    for size in BATCHES:
        network = Interpreter(model_content=graph, num_threads=1)
        network.resize_tensor_input(network.get_input_details()[0]["index"],
                                    [size, CROP_PX, CROP_PX, 3])  # fmt: skip
        network.allocate_tensors()
        taken, best = len(faces) // size * size, np.inf
        for _ in range(REPEATS):
            meshes, begin = [], time.process_time()
            for first in range(0, taken, size):
                network.set_tensor(network.get_input_details()[0]["index"],
                                   faces[first : first + size])  # fmt: skip
                network.invoke()
                mesh = network.get_tensor(network.get_output_details()[0]["index"])
                meshes.append(mesh.reshape(size, -1))
            best = min(best, (time.process_time() - begin) / taken)
        points = np.concatenate(meshes)
        alone = points if alone is None else alone
        apart = np.abs(points - alone[:taken]).max()
        print(f"mesh in batches of {size:2}: {1000 * best:5.1f} ms of a core per face; "
              f"up to {apart:.3f} px from one at a time", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--faces", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    os.environ[MODEL_VARIABLE] = str(given.model)
    if given.faces:
        batching(given.model, crops(given.clip, given.faces))
    if given.runs:
        runs(given.clip, given.runs, given.threads)


if __name__ == "__main__":
    main()
