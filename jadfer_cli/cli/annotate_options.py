"""The options of `jadfer annotate`, by panel of its help page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jadfer_cli.cli.options import MACHINE_PANEL, OUTPUT_PANEL, out_option
from jadfer_cli.cli.study import use_study
from jadfer_cli.common import parse_seconds
from jadfer_cli.options import DETECTORS, ENGINES, PRECISIONS, TRACKERS

FRAMES_PANEL, FACES_PANEL, _BATCH = "Which frames", "Which faces", "Many videos"


def _seconds(text: str) -> float:
    """Seconds from "90", "1:30" or "0:01:30.5".

    Raises:
        typer.BadParameter: The text is not a time.
    """
    try:
        return parse_seconds(str(text))
    except ValueError:
        raise typer.BadParameter(
            f"{text} is not a time; write seconds (90), minutes (1:30) or hours (0:01:30.5)."
        ) from None


def _option(panel: str, help_text: str, *names: str, **settings: Any) -> Any:
    return typer.Option(*names, help=help_text, rich_help_panel=panel, **settings)


InputsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT...",
        help="Videos, folders, patterns, @LIST (a file of paths), - (paths on stdin).",
        show_default=False,
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Study file (TOML) with options, as `jadfer init` writes it. Options given here win.",
        show_default=False,
        callback=use_study,
        is_eager=True,
    ),
]
NullOption = Annotated[
    bool,
    typer.Option("--null", "-0", help="Paths on stdin and in @LIST end with a NUL byte."),
]

EveryOption = Annotated[int, _option(FRAMES_PANEL, "Analyse every Nth frame.")]
FpsOption = Annotated[
    float | None, _option(FRAMES_PANEL, "Analyse at most this many frames per second.")
]
StartOption = Annotated[
    float | None,
    _option(
        FRAMES_PANEL,
        "Start at this time: seconds, mm:ss or hh:mm:ss.",
        parser=_seconds,
        metavar="<time>",
    ),
]
EndOption = Annotated[
    float | None,
    _option(
        FRAMES_PANEL,
        "Stop before this time, in the same format.",
        parser=_seconds,
        metavar="<time>",
    ),
]

RotateOption = Annotated[
    int | None,
    _option(
        FRAMES_PANEL,
        "Rotate the stored pictures clockwise by 0, 90, 180 or 270 degrees, whatever the file "
        "says; for videos that are upside down or lie on their side.",
        metavar="DEGREES",
        show_default="as the file says",
    ),
]

DecoderOption = Annotated[
    str,
    _option(
        FRAMES_PANEL,
        "auto: decord for short clips that it reads exactly, PyAV for all others. decord: for "
        "longer ones, too, which then are in memory whole. pyav: PyAV alone.",
    ),
]

DetectorOption = Annotated[
    str,
    _option(FACES_PANEL, f"{DETECTORS}."),
]
DetectionSizeOption = Annotated[
    int,
    _option(
        FACES_PANEL,
        "Scale the longer side of each frame to this many px for detection. Larger values find "
        "smaller faces and take longer. Small frames are enlarged at most twofold.",
    ),
]
DetectionThresholdOption = Annotated[
    float, _option(FACES_PANEL, "Lowest score of a detection that counts as a face, 0 to 1.")
]
RedetectOption = Annotated[
    float,
    _option(
        FACES_PANEL,
        "Seconds between searches of the whole frame (with --follower network most of them at half "
        "the resolution); in between, known faces are searched for where they are expected. 0 "
        "searches every frame: slower on a CPU, but finds faces that come and go.",
    ),
]
FollowerOption = Annotated[
    str,
    _option(
        FACES_PANEL,
        "What finds known faces between these searches: network, a small one of jadfer's own that "
        "asks the detector where it is unsure; detector, more often the less evenly a face moves; "
        "or an .onnx file of `train-follower`.",
    ),
]
MinFaceOption = Annotated[float, _option(FACES_PANEL, "Ignore faces smaller than this, px.")]
MaxFacesOption = Annotated[
    int | None, _option(FACES_PANEL, "Keep the N tracks that are seen longest and largest.")
]
TrackerOption = Annotated[str, _option(FACES_PANEL, f"Tracking method: {', '.join(TRACKERS)}.")]
TrackGapOption = Annotated[
    float, _option(FACES_PANEL, "Seconds for which a face may disappear and keep its track ID.")
]
LandmarksOption = Annotated[
    bool,
    _option(
        FACES_PANEL, "Also write the five facial landmarks, to a separate file.", "--landmarks"
    ),
]
ActionsOption = Annotated[
    bool,
    _option(
        FACES_PANEL,
        "Also write facial actions (blinks, jaw, smile, gaze, ...), to a separate file. Needs "
        "`jadfer models fetch face_landmarker`.",
        "--actions",
    ),
]
MeshOption = Annotated[
    bool,
    _option(
        FACES_PANEL, "With --actions, also write the 478 landmarks, to a separate file.", "--mesh"
    ),
]

ModelOption = Annotated[
    str,
    _option(
        MACHINE_PANEL,
        "default; fast, which is smaller and less exact; another name from `jadfer models list`; "
        "or a .safetensors file.",
    ),
]
ScoresOption = Annotated[
    str,
    _option(
        MACHINE_PANEL,
        "What the probabilities mean. votes: the share of raters who would choose the label. "
        "majority: the probability that the majority would, as before 0.6. auto is votes if the "
        "model was fitted to votes.",
    ),
]
PrecisionOption = Annotated[
    str,
    _option(MACHINE_PANEL, f"{', '.join(PRECISIONS)}; auto is fp32 on the CPU, fp16 on CUDA."),
]
EngineOption = Annotated[
    str,
    _option(
        MACHINE_PANEL,
        f"{', '.join(ENGINES)}: library that runs the expression network. auto is ONNX Runtime "
        "for fp32 on the CPU, otherwise PyTorch.",
    ),
]

OutOption = Annotated[
    str,
    out_option(
        "File to write for one video (.parquet, or a further file in the format of another "
        "ending), or a folder that mirrors the inputs.",
        metavar="FILE|FOLDER",
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="Also write each result as csv, csv.gz, tsv, tsv.gz, xlsx, sav (SPSS) or dta (Stata), "
        "beside the Parquet file.",
        show_default="by the ending of -o",
        rich_help_panel=OUTPUT_PANEL,
    ),
]
RelativePathsOption = Annotated[
    bool,
    _option(
        OUTPUT_PANEL,
        "Name videos in the rows by their path below INPUT, like day1/P01.mp4.",
        "--relative-paths",
    ),
]
FileNamesOption = Annotated[
    bool,
    _option(OUTPUT_PANEL, "Name videos in the rows by their file name.", "--file-names"),
]
LogJsonOption = Annotated[
    bool, _option(OUTPUT_PANEL, "Report progress as JSON lines on stderr.", "--log-json")
]

JobsOption = Annotated[
    int | None,
    _option(
        _BATCH,
        "Number of videos annotated at the same time, each in its own process.",
        "--jobs",
        "-j",
        min=1,
        show_default="1; with --ray-address as many as the cluster has room for",
    ),
]
SkipExistingOption = Annotated[
    bool,
    _option(
        _BATCH,
        "Keep results made from the same video with the same model, detector and options.",
        "--skip-existing",
    ),
]
DryRunOption = Annotated[
    bool, _option(_BATCH, "List videos and results without annotating anything.", "--dry-run")
]
ShardOption = Annotated[
    str | None,
    _option(
        _BATCH,
        "Process part K of N, balanced by duration (job arrays).",
        metavar="K/N",
        show_default=False,
    ),
]
StallOption = Annotated[
    float, _option(_BATCH, "Give up on a video after this many seconds without a frame.", min=1)
]
RayOption = Annotated[
    bool,
    _option(
        _BATCH,
        "Annotate on a Ray cluster, by default a new one on this machine.",
        "--ray",
    ),
]
RayAddressOption = Annotated[
    str | None,
    _option(
        _BATCH,
        "The Ray cluster to use: HOST:PORT, ray://HOST:PORT or auto. All its machines must see "
        "the same paths.",
        metavar="ADDRESS",
        show_default=False,
    ),
]
