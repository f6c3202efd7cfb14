"""Parts of a result: killed at any step, damaged, made with other settings."""

import dataclasses
import errno
import json
import os
import shutil
import stat

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from results.test_results import annotated

from jadfer_cli.errors import BusyError, OptionError, OutputError, VideoError
from jadfer_cli.labels import LABELS
from jadfer_cli.records import Actions, ReaderNotes
from jadfer_cli.results import parquet, parts, publish
from jadfer_cli.results.companions import COMPANIONS
from jadfer_cli.results.lock import is_being_written
from jadfer_cli.results.paths import companion_path, parts_folder
from jadfer_cli.results.sink import ResultSink
from jadfer_cli.results.unfinished import remove_leftovers

# the files of a result with everything that can lie beside it
ALL = ["c.actions.json", "c.actions.parquet", "c.json", "c.landmarks.parquet", "c.mesh.parquet",
       "c.parquet"]  # fmt: skip
KEY = {"model": "a", "redetect": 0.3, "fps": None}
# track IDs per frame; frames 0, 3 and 6 are restartable: two parts of three frames, and a rest
IDS = [[0], [0, 1], [], [0, 1], [1], [1], [0, 2], [2], [], [2]]


@pytest.fixture(autouse=True)
def part_at_each_restartable_frame(monkeypatch):
    monkeypatch.setattr(parts, "PART_S", 0.0)


def actions(i, n):
    """Actions and meshes of n faces; the first face of frame 4 has none."""
    values = np.random.default_rng(i).random((n, 63), np.float32)
    points = np.random.default_rng(i).random((n, 5, 3), np.float32)
    if i == 4 and n:
        values[0, :-1], points[0] = np.nan, np.nan
    return Actions(values, points)


def frames():
    return [
        dataclasses.replace(
            annotated(i, ids),
            actions=actions(i, len(ids)),
            restartable=i in (0, 3, 6),
            notes=ReaderNotes(
                ((0, "decord 3"),) if i == 0 else (), ((i, f"frame {i}"),) if i in (1, 4) else ()
            ),
        )
        for i, ids in enumerate(IDS)
    ]


def make(out, *, key=KEY, beside=False, stop=None, keep=None, overwrite=False):
    """Write the result as the pipeline does; return the facts of the parts it resumed from."""
    companions = list(COMPANIONS) if beside else []
    with ResultSink(
        out, "v", LABELS, companions=companions, overwrite=overwrite, key=key
    ) as sink:  # fmt: skip
        stored = [part.facts for part in sink.stored()]
        begin = stored[-1].end if stored else 0
        for frame in frames()[begin:]:
            if frame.index == stop:
                raise KeyboardInterrupt
            sink.write([frame])
        metadata = {"kept": sink.keep(keep)} if keep else {}
        sink.commit(metadata, np.arange(len(IDS)))
    return stored


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.slow
def test_a_stopped_run_resumes_and_says_where(tmp_path):
    out, whole = tmp_path / "new" / "c.parquet", tmp_path / "whole.parquet"
    make(whole, beside=True)
    with pytest.raises(KeyboardInterrupt) as stopped:
        make(out, beside=True, stop=8)
    assert stopped.value.__notes__ == ["Run the same command again: it resumes at 0:00."]
    folder = parts_folder(out)
    assert names(folder) == ["000000.part", "000001.part", "key.json", "lock"]
    assert not is_being_written(out)
    with pytest.raises(KeyboardInterrupt):  # before anything new
        make(out, beside=True, stop=6)
    stored = make(out, beside=True)
    assert [facts.end for facts in stored] == [3, 6]
    assert [facts.resumed_at for facts in stored] == [None, None]
    assert [facts.decoders for facts in stored] == [[(0, "decord 3")], []]
    assert [facts.warnings for facts in stored] == [[(1, "frame 1")], [(4, "frame 4")]]
    assert names(out.parent) == ALL
    for final in (out, *(companion_path(out, name) for name in COMPANIONS)):
        expected = pd.read_parquet(whole.parent / final.name.replace("c.", "whole.", 1))
        found = pd.read_parquet(final)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert list(pd.read_parquet(out)["expression"].cat.categories) == list(LABELS)


def test_a_run_stopped_before_its_first_part_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt) as stopped:
        make(tmp_path / "new" / "c.parquet", stop=3)
    assert names(tmp_path) == [] and not hasattr(stopped.value, "__notes__")


@pytest.mark.slow
def test_kept_tracks_are_the_same_after_resuming(tmp_path):
    out, whole = tmp_path / "c.parquet", tmp_path / "whole.parquet"
    make(whole, keep={0: 0, 2: 1}, beside=True)
    with pytest.raises(KeyboardInterrupt):
        make(out, stop=9, beside=True)
    make(out, keep={0: 0, 2: 1}, beside=True)
    pd.testing.assert_frame_equal(pd.read_parquet(out), pd.read_parquet(whole))
    pd.testing.assert_frame_equal(
        pd.read_parquet(companion_path(out, "landmarks")),
        pd.read_parquet(companion_path(whole, "landmarks")),
    )
    mine, expected = (pd.read_parquet(companion_path(path, "mesh")) for path in (out, whole))
    assert mine["track_id"].tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert np.array_equal(np.stack(mine["mesh_px"]), np.stack(expected["mesh_px"]))
    assert pd.read_parquet(out).attrs["jadfer"]["kept"]["faces"] == 7


@pytest.mark.slow
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_killed_at_any_step_is_completed_by_the_next(tmp_path, monkeypatch, overwrite):
    """The folder is copied before each rename, as a kill would leave it at that moment."""
    disk = tmp_path / "disk"
    out = disk / "c.parquet"
    disk.mkdir()
    if overwrite:
        make(out, beside=True)
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
    make(out, beside=True, overwrite=overwrite)
    monkeypatch.undo()
    monkeypatch.setattr(parts, "PART_S", 0.0)
    assert len(killed) >= 8
    expected = pd.read_parquet(out)
    ends = set()
    for folder in killed:
        again = folder / "c.parquet"
        if again.exists() and not overwrite:  # published; only the parts were still to be removed
            with pytest.raises(OptionError, match="exists already"):
                make(again, beside=True)
            remove_leftovers(again, parts=True)
        else:
            ends.add(len(make(again, beside=True, overwrite=overwrite)))
        assert names(folder) == ALL
        pd.testing.assert_frame_equal(pd.read_parquet(again), expected)
    assert ends == {0, 1, 2}


@pytest.mark.slow
@pytest.mark.parametrize("harm", ["cut", "flip", "gone", "text"])
def test_a_damaged_part_and_all_later_ones_are_redone(tmp_path, harm):
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


def test_parts_that_cannot_be_continued_are_replaced(tmp_path):
    out = tmp_path / "c.parquet"
    with pytest.raises(KeyboardInterrupt):
        make(out, stop=9)
    with (
        pytest.raises(KeyboardInterrupt),
        ResultSink(out, "v", LABELS, overwrite=False, key=KEY) as sink,
    ):
        assert next(sink.stored()).facts.number == 0
        sink.start_over()
        sink.write(frames()[:5])
        raise KeyboardInterrupt
    assert names(parts_folder(out)) == ["000000.part", "key.json", "lock"]
    assert [facts.end for facts in make(out)] == [3]


def test_parts_with_other_settings_are_discarded_and_the_settings_named(tmp_path):
    out = tmp_path / "c.parquet"
    with pytest.raises(KeyboardInterrupt):
        make(out, stop=9)
    with ResultSink(out, "v", LABELS, overwrite=False, key=KEY | {"redetect": 0.0}) as sink:
        assert sink.discarded == ["redetect (then 0.3, now 0)"]
        assert list(sink.stored()) == []
    assert names(tmp_path) == []
    (tmp_path / ".c.parquet.parts").mkdir()
    (tmp_path / ".c.parquet.parts" / "key.json").write_text('{"model"')  # cut by a power cut
    make(out)
    assert names(tmp_path) == ["c.json", "c.parquet"]


@pytest.mark.parametrize("error", [VideoError("gone"), "cover"])
def test_an_error_that_would_recur_leaves_no_parts(tmp_path, error):
    with (
        pytest.raises((VideoError, OutputError), match=r"gone|do not cover"),
        ResultSink(tmp_path / "c.parquet", "v", LABELS, overwrite=False, key=KEY) as sink,
    ):
        sink.write(frames())
        if error != "cover":
            raise error
        sink.commit({}, np.arange(3))
    assert names(tmp_path) == []


def test_a_full_disk_costs_only_what_is_not_in_a_part(tmp_path, monkeypatch):
    out, opened = tmp_path / "c.parquet", parquet.os.fsync

    def full(handle):
        if os.path.basename(os.readlink(f"/proc/self/fd/{handle}")) == "c.parquet":
            raise OSError(28, "No space left on device")
        opened(handle)

    monkeypatch.setattr(parquet.os, "fsync", full)
    with pytest.raises(OutputError, match=r"No space left.*make room.*resumes at 0:00"):
        make(out)
    assert names(parts_folder(out)) == ["000000.part", "000001.part", "key.json", "lock"]
    monkeypatch.setattr(parquet.os, "fsync", opened)
    assert len(make(out)) == 2 and names(tmp_path) == ["c.json", "c.parquet"]


def test_leftovers_are_removed_except_parts_unless_requested_or_locked(tmp_path):
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
    with ResultSink(out, "v", LABELS, overwrite=False, key=KEY):
        assert is_being_written(out)
        remove_leftovers(out, parts=True)
        assert "000001.part" in names(folder)
        with pytest.raises(BusyError, match="Another run"):
            make(out)


def test_a_result_written_while_waiting_for_the_lock_is_reported(tmp_path, monkeypatch):
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


def test_row_groups_hold_whole_frames_and_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_MAX_GROUP_ROWS", 5)
    out = tmp_path / "c.parquet"
    make(out)
    with pq.ParquetFile(out) as file:
        groups = [file.read_row_group(i)["frame"].to_pylist() for i in range(file.num_row_groups)]
    assert [len(group) for group in groups] == [4, 4, 5]
    assert sorted({i for group in groups for i in group}) == list(range(10))
    assert sum(len(set(group)) for group in groups) == 10
    assert json.loads((tmp_path / "c.json").read_text())["jadfer"] == {}


def test_a_disk_without_locks_takes_results(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    make(tmp_path / "clip.parquet")
    assert names(tmp_path) == ["clip.json", "clip.parquet"]
    assert len(pd.read_parquet(tmp_path / "clip.parquet")) == sum(max(len(i), 1) for i in IDS)


def test_a_disk_that_cannot_sync_folders_keeps_the_result(tmp_path, monkeypatch):
    synced = os.fsync

    def refuse_folders(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))  # as SMB does
        synced(handle)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    make(tmp_path / "clip.parquet")
    assert names(tmp_path) == ["clip.json", "clip.parquet"]


def test_parts_of_earlier_versions_are_read():
    # as jadfer 0.4.1 stored it
    text = (
        '{"number": 1, "end": 6, "end_s": 0.24, "wall_s": 1.5, "taken_up": 3, '
        '"decoders": [[3, "decord 3"]], "warnings": []}'
    )
    facts = parts.Facts(1, 6, 0.24, 1.5, 3, [(3, "decord 3")], [])
    assert parts.Facts.from_json(text) == facts
    assert json.loads(facts.to_json()) == json.loads(text)  # which 0.4.1 reads, too


def test_a_foreign_file_named_like_landmarks_stays(tmp_path):
    other = pd.DataFrame({"x": [1.0]})
    other.attrs = {"made": "by hand"}
    other.to_parquet(tmp_path / "clip.landmarks.parquet")
    make(tmp_path / "clip.parquet")
    assert pd.read_parquet(tmp_path / "clip.landmarks.parquet").equals(other)


def test_actions_have_a_file_and_a_sidecar_of_their_own(tmp_path):
    out = tmp_path / "c.parquet"
    make(out, beside=True)
    rows = pd.read_parquet(companion_path(out, "actions"))
    faces = [(i, track) for i, ids in enumerate(IDS) for track in ids]
    assert list(zip(rows["frame"], rows["track_id"], strict=True)) == faces
    expected = np.concatenate([actions(i, len(ids)).values for i, ids in enumerate(IDS)])
    assert np.array_equal(rows.iloc[:, 3:].to_numpy(), expected, equal_nan=True)
    lost = rows.index[rows["frame"] == 4]
    assert rows.loc[lost].iloc[0, 3:-1].isna().all()  # the mesh of no face
    assert pd.read_parquet(companion_path(out, "mesh")).loc[lost, "mesh_px"].isna().all()
    sidecar = json.loads((tmp_path / "c.actions.json").read_text())
    assert list(sidecar) == ["jadfer", *rows.columns]
    assert all(sidecar[name]["Description"] for name in rows)


def test_actions_of_an_earlier_result_are_removed_with_it_and_others_stay(tmp_path):
    out = tmp_path / "c.parquet"
    make(out, beside=True)
    make(out, overwrite=True)
    assert names(tmp_path) == ["c.json", "c.parquet"]
    make(tmp_path / "c.actions.parquet")  # the result of c.actions.mp4
    make(out, overwrite=True)
    assert names(tmp_path) == ["c.actions.json", "c.actions.parquet", "c.json", "c.parquet"]


def test_a_companion_that_lacks_a_face_is_refused(tmp_path, monkeypatch):
    whole = publish.companion_of

    def cut(part, video, name):
        table = whole(part, video, name)
        return table.slice(1) if name == "actions" else table

    monkeypatch.setattr(publish, "companion_of", cut)
    with pytest.raises(OutputError, match=r"c\.actions\.parquet: its rows are not those of"):
        make(tmp_path / "c.parquet", beside=True, key=None)
    assert names(tmp_path) == []
