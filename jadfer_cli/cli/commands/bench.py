"""`jadfer bench`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from jadfer_cli.cli import options as shared
from jadfer_cli.cli.commands import INSTALLATION_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, stderr_console
from jadfer_cli.cli.tables import show, table, title
from jadfer_cli.common import atomic_write, check_writable
from jadfer_cli.errors import OptionError
from jadfer_cli.stopping import raise_if_stopped
from jadfer_cli.text import json_text

PANEL = INSTALLATION_PANEL
RUNS_WITHOUT_ARGUMENTS = True
HELP = """Measure how fast this machine annotates a video.

After a warm-up, the clip is annotated --repeats times, as `jadfer annotate` does it. Then each \
stage is timed in isolation, again --repeats times. The time to load the networks is \
measured separately.

With --against, a second configuration is run in turn with the first one (A B A B). A busy machine \
slows down both alike, so compare them by the ratio of their speeds.

The upper bound is the speed if all cores were always busy. The pipeline efficiency is the part of \
it that the complete run reaches.

Unlike `jadfer annotate --stall`, nothing limits the time without progress. If a damaged video \
makes the command hang, end it, with `kill` if Ctrl-C has no effect.

Examples:

  jadfer bench

  jadfer bench clip.mp4 --json bench.json

  jadfer bench clip.mp4 --set redetect=0 --against redetect=0.3

  jadfer bench clip.mp4 --against precision=bf16 --against threads=1
"""

_RUNS_PANEL = "What is measured"


def _runs_option(help_text: str, *names: str, **settings: Any) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=_RUNS_PANEL, **settings)


_ClipArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[CLIP]",
        help="A video; by default a generated one with one face.",
        show_default=False,
    ),
]
_SetOption = Annotated[
    list[str] | None,
    _runs_option(
        "An option of `jadfer annotate`, such as detection-size=416; may be repeated.",
        "--set",
        metavar="KEY=VALUE",
        show_default=False,
    ),
]
_AgainstOption = Annotated[
    list[str] | None,
    _runs_option(
        "An option of a second configuration, in addition to --set; may be repeated.",
        metavar="KEY=VALUE",
        show_default=False,
    ),
]
_RepeatsOption = Annotated[int, _runs_option("Runs of each configuration.", min=1)]
_FramesOption = Annotated[
    int | None,
    _runs_option(
        "Repeat the clip end to end until it has this many frames.", min=1, show_default=False
    ),
]
_JsonFileOption = Annotated[
    Path | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Write all figures to this file.",
        show_default=False,
        rich_help_panel=shared.OUTPUT_PANEL,
    ),
]


def bench(
    clip: _ClipArgument = None,
    settings: _SetOption = None,
    against: _AgainstOption = None,
    repeats: _RepeatsOption = 5,
    frames: _FramesOption = None,
    json_file: _JsonFileOption = None,
    debug: shared.DebugOption = False,
) -> None:
    """Measure the speed of this machine."""
    with errors_as_exit_codes(debug=debug):
        if json_file is not None:
            check_writable(json_file)
        from jadfer_cli.installation.bench import Configuration
        from jadfer_cli.installation.bench_options import options_from, resolved

        base = options_from(settings or [])
        configurations = [Configuration("A" if against else "jadfer", base)]
        if against:
            configurations.append(Configuration("B", options_from(against, base)))
            if resolved(configurations[1].options) == resolved(base):
                raise OptionError("--against changes nothing; there is nothing to compare.")
        found = _measure(clip, configurations, repeats, frames)
        if json_file is not None:
            with atomic_write(json_file) as part:
                part.write_text(json_text(found, indent=1) + "\n", "utf-8", newline="\n")
        _print(found, settings or [], against or [])


def _measure(
    clip: str | None, configurations: list[Any], repeats: int, frames: int | None
) -> dict[str, Any]:
    """Prepares the clip, and shows what is being measured."""
    from jadfer_cli.installation.bench import measure
    from jadfer_cli.installation.samples import sample_clip
    from jadfer_cli.video.repeat import repeat

    console = stderr_console()
    with (
        tempfile.TemporaryDirectory(prefix="jadfer-bench-") as folder,
        console.status("starting") as status,
    ):

        def on_step(text: str) -> None:
            raise_if_stopped()
            status.update(text)
            if not console.is_terminal:
                console.print(text)

        video = clip or str(sample_clip(Path(folder)))
        name = Path(video).name
        if frames is not None:
            on_step(f"repeating the clip to {frames} frames")
            repeated = Path(folder) / "repeated.mkv"
            repeat(video, repeated, frames)
            video = str(repeated)
        return measure(video, configurations, repeats, on_step) | {"clip": name}


def _print(found: dict[str, Any], settings: list[str], against: list[str]) -> None:
    sides = found["sides"]
    names = ["", *(side["name"] for side in sides)]
    first = sides[0]
    memory = found["peak_memory_mb"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    show(
        title(
            f"{found['clip']}: {found['frames']:,} frames, {found['width_px']}x"
            f"{found['height_px']} px, {found['fps']:g} per second; {first['frames']:,} analysed, "
            f"{first['faces']:,} faces found"
        ),
        table(names, _speed_rows(sides)),
        title("Each stage alone: ms per frame (core-ms per frame)"),
        table(names, _stage_rows(sides)),
        title("Setup"),
        table(names if len(sides) > 1 else [], _setup_rows(sides, settings, against)),
        table(
            [],
            [
                ["peak memory", f"{memory:.0f} MB" if memory else "not measured on Windows"],
                ["versions", versions],
            ],
        ),
    )


def _speed_rows(sides: list[dict[str, Any]]) -> list[list[str]]:
    rows = [
        ["frames/s (median)", *(f"{s['frames_per_s']:.1f}" for s in sides)],
        ["  slowest to fastest run", *(_span(s["frames_per_s_runs"]) for s in sides)],
        ["times real time", *(f"{s['times_real_time']:.2f}" for s in sides)],
        ["core-ms per frame", *(f"{s['core_ms_per_frame']:.1f}" for s in sides)],
        ["loading, s (not included)", *(f"{s['load_s']:.1f}" for s in sides)],
    ]
    if len(sides) == 2:
        ratio = sides[1]["frames_per_s"] / sides[0]["frames_per_s"]
        rows.append(["speed of B relative to A", "", f"{ratio:.2f}"])
    return rows


def _stage_rows(sides: list[dict[str, Any]]) -> list[list[str]]:
    times = [side["stages_ms_per_frame"] for side in sides]
    return [
        *(
            [name, *(f"{t[name]['ms']:.2f} ({t[name]['core_ms']:.2f})" for t in times)]
            for name in times[0]
        ),
        ["all stages, core-ms", *(f"{s['stages_core_ms_per_frame']:.1f}" for s in sides)],
        [
            "  for a frame without its faces",
            *(f"{s['core_ms_of_a_frame']:.1f}" for s in sides),
        ],
        ["  for each face (align, express)", *(_or_none(s["core_ms_of_a_face"]) for s in sides)],
        ["upper bound, all cores busy", *(f"{s['limit_frames_per_s']:.1f}" for s in sides)],
        ["pipeline efficiency", *(f"{s['share_of_limit']:.0%}" for s in sides)],
    ]


def _setup_rows(
    sides: list[dict[str, Any]], settings: list[str], against: list[str]
) -> list[list[str]]:
    rows = [
        ["device", *(f"{s['device_name']}, {s['precision']}, {s['engine']}" for s in sides)],
        ["detector", *(f"{s['detector']}, {s['provider']}" for s in sides)],
        ["crops", *(s["crops"] for s in sides)],
        ["model", *(s["model"] for s in sides)],
    ]
    if settings or against:
        given = (settings, settings + against)[: len(sides)]
        rows.append(["options", *(" ".join(texts) or "defaults" for texts in given)])
    return rows


def _or_none(value: float | None) -> str:
    return "no face" if value is None else f"{value:.1f}"


def _span(values: list[float]) -> str:
    return f"{min(values):.1f} to {max(values):.1f}"
