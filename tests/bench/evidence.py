"""Measures all that the model card says of a model; each part is kept, so a stopped run goes on.

    python tests/bench/evidence.py MODEL [MODEL ...] --shared ../shared --keep FOLDER [--split test]
        [--part clips]

Parts: FER+ and press faces (as `jadfer evaluate`, and `evidence_figures`), conditions (size,
light, compression and motion added to crops of both), clips (as `jadfer evaluate --suite`),
probes of the network on 600 faces. FOLDER receives the crops, which serve all models, and
KEY-SPLIT-PART.json of each part. The test split is measured once, for weights that are shipped.
"""

import argparse
import dataclasses
import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
import torch
from evidence_figures import as_found, conditions, detection, grouped, with_humans
from validity import suite as suite_of

from jadfer_cli.cli.console import stderr_console
from jadfer_cli.cli.training_progress import ConsoleReporter
from jadfer_cli.expression import header
from jadfer_cli.expression.checkpoint import Checkpoint
from jadfer_cli.expression.scores import VOTE_SHARE, Calibration
from jadfer_cli.options import ModelOptions
from jadfer_cli.runtime import settle
from jadfer_cli.text import json_text
from jadfer_cli.training import clip_faces, measure, suite
from jadfer_cli.training import start as starts
from jadfer_cli.training.clip_faces import ClipFaces
from jadfer_cli.training.crops import Crops
from jadfer_cli.training.data import AlignedData, DataOptions
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.probes import probe

N_CONDITIONS, N_PROBED = 500, 600
SETS = ("ferplus", "press_faces")
EITHER_SPLIT = (*SETS, "as_found")
PARTS = (*EITHER_SPLIT, "conditions", "clips", "probes")


def key_of(loaded: Checkpoint) -> str:
    """Of a model's tensors and calibrations: the same however its header describes it."""
    digest = hashlib.sha256()
    for name, tensor in sorted(header.tensors_of(loaded.data).items()):
        digest.update(name.encode() + tensor.data)
    scales = {name: scale.as_table() for name, scale in sorted(loaded.scores.items())}
    digest.update(json.dumps(scales, sort_keys=True).encode())
    return digest.hexdigest()[:12]


class Evidence:
    """One model's parts.

    Args:
        model: A registered name or the path of a checkpoint.
        shared: The developers' folder of data and clips.
        keep: Where crops and parts are kept.
        split: "valid" or "test".
    """

    def __init__(self, model: str, shared: Path, keep: Path, split: str) -> None:
        self.model, self.shared, self.keep, self.split = model, shared, keep, split
        self.loaded = starts.labelled(model)
        self.key = key_of(self.loaded)
        self.network = self.loaded.build()
        self.runtime = settle(ModelOptions(engine="torch", device="cpu", threads=1))
        self.report = ConsoleReporter(stderr_console(), quiet=False)
        self.sets: dict[str, FaceSet] = {}

    def part(self, name: str, compute: Callable[[], Any]) -> None:
        """Computes a part unless it is kept already."""
        path = self.keep / f"{self.key}-{self.split}-{name}.json"
        if path.exists():
            print(f"{self.model}, {name}: kept, {path}", flush=True)
            return
        began = time.process_time()
        found = compute()
        path.write_text(json_text(_plain({"model": self.model, **found}), indent=1) + "\n")
        seconds = time.process_time() - began
        print(f"{self.model}, {name}: {seconds:.0f} s of CPU, {path}", flush=True)

    def computed(self, name: str) -> dict[str, Any]:
        """A part by its name."""
        if name in SETS:
            return self.set_part(name)
        found: dict[str, Any] = getattr(self, f"{name}_part")()
        return found

    def options(self, dataset: str) -> DataOptions:
        return DataOptions(dataset, self.shared / "data", detectors=("centerface",))

    def faces(self, dataset: str) -> FaceSet:
        if dataset not in self.sets:
            self.sets[dataset] = AlignedData(self.options(dataset), 1, self.report).load(self.split)
        return self.sets[dataset]

    def logits(self, dataset: str) -> np.ndarray:
        """Logits of the whole split, kept."""
        file = self.keep / f"{self.key}-{self.split}-{dataset}.npy"
        if not file.exists():
            np.save(file, self.scored(self.crops(dataset)))
        return np.load(file)

    def crops(self, dataset: str) -> np.ndarray:
        """uint8 (n, S, S, 3), kept for all models."""
        side = self.network.config.crop_px
        file = self.keep / f"crops-{dataset}-{self.split}-{side}.npy"
        if not file.exists():
            faces = self.faces(dataset)
            items = Crops(faces, side, None, 0)
            np.save(
                file, np.stack([items[i][0].permute(1, 2, 0).numpy() for i in range(len(faces))])
            )
        return np.load(file, mmap_mode="r")

    @torch.no_grad()
    def scored(self, crops: np.ndarray) -> np.ndarray:
        parts = []
        for first in range(0, len(crops), 64):
            batch = torch.from_numpy(np.array(crops[first : first + 64])).permute(0, 3, 1, 2)
            parts.append(self.network(batch.float() / 255).logits.numpy())
        return np.concatenate(parts)

    @property
    def scores(self) -> Calibration:
        return self.loaded.scores.get(VOTE_SHARE, Calibration(self.loaded.temperature))

    def set_part(self, dataset: str) -> dict[str, Any]:
        """`jadfer evaluate` of one set, and the figures beside it."""
        logits = self.logits(dataset)
        measure._logits = lambda *_: logits  # type: ignore[assignment]  # scored above, and kept
        found = measure.measure(
            self.model, self.options(dataset), self.split, self.runtime, report=self.report
        ).figures
        faces = self.faces(dataset)
        p = self.scores.probabilities(logits)
        which, classes = self._counted(faces)
        result = {"figures": found, "detection": detection(p[which], classes)}
        if faces.votes is not None:
            result["humans"] = with_humans(p, faces.votes)
        return result

    def as_found_part(self) -> dict[str, Any]:
        """Accuracy by pose, light and blur of the pictures as they are, for both sources."""
        found = {}
        for dataset in ("ferplus", "press_faces"):
            faces = self.faces(dataset)
            which, classes = self._counted(faces)
            right = self.logits(dataset)[which].argmax(1) == classes
            height, width = faces.image_rgb(0).shape[:2]
            crops = np.array(self.crops(dataset)[which])
            values = as_found(crops, faces.landmarks_px[which, 0], (width, height))
            found[dataset] = {
                name: grouped(v, limits, right) for name, (v, limits) in values.items()
            }
        return found

    def _counted(self, faces: FaceSet) -> tuple[np.ndarray, np.ndarray]:
        counted = faces.protocols[faces.main_protocol]
        return counted.which, counted.classes

    def conditions_part(self) -> dict[str, Any]:
        """Accuracy and changed labels of worse pictures, for both sources."""
        found = {}
        for dataset in ("ferplus", "press_faces"):
            which, classes = self._counted(self.faces(dataset))
            drawn = np.random.default_rng(0).permutation(len(which))[:N_CONDITIONS]
            plain = self.logits(dataset)[which[drawn]].argmax(1)
            intact = float((plain == classes[drawn]).mean())
            rows = [{"condition": "as they are", "accuracy": intact, "changed": 0.0}]
            for name, worse in conditions(np.array(self.crops(dataset)[which[drawn]])):
                labels = self.scored(worse).argmax(1)
                right, changed = labels == classes[drawn], labels != plain
                rows.append({"condition": name, "accuracy": float(right.mean()),
                             "changed": float(changed.mean())})  # fmt: skip
            found[dataset] = {"n": len(drawn), "rows": rows}
        return found

    def clips_part(self) -> dict[str, Any]:
        """`jadfer evaluate --suite` of the clips, with faces found once for all models."""
        table = suite_of(self.shared)
        table.pop("sets")
        read, compressed = clip_faces.read, clip_faces.compressed

        def kept(name: str, find: Callable[..., ClipFaces], clip: Path, *rest: Any) -> ClipFaces:
            file = self.keep / f"clip-{name}-{clip.name}-{rest[1]}.npz"
            if not file.exists():
                new = find(clip, *rest)
                np.savez(file, n=new.n_frames, frames=new.frames, time_s=new.time_s,
                         **{f"crop {key}": value for key, value in new.crops.items()})  # fmt: skip
            with np.load(file) as old:
                crops = {k.removeprefix("crop "): old[k] for k in old.files if k[:5] == "crop "}
                return ClipFaces(int(old["n"]), old["frames"], old["time_s"], crops)

        def of_clip(clip: Path, *rest: Any) -> ClipFaces:
            # `compressed` reads a temporary file, which has the same name for every clip
            return kept("plain", read, clip, *rest) if own in clip.parents else read(clip, *rest)

        own = self.shared / "clips"
        clip_faces.read = of_clip
        clip_faces.compressed = lambda *a: kept("crf", compressed, *a)  # type: ignore[assignment]
        try:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "suite.toml"
                file.write_text(tomli_w.dumps(table), "utf-8")
                rows = suite.run(suite.read(file), [self.model], self.runtime, self.report)
        finally:
            clip_faces.read, clip_faces.compressed = read, compressed
        return {
            "rows": [
                {"test": r.test, "n": r.n, "unit": r.unit, "value": r.values[self.model].value}
                for r in rows
            ]
        }

    def probes_part(self) -> dict[str, Any]:
        faces = self.faces("ferplus")
        drawn = np.sort(np.random.default_rng(0).permutation(len(faces))[:N_PROBED])
        return {"probes": probe(self.network, faces.take(drawn), "majority").figures}


def _plain(value: Any) -> Any:
    """Numbers of NumPy as those of Python, for JSON."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    return value.item() if isinstance(value, np.generic) else value


def parts(model: str, keep: Path, split: str) -> dict[str, Any]:
    """The kept parts of a model by name."""
    found = sorted(keep.glob(f"{key_of(starts.labelled(model))}-{split}-*.json"))
    return {path.stem.split("-", 2)[2]: json.loads(path.read_text()) for path in found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--split", choices=("valid", "test"), default="valid")
    parser.add_argument(
        "--part", choices=PARTS, action="append", help="only this one; may be repeated"
    )
    a = parser.parse_args()
    names = PARTS if a.split == "valid" else EITHER_SPLIT
    if odd := set(a.part or ()) - set(names):
        parser.error(f"not measured on {a.split}: {', '.join(sorted(odd))}")
    a.keep.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for model in a.models:
        evidence = Evidence(model, a.shared.resolve(), a.keep, a.split)
        for name in names:
            if name in (a.part or names):
                evidence.part(name, partial(evidence.computed, name))


if __name__ == "__main__":
    main()
