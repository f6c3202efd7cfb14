"""`--log-json`: every line has the documented fields, for one video as for many."""

import io
import json
import shutil
from pathlib import Path

import pytest

from jadfer_cli.batch.plan import Task
from jadfer_cli.cli import json_log
from jadfer_cli.errors import OutputError

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


def test_the_guide_names_every_event_and_field():
    lines = GUIDE.read_text("utf-8").splitlines()
    for event, fields in json_log.EVENTS.items():
        (row,) = [line for line in lines if line.startswith(f"| `{event}` |")]
        assert [f for f in fields if f"`{f}`" not in row] == []
    assert all(f"`{name}`" in "\n".join(lines) for name in json_log.RUNNING)
    assert f"`log_version` is {json_log.LOG_VERSION}" in "\n".join(lines)


@pytest.mark.parametrize("n_videos, status", [(1, "finished"), (2, "stopped")])
def test_a_run_that_an_error_ends_early_is_stopped(n_videos, status):
    file = io.StringIO()
    tasks = [Task(f"{i}.mp4", Path(f"{i}.parquet")) for i in range(n_videos)]
    fields = {"stage": "read", "message": "It is empty.", "hint": None}
    with pytest.raises(OutputError), json_log.JsonLog(file, tasks) as log:
        log.ended(tasks[0], "failed", fields)
        raise OutputError("The disk is full.")
    summary = checked(file.getvalue())[-1]
    assert summary["status"] == status and summary["not_tried"] == n_videos - 1
