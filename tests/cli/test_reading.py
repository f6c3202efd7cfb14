"""`jadfer show`, `summary`, `methods` and `diff`: what they print and write."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from made import Made, Track, options

from jadfer_cli.cli.timeline import letters
from jadfer_cli.labels import LABELS
from jadfer_cli.options import AnnotateOptions

SEVEN = LABELS[:-1]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Results of every kind that a folder may contain."""
    folder = tmp_path_factory.mktemp("results")
    two = [
        Track(0, list(range(60)), ["happiness"] * 20 + ["sadness"] * 40,
              usable=[True] * 50 + [False] * 10),
        Track(1, list(range(10, 30)), "surprise"),
    ]  # fmt: skip
    Made(two, n_frames=100).write(folder / "two.parquet")
    Made(two, n_frames=100).write(folder / "again.parquet")
    Made(n_frames=50).write(folder / "nobody.parquet")
    Made([Track(0, [0])], n_frames=1).write(folder / "once.parquet")
    crowd = [Track(i, [i, i + 1], LABELS[i % 8]) for i in range(20)]
    Made(crowd, n_frames=30).write(folder / "crowd.parquet")
    times = np.cumsum([0, *[0.02, 0.06] * 10])
    Made([Track(0, list(range(21)))], n_frames=21, times_s=times).write(folder / "vfr.parquet")
    Made([Track(0, [0, 5])], n_frames=10, frames=[0, 5], options=options(every=5)).write(
        folder / "every.parquet"
    )
    Made([Track(0, [0, 1], usable=False)], labels=SEVEN, model_sha256="7" * 64).write(
        folder / "seven.parquet"
    )
    return folder


@pytest.mark.slow
def test_show_and_diff_in_a_process_of_their_own(jadfer, results):
    shown = jadfer("show", results / "two.parquet")
    assert shown.returncode == 0 and shown.stderr == ""
    lines = shown.stdout.splitlines()
    assert "Frames       100 analysed, 60 with a face (60%)" in lines
    # 80 faces of 0.04 s, 10 of them not usable; of the 70: 20 happy, 30 sad, 20 surprised
    usable = "2.80 s usable: 88% of face time, 50% of video"
    assert f"Faces        2 tracks, 3.20 s, {usable}" in lines
    assert "Expressions  sadness 43%, happiness 29%, surprise 29%" in lines
    strip = next(line for line in lines if line.startswith("0 HH"))
    # 78 columns of 4 s: to 0.8 s happy, to 2.0 s sad, to 2.4 s not usable, then no face
    assert [strip.count(mark) for mark in "HSx-"] == pytest.approx([16, 23, 8, 31], abs=1)
    differ = jadfer("diff", results / "two.parquet", results / "again.parquet")
    assert (differ.returncode, differ.stderr) == (0, "")
    assert differ.stdout.splitlines()[0] == "The results agree within 0.0001."


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nobody", "Warning: No face was found in any of 50 frames."),
        ("vfr", "Warning: The frame rate varies (20 to 60 ms per frame): use time_s, never"),
        ("seven", "Warning: Only 0% of the time with a face is usable."),
        ("every", "Options      --every 5"),
        ("once", "1 analysed, 1 with a face (100%)"),
        ("crowd", "Faces        20 tracks, 1.60 s"),
        ("crowd", "19 "),
    ],
)
def test_show_reports_what_is_unusual(invoke, results, name, says):
    found = invoke("show", results / f"{name}.parquet")
    assert found.exit_code == 0 and says in found.stdout, found.stdout
    assert all(len(line) <= 80 for line in found.stdout.splitlines())


def test_show_puts_warnings_first(invoke, tmp_path):
    model = {"name": "try", "sha256": "3" * 64, "preview": True, "metrics": {}}
    counts = {
        "frames_analysed": 100, "frames_corrupt": 2, "frames_repeated": 3, "tracks_left_out": 1,
        "frames_without_face": 99,
    }  # fmt: skip
    path = Made(
        [Track(0, [0])], n_frames=100, options=AnnotateOptions(relative_paths=True),
        metadata={"model": model, "counts": counts, "warnings": ["Pixels are not square."]},
    ).write(tmp_path / "a.parquet")  # fmt: skip
    lines = invoke("show", path, width=120).stdout.splitlines()
    assert [line.removeprefix("Warning: ") for line in lines[1:7]] == [
        "Pixels are not square.",
        "The model try is a preview; do not publish its scores.",
        "A face was found in only 1 of 100 frames.",
        "2 of 100 frames are corrupt; see the column frame_status.",
        "3 of 100 frames repeat the previous picture.",
        "--max-faces left out 1 track.",
    ]
    assert "Options      --relative-paths" in lines


def test_show_of_many_is_a_table(invoke, results, tmp_path):
    found = invoke("show", results)
    assert found.exit_code == 0
    assert "Warning: The results have different models" in found.stdout
    assert "different labels" in found.stdout and "settings: --every" in found.stdout
    lines = found.stdout.splitlines()
    rows = [line.split() for line in lines[lines.index(next(x for x in lines if "tracks" in x)) :]]
    assert [row[0] for row in rows[1:-1]] == sorted(p.stem for p in results.glob("*.parquet"))
    assert rows[-1][:2] == ["all", "8"] and "314" in rows[-1]  # frames
    assert all(len(line) <= 80 for line in lines)
    out = tmp_path / "all.csv"
    assert invoke("show", results, "-o", out).exit_code == 0
    table = pd.read_csv(out).set_index("result")
    row = table.loc[str(results / "two.parquet")]
    assert row["tracks"] == 2 and row["share_sadness"] == pytest.approx(30 / 70)
    assert pd.isna(table.loc[str(results / "seven.parquet"), "share_contempt"])


def test_damaged_files_in_a_folder_are_reported(invoke, results, tmp_path):
    shutil.copy(results / "two.parquet", tmp_path)
    (tmp_path / "cut.parquet").write_bytes((results / "two.parquet").read_bytes()[:5000])
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "other.parquet")  # not a result: not reported
    found = invoke("summary", tmp_path, width=300)
    assert found.exit_code == 0
    assert found.stderr == (
        f"Warning: Skipped {tmp_path / 'cut.parquet'}, which is not a readable Parquet file.\n"
    )


def test_show_as_json(invoke, results, tmp_path):
    found = invoke("show", results / "two.parquet", "--json")
    (facts,) = json.loads(found.stdout)
    assert facts["tracks"][1] == {
        "track_id": 1, "first_seen_s": 0.4, "last_seen_s": pytest.approx(1.2),
        "seconds_seen": pytest.approx(0.8), "usable_share": pytest.approx(1),
        "usable_share_of_video": pytest.approx(0.2),
        "expression_shares": {"surprise": pytest.approx(1)},
    }  # fmt: skip
    assert invoke("show", results / "two.parquet", "-o", tmp_path / "a.json").exit_code == 0
    assert json.loads((tmp_path / "a.json").read_text()) == [facts]


def test_every_label_has_a_letter_of_its_own():
    marks = letters(LABELS)
    assert len(set(marks.values())) == 8
    assert [marks[name] for name in ("happiness", "surprise", "sadness")] == ["H", "U", "S"]
    assert len(set(letters(["aa", "ab", "aab", "surprise", "u"]).values())) == 5


@pytest.mark.slow
def test_summary_on_the_terminal_and_as_files(jadfer, invoke, results, tmp_path):
    found = invoke("summary", results)
    assert found.exit_code == 0 and "different models" in found.stderr
    lines = found.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert next(x for x in lines if x.startswith("nobody")).split()[1:] == [
        "-", "0.00", "-", "0%", "0", "-",
    ]  # fmt: skip
    out, pairs = tmp_path / "s.csv", tmp_path / "t.parquet"
    done = jadfer("summary", results, "-o", out, "--transitions", pairs)
    assert done.returncode == 0 and done.stdout == ""
    assert f"{out}: 29 rows" in done.stderr and f"{pairs}: " in done.stderr
    table = pd.read_csv(out)
    assert len(table) == 29 and table["track_id"].isna().sum() == 1
    one = table[table["result"] == str(results / "two.parquet")].iloc[0]
    assert one["transitions"] == 1 and one["episode_mean_s_happiness"] == pytest.approx(0.8)
    counts = pd.read_parquet(pairs)
    assert counts["count"].sum() == table["transitions"].sum()
    pooled = invoke("summary", results / "two.parquet", "--by", "video", "--all-faces", width=120)
    assert "sadness 50%, happiness 25%, surprise 25%" in pooled.stdout


@pytest.mark.slow
def test_methods_prints_and_writes(jadfer, invoke, results, tmp_path):
    found = jadfer("methods", results / "two.parquet")
    assert found.returncode == 0 and found.stderr == ""
    paragraph, empty, rest = found.stdout.split("\n", 2)
    assert paragraph.startswith("Facial expressions were annotated") and not empty
    assert rest.startswith("@software{jadfer,")
    for ending, holds in ((".md", "```bibtex"), (".txt", "@article{Gao2025"), (".bib", "@misc")):
        out = tmp_path / f"m{ending}"
        done = invoke("methods", results / "two.parquet", "-o", out)
        assert done.exit_code == 0 and "from 1 result" in done.stderr
        text = out.read_text("utf-8")
        assert "Gao2025" in text and (holds in text or ending == ".bib")
        assert ("annotated with jadfer" in text) == (ending != ".bib")
    many = invoke("methods", results)
    assert many.exit_code == 0 and "different models" in many.stderr
    assert "not all processed alike: they form 3 groups" in many.stdout.replace("\n", " ")


@pytest.mark.slow
def test_diff_of_files(invoke, results):
    found = invoke("diff", results / "two.parquet", results / "nobody.parquet", width=200)
    assert found.exit_code == 1
    first, *rest = found.stdout.splitlines()
    assert first.startswith("The results differ: frames analysed (50 only in A, 0 only in B); ")
    assert "faces found (80 only in A, 0 only in B)" in first
    assert any("first in frame 0" in line for line in rest)
    quiet = invoke("diff", results / "two.parquet", results / "nobody.parquet", "-q", width=200)
    assert quiet.stdout.splitlines() == [first]
    facts = json.loads(
        invoke("diff", results / "two.parquet", results / "again.parquet", "--json").stdout
    )
    assert facts["agree"] and facts["faces"] == 80 and facts["settings"] == []
    settings = invoke("diff", results / "once.parquet", results / "seven.parquet", width=200)
    assert "model  A jadfer-compact (111111111111)" in settings.stdout


@pytest.mark.slow
def test_diff_of_folders(invoke, results, tmp_path):
    for side, names in (("a", ["two", "once"]), ("b", ["two", "once", "vfr"])):
        (tmp_path / side / "deep").mkdir(parents=True)
        for name in names:
            shutil.copy(results / f"{name}.parquet", tmp_path / side / "deep" / f"{name}.parquet")
    found = invoke("diff", tmp_path / "a", tmp_path / "b", width=200)
    assert found.exit_code == 1
    first, _, *rows = found.stdout.splitlines()
    assert first == "The results differ: 1 of 3 do not agree."
    assert [row.split()[:2] for row in rows] == [
        ["deep/once.parquet", "agree"], ["deep/two.parquet", "agree"], ["deep/vfr.parquet", "only"],
    ]  # fmt: skip
    (tmp_path / "b" / "deep" / "vfr.parquet").unlink()
    found = invoke("diff", tmp_path / "a", tmp_path / "b", "--json")
    assert (
        found.exit_code == 0 and [pair["agree"] for pair in json.loads(found.stdout)] == [True] * 2
    )


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["show", "missing.parquet"], 1, "There is no file"),
        (["show", "cut.parquet"], 1, "is not a readable Parquet file"),
        (["summary", "holes.parquet"], 1, "is not a readable Parquet file"),
        (["show", "two.parquet", "-o", "x.doc"], 2, "is unknown"),
        (["show", "two.parquet", "-o", "two.parquet", "--overwrite"], 1, "is not replaced"),
        (["summary", "two.parquet", "--by", "day"], 2, "--by must be one of track, video"),
        (["summary", "two.parquet", "-o", "s.csv", "--transitions", "s.csv"], 2, "the same file"),
        (["summary", "two.parquet", "--transitions", "s.xls"], 2, "is unknown"),
        (["methods", "two.parquet", "-o", "m.csv"], 2, "Known are .md, .txt, .bib"),
        (["methods", "cut.parquet"], 1, "is not a readable Parquet file"),
        (["diff", "two.parquet", "."], 2, "holds several results, but"),
        (["diff", "two.parquet", "two.parquet", "--tolerance", "-1"], 2, "between 0 and 1"),
        (["diff", "two.parquet", "missing.parquet"], 1, "There is no file"),
    ],
)
def test_errors_are_explained_and_change_nothing(
    invoke, results, tmp_path, monkeypatch, args, code, says
):
    whole = (results / "two.parquet").read_bytes()
    (tmp_path / "two.parquet").write_bytes(whole)
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    # its metadata, at the end, are intact; its rows are not
    (tmp_path / "holes.parquet").write_bytes(b"PAR1" + bytes(3000) + whole[3004:])
    before = sorted(path.name for path in tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    found = invoke(*args)
    assert found.exit_code == code
    assert says in found.stderr.replace("\n", " "), found.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "two.parquet").read_bytes() == whole


def test_usable_of_face_time_and_of_the_video(invoke, tmp_path):
    # a face in 43 of 100 frames, all of them usable
    Made([Track(0, list(range(43)), "fear")], n_frames=100).write(tmp_path / "a.parquet")
    shown = invoke("show", tmp_path / "a.parquet", width=200).stdout
    assert "1.72 s usable: 100% of face time, 43% of video" in shown
    lines = invoke("summary", tmp_path / "a.parquet").stdout.splitlines()
    assert lines[0].split()[3:7] == ["usable", "of", "video", "changes"]
    assert lines[1].split()[3:6] == ["100%", "43%", "0"]
    out = tmp_path / "s.csv"
    assert invoke("summary", tmp_path / "a.parquet", "-o", out).exit_code == 0
    row = pd.read_csv(out).iloc[0]
    assert row["video_s"] == row["analysed_s"] == pytest.approx(4)
    assert row["face_share"] == row["usable_share_of_video"] == pytest.approx(0.43)
    assert row["usable_share"] == 1


def test_versions_and_devices_are_named(invoke, tmp_path):
    """Two results by different versions and devices: `diff`, `summary` and `show` say so."""
    track = Track(0, list(range(10)), "fear")
    Made([track]).write(tmp_path / "a.parquet")
    gpu = {
        "jadfer_version": "0.3.0", "device": "cuda", "device_name": "NVIDIA X", "engine": "torch",
        "redetect_s": 0.0, "versions": {"torch": "2.4.0"}, "results_revision": 3,
    }  # fmt: skip
    Made([track], metadata=gpu).write(tmp_path / "b.parquet")
    found = invoke("diff", tmp_path / "a.parquet", tmp_path / "b.parquet", width=200)
    assert found.exit_code == 0
    lines = [line.split() for line in found.stdout.splitlines()]
    assert any(line[-5:] == ["--redetect", "A", "0.3", "B", "0.0"] for line in lines)
    assert "Computed by different means:" in found.stdout and "B NVIDIA X" in found.stdout
    assert any(line[:1] == ["engine"] and line[-1] == "torch" for line in lines)
    assert any("0.3.0" in line for line in lines)
    assert "differs for 0 of 10 faces (0.0%)" in found.stdout
    facts = json.loads(
        invoke("diff", tmp_path / "a.parquet", tmp_path / "b.parquet", "--json").stdout
    )
    assert {each["name"] for each in facts["origins"]} >= {"jadfer", "device", "engine", "torch"}
    for command, stream in (("summary", "stderr"), ("show", "stdout")):
        text = getattr(invoke(command, tmp_path, width=300), stream)
        assert "different versions of jadfer" in text and "0.3.0: 1" in text
