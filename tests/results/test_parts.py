"""Parts of a result: killed at any step, damaged, of other settings, wanted by two runs."""

import dataclasses
import errno
import json
import os
import shutil
import stat
import threading

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from results.test_results import annotated

from jadfer_cli.errors import BusyError, OptionError, OutputError, VideoError
from jadfer_cli.expression.checkpoint import LABELS
from jadfer_cli.records import ReaderNotes
from jadfer_cli.results import parquet, parts
from jadfer_cli.results.parts import is_being_written, parts_folder, remove_leftovers
from jadfer_cli.results.paths import landmark_path
from jadfer_cli.results.sink import ResultSink

KEY = {"model": "a", "redetect": 0.3, "fps": None}
# two parts of three frames, then four frames; whole looks at 0, 3, 6
IDS = [[0], [0, 1], [], [0, 1], [1], [1], [0, 2], [2], [], [2]]


@pytest.fixture(autouse=True)
def a_part_at_each_whole_look(monkeypatch):
    monkeypatch.setattr(parts, "PART_S", 0.0)


def frames():
    return [
        dataclasses.replace(
            annotated(i, ids),
            restartable=i in (0, 3, 6),
            notes=ReaderNotes(
                ((0, "decord 3"),) if i == 0 else (), ((i, f"frame {i}"),) if i in (1, 4) else ()
            ),
        )
        for i, ids in enumerate(IDS)
    ]


def make(out, *, key=KEY, landmarks=False, stop=None, keep=None, overwrite=False):
    """As `api.annotate_to` does it; gives the indices written and the facts taken up."""
    with ResultSink(
        out, "v", LABELS, landmarks=landmarks, overwrite=overwrite, key=key
    ) as sink:  # fmt: skip
        taken = [part.facts for part in sink.stored()]
        begin = taken[-1].end if taken else 0
        for frame in frames()[begin:]:
            if frame.index == stop:
                raise KeyboardInterrupt
            sink.write([frame])
        metadata = {"kept": sink.keep(keep)} if keep else {}
        sink.commit(metadata, np.arange(len(IDS)))
    return taken


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_stopped_run_goes_on_and_tells_where(tmp_path):
    out, whole = tmp_path / "new" / "c.parquet", tmp_path / "whole.parquet"
    make(whole, landmarks=True)
    with pytest.raises(KeyboardInterrupt) as stopped:
        make(out, landmarks=True, stop=8)
    assert stopped.value.__notes__ == ["Run the same command again: it goes on at 0:00."]
    folder = parts_folder(out)
    assert names(folder) == ["000000.part", "000001.part", "key.json", "lock"]
    assert not is_being_written(out)
    with pytest.raises(KeyboardInterrupt):  # before anything new
        make(out, landmarks=True, stop=6)
    taken = make(out, landmarks=True)
    assert [facts.end for facts in taken] == [3, 6]
    assert [facts.taken_up for facts in taken] == [None, None]
    assert [facts.decoders for facts in taken] == [[(0, "decord 3")], []]
    assert [facts.warnings for facts in taken] == [[(1, "frame 1")], [(4, "frame 4")]]
    assert names(out.parent) == ["c.json", "c.landmarks.parquet", "c.parquet"]
    for final in (out, landmark_path(out)):
        expected = pd.read_parquet(whole.parent / final.name.replace("c.", "whole.", 1))
        found = pd.read_parquet(final)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert list(pd.read_parquet(out)["expression"].cat.categories) == list(LABELS)


def test_stopped_before_the_first_part_nothing_stays(tmp_path):
    with pytest.raises(KeyboardInterrupt) as stopped:
        make(tmp_path / "new" / "c.parquet", stop=3)
    assert names(tmp_path) == [] and not hasattr(stopped.value, "__notes__")


def test_kept_tracks_are_the_same_after_a_stop(tmp_path):
    out, whole = tmp_path / "c.parquet", tmp_path / "whole.parquet"
    make(whole, keep={0: 0, 2: 1}, landmarks=True)
    with pytest.raises(KeyboardInterrupt):
        make(out, stop=9, landmarks=True)
    make(out, keep={0: 0, 2: 1}, landmarks=True)
    pd.testing.assert_frame_equal(pd.read_parquet(out), pd.read_parquet(whole))
    pd.testing.assert_frame_equal(
        pd.read_parquet(landmark_path(out)), pd.read_parquet(landmark_path(whole))
    )
    assert pd.read_parquet(out).attrs["jadfer"]["kept"]["faces"] == 7


@pytest.mark.parametrize("overwrite", [False, True])
def test_killed_at_any_step_the_next_run_ends_right(tmp_path, monkeypatch, overwrite):
    """Before each renaming the folder is copied, as a kill would leave it at that moment."""
    disk = tmp_path / "disk"
    out = disk / "c.parquet"
    disk.mkdir()
    if overwrite:
        make(out, landmarks=True)
    replace, killed = os.replace, []

    def snapshot():
        killed.append(tmp_path / f"killed {len(killed)}")
        shutil.copytree(disk, killed[-1])

    def replaced(source, target):
        snapshot()
        replace(source, target)
        if not str(target).endswith(".part"):
            snapshot()

    monkeypatch.setattr(os, "replace", replaced)
    make(out, landmarks=True, overwrite=overwrite)
    monkeypatch.undo()
    monkeypatch.setattr(parts, "PART_S", 0.0)
    assert len(killed) >= 8
    expected = pd.read_parquet(out)
    ends = set()
    for folder in killed:
        again = folder / "c.parquet"
        if again.exists() and not overwrite:  # published, and only the parts were to go
            with pytest.raises(OptionError, match="exists already"):
                make(again, landmarks=True)
            remove_leftovers(again, parts=True)
        else:
            ends.add(len(make(again, landmarks=True, overwrite=overwrite)))
        assert names(folder) == ["c.json", "c.landmarks.parquet", "c.parquet"]
        pd.testing.assert_frame_equal(pd.read_parquet(again), expected)
    assert ends == {0, 1, 2}


@pytest.mark.parametrize("harm", ["cut", "flip", "gone", "text"])
def test_a_damaged_part_and_all_after_it_are_done_again(tmp_path, harm):
    out = tmp_path / "c.parquet"
    with pytest.raises(KeyboardInterrupt):
        make(out, stop=9)
    first = parts_folder(out) / "000000.part"
    data = first.read_bytes()
    if harm == "gone":
        first.unlink()
    elif harm == "flip":
        column = pq.read_metadata(first).row_group(0).column(9)  # its last byte is of a page
        at = (column.dictionary_page_offset or column.data_page_offset) - 1
        at += column.total_compressed_size
        first.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
    else:
        first.write_bytes(data[: len(data) // 2] if harm == "cut" else b"hello")
    assert make(out) == [] and len(pd.read_parquet(out)) == sum(max(len(i), 1) for i in IDS)


def test_parts_that_do_not_fit_make_room_for_new_ones(tmp_path):
    out = tmp_path / "c.parquet"
    with pytest.raises(KeyboardInterrupt):
        make(out, stop=9)
    with (
        pytest.raises(KeyboardInterrupt),
        ResultSink(out, "v", LABELS, landmarks=False, overwrite=False, key=KEY) as sink,
    ):
        assert next(sink.stored()).facts.number == 0
        sink.start_over()
        sink.write(frames()[:5])
        raise KeyboardInterrupt
    assert names(parts_folder(out)) == ["000000.part", "key.json", "lock"]
    assert [facts.end for facts in make(out)] == [3]


def test_parts_of_other_settings_are_dropped_and_named(tmp_path):
    out = tmp_path / "c.parquet"
    with pytest.raises(KeyboardInterrupt):
        make(out, stop=9)
    with ResultSink(
        out, "v", LABELS, landmarks=False, overwrite=False, key=KEY | {"redetect": 0.0}
    ) as sink:
        assert sink.discarded == ["redetect"]
        assert list(sink.stored()) == []
    assert names(tmp_path) == []
    (tmp_path / ".c.parquet.parts").mkdir()
    (tmp_path / ".c.parquet.parts" / "key.json").write_text('{"model"')  # cut by a power cut
    make(out)
    assert names(tmp_path) == ["c.json", "c.parquet"]


@pytest.mark.parametrize("error", [VideoError("gone"), "cover"])
def test_after_an_error_that_would_come_again_nothing_stays(tmp_path, error):
    with (
        pytest.raises((VideoError, OutputError), match=r"gone|do not cover"),
        ResultSink(
            tmp_path / "c.parquet", "v", LABELS, landmarks=False, overwrite=False, key=KEY
        ) as sink,
    ):
        sink.write(frames())
        if error != "cover":
            raise error
        sink.commit({}, np.arange(3))
    assert names(tmp_path) == []


def test_a_full_disk_costs_what_is_not_in_a_part_yet(tmp_path, monkeypatch):
    out, opened = tmp_path / "c.parquet", parquet.os.fsync

    def full(handle):
        if os.path.basename(os.readlink(f"/proc/self/fd/{handle}")) == "c.parquet":
            raise OSError(28, "No space left on device")
        opened(handle)

    monkeypatch.setattr(parquet.os, "fsync", full)
    with pytest.raises(OutputError, match=r"No space left.*make room.*goes on at 0:00"):
        make(out)
    assert names(parts_folder(out)) == ["000000.part", "000001.part", "key.json", "lock"]
    monkeypatch.setattr(parquet.os, "fsync", opened)
    assert len(make(out)) == 2 and names(tmp_path) == ["c.json", "c.parquet"]


def test_leftovers_go_but_for_parts_unless_these_are_meant_or_in_use(tmp_path):
    out = tmp_path / "c.parquet"
    folder = parts_folder(out)
    remove_leftovers(out)
    folder.mkdir()
    (folder / "key.json").write_text("{}")
    (folder / "new").write_text("half a part")
    remove_leftovers(out)
    assert names(tmp_path) == []
    with pytest.raises(KeyboardInterrupt):
        make(out, stop=9)
    remove_leftovers(out)
    assert "000001.part" in names(folder)
    with ResultSink(out, "v", LABELS, landmarks=False, overwrite=False, key=KEY):
        assert is_being_written(out)
        remove_leftovers(out, parts=True)
        assert "000001.part" in names(folder)
        with pytest.raises(BusyError, match="Another run"):
            make(out)


def test_a_result_that_came_while_the_lock_was_awaited_is_no_failure(tmp_path, monkeypatch):
    from jadfer_cli.results import sink as module

    out, hold = tmp_path / "c.parquet", module.Parts

    def late(*arguments):
        monkeypatch.setattr(module, "Parts", hold)
        make(out)  # another run, from its beginning to its end
        return hold(*arguments)

    monkeypatch.setattr(module, "Parts", late)
    with pytest.raises(BusyError, match="just written"):
        make(out)
    assert names(tmp_path) == ["c.json", "c.parquet"]


def test_runs_that_start_together_go_one_after_the_other(tmp_path):
    """Folders come and go; never two hold one, and everybody gets a turn."""
    out, inside, most, turns = tmp_path / "c.parquet", [], [], []

    def one():
        for _ in range(15):
            while True:
                try:
                    held = parts.Parts(out, KEY)
                except BusyError:
                    continue
                break
            inside.append(1)
            most.append(len(inside))
            inside.pop()
            held.close(keep=False)
            turns.append(1)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(turns) == 60 and max(most) == 1 and names(tmp_path) == []


def test_row_groups_hold_whole_frames_and_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_ROWS_A_GROUP", 5)
    out = tmp_path / "c.parquet"
    make(out)
    with pq.ParquetFile(out) as file:
        groups = [file.read_row_group(i)["frame"].to_pylist() for i in range(file.num_row_groups)]
    assert [len(group) for group in groups] == [4, 4, 5]
    assert sorted({i for group in groups for i in group}) == list(range(10))
    assert sum(len(set(group)) for group in groups) == 10
    assert json.loads((tmp_path / "c.json").read_text())["jadfer"] == {}


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_disk_without_locks_takes_results(tmp_path, monkeypatch, number):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    out = make(tmp_path / "clip.parquet")
    assert names(tmp_path) == ["clip.json", "clip.parquet"]
    assert len(pd.read_parquet(tmp_path / "clip.parquet")), out


def test_a_disk_that_cannot_sync_folders_keeps_the_result(tmp_path, monkeypatch):
    synced = os.fsync

    def refuse_folders(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))  # as SMB does
        synced(handle)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    make(tmp_path / "clip.parquet")
    assert names(tmp_path) == ["clip.json", "clip.parquet"]


def test_files_of_others_named_like_landmarks_stay(tmp_path):
    other = pd.DataFrame({"x": [1.0]})
    other.attrs = {"made": "by hand"}
    other.to_parquet(tmp_path / "clip.landmarks.parquet")
    make(tmp_path / "clip.parquet")
    assert pd.read_parquet(tmp_path / "clip.landmarks.parquet").equals(other)
