"""`jadfer convert`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jadfer_cli.cli import options as shared
from jadfer_cli.cli import reading
from jadfer_cli.cli.commands import RESULTS_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_note
from jadfer_cli.cli.table_options import BomOption, DecimalOption, text_style
from jadfer_cli.errors import OptionError
from jadfer_cli.results.paths import below_inputs
from jadfer_cli.text import count_text

if TYPE_CHECKING:
    from jadfer_cli.analysis.convert import Conversion
    from jadfer_cli.analysis.formats.base import TextStyle
    from jadfer_cli.analysis.formats.other_tools import Tool

PANEL = RESULTS_PANEL
HELP = """Convert results for Excel, SPSS, Stata, R, or scripts of other tools.

The ending of -o decides the format: .csv, .csv.gz, .tsv, .tsv.gz, .xlsx (Excel), .sav (SPSS) or \
.dta (Stata). For several results, -o is a folder that mirrors theirs, and --format names the \
format. Rows, types and missing values stay the same. A JSON sidecar explains the columns.

Facial actions (jadfer annotate --actions) become a file of their own: clip.actions.csv beside \
clip.csv.

In .sav and .dta, every variable has a label. Categories and truth values are codes with value \
labels; expression 0 is the first label of the model. Excel, SPSS and Stata need an extra: \
pip install 'jadfer-cli\\[office]'.

In .csv, a text that a spreadsheet would run as a formula begins with an apostrophe. Numbers have \
a point, unless --decimal says otherwise.

--columns pyfeat and --columns openface write the names, units and signs of those tools. What they \
have and jadfer lacks is left out, and a note says so.

Examples:

  jadfer convert clip.parquet -o clip.xlsx

  jadfer convert clip.parquet -o clip.csv --bom --decimal ,

  jadfer convert results/ -r -o spss/ --format sav

  jadfer convert clip.parquet -o clip.csv --columns openface
"""

_OutOption = Annotated[
    str,
    shared.out_option("The file for one result, or a folder for many.", metavar="FILE|FOLDER"),
]
_FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="In a folder: csv, csv.gz, tsv, tsv.gz, xlsx, sav or dta.",
        show_default="by the ending of -o",
        rich_help_panel=shared.OUTPUT_PANEL,
    ),
]
_ColumnsOption = Annotated[
    str,
    typer.Option(
        help="jadfer, pyfeat or openface: whose names, units and signs the columns have.",
        rich_help_panel=shared.OUTPUT_PANEL,
    ),
]


def convert(
    inputs: shared.ResultsArgument,
    out: _OutOption,
    recursive: shared.RecursiveOption = False,
    format_name: _FormatOption = None,
    columns: _ColumnsOption = "jadfer",
    bom: BomOption = False,
    decimal: DecimalOption = ".",
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Convert results for other programs."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis.formats.other_tools import tool_named
        from jadfer_cli.analysis.tabular import FORMATS

        tool = None if columns == "jadfer" else tool_named(columns)
        style = text_style(bom=bom, decimal=decimal)
        plan = _plan(inputs, out, format_name, tool, style, recursive=recursive)
        for each in plan:
            each.check(overwrite=overwrite, endings=tuple(FORMATS))
            each.check_rows()
        for each in reading.each(plan, "converting", quiet=quiet):
            n_rows = each.run()
            reading.wrote(each.out, count_text(n_rows, "row"), quiet=quiet)
            if each.actions:
                reading.wrote(each.actions.out, "its facial actions", quiet=quiet)
        if tool and not quiet:
            print_note(f"Note: Columns as in {tool.title}. {tool.lacks}")


def _plan(
    inputs: list[str],
    out: str,
    format_name: str | None,
    tool: Tool | None,
    style: TextStyle,
    *,
    recursive: bool,
) -> list[Conversion]:
    """The files to convert, with their outputs.

    Raises:
        OptionError: The format is unknown or missing, or two results would have one output.
        ResultError: No result was found.
    """
    from jadfer_cli.analysis.convert import Conversion
    from jadfer_cli.analysis.find import find_results
    from jadfer_cli.analysis.tabular import FORMATS, ending_named, ending_of
    from jadfer_cli.results.members import is_collected

    ending = None if format_name is None else ending_named(format_name)
    single = len(inputs) == 1 and Path(inputs[0]).is_file()
    is_folder = out.endswith(("/", "\\")) or Path(out).is_dir() or not Path(out).suffix
    if not is_folder:
        if not single:
            raise OptionError(
                f"-o {out} names one file, but there may be several results.",
                "Name a folder with / at its end, and add --format; or use `jadfer collect`.",
            )
        if ending is not None and ending_of(Path(out)) != ending:
            raise OptionError(f"-o {out} does not end in {ending}, but --format is {format_name}.")
        if not is_collected(Path(inputs[0])):
            find_results(inputs)  # raises the error that explains what is wrong with the file
        return [Conversion(Path(inputs[0]), Path(out), tool, style)]
    if ending is None:
        raise OptionError(
            f"-o {out} is a folder, so the format of its files is unknown.",
            f"Add --format and one of {', '.join(e[1:] for e in FORMATS)}.",
        )
    if single and is_collected(Path(inputs[0])):
        paths = [Path(inputs[0])]
    else:
        paths = [r.path for r in reading.found(inputs, recursive=recursive, datasets=False).results]
    found: dict[Path, Conversion] = {}
    for path in paths:
        target = Path(out) / below_inputs(path, inputs)
        target = target.with_name(target.name.removesuffix(".parquet") + ending)
        if target in found:
            raise OptionError(
                f"{found[target].path} and {path} would both be written to {target}.",
                "Name the folder that holds both, with -r; its subfolders are kept apart.",
            )
        found[target] = Conversion(path, target, tool, style)
    return list(found.values())
