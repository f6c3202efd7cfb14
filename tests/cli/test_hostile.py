"""Hostile files and arguments: a clear message, the right exit code, nothing left behind.

Most run in this process. Limits and permissions are set in a process of their own.
"""

import ctypes
import os
import resource
import shutil
import wave
from pathlib import Path

import numpy as np
import pandas as pd
import pytest


def check(result, code: int, *words: str) -> None:
    """Checks the exit code, and for an error message (or typer's usage box) and no traceback."""
    exit_code = result.exit_code if hasattr(result, "exit_code") else result.returncode
    assert exit_code == code, (exit_code, result.stderr)
    assert "Traceback" not in result.stderr
    text = " ".join(result.stderr.replace("│", " ").split())
    assert "Error" in text
    for word in words:
        assert word in text, text
    assert result.stdout == ""


# --- input files -------------------------------------------------------------------------


def audio_only(path: Path) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.zeros(8000, np.int16).tobytes())


def audio_in_mp4(path: Path) -> None:
    import av

    with av.open(str(path), "w", format="mp4") as target:
        stream = target.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


def start_of(source: Path, share: float):
    def make(path: Path) -> None:
        data = source.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return make


def text(path: Path) -> None:
    path.write_text("subject,clip\n1,a.mp4\n" * 200)


def page(path: Path) -> None:
    path.write_text("<!DOCTYPE html><html><body>404 not found</body></html>" * 50)


def subtitles(path: Path) -> None:
    path.write_text("1\n00:00:00,000 --> 00:00:02,000\nHello\n\n")


def garbage(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(200_000))


def zeros(path: Path) -> None:
    path.write_bytes(bytes(100_000))


def parquet(path: Path) -> None:
    pd.DataFrame({"a": [1, 2]}).to_parquet(path)


def empty_mp4(path: Path) -> None:
    """A header without any frame."""
    import av

    with av.open(str(path), "w", format="mp4") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        target.mux(stream.encode(None))


DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo.mp4"
FILES = {
    "missing.mp4": (None, "does not exist"),
    "empty.mp4": (lambda p: p.write_bytes(b""), "empty"),
    "text.mp4": (text, "video"),
    "page.mp4": (page, "video"),
    "clip.srt": (subtitles, "video"),
    "garbage.mp4": (garbage, "video"),
    "zeros.avi": (zeros, "video"),
    "table.mp4": (parquet, "video"),
    "sound.wav": (audio_only, "no video stream"),
    "sound.mp4": (audio_in_mp4, "no video stream"),
    "no_frames.mp4": (empty_mp4, ""),
    "cut_at_20_percent.mp4": (start_of(DEMO, 0.2), ""),
    "cut_in_header.mp4": (start_of(DEMO, 0.0002), "cut short"),
    "loop.mp4": (lambda p: p.symlink_to(p), ""),
    "dangling.mp4": (lambda p: p.symlink_to("nowhere.mp4"), "does not exist"),
    "pipe.mp4": (os.mkfifo, ""),
}


@pytest.mark.parametrize("name", FILES)
def test_hostile_file(invoke, tmp_path, name):
    make, words = FILES[name]
    path = tmp_path / "in" / name
    path.parent.mkdir()
    if make:
        make(path)
    out = tmp_path / "out"
    out.mkdir()
    result = invoke("annotate", path, "-o", out / "clip.parquet")
    check(result, 1, name, words)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("command", ["show", "plot", "events", "methods", "summary", "diff"])
def test_a_pipe_is_not_a_result(invoke, tmp_path, command):
    path = tmp_path / "pipe.parquet"
    os.mkfifo(path)  # opening it would wait for a writer for ever
    options = [path] if command == "diff" else ["-o", tmp_path / "out.csv"]
    options = {"plot": ["-o", tmp_path / "a.png"], "methods": [], "show": []}.get(command, options)
    check(invoke(command, path, *options), 1, "pipe.parquet", "pipe")


@pytest.mark.parametrize("option", ["--skip-existing", "--overwrite"])
def test_a_pipe_is_not_an_earlier_result(invoke, tmp_path, option):
    os.mkfifo(tmp_path / "c.parquet")
    result = invoke("annotate", DEMO, "-o", tmp_path / "c.parquet", option)
    check(result, 1, "c.parquet", "not a r")


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_device_files_are_not_videos(invoke, tmp_path, device):
    result = invoke("annotate", device, "-o", tmp_path / "c.parquet")
    check(result, 1, device)
    assert list(tmp_path.iterdir()) == []


def test_name_that_is_too_long(invoke, tmp_path):
    check(invoke("annotate", "x" * 300 + ".mp4", "-o", tmp_path / "c.parquet"), 1, "x" * 300)


def test_a_url_is_not_fetched(invoke, tmp_path):
    result = invoke("annotate", "https://127.0.0.1:9/clip.mp4", "-o", tmp_path / "c.parquet")
    check(result, 1, "https://127.0.0.1:9/clip.mp4")


@pytest.mark.slow
def test_no_module_of_the_current_folder_is_imported(jadfer, tmp_path, short_clip):
    """Data from others may contain Python files, and whoever annotates stands beside them."""
    for name in ("pickle", "struct", "random", "numpy", "torch", "jadfer_cli", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n1 / 0\n")
    result = jadfer("annotate", short_clip, "-o", "a.parquet", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "a.parquet").exists() and not (tmp_path / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "with space.mp4",
        "line\nbreak.mp4",
        "emoji 🙂.mp4",
        "[bold]x[bold].mp4",
        "-dash.mp4",
        "ü'\"$.mp4",
    ],
)
def test_odd_names_work(invoke, tmp_path, monkeypatch, short_clip, name):
    shutil.copy(short_clip, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    result = invoke("annotate", "-o", "results/", "--", name)
    assert result.exit_code == 0, result.stderr
    rows = pd.read_parquet(tmp_path / "results" / (Path(name).stem + ".parquet"))
    assert rows["video"].unique().tolist() == [name]
    assert rows["frame"].nunique() == 8
    if "\n" not in name:
        assert name in result.stderr


@pytest.mark.slow
def test_a_name_that_is_not_valid_text_works(invoke, tmp_path, short_clip):
    name = b"caf\xe9.mp4"  # Latin-1
    path = os.path.join(os.fsencode(tmp_path), name)
    shutil.copy(short_clip, path)
    result = invoke("annotate", os.fsdecode(path), "-o", tmp_path / "c.parquet")
    assert result.exit_code == 0, result.stderr
    assert pd.read_parquet(tmp_path / "c.parquet")["video"].iloc[0].endswith("caf\ufffd.mp4")


# --- arguments ---------------------------------------------------------------------------

ARGUMENTS = {
    "every 0": (["--every", 0], 2, "--every must be at least 1, not 0"),
    "fps negative": (["--fps", -1], 2, "--fps must be a positive number"),
    "fps nan": (["--fps", "nan"], 2, "--fps must be a positive number"),
    "every and fps": (["--every", 2, "--fps", 5], 2, "exclude each other"),
    "start not a number": (["--start", "soon"], 2, "soon is not a time"),
    "start negative": (["--start", -3], 2, "--start must be zero or more"),
    "end before start": (["--start", 2, "--end", 1], 2, "must be later than --start"),
    "start after the end": (["--start", 100], 1, "0.32"),
    "unknown device": (["--device", "gpu"], 2, "auto, cpu, cuda or cuda:N"),
    "unknown precision": (["--precision", "fp8"], 2, "auto, fp32, bf16, fp16"),
    "fp16 on the CPU": (["--device", "cpu", "--precision", "fp16"], 1, "needs a CUDA device"),
    "batch size 0": (["--batch-size", 0], 2, "--batch-size must be at least 1"),
    "threads 0": (["--threads", 0], 2, "--threads must be at least 1"),
    "max faces 0": (["--max-faces", 0], 2, "--max-faces must be at least 1"),
    "tiny detection": (["--detection-size", 5], 2, "between 96 and 4096"),
    "threshold 2": (["--detection-threshold", 2], 2, "between 0 and 1"),
    "negative face": (["--min-face", -1], 2, "--min-face must be zero or more"),
    "unknown tracker": (["--tracker", "magic"], 2, "bytetrack, ocsort"),
    "unknown detector": (["--detector", "nosuch"], 2, "nosuch"),
    "missing detector file": (["--detector", "no/such.onnx"], 2, "no/such.onnx"),
    "unknown model": (["--model", "nosuch"], 2, "no model named nosuch"),
    "missing model file": (
        ["--model", "no/such.safetensors"],
        2,
        "such.safetensors does not exist",
    ),
    "unknown option": (["--faster"], 2, "--faster"),
    "two inputs, one output": ([DEMO], 2, "names one file, but there may be several inputs"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_hostile_arguments(invoke, tmp_path, short_clip, case):
    arguments, code, words = ARGUMENTS[case]
    result = invoke("annotate", short_clip, "-o", tmp_path / "c.parquet", *arguments)
    check(result, code, words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_cuda_where_there_is_none(invoke, tmp_path, short_clip):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    result = invoke("annotate", short_clip, "-o", tmp_path / "c.parquet", "--device", "cuda")
    check(result, 1, "CUDA is not available", "--device cpu")


def test_files_that_are_neither_detectors_nor_weights(invoke, tmp_path, short_clip):
    wrong = tmp_path / "wrong.onnx"
    wrong.write_text("not an onnx")
    out = tmp_path / "c.parquet"
    check(invoke("annotate", short_clip, "-o", out, "--detector", wrong), 1, "wrong.onnx")
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_text("not tensors")
    result = invoke("annotate", short_clip, "-o", out, "--model", wrong)
    check(result, 1, "wrong.safetensors is not a jadfer checkpoint")
    assert not out.exists()


@pytest.mark.data
def test_a_recogniser_is_not_a_detector(invoke, tmp_path, short_clip, shared):
    wrong = shared / "models" / "mobilefacenet_arcface.onnx"
    result = invoke("annotate", short_clip, "-o", tmp_path / "c.parquet", "--detector", wrong)
    check(result, 1, "mobilefacenet_arcface.onnx")


# --- outputs -----------------------------------------------------------------------------


def test_no_output_named(invoke, short_clip):
    check(invoke("annotate", short_clip), 2, "--out")


@pytest.mark.parametrize("name", ["c.ods", "c", "c.parquet.gz"])
def test_output_of_another_format(invoke, tmp_path, short_clip, name):
    check(invoke("annotate", short_clip, "-o", tmp_path / name), 2, "does not end in .parquet")


@pytest.mark.slow
def test_existing_result_is_kept(invoke, tmp_path, short_clip):
    out = tmp_path / "c.parquet"
    out.write_text("precious")
    check(invoke("annotate", short_clip, "-o", out), 2, "exists already", "--overwrite")
    assert out.read_text() == "precious"
    result = invoke("annotate", short_clip, "-o", out, "--overwrite")
    assert result.exit_code == 0, result.stderr
    assert len(pd.read_parquet(out)) == 8


def test_foreign_json_is_never_replaced(invoke, tmp_path, short_clip):
    (tmp_path / "c.json").write_text('{"mine": 1}')
    out = tmp_path / "c.parquet"
    check(invoke("annotate", short_clip, "-o", out, "--overwrite"), 1, "not written by jadfer")
    assert (tmp_path / "c.json").read_text() == '{"mine": 1}'


def test_output_below_a_file(invoke, tmp_path, short_clip):
    (tmp_path / "file").write_text("x")
    check(invoke("annotate", short_clip, "-o", tmp_path / "file" / "c.parquet"), 1, "file")


def test_output_to_a_full_device(invoke, tmp_path, short_clip):
    (tmp_path / "c.parquet").symlink_to("/dev/full")
    result = invoke("annotate", short_clip, "-o", tmp_path / "c.parquet", "--overwrite")
    check(result, 1, "not a regular file")


@pytest.mark.slow
def test_disk_full(jadfer, tmp_path, short_clip):
    """A limit on file sizes stops the writer in the middle, like a full disk."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    result = jadfer("annotate", short_clip, "-o", tmp_path / "c.parquet", preexec_fn=limit)
    check(result, 1, "c.parquet", "limit on file sizes")
    assert list(tmp_path.iterdir()) == []


def _give_up_root_powers() -> None:
    """Makes permissions apply to root; runs in the child, before exec.

    Taken from the bounding set, so that exec does not give it back. Another user would do as
    well, but often cannot reach root's Python.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        if libc.prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
            raise OSError(ctypes.get_errno(), "prctl")


@pytest.fixture
def unprivileged(jadfer):
    """Runs jadfer as a user to whom permissions apply."""
    if os.geteuid() != 0:
        return jadfer
    return lambda *args: jadfer(*args, preexec_fn=_give_up_root_powers)


@pytest.mark.slow
def test_unreadable_video(unprivileged, tmp_path, short_clip):
    secret = tmp_path / "secret.mp4"
    shutil.copy(short_clip, secret)
    secret.chmod(0)
    out = tmp_path / "out"
    out.mkdir()
    check(unprivileged("annotate", secret, "-o", out / "c.parquet"), 1, "secret.mp4", "ermission")
    assert list(out.iterdir()) == []


@pytest.mark.slow
def test_read_only_output_folder(unprivileged, tmp_path, short_clip):
    clip = tmp_path / "clip.mp4"
    shutil.copy(short_clip, clip)
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o555)
    result = unprivileged("annotate", clip, "-o", out / "c.parquet")
    check(result, 1, "c.parquet", "Permission denied", "choose another folder")
    assert list(out.iterdir()) == []
