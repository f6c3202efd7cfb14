"""Press photographs and film stills with one annotator's label each, and the person's name.

The list of muxspace/facial_expressions (Apache-2.0), with splits by person: press_faces.csv with
the columns file, label, split, person and source (press or film), and the pictures beside it, in
press_faces.zip or unpacked.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Mapping
from pathlib import Path

from jadfer_cli.errors import TrainingError
from jadfer_cli.labels import LABELS
from jadfer_cli.training.layouts import LayoutRows, Row, check_people, expression_of, one_hot

LIST, ARCHIVE = "press_faces.csv", "press_faces.zip"
HINT = f"It needs {LIST}, and beside it {ARCHIVE} or the unpacked folders press and film."
_COLUMNS = ("file", "label", "split", "person", "source")
# Contempt, disgust and fear have at most 2 press photographs per held-out split.
_COUNTED = ("neutral", "happiness", "surprise", "sadness", "anger")


def read(data: Path, split: str, classes: Mapping[str, str]) -> LayoutRows:
    """Reads the pictures of a split from a folder, or from the zip file itself.

    Three protocols: `press`, the press photographs of the five expressions that have more than a
    handful; `film`, all film stills; and `all`.
    """
    root = data if data.is_dir() else data.parent
    lines = _lines(root / LIST)
    check_people(((line["person"], line["split"]) for line in lines), str(root / LIST))
    own = [line for line in lines if line["split"] == split]
    if not own:
        return LayoutRows([], LABELS)
    pictures = _pictures(root, [line["file"] for line in own])
    rows = []
    for line, picture in zip(own, pictures, strict=True):
        expression = expression_of(line["label"], classes, f"{root / LIST}, {line['file']}")
        rows.append(Row(picture, line["file"], one_hot(expression), person=line["person"]))
    press = [
        i for i, line in enumerate(own) if line["source"] == "press" and line["label"] in _COUNTED
    ]
    film = [i for i, line in enumerate(own) if line["source"] == "film"]
    protocols = {"press": press, "film": film, "all": range(len(rows))}
    return LayoutRows(rows, LABELS, protocols=protocols)


def _lines(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = sorted(set(_COLUMNS) - set(reader.fieldnames or ()))
        if missing:
            raise TrainingError(f"{table} lacks the columns {', '.join(missing)}.", HINT)
        return [{name: line[name] or "" for name in _COLUMNS} for line in reader]


def _pictures(root: Path, names: list[str]) -> list[Path | bytes]:
    """The files, or their bytes: a zip file is not read by several processes at once."""
    archive = root / ARCHIVE
    if not archive.is_file():
        missing = [name for name in names if not (root / name).is_file()]
        if missing:
            raise TrainingError(f"{root / missing[0]} is listed but missing.", HINT)
        return [root / name for name in names]
    try:
        with zipfile.ZipFile(archive) as opened:
            return [opened.read(name) for name in names]
    except KeyError as error:
        raise TrainingError(f"{archive}: {error.args[0]}", HINT) from error
    except zipfile.BadZipFile as error:
        raise TrainingError(f"{archive} is not a readable zip file ({error}).", HINT) from error
