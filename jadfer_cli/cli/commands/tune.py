"""`jadfer tune`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from jadfer_cli.cli import code_options as coding
from jadfer_cli.cli import options as shared
from jadfer_cli.cli import reading
from jadfer_cli.cli.commands import TRAINING_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_warning
from jadfer_cli.cli.tables import figures, show, title
from jadfer_cli.errors import OptionError, TrainingError
from jadfer_cli.options import ModelOptions

if TYPE_CHECKING:
    from jadfer_cli.analysis.agreement.coded_faces import CodedFaces
    from jadfer_cli.analysis.agreement.gain import Change, Gain

PANEL = TRAINING_PANEL
HELP = """Tune the model to human coding, and measure the gain on people it has not learned from.

CODES are read as `jadfer agree` reads them. With few codes, the model's scores are recalibrated: \
one temperature, and one bias per expression, so that they say what the coders say. No video is \
read. That mends what a model does wrong in the same way for everybody, such as seeing sadness in \
every calm face. With 10 people and 1,000 faces or more, the network is fine-tuned on the coded \
faces, which are cut out of the videos. --method chooses.

People are kept apart: agreement before and after is measured on each person with a model that was \
fitted to the others. So it must be known who is seen in a clip: from --participants, from the \
people that the coders named, or from `jadfer identify`.

A model is written only if a gain is shown: kappa rose, its 95% interval over people lies above 0, \
more people gained than by chance, and kappa reaches 0.2. At least six people are needed. \
--keep-anyway writes it in any case.

Statistics need an extra: pip install 'jadfer-cli\\[stats]'.

Examples:

  jadfer tune results/ codes/ -r --participants participants.csv -o tuned.safetensors

  jadfer tune results/ codes.csv --map smile=happiness --uncoded neutral -o tuned.safetensors

  jadfer tune results/ codes/ -r --participants participants.csv -o tuned.safetensors \
--method fine-tune --folder tuning/

  jadfer annotate clip.mp4 -o clip.parquet --model tuned.safetensors
"""

_INTERRUPTED = "Give the same command again; fine-tuning resumes after its last whole epoch."

_OutOption = Annotated[
    Path, shared.out_option("The model, a .safetensors file for --model of other commands.")
]
_ModelOption = Annotated[
    str | None,
    typer.Option(
        help="The model that made the results, if it is not a shipped one.",
        metavar="NAME|FILE",
        show_default=False,
    ),
]
_EveryOption = Annotated[
    float,
    typer.Option(
        help="Learn from one face per so many seconds, as neighbours look alike.",
        metavar="SECONDS",
    ),
]
_MethodOption = Annotated[
    str, typer.Option(help="recalibrate, fine-tune, or auto: by the number of faces and people.")
]
_FolderOption = Annotated[
    Path | None,
    typer.Option(
        help="Where fine-tuning keeps pictures and runs. They show faces: delete it when done.",
        metavar="FOLDER",
        show_default="NAME-tuning beside -o",
    ),
]
_EpochsOption = Annotated[int, typer.Option(help="Epochs of each fine-tuning.")]
_EachOption = Annotated[
    bool,
    coding.code_option(
        "Each clip shows another person, whose name does not matter.", "--each-clip-one-person"
    ),
]
_KeepOption = Annotated[
    bool,
    typer.Option(
        "--keep-anyway",
        help="Write the model even if no gain is shown.",
        rich_help_panel=shared.OUTPUT_PANEL,
    ),
]


def tune(
    inputs: shared.ResultsArgument,
    codes: coding.CodesArgument,
    out: _OutOption,
    recursive: shared.RecursiveOption = False,
    given: coding.MapOption = None,
    uncoded: coding.UncodedOption = None,
    coder_from: coding.CoderOption = "recorded",
    tier: coding.TierOption = None,
    participants: coding.ParticipantsOption = None,
    each_clip_one_person: _EachOption = False,
    all_faces: coding.AllFacesOption = False,
    model: _ModelOption = None,
    every: _EveryOption = 0.5,
    method: _MethodOption = "auto",
    folder: _FolderOption = None,
    epochs: _EpochsOption = 6,
    device: shared.DeviceOption = "auto",
    threads: shared.ThreadsOption = None,
    keep_anyway: _KeepOption = False,
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Tune the model to human coding."""
    with errors_as_exit_codes(debug=debug, interrupted=_INTERRUPTED):
        from jadfer_cli.analysis.agreement import clips, coded_faces, coefficients
        from jadfer_cli.analysis.agreement.gain import gain
        from jadfer_cli.analysis.event_rule import Rule
        from jadfer_cli.cli import tuning

        coefficients.require_statistics()
        _check(out, every, method, epochs, overwrite=overwrite)
        found = coding.material(
            reading.opened(inputs, recursive=recursive), codes, given, uncoded=uncoded,
            coder_from=coder_from, tiers=tier, rule=Rule(all_faces=all_faces),
        )  # fmt: skip
        table = clips.read_participants(participants) if participants else None
        people = coded_faces.people_of(found, table, clip_is_person=each_clip_one_person)
        faces = coded_faces.gather(found, people, every)
        for note in () if quiet else found.notes:
            print_warning(note)
        wanted = tuning.chosen_method(method, faces)
        way = tuning.prepared(
            wanted, faces, model, folder or out.with_name(f"{out.stem}-tuning"), epochs,
            ModelOptions(device=device, threads=threads, engine="torch"), quiet=quiet,
        )  # fmt: skip
        gained = gain(faces, *way.held_out())
        _show(faces, gained, wanted)
        if not (gained.is_shown or keep_anyway):
            raise _no_gain(gained)
        way.write(out, _facts(faces, gained))
        shown = "" if gained.is_shown else "; no gain is shown, so do not prefer it"
        reading.wrote(out, f"{way.base.entry.name}, {wanted}d{shown}", quiet=quiet)


def _check(out: Path, every: float, method: str, epochs: int, *, overwrite: bool) -> None:
    from jadfer_cli.analysis.tabular import check_target
    from jadfer_cli.cli.tuning import METHODS

    check_target(out, overwrite=overwrite, endings=(".safetensors",))
    if not 0.01 <= every <= 3600:
        raise OptionError(f"--every takes seconds, from 0.01, not {every:g}.")
    if method not in METHODS:
        raise OptionError(f"--method must be one of {', '.join(METHODS)}, not {method}.")
    if not 1 <= epochs <= 1000:
        raise OptionError(f"--epochs takes a number from 1 to 1000, not {epochs}.")


def _facts(faces: CodedFaces, gained: Gain) -> dict[str, object]:
    """What the model's record says about its tuning."""
    whole = gained.overall
    return {
        "images": len(faces),
        "people": gained.n_people,
        "coders": int((faces.ratings >= 0).any(0).sum()),
        "kappa_before_on_held_out_people": whole.before,
        "kappa_after_on_held_out_people": whole.after,
        "kappa_gain_interval_95": [None if math.isnan(x) else x for x in whole.interval],
        "gain_is_shown": gained.is_shown,
    }


def _show(faces: CodedFaces, gained: Gain, method: str) -> None:
    rows = [
        [
            "all classes" if change.cls == "all" else change.cls, f"{change.n:,}",
            _kappa(change.before), _kappa(change.after), _difference(change),
        ]
        for change in gained.changes
    ]  # fmt: skip
    head = ["class", "codes", "kappa before", "after", "difference [95% interval]"]
    counted = f"{len(faces):,} faces of {gained.n_people:,} people"
    show(
        title(f"{method}: agreement with coders on held-out people ({counted})"),
        figures(head, rows, right=range(1, 5)),
        Text(
            f"Agreement rose for {gained.n_better} and fell for {gained.n_worse} of "
            f"{gained.n_people} people."
        ),
    )


def _kappa(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"


def _difference(change: Change) -> str:
    low, high = change.interval
    ends = f" [{low:+.2f}, {high:+.2f}]" if math.isfinite(low) else ""
    return f"{change.difference:+.2f}{ends}" if math.isfinite(change.difference) else "-"


def _no_gain(gained: Gain) -> TrainingError:
    from jadfer_cli.analysis.agreement.gain import MIN_KAPPA, MIN_PEOPLE

    if gained.n_people < MIN_PEOPLE:
        return TrainingError(
            f"No gain can be shown with {gained.n_people} people, so no model was written.",
            f"Code clips of at least {MIN_PEOPLE} people. --keep-anyway writes the model.",
        )
    low = gained.overall.after < MIN_KAPPA
    return TrainingError(
        "Agreement on held-out people "
        + (f"stays below a kappa of {MIN_KAPPA:g}" if low else "did not rise beyond chance")
        + ", so no model was written.",
        "Check with `jadfer agree` that times, labels and people of the codes are right, or keep "
        "the present model. --keep-anyway writes the new one.",
    )
