"""RAF-DB, basic set: Li et al. 2017."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jadfer_cli.errors import TrainingError
from jadfer_cli.training.layouts import LayoutRows, Row, one_hot, split_of_train

HINT = "RAF-DB's basic set has EmoLabel/list_patition_label.txt and Image/aligned/."
# Li et al. 2017, RAF-DB's readme: 1 to 7
CLASSES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")


def read(data: Path, split: str, _: Mapping[str, str]) -> LayoutRows:
    """Reads EmoLabel/list_patition_label.txt (sic) and Image/aligned or Image/original."""
    root = data / "basic" if (data / "basic").is_dir() else data
    lists = sorted((root / "EmoLabel").glob("list_pa*tition_label.txt"))
    if not lists:
        raise TrainingError(f"{root} holds no EmoLabel/list_patition_label.txt.", HINT)
    folders = [
        (root / "Image" / kind, suffix)
        for kind, suffix in (("aligned", "_aligned"), ("original", ""))
        if (root / "Image" / kind).is_dir()
    ]
    if not folders:
        raise TrainingError(f"{root} holds no Image/aligned (or original).", HINT)
    folder, suffix = folders[0]
    rows: list[Row] = []
    for number, line in enumerate(lists[0].read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        name, _sep, label = line.strip().partition(" ")
        if not label.strip().isdigit() or not 1 <= int(label) <= len(CLASSES):
            raise TrainingError(f"{lists[0]}, line {number}: {line!r} is not `NAME.jpg 1..7`.")
        if name.startswith("test") != (split == "test"):
            continue
        path = folder / f"{Path(name).stem}{suffix}.jpg"
        if not path.is_file():
            raise TrainingError(f"{path} is listed in {lists[0].name} but missing.")
        rows.append(Row(path, name, one_hot(CLASSES[int(label) - 1])))
    return LayoutRows(rows if split == "test" else split_of_train(split, rows), CLASSES)
