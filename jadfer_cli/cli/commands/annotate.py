"""`jadfer annotate`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jadfer_cli.cli import annotate_options as of
from jadfer_cli.cli import options as shared
from jadfer_cli.cli.also import AlsoWrite, converted, parquet_and_ending
from jadfer_cli.cli.commands import ANNOTATE_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes
from jadfer_cli.cli.study import read_study
from jadfer_cli.cli.table_options import BomOption, DecimalOption, text_style
from jadfer_cli.errors import OptionError
from jadfer_cli.options import (
    AnnotateOptions,
    FaceOptions,
    IfExists,
    ModelOptions,
    OptionKeywords,
    VideoOptions,
    combined,
)

if TYPE_CHECKING:
    from jadfer_cli.batch.plan import Task

PANEL = ANNOTATE_PANEL
HELP = """Annotate facial expressions in videos, frame by frame, into Parquet.

Writes one row per frame and face, and one row for each frame without a face. A JSON sidecar \
beside the result describes its columns, model, detector, options and video.

Examples:

  jadfer annotate clip.mp4 -o clip.parquet

  jadfer annotate clip.mp4 -o results/ --max-faces 1 --fps 10

  jadfer annotate talk.mov -o talk.parquet --start 60 --end 120

  jadfer annotate clips/ -r -o results/ --jobs 2 --skip-existing

  find clips -name '*.mp4' -print0 | jadfer annotate -0 - -o results/

  jadfer annotate clip.mp4 -o clip.xlsx

  jadfer annotate --config study.toml

For several videos, -o is a folder that mirrors the tree of the inputs. A video that fails is \
listed there in failures.jsonl, and the batch continues.

With another ending or --format, the rows are also written as CSV, for Excel, SPSS or Stata. The \
Parquet file is always there: all other commands read it.

Then in Python:  pandas.read_parquet("clip.parquet")
"""

_V, _F, _M = VideoOptions(), FaceOptions(), ModelOptions()


def annotate(
    inputs: of.InputsArgument,
    out: of.OutOption,
    config: of.ConfigOption = None,
    recursive: shared.RecursiveOption = False,
    null: of.NullOption = False,
    every: of.EveryOption = _V.every,
    fps: of.FpsOption = _V.fps,
    start: of.StartOption = _V.start_s,
    end: of.EndOption = _V.end_s,
    rotate: of.RotateOption = _V.rotate,
    decoder: of.DecoderOption = _V.decoder,
    detector: of.DetectorOption = _F.detector,
    detection_size: of.DetectionSizeOption = _F.detection_size,
    detection_threshold: of.DetectionThresholdOption = _F.detection_threshold,
    redetect: of.RedetectOption = _F.redetect_s,
    follower: of.FollowerOption = _F.follower,
    min_face: of.MinFaceOption = _F.min_face_px,
    max_faces: of.MaxFacesOption = _F.max_faces,
    tracker: of.TrackerOption = _F.tracker,
    track_gap: of.TrackGapOption = _F.track_gap_s,
    landmarks: of.LandmarksOption = False,
    actions: of.ActionsOption = False,
    mesh: of.MeshOption = False,
    model: of.ModelOption = _M.model,
    scores: of.ScoresOption = _M.scores,
    device: shared.DeviceOption = _M.device,
    precision: of.PrecisionOption = _M.precision,
    batch_size: shared.BatchSizeOption = _M.batch_size,
    threads: shared.ThreadsOption = _M.threads,
    engine: of.EngineOption = _M.engine,
    jobs: of.JobsOption = None,
    skip_existing: of.SkipExistingOption = False,
    dry_run: of.DryRunOption = False,
    shard: of.ShardOption = None,
    stall: of.StallOption = 300.0,
    ray: of.RayOption = False,
    ray_address: of.RayAddressOption = None,
    relative_paths: of.RelativePathsOption = False,
    file_names: of.FileNamesOption = False,
    format_name: of.FormatOption = None,
    bom: BomOption = False,
    decimal: DecimalOption = ".",
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    log_json: of.LogJsonOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Annotate videos."""
    given = dict(locals())
    with errors_as_exit_codes(debug=debug, log_json=log_json):
        options = options_of(given, config)
        if_exists = _if_exists(overwrite=overwrite, skip_existing=skip_existing)
        out, ending = parquet_and_ending(out, format_name)
        style, on_ray = text_style(bom=bom, decimal=decimal), ray or ray_address is not None
        also = None if ending is None else AlsoWrite(ending, style, if_exists, actions)
        tasks, is_batch = _plan(inputs, out, shard, options, recursive=recursive, null=null)
        batch = (jobs, on_ray, ray_address) if is_batch or on_ray else None
        with converted(also, tasks, quiet=quiet or log_json, dry_run=dry_run):
            _start(tasks, out, options, if_exists, stall, batch, dry_run, quiet, log_json, debug)


def options_of(given: Mapping[str, Any], config: Path | None = None) -> AnnotateOptions:
    """Return the options of annotation from the parameters of the command.

    Args:
        given: By their names here, such as detection_size or start.
        config: The study file, whose text is recorded.
    """
    names = {
        name: name.removesuffix("_s").removesuffix("_px") for name in OptionKeywords.__annotations__
    }
    keywords = {name: given[own] for name, own in names.items() if own in given}
    return combined(None, keywords | {"study": None if config is None else read_study(config)})


def _start(
    tasks: list[Task],
    out: str,
    options: AnnotateOptions,
    if_exists: IfExists,
    stall_s: float,
    batch: tuple[int | None, bool, str | None] | None,
    dry_run: bool,
    quiet: bool,
    log_json: bool,
    debug: bool,
) -> None:
    """Prints the plan, runs a batch, or annotates one video.

    Args:
        tasks: The videos with their results.
        out: As given by the user.
        options: Of every video.
        if_exists: What to do about existing results.
        stall_s: Longest time without progress.
        batch: Jobs, whether on Ray, and its address; None for one video.
        dry_run: Only print the plan.
        quiet: Print errors only.
        log_json: Print JSON lines.
        debug: Let the output of libraries through.
    """
    from jadfer_cli.cli import run_annotate as run

    if dry_run:
        run.show_plan(tasks)
    elif batch is not None:
        jobs, on_ray, address = batch
        many = run.Many(out, options, if_exists, jobs, stall_s, on_ray, address, quiet, log_json)
        many.run(tasks)
    else:
        how = {"quiet": quiet, "log_json": log_json, "debug": debug}
        run.annotate_one(tasks[0], options, if_exists, stall_s=stall_s, **how)


def _if_exists(*, overwrite: bool, skip_existing: bool) -> IfExists:
    """What to do about existing results.

    Raises:
        OptionError: Both options are given.
    """
    if overwrite and skip_existing:
        raise OptionError("--overwrite and --skip-existing exclude each other.")
    if overwrite:
        return IfExists.OVERWRITE
    return IfExists.SKIP if skip_existing else IfExists.REFUSE


def _plan(
    inputs: list[str],
    out: str,
    shard: str | None,
    options: AnnotateOptions,
    *,
    recursive: bool,
    null: bool,
) -> tuple[list[Task], bool]:
    """The videos with their results, and whether they are a batch rather than one video.

    Raises:
        OptionError: The inputs name no video, two videos would have one name, or -o or
            --shard does not fit them.
    """
    from jadfer_cli.batch import plan
    from jadfer_cli.batch.durations import measure_durations
    from jadfer_cli.batch.inputs import expand, names_one
    from jadfer_cli.batch.names import named
    from jadfer_cli.cli.run_annotate import check_target

    part = None if shard is None else plan.Shard.of(shard)
    sources = expand(inputs, recursive=recursive, nul=null, stdin=sys.stdin.buffer)
    several = not names_one(inputs)
    if not several:
        check_target(out)
    tasks = named(plan.settle(sources, out, many=several), sources, options)
    if part is not None:
        durations_s = measure_durations([task.video for task in tasks])
        tasks = plan.shard(tasks, part, durations_s.__getitem__)
    return tasks, several or part is not None
