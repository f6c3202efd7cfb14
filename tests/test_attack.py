"""The attack of tests/bench/attack.py notices what it looks for."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from conftest import DEMO, ROOT

sys.path.insert(0, str(ROOT / "tests" / "bench"))

import attack_hostile_results as hostile
import attack_mutations as mutations
import attack_playlists as playlists
from attack_report import Report, wrong_with_output
from attack_runs import Ended, Runner
from fuzzing import Seed


def ended(out=b"", err=b"", code=0, stopped=""):
    return Ended(("show", "x"), code, out, err, 0.1, 0.1, 10, stopped, 1)


@pytest.mark.parametrize(
    ("run", "kind"),
    [
        (ended(code=-11), "crash: signal 11"),
        (ended(code=-9, stopped="hang"), "beyond the limit: hang"),
        (ended(err=b"This is a bug in jadfer", code=1), "traceback or 'bug in jadfer'"),
        (ended(err=b"Traceback (most recent call last):", code=1), "traceback or 'bug in jadfer'"),
        (ended(err=b"Error: no", code=3), "exit code 3"),
        (ended(code=1), "fails without a message"),
        (ended(out=b"\x1b]52;c;x\x07"), "control character on stdout"),
        (ended(out="\x9b31m".encode()), "control character on stdout"),
        (ended(err=b"Error: \x9b31m", code=1), "control character on stderr"),
    ],
)
def test_bad_ends_are_findings(run, kind):
    report = Report("results")
    assert not report.check("a case", run)
    assert report.kinds()[kind] == 1


def test_good_ends_are_none():
    report = Report("results")
    good = (ended(out="é ü 表 🙂\t\n".encode()), ended(err=b"Error: no such file", code=2))
    assert all(report.check("a case", run) for run in good)


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("a.csv", "a,b\n1,-2.5\n+3,-inf\n'=x,y\n", ""),
        ("a.csv", "a,b\n1,=1+1\n", "formula in a csv cell"),
        ("a.tsv", "a\tb\n1\t-x\n", "formula in a tsv cell"),
        ("a.eaf", "<a>\x1b</a>", "output cannot be parsed"),
        ("a.json", '{"a": NaN}', "NaN is not JSON"),
        ("a.json", '{"a": null}', ""),
        ("a.html", "<script>alert(1)</script>", "markup"),
    ],
)
def test_bad_output_is_noticed(tmp_path, name, text, wrong):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    found = wrong_with_output(path)
    assert wrong in found if wrong else found == ""


def test_calls_seen_by_strace():
    folder = Path("/tmp/in")
    lines = [
        '7 openat(AT_FDCWD, "/tmp/in/list.m3u8", O_RDONLY) = 5',
        '7 openat(AT_FDCWD, "/usr/lib/libc.so.6", O_RDONLY) = 5',
        '7 openat(AT_FDCWD, "/tmp/in/secret.ts", O_RDONLY <unfinished ...>',
        '7 open("secret.mp4", O_RDONLY) = -1 ENOENT (No such file or directory)',
        "7 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 9",
    ]
    found = playlists.wrong_calls(lines, folder, {"/tmp/in/list.m3u8"})
    assert [line.split("(")[0] for line in found] == ["openat", "open", "socket"]
    assert not any("list.m3u8" in line or "libc" in line for line in found)


@pytest.fixture(scope="module")
def seeds():
    data = DEMO.read_bytes()
    return [Seed("demo", "mp4", data), Seed("other", "mkv", data[:5000])]


def test_mutations_are_reproducible(seeds):
    for number in range(len(mutations.KINDS)):
        kind, its, data = mutations.mutant(seeds, number, 1)
        assert (kind, its, data) == mutations.mutant(seeds, number, 1)
        assert data != its.data


def test_sizes_of_boxes_fit_after_an_edit_list_is_put_in(seeds):
    number = mutations.KINDS.index("edits")
    _, _, data = mutations.mutant(seeds, number, 1)
    found = list(mutations.boxes(data))
    assert b"elst" in {box.kind for box in found}
    assert sum(box.end - box.start for box in found if not box.parents) == len(data)


@pytest.mark.slow
def test_hostile_results_can_be_made(demo_result, tmp_path):
    cases = hostile.cases(hostile.Base(demo_result), 300, 1)
    assert len(cases) == 300 and len({case.name for case in cases}) > 290
    made = 0
    for number, case in enumerate(cases[::7]):
        folder = tmp_path / str(number)
        folder.mkdir()
        case.make(folder / case.file)
        made += (folder / case.file).is_symlink() or (folder / case.file).exists()
        shutil.rmtree(folder)
    assert made == len(cases[::7])


@pytest.mark.slow
@pytest.mark.long
def test_a_run_is_watched_and_killed(tmp_path):
    with Runner(limit_s=60) as runner:
        good = runner.run("--version")
        assert (good.code, good.stopped) == (0, "") and b"jadfer" in good.out
        sleeps = "import time; time.sleep(600)"
        assert runner.run("--version", setup=sleeps, limit_s=0.2).stopped == "hang"
        assert runner.run("--version", setup=sleeps, kill_s=0.1).killed
        loops = "while True: pass"
        assert runner.run("--version", setup=loops, limit_s=0.2).stopped == "hang"
        crash = runner.run("--version", setup="import os; os.abort()")
        assert crash.code == -6
        full = runner.run("models", "list", "--json")
        assert json.loads(full.out) and full.peak_mb > 50
