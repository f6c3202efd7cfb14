"""`--log-json`: every line has the documented fields, for one video as for many."""

import io
import json
import os
import shutil
from pathlib import Path

import pytest

from jadfer_cli.batch.plan import Task
from jadfer_cli.cli import json_log
from jadfer_cli.errors import JadferError

GUIDE = Path(__file__).resolve().parents[2] / "examples" / "guides" / "many-videos.md"
OPTIONAL = (type(None),)
NUMBER = (int, float)
TYPES = {
    "log_version": int, "event": str, "time": NUMBER, "jadfer_version": str, "videos": int,
    "message": str, "hint": (str, *OPTIONAL), "ended": int, "frames_per_s": NUMBER,
    "seconds_left": (*NUMBER, *OPTIONAL), "running": list, "video": str, "result": str,
    "status": str, "counts": (dict, *OPTIONAL), "wall_s": (*NUMBER, *OPTIONAL), "warnings": list,
    "stage": str, "done": int, "kept": int, "elsewhere": int, "failed": int, "not_tried": int,
    "frames": int, "faces": int, "exit_code": int, "frames_total": int, "faces_now": int,
}  # fmt: skip


def checked(text):
    """The events of a log, each checked for its fields and their types."""
    events = []
    for line in text.splitlines():
        assert line.isascii()
        event = json.loads(line)
        names = ("log_version", "event", "time", *json_log.EVENTS[event["event"]])
        assert tuple(event) == names
        for each in (event, *event.get("running", [])):
            for name, value in each.items():
                assert isinstance(value, TYPES[name]), (name, value)
        assert all(tuple(each) == json_log.RUNNING for each in event.get("running", []))
        assert event["log_version"] == json_log.LOG_VERSION
        events.append(event)
    kinds = [event["event"] for event in events]
    assert kinds[0] == "start" and "summary" in kinds[-2:]
    if "summary" in kinds:
        ends = [e for e in events if e["event"] in ("result", "failure")]
        total = next(e for e in events if e["event"] == "summary")
        n = sum(total[name] for name in ("done", "kept", "elsewhere", "failed", "not_tried"))
        assert n == total["videos"] and len(ends) == n - total["not_tried"]
    return events


@pytest.mark.slow
def test_each_line_of_a_single_run_and_of_a_batch(invoke, short_clip, tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    shutil.copy(short_clip, folder / "a.mp4")
    (folder / "b\x9bm.mp4").write_bytes(short_clip.read_bytes()[:3000])
    single = ("annotate", folder / "a.mp4", "-o", tmp_path / "a.parquet", "--log-json")
    result = invoke(*single)
    alone = checked(result.stderr)
    assert result.exit_code == 0 and alone[-2]["status"] == "done"
    assert [e["status"] for e in checked(invoke(*single, "--skip-existing").stderr)
            if e["event"] == "result"] == ["kept"]  # fmt: skip
    result = invoke("annotate", folder / "b\x9bm.mp4", "-o", tmp_path / "b.parquet", "--log-json")
    failure = checked(result.stderr)[-2]
    assert result.exit_code == 1 and failure["event"] == "failure" and failure["stage"] == "read"

    result = invoke("annotate", folder, "-o", tmp_path / "out", "--log-json")
    batch = checked(result.stderr)
    assert result.exit_code == 1 and batch[-1]["done"] == batch[-1]["failed"] == 1
    by_kind = {e["event"]: e for e in batch}
    assert by_kind["result"]["counts"] == alone[-2]["counts"]
    for name in ("stage", "message", "hint"):
        assert by_kind["failure"][name] == failure[name]


def test_the_guide_says_where_the_output_of_libraries_is_not_captured():
    assert "On Windows, skip lines that" in GUIDE.read_text("utf-8")


def test_the_guide_names_every_event_and_field():
    lines = GUIDE.read_text("utf-8").splitlines()
    for event, fields in json_log.EVENTS.items():
        (row,) = [line for line in lines if line.startswith(f"| `{event}` |")]
        assert [f for f in fields if f"`{f}`" not in row] == []
    assert all(f"`{name}`" in "\n".join(lines) for name in json_log.RUNNING)
    assert f"`log_version` is {json_log.LOG_VERSION}" in "\n".join(lines)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("wrong", ["result exists", "no such model"])
def test_a_wrong_command_prints_only_the_error(invoke, tmp_path, batch, wrong):
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in ("a.mp4", "b.mp4")[: 1 + batch]:
        (clips / name).write_bytes(bytes(99))
    out = tmp_path / "out"
    out.mkdir()
    more = ["--model", "none"] if wrong == "no such model" else []
    if wrong == "result exists":
        (out / "a.parquet").touch()
    source = clips if batch else clips / "a.mp4"
    result = invoke("annotate", source, "-o", out, "--log-json", *more)
    (event,) = map(json.loads, result.stderr.splitlines())
    assert result.exit_code == event["exit_code"] == 2 and event["event"] == "error"


def test_a_video_that_cannot_be_opened_is_a_failure_in_the_log(invoke, tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    result = invoke("annotate", tmp_path / "pipe.mp4", "-o", tmp_path / "a.parquet", "--log-json")
    assert result.exit_code == 1
    assert [event["event"] for event in checked(result.stderr)] == ["start", "failure", "summary"]


def test_a_run_that_is_given_up_after_some_videos_is_not_finished():
    written, task = io.StringIO(), Task("a.mp4", Path("a.parquet"))
    error = JadferError("No worker can load the networks.")
    with pytest.raises(JadferError), json_log.JsonLog(written, [task, task]) as log:
        log.ended(task, "skipped", {})
        raise error
    assert checked(written.getvalue())[-1]["status"] == "stopped"
