"""Every command, also one that is added later: what hostile files may not do to its user.

A command that reads results is in READS, with arguments that make it print and write as much as
possible; the others are in READS_NO_RESULTS, with what they read instead.
"""

import csv
import io
import json
from pathlib import Path

import media
import pandas as pd
import pytest
from hostile_text import ATTACK, FORMULA, cells, check_no_formula, check_safe, metadata
from made import Made, Track

from jadfer_cli.cli import app
from jadfer_cli.common import file_sha256
from jadfer_cli.labels import LABELS

# {0} and {1} are the results in the folder `in`; {video} shows the frames of {0}.
READS = {
    "show": ["show", "in", "-o", "out/show.csv"],
    "show one": ["show", "{0}", "--json"],
    "plot": ["plot", "{0}", "-o", "out/plot.svg"],
    "plot page": ["plot", "in", "-o", "out/plot.html"],
    "plot actions": ["plot", "{0}", "-o", "out/plot.svg", "--actions"],
    "summary": ["summary", "in", "-o", "out/s.csv", "--transitions", "out/t.tsv"],
    "summary people": ["summary", "in", "--by", "person"],
    "events": ["events", "in", "-o", "out/events.xlsx"],
    "events printed": ["events", "in"],
    "events action": ["events", "in", "-o", "out/e.csv", "--action", "a_jaw_open"],
    "events blinks": ["events", "in", "-o", "out/blinks.tsv", "--blinks"],
    "methods": ["methods", "in", "-o", "out/methods.md"],
    "diff": ["diff", "{0}", "{1}"],
    "diff json": ["diff", "{1}", "{0}", "--json"],
    "collect": ["collect", "in", "-o", "out/all.parquet"],
    "convert": ["convert", "{0}", "-o", "out/c.csv"],
    "convert many": ["convert", "in", "-o", "out/", "--format", "tsv"],
    "convert xlsx": ["convert", "{0}", "-o", "out/c.xlsx"],
    "convert openface": ["convert", "{0}", "-o", "out/c.csv", "--columns", "openface"],
    "overlay": ["overlay", "{video}", "{0}", "-o", "out/drawn.mp4"],
    "view": ["view", "{video}", "{0}", "-o", "out/view.html"],
    "qc": ["qc", "in", "-o", "out/qc.html", "-o", "out/qc.csv", "--videos"],
    "qc json": ["qc", "in", "--json"],
    "smooth": ["smooth", "in", "-o", "out/"],
    "baseline": ["baseline", "in", "-o", "out/", "--neutral", "0,1", "--baselines", "out/b.csv"],
    "baseline xlsx": ["baseline", "{0}", "-o", "out/b.parquet", "--baselines", "out/b.xlsx"],
    "resample": ["resample", "in", "-o", "out/grid.csv", "--rate", "5"],
    "design": ["design", "in", "--trials", "trials.csv", "-o", "out/design.csv", "--by", "{text}"],
    "design wide": ["design", "in", "--trials", "trials.csv", "-o", "out/d.xlsx", "--wide"],
    "agree": ["agree", "in", "codes.csv", "--map", "{text}=happiness", "--uncoded", "neutral",
              "--draws", "0", "-o", "out/a.csv", "--confusion", "out/c.tsv", "--text", "out/a.md"],
    "tune": ["tune", "in", "codes.csv", "--map", "{text}=happiness", "--uncoded", "neutral",
             "-o", "out/tuned.safetensors", "--each-clip-one-person"],
    "identify": ["identify", "in", "--recogniser", "{text}", "-o", "out/"],
    "annotate": ["annotate", "{video}", "-o", "{0}", "--skip-existing", "--quiet"],
}  # fmt: skip
READS_NO_RESULTS = {
    "bench": "a video", "compare-recipes": "data sets", "doctor": "the machine",
    "evaluate": "a model and data sets", "guide": "what is installed", "import": "a CSV file",
    "init": "nothing", "models": "models", "recipes": "what is installed", "train": "data sets",
    "train-follower": "videos", "train-micro": "a table of clips",
}  # fmt: skip

# What ends otherwise than with 0: there is no such recogniser, and another model made the results.
CODES = {"identify": 1, "tune": 1, "annotate": 1}
ONE_OF_EACH = {case.split()[0]: case for case in reversed(READS)}.values()
ONE_OF_EACH_STUDY = {c.split()[0]: c for c in reversed(READS) if "in" in READS[c]}.values()


def test_every_command_is_listed():
    assert {case.split()[0] for case in READS} | set(READS_NO_RESULTS) == set(app.COMMANDS)


def csv_text(*rows):
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue()


def make_study(text):
    """A study in the current folder in which a text of others is wherever one can be.

    Returns:
        A function that fills in the arguments of READS.
    """
    video = media.make_video(Path(f"{text[:60]}.mp4"), media.numbered_frames(60))
    results = []
    for i in range(2):
        described = metadata(text)
        sha256 = "5" * 64 if i else file_sha256(video)
        described["video"] = {"bytes": video.stat().st_size, "sha256": sha256}
        tracks = [
            Track(
                0, list(range(5, 40)), text, box_px=(10, 10, 50, 60), actions={"a_jaw_open": 0.9}
            ),
            Track(1, list(range(30, 60)), "happiness", box_px=(60, 10, 100, 60), actions={}),
        ]
        path = Path("in") / f"{text}{i}.parquet"
        Made(tracks, n_frames=60, labels=(*LABELS[:-1], text), video=f"{text}{i}.mp4",
             metadata=described, size_px=(128, 96)).write(path)  # fmt: skip
        rows = pd.read_parquet(path)
        rows["person"] = pd.Categorical([text if face else None for face in rows["face_detected"]])
        rows.to_parquet(path, index=False)
        results.append(str(path))
    head = ("participant", "trial", "video", "onset_s", "duration_s", "person", text)
    trials = [(text, i, f"{text}{i}.mp4", 0.2, 1, text, text) for i in range(2)]
    Path("trials.csv").write_text(csv_text(head, *trials), "utf-8", newline="")
    codes = [(f"{text}{i}.mp4", coder, 0.2, 1.5, text) for i in range(2) for coder in (text, "b")]
    head = ("clip", "coder", "start_s", "end_s", "label")
    Path("codes.csv").write_text(csv_text(head, *codes), "utf-8", newline="")
    words = {"{0}": results[0], "{1}": results[1], "{video}": str(video), "{text}": text}
    return lambda argv: [words.get(part, part.replace("{text}", text)) for part in argv]


def written():
    return [path for path in Path("out").rglob("*") if path.is_file()]


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()


def check_ended(done, code):
    """Check the exit code, and that nothing unforeseen happened."""
    said = " ".join((done.stdout + done.stderr).split())
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "bug in jadfer" not in said and done.exit_code == code, said
    return said


@pytest.mark.slow
@pytest.mark.parametrize("case", READS)
def test_no_text_of_a_result_controls_the_terminal(invoke, in_folder, monkeypatch, case):
    monkeypatch.setenv("FORCE_COLOR", "1")
    fill = make_study(ATTACK)
    done = invoke(*fill(READS[case]))
    check_ended(done, CODES.get(case, 0))
    check_safe(done.stdout, done.stderr)
    for path in written():
        if path.suffix in (".json", ".md", ".svg", ".tsv"):
            check_safe(path.read_text("utf-8"))
        if path.suffix == ".html":  # Plotly's own code contains control characters
            assert "\x1b]52" not in path.read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in READS if case != "annotate"])  # no table
def test_no_cell_is_a_formula(invoke, in_folder, case):
    fill = make_study(FORMULA)
    done = invoke(*fill(READS[case]))
    check_ended(done, CODES.get(case, 0))
    tables = [path for path in written() if path.suffix in (".csv", ".tsv")]
    found = [cells(path, "," if path.suffix == ".csv" else "\t") for path in tables]
    if case == "events printed":
        found.append([cell for row in csv.reader(io.StringIO(done.stdout)) for cell in row])
    for each in found:
        check_no_formula(each)
    for path in written():
        if path.suffix == ".xlsx":
            openpyxl = pytest.importorskip("openpyxl")
            for sheet in openpyxl.load_workbook(path):
                kinds = {cell.data_type for row in sheet.iter_rows() for cell in row}
                assert "f" not in kinds, path


def damage_rows(rows):
    rows.loc[rows["face_detected"], ["bbox_x1", "p_fear", "time_s"]] = float("nan")


DAMAGE = {
    "metadata": lambda rows: rows.attrs.update(jadfer=None),
    "keys": lambda rows: rows.attrs["jadfer"]["video"].pop("duration_s"),
    "rows": damage_rows,
    "columns": lambda rows: rows.pop("time_s"),
}
# Commands that copy rows without looking at them, or that end before they read any; and qc, for
# which damaged rows are a finding like others. annotate loads its networks first: once is enough.
READS_NO = {
    "keys": ("annotate",),
    "rows": ("annotate", "collect", "convert", "identify", "methods", "qc"),
    "columns": ("annotate",),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("case", ONE_OF_EACH)
def test_a_damaged_result_gives_one_clear_error(invoke, in_folder, case, damage):
    if case in READS_NO.get(damage, ()):
        pytest.skip(f"reads no {damage}")
    fill = make_study(LABELS[-1])
    for path in Path("in").glob("*.parquet"):
        rows = pd.read_parquet(path)
        if "face_detected" in rows:  # otherwise it has the actions of a result
            DAMAGE[damage](rows)
            rows.to_parquet(path, index=False)
    done = invoke(*fill(READS[case]))
    said = check_ended(done, 1)
    assert said.count("Error:") == 1, said
    assert "damaged or w" in said, said
    assert not written()


@pytest.mark.slow
def test_qc_excludes_a_clip_with_damaged_rows(invoke, in_folder):
    fill = make_study(LABELS[-1])
    path = fill(["{0}"])[0]
    rows = pd.read_parquet(path)
    damage_rows(rows)
    rows.to_parquet(path, index=False)
    check_ended(invoke(*fill(READS["qc"])), 0)
    table = pd.read_csv("out/qc.csv").set_index("result")
    assert table.loc[path, "decision"] == "exclude" and "damaged" in table.loc[path, "findings"]


@pytest.mark.slow
@pytest.mark.parametrize("shift", ["1 h later", "in ms"])
@pytest.mark.parametrize("case", [c for c in ONE_OF_EACH if "{video}" in READS[c]])
def test_rows_at_other_times_than_the_videos_are_refused(invoke, in_folder, case, shift):
    if case == "annotate":
        pytest.skip("compares settings only")
    fill = make_study(LABELS[-1])
    path = fill(["{0}"])[0]
    rows = pd.read_parquet(path)
    rows["time_s"] = rows["time_s"] + 3600 if shift == "1 h later" else rows["time_s"] * 1000
    rows.to_parquet(path, index=False)
    said = check_ended(invoke(*fill(READS[case])), 1)
    assert "are not those of" in said and said.count("Error:") == 1, said
    assert not written()


@pytest.mark.slow
@pytest.mark.parametrize("case", ONE_OF_EACH_STUDY)
def test_no_failed_or_damaged_video_drops_out_of_a_study_unnoticed(invoke, in_folder, case):
    fill = make_study(LABELS[-1])
    line = {"video": "P09.mp4", "result": "in/P09.parquet", "message": "P09.mp4 is not a video."}
    Path("in/failures.jsonl").write_text(json.dumps(line) + "\n", "utf-8")
    rows = pd.read_parquet(fill(["{0}"])[0])
    DAMAGE["keys"](rows)
    rows.to_parquet("in/P08.parquet", index=False)
    done = invoke(*fill(READS[case]))
    said = done.stdout + done.stderr
    for path in written():
        said += path.read_text("utf-8", errors="replace")
    assert "P09" in said and "P08" in said, said
