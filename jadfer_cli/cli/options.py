"""Arguments and options that several commands share, each declared once."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jadfer_cli.options import BATCH_CPU, BATCH_GPU, DEVICES

MACHINE_PANEL, OUTPUT_PANEL = "Network and machine", "Output"

ResultsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="RESULT...",
        help="Results of `jadfer annotate`: .parquet files, folders, patterns.",
        show_default=False,
    ),
]
RecursiveOption = Annotated[bool, typer.Option("--recursive", "-r", help="Include subfolders.")]
DeviceOption = Annotated[str, typer.Option(help=f"{DEVICES}.", rich_help_panel=MACHINE_PANEL)]
ThreadsOption = Annotated[
    int | None,
    typer.Option(help="CPU threads; all cores by default.", rich_help_panel=MACHINE_PANEL),
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        help="Faces scored at once.",
        show_default=f"{BATCH_CPU} on a CPU, {BATCH_GPU} on a GPU",
        rich_help_panel=MACHINE_PANEL,
    ),
]
OverwriteOption = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Replace existing output files.", rich_help_panel=OUTPUT_PANEL
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option("--json", help="Print JSON instead of text.", rich_help_panel=OUTPUT_PANEL),
]
QuietOption = Annotated[
    bool,
    typer.Option(
        "--quiet",
        "-q",
        help="Hide progress and notes; warnings and errors are still shown.",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
DebugOption = Annotated[
    bool, typer.Option("--debug", help="Show tracebacks.", rich_help_panel=OUTPUT_PANEL)
]


def out_option(help_text: str, metavar: str = "FILE") -> Any:
    """Declares -o, which names what a command writes.

    Args:
        help_text: What is written, and in which formats.
        metavar: What -o takes.
    """
    return typer.Option(
        "--out",
        "-o",
        metavar=metavar,
        help=help_text,
        show_default=False,
        rich_help_panel=OUTPUT_PANEL,
    )
