"""Tables for other programs: every format reads back, and what is never replaced."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made import Made

from jadfer_cli.analysis import tabular
from jadfer_cli.errors import OptionError, OutputError


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".json", ".jsonl", ".parquet"])
def test_tables_read_back_unchanged(tmp_path, ending):
    table = pd.DataFrame({"name": ["a", "ä"], "n": [1, 2], "x": [0.5, np.nan]})
    out = tmp_path / f"t{ending}"
    tabular.check_target(out, overwrite=False, endings=tabular.table_endings())
    tabular.write_table(table, out)
    read = {
        ".csv": pd.read_csv, ".tsv": lambda f: pd.read_csv(f, sep="\t"), ".json": pd.read_json,
        ".jsonl": lambda f: pd.read_json(f, lines=True), ".parquet": pd.read_parquet,
    }[ending]  # fmt: skip
    pd.testing.assert_frame_equal(read(out), table)
    assert [p.name for p in tmp_path.iterdir()] == [out.name]


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_json_controls_no_terminal(tmp_path, ending):
    name, out = "ä\x9b2J\u202e.mp4", tmp_path / f"t{ending}"
    tabular.write_table(pd.DataFrame({"name": [name]}), out)
    text = out.read_text("utf-8")
    assert "ä" in text and not re.search("[\x7f-\x9f\u202e]", text)
    assert pd.read_json(out, lines=ending == ".jsonl")["name"][0] == name


def test_every_file_of_json_has_one_writer():
    """`json_text` escapes what controls a terminal; the others write for programs alone."""
    package = Path(tabular.__file__).parents[1]
    raw = {str(path.relative_to(package)) for path in package.rglob("*.py")
           if "ensure_ascii=False" in path.read_text("utf-8")}  # fmt: skip
    assert {Path(name).as_posix() for name in raw} == {
        "text.py", "results/parquet.py", "analysis/dataset/write.py", "analysis/dataset/actions.py",
        "results/metadata_schema.py"}  # fmt: skip  # the last only tries whether it can be written


def test_bad_targets_are_refused_early(tmp_path):
    result = Made().write(tmp_path / "a.parquet")
    endings = tabular.table_endings()
    with pytest.raises(OptionError, match=r"Known are .csv"):
        tabular.check_target(tmp_path / "t.doc", overwrite=False, endings=endings)
    for path in (result, result.with_suffix(".json")):
        with pytest.raises(OutputError, match="is a result of jadfer annotate"):
            tabular.check_target(path, overwrite=True, endings=endings)
    (tmp_path / "t.csv").touch()
    with pytest.raises(OptionError, match="overwrite"):
        tabular.check_target(tmp_path / "t.csv", overwrite=False, endings=endings)
    tabular.check_target(tmp_path / "t.csv", overwrite=True, endings=endings)
