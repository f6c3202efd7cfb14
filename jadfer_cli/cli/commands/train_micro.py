"""`jadfer train-micro`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from jadfer_cli.cli.commands import TRAINING_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, stderr_console
from jadfer_cli.cli.options import DebugOption, DeviceOption, QuietOption, ThreadsOption
from jadfer_cli.cli.tables import show, table, title
from jadfer_cli.cli.training_options import RunFolder
from jadfer_cli.cli.training_progress import ConsoleReporter
from jadfer_cli.options import ModelOptions

if TYPE_CHECKING:
    from jadfer_cli.training.micro.experiment import MicroResult

PANEL = TRAINING_PANEL
HELP = """Train small networks on micro-expression clips, and test them on other subjects.

The table lists clips with onset, apex and offset. Frames are sampled by time, so clips of 200 and \
500 frames per second mix. Each fold is tested on subjects that its network has not seen. UF1 and \
UAR weigh all emotions equally, over the clips of all folds.

Examples:

  jadfer train-micro CASME2.csv --kind casme2 --folder CASME2/Cropped --out runs/casme2

  jadfer train-micro DFME.csv --find-faces --network transformer --folds 5 --out runs/dfme

  jadfer train-micro SAMM.csv --kind samm --network difference --sampler key --out runs/samm

Other tables have the columns clip, subject, emotion, onset, apex, offset (frames, from 0) and \
fps.
"""


def _clips(help_text: str, *flags: str, default: str | bool = True) -> Any:
    return typer.Option(*flags, help=help_text, rich_help_panel="Clips", show_default=default)


def _training(help_text: str, default: str | bool = True) -> Any:
    return typer.Option(help=help_text, rich_help_panel="Training", show_default=default)


def train_micro(
    manifest: Annotated[Path, typer.Argument(help="CSV table of the clips.", show_default=False)],
    out: RunFolder,
    kind: Annotated[str, _clips("any, casme2 or samm: whose columns the table has.")] = "any",
    folder: Annotated[
        Path | None, _clips("Folder of the clips.", default="that of the table")
    ] = None,
    find_faces: Annotated[
        bool, _clips("Crop faces; without it, clips show a cropped face.", "--find-faces")
    ] = False,
    sampler: Annotated[
        str, _clips("uniform: onset to offset; key: onset, apex, offset; apex: around the apex.")
    ] = "uniform",
    frames: Annotated[int, _clips("Frames per clip, of uniform and apex.")] = 8,
    seconds: Annotated[float, _clips("Seconds before and after the apex, of apex.")] = 0.1,
    network: Annotated[str, _training("difference, conv3d, gru or transformer.")] = "gru",
    balance: Annotated[
        str, _training("Against unequal classes: none, weights, sampling or focal.")
    ] = "weights",
    folds: Annotated[int | None, _training("Folds.", "one per subject")] = None,
    epochs: Annotated[int, _training("Epochs of each fold.")] = 30,
    seed: Annotated[int, _training("Seed of folds, weights and order.")] = 0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Train small networks on micro-expression clips."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.common import check_writable
        from jadfer_cli.faces.detect import load_detector
        from jadfer_cli.options import FaceOptions
        from jadfer_cli.runtime import settle_for_training
        from jadfer_cli.training.micro import experiment, samplers
        from jadfer_cli.training.micro.manifest import read

        options = experiment.MicroOptions(
            network=network, balance=balance, folds=folds, epochs=epochs, seed=seed
        )
        chosen = samplers.named(sampler, frames, seconds)
        check_writable(out / "result.json")
        clips = read(manifest, kind, folder)
        report = ConsoleReporter(stderr_console(), quiet=quiet)
        runtime = settle_for_training(ModelOptions(device=device, threads=threads, engine="torch"))
        detector = load_detector(FaceOptions(), runtime.threads) if find_faces else None
        with report.counting("reading clips", len(clips)) as progress:
            images = experiment.load(clips, chosen, options.size_px, detector, progress)
        found = experiment.cross_validate(
            clips, options, images=images, report=report.say, device=runtime.device
        )
        sampling = {"sampler": sampler, "frames": images.shape[1], "seconds": seconds}
        written = experiment.write(found, clips, options, out, sampling)
        _print(found, f"{network} on {manifest.name}, subjects apart")
        for path in written:
            report.say(f"wrote {path}")


def _print(found: MicroResult, heading: str) -> None:
    rows = []
    for k, emotion in enumerate(found.emotions):
        own = found.classes == k
        rows.append([emotion, str(int(own.sum())), str(int((found.guesses[own] == k).sum()))])
    show(title(heading), table(["emotion", "clips", "right"], rows))
    show(Text(f"UF1 {found.uf1:.3f}, UAR {found.uar:.3f}; chance UAR {1 / len(rows):.3f}"))
