"""Workers without networks, for tests of supervision: the name of a video says what they do.

    ok           done
    segv         the worker dies at it, as from a fault in a library
    then dies    done, but the worker dies while it waits for the next
    hang         the worker sends nothing more
    unwritable   fails when it is written
    otherwise    fails when it is read

Line n of the file named by the environment variable STUB_LOADS says how the n-th worker loads:
"ready", "unready" or "dies"; "ready" after the last line.
"""

import os
import signal
import time

COUNTS = {
    "frames_analysed": 8,
    "frames_without_face": 0,
    "faces": 8,
    "faces_usable": 8,
    "tracks": 1,
}
PROGRESS = {"stage": "annotating", "frames": 0, "total": 8, "faces": 0, "faces_now": 0}


def _dies():
    os.kill(os.getpid(), signal.SIGKILL)


def _how_to_load():
    path = os.environ.get("STUB_LOADS")
    if not path:
        return "ready"
    with open(path, "r+") as file:  # each worker in turn removes its line
        first, _, rest = file.read().partition("\n")
        file.seek(0)
        file.truncate()
        file.write(rest)
    return first or "ready"


def work(pipe, options, if_exists, number, jobs):
    how = _how_to_load()
    if how == "dies":
        _dies()
    if how == "unready":
        pipe.send(("load_failed", {"error": {"message": "No such weights.", "hint": "Get some."}}))
        return
    pipe.send(("ready", {"hint": None, "warnings": []}))
    while (task := pipe.recv()) is not None:
        pipe.send(("received", {}))
        name = os.path.basename(task.video).partition(".")[0].rstrip("0123456789")
        pipe.send(("progress", PROGRESS))
        if name == "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif name == "hang":
            time.sleep(1000)
        elif name in ("ok", "then dies"):
            task.target.parent.mkdir(parents=True, exist_ok=True)
            task.target.write_bytes(b"rows")
            pipe.send(("done", {"counts": COUNTS, "wall_s": 0.1, "warnings": []}))
            if name == "then dies":
                _dies()
        else:
            stage = "write" if name == "unwritable" else "read"
            error = {"stage": stage, "message": f"{name} it is.", "hint": "Mend it."}
            pipe.send(("failed", {"error": error}))


def work_single(pipe, options, if_exists, task, debug):
    """A single video; see above for what its name means."""
    pipe.send(("stage", {"text": "reading the timeline"}))
    name = os.path.basename(task.video).partition(".")[0]
    if name == "loads":
        pipe.send(("stage", {"text": "loading the networks"}))
        time.sleep(1000)
    pipe.send(("ready", {"hint": None, "warnings": []}))
    if name == "hang":
        time.sleep(1000)
    if name == "prints":
        os.write(1, b"from C on stdout\n")
        os.write(2, b"from C on stderr\n")
    if name == "segv":
        os.write(2, b"terminate called after throwing std::bad_alloc\n")
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "stops":
        os.kill(os.getpid(), signal.SIGSTOP)
    pipe.send(("progress", PROGRESS))
    if name == "slow":
        time.sleep(2.5)
    pipe.send(("done", {"counts": COUNTS, "wall_s": 0.1, "warnings": []}))
