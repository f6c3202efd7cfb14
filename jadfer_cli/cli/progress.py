"""Displays the progress of one video: a live bar, plain lines in a log, or JSON lines."""

from __future__ import annotations

import time
from pathlib import Path, PurePath
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from jadfer_cli.cli.console import write_json_line
from jadfer_cli.common import clock

# Plain lines are at least this far apart, so that the log of a night stays readable.
_LINE_EVERY_S = 10.0


class Reporter(Protocol):
    """Displays what happens to one video."""

    def stage(self, text: str) -> None:
        """Shows that a stage without a count begins, such as loading."""

    def frames(self, stage: str, done: int, total: int, faces: int) -> None:
        """Shows how many frames are done."""

    def note(self, text: str, *, kind: str) -> None:
        """Shows a message for the user; kind is "hint" or "warning"."""

    def done(self, text: str, metadata: dict[str, Any]) -> None:
        """Shows that the result has been written."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class _Silent:
    """Shows nothing (`--quiet`); the base of the others."""

    def stage(self, text: str) -> None:
        pass

    def frames(self, stage: str, done: int, total: int, faces: int) -> None:
        pass

    def note(self, text: str, *, kind: str) -> None:
        pass

    def done(self, text: str, metadata: dict[str, Any]) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


class Lines(_Silent):
    """Plain lines, for logs and pipes."""

    def __init__(self, console: Console, video: str) -> None:
        self.console, self.video = console, video
        self._began_s = self._printed_s = time.monotonic()
        self._earlier = 0  # frames that an earlier run analysed

    def stage(self, text: str) -> None:
        """Prints the stage."""
        self.console.print(f"{escape(self.video)}: {text}")
        self._began_s = self._printed_s = time.monotonic()

    def frames(self, stage: str, done: int, total: int, faces: int) -> None:
        """Prints a line from time to time, and after the last frame."""
        now = time.monotonic()
        if stage == "resuming":
            self._earlier, self._began_s = done, now
        if now - self._printed_s < _LINE_EVERY_S and (done < total or stage != "annotating"):
            return
        self._printed_s = now
        rate = (done - self._earlier) / max(now - self._began_s, 1e-9)
        left = (total - done) / max(rate, 1e-9)
        self.console.print(
            f"{escape(self.video)}: {stage}, {done}/{total} frames ({done / total:.0%}), "
            f"{rate:.1f} frames/s, {faces} faces, {clock(left)} left"
        )

    def note(self, text: str, *, kind: str) -> None:
        """Prints a hint or a warning."""
        self.console.print(f"{kind.capitalize()}: {escape(text)}")

    def done(self, text: str, metadata: dict[str, Any]) -> None:
        """Prints the summary."""
        self.console.print(escape(text))


class Bar(_Silent):
    """A live bar: stage, frames, rate, faces, time left."""

    def __init__(self, console: Console, video: str) -> None:
        self.console = console
        name = PurePath(video).name
        name = name if len(name) <= 32 else "…" + name[-31:]
        self._bar = Progress(
            TextColumn("{task.description}"),
            TextColumn(escape(name), style="bold"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=None, count="")
        self._began_s = 0.0
        self._earlier = 0  # frames that an earlier run analysed

    def stage(self, text: str) -> None:
        """Shows the stage without a count."""
        self._bar.update(self._task, description=text)

    def frames(self, stage: str, done: int, total: int, faces: int) -> None:
        """Moves the bar."""
        now = time.monotonic()
        self._began_s = self._began_s or now
        if stage == "resuming":
            self._earlier, self._began_s = done, now
        elapsed = now - self._began_s
        rate = f"  {(done - self._earlier) / elapsed:.1f} frames/s" if elapsed > 0.5 else ""
        count = f"{done}/{total} frames{rate}  {faces} faces"
        self._bar.update(self._task, description=stage, total=total, completed=done, count=count)

    def note(self, text: str, *, kind: str) -> None:
        """Prints a hint or a warning above the bar."""
        style = "yellow" if kind == "warning" else "cyan"
        self._bar.console.print(f"[{style}]{kind.capitalize()}:[/] {escape(text)}")

    def done(self, text: str, metadata: dict[str, Any]) -> None:
        """Prints the summary."""
        self._bar.console.print(f"[green]✓[/] {escape(text)}")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()


class JsonLines(_Silent):
    """One JSON object per line on stderr, for programs."""

    def __init__(self, console: Console, video: str) -> None:
        self.console, self.video = console, video
        self._printed_s = float("-inf")

    def _event(self, event: str, **fields: Any) -> None:
        line = {"event": event, "time": round(time.time(), 3), "video": self.video, **fields}
        write_json_line(line, self.console.file)

    def stage(self, text: str) -> None:
        """Event `stage`."""
        self._event("stage", stage=text)

    def frames(self, stage: str, done: int, total: int, faces: int) -> None:
        """Event `progress`, at most once per second."""
        now = time.monotonic()
        if now - self._printed_s >= 1 or (done == total and stage == "annotating"):
            self._printed_s = now
            self._event("progress", stage=stage, frames=done, frames_total=total, faces=faces)

    def note(self, text: str, *, kind: str) -> None:
        """Event `hint` or `warning`."""
        self._event(kind, message=text)

    def done(self, text: str, metadata: dict[str, Any]) -> None:
        """Event `done`."""
        self._event("done", message=text, counts=metadata["counts"], wall_s=metadata["wall_s"])


def reporter(console: Console, video: str, *, quiet: bool, log_json: bool) -> Reporter:
    """Returns the reporter that suits the options and the terminal."""
    if log_json:
        return JsonLines(console, video)
    if quiet:
        return _Silent()
    return Bar(console, video) if console.is_terminal else Lines(console, video)


def result_line(target: Path, metadata: dict[str, Any]) -> str:
    """Summarises one result in one line.

    Args:
        target: The result file.
        metadata: Its metadata; `counts` and `wall_s` suffice.
    """
    counts = metadata["counts"]
    frames, faces = counts["frames_analysed"], counts["faces"]
    with_face = frames - counts["frames_without_face"]
    tracks = "1 track" if counts["tracks"] == 1 else f"{counts['tracks']} tracks"
    found = (
        f"faces in {with_face} of {frames} frames, {tracks}, "
        f"{counts['faces_usable'] / faces:.0%} usable"
        if faces
        else f"no face in {frames} frames"
    )
    return f"{target}: {found}; {frames / max(metadata['wall_s'], 1e-9):.1f} frames/s"
