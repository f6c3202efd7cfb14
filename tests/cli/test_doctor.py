"""`jadfer doctor` on intact and on broken installations."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jadfer_cli.common import file_sha256
from jadfer_cli.expression import checkpoint
from jadfer_cli.installation import doctor as doctor_module
from jadfer_cli.installation import environment, samples, selftest
from jadfer_cli.installation.findings import OK, PROBLEM, WARNING

ROOT = Path(__file__).resolve().parents[2]
GROUPS = [
    "System",
    "Libraries",
    "Devices",
    "Video decoders",
    "Face detectors",
    "Expression weights",
    "Facial actions",
    "Self test",
]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A copy of the package with its own weights, laid out as after an installation."""
    from jadfer_cli.expression.networks.jadfer import Jadfer, JadferConfig

    root = tmp_path_factory.mktemp("program")
    unwanted = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "jadfer_cli", root / "jadfer_cli", ignore=unwanted)
    (root / "weights").mkdir()
    shutil.copy(ROOT / "weights" / "jadfer-follower.onnx", root / "weights")
    config = JadferConfig(width=32, context_layers=1, interaction_layers=1)
    digest = checkpoint.save(root / "weights" / "tiny.safetensors", Jadfer(config))
    entry = {
        "file": "tiny.safetensors",
        "sha256": digest,
        "preview": True,
        "card": "",
        "summary": "",
        "terms": "MIT",
    }
    table = {"default": "tiny", "models": {"tiny": entry}}
    (root / "weights" / "registry.json").write_text(json.dumps(table))
    return root


def doctor(root, home, *args, first=()):
    """Runs the program in `root`; modules in the folders `first` hide installed ones."""
    env = dict(os.environ) | {
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join(map(str, [*first, root])),
        "OMP_NUM_THREADS": "1",
        "ORT_DISABLE_TELEMETRY": "1",
    }
    for name in ("COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        env.pop(name, None)
    main = "from jadfer_cli.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-P", "-c", main, "doctor", *args],
        capture_output=True,
        text=True,
        timeout=120,
        env=env,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.slow
def test_an_intact_installation(program, tmp_path):
    broken = tmp_path / ".insightface/models/buffalo_l"
    broken.mkdir(parents=True)  # what InsightFace's own downloader leaves
    got = doctor(program, tmp_path)
    assert got.returncode == 0, got.stdout + got.stderr
    assert got.stderr == "" and "\x1b" not in got.stdout and "…" not in got.stdout
    lines = got.stdout.splitlines()
    assert [line for line in lines if line in GROUPS] == GROUPS
    said = {line[9:].split("  ")[0]: line for line in lines if line[:7].strip() in (OK, WARNING)}
    for name in ("torch", "decord2", "av", "insightface", "onnxruntime", "trackers", "pyarrow"):
        assert said[name].startswith("ok"), name
    assert "CenterFace loads; sha256" in said["centerface"]
    assert "as installed" in said["centerface"] and "as in the registry" in said["tiny"]
    assert "h264, hevc, vp9, av1" in said["codecs"]
    assert "4 frames" in said["video"] and "6 of 6 faces" in said["faces"]
    assert "6 faces scored" in said["expression"] and "read back" in said["parquet"]
    assert (
        said["buffalo_l"].startswith("warning")
        and "the download was interrupted" in said["buffalo_l"]
    )
    assert "-> jadfer models fetch buffalo_l --overwrite" in got.stdout
    assert lines[-1].endswith("see the lines with -> above.")


@pytest.mark.slow
def test_json_and_damaged_weights(program, tmp_path):
    root = tmp_path / "program"
    shutil.copytree(program, root)
    weights = root / "weights" / "tiny.safetensors"
    good = file_sha256(weights)
    weights.write_bytes(weights.read_bytes() + b"\0")
    got = doctor(root, tmp_path, "--json")
    assert got.returncode == 1, got.stderr
    report = json.loads(got.stdout)
    assert report["ok"] is False
    bad = [f for f in report["findings"] if f["status"] == PROBLEM]
    assert [(f["group"], f["name"]) for f in bad] == [
        ("Expression weights", "tiny"),
        ("Self test", "expression"),
    ]
    assert good in bad[0]["detail"] and file_sha256(weights) in bad[0]["detail"]
    assert "pip install --force-reinstall" in bad[0]["remedy"]


@pytest.mark.long
def test_a_library_that_does_not_load_is_a_finding(program, tmp_path):
    (tmp_path / "cv2.py").write_text(
        'raise ImportError("libGL.so.1: cannot open shared object file: No such file")\n'
    )
    got = doctor(program, tmp_path, first=[tmp_path])
    assert got.returncode == 1
    assert "Traceback" not in got.stdout + got.stderr
    line = next(x for x in got.stdout.splitlines() if x.startswith("problem  opencv-python"))
    assert "import fails: libGL.so.1" in line
    assert "apt-get install libgl1" in got.stdout and "opencv-python-headless" in got.stdout
    assert "\nok       torch " in got.stdout  # the rest is still reported
    assert "4 frames of" in got.stdout and "rows written and read back" in got.stdout
    assert "problem" in got.stdout.splitlines()[-1]


def test_without_a_registry(monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoint, "weights_dir", lambda: tmp_path)
    group = "Expression weights"
    monkeypatch.setattr(doctor_module, "CHECKS", {group: doctor_module.CHECKS[group]})
    (found,) = doctor_module.examine()
    assert (found.group, found.name, found.status) == (group, group.lower(), PROBLEM)
    assert "weights" in found.detail and "pip install" in found.remedy


def test_a_check_that_fails_does_not_stop_the_others(monkeypatch):
    def fails():
        raise RuntimeError("boom")
        yield

    checks = {group: fails for group in GROUPS} | {"System": environment.check_system}
    assert list(doctor_module.CHECKS) == GROUPS
    monkeypatch.setattr(doctor_module, "CHECKS", checks)
    begun = []
    findings = list(doctor_module.examine(begun.append))
    assert begun == GROUPS
    assert [f.group for f in findings[-7:]] == GROUPS[1:]
    assert [f.detail for f in findings[-7:]] == ["RuntimeError: boom"] * 7
    assert {f.group for f in findings[:-7]} == {"System"}


def fake_torch(cuda, error="boom"):
    def init():
        raise RuntimeError(error)

    return SimpleNamespace(version=SimpleNamespace(cuda=cuda), cuda=SimpleNamespace(init=init))


@pytest.mark.parametrize(
    ("cuda", "driver", "visible", "status", "said", "remedy"),
    [
        (None, False, None, OK, "CPU build, and there is no NVIDIA driver", ""),
        (None, True, None, WARNING, "CPU build, but there is an NVIDIA driver", "pytorch.org"),
        ("12.8", False, None, OK, "no NVIDIA driver", ""),
        ("12.8", True, "", WARNING, "CUDA_VISIBLE_DEVICES hides", "Unset"),
        ("12.8", True, None, WARNING, "driver on your system is too old", "needs CUDA 12.8"),
    ],
)
def test_why_there_is_no_cuda(monkeypatch, cuda, driver, visible, status, said, remedy):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    torch = fake_torch(cuda, "The NVIDIA driver on your system is too old (found 11040). Update.")
    found = environment.explain_no_cuda(torch, driver=driver)
    assert (found.status, found.name) == (status, "cuda")
    assert said in found.detail and remedy in found.remedy
    assert bool(remedy) == bool(found.remedy)


def test_a_gpu_is_enough_without_onnx_runtimes_cuda(monkeypatch):
    card = SimpleNamespace(name="H200", total_memory=141 << 30)
    cuda = SimpleNamespace(
        is_available=lambda: True, device_count=lambda: 1, get_device_properties=lambda i: card
    )
    fakes = {
        "torch": SimpleNamespace(cuda=cuda, version=SimpleNamespace(cuda="12.8")),
        "onnxruntime": SimpleNamespace(get_available_providers=lambda: ["CPUExecutionProvider"]),
    }
    monkeypatch.setattr(environment, "import_library", fakes.__getitem__)
    _, device, providers = environment.check_devices()
    assert device.name == "cuda:0" and device.detail == "H200, 141 GiB, CUDA 12.8"
    assert providers.status == OK and "PyTorch runs both networks" in providers.detail


def test_two_distributions_of_one_library(monkeypatch):
    monkeypatch.setattr(environment, "installed_version", lambda name: "1.0")
    found = environment.check_library("onnxruntime", ("onnxruntime", "onnxruntime-gpu"))
    assert found.status == WARNING and "overwrite each other's files" in found.detail
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in found.remedy


@pytest.mark.parametrize(
    ("module", "said", "remedy"),
    [
        ("cv2", "libGL.so.1: cannot open", "apt-get install libgl1"),
        ("insightface", "libGL.so.1: cannot open", "apt-get install libgl1"),
        ("av", "/lib/libc.so.6: version `GLIBC_2.34' not found", "too old"),
        ("pandas", "numpy.dtype size changed", "numpy pandas"),
        ("decord", "No module named 'decord'", "pip install --force-reinstall decord2"),
    ],
)
def test_import_remedies(module, said, remedy):
    assert remedy in environment.import_remedy(module, said)


def test_codecs_that_are_missing(monkeypatch):
    av = SimpleNamespace(__version__="1", codecs_available={"h264", "hevc", "vp9", "av1"})
    libraries = {"torch": 0, "decord": 0, "av": av}
    monkeypatch.setattr(environment, "import_library", libraries.__getitem__)
    codecs = list(environment.check_decoders())[-1]  # FFmpeg's own av1 needs a GPU
    assert codecs.status == WARNING and codecs.detail == "PyAV cannot decode av1"


def test_folders_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("no folder")
    found = environment.check_folder("folder of packs", tmp_path / "file" / "models", "Set HOME.")
    assert found.status == WARNING and found.remedy == "Set HOME."
    found = environment.check_folder("folder of packs", tmp_path / "not" / "yet", "Set HOME.")
    assert found.status == OK and "GB free" in found.detail
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]  # nothing was created


def test_memory_is_plausible():
    total, free = environment.memory_bytes()
    assert total > 100 << 20 and (free is None or 0 < free <= total)


def test_the_self_test_detects_a_missed_face(monkeypatch):
    assert samples.face_picture().shape == (886, 1280, 3)
    blank = np.zeros((480, 640, 3), np.uint8)
    monkeypatch.setattr(samples, "face_picture", lambda: blank)
    findings = list(selftest.run())
    names = [(f.name, f.status) for f in findings]
    assert names == [("video", OK), ("faces", PROBLEM), ("parquet", OK)]
    assert "found 0 of 6 faces" in findings[1].detail


def test_the_self_test_without_a_picture(monkeypatch):
    monkeypatch.setattr(samples, "PICTURE", "no/such.jpg")
    findings = {f.name: f for f in selftest.run()}
    assert list(findings) == ["video", "faces", "parquet"]
    assert findings["faces"].status == WARNING
    assert "not tested" in findings["faces"].detail and "insightface" in findings["faces"].remedy
