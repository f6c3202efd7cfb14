"""What `jadfer annotate` does with its options: one video, or a batch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from jadfer_cli.batch import plan as plans
from jadfer_cli.batch.failures import FAILURES
from jadfer_cli.batch.supervisor import Crew
from jadfer_cli.cli import batch_progress
from jadfer_cli.cli.console import stderr_console
from jadfer_cli.cli.progress import Reporter
from jadfer_cli.cli.tables import show, table, title
from jadfer_cli.common import check_writable
from jadfer_cli.errors import OptionError
from jadfer_cli.options import AnnotateOptions, IfExists
from jadfer_cli.stopping import raise_if_stopped


@dataclass
class Many:
    """Several videos, in worker processes or on a Ray cluster.

    Attributes:
        out: The folder of the results.
        options: Of every video.
        if_exists: What to do where a result exists already.
        jobs: Videos at the same time; None for the default.
        stall_s: Longest time without a frame.
        ray: Hand the videos to a Ray cluster.
        ray_address: Which; None starts one here.
        quiet, log_json: How progress is told.
    """

    out: str
    options: AnnotateOptions
    if_exists: IfExists
    jobs: int | None
    stall_s: float
    ray: bool
    ray_address: str | None
    quiet: bool
    log_json: bool

    def run(self, tasks: list[plans.Task]) -> None:
        """Annotates them and prints what came of it.

        Raises:
            typer.Exit: With 1, if some failed.
            JadferError: The batch had to be stopped.
        """
        if self.if_exists == IfExists.REFUSE:
            _refuse_results([task.target for task in tasks])
        folder = Path(self.out) if plans.is_folder(self.out) else Path(self.out).parent
        check_writable(folder / FAILURES)
        console = stderr_console()
        began = time.monotonic()
        with batch_progress.reporter(
            console, tasks, quiet=self.quiet, log_json=self.log_json
        ) as report:
            try:
                outcome = self._batch(folder / FAILURES, report).run(tasks)
            except KeyboardInterrupt as error:
                if self.if_exists != IfExists.OVERWRITE:
                    error.add_note(
                        "What is finished stays. Run the same command again with --skip-existing: "
                        "it does the rest."
                    )
                raise
        if not (self.quiet or self.log_json):
            seconds = time.monotonic() - began
            show(*batch_progress.summary(outcome, seconds, str(folder / FAILURES)))
        if outcome.stopped is not None:
            raise outcome.stopped
        if outcome.failed:
            raise typer.Exit(1)

    def _batch(self, failures: Path, report: batch_progress.Quiet) -> Crew[Any]:
        from jadfer_cli.batch import local as run
        from jadfer_cli.batch import ray as on_ray

        how: dict[str, Any] = {
            "stall_s": self.stall_s, "if_exists": self.if_exists, "failures": failures,
            "report": report,
        }  # fmt: skip
        if self.ray:
            return on_ray.RayBatch(self.options, address=self.ray_address, jobs=self.jobs, **how)
        return run.Batch(self.options, jobs=self.jobs or 1, **how)


def _refuse_results(targets: list[Path]) -> None:
    there = [target for target in targets if target.exists()]
    if there:
        raise OptionError(
            f"{len(there)} of {len(targets)} results exist already, such as {there[0]}.",
            "--skip-existing keeps those of the same settings, --overwrite makes all anew.",
        )


def show_plan(tasks: list[plans.Task]) -> None:
    """What would be done."""
    rows = [
        [task.video, str(task.target), "exists" if task.target.exists() else ""] for task in tasks
    ]
    show(table(["video", "result", ""], rows), title(f"{len(tasks):,} videos"))


def annotate_one(
    video: str, target: Path, options: AnnotateOptions, report: Reporter, if_exists: IfExists
) -> None:
    """One video, in this process.

    Args:
        video: Its path.
        target: Its result.
        options: All of them.
        report: Told what happens.
        if_exists: As of `Many`.

    Raises:
        JadferError: It cannot be annotated.
    """
    from jadfer_cli.results.paths import landmark_path, sidecar_path
    from jadfer_cli.results.settings import keep
    from jadfer_cli.results.targets import refuse_existing

    # what can be refused is refused before the networks load
    finals = [target, sidecar_path(target)]
    if if_exists != IfExists.SKIP or not target.exists():
        refuse_existing(
            [*finals, *([landmark_path(target)] if options.landmarks else [])],
            overwrite=if_exists == IfExists.OVERWRITE,
        )
    check_writable(target)
    from jadfer_cli.video.timeline import probe, select

    report.stage("reading the timeline")
    info = probe(video)
    select(info, options.video)
    report.stage("loading the networks")
    from jadfer_cli.pipeline.annotator import Annotator
    from jadfer_cli.pipeline.api import annotate_to
    from jadfer_cli.pipeline.flow import Progress
    from jadfer_cli.runtime import keep_freed_memory

    annotator = Annotator(options)
    if if_exists == IfExists.SKIP and target.exists():
        keep(target, video, annotator.metadata())
        report.note(f"{target} is kept: the same settings made it.", kind="hint")
        return
    if annotator.runtime.device == "cpu" and annotator.runtime.engine == "torch":
        keep_freed_memory()
    for warning in annotator.warnings:
        report.note(warning, kind="warning")
    if annotator.hint:
        report.note(annotator.hint, kind="hint")
    report.stage("annotating")

    def progress(p: Progress) -> None:
        raise_if_stopped()
        report.frames(p.stage, p.frames, p.frames_total, p.faces)

    def note(text: str) -> None:
        report.note(text, kind="hint")

    overwrite = if_exists == IfExists.OVERWRITE
    metadata = annotate_to(
        annotator, info, target, overwrite=overwrite, progress=progress, note=note
    )
    for warning in metadata["warnings"]:
        if warning not in annotator.warnings:
            report.note(warning, kind="warning")
    report.done(_summary(target, metadata), metadata)


def check_target(out: str) -> None:
    """For one video -o must be a .parquet file or clearly a folder."""
    path = Path(out)
    if not (out.endswith(("/", "\\")) or path.is_dir() or path.suffix == plans.SUFFIX):
        raise OptionError(
            f"-o {out} does not end in .parquet.",
            "jadfer writes Parquet; name a .parquet file, or a folder with / at its end. "
            "For CSV: pandas.read_parquet(...).to_csv(...).",
        )


def _summary(target: Path, metadata: dict[str, Any]) -> str:
    counts = metadata["counts"]
    frames, without = counts["frames_analysed"], counts["frames_without_face"]
    people = "1 track" if counts["tracks"] == 1 else f"{counts['tracks']} tracks"
    usable = counts["faces_usable"] / counts["faces"] if counts["faces"] else 0
    found = (
        f"faces in {frames - without} of {frames} frames, {people}, {usable:.0%} usable"
        if counts["faces"]
        else f"no face in {frames} frames"
    )
    return f"{target}: {found}; {metadata['frames_per_s']:.1f} frames/s"
