"""A CSV file that lists pictures with a label, or with votes."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jadfer_cli.errors import TrainingError
from jadfer_cli.labels import BY_NAME, LABELS
from jadfer_cli.training.layouts import (
    SPLIT_FOLDERS,
    SPLITS,
    LayoutRows,
    Row,
    check_people,
    expression_of,
    expressions_in,
    hashed_split,
    one_hot,
    split_of_train,
)

HINT = (
    "It needs the columns file and label, or file and one column of votes per expression; a "
    "column split (train, valid, test) is optional, and so is person. Files are relative to the "
    'CSV. In Excel, save as "CSV UTF-8".'
)
NO_EXPRESSION = ("unknown", "nf")  # votes for none of the expressions; nf: not a face


def read(data: Path, split: str, classes: Mapping[str, str]) -> LayoutRows:
    """Reads the columns file and label, or file and one column of votes per expression."""
    table, header = _read_table(data)
    own = {name.lower(): expression for name, expression in classes.items()}
    votes = {name: (BY_NAME | own)[name] for name in header if name in BY_NAME | own}
    if "file" not in header or ("label" not in header and not votes):
        raise TrainingError(f"{data} has the columns {', '.join(header)}.", HINT)
    by_split: dict[str, list[Row]] = {name: [] for name in SPLITS}
    people = []
    known = {alias: name for name, aliases in SPLIT_FOLDERS.items() for alias in aliases}
    for number, line in enumerate(table, 2):
        where, name = f"{data}, line {number}", line["file"] or ""
        named = (line.get("split") or "").strip().lower()
        if named and named not in known:
            raise TrainingError(f"{where}: the split {named!r} is not train, valid or test.")
        if not (data.parent / name).is_file():
            raise TrainingError(f"{where}: the file {data.parent / name} is missing.")
        if "label" in header:
            target, counted = one_hot(expression_of(line["label"] or "", classes, where)), None
        else:
            counted = _counts(line, votes, where)
            target = counted[:-1] / counted[:-1].sum()
        person = (line.get("person") or "").strip()
        belongs = known[named] if named else hashed_split(person or name)
        people.append((person, belongs))
        by_split[belongs].append(Row(data.parent / name, name, target, counted, person))
    check_people(people, str(data))
    expressions = expressions_in(row for rows in by_split.values() for row in rows)
    if split != "test" and not by_split["valid"]:
        return LayoutRows(split_of_train(split, by_split["train"]), expressions)
    return LayoutRows(by_split[split], expressions)


def _counts(
    line: Mapping[str, str], votes: Mapping[str, str], where: str
) -> npt.NDArray[np.float32]:
    """The votes (K + 1) of one line, the last for none of the expressions."""
    found = np.zeros(len(LABELS) + 1, np.float32)
    columns = [(column, LABELS.index(expression)) for column, expression in votes.items()]
    columns += [(column, len(LABELS)) for column in NO_EXPRESSION if column in line]
    for column, k in columns:
        try:
            found[k] += float(line[column] or 0)
        except ValueError as error:
            raise TrainingError(f"{where}: {column} is {line[column]!r}, not a number.") from error
    if not (np.isfinite(found).all() and (found >= 0).all() and found[:-1].sum() > 0):
        raise TrainingError(f"{where}: the votes are not positive numbers.")
    return found


def _read_table(data: Path) -> tuple[list[dict[str, str]], list[str]]:
    """The lines of a CSV file by column name, and the names in lower case."""
    try:
        with data.open(newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            file.seek(0)
            separator = max(",;\t", key=head.count)  # Excel writes semicolons in many countries
            reader = csv.DictReader(file, delimiter=separator)
            reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
            return list(reader), list(reader.fieldnames)
    except UnicodeDecodeError as error:
        raise TrainingError(f"{data} is not UTF-8 ({error}).", HINT) from error
    except (OSError, csv.Error) as error:
        raise TrainingError(f"{data} cannot be read as CSV ({error}).", HINT) from error
