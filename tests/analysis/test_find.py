"""Finding results in files, folders and patterns, and reporting what is not a result."""

import shutil

import pandas as pd
import pytest
from made import Made, Track

from jadfer_cli.analysis import tabular
from jadfer_cli.analysis.find import SkipReason, find_results, is_companion, is_result
from jadfer_cli.errors import ResultError
from jadfer_cli.results.paths import companion_path


def made(path, **how):
    path.parent.mkdir(exist_ok=True)
    return Made([Track(0, [0, 1, 2], "happiness")], n_frames=6, **how).write(path)


def paths(*inputs, **how):
    return [result.path for result in find_results([*map(str, inputs)], **how).results]


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made_once")
    made(folder / "a.parquet", landmarks=True)
    made(folder / "day1" / "b.parquet")
    made(folder / ".c.parquet")
    pd.DataFrame({"x": [1]}).to_parquet(folder / "foreign.parquet")
    (folder / "broken.parquet").write_bytes(b"PAR1 no")
    (folder / ".unfinished.parquet.parts").mkdir()
    (folder / "empty").mkdir()
    return folder


@pytest.fixture
def folder(made_once, tmp_path):
    """A result with landmarks, one in a subfolder, one hidden, and files that are not results."""
    return shutil.copytree(made_once, tmp_path / "folder")


def test_folders_and_patterns_hold_results_and_nothing_else(folder):
    a, b = folder / "a.parquet", folder / "day1" / "b.parquet"
    assert paths(folder) == [a]
    assert paths(folder, recursive=True) == [a, b]
    assert paths(folder / "*.parquet", a) == [a]
    assert paths(b, folder) == [b, a]
    assert paths(folder, a) == [a]


@pytest.mark.parametrize("text", [".", "*"])
def test_what_is_not_a_result_is_reported(folder, text, monkeypatch):
    monkeypatch.chdir(folder)
    found = find_results([text])
    skipped = {str(file.path): file.reason for file in found.skipped}
    expected = {"broken.parquet": SkipReason.DAMAGED, "foreign.parquet": SkipReason.FOREIGN}
    if text == ".":  # patterns do not match hidden names
        expected |= {"unfinished.parquet": SkipReason.UNFINISHED}
    assert skipped == expected


def test_landmarks_and_tables_are_skipped_among_several_files(folder):
    a = folder / "a.parquet"
    events = folder / "events.parquet"
    tabular.write_table(pd.DataFrame({"onset_s": [1.0]}), events)
    assert is_companion(companion_path(a, "landmarks")) and not is_result(events)
    # as a shell expands *.parquet
    assert paths(a, companion_path(a, "landmarks"), events) == [a]
    with pytest.raises(ResultError, match="name the result beside it"):
        paths(companion_path(a, "landmarks"))
    with pytest.raises(ResultError, match="is not a result"):
        paths(events)
    with pytest.raises(ResultError, match="is not a result"):
        paths(a, folder / "foreign.parquet")


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (["missing.parquet"], "There is no file missing.parquet"),
        (["broken.parquet"], "not a readable Parquet"),
        (["a.parquet", "broken.parquet"], "not a readable Parquet"),
        (["empty"], "empty: no result of jadfer annotate found."),
        (["a.parquet", "empty"], "empty: no result of jadfer annotate found."),
        (["top"], "Subfolders hold some: add `recursive`."),
        (["nothing*.parquet"], r"nothing*.parquet: no result of jadfer annotate found."),
        (["for*.parquet"], "Skipped foreign.parquet: not a result of jadfer annotate."),
        (["a.landmarks.parquet", "a.landmarks.parquet"], "no result of jadfer annotate found"),
    ],
)
def test_nothing_found(folder, monkeypatch, inputs, says):
    monkeypatch.chdir(folder)
    shutil.copytree("day1", "top/deep")
    with pytest.raises(ResultError) as caught:
        find_results(inputs)
    assert says in str(caught.value)


def test_without_strict_one_input_with_results_is_enough(folder):
    a, empty = folder / "a.parquet", folder / "empty"
    assert paths(empty, a, strict=False) == [a]
    with pytest.raises(ResultError, match="no result of jadfer annotate found"):
        paths(empty, strict=False)


def test_the_root_is_the_deepest_folder_that_holds_all_inputs(folder):
    found = find_results([str(folder / "a.parquet"), str(folder / "day1" / "*.parquet")])
    assert found.root == folder
    relative = [found.relative_path(result).as_posix() for result in found.results]
    assert relative == ["a.parquet", "day1/b.parquet"]
    assert find_results([str(folder / "day1" / "*.parquet")]).root == folder / "day1"
