"""Planning a batch: inputs, results, collisions, parts of job arrays."""

import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jadfer_cli.batch.inputs import expand
from jadfer_cli.batch.names import named
from jadfer_cli.batch.plan import Shard, Task, settle, shard
from jadfer_cli.errors import OptionError
from jadfer_cli.options import AnnotateOptions


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in ("b.mp4", "a.MOV", "notes.txt", "._a.MOV", ".hidden.mp4", "day 1/c.mkv",
                 "day 1/deep/d.mp4", ".git/e.mp4", "empty/x.txt"):  # fmt: skip
        path = tmp_path / "clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(*inputs, recursive=False, nul=False, stdin=b""):
    sources = expand(inputs, recursive=recursive, nul=nul, stdin=io.BytesIO(stdin))
    return [(source.path, source.below.as_posix()) for source in sources]


def test_files_folders_and_subfolders(tree):
    assert found("clips/b.mp4", "missing.mp4") == [
        ("clips/b.mp4", "b.mp4"), ("missing.mp4", "missing.mp4")]  # fmt: skip
    assert found("clips") == [("clips/a.MOV", "a.MOV"), ("clips/b.mp4", "b.mp4")]
    assert [below for _, below in found("clips/", recursive=True)] == [
        "a.MOV", "b.mp4", "day 1/c.mkv", "day 1/deep/d.mp4"]  # fmt: skip
    assert found("clips", "clips/b.mp4", str(tree / "clips/b.mp4")) == found("clips")


def test_patterns_keep_the_tree_below_their_fixed_part(tree):
    assert found("clips/*.mp4") == [("clips/b.mp4", "b.mp4")]
    assert [below for _, below in found("clips/**/*.m*")] == [
        "b.mp4", "day 1/c.mkv", "day 1/deep/d.mp4"]  # fmt: skip
    (tree / "odd[1].mp4").write_bytes(b"x")
    assert found("odd[1].mp4") == [("odd[1].mp4", "odd[1].mp4")]


def test_lists_and_stdin(tree):
    lines = "clips/b.mp4\r\n\n# a comment\nclips/day 1/c.mkv\n"
    expected = [("clips/b.mp4", "b.mp4"), ("clips/day 1/c.mkv", "day 1/c.mkv")]
    (tree / "list.txt").write_text("\ufeff" + lines, "utf-8")
    assert found("@list.txt") == expected
    assert found("-", stdin=lines.encode()) == expected
    assert found("-", stdin=b"clips/b.mp4\0clips/day 1/c.mkv\0", nul=True) == expected
    # as > of Windows PowerShell writes it
    (tree / "list.txt").write_bytes(lines.encode("utf-16"))
    assert found("@list.txt") == expected
    odd = os.fsdecode(b"clips/line\nbreak \xff.mp4")
    Path(odd).write_bytes(b"x")
    assert found("-", stdin=os.fsencode(odd) + b"\0", nul=True) == [(odd, odd[6:])]
    (tree / "@at.mp4").write_bytes(b"x")
    assert found("@at.mp4") == [("@at.mp4", "@at.mp4")]


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (["clips/day 1/deep/.."], {}, None),
        (["clips/empty"], {}, "clips/empty contains no video"),
        (["clips/*.avi"], {}, "No file matches clips/*.avi"),
        (["@none.txt"], {}, "The list none.txt cannot be read: No such file"),
        (["-"], {}, "No path was read from stdin"),
        (["-"], {"stdin": b"\xff\xfea"}, "stdin is not text in UTF-8 or UTF-16"),
        (["-"], {"stdin": b"a.mp4\nb.mp4\n", "nul": True}, "contains line breaks"),
        (["."], {}, ". itself contains no video; its subfolders contain 4"),
    ],
)
def test_what_means_no_video_is_an_error(tree, inputs, options, message):
    if message is None:
        assert found(*inputs)
        return
    with pytest.raises(OptionError) as caught:
        found(*inputs, **options)
    assert message in caught.value.message


def tasks(*inputs, out="out", many=True, recursive=False):
    sources = expand(inputs, recursive=recursive, nul=False)
    return [(t.video, t.target.as_posix()) for t in settle(sources, out, many=many)]


def test_results_mirror_the_inputs(tree):
    assert tasks("clips", recursive=True)[2:] == [
        ("clips/day 1/c.mkv", "out/day 1/c.parquet"),
        ("clips/day 1/deep/d.mp4", "out/day 1/deep/d.parquet"),
    ]
    assert tasks("clips/b.mp4", out="x/y.parquet", many=False)[0][1] == "x/y.parquet"
    assert tasks("clips/b.mp4", out="x/", many=False)[0][1] == "x/b.parquet"
    with pytest.raises(OptionError, match="names one file"):
        tasks("clips", out="all.parquet")


@pytest.mark.parametrize(
    "names",
    [("x/a.mp4", "y/a.mp4"), ("a.mp4", "a.landmarks.mp4"), ("a.mp4", "A.MP4")],
)
def test_two_videos_never_write_one_file(tmp_path, names):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(OptionError) as caught:
        tasks(*(str(tmp_path / name) for name in names))
    assert all(Path(name).name in caught.value.message for name in names)


@given(st.lists(st.floats(0, 1e5), max_size=30), st.integers(1, 7))  # seconds of each video, parts
def test_parts_are_disjoint_complete_and_balanced(seconds, n):
    plan = [Task(f"{i}.mp4", Path(f"{i}.parquet")) for i in range(len(seconds))]
    of = dict(zip((task.video for task in plan), seconds, strict=True))
    parts = [shard(plan, Shard(k, n), of.__getitem__) for k in range(1, n + 1)]
    assert sorted(t.video for part in parts for t in part) == sorted(of)
    for part in parts:
        assert part == [task for task in plan if task in part]
    loads = [sum(of[task.video] for task in part) for part in parts]
    assert max(loads) - min(loads) <= max(seconds, default=0) + 1e-6


def test_videos_of_unknown_length_are_spread_too():
    plan = [Task(f"{i}.mp4", Path(f"{i}.parquet")) for i in range(9)]
    assert [len(shard(plan, Shard(k, 3), lambda video: 0.0)) for k in (1, 2, 3)] == [3, 3, 3]


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4", "1/4/2"])
def test_shards_that_make_no_sense(text):
    with pytest.raises(OptionError, match="K/N"):
        Shard.of(text)


def names(options, *inputs):
    """What the rows call the videos of a batch."""
    sources = expand(inputs, recursive=True, nul=False)
    tasks = named(settle(sources, "out/", many=True), sources, options)
    return [task.name for task in tasks]


def test_the_rows_name_videos_by_path_below_the_folder_or_by_file_name(tree):
    (tree / "clips/day 1/b.mp4").write_bytes(b"x")
    given, relative = AnnotateOptions(), AnnotateOptions(relative_paths=True)
    assert names(given, "clips")[1:3] == ["clips/b.mp4", "clips/day 1/b.mp4"]
    below = ["b.mp4", "day 1/b.mp4", "day 1/c.mkv", "day 1/deep/d.mp4"]
    assert names(relative, "clips")[1:] == below
    assert names(relative, "clips/day 1/c.mkv") == ["c.mkv"]
    bare = AnnotateOptions(file_names=True)
    assert names(bare, "clips/day 1") == ["b.mp4", "c.mkv", "d.mp4"]
    with pytest.raises(OptionError, match=r"clips/b\.mp4 and clips/day 1/b\.mp4 .* called b\.mp4"):
        names(bare, "clips")
    with pytest.raises(OptionError, match="exclude each other"):
        AnnotateOptions(relative_paths=True, file_names=True)


def of_pair(folder, *names):
    """Which result each of these videos has, if all are given as one folder."""
    for name in ("clip.mp4", "clip.mkv"):
        (folder / name).unlink(missing_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
    plan = settle(expand([str(folder)], recursive=False, nul=False), str(folder / "out"), many=True)
    return {Path(task.video).name: task.target.name for task in plan}


def result_of(path, video):
    """A file that says that it is the result of this video."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    attrs = json.dumps({"jadfer": {"video": {"path": video}}})
    path.parent.mkdir(exist_ok=True)
    rows = pa.table({"frame": [0]}).replace_schema_metadata({"PANDAS_ATTRS": attrs})
    pq.write_table(rows, path)


def test_only_a_pair_of_one_name_is_named_otherwise(tmp_path):
    (tmp_path / "other.mp4").write_bytes(b"x")
    both = of_pair(tmp_path, "clip.mp4", "clip.mkv")
    assert both == {
        "clip.mp4": "clip.mp4.parquet", "clip.mkv": "clip.mkv.parquet", "other.mp4": "other.parquet"
    }  # fmt: skip
    assert of_pair(tmp_path, "clip.mp4")["clip.mp4"] == "clip.parquet"


def test_a_video_keeps_the_name_of_its_result_when_the_other_comes_or_goes(tmp_path):
    result_of(tmp_path / "out" / "clip.parquet", "elsewhere/clip.mp4")
    both = of_pair(tmp_path, "clip.mp4", "clip.mkv")
    assert both == {"clip.mp4": "clip.parquet", "clip.mkv": "clip.mkv.parquet"}
    result_of(tmp_path / "out" / "clip.mkv.parquet", "clip.mkv")
    assert of_pair(tmp_path, "clip.mkv") == {"clip.mkv": "clip.mkv.parquet"}
    assert of_pair(tmp_path, "clip.mp4") == {"clip.mp4": "clip.parquet"}


def test_unfinished_work_is_found_again_when_a_second_clip_appears(tmp_path):
    of_pair(tmp_path, "clip.mp4", "clip.mkv")
    parts = tmp_path / "out" / ".clip.parquet.parts"
    parts.mkdir(parents=True)
    state = (tmp_path / "clip.mp4").stat()
    key = {"the video itself": f"{state.st_size} bytes, changed at {state.st_mtime_ns} ns"}
    (parts / "key.json").write_text(json.dumps(key))
    plan = settle(
        expand([str(tmp_path)], recursive=False, nul=False), str(tmp_path / "out"), many=True
    )
    names = {Path(task.video).name: task.target.name for task in plan}
    assert names == {"clip.mp4": "clip.parquet", "clip.mkv": "clip.mkv.parquet"}
