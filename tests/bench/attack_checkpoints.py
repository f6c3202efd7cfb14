"""Hostile checkpoints through `annotate --model`, `models info`, `models verify` and `doctor`.

A clear error within seconds and below 1 GB; never a row with NaN, never one uniform distribution
for all faces, never a label twice.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pandas as pd
from attack_hostile_checkpoints import Base, Case, cases
from attack_report import Report
from attack_results import make_clip
from attack_runs import Ended, Runner

N, N_QUICK = 150, 10
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
        chosen = [case for case in cases(Base(entry.path), n) if only in case.name]
        for case in chosen:
            one_case(report, runner, case, folder / "case", clip)
            shutil.rmtree(folder / "case")
        registries = _REGISTRIES if n >= N else _REGISTRIES[seed % 3 :: 4]
        for text in registries:
            if only in text:
                _shipped(report, runner, folder / "weights", entry.path, text)
        report.cases = len(chosen) + len(registries)


def one_case(report: Report, runner: Runner, case: Case, folder: Path, clip: Path) -> None:
    """Runs one checkpoint through the commands that read it."""
    folder.mkdir()
    path, out = folder / case.file, folder / "out.parquet"
    case.make(path)
    ended = runner.run("annotate", clip, "-o", out, "--model", path)
    good = report.check(case.name, ended)
    if ended.code == 0:
        if wrong := _wrong_rows(out):
            report.add(case.name, f"rows: {wrong}", ended.command)
        elif case.must_fail:
            report.add(case.name, "a damaged checkpoint is accepted", ended.command)
    elif good:
        _check_message(report, case.name, ended, case.file)
        if out.exists():
            report.add(case.name, "rows although the command failed", ended.command)
    for words in (("models", "info", path), ("models", "verify", path)):
        report.check(case.name, runner.run(*words))


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
