"""The options that say what coders' files mean, for the commands that read them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from jadfer_cli.analysis.agreement.study import Material
    from jadfer_cli.analysis.event_rule import Rule
    from jadfer_cli.results.load import Result

CODES_PANEL = "What the codes mean"


def code_option(help_text: str, *names: str, **settings: Any) -> Any:
    """Return an option that is listed under "What the codes mean"."""
    settings.setdefault("show_default", False)
    return typer.Option(*names, help=help_text, rich_help_panel=CODES_PANEL, **settings)


CodesArgument = Annotated[
    Path,
    typer.Argument(
        metavar="CODES",
        help="What coders wrote: .eaf of ELAN, .csv or .tsv (BORIS, or spans), or a folder.",
        show_default=False,
    ),
]
MapOption = Annotated[
    list[str] | None,
    code_option(
        'What a code stands for: "smile=happiness", "negative=anger+disgust", "off screen=-" for '
        "time not judged; or a table with the columns code and expression. May be repeated.",
        "--map",
        metavar="CODE=EXPRESSION|FILE",
    ),
]
UncodedOption = Annotated[
    str | None,
    code_option(
        "What time without a code means: neutral, or missing (not judged). Needed if nobody coded "
        "neutral.",
        "--uncoded",
        metavar="neutral|missing",
    ),
]
CoderOption = Annotated[
    str,
    code_option(
        "Where a coder's name comes from: recorded (annotator, or column coder), tier, file or "
        "folder.",
        "--coder-from",
        show_default=True,
    ),
]
TierOption = Annotated[
    list[str] | None,
    code_option(
        "Read only these ELAN tiers; * stands for any letters. May be repeated.",
        "--tier",
        metavar="NAME",
    ),
]
ParticipantsOption = Annotated[
    Path | None,
    code_option(
        "A table (.csv, .tsv) with one row per clip: clip, participant, and columns for --by.",
        "--participants",
        metavar="FILE",
    ),
]
AllFacesOption = Annotated[
    bool, typer.Option("--all-faces", help="Also count faces that are not usable.")
]


def material(
    results: list[Result],
    codes: Path,
    given: list[str] | None,
    *,
    uncoded: str | None,
    coder_from: str,
    tiers: list[str] | None,
    rule: Rule,
    step: float | None = None,
) -> Material:
    """Read the codes and bring them together with the results.

    Raises:
        JadferError: As `files.read`, `vocabulary.read_map` and `study.gather` do.
    """
    from jadfer_cli.analysis.agreement import files, study, vocabulary
    from jadfer_cli.analysis.agreement.ratings import Rules
    from jadfer_cli.errors import OptionError

    if step is not None and not 0.001 <= step <= 60:
        raise OptionError(f"--step takes seconds, from 0.001 to 60, not {step:g}.")
    words = vocabulary.read_map(given or [])
    found = files.read(codes, coder_from=coder_from, tiers=tiers or [])
    return study.gather(results, found, words, uncoded=uncoded, rules=Rules(False, rule, step))
