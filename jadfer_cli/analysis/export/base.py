"""What describes one export format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jadfer_cli.analysis.events import EventSet


@dataclass(frozen=True)
class Exporter:
    """One format in which events can be written.

    Attributes:
        name: What --format accepts, in lower case.
        title: The program or standard that the format belongs to.
        suffixes: How the names of its files may end. Files in a folder get the first.
        help: What is written, as a phrase for the help of --format.
        write: Writes the events of some results to a file, atomically. They are those of one
            result unless `many_results`.
        many_results: Whether one file can hold the events of several results.
        chosen_by_suffix: Whether -o with one of the suffixes means this format without --format.
        in_player: Whether programs show the events along with the playing video.
        file_name: The name, in a folder, of the file for a result of the given name; by default
            that name and the first suffix.
        folder: Below the folder of -o, where the file of a result lies, from the result's path and
            its folder below the inputs; by default in the latter.
        describe_folder: Writes what describes the files as a whole into the folder of -o; returns
            the file written, or None.
        sidecars: The files that are written beside a file.
        note: What a user should know about the names of the files written, or None.
    """

    name: str
    title: str
    suffixes: tuple[str, ...]
    help: str
    write: Callable[[Sequence[EventSet], Path], None]
    many_results: bool = False
    chosen_by_suffix: bool = True
    in_player: bool = False
    file_name: Callable[[str], str] | None = None
    folder: Callable[[Path, Path], Path] = lambda _, below: below
    describe_folder: Callable[[Path, Sequence[Path]], Path | None] = lambda *_: None
    sidecars: Callable[[Path], tuple[Path, ...]] = lambda _: ()
    note: Callable[[Sequence[Path]], str | None] = lambda _: None

    def file_name_for(self, result: str) -> str:
        """Return the name, in a folder, of the file for a result of this name."""
        return self.file_name(result) if self.file_name else result + self.suffixes[0]
