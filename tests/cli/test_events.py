"""`jadfer events`: tables, files by ending, folders, messages and exit codes."""

import io
import shutil

import pandas as pd
import pytest
from made import Made, Track
from praatio import textgrid
from praatio.utilities.constants import Interval
from pympi.Elan import Eaf

from jadfer_cli.analysis.events import COLUMNS


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    smile = Track(0, list(range(10)), ["neutral"] * 2 + ["happiness"] * 8)
    folder = tmp_path_factory.mktemp("made_once")
    (folder / "day 1").mkdir()
    Made([smile]).write(folder / "smile.parquet")
    Made([smile]).write(folder / "day 1" / "smile.parquet")
    Made([]).write(folder / "empty.parquet")
    return folder


@pytest.fixture
def results(made_once, tmp_path):
    """Three results: a smile, one in a subfolder, and one without a face."""
    return shutil.copytree(made_once, tmp_path / "in")


@pytest.fixture
def run(invoke):
    return lambda *args: invoke("events", *args, width=200)


@pytest.mark.slow
def test_events_in_a_process_of_its_own(results, jadfer, tmp_path):
    out = tmp_path / "smile.eaf"
    done = jadfer("events", results / "smile.parquet", "-o", out, "--expression", "happy")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.replace("\n", "") == f"{out}: 1 event of 1 track."
    assert Eaf(out).get_annotation_data_for_tier("track 0") == [(80, 400, "happiness")]


def test_a_pipe_gets_csv_and_the_count_goes_to_stderr(results, run):
    done = run(results, "-r")
    assert done.exit_code == 0
    table = pd.read_csv(io.StringIO(done.stdout))
    assert tuple(table.columns) == COLUMNS
    assert table["onset_s"].tolist() == [0.08, 0.08] and set(table["truncated"]) == {"end"}
    assert done.stderr == "2 events of 2 tracks in 3 results.\n"
    assert run(results, "-r", "-q").stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".json", ".jsonl", ".parquet"])
def test_a_table_of_all_results(results, run, tmp_path, ending):
    out = tmp_path / f"all{ending}"
    done = run(results, "-r", "-o", out)
    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    read = {
        ".csv": pd.read_csv, ".tsv": lambda f: pd.read_csv(f, sep="\t"), ".json": pd.read_json,
        ".jsonl": lambda f: pd.read_json(f, lines=True), ".parquet": pd.read_parquet,
    }[ending]  # fmt: skip
    assert tuple(read(out).columns) == COLUMNS and len(read(out)) == 2
    if ending == ".parquet":
        assert read(out).attrs["jadfer_events"]["min_duration_s"] == 0.2


def test_a_folder_gets_one_file_per_result_and_mirrors_the_tree(results, run, tmp_path):
    out = tmp_path / "praat"
    done = run(results, "-r", "-o", out, "--format", "TextGrid")
    assert done.exit_code == 0, done.stderr
    files = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.*"))
    assert files == ["day 1/smile.TextGrid", "empty.TextGrid", "smile.TextGrid"]
    grid = textgrid.openTextgrid(str(out / "day 1" / "smile.TextGrid"), includeEmptyIntervals=False)
    assert grid.getTier("track 0").entries == (Interval(0.08, 0.4, "happiness"),)
    assert f"{out}/empty.TextGrid: no event: no face was found." in done.stderr
    done = run(results, "-o", results, "--format", "bids")
    assert done.exit_code == 0, done.stderr
    assert (results / "smile_events.json").exists() and (results / "smile_events.tsv").exists()
    done = run(results, "-o", results, "--format", "json")
    assert done.exit_code == 0 and (results / "smile.events.json").exists()


def test_a_boris_file_holds_all_results(results, run, tmp_path):
    out = tmp_path / "boris.csv"
    args = (results, "-r", "-o", out, "--format", "boris")
    assert run(*args).exit_code == 0
    again = run(*args)
    assert again.exit_code == 2 and "already exists" in again.stderr
    assert run(*args, "--overwrite").exit_code == 0
    ids = pd.read_csv(out)["Observation id"].tolist()
    assert ids == ["day 1/smile", "smile"]


def test_results_with_the_same_name_are_kept_apart(results, run, tmp_path):
    out = tmp_path / "events.csv"
    assert run(results, "-r", "-o", out).exit_code == 0
    expected = [str(results / "day 1" / "smile.parquet"), str(results / "smile.parquet")]
    assert pd.read_csv(out)["result"].tolist() == expected


def test_a_bids_file_must_have_a_bids_name(results, run, tmp_path):
    done = run(results / "smile.parquet", "-o", tmp_path / "x.tsv", "--format", "bids")
    assert done.exit_code == 2 and "(--format bids) end in _events.tsv" in done.stderr
    assert "E.g. -o x_events.tsv" in done.stderr


def test_finding_no_event_is_not_an_error(results, run, tmp_path):
    done = run(results / "smile.parquet", "--expression", "sad", "-o", tmp_path / "x.csv")
    assert done.exit_code == 0
    assert "no event: nothing reached 0.5 for 0.2 s (see --on" in done.stderr
    assert len(pd.read_csv(tmp_path / "x.csv")) == 0
    done = run(results / "empty.parquet")
    assert done.exit_code == 0 and done.stdout.strip() == ",".join(COLUMNS)


def test_options_reach_the_rule(results, run):
    smile = results / "smile.parquet"
    assert run(smile, "--on", "0.95", "-q").stdout.count("\n") == 1
    assert run(smile, "--min-duration", "0.5", "-q").stdout.count("\n") == 1
    both = run(smile, "--expression", "neutral", "--expression", "joy", "--min-duration", "0")
    assert pd.read_csv(io.StringIO(both.stdout))["expression"].tolist() == ["neutral", "happiness"]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("--on", "0.3"), 2, "cannot begin at 0.3 and end below 0.4"),
        (("--merge-gap", "-1"), 2, "--merge-gap takes seconds"),
        (("--expression", "grin"), 2, "It has neutral, happiness"),
        (("--expression", "hapyness"), 2, "Did you mean happiness?"),
        (("--expression", "happy,sad"), 2, "--expression happy --expression sad"),
        (("--format", "elan"), 2, "eaf: tiers for ELAN"),
        (("--format", "eaf"), 2, "--format eaf needs -o FILE"),
        (("-o", "x.doc"), 2, "Known are .eaf, .TextGrid, .csv"),
        (("-o", "x.txt", "--format", "boris"), 2, "(--format boris) end in .csv"),
        (("-o", "x.json", "--format", "tsv"), 2, "(--format tsv) end in .tsv"),
        (
            ("-o", "x.csv", "--format", "xls"),
            2,
            "--format must be one of bids, boris, eaf, textgrid, csv, tsv",
        ),
        (("-o", "out"), 2, "Add --format"),
        (("-o", "x.eaf"), 2, "--format eaf is about one video"),
        (("-o", "smile.parquet", "--overwrite"), 1, "is a result of jadfer annotate"),
        (("-o", "smile.json", "--overwrite"), 1, "is a result of jadfer annotate"),
        (("missing.parquet",), 1, "There is no file"),
        (("day 1/smile.parquet", "-o", "out", "--format", "eaf"), 2, "both be written"),
    ],
)
def test_errors(results, run, monkeypatch, args, code, says):
    monkeypatch.chdir(results)
    before = {p: p.read_bytes() for p in results.rglob("*.*")}
    done = run("smile.parquet", "empty.parquet", *args)
    assert done.exit_code == code and says in done.stderr, done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr
    assert {p: p.read_bytes() for p in results.rglob("*.*")} == before


def test_a_video_that_starts_late_is_reported(tmp_path, run):
    made = Made([Track(0, list(range(10)), "fear")])
    facts = made.described(made.annotated())["video"] | {"start_offset_s": 1.4}
    made.metadata = {"video": facts}
    result = made.write(tmp_path / "late.parquet")
    done = run(result, "-o", tmp_path / "late.eaf")
    assert done.exit_code == 0 and "late at 1.400 s" in done.stderr
    assert "late at" not in run(result, "-o", tmp_path / "late.csv").stderr
