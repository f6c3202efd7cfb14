"""Videos that failed are named wherever results are read."""

import json
import shutil
from pathlib import Path

import pytest
from made import Made, Track

from jadfer_cli.analysis.dataset.check import check_dataset
from jadfer_cli.analysis.failures import Failure, failures_beside
from jadfer_cli.analysis.find import find_results
from jadfer_cli.batch.failures import Failures
from jadfer_cli.batch.plan import Task
from jadfer_cli.errors import ResultError


def line(video, result, message="The file is truncated.", hint="Copy it again."):
    fields = {"video": video, "result": str(result), "stage": "read", "message": message}
    return json.dumps(fields | {"hint": hint, "time": "2026-11-28T10:00:00"})


@pytest.fixture
def batch(tmp_path):
    """A batch of four videos in two folders, one of which failed in each."""
    root = tmp_path / "results"
    for day in ("day1", "day2"):
        (root / day).mkdir(parents=True)
        made = Made([Track(0, [0, 1])], video=f"{day}/P01.mp4", sha256=day[-1] * 64)
        made.write(root / day / "P01.parquet")
    (root / "failures.jsonl").write_text(
        line("clips/day1/P02.mp4", "results/day1/P02.parquet")  # as `-o results/` records it
        + "\nnot json\n"
        + line("clips/day2/P03.mp4", root / "day2" / "P03.parquet", "No video stream.", None)
        + "\n"
    )
    return root


def test_failures_of_a_folder_and_of_those_below(batch):
    found = failures_beside([batch])
    assert [(f.path, f.reason, f.hint) for f in found] == [
        ("clips/day1/P02.mp4", "The file is truncated.", "Copy it again."),
        ("clips/day2/P03.mp4", "No video stream.", ""),
    ]
    assert isinstance(found[0], Failure) and found[0].result == batch / "day1" / "P02.parquet"
    # a folder below, a result in it, and the whole tree moved elsewhere
    assert [f.path for f in failures_beside([batch / "day1"])] == ["clips/day1/P02.mp4"]
    assert [f.path for f in failures_beside([batch / "day2" / "P01.parquet"])] == [
        "clips/day2/P03.mp4"
    ]
    moved = batch.parent / "elsewhere"
    shutil.copytree(batch, moved / "results")
    assert len(failures_beside([moved / "results"])) == 2
    # one has a result by now
    shutil.copy(batch / "day1" / "P01.parquet", batch / "day1" / "P02.parquet")
    assert [f.path for f in failures_beside([batch])] == ["clips/day2/P03.mp4"]
    assert failures_beside([batch.parent]) == []


def test_inputs_decide_which_failures_matter(batch):
    assert len(find_results([str(batch)], recursive=True).failures) == 2
    assert len(find_results([str(batch / "day1")]).failures) == 1
    assert len(find_results([str(batch / "day1" / "*.parquet")]).failures) == 1
    assert find_results([str(batch / "day1" / "P01.parquet")]).failures == ()


@pytest.mark.parametrize("again", [".", "day1", "day1/..", "../results"])
def test_a_folder_given_twice_counts_once(batch, again):
    found = find_results([str(batch), f"{batch}/{again}"], recursive=True)
    assert len(found.results) == len(found.failures) == 2
    counts = check_dataset(found)
    assert len(counts.sources) == len(counts.failures) == 2


def test_collect_counts_a_folder_given_twice_once(invoke, batch):
    out = ["-o", batch.parent / "all.parquet", "--overwrite", "--allow-duplicates"]
    once = invoke("collect", batch, *out, width=400)
    assert once.exit_code == 0 and "4 videos given, 2 annotated, 2 failed" in once.stderr
    twice = invoke("collect", batch, f"{batch}/day1/..", *out, width=400)
    assert (twice.exit_code, twice.stderr) == (0, once.stderr)


@pytest.mark.parametrize("command", ["show", "summary", "events", "methods", "collect"])
def test_commands_name_them(invoke, batch, command):
    # the made videos are all alike
    out = ["-o", batch.parent / "all.parquet", "--allow-duplicates"] if command == "collect" else []
    found = invoke(command, batch, "-r", *out, width=400)
    assert found.exit_code == 0
    assert (
        "Warning: 4 videos given, 2 annotated, 2 failed: clips/day1/P02.mp4 (The file is "
        "truncated); clips/day2/P03.mp4 (No video stream)." in found.stderr
    )
    assert "given" not in invoke(command, batch / "day1" / "P01.parquet").stderr


def test_methods_counts_videos_with_the_same_reason_together(invoke, batch):
    (batch / "failures.jsonl").write_text(
        "".join(
            line(f"P0{n}.mp4", batch / f"P0{n}.parquet", message) + "\n"
            for n, message in enumerate(["P00.mp4 is empty.", "P01.mp4 is empty.", "No video."])
        )
    )
    text = " ".join(invoke("methods", batch, "-r", width=400).stdout.split())
    assert "Of 5 videos, 2 were annotated; 3 could not be, and are not part of these" in text
    assert "Reasons: it is empty (2 videos); No video (1 video)." in text


def test_a_folder_without_any_result_names_one(invoke, batch):
    (batch / "day1" / "P01.parquet").unlink()
    found = invoke("show", batch / "day1", width=400)
    assert found.exit_code == 1
    assert "clips/day1/P02.mp4 failed: The file is truncated." in found.stderr


@pytest.mark.parametrize("out", ["all.parquet", "all/"])
def test_a_dataset_remembers_them(invoke, batch, monkeypatch, out):
    monkeypatch.chdir(batch.parent)
    found = invoke("collect", batch, "-o", out, width=400)
    assert found.exit_code == 0 and "4 videos given, 2 annotated, 2 failed" in found.stderr
    Path("archive").mkdir()
    shutil.move(batch, "archive/results")
    found = invoke("summary", out, "-r", width=400)
    assert "4 videos given, 2 annotated, 2 failed: clips/day1/P02.mp4 (The" in found.stderr
    assert "Of 4 videos, 2 were annotated; 2 could not be" in invoke("methods", out, "-r").stdout
    found = invoke("diff", out, "archive/results", width=400)
    assert found.exit_code == 0 and found.stderr.count("2 failed: clips/day1/P02.mp4") == 2


def test_a_damaged_list_is_no_crash(batch):
    file = batch / "failures.jsonl"
    file.write_text("[" * 200_000 + "\n" + file.read_text())
    assert len(failures_beside([batch])) == 2
    lines = Failures(file)
    lines.add(Task("new.mp4", batch / "new.parquet"), {"message": "damaged"})
    assert len(failures_beside([batch])) == 3


@pytest.mark.parametrize("recorded", ["out/out/P01.parquet", "{0}/out/P01.parquet",
                                      "moved/study/out/out/P01.parquet"])  # fmt: skip
def test_a_folder_of_the_same_name_inside_is_no_other_result(tmp_path, recorded):
    root = tmp_path / "study" / "out"
    root.mkdir(parents=True)
    (root / "failures.jsonl").write_text(line("P01.mp4", recorded.format(root)) + "\n")
    assert [f.result for f in failures_beside([root])] == [root / "out" / "P01.parquet"]


@pytest.mark.parametrize(
    "recorded", ["C:\\study\\results\\day1\\P02.parquet", "//server/x/results/day1/P02.parquet"]
)
def test_a_batch_that_ran_on_windows_is_read_on_other_systems(batch, recorded):
    """Its failures are found below the folder, and forgotten once there is a result."""
    (batch / "failures.jsonl").write_text(line("C:\\clips\\P02.mp4", recorded))
    (found,) = failures_beside([batch])
    assert found.result == batch / "day1" / "P02.parquet"
    shutil.copy(batch / "day1/P01.parquet", found.result)
    assert not failures_beside([batch])


def test_results_on_several_drives_are_refused(batch, monkeypatch):
    import os

    def no_common(paths):
        raise ValueError("Paths don't have the same drive")  # as on Windows

    monkeypatch.setattr(os.path, "commonpath", no_common)
    with pytest.raises(ResultError, match="several drives") as caught:
        find_results([str(batch / "day1"), str(batch / "day2")])
    assert "one drive at a time" in caught.value.hint
