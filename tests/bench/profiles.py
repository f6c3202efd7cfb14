"""What becomes of the mesh as a face turns: stills of films, by their yaw from five landmarks.

    python tests/bench/profiles.py face_landmarker.task scrfd_500m_kps.onnx press_faces.zip \
        press_faces.csv
"""

import argparse
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from jadfer_cli.faces import quality
from jadfer_cli.faces.actions import ActionFinder
from jadfer_cli.faces.detect import load_detector
from jadfer_cli.faces.landmarker import PRESENT
from jadfer_cli.labels import ACTION_COLUMNS, MEASURE_COLUMNS
from jadfer_cli.options import FaceOptions

N = 260  # stills
EDGES_DEG = (0, 20, 40, 60, 91)


def main() -> None:
    """Print the share of faces with a mesh, and how far apart the eyes' gazes are."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "detector", "zip", "csv"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    finder = ActionFinder(given.model)
    detector = load_detector(FaceOptions(detector=str(given.detector)), 1)
    table, rows = pd.read_csv(given.csv), []
    with zipfile.ZipFile(given.zip) as archive:
        names = {Path(name).name: name for name in archive.namelist()}
        for file in table.loc[table["source"] == "film", "file"].sample(N, random_state=1):
            picture = np.frombuffer(archive.read(names[Path(file).name]), np.uint8)
            image = cv2.imdecode(picture, cv2.IMREAD_COLOR)[:, :, ::-1]
            pad = image.shape[0] // 3  # detectors want room about a face
            image = cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
            faces = detector.detect(image)
            if len(faces):
                faces = faces.take(np.array([int(np.argmax(faces.scores))]))
                yaw = quality.head_pose(faces.landmarks_px, image.shape[1::-1])[0, 0]
                values = finder.find(image, faces).values[0]
                columns = (*ACTION_COLUMNS, *MEASURE_COLUMNS)
                rows.append({"yaw": abs(yaw)} | dict(zip(columns, values, strict=True)))
    found = pd.DataFrame(rows)
    for _, own in found.groupby(pd.cut(found["yaw"], EDGES_DEG, right=False), observed=True):
        seen = own[own["mesh_presence"] >= PRESENT]
        apart = (seen["gaze_yaw_left_deg"] - seen["gaze_yaw_right_deg"]).abs().mean()
        print(f"yaw {own['yaw'].min():.0f} to {own['yaw'].max():.0f}: {len(own)} faces, "
              f"{len(seen)} with a mesh, gazes of the eyes {apart:.0f} degrees apart")  # fmt: skip


if __name__ == "__main__":
    main()
