"""`jadfer bench`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from jadfer_cli.cli.commands import INSTALLATION_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, stderr_console
from jadfer_cli.cli.tables import show, table, title
from jadfer_cli.common import atomic_write, check_writable
from jadfer_cli.errors import OptionError
from jadfer_cli.stopping import raise_if_stopped

PANEL = INSTALLATION_PANEL
RUNS_WITHOUT_ARGUMENTS = True
HELP = """Measure how fast this machine annotates a video.

After a warm-up the clip is annotated REPEATS times, as `jadfer annotate` does it, and every \
stage is timed alone as often. Loading is timed apart. With --against a second configuration \
runs in turn with the first (A B A B), so that a busy machine slows both alike; look at their \
ratio. "frames/s if no core waits" is what the cores could do if the stages kept all of them \
busy, and "the whole reaches" how much of that the real run did.

Examples:

  jadfer bench

  jadfer bench clip.mp4 --json bench.json

  jadfer bench clip.mp4 --set redetect=0 --against redetect=0.3

  jadfer bench clip.mp4 --against precision=bf16 --against threads=1
"""

_RUNS, _OUTPUT = "What is measured", "Output"


def bench(
    clip: Annotated[
        str | None,
        typer.Argument(
            metavar="[CLIP]", help="A video; by default a made one with one face.",
            show_default=False,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", show_default=False, rich_help_panel=_RUNS,
            help="An option of `jadfer annotate`, such as detection-size=416; may be repeated.",
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", show_default=False, rich_help_panel=_RUNS,
            help="The same for a second configuration, on top of --set; may be repeated.",
        ),
    ] = None,
    repeats: Annotated[
        int, typer.Option(min=1, help="Runs of each configuration.", rich_help_panel=_RUNS)
    ] = 5,
    frames: Annotated[
        int | None,
        typer.Option(
            min=1, show_default=False, rich_help_panel=_RUNS,
            help="Repeat the clip end to end until it has so many frames.",
        ),
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json", help="Write all figures to this file.", show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ] = None,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks.", rich_help_panel=_OUTPUT)
    ] = False,
) -> None:  # fmt: skip
    """Measure the speed on this machine."""
    with errors_as_exit_codes(debug=debug):
        if json_file is not None:
            check_writable(json_file)
        from jadfer_cli.installation import bench as benches

        base = benches.options_of(settings or [])
        sides = [benches.Side("A" if against else "jadfer", base)]
        if against:
            sides.append(benches.Side("B", benches.options_of(against, base)))
            if benches.settled(sides[1].options) == benches.settled(base):
                raise OptionError("--against changes nothing; there is nothing to compare.")
        console = stderr_console()
        with tempfile.TemporaryDirectory(prefix="jadfer-bench-") as folder:
            with console.status("starting") as status:

                def progress(text: str) -> None:
                    raise_if_stopped()
                    status.update(text)
                    if not console.is_terminal:
                        console.print(text)

                video = clip or str(benches.sample_clip(Path(folder)))
                if frames is not None:
                    progress(f"repeating the clip to {frames} frames")
                    video = str(benches.repeated(video, frames, Path(folder)))
                found = benches.measure(video, sides, repeats, progress)
        if clip is not None:
            found["clip"] = Path(clip).name
        if json_file is not None:
            with atomic_write(json_file) as part:
                part.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
        _print(found, [*(settings or [])], [*(against or [])])


def _print(found: dict[str, Any], settings: list[str], against: list[str]) -> None:
    """The tables."""
    sides = found["sides"]
    first = sides[0]
    parts: list[Any] = [
        title(
            f"{found['clip']}: {found['frames']:,} frames, {found['width_px']}x"
            f"{found['height_px']}, {found['fps']:g} a second; {first['frames']:,} analysed, "
            f"{first['faces']:,} faces found"
        )
    ]
    names = [side["name"] for side in sides]
    rows = [
        ["frames/s, whole (median)", *(f"{s['frames_per_s']:.1f}" for s in sides)],
        ["  lowest and highest run", *(_span(s["frames_per_s_runs"]) for s in sides)],
        ["times real time", *(f"{s['times_real_time']:.2f}" for s in sides)],
        ["core-ms a frame, whole", *(f"{s['core_ms_per_frame']:.1f}" for s in sides)],
        ["loading, s (apart)", *(f"{s['load_s']:.1f}" for s in sides)],
    ]
    if len(sides) == 2:
        ratio = sides[1]["frames_per_s"] / first["frames_per_s"]
        rows.append(["B is faster than A by the factor", "", f"{ratio:.2f}"])
    parts.append(table(["", *names], rows))
    parts.append(title("Each stage alone, ms a frame (core-ms)"))
    stages = [
        [
            name,
            *(
                f"{s['stages_ms_per_frame'][name]['ms']:.2f} "
                f"({s['stages_ms_per_frame'][name]['core_ms']:.2f})"
                for s in sides
            ),
        ]
        for name in first["stages_ms_per_frame"]
    ]
    stages.append(["all, core-ms", *(f"{s['stages_core_ms_per_frame']:.1f}" for s in sides)])
    stages.append(["frames/s if no core waits", *(f"{s['limit_frames_per_s']:.1f}" for s in sides)])
    stages.append(["the whole reaches", *(f"{s['share_of_limit']:.0%}" for s in sides)])
    parts.append(table(["", *names], stages))
    parts.append(title("Where"))
    where = [
        ["device", *(f"{s['device_name']}, {s['precision']}, {s['engine']}" for s in sides)],
        ["detector", *(f"{s['detector']}, {s['provider']}" for s in sides)],
        ["crops", *(s["crops"] for s in sides)],
        ["model", *(s["model"] for s in sides)],
    ]
    if settings or against:
        both = settings + against
        where.append(
            ["options", *(" ".join(t) or "defaults" for t in (settings, both)[: len(sides)])]
        )
    parts.append(table(["", *names] if len(sides) > 1 else [], where))
    memory = found["peak_memory_mb"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    parts.append(
        table([], [["peak memory", f"{memory:.0f} MB" if memory else "not measured here"],
                   ["versions", versions]])
    )  # fmt: skip
    show(*parts)


def _span(values: list[float]) -> str:
    return f"{min(values):.1f} to {max(values):.1f}"
