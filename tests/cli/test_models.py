"""`jadfer models`, and its downloads from a server on this machine."""

import hashlib
import http.server
import io
import json
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest
from tiny_detector import tiny_scrfd

from jadfer_cli.expression import checkpoint
from jadfer_cli.faces import landmarker
from jadfer_cli.faces.packs import PACKS
from jadfer_cli.installation import fetch, model_file, unpack

ROOT = Path(__file__).resolve().parents[2]
MAIN = "from jadfer_cli.cli import main; main()"


def zipped(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


DETECTOR = tiny_scrfd()
GOOD = zipped(**{"det_500m.onnx": DETECTOR, "w600k_mbf.onnx": os.urandom(200_000)})
ZIPS = {
    "good": GOOD,
    "nested": zipped(**{"antelopev2/scrfd_10g_bnkps.onnx": DETECTOR, "antelopev2/x/y": b"1"}),
    "cut": GOOD[:-200],
    "text": b"<html>Sign in to the hotel's network</html>",
    "flipped": GOOD[:60_000] + bytes([GOOD[60_000] ^ 255]) + GOOD[60_001:],
    "climbing": zipped(**{"det_500m.onnx": b"1", "../../evil.txt": b"2"}),
    "absolute": zipped(**{"det_500m.onnx": b"1", "/tmp/evil.txt": b"2"}),
    "fake": zipped(**{"det_500m.onnx": b"not an ONNX model", "w600k_mbf.onnx": b"1"}),
    "cut-detector": zipped(**{"det_500m.onnx": DETECTOR[:-40]}),
    "empty": zipped(**{"readme.txt": b"no detector here"}),
}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        kind = self.path.split("/")[1]
        if kind == "silent":
            time.sleep(2)
            return
        data = GOOD if kind in ("short", "stalled") else ZIPS.get(kind)
        if data is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: 1000 if kind in ("short", "stalled") else None])
        if kind == "stalled":
            self.server.stalled.set()
            self.server.release.wait(20)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as it:
        it.stalled, it.release = threading.Event(), threading.Event()
        thread = threading.Thread(target=it.serve_forever)
        thread.start()
        it.url = f"http://127.0.0.1:{it.server_port}"
        yield it
        it.release.set()
        it.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A copy of the package with its own weights, laid out as after an installation."""
    from jadfer_cli.expression.networks.jadfer import Jadfer, JadferConfig

    root = tmp_path_factory.mktemp("program")
    shutil.copytree(
        ROOT / "jadfer_cli", root / "jadfer_cli", ignore=shutil.ignore_patterns("__pycache__")
    )
    weights = root / "weights"
    weights.mkdir()
    config = JadferConfig(width=32, context_layers=1, interaction_layers=1)
    digest = checkpoint.save(
        weights / "tiny.safetensors", Jadfer(config), metrics={"ferplus": {"accuracy": 0.5}}
    )
    entry = {
        "file": "tiny.safetensors",
        "sha256": digest,
        "preview": True,
        "card": "tiny.md",
        "summary": "Random weights [for tests]",
        "terms": "MIT, trained on nothing",
    }
    (weights / "registry.json").write_text(
        json.dumps({"default": "tiny", "models": {"tiny": entry}})
    )
    return root


@pytest.fixture
def home(tmp_path, monkeypatch, program):
    """An empty home and the test's weights, for this process and those it starts."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(program))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "1")
    for name in ("JADFER_PACK_URL", "COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(checkpoint, "weights_dir", lambda: program / "weights")
    return tmp_path


@pytest.fixture
def invoke(home, invoke):
    """The command in this process: quick, for the many ways in which it can fail."""
    return lambda *args: invoke("models", *args, width=4000)


def jadfer(*args, env=None, **options):
    # always pass env: readline, which pytest imports, hides COLUMNS from the C environment
    return subprocess.run(
        [sys.executable, "-P", "-c", MAIN, "models", *args],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env=env or dict(os.environ),
        **options,
    )


def flat(text):
    """Without line breaks, which depend on the width."""
    return re.sub(r"\s+", " ", text)


def nothing_left(home):
    return not (home / ".insightface").exists()


def test_every_command_shows_an_example(invoke):
    for command in ((), ("list",), ("info",), ("verify",), ("fetch",), ("path",)):
        got = invoke(*command, "--help")
        assert got.exit_code == 0
        assert "Examples:" in got.stdout and "jadfer models " in got.stdout, command


def test_list_in_a_pipe_has_one_line_per_network(home):
    got = jadfer("list")
    assert got.returncode == 0 and got.stderr == ""
    assert "\x1b" not in got.stdout and "…" not in got.stdout
    lines = {line.split()[0]: line for line in got.stdout.splitlines() if line}
    assert "default, preview" in lines["tiny"] and "[for tests]" in lines["tiny"]
    assert "embedded, used by auto" in lines["centerface"] and "MIT" in lines["centerface"]
    for name in PACKS:
        assert "can be fetched" in lines[name]
        assert "non-commercial research only" in lines[name]


def test_list_as_json(invoke, home):
    folder = home / ".insightface/models/buffalo_s"
    folder.mkdir(parents=True)
    (folder / "det_500m.onnx").write_bytes(b"1")
    got = json.loads(invoke("list", "--json").stdout)
    assert [(w["name"], w["marks"]) for w in got["weights"]] == [("tiny", ["default", "preview"])]
    marks = {d["name"]: d["marks"] for d in got["detectors"]}
    assert marks["buffalo_s"] == ["installed", "used by auto"]
    assert marks["centerface"] == ["embedded"] and marks["buffalo_l"] == ["can be fetched"]


@pytest.mark.parametrize(
    "text",
    [
        None, "", "[]", "null", "{}", '{"default": "a", "models": {}}', "[" * 100_000,
        '{"default": 1, "models": []}', '{"default": "a", "models": {"a": null}}',
        '{"default": "a", "models": {"a": {"file": 7}}}', '{"default": "a", "models": {"a": 1}}',
    ],
)  # fmt: skip
def test_list_without_a_registry_or_with_a_damaged_one(text, invoke, monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoint, "weights_dir", lambda: tmp_path)
    if text is not None:
        (tmp_path / "registry.json").write_text(text)
    got = invoke("list")
    assert got.exit_code == 1
    assert "registry of weights" in got.stderr and "pip install" in got.stderr


def test_info_of_weights(invoke, program):
    path = program / "weights" / "tiny.safetensors"
    got = json.loads(invoke("info", "default", "--json").stdout)
    assert got["name"] == "tiny" and got["path"] == str(path)
    assert got["sha256"] == sha256(path.read_bytes()) and got["size_bytes"] == path.stat().st_size
    assert got["labels"][:2] == ["neutral", "happiness"] and got["temperature"] == 1.0
    assert got["config"]["width"] == 32 and got["metrics"] == {"ferplus": {"accuracy": 0.5}}
    assert got["card"].endswith("weights/tiny.md") and got["terms"] == "MIT, trained on nothing"
    text = flat(invoke("info", str(path)).stdout)  # by path: no registry entry
    assert "metrics.ferplus.accuracy 0.5" in text and "config.width 32" in text


def test_info_of_detectors(invoke):
    got = json.loads(invoke("info", "centerface", "--json").stdout)
    assert got["sha256"] == sha256(Path(got["path"]).read_bytes()) and got["terms"] == "MIT"
    got = json.loads(invoke("info", "buffalo_l", "--json").stdout)
    assert got["path"] is None and got["url"].endswith("buffalo_l.zip")
    assert got["zip_sha256"] == fetch.KNOWN_ZIPS["buffalo_l"].sha256


@pytest.mark.parametrize("command", ["info", "path", "verify"])
def test_unknown_names(invoke, command):
    got = invoke(command, "nobody")
    assert got.exit_code == 1 and got.stdout == ""
    assert "There is no model named nobody." in flat(got.stderr)
    assert "tiny, centerface, buffalo_l" in flat(got.stderr)


@pytest.mark.slow
def test_path_prints_only_the_path_on_stdout(home, program):
    got = jadfer("path", "tiny")
    assert got.stdout == f"{program / 'weights' / 'tiny.safetensors'}\n" and got.stderr == ""
    assert got.returncode == 0


def test_path_of_the_folder_and_of_a_missing_pack(invoke, program):
    assert invoke("path").stdout == f"{program / 'weights'}\n"
    got = invoke("path", "buffalo_m")
    assert got.exit_code == 1 and got.stdout == ""
    assert "not installed" in got.stderr and "jadfer models fetch buffalo_m" in flat(got.stderr)


@pytest.mark.slow
def test_verify_loads_everything(home, program):
    got = jadfer("verify")
    assert got.returncode == 0, got.stderr
    lines = got.stdout.splitlines()
    assert [line.split(":")[0].split() for line in lines] == [["ok", "tiny"], ["ok", "centerface"]]
    assert sha256((program / "weights" / "tiny.safetensors").read_bytes()) in lines[0]
    assert "as in the registry" in lines[0] and "as installed" in lines[1]


def test_verify_reports_both_hashes_and_a_fix(invoke, program, tmp_path, monkeypatch):
    weights = tmp_path / "weights"
    shutil.copytree(program / "weights", weights)
    good = sha256((weights / "tiny.safetensors").read_bytes())
    with (weights / "tiny.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x99")
    bad = sha256((weights / "tiny.safetensors").read_bytes())
    monkeypatch.setattr(checkpoint, "weights_dir", lambda: weights)
    got = invoke("verify", "tiny")
    assert got.exit_code == 1 and "1 of 1 failed; fixes are listed above." in got.stderr
    assert got.stdout.startswith("PROBLEM") and len(got.stdout.splitlines()) == 1
    assert f"sha256 is {bad}, expected {good}" in got.stdout and "pip install" in got.stdout
    (weights / "tiny.safetensors").unlink()
    got = invoke("verify", "tiny")
    assert got.exit_code == 1 and "cannot be read" in got.stdout
    assert "missing" in invoke("list").stdout
    assert invoke("path", "tiny").exit_code == 1


def test_verify_detects_a_damaged_pack_and_fetch_repairs_it(invoke, home, server):
    fetch_good = ("fetch", "buffalo_sc", "-y", "--from", f"{server.url}/good", "--sha256")
    assert invoke(*fetch_good, sha256(GOOD)).exit_code == 0
    detector = home / ".insightface/models/buffalo_sc/det_500m.onnx"
    detector.write_bytes(b"something else")
    got = invoke("verify", "buffalo_sc")
    assert got.exit_code == 1
    assert sha256(b"something else") in got.stdout and sha256(DETECTOR) in got.stdout
    assert "jadfer models fetch buffalo_sc --overwrite" in got.stdout
    assert invoke(*fetch_good, sha256(GOOD)).exit_code == 0  # not "is already installed"
    assert detector.read_bytes() == DETECTOR


@pytest.mark.slow
def test_fetch_installs_a_pack(home, server):
    got = jadfer(
        "fetch",
        "buffalo_sc",
        "--yes",
        "--sha256",
        sha256(GOOD).upper(),
        env=os.environ | {"JADFER_PACK_URL": f"{server.url}/good/"},
    )
    folder = home / ".insightface/models/buffalo_sc"
    assert got.returncode == 0, got.stderr
    assert got.stdout == f"{folder}\n"
    assert "non-commercial research only" in got.stderr and sha256(GOOD) in got.stderr
    assert sorted(p.name for p in folder.iterdir()) == [
        "det_500m.onnx",
        "jadfer_pack.json",
        "w600k_mbf.onnx",
    ]
    manifest = json.loads((folder / "jadfer_pack.json").read_text())
    assert manifest["files"]["det_500m.onnx"] == sha256(DETECTOR)
    assert manifest["zip_sha256"] == manifest["zip_sha256_expected"] == sha256(GOOD)
    assert [p.name for p in folder.parent.iterdir()] == ["buffalo_sc"]  # no zip, no .fetch-
    again = jadfer("fetch", "buffalo_sc")  # no terms to accept if nothing is fetched
    assert again.returncode == 0 and again.stdout == got.stdout
    assert "is already installed" in again.stderr


def test_fetch_from_a_file_removes_the_top_folder_of_a_pack(invoke, home, tmp_path):
    zip_path = tmp_path / "antelopev2.zip"
    zip_path.write_bytes(ZIPS["nested"])
    digest = sha256(ZIPS["nested"])
    got = invoke("fetch", "antelopev2", "-qy", "--from", str(zip_path), "--sha256", digest)
    folder = home / ".insightface/models/antelopev2"
    assert got.exit_code == 0, got.stderr
    assert (folder / "scrfd_10g_bnkps.onnx").is_file() and (folder / "x/y").is_file()
    assert zip_path.exists()


def test_fetch_repairs_a_broken_folder_and_keeps_the_users_files(invoke, home, server):
    folder = home / ".insightface/models/buffalo_sc"
    folder.mkdir(parents=True)
    (folder / "w600k_mbf.onnx").write_bytes(b"half")
    (folder / "notes.txt").write_text("mine")
    place = f"{server.url}/good"
    got = invoke("fetch", "buffalo_sc", "-y", "--from", place, "--sha256", sha256(GOOD))
    assert got.exit_code == 0, got.stderr
    assert (folder / "det_500m.onnx").is_file() and (folder / "notes.txt").read_text() == "mine"
    assert (folder / "w600k_mbf.onnx").stat().st_size == 200_000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("/nothing-here", "the server answered 404"),
        ("/silent", "did not answer in time"),
        ("/stalled", "did not answer in time"),
        ("/short", "the connection was lost"),
        ("http://127.0.0.1:1", "the connection was refused"),
        ("http://jadfer-test.invalid", "this machine may be offline"),
        ("http://[broken", "the address is invalid"),
        ("no/such/file.zip", "no such file"),
    ],
)
def test_fetch_from_a_source_that_fails(invoke, home, server, place, said):
    source = server.url + place if place.startswith("/") else place
    got = invoke("fetch", "buffalo_sc", "-y", "--from", source, "--timeout", "0.3")
    text = flat(got.stderr)
    assert got.exit_code == 1 and got.stdout == "" and said in text
    verb = "copy" if source.startswith("no/") else "download"
    assert f"Could not {verb} buffalo_sc from" in text
    assert "By hand: download https://github.com" in text
    assert str(home / ".insightface/models/buffalo_sc") in text
    assert nothing_left(home)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("cut", "is damaged, or not a zip"),
        ("text", "is damaged, or not a zip"),
        ("flipped", "is damaged, or not a zip"),
        ("climbing", "contains the unsafe name '../../evil.txt'"),
        ("absolute", "contains the unsafe name '/tmp/evil.txt'"),
        ("empty", "contains no face detector"),
        ("fake", "det_500m.onnx in the zip from"),
        ("fake", "is not a face detector in ONNX"),
        ("cut-detector", "is not a face detector in ONNX"),
    ],
)
def test_fetch_refuses_a_bad_zip(invoke, home, server, kind, said):
    place, digest = f"{server.url}/{kind}", sha256(ZIPS[kind])
    got = invoke("fetch", "buffalo_sc", "-y", "--from", place, "--sha256", digest)
    assert got.exit_code == 1 and said in flat(got.stderr) and "By hand:" in got.stderr
    assert nothing_left(home) and not (home.parent / "evil.txt").exists()


def test_fetch_reports_both_hashes(invoke, home, server):
    got = invoke("fetch", "buffalo_sc", "-y", "--from", f"{server.url}/good")
    text = flat(got.stderr)
    assert got.exit_code == 1
    known = fetch.KNOWN_ZIPS["buffalo_sc"].sha256
    assert f"sha256 is {sha256(GOOD)}, expected {known}" in text
    assert f"--sha256 {sha256(GOOD)}" in text and nothing_left(home)


def test_fetch_reports_that_no_hash_is_known(invoke, server, monkeypatch):
    monkeypatch.setattr(fetch, "KNOWN_ZIPS", {})
    got = invoke("fetch", "buffalo_sc", "-y", "--from", f"{server.url}/good")
    assert got.exit_code == 0
    assert sha256(GOOD) in got.stderr and "no hash to compare it with" in flat(got.stderr)


LANDMARKER = zipped(**{"face_landmarks_detector.tflite": b"1", "face_blendshapes.tflite": b"2"})


@pytest.fixture
def folder(home, monkeypatch):
    """Where the face landmarker is installed; its known hash is that of `LANDMARKER`."""
    monkeypatch.setattr(model_file, "models_folder", lambda: home / "models")
    monkeypatch.setattr(landmarker, "models_folder", lambda: home / "models")
    monkeypatch.setattr(model_file, "MODEL_SHA256", sha256(LANDMARKER))
    monkeypatch.delenv(landmarker.MODEL_VARIABLE, raising=False)
    return home / "models"


def test_fetch_installs_the_face_landmarker_and_shows_its_terms(invoke, server, folder):
    ZIPS["landmarker"] = LANDMARKER

    def marks():
        return json.loads(invoke("list", "--json").stdout)["landmarkers"][0]["marks"]

    assert marks() == ["can be fetched"]
    got = invoke("fetch", "face_landmarker", "--from", f"{server.url}/landmarker")
    assert got.exit_code == 0, got.stderr
    assert got.stdout == f"{folder / landmarker.MODEL}\n"
    assert "Apache License 2.0" in got.stderr and sha256(LANDMARKER) in got.stderr
    assert [path.name for path in folder.iterdir()] == [landmarker.MODEL]
    assert landmarker.find_model() == folder / landmarker.MODEL
    assert "is already installed" in invoke("fetch", "face_landmarker").stderr
    assert marks() == ["installed"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("good", f"sha256 is {sha256(GOOD)}, expected {sha256(LANDMARKER)}"),
        ("short", "the connection was lost"),
        ("nothing", "the server answered 404"),
    ],
)
def test_fetch_of_the_face_landmarker_that_fails_leaves_nothing(invoke, server, folder, kind, said):
    got = invoke("fetch", "face_landmarker", "--from", f"{server.url}/{kind}")
    text = flat(got.stderr)
    assert got.exit_code == 1 and got.stdout == "" and said in text
    assert "By hand: download https://storage.googleapis.com/mediapipe-models/" in text
    assert "`jadfer models add /path/to/face_landmarker.task`" in text
    assert not folder.exists() or not list(folder.iterdir())


def test_add_takes_the_landmarker_and_packs_and_nothing_else(invoke, home, folder, monkeypatch):
    known = fetch.KnownZip(len(GOOD), sha256(GOOD))
    monkeypatch.setitem(fetch.KNOWN_ZIPS, "buffalo_sc", known)
    carried = {"any name.task": LANDMARKER, "download (1)": GOOD, "x.txt": b"text",
               "own.safetensors": b"1", "buffalo_s.zip": ZIPS["text"]}  # fmt: skip
    for name, content in carried.items():
        (home / name).write_bytes(content)
    got = invoke("add", home / "any name.task")
    assert "copying face_landmarker" in got.stderr and "downloading" not in got.stderr
    assert got.exit_code == 0 and (folder / landmarker.MODEL).read_bytes() == LANDMARKER
    got = invoke("add", home / "download (1)")
    assert got.exit_code == 2 and "Add --yes to accept them." in flat(got.stderr)
    got = invoke("add", home / "download (1)", "--yes")  # known by its hash
    assert got.exit_code == 0, got.stderr
    assert (home / ".insightface/models/buffalo_sc/det_500m.onnx").read_bytes() == DETECTOR
    got = invoke("add", home / "x.txt")
    assert got.exit_code == 1 and "neither the face landmarker nor the zip" in flat(got.stderr)
    got = invoke("add", home / "own.safetensors")
    assert got.exit_code == 2 and f"--model {home / 'own.safetensors'}" in flat(got.stderr)
    (home / "own.onnx").write_bytes(b"1")
    got = invoke("add", home / "own.onnx")  # a detector or a recogniser
    both = f"--detector {home / 'own.onnx'} or --recogniser {home / 'own.onnx'}"
    assert got.exit_code == 2 and both in flat(got.stderr)
    got = invoke("add", home / "buffalo_s.zip", "-y")  # by its name, but another file
    assert got.exit_code == 1 and "is not the known buffalo_s" in flat(got.stderr)
    assert invoke("add", home / "missing.task").exit_code == 2


def test_fetch_with_wrong_arguments(invoke, home):
    got = invoke("fetch", "buffalo_xxl", "-y")
    assert got.exit_code == 1 and "buffalo_l, buffalo_m" in flat(got.stderr)
    got = invoke("fetch", "buffalo_l", "-y", "--sha256", "123")
    assert got.exit_code == 2 and "64 hexadecimal digits" in got.stderr
    got = invoke("fetch", "buffalo_l", "-y", "--from", "ftp://example.org/buffalo_l.zip")
    assert got.exit_code == 2 and "neither an http or https address nor a file" in flat(got.stderr)
    assert nothing_left(home)


@pytest.mark.slow
def test_fetch_asks_for_consent(home, server):
    got = jadfer("fetch", "buffalo_sc")  # no terminal to ask on
    assert got.returncode == 2 and "Add --yes" in got.stderr and nothing_left(home)
    assert "non-commercial research only" in got.stderr
    user, terminal = pty.openpty()
    command = [
        sys.executable,
        "-P",
        "-c",
        MAIN,
        "models",
        "fetch",
        "buffalo_sc",
        "--from",
        server.url,
    ]
    process = subprocess.Popen(command, stdin=terminal, stderr=terminal, stdout=subprocess.PIPE)
    os.close(terminal)
    os.write(user, b"n\n")
    said = b""
    with pytest.raises(OSError):  # raised at the end of a terminal on Linux
        while piece := os.read(user, 1000):
            said += piece
    os.close(user)
    assert process.communicate()[0] == b"" and process.returncode == 1
    assert b"Do you accept these terms?" in said and b"not accepted" in said
    assert nothing_left(home)


@pytest.mark.slow
def test_fetch_on_a_full_disk(home, server):
    got = jadfer(
        "fetch",
        "buffalo_sc",
        "-y",
        "--from",
        f"{server.url}/good",
        "--sha256",
        sha256(GOOD),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert got.returncode == 1 and "the disk is full" in got.stderr, got.stderr
    assert "Free some space" in got.stderr and nothing_left(home)


def test_fetch_where_nothing_can_be_written(invoke, home):
    (home / ".insightface").write_text("a file, not a folder")
    got = invoke("fetch", "buffalo_sc", "-y", "--from", "http://127.0.0.1:1")
    assert got.exit_code == 1 and "cannot be written to" in flat(got.stderr)


def test_one_fetch_at_a_time(invoke, home, server):
    with unpack.workspace(PACKS["buffalo_l"]):
        got = invoke("fetch", "buffalo_sc", "-y", "--from", f"{server.url}/good")
    assert got.exit_code == 1 and "Another run of jadfer is fetching" in flat(got.stderr)
    assert nothing_left(home)


@pytest.mark.slow
def test_a_stopped_fetch_leaves_nothing(home, server):
    server.stalled.clear()
    command = [sys.executable, "-P", "-c", MAIN, "models", "fetch", "buffalo_sc", "-y"]
    process = subprocess.Popen(
        [*command, "--from", f"{server.url}/stalled"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stalled.wait(20)
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM and out == ""
    assert "Stopped" in said and nothing_left(home)


@pytest.mark.data
def test_a_fetched_pack_is_used_and_verified(invoke, home, shared, tmp_path):
    detector = (shared / "models/scrfd_500m_kps.onnx").read_bytes()
    zip_path = tmp_path / "buffalo_s.zip"
    zip_path.write_bytes(zipped(**{"det_500m.onnx": detector}))
    digest = sha256(zip_path.read_bytes())
    got = invoke("fetch", "buffalo_s", "-y", "--from", str(zip_path), "--sha256", digest)
    assert got.exit_code == 0, got.stderr
    got = jadfer("verify", "buffalo_s")
    assert got.returncode == 0 and sha256(detector) in got.stdout
    path = invoke("path", "buffalo_s").stdout.strip()
    assert path == str(home / ".insightface/models/buffalo_s/det_500m.onnx")
    assert "installed, used by auto" in invoke("list").stdout
