"""Hostile checkpoints through `annotate --model`, `models info`, `models verify` and `doctor`.

A clear error within seconds and below 1 GB; never a row with NaN, never one uniform distribution
for all faces, never a label twice.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import hostile_checkpoints
import pandas as pd
from attack_report import Report
from attack_results import make_clip
from attack_runs import Ended, Runner

N, N_QUICK = 200, 12
_LIMIT_S, _LIMIT_MB = 15.0, 1000.0
# doctor and models look at the shipped weights; these are others
_SHIPPED = """
from pathlib import Path
from jadfer_cli.expression import checkpoint
checkpoint.weights_dir = lambda: Path({!r})
"""
_REGISTRIES = (
    "", "[]", "null", "{}", '{"default": "a", "models": {}}', '{"default": 1, "models": []}',
    '{"default": "a", "models": {"a": null}}', '{"default": "a", "models": {"a": {"file": 7}}}',
    "[" * 100_000, '{"default": "\\u001b]52;c;x\\u0007", "models": {"\\u001b]52;c;x\\u0007": 1}}',
)  # fmt: skip
# Names of files that are no checkpoint, or not even a file, and what makes them.
_FILES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a folder": ("m.safetensors", Path.mkdir), "a FIFO": ("m.safetensors", os.mkfifo),
    "a link to itself": ("m.safetensors", lambda p: p.symlink_to(p.name)),
    "a link to /dev/zero": ("m.safetensors", lambda p: p.symlink_to("/dev/zero")),
    "8 GB of nothing": ("m.safetensors", lambda p: (p.touch(), os.truncate(p, 8 << 30))),
    "named with escapes": (f"{hostile_checkpoints.ESCAPE}.safetensors",
                           lambda p: p.write_bytes(b"x")),
}  # fmt: skip


def attack(
    report: Report, demo: Path, *, n: int, seed: int, only: str = "", clips: Path | None = None
) -> None:
    """Runs all cases."""
    from jadfer_cli.expression.checkpoint import registry

    entry = next(iter(registry().values()))
    runner = Runner(limit_s=_LIMIT_S, limit_mb=_LIMIT_MB)
    with tempfile.TemporaryDirectory(prefix="attack-") as name, runner:
        folder = Path(name)
        clip = make_clip(demo, folder / "clip.mp4", slice(50, 56))
        good = runner.run("annotate", clip, "-o", folder / "good.parquet", limit_s=120)
        report.figures["the shipped one"] = f"{good.seconds:.1f} s, {good.peak_mb:.0f} MB"
        chosen = cases(n, seed)
        for case, (file, make) in chosen.items():
            if only in case and not report.over:
                report.cases += 1
                one_case(report, runner, case, folder / "case" / file, make, clip)
        registries = _REGISTRIES if n >= len(hostile_checkpoints.KINDS) else _REGISTRIES[1::4]
        for text in registries:
            if only in text:
                report.cases += 1
                _shipped(report, runner, folder / "weights", entry.path, text)


def cases(n: int, seed: int) -> dict[str, tuple[str, Callable[[Path], object]]]:
    """`n` cases by name: file name and maker; an even selection if there are more kinds."""
    n_files = min(len(_FILES), max(n // 6, 1))
    n_made = max(n - n_files, len(hostile_checkpoints.KINDS))
    made = list(hostile_checkpoints.make(n_made, seed * 1_000_000))
    step = n_made / (n - n_files)
    made = [made[int((i + (seed % 97) / 97) * step)] for i in range(n - n_files)]
    chosen = {name: ("m.safetensors", lambda p, b=data: p.write_bytes(b)) for name, data in made}
    return {**chosen, **dict(list(_FILES.items())[:n_files])}


def one_case(
    report: Report, runner: Runner, case: str, path: Path, make: Callable[[Path], object],
    clip: Path,
) -> None:  # fmt: skip
    """Runs one checkpoint through the commands that read it; none may take it for good."""
    path.parent.mkdir()
    out = path.with_name("out.parquet")
    make(path)
    ended = runner.run("annotate", clip, "-o", out, "--model", path)
    good = report.check(case, ended)
    if ended.code == 0:
        wrong = _wrong_rows(out)
        report.add(case, "a damaged checkpoint is accepted", ended.command, wrong)
    elif good:
        _check_message(report, case, ended, path.name)
        if out.exists():
            report.add(case, "rows although the command failed", ended.command)
    for words in (("models", "info", path), ("models", "verify", path)):
        report.check(case, runner.run(*words))
    shutil.rmtree(path.parent)


def _check_message(report: Report, case: str, ended: Ended, file: str) -> None:
    """An error names the file, unless its name cannot be printed."""
    if file.isprintable() and file not in ended.error_text:
        report.add(case, "the message does not name the file", ended.command, ended.error_text)
    if len(ended.err) > 20_000:
        report.add(case, "a message longer than 20,000 bytes", ended.command)


def _wrong_rows(out: Path) -> str:
    rows = pd.read_parquet(out)
    labels = rows.attrs["jadfer"]["labels"]
    faces = rows[rows["face_detected"]]
    p = faces[[f"p_{label}" for label in labels]]
    if len(set(labels)) != len(labels):
        return "a label twice"
    if not len(faces):
        return "no face in a clip with a face"
    if p.isna().any(axis=None) or faces[["p_max", "entropy"]].isna().any(axis=None):
        return "NaN"
    if ((p.sum(axis=1) - 1).abs() > 1e-3).any():
        return "probabilities do not sum to 1"
    return (
        "the same probability for every label"
        if (p.max(axis=1) - p.min(axis=1) < 1e-4).all()
        else ""
    )


def _shipped(report: Report, runner: Runner, folder: Path, weights: Path, text: str) -> None:
    """Replaces the registry of the shipped weights."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(weights, folder)
    (folder / "registry.json").write_text(text)
    setup, case = _SHIPPED.format(str(folder)), f"registry {text[:40]!r}"
    for words in (("models", "list"), ("models", "verify"), ("doctor",), ("doctor", "--json")):
        ended = runner.run(*words, setup=setup, limit_s=4 * _LIMIT_S)
        if words[0] == "doctor" and ended.code == 1 and not ended.stopped:
            # doctor reports problems on stdout
            report.runs += 1
            if b"bug in jadfer" in ended.out + ended.err:
                report.add(case, "traceback or 'bug in jadfer'", ended.command, ended.error_text)
        else:
            report.check(case, ended)
