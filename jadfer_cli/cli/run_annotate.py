"""What `jadfer annotate` does with its options: annotate one video, or a batch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from jadfer_cli.batch import plan as plans
from jadfer_cli.batch.failures import FAILURES
from jadfer_cli.batch.supervisor import Supervisor
from jadfer_cli.cli import batch_progress
from jadfer_cli.cli.console import stderr_console
from jadfer_cli.cli.progress import Reporter, result_line
from jadfer_cli.cli.tables import show, table, title
from jadfer_cli.common import check_writable
from jadfer_cli.errors import OptionError
from jadfer_cli.flags import worded
from jadfer_cli.options import AnnotateOptions, IfExists
from jadfer_cli.stopping import raise_if_stopped
from jadfer_cli.text import count_text


@dataclass
class Many:
    """Annotates several videos, in worker processes or on a Ray cluster.

    Attributes:
        out: The folder of the results.
        options: Options for every video.
        if_exists: What to do if a result exists.
        jobs: Videos processed at the same time; None for the default.
        stall_s: Longest time without progress on a video.
        ray: True to use a Ray cluster.
        ray_address: Its address; None starts one on this machine.
        quiet, log_json: How progress is displayed.
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
        """Annotates all tasks and prints a summary.

        Raises:
            typer.Exit: With code 1, if some failed.
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
                outcome = self._supervisor(folder / FAILURES, report).run(tasks)
            except KeyboardInterrupt as error:
                if self.if_exists != IfExists.OVERWRITE:
                    error.add_note(
                        "Finished results are kept. To continue, rerun with --skip-existing."
                    )
                raise
        if not (self.quiet or self.log_json):
            seconds = time.monotonic() - began
            show(*batch_progress.summary(outcome, seconds, str(folder / FAILURES)))
        if outcome.stopped is not None:
            raise outcome.stopped
        if outcome.failed:
            raise typer.Exit(1)

    def _supervisor(self, failures: Path, report: batch_progress.Quiet) -> Supervisor[Any]:
        from jadfer_cli.batch.local import LocalBatch
        from jadfer_cli.batch.ray import RayBatch

        settings: dict[str, Any] = {
            "stall_s": self.stall_s, "if_exists": self.if_exists, "failures": failures,
            "report": report,
        }  # fmt: skip
        if self.ray:
            return RayBatch(self.options, address=self.ray_address, jobs=self.jobs, **settings)
        return LocalBatch(self.options, jobs=self.jobs or 1, **settings)


def _refuse_results(targets: list[Path]) -> None:
    existing = [target for target in targets if target.exists()]
    if existing:
        raise OptionError(
            f"{len(existing)} of {len(targets)} results exist already, such as {existing[0]}.",
            "--skip-existing keeps results made with the same settings; --overwrite redoes all.",
        )


def show_plan(tasks: list[plans.Task]) -> None:
    """Prints what would be done (`--dry-run`)."""
    rows = [
        [task.video, str(task.target), "exists" if task.target.exists() else ""] for task in tasks
    ]
    show(table(["video", "result", ""], rows), title(count_text(len(tasks), "video")))


def annotate_one(
    video: str, target: Path, options: AnnotateOptions, report: Reporter, if_exists: IfExists
) -> None:
    """Annotates one video in this process.

    Args:
        video: Its path.
        target: The result file.
        options: All options.
        report: Displays progress and messages.
        if_exists: What to do if the result exists.

    Raises:
        JadferError: The video cannot be annotated.
    """
    from jadfer_cli.pipeline.file import check_output
    from jadfer_cli.pipeline.progress import Progress
    from jadfer_cli.pipeline.source import open_video
    from jadfer_cli.results.settings import kept_text

    # refuse what can be refused before the networks load
    check_output(target, options, if_exists)
    report.stage("reading the timeline")
    source = open_video(video, options)
    report.stage("loading the networks")
    from jadfer_cli.pipeline.annotator import Annotator

    annotator = Annotator(options)
    for warning in annotator.networks.warnings:
        report.note(worded(warning), kind="warning")
    if annotator.networks.hint:
        report.note(worded(annotator.networks.hint), kind="hint")
    report.stage("annotating")

    def progress(now: Progress) -> None:
        raise_if_stopped()
        report.frames(now.stage, now.frames, now.frames_total, now.faces)

    def note(text: str) -> None:
        report.note(worded(text), kind="hint")

    metadata = annotator.annotate_to(
        source, target, if_exists=if_exists, progress=progress, note=note
    )
    if metadata is None:
        report.note(f"{target} is kept: {kept_text(target)}.", kind="hint")
        return
    for warning in metadata["warnings"]:
        if warning not in annotator.networks.warnings:
            report.note(worded(warning), kind="warning")
    report.done(result_line(target, metadata), metadata)


def check_target(out: str) -> None:
    """Checks -o for a single video: a .parquet file, or clearly a folder.

    Raises:
        OptionError: It is neither.
    """
    path = Path(out)
    if not (out.endswith(("/", "\\")) or path.is_dir() or path.suffix == plans.SUFFIX):
        raise OptionError(
            f"-o {out} does not end in .parquet.",
            "jadfer writes Parquet: name a .parquet file, or a folder with / at its end. "
            "For CSV: pandas.read_parquet(...).to_csv(...).",
        )
