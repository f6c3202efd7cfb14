"""No text from a hostile file controls the terminal or a spreadsheet."""

import csv
import importlib.util
import io
import json
import re
import xml.etree.ElementTree as etree
from pathlib import Path

import pandas as pd
import pytest
from hostile_text import ATTACK, FORMULA, cells, check_no_formula, check_safe, metadata
from made import Made, Track

from jadfer_cli.analysis import export, tabular
from jadfer_cli.analysis.tabular import table_endings
from jadfer_cli.labels import LABELS

PACKAGE = Path(__file__).resolve().parents[2] / "jadfer_cli"


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """Two results whose names, videos, labels and metadata are an attack."""
    monkeypatch.chdir(tmp_path)
    labels = (*LABELS[:-1], f'a"{ATTACK}')
    for i in (1, 2):
        Made(
            [Track(0, [0, 1, 2, 3, 4, 5], labels[-1])], n_frames=8, labels=labels,
            video=f"{i}{ATTACK}.mp4", sha256=str(i) * 64, metadata=metadata(ATTACK),
        ).write(Path("in") / f"{i}{ATTACK}.parquet")  # fmt: skip
    return sorted(Path("in").glob("*.parquet"))


COMMANDS = {
    "show": ["show", "in"],
    "show one": ["show", "{0}"],
    "show many": ["show", "in", "in2"],
    "show json": ["show", "in", "--json"],
    "summary": ["summary", "in"],
    "summary file": ["summary", "in", "-o", f"{ATTACK}.csv"],
    "events": ["events", "in"],
    "methods": ["methods", "in"],
    "diff": ["diff", "{0}", "{1}"],
    "diff json": ["diff", "{0}", "{1}", "--json"],
    "diff folders": ["diff", "in", "in2"],
    "plot": ["plot", "in", "-o", "plots/"],
    "plot no track": ["plot", "in", "-o", "plots/", "--track", "7"],
    "collect": ["collect", "in", "-o", "all.parquet"],
    "events to files": ["events", "in", "-o", "elan/", "--format", "eaf"],
    "overlay": ["overlay", "{0}", "{1}", "-o", "o.mp4"],
    "models": ["models", "info", ATTACK],
    "annotate": ["annotate", f"{ATTACK}.mp4", "-o", "x.parquet"],
    "annotate --log-json": ["annotate", f"{ATTACK}.mp4", "-o", "x.parquet", "--log-json"],
    "annotate --debug": ["annotate", f"{ATTACK}.mp4", "-o", "x.parquet", "--debug"],
    "annotate many": ["annotate", "{0}", "{1}", "-o", "out/", "--model", ATTACK],
    "dry run": ["annotate", "{0}", "{1}", "-o", "out/", "--dry-run"],
    "train": ["train", "--dataset", ATTACK, "--data", ATTACK, "--out", "run"],
    "evaluate": ["evaluate", ATTACK, "--dataset", "folder", "--data", ATTACK],
    "usage: option": ["show", f"--{ATTACK}"],
    "usage: value": ["diff", "a", "b", "--tolerance", ATTACK],
    "usage: choice": ["plot", "a", "-o", "b.png", "--kind", ATTACK],
    "usage: argument": ["diff", "a", "b", ATTACK],
    "usage: command": [ATTACK],
    "usage: command of a group": ["models", ATTACK],
}


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_printed_controls_the_terminal(invoke, hostile, monkeypatch, name, terminal):
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    if "in2" in COMMANDS[name]:
        for i in range(3):
            Made(n_frames=3, metadata=metadata(ATTACK)).write(Path("in2") / f"{i}{ATTACK}.parquet")
    arguments = [part.format(*hostile) if part in ("{0}", "{1}") else part
                 for part in COMMANDS[name]]  # fmt: skip
    result = invoke(*arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    printed = result.stdout + result.stderr
    check_safe(printed)
    if name not in ("plot no track", "usage: value", "collect"):  # these do not repeat it
        assert "cm0gLXJm" in "".join(printed.split()) or "x1b" in printed
    for line in result.stderr.splitlines() if "log-json" in name else ():
        json.loads(line)
    if "--json" in arguments:
        assert json.loads(result.stdout)


@pytest.mark.slow
def test_an_annotated_video_with_a_hostile_name_is_printed_safely(invoke, tmp_path, short_clip):
    video = tmp_path / f"x\nError: {ATTACK}.mp4"
    video.write_bytes(short_clip.read_bytes())
    for how in ([], ["--log-json"]):
        out = tmp_path / f"results{len(how)}"
        result = invoke("annotate", video, "-o", f"{out}/", *how)
        assert result.exit_code == 0, result.stderr
        check_safe(result.stdout, result.stderr)
        assert not any(line.startswith("Error") for line in result.stderr.splitlines())


def test_only_the_console_prints():
    """Whatever prints by another way would not be made safe."""
    other_way = re.compile(r"(?<![\w.])print\(|typer\.echo|sys\.std(out|err)\.write|rich\.print"
                           r"|import Console$|json\.dumps|traceback\.print", re.M)  # fmt: skip
    allowed = {"cli/console.py": 5}
    for path in sorted((PACKAGE / "cli").rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        text = path.read_text(encoding="utf-8")
        # a type annotation needs rich's own class
        text = text.replace("from rich.console import Console", "")
        assert len(other_way.findall(text)) <= allowed.get(name, 0), name


WRITTEN = {
    "methods.md": ["methods", "in"],
    "methods.txt": ["methods", "in"],
    "methods.bib": ["methods", "in"],
    "facts.json": ["show", "in"],
    "x_events.tsv": ["events", "{0}", "--format", "bids"],
}


@pytest.mark.parametrize("name", WRITTEN)
def test_no_text_that_is_written_controls_the_terminal(invoke, hostile, name):
    arguments = [str(hostile[0]) if part == "{0}" else part for part in WRITTEN[name]]
    result = invoke(*arguments, "-o", name)
    assert result.exit_code == 0, result.stderr
    written = [path for path in Path().iterdir() if path.is_file()]
    check_safe(*(path.read_text(encoding="utf-8") for path in written))
    assert any("x1b" in path.read_text("utf-8") or "u001b" in path.read_text("utf-8")
               for path in written) or name == "methods.bib"  # fmt: skip


# --- files -----------------------------------------------------------------------------------


@pytest.fixture
def formulas(tmp_path, monkeypatch):
    """A result in which every text that a table may repeat begins like a formula."""
    monkeypatch.chdir(tmp_path)
    labels = (*LABELS[:-1], FORMULA)
    made = Made([Track(0, [0, 1, 2, 3, 4, 5], FORMULA), Track(1, [3, 4], "happiness")],
                n_frames=8, labels=labels, video=f"{FORMULA}.mp4",
                metadata=metadata("@SUM(1)"))  # fmt: skip
    return made.write(Path("+1.parquet"))


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize("command", [["summary"], ["show"], ["events"], ["events", "--format"]])
def test_no_cell_of_a_text_table_is_a_formula(invoke, formulas, command, suffix):
    if command[-1] == "--format":
        name = "bids" if suffix == ".tsv" else "boris"
        result = invoke("events", formulas, "-o", f"x_events{suffix}", "--format", name)
    else:
        more = ["--transitions", f"t{suffix}"] if command == ["summary"] else []
        result = invoke(*command, formulas, "-o", f"x_events{suffix}", *more)
    assert result.exit_code == 0, result.stderr
    for path in Path().glob(f"*{suffix}"):
        found = cells(path, "," if suffix == ".csv" else "\t")
        check_no_formula(found)
        assert any(FORMULA in cell for cell in found), path


def test_events_in_a_pipe_have_no_formula(invoke, formulas):
    result = invoke("events", formulas)
    found = [cell for row in csv.reader(io.StringIO(result.stdout)) for cell in row]
    check_no_formula(found)
    assert f"'{FORMULA}" in found and "'+1.parquet" in found


def is_available(ending):
    """Whether the package that a format of tables needs is installed."""
    found = tabular.FORMATS.get(ending)
    return not (found and found.package) or importlib.util.find_spec(found.package) is not None


def test_numbers_stay_numbers_and_texts_can_be_restored(tmp_path):
    from jadfer_cli.analysis.tabular import write_table

    texts = [FORMULA, "'=x", "-dash.mp4", "@a", "\ttab", "plain", "it's", "'quoted'", "\n=x", "＝x"]
    numbers = [-1.5, 2.0, -3.0, float("nan"), 1e-9, 0.0, -0.25, 7.0, 8.0, 9.0]
    table = pd.DataFrame({"text": texts, "number": numbers, "n": range(-5, 5)})
    table["category"] = table["text"].astype("category")
    for suffix in filter(is_available, table_endings()):
        write_table(table, tmp_path / f"t{suffix}")
    read = pd.read_csv(tmp_path / "t.csv", keep_default_na=False, na_values=[""])
    assert read["n"].tolist() == table["n"].tolist()
    assert read["number"].fillna(0).tolist() == table["number"].fillna(0).tolist()
    check_no_formula(read["text"].tolist() + read["category"].tolist())
    restored = read["text"].str.replace(r"^'(?='*[=+\-@\t\r\n＝＋－＠])", "", regex=True)
    assert restored.tolist() == texts
    # formats with types of their own are not changed
    for kept in (pd.read_parquet(tmp_path / "t.parquet"), pd.read_json(tmp_path / "t.json")):
        assert kept["text"].tolist() == texts


@pytest.mark.parametrize("name", [n for n in export.EXPORTERS if is_available(f".{n}")])
def test_every_export_of_hostile_names_can_be_read(invoke, hostile, name):
    result = invoke("events", hostile[0], "-o", "out/", "--format", name)
    assert result.exit_code == 0, result.stderr
    (written,) = [p for p in Path("out").iterdir() if p.suffix != ".json" or name == "json"]
    if name == "eaf":
        from pympi.Elan import Eaf

        etree.parse(written)
        assert len(Eaf(written).get_annotation_data_for_tier("track 0")) == 1
    elif name == "textgrid":
        from praatio import textgrid

        grid = textgrid.openTextgrid(str(written), includeEmptyIntervals=False)
        assert len(grid.getTier("track 0").entries) == 1
        check_safe(written.read_text(encoding="utf-8"))
    elif name == "bids":
        lines = written.read_text(encoding="utf-8").splitlines()
        assert {line.count("\t") for line in lines} == {lines[0].count("\t")}
        json.loads(written.with_suffix(".json").read_text(encoding="utf-8"))
