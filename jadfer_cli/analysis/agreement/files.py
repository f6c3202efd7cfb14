"""Reads the files of coders: of each program by its own module, and folders of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from jadfer_cli.analysis.agreement import boris, elan, spans
from jadfer_cli.analysis.agreement.codes import CodeSet
from jadfer_cli.errors import CodesError, OptionError

# Where the name of a coder comes from.
CODER_SOURCES = ("recorded", "tier", "file", "folder")
_SUFFIXES = (".eaf", ".csv", ".tsv", ".txt")


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
    if coder_from not in CODER_SOURCES:
        raise OptionError(
            f"`coder_from` must be one of {', '.join(CODER_SOURCES)}, not {coder_from}."
        )
    choice = elan.TierChoice(tuple(tiers), named_by_tier=coder_from == "tier")
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
