"""`jadfer annotate`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from jadfer_cli.batch import plan as plans
from jadfer_cli.batch.durations import measure_durations
from jadfer_cli.batch.inputs import expand, names_one
from jadfer_cli.cli.console import errors_as_exit_codes, stderr_console
from jadfer_cli.cli.options import MACHINE_PANEL, BatchSizeOption, DeviceOption, ThreadsOption
from jadfer_cli.cli.progress import reporter
from jadfer_cli.cli.run_annotate import Many, annotate_one, check_target, show_plan
from jadfer_cli.common import seconds_of
from jadfer_cli.errors import OptionError
from jadfer_cli.options import (
    ENGINES,
    PRECISIONS,
    TRACKERS,
    AnnotateOptions,
    FaceOptions,
    IfExists,
    ModelOptions,
    VideoOptions,
)

HELP = """Annotate the facial expressions in videos, frame by frame, into Parquet.

One row a frame and face; frames without a face have a row too. Beside the result lies a \
JSON sidecar that describes columns, model, detector, options and the video.

Examples:

  jadfer annotate clip.mp4 -o clip.parquet

  jadfer annotate clip.mp4 -o results/ --max-faces 1 --fps 10

  jadfer annotate talk.mov -o talk.parquet --start 60 --end 120

  jadfer annotate clips/ -r -o results/ --jobs 2 --skip-existing

  find clips -name '*.mp4' -print0 | jadfer annotate -0 - -o results/

Of several videos each has a result in the folder -o, in the inputs' own tree. One that fails is \
listed there in failures.jsonl, and the others go on.

Then in Python:  pandas.read_parquet("clip.parquet")
"""

_VIDEO, _FACES, _MODEL, _OUTPUT = "Which frames", "Which faces", MACHINE_PANEL, "Output"
_MANY = "Many videos"
_V, _F, _M = VideoOptions(), FaceOptions(), ModelOptions()


def _seconds(text: str) -> float:
    """Seconds of "90", "1:30" or "0:01:30.5"."""
    try:
        return seconds_of(str(text))
    except ValueError:
        raise typer.BadParameter(
            f"{text} is no time; write seconds (90), minutes (1:30) or hours (0:01:30.5)."
        ) from None


def annotate(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Videos, folders, patterns, @LIST (a file of paths), - (paths on stdin).",
            show_default=False,
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            help="Parquet file to write for one video, or a folder that mirrors the inputs.",
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ],
    every: Annotated[
        int, typer.Option(help="Analyse every Nth frame.", rich_help_panel=_VIDEO)
    ] = _V.every,
    fps: Annotated[
        float | None,
        typer.Option(help="Analyse at most so many frames a second.", rich_help_panel=_VIDEO),
    ] = _V.fps,
    start: Annotated[
        float | None,
        typer.Option(
            parser=_seconds,
            metavar="<time>",
            help="First time analysed: seconds, or mm:ss, or hh:mm:ss.",
            rich_help_panel=_VIDEO,
        ),
    ] = _V.start_s,
    end: Annotated[
        float | None,
        typer.Option(
            parser=_seconds,
            metavar="<time>",
            help="Stop before this time, written likewise.",
            rich_help_panel=_VIDEO,
        ),
    ] = _V.end_s,
    detector: Annotated[
        str,
        typer.Option(
            help="auto, centerface, the name of an InsightFace pack, or an SCRFD .onnx file.",
            rich_help_panel=_FACES,
        ),
    ] = _F.detector,
    detection_size: Annotated[
        int,
        typer.Option(
            help="Longer side of the frame when faces are looked for, px; larger finds "
            "smaller faces and takes longer. Small frames are enlarged at most twofold.",
            rich_help_panel=_FACES,
        ),
    ] = _F.detection_size,
    detection_threshold: Annotated[
        float,
        typer.Option(
            help="Score from which a detection counts as a face, 0 to 1.",
            rich_help_panel=_FACES,
        ),
    ] = _F.detection_threshold,
    redetect: Annotated[
        float | None,
        typer.Option(
            help="Seconds between looks at the whole frame; in between, faces are looked for "
            "where they were. 0 looks at every whole frame: slower, finds faces that come and go.",
            rich_help_panel=_FACES,
            show_default="0.3; 0 on a GPU",
        ),
    ] = _F.redetect_s,
    min_face: Annotated[
        float,
        typer.Option(help="Leave out faces smaller than this, px.", rich_help_panel=_FACES),
    ] = _F.min_face_px,
    max_faces: Annotated[
        int | None,
        typer.Option(
            help="Keep the N people who are seen longest and largest.", rich_help_panel=_FACES
        ),
    ] = _F.max_faces,
    tracker: Annotated[
        str,
        typer.Option(
            help=f"How faces are followed: {', '.join(TRACKERS)}.", rich_help_panel=_FACES
        ),
    ] = _F.tracker,
    track_gap: Annotated[
        float,
        typer.Option(
            help="Seconds for which a face may vanish and keep its id.", rich_help_panel=_FACES
        ),
    ] = _F.track_gap_s,
    landmarks: Annotated[
        bool,
        typer.Option(
            "--landmarks",
            help="Also write the five landmarks, to a file of their own.",
            rich_help_panel=_FACES,
        ),
    ] = False,
    model: Annotated[
        str,
        typer.Option(
            help="A name from `jadfer models list`, or a .safetensors file.",
            rich_help_panel=_MODEL,
        ),
    ] = _M.model,
    device: DeviceOption = _M.device,
    precision: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(PRECISIONS)}; auto is fp32 on the CPU and fp16 on CUDA.",
            rich_help_panel=_MODEL,
        ),
    ] = _M.precision,
    batch_size: BatchSizeOption = _M.batch_size,
    threads: ThreadsOption = _M.threads,
    engine: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(ENGINES)}: what computes the expression network; auto is ONNX "
            "Runtime for fp32 on the CPU, and PyTorch else.",
            rich_help_panel=_MODEL,
        ),
    ] = _M.engine,
    relative_paths: Annotated[
        bool,
        typer.Option(
            "--relative-paths",
            help="Write the file's name, not its path, into the rows.",
            rich_help_panel=_OUTPUT,
        ),
    ] = False,
    recursive: Annotated[
        bool,
        typer.Option(
            "--recursive", "-r", help="Take folders with all below them.", rich_help_panel=_MANY
        ),
    ] = False,
    null: Annotated[
        bool,
        typer.Option(
            "--null", "-0", help="Paths on stdin end with a NUL byte.", rich_help_panel=_MANY
        ),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            help="Videos at the same time, each in a process of its own.",
            rich_help_panel=_MANY,
            show_default="1; all that the cluster has room for with --ray-address",
        ),
    ] = None,
    ray: Annotated[
        bool,
        typer.Option(
            "--ray",
            help="Hand the videos to a Ray cluster; one on this machine unless --ray-address "
            "names another.",
            rich_help_panel=_MANY,
        ),
    ] = False,
    ray_address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="The Ray cluster: HOST:PORT, ray://HOST:PORT or auto. All its machines must "
            "see the same paths.",
            rich_help_panel=_MANY,
            show_default=False,
        ),
    ] = None,
    skip_existing: Annotated[
        bool,
        typer.Option(
            "--skip-existing",
            help="Keep results that the same model, detector and options made of the same video.",
            rich_help_panel=_MANY,
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only print what would be done.", rich_help_panel=_MANY),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Do part K of N, as long as the others: for job arrays.",
            rich_help_panel=_MANY,
            show_default=False,
        ),
    ] = None,
    stall: Annotated[
        float,
        typer.Option(
            min=1,
            help="Seconds without a frame after which a video is given up.",
            rich_help_panel=_MANY,
        ),
    ] = 300.0,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace an earlier result.", rich_help_panel=_OUTPUT),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Print errors only.", rich_help_panel=_OUTPUT),
    ] = False,
    log_json: Annotated[
        bool,
        typer.Option(
            "--log-json", help="Progress as JSON lines on stderr.", rich_help_panel=_OUTPUT
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show tracebacks.", rich_help_panel=_OUTPUT),
    ] = False,
) -> None:
    """Annotate one video."""
    with errors_as_exit_codes(debug=debug, log_json=log_json):
        options = AnnotateOptions(
            video=VideoOptions(every=every, fps=fps, start_s=start, end_s=end),
            faces=FaceOptions(
                detector=detector,
                detection_size=detection_size,
                detection_threshold=detection_threshold,
                redetect_s=redetect,
                min_face_px=min_face,
                max_faces=max_faces,
                tracker=tracker,
                track_gap_s=track_gap,
            ),
            model=ModelOptions(
                model=model,
                device=device,
                precision=precision,
                batch_size=batch_size,
                threads=threads,
                engine=engine,
            ),
            landmarks=landmarks,
            relative_paths=relative_paths,
        )
        if overwrite and skip_existing:
            raise OptionError("--overwrite and --skip-existing exclude each other.")
        if_exists = (
            IfExists.OVERWRITE if overwrite else IfExists.SKIP if skip_existing else IfExists.REFUSE
        )
        part = None if shard is None else plans.Shard.of(shard)
        sources = expand(inputs, recursive=recursive, nul=null, stdin=sys.stdin.buffer)
        many = not names_one(inputs)
        if not many:
            check_target(out)
        tasks = plans.settle(sources, out, many=many)
        if part is not None:
            lengths = measure_durations([task.video for task in tasks])
            tasks = plans.shard(tasks, part, lengths.__getitem__)
        if dry_run:
            show_plan(tasks)
        elif many or part is not None or ray or ray_address is not None:
            Many(
                out, options, if_exists, jobs, stall, ray or ray_address is not None, ray_address,
                quiet, log_json,
            ).run(tasks)  # fmt: skip
        else:
            video, target = tasks[0].video, tasks[0].target
            with reporter(stderr_console(), video, quiet=quiet, log_json=log_json) as report:
                annotate_one(video, target, options, report, if_exists)
