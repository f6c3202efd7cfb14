"""The lock on a result: one owner at a time, also while lock files come and go."""

import errno
import os
import subprocess
import sys
import threading
import time

import pytest

from jadfer_cli.errors import BusyError
from jadfer_cli.results import lock as module
from jadfer_cli.results.lock import ResultLock, is_being_written
from jadfer_cli.results.paths import parts_folder


def test_a_lock_has_one_owner_and_leaves_nothing_behind(tmp_path):
    out = tmp_path / "c.parquet"
    lock = ResultLock(out)
    assert is_being_written(out) and not is_being_written(tmp_path / "d.parquet")
    with pytest.raises(BusyError, match=r"Another run of jadfer is writing .*c\.parquet now"):
        ResultLock(out)
    lock.release()
    assert not is_being_written(out) and list(tmp_path.iterdir()) == []


def test_the_folder_stays_if_something_else_is_in_it(tmp_path):
    out = tmp_path / "c.parquet"
    lock = ResultLock(out)
    (parts_folder(out) / "000000.part").touch()
    lock.release()
    assert sorted(path.name for path in parts_folder(out).iterdir()) == ["000000.part", "lock"]
    ResultLock(out).release()  # the lock file of an earlier run does not matter


def test_a_lock_on_a_removed_file_does_not_count(tmp_path, monkeypatch):
    """The last owner removes the lock file after we opened it, and another run makes a new one."""
    out = tmp_path / "c.parquet"
    native = module.lock_descriptor
    inodes = []

    def replace_first(handle, *, blocking):
        if not inodes:
            path = parts_folder(out) / "lock"
            inodes.append(path.stat().st_ino)
            path.rename(tmp_path / "old")  # keeps the inode in use, so that it is not reused
            path.touch()
        return native(handle, blocking=blocking)

    monkeypatch.setattr(module, "lock_descriptor", replace_first)
    lock = ResultLock(out)
    with pytest.raises(BusyError):  # it holds the new file, not the removed one
        ResultLock(out)
    with (tmp_path / "old").open("rb") as old:
        assert native(old.fileno(), blocking=False)
    lock.release()


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    out = tmp_path / "c.parquet"
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from jadfer_cli.results.lock import ResultLock\n"
        "lock = ResultLock(Path(sys.argv[1]))\nprint(flush=True)\ntime.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert is_being_written(out)
        process.kill()
    assert not is_being_written(out)
    ResultLock(out).release()
    assert list(tmp_path.iterdir()) == []


def test_runs_that_start_together_take_turns(tmp_path):
    """Folders come and go; no two threads hold the lock at once, and each gets its turns."""
    out, inside, most, turns = tmp_path / "c.parquet", [], [], []

    def take_turns():
        for _ in range(8):
            while True:
                try:
                    lock = ResultLock(out)
                except BusyError:
                    continue
                break
            inside.append(1)
            time.sleep(0.001)  # time for another thread to get in, if it could
            most.append(len(inside))
            inside.pop()
            lock.release()
            turns.append(1)

    threads = [threading.Thread(target=take_turns) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(turns) == 32 and max(most) == 1 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_a_disk_that_cannot_lock_lets_every_run_write(tmp_path, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, "lock_descriptor", refuse)
    out = tmp_path / "c.parquet"
    first, second = ResultLock(out), ResultLock(out)
    assert not is_being_written(out)
    first.release()
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_other_errors_of_the_disk_are_raised(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(module, "lock_descriptor", fail)
    with pytest.raises(OSError, match="Input/output"):
        ResultLock(tmp_path / "c.parquet")
