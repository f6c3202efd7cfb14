"""What `jadfer annotate` does with its options: annotate one video, or a batch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from jadfer_cli.analysis.failures import FAILURES
from jadfer_cli.batch import plan as plans
from jadfer_cli.batch.outcome import Reporter
from jadfer_cli.batch.supervisor import Supervisor
from jadfer_cli.cli import batch_progress
from jadfer_cli.cli.console import stderr_console
from jadfer_cli.cli.progress import reporter
from jadfer_cli.cli.tables import show, table, title
from jadfer_cli.common import check_writable
from jadfer_cli.errors import JadferError, ModelError, OptionError
from jadfer_cli.options import AnnotateOptions, IfExists
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
        check_networks(self.options)
        console = stderr_console()
        began = time.monotonic()
        with batch_progress.reporter(
            console, tasks, quiet=self.quiet, log_json=self.log_json
        ) as report:
            note_new_folder(folder, report)
            try:
                outcome = self._supervisor(folder / FAILURES, report).run(tasks)
            except KeyboardInterrupt as error:
                if self.if_exists != IfExists.OVERWRITE:
                    error.add_note(
                        "Finished results are kept. To continue, rerun with --skip-existing."
                    )
                raise
            report.stopped = outcome.stopped is not None
        if not (self.quiet or self.log_json):
            seconds = time.monotonic() - began
            show(*batch_progress.summary(outcome, seconds, str(folder / FAILURES)))
        if outcome.stopped is not None:
            raise outcome.stopped
        if outcome.failed:
            raise typer.Exit(1)

    def _supervisor(self, failures: Path, report: Reporter) -> Supervisor[Any]:
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
    task: plans.Task,
    options: AnnotateOptions,
    if_exists: IfExists,
    *,
    stall_s: float,
    quiet: bool,
    log_json: bool,
    debug: bool,
) -> None:
    """Annotates one video, in a process of its own.

    Args:
        task: The video and its result.
        options: All options.
        if_exists: What to do if the result exists.
        stall_s: Longest time without progress.
        quiet: Print errors only.
        log_json: Print JSON lines.
        debug: Let the output of libraries through.

    Raises:
        JadferError: The video cannot be annotated.
        typer.Exit: The same, if the log in JSON says so already.
    """
    from jadfer_cli.batch.single import SingleRun

    report = reporter(stderr_console(), task, quiet=quiet, log_json=log_json)
    run = SingleRun(options, stall_s=stall_s, if_exists=if_exists, report=report, debug=debug)
    problem = None  # of the video or the machine; a wrong command begins no log
    try:
        run.check(task)
    except OptionError:
        raise
    except JadferError as error:
        problem = error
    check_networks(options)
    with report:
        try:
            if problem is not None:
                raise problem
            note_new_folder(task.target.parent, report)
            run.run(task)
        except JadferError as error:
            if not log_json or isinstance(error, OptionError):
                raise
            report.ended(task, "failed", {"stage": "read"} | error_fields(error))
            raise typer.Exit(error.exit_code) from None


def error_fields(error: JadferError) -> dict[str, Any]:
    """What the log in JSON says about an error of one video."""
    stage = getattr(error, "stage", None)
    fields = {"message": error.message, "hint": error.hint}
    return fields | ({"stage": stage} if stage else {})


def check_networks(options: AnnotateOptions) -> None:
    """Refuses unknown models and detectors at once, rather than when a worker loads them.

    Raises:
        OptionError: There is no such model or detector, or no face landmarker for `actions`.
    """
    from jadfer_cli.expression.checkpoint import find as find_model
    from jadfer_cli.faces.detect import find_weights
    from jadfer_cli.faces.landmarker import check_available as check_landmarker

    try:
        find_model(options.model.model)
        if options.faces.detector != "auto":
            find_weights(options.faces.detector)
        if options.actions:
            check_landmarker()
    except ModelError as error:
        raise OptionError(error.message, error.hint) from error


def note_new_folder(folder: Path, report: Reporter) -> None:
    """Says that the folder of the results is new, because its name may be misspelt."""
    if not folder.exists():
        report.note(f"The folder {folder} does not exist yet; it is created.", kind="hint")


def check_target(out: str) -> None:
    """Checks -o for a single video: a .parquet file, or clearly a folder (see `also`).

    Raises:
        OptionError: It is neither.
    """
    path = Path(out)
    if not (out.endswith(("/", "\\")) or path.is_dir() or path.suffix == plans.SUFFIX):
        raise OptionError(
            f"-o {out} does not end in .parquet or in the ending of another format.",
            "Name a .parquet, .csv, .csv.gz, .tsv, .tsv.gz, .xlsx, .sav or .dta file, or a folder "
            "with / at its end.",
        )
