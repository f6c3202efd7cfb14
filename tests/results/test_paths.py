"""The names under which tables, headings and progress show files."""

from pathlib import Path

import pytest

from jadfer_cli.results.paths import display_names


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        ([], []),
        (["results/day1/P01.parquet"], ["P01"]),
        (["a/P01.parquet", "a/P02.parquet"], ["P01", "P02"]),
        (["r/day1/P01.parquet", "r/day2/P01.parquet"], ["day1/P01", "day2/P01"]),
        # as few folders as are needed, the same number for all
        (
            ["s/x/day1/P01.parquet", "s/x/day2/P01.parquet", "s/y/day3/P03.parquet"],
            ["day1/P01", "day2/P01", "day3/P03"],
        ),
        (["s/x/1/P.parquet", "s/y/1/P.parquet", "s/P.parquet"], ["x/1/P", "y/1/P", "P"]),
        # the extension only where nothing else differs
        (["a/clip.mp4", "a/clip.mkv", "a/x.mp4"], ["clip.mp4", "clip.mkv", "x"]),
        (["./a.parquet", "a.parquet"], ["a", "a"]),  # one file, named twice
    ],
)
def test_shortest_names_that_tell_files_apart(paths, names):
    found = display_names(paths)
    assert list(found) == paths and list(found.values()) == names


def test_long_names_are_abbreviated_only_where_they_stay_different(tmp_path):
    long = "interview-with-the-first-participant-of-the-pilot-{}-camera.mp4"
    paths = [tmp_path / long.format(name) for name in ("Monday", "Friday")]
    apart = display_names(paths, 40)
    assert list(apart) == [str(path) for path in paths]
    assert all(len(name) == 40 and "…" in name for name in apart.values())
    assert len(set(apart.values())) == 2
    alike = [tmp_path / "interview-A-with-the-first-of-the-participants-camera.mp4",
             tmp_path / "interview-B-with-the-first-of-the-participants-camera.mp4"]  # fmt: skip
    assert list(display_names(alike, 12).values()) == [path.stem for path in alike]
    assert display_names(map(Path, ["one.mp4"]), 12) == {"one.mp4": "one"}
