"""What human coders wrote: spans of time with a label, from whichever program they used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jadfer_cli.errors import CodesError, OptionError

if TYPE_CHECKING:
    from jadfer_cli.analysis.agreement.elan import TierChoice

# Where the name of a coder comes from.
CODER_SOURCES = ("recorded", "tier", "file", "folder")
ONE_CODER = "coder"  # the name where none is recorded
_SUFFIXES = (".eaf", ".csv", ".tsv", ".txt")


@dataclass(frozen=True)
class Code:
    """One coded span.

    Attributes:
        clip: The clip as the coder's file names it; empty if it names none.
        coder: Who coded it.
        subject: The coded person as the file names them; empty if it names none.
        start_s: Start, in seconds from the first picture of the clip.
        end_s: End.
        label: The coder's own word; empty for a span in which the coder saw nothing to code.
        where: File and line, for messages.
    """

    clip: str
    coder: str
    subject: str
    start_s: float
    end_s: float
    label: str
    where: str

    def __post_init__(self) -> None:
        if not 0 <= self.start_s <= self.end_s < float("inf"):
            raise CodesError(
                f"{self.where}: a code from {self.start_s:g} to {self.end_s:g} s is not a span of "
                "time.",
                "Times are seconds from the start of the clip, and the end is not before the "
                "start.",
            )


@dataclass(frozen=True)
class CodeSet:
    """The codes of one or several files.

    Attributes:
        codes: All spans.
        coded: Clip and coder of everything that was coded, also where nothing was found.
        files: The files that were read.
        notes: What the user should know, such as events without a duration.
    """

    codes: tuple[Code, ...]
    coded: frozenset[tuple[str, str]]
    files: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def coders(self) -> tuple[str, ...]:
        """The names of all coders, sorted."""
        return tuple(sorted({coder for _, coder in self.coded}))

    @property
    def words(self) -> tuple[str, ...]:
        """All labels as the coders wrote them, sorted, without the empty one."""
        return tuple(sorted({code.label for code in self.codes} - {""}))


def read(path: Path, *, coder_from: str = "recorded", tiers: Sequence[str] = ()) -> CodeSet:
    """Read the codes of a file, or of all files in a folder and its subfolders.

    Args:
        path: ELAN (.eaf), an export of BORIS (.csv, .tsv), a table of spans (.csv, .tsv), or a
            folder of such files.
        coder_from: One of CODER_SOURCES: the name recorded in the file (annotator of a tier,
            column `coder`), the name of a tier, of the file, or of its folder.
        tiers: Patterns of the ELAN tiers to read; all by default.

    Raises:
        CodesError: A file is missing, unreadable or of no known kind, or holds no codes.
        OptionError: `coder_from` is unknown.
    """
    from jadfer_cli.analysis.agreement import boris, elan, spans

    if coder_from not in CODER_SOURCES:
        raise OptionError(
            f"`coder_from` must be one of {', '.join(CODER_SOURCES)}, not {coder_from}."
        )
    choice: TierChoice = elan.TierChoice(tuple(tiers), named_by_tier=coder_from == "tier")
    found = []
    for file in _files(path):
        if file.suffix.lower() == ".eaf":
            one = elan.read(file, choice)
        else:
            text = _text(file)
            one = (boris if boris.is_export(text) else spans).read(file, text)
        if coder_from in ("file", "folder"):
            one = _renamed(one, file.stem if coder_from == "file" else file.absolute().parent.name)
        found.append(one)
    joined = CodeSet(
        tuple(code for one in found for code in one.codes),
        frozenset(pair for one in found for pair in one.coded),
        tuple(file for one in found for file in one.files),
        tuple(note for one in found for note in one.notes),
    )
    if not joined.coded:
        raise CodesError(f"{path} holds no codes.", elan.hint(choice))
    _refuse_two_files_of_one_coder(found)
    return joined


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in _SUFFIXES and not file.name.startswith(".")
        )
        if not found:
            raise CodesError(
                f"{path} holds no codes.", f"Files of codes end in {', '.join(_SUFFIXES)}."
            )
        return found
    if not path.is_file():
        raise CodesError(f"There is no file or folder {path} with codes.")
    if path.suffix.lower() not in _SUFFIXES:
        raise CodesError(
            f"{path} is not a file of codes.",
            f"Files of codes end in {', '.join(_SUFFIXES)}: ELAN, BORIS, or a table of spans.",
        )
    return [path]


def _text(path: Path) -> str:
    """The text of a table; Excel writes UTF-16 for "Unicode text" and a mark before UTF-8."""
    try:
        data = path.read_bytes()
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except OSError as error:
        raise CodesError(f"{path} cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise CodesError(
            f"{path} is not UTF-8 text ({error}).", 'In Excel, save as "CSV UTF-8".'
        ) from error


def _renamed(one: CodeSet, coder: str) -> CodeSet:
    return replace(
        one,
        codes=tuple(replace(code, coder=coder) for code in one.codes),
        coded=frozenset((clip, coder) for clip, _ in one.coded),
    )


def _refuse_two_files_of_one_coder(found: Iterable[CodeSet]) -> None:
    """Two codings of a clip by one coder would be read as one; usually two coders are meant.

    Raises:
        CodesError: Two files code the same clip under the same name.
    """
    seen: dict[tuple[str, str], Path] = {}
    for one in found:
        for pair in sorted(one.coded):
            if (before := seen.setdefault(pair, one.files[0])) != one.files[0] and pair[0]:
                clip, coder = pair
                raise CodesError(
                    f"{before} and {one.files[0]} both code {clip} by {coder}.",
                    "If they are of two coders, tell them apart by the folder or the file: "
                    "`coder_from` folder, or `coder_from` file.",
                )
