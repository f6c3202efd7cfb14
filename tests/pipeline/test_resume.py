"""Interrupted and killed runs resume inside the video and end as if nothing had happened."""

import copy
import dataclasses
import functools
import os
import signal
import subprocess
import threading
import time

import av
import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import DEMO, JADFER
from media import damage, make_video, packet_spans
from tolerances import SAME_MACHINE

from jadfer_cli.errors import VideoError
from jadfer_cli.faces import follow
from jadfer_cli.options import VideoOptions
from jadfer_cli.pipeline import counts, hashing, resume, steps
from jadfer_cli.results import parts
from jadfer_cli.results.parts import parts_folder
from jadfer_cli.video import decode_check as audit
from jadfer_cli.video import reader

pytestmark = pytest.mark.slow  # starts processes or trains

N = 40
DETECTOR = ("--detector", "centerface")
# injected into every process by PYTHONPATH: store a segment at each whole-frame detection, and
# rest after each, so that a process cannot end before the test stops it
EAGER = """
import time
from jadfer_cli.faces import follow
from jadfer_cli.results import parts

follow._INTERVALS_PER_SEARCH = 1
parts.PART_S = 0.0
add = parts.Parts.add

def add_and_rest(self, rows, facts):
    add(self, rows, facts)
    time.sleep(0.5)

parts.Parts.add = add_and_rest
"""


@pytest.fixture(autouse=True)
def searches(monkeypatch):
    """Searches the whole frame every 0.3 s: clips are short, and runs resume at such frames."""
    monkeypatch.setattr(follow, "_INTERVALS_PER_SEARCH", 1)


@pytest.fixture
def eager(monkeypatch):
    """Stores a segment at each whole-frame detection, and seeks even in short videos."""
    monkeypatch.setattr(parts, "PART_S", 0.0)
    monkeypatch.setattr(audit, "_SEEK_FROM", 10)


@pytest.fixture(scope="module")
def pictures():
    """Demo frames 45 to 84, made small: one face, which leaves at 68."""
    with av.open(str(DEMO)) as container:
        frames = [f for i, f in zip(range(45 + N), container.decode(video=0), strict=False)]
    return [f.reformat(320, 240).to_ndarray(format="rgb24") for f in frames[45:]]


@pytest.fixture(scope="module")
def clip(pictures, tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("resume") / "clip.mp4", pictures, gop=6)


@pytest.fixture(scope="module")
def expected(annotator, tmp_path_factory):
    """The result of an uninterrupted run, computed once per clip and annotator."""

    @functools.cache
    def result(path, its=annotator):
        out = tmp_path_factory.mktemp("whole") / "c.parquet"
        its.annotate_to(path, out)
        return pd.read_parquet(out)

    return result


class Cut(KeyboardInterrupt):
    """Ctrl-C at a chosen frame."""


def cut_at(monkeypatch, n):
    """Interrupts a run after `n` frames were scored."""
    seen = 0
    add = counts.Counts.add

    def counted(self, frames):
        nonlocal seen
        seen += len(frames)
        if seen > n:
            raise Cut
        add(self, frames)

    monkeypatch.setattr(counts.Counts, "add", counted)
    monkeypatch.setattr(steps, "_MAX_FRAMES_PER_BATCH", 4)


def interrupt(annotator, clip, out, n, note=lambda text: None):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Cut) as cut:
        cut_at(patch, n)
        annotator.annotate_to(clip, out, note=note)
    return cut.value


def same(found, wanted):
    free = [name for name in wanted if name.startswith("p_") or name == "entropy"]
    pd.testing.assert_frame_equal(found.drop(columns=free), wanted.drop(columns=free),
                                  check_exact=True)  # fmt: skip
    difference = (found[free].astype(float) - wanted[free].astype(float)).abs()
    assert difference.max().max() <= SAME_MACHINE
    assert (found[free].isna() == wanted[free].isna()).all(axis=None)
    ours, theirs = found.attrs["jadfer"], wanted.attrs["jadfer"]
    assert ours["counts"] == theirs["counts"] and ours["warnings"] == theirs["warnings"]
    assert ours["video"] == theirs["video"] and theirs["taken_up"] == []


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_twice_interrupted(annotator, clip, expected, eager, tmp_path, monkeypatch, decoder):
    if decoder == "pyav":
        monkeypatch.setattr(reader, "_DECORD_BYTES", 0)
        whole = expected.__wrapped__(clip)
    else:
        whole = expected(clip)
    assert decoder in whole.attrs["jadfer"]["video"]["decoders"][0]["name"]
    out, said = tmp_path / "c.parquet", []
    error = interrupt(annotator, clip, out, 17)
    assert error.__notes__ == ["Run the same command again: it resumes at 0:01."]
    interrupt(annotator, clip, out, 14, said.append)
    assert said == [f"{out} resumes at 0:01, frame 15."]

    judged, looks, shown = [], [], []
    detector = annotator.networks.detector
    check_frames, detect = reader.check_frames, detector.detect
    monkeypatch.setattr(
        reader, "check_frames", lambda *a: (judged.append(j) or j for j in check_frames(*a))
    )
    monkeypatch.setattr(detector, "detect", lambda image: looks.append(1) or detect(image))
    metadata = annotator.annotate_to(clip, out, progress=shown.append)
    same(pd.read_parquet(out), whole)
    assert metadata["taken_up"] == [15, 26]
    assert names(tmp_path) == ["c.json", "c.parquet"]
    # no frame before the last segment's end is searched; PyAV decodes from the key frame before
    assert judged[0].index == (0 if decoder == "decord" else 24) and judged[-1].index == N - 1
    assert len(looks) <= 8
    first = next(p for p in shown if p.stage == "annotating")
    resuming = [p.frames for p in shown if p.stage == "resuming"]
    assert first.frames >= 26 and resuming[:2] == [8, 15] and resuming[-1] == 26


def test_a_damaged_clip_of_varying_rate_with_repeats(annotator, pictures, expected, eager, tmp_path,
                                                     monkeypatch):  # fmt: skip
    stamps = np.cumsum([0, *np.random.default_rng(5).integers(20, 70, N - 1)]).tolist()
    path = make_video(tmp_path / "vfr.mkv", pictures, pts=stamps, gop=6)
    spans = sorted(packet_spans(path), key=lambda span: span[2])
    for i in (20, 33):
        offset, size, _ = spans[i]
        damage(path, path, offset + size // 3, b"\xff" * (size // 3))
    monkeypatch.setattr(reader, "_DECORD_BYTES", 0)
    whole = expected(path)
    corrupt = whole.loc[whole["frame_status"] == "corrupt", "frame"]
    assert {20, 33} <= set(corrupt) and len(corrupt) < 20
    out = tmp_path / "c.parquet"
    for n in (22, 12):
        interrupt(annotator, path, out, n)
    annotator.annotate_to(path, out)
    same(pd.read_parquet(out), whole)
    assert len(pd.read_parquet(out).attrs["jadfer"]["taken_up"]) == 2


def test_a_note_about_a_skipped_frame_is_neither_lost_nor_repeated(
    annotator, clip, expected, eager, tmp_path, monkeypatch
):
    """decord gives up at frame 21, which is not analysed; the run is interrupted just after it."""
    from_decord = reader.VideoReader._from_decord

    def gives_up(self, judged):
        if judged.index == 21 and self._decord is not None:
            self._drop_decord(21, "as the test wants")
        return from_decord(self, judged)

    monkeypatch.setattr(reader.VideoReader, "_from_decord", gives_up)
    sparse = copy.copy(annotator)
    sparse.options = dataclasses.replace(annotator.options, video=VideoOptions(every=2))
    sparse.networks = dataclasses.replace(
        annotator.networks, options=sparse.options, redetect_s=0.0
    )
    whole = expected(clip, sparse)
    warnings = ["PyAV took over from decord at frame 21: as the test wants."]
    assert whole.attrs["jadfer"]["warnings"] == warnings
    out = tmp_path / "c.parquet"
    interrupt(sparse, clip, out, 14)
    assert sparse.annotate_to(clip, out)["taken_up"] == [22]
    same(pd.read_parquet(out), whole)


def test_two_people_with_landmarks_and_max_faces_at_every_whole_frame(
    annotator, pictures, expected, eager, tmp_path
):
    # the second face is visible half of the time
    path = make_video(
        tmp_path / "two.mp4",
        [np.hstack([p, p if i < 12 else 0 * p]) for i, p in enumerate(pictures[:24])], gop=6,
    )  # fmt: skip
    options = annotator.options
    faces = dataclasses.replace(options.faces, max_faces=1, tracker="ocsort")
    limited = copy.copy(annotator)
    limited.options = dataclasses.replace(options, faces=faces, landmarks=True)
    limited.networks = dataclasses.replace(
        annotator.networks, options=limited.options, redetect_s=0.0
    )
    whole = expected(path, limited)
    assert whole.attrs["jadfer"]["counts"]["tracks_left_out"] == 1
    out = tmp_path / "c.parquet"
    interrupt(limited, path, out, 14)
    limited.annotate_to(path, out)
    found, points = pd.read_parquet(out), pd.read_parquet(tmp_path / "c.landmarks.parquet")
    same(found, whole)
    assert found.attrs["jadfer"]["taken_up"] == [11]
    assert points["frame"].tolist() == found.loc[found["face_detected"], "frame"].tolist()
    assert names(tmp_path) == ["c.json", "c.landmarks.parquet", "c.parquet", "two.mp4"]


def test_what_does_not_fit_is_dropped(annotator, clip, expected, eager, tmp_path, monkeypatch):
    out, said = tmp_path / "c.parquet", []
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip.read_bytes())
    os.utime(path, ns=(1, 1))
    interrupt(annotator, path, out, 17)
    os.utime(path, ns=(2, 2))  # as if the video had been replaced
    interrupt(annotator, path, out, 17, said.append)
    assert said == [
        f"An unfinished run for {out} is discarded, because these have changed since: "
        "the video itself."
    ]
    # segments whose IDs the tracker does not reproduce, as with another version of `trackers`
    said.clear()
    frames_of = resume.frames_of
    monkeypatch.setattr(
        resume, "frames_of",
        lambda rows: (dataclasses.replace(f, track_ids=f.track_ids + 1) for f in frames_of(rows)),
    )  # fmt: skip
    metadata = annotator.annotate_to(path, out, note=said.append)
    assert said == [f"An unfinished run for {out} is discarded, because it cannot be continued."]
    assert metadata["taken_up"] == []
    same_rows = pd.read_parquet(out).drop(columns="video")
    pd.testing.assert_frame_equal(same_rows, expected(clip).drop(columns="video"), atol=1e-4)


def test_a_result_that_is_kept_takes_what_a_kill_left_with_it(annotator, clip, eager, tmp_path):
    from jadfer_cli.results.settings import keep

    out = tmp_path / "c.parquet"
    interrupt(annotator, clip, out, 17)
    kept = tmp_path / "kept"
    parts_folder(out).rename(kept)
    annotator.annotate_to(clip, out)
    kept.rename(parts_folder(out))  # killed before it removed them
    keep(out, str(clip), annotator.networks.metadata())
    assert names(tmp_path) == ["c.json", "c.parquet"]


def test_a_video_that_breaks_leaves_nothing(annotator, clip, eager, tmp_path, monkeypatch):
    given = reader.VideoReader._frame

    def breaks(self, judged):
        if judged.index == 30:
            raise VideoError("gone")
        return given(self, judged)

    monkeypatch.setattr(reader.VideoReader, "_frame", breaks)
    with pytest.raises(VideoError, match="gone"):
        annotator.annotate_to(clip, tmp_path / "c.parquet")
    assert names(tmp_path) == []


@pytest.fixture
def eagerly(tmp_path):
    """An environment in which every process stores a segment at each whole-frame detection."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(EAGER)
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def started_until_a_part(command, env, out, n):
    """Starts a process and returns it once the n-th segment of the result exists."""
    process = subprocess.Popen(
        command, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not (parts_folder(out) / f"{n - 1:06}.part").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)
    return process


def test_terminated_then_killed_then_finished(annotator, eagerly, clip, expected, tmp_path):
    out = tmp_path / "out" / "c.parquet"
    command = [str(JADFER), "annotate", str(clip), "-o", str(out), *DETECTOR]
    terminated = started_until_a_part(command, eagerly, out, 1)
    terminated.send_signal(signal.SIGTERM)
    text = terminated.communicate(timeout=60)[1]
    assert terminated.returncode == 143 and "Traceback" not in text
    assert "Run the same command again: it resumes at 0:0" in text
    done = len(list(parts_folder(out).glob("*.part")))
    killed = started_until_a_part(command, eagerly, out, done + 1)
    killed.kill()
    assert "resumes at 0:0" in killed.communicate(timeout=60)[1]
    assert killed.returncode == -9 and not out.exists()
    annotator.annotate_to(str(clip), out)
    found = pd.read_parquet(out)
    same(found, expected(clip))
    assert len(found.attrs["jadfer"]["taken_up"]) == 2
    assert names(tmp_path / "out") == ["c.json", "c.parquet"]


def test_a_batch_killed_as_a_whole_goes_on(eagerly, clip, expected, tmp_path):
    folder, out = tmp_path / "clips", tmp_path / "out"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(clip.read_bytes())
    command = [str(JADFER), "annotate", str(folder), "-o", str(out), *DETECTOR]
    batch = started_until_a_part(command, eagerly, out / "a.parquet", 1)
    family = [psutil.Process(batch.pid), *psutil.Process(batch.pid).children(recursive=True)]
    os.killpg(batch.pid, signal.SIGKILL)
    batch.communicate(timeout=60)
    assert not psutil.wait_procs(family, timeout=30)[1]
    again = subprocess.run(
        [*command, "--skip-existing"], env=eagerly, capture_output=True, text=True
    )
    assert again.returncode == 0 and "resumes at 0:0" in again.stderr, again.stderr
    found = pd.read_parquet(out / "a.parquet")
    assert len(found.attrs["jadfer"]["taken_up"]) == 1
    wanted = expected(clip)
    pd.testing.assert_frame_equal(
        found.drop(columns="video"), wanted.drop(columns="video"), atol=SAME_MACHINE
    )
    assert names(out) == ["a.json", "a.parquet"]


def test_a_slow_disk_is_no_stall(annotator, clip, tmp_path, monkeypatch):
    told, enough = [], threading.Event()

    def hashed(path, stop):
        assert enough.wait(60)
        return "0" * 64

    def progress(p):
        told.append(p.stage)
        if told.count("checking") > 2:
            enough.set()

    monkeypatch.setattr(hashing, "file_sha256", hashed)
    made = annotator.annotate_to(clip, tmp_path / "a.parquet", progress=progress)
    assert enough.is_set() and made["video"]["sha256"] == "0" * 64
