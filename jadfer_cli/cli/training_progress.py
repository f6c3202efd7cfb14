"""Shows training and evaluation: a live bar on a terminal, plain lines in a log."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jadfer_cli.common import clock
from jadfer_cli.stopping import raise_if_stopped
from jadfer_cli.training.reporting import Reporter, figures_line

if TYPE_CHECKING:
    from jadfer_cli.training.options import TrainOptions
    from jadfer_cli.training.state import EpochRecord, StepRecord

_LINE_EVERY_S = 60.0


class ConsoleReporter(Reporter):
    """Prints notes, warnings and progress; only warnings if quiet."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self.console, self.quiet = console, quiet

    def say(self, text: str) -> None:
        """Prints a note."""
        if not self.quiet:
            self.console.print(escape(text))

    def warn(self, text: str) -> None:
        """Prints a warning, also if quiet."""
        self.console.print(escape(f"Warning: {text}"))

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Shows a transient bar on a terminal, one line in a log."""
        if self.quiet or not self.console.is_terminal:
            self.say(f"{what} ...")
            yield lambda done: raise_if_stopped()
            return
        with Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
            TimeRemainingColumn(compact=True), TextColumn("left"), console=self.console,
            transient=True,
        ) as bar:  # fmt: skip
            task = bar.add_task(escape(what), total=total)

            def count(done: int) -> None:
                raise_if_stopped()
                bar.update(task, completed=done)

            yield count


class TrainingProgress:
    """Shows each step, and one line per epoch with the validation figures."""

    def __init__(
        self, console: Console, options: TrainOptions, n_valid: int, *, quiet: bool
    ) -> None:
        self.console, self.options, self.quiet = console, options, quiet
        self.n_valid = n_valid
        self._bar: Progress | None = None
        if console.is_terminal and not quiet:
            self._bar = Progress(
                TextColumn("{task.description}"), BarColumn(bar_width=20),
                TextColumn("{task.fields[now]}"), console=console, transient=True,
            )  # fmt: skip
            self._task = self._bar.add_task("starting", total=None, now="")
        self._printed_s = time.monotonic()
        self._done, self._begun_s = 0, time.monotonic()

    def step(self, record: StepRecord) -> None:
        """Moves the bar, or prints a line from time to time."""
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
        elif time.monotonic() - self._printed_s > _LINE_EVERY_S:
            self._printed_s = time.monotonic()
            self.console.print(f"{description}: {now}")

    def resume(self, records: list[EpochRecord]) -> None:
        """Says what an earlier run has done; its epochs are in the log."""
        if self.quiet or not records:
            return
        done, total = len(records), self.options.epochs
        best = max(record.epoch for record in records if record.best)
        last = records[-1]
        then = (
            "nothing is left to train"
            if done >= total
            else f"continuing with epoch {done + 1} of {total}"
        )
        self.console.print(
            f"resumed: {done} of {total} epochs were trained earlier (the best: {best}; "
            f"epoch {last.epoch}: loss {last.train_loss:.3f}); {then}"
        )

    def epoch(self, record: EpochRecord) -> None:
        """Prints the epoch's line."""
        self._printed_s = time.monotonic()
        if self.quiet:
            return
        self.console.print(
            f"epoch {record.epoch}/{self.options.epochs}: loss {record.train_loss:.3f}, train "
            f"{record.train_accuracy:.1%}; validation "
            f"(n = {self.n_valid:,}): {figures_line(record.figures)}"
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


@contextmanager
def stop_at_a_step(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM end the run after a saved step; a second one ends it at once."""
    wanted = False

    def handler(number: int, _: Any) -> None:
        nonlocal wanted
        if wanted:
            raise KeyboardInterrupt
        wanted = True
        with suppress(RuntimeError):  # the signal interrupted a write to the same stream
            say("Stopping after this step; press again to stop at once and lose unsaved steps.")

    before = {n: signal.signal(n, handler) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: wanted
    finally:
        for number, old in before.items():
            signal.signal(number, old)
