"""Events in the files of the programs that observers work with: where they go, and writing them.

Each format is a module; this one knows which there are, how their files are called and which
of them take several videos in one file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jadfer_cli.analysis.events import EventSet, joined
from jadfer_cli.analysis.export import bids, boris, elan, praat
from jadfer_cli.analysis.tabular import check_target, table_endings, write_table
from jadfer_cli.errors import OptionError
from jadfer_cli.results.load import Result
from jadfer_cli.results.paths import below_inputs


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Attributes:
        name: What --format takes.
        ending: How its files end; one that is named by the user, too.
        together: Whether one file holds several videos.
        name_for: The name of a result's file in a folder.
        write: Writes the events of some results (one, unless `together`) to a file.
        beside: What else is written beside a file.
        in_player: Whether a program shows it beside the playing video.
    """

    name: str
    ending: str
    together: bool
    name_for: Callable[[str], str]
    write: Callable[[Sequence[EventSet], Path], None]
    beside: Callable[[Path], tuple[Path, ...]] = lambda _: ()
    in_player: bool = False

    def check(self, out: Path, *, overwrite: bool) -> None:
        """Checks early that a file and what goes beside it may be written.

        Raises:
            OptionError: The ending is another, or a file exists.
            OutputError: A file is a result's, or cannot be written.
        """
        if not out.name.endswith(self.ending):
            raise OptionError(
                f"-o {out}: a file of --format {self.name} ends in {self.ending}.",
                f"E.g. -o {self.name_for(out.stem)}",
            )
        for path in (out, *self.beside(out)):
            check_target(path, overwrite=overwrite, endings=(path.suffix,))


def _one(write: Callable[[EventSet, Path], None]) -> Callable[[Sequence[EventSet], Path], None]:
    def written(found: Sequence[EventSet], out: Path) -> None:
        (only,) = found
        write(only, out)

    return written


def _table(found: Sequence[EventSet], out: Path) -> None:
    write_table(joined(found), out)


def _table_format(ending: str) -> Format:
    return Format(ending[1:], ending, True, lambda name: f"{name}.events{ending}", _table)


_OURS = [
    Format("eaf", ".eaf", False, lambda name: f"{name}.eaf", _one(elan.write), in_player=True),
    Format("textgrid", ".TextGrid", False, lambda name: f"{name}.TextGrid", _one(praat.write),
           in_player=True),
    Format("boris", ".csv", True, lambda name: f"{name}_boris.csv", boris.write, in_player=True),
    Format("bids", "_events.tsv", False, bids.file_name, _one(bids.write),
           lambda out: (bids.sidecar(out),)),
]  # fmt: skip
# clip.json is the sidecar of clip.parquet, so a table beside them is called clip.events.json
_TABLES = [_table_format(ending) for ending in table_endings()]
FORMATS = {kind.name: kind for kind in (*_TABLES, *_OURS)}


def named(name: str) -> Format:
    """The format that --format names.

    Raises:
        OptionError: There is no such format.
    """
    if name.lower() not in FORMATS:
        raise OptionError(
            f"--format must be one of {', '.join(FORMATS)}, not {name}.",
            "ELAN reads eaf, Praat textgrid.",
        )
    return FORMATS[name.lower()]


def meant_by(out: Path) -> Format:
    """The format that the ending of -o means.

    Raises:
        OptionError: The ending says nothing.
    """
    if is_folder(out):
        raise OptionError(
            f"-o {out} is a folder: which format its files have must be said.",
            f"Add --format and one of {', '.join(FORMATS)}.",
        )
    meant = {kind.ending: kind for kind in (*_OURS[:2], *_TABLES)}
    if out.suffix not in meant:
        raise OptionError(
            f"-o {out}: the format follows from the ending, and {out.suffix or 'none'} is unknown.",
            f"Known are {', '.join(meant)}; others by --format bids or boris.",
        )
    return meant[out.suffix]


def is_folder(out: Path) -> bool:
    """Whether -o means a folder: it is one, or has no ending."""
    return out.is_dir() or not out.suffix


def places(
    results: Sequence[Result], inputs: Sequence[str], out: Path, kind: Format
) -> dict[Path, list[Result]]:
    """Which results go into which file.

    Args:
        results: At least one.
        inputs: As given by the user; below a folder among them the tree is kept.
        out: The file or folder of -o.
        kind: The format.

    Raises:
        OptionError: Several results for one file that cannot hold them, or two for one name.
    """
    if not is_folder(out):
        if len(results) > 1 and not kind.together:
            raise OptionError(
                f"{len(results)} results cannot go into {out}: a file of --format {kind.name} is "
                "about one video.",
                f"Name a folder: -o {out.stem}/ --format {kind.name}",
            )
        return {out: list(results)}
    found: dict[Path, list[Result]] = {}
    for result in results:
        below = below_inputs(result.path, inputs)
        path = out / below.parent / kind.name_for(result.name)
        if path in found:
            raise OptionError(
                f"{found[path][0].path} and {result.path} would both be written to {path}.",
                "Name the folder that holds both, with -r, and their subfolders are kept.",
            )
        found[path] = [result]
    return found
