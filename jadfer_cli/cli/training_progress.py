"""Progress of a training run: a live bar on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from jadfer_cli.common import clock

if TYPE_CHECKING:
    from jadfer_cli.training.options import TrainOptions
    from jadfer_cli.training.state import EpochRecord, StepRecord

_LINE_EVERY_S = 60.0


def figures_line(figures: dict[str, float]) -> str:
    """Validation figures in words; the score that chooses the epoch is left out."""
    return ", ".join(
        f"{name.replace('_', ' ')} {value:.1%}"
        for name, value in figures.items()
        if name != "score"
    )


class TrainingProgress:
    """Shows steps as they go and a line an epoch with the validation figures."""

    def __init__(self, console: Console, options: TrainOptions, *, quiet: bool) -> None:
        self.console, self.options, self.quiet = console, options, quiet
        self._bar: Progress | None = None
        if console.is_terminal and not quiet:
            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(bar_width=20),
                TextColumn("{task.fields[now]}"), console=console, transient=True,
            )  # fmt: skip
            self._task = self._bar.add_task("starting", total=None, now="")
        self._said_s = time.monotonic()
        self._done, self._begun_s = 0, time.monotonic()

    def step(self, record: StepRecord) -> None:
        """Moves the bar, or prints a line now and then."""
        if self.quiet:
            return
        if self._done == 0:
            self._begun_s = time.monotonic()
        self._done += 1
        elapsed = time.monotonic() - self._begun_s
        rate = (self._done - 1) / elapsed if elapsed > 0 and self._done > 1 else 0.0
        left = (self.options.epochs - record.epoch + 1) * record.steps - record.step
        now = (
            f"{record.step}/{record.steps}  loss {record.loss:.3f}  "
            f"train {record.accuracy:.1%}  {rate * self.options.batch_size:.0f} faces/s"
            + (f"  {clock(left / rate)} left" if rate else "")
        )
        description = f"epoch {record.epoch}/{self.options.epochs}"
        if self._bar is not None:
            self._bar.update(
                self._task, description=description, total=record.steps,
                completed=record.step, now=now,
            )  # fmt: skip
        elif time.monotonic() - self._said_s > _LINE_EVERY_S:
            self._said_s = time.monotonic()
            self.console.print(f"{description}: {now}")

    def epoch(self, record: EpochRecord) -> None:
        """Prints the epoch's line."""
        self._said_s = time.monotonic()
        if self.quiet:
            return
        self.console.print(
            f"epoch {record.epoch}/{self.options.epochs}: loss {record.train_loss:.3f}, train "
            f"{record.train_accuracy:.1%}; validation: {figures_line(record.figures)}"
            f"{' (best)' if record.best else ''}; {clock(record.seconds)}"
        )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
