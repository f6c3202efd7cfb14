"""`jadfer identify`."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jadfer_cli.cli import options as shared
from jadfer_cli.cli import reading
from jadfer_cli.cli.commands import RESULTS_PANEL
from jadfer_cli.cli.console import errors_as_exit_codes, print_note, print_warning
from jadfer_cli.cli.tables import figures, show
from jadfer_cli.errors import OptionError
from jadfer_cli.options import SAME_PERSON, SAME_TRACK
from jadfer_cli.text import count_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jadfer_cli.analysis.people.embedding import Embedder
    from jadfer_cli.analysis.people.identify import Identified
    from jadfer_cli.analysis.people.output import Appearance

PANEL = RESULTS_PANEL
HELP = """Find out who is who: give the tracks of results to people, within and across videos.

CONSENT: recognising people is stricter than finding faces. Embeddings of faces are biometric \
data. Use this only on people who agreed to it, or as your ethics board allows. Embeddings stay in \
memory; only --keep-embeddings writes them.

With --references, a folder per person holds pictures of them, such as faces/anna/1.jpg. Without, \
similar tracks are grouped and called person_1, person_2 and so on. A face that is similar to \
nobody is "unknown".

The new results get the columns person and person_score; track_id stays. A track that changes from \
one person to another is divided at that frame. The table lists who appears where, people.csv all \
details. A visit of less than 1.5 s inside another person's track is not noticed. Two faces of one \
frame are never the same person.

jadfer brings no recogniser. Name an ArcFace .onnx file, or an InsightFace pack that is installed. \
The threshold depends on it: the default was measured with one MobileFaceNet. \
examples/guides/people.md says how often it errs, and how to measure yours.

The videos are needed again. They are looked for where they were, beside the results, and in \
--videos. Unlike `jadfer annotate --stall`, nothing limits the time without progress.

Examples:

  jadfer identify results/ -r --recogniser buffalo_s --references people/ -o named/

  jadfer identify results/ -r --recogniser mobilefacenet.onnx --videos clips/ -o named/

  jadfer summary named/ -r --by person
"""

_OutOption = Annotated[
    Path, shared.out_option("Folder for the new results and people.csv.", metavar="FOLDER")
]
_RecogniserOption = Annotated[
    str,
    typer.Option(
        metavar="FILE|PACK",
        help="The recogniser: an ArcFace .onnx file, a file in jadfer's folder of models, or an "
        "installed InsightFace pack.",
        show_default=False,
    ),
]
_ReferencesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="One folder of pictures per person, named after the person.",
        show_default="group the faces by similarity",
    ),
]
_ThresholdOption = Annotated[
    float,
    typer.Option(metavar="COSINE", help="Smallest similarity of two embeddings of one person."),
]
_AlikeOption = Annotated[
    float,
    typer.Option(
        metavar="COSINE", help="A track is divided where its faces are less similar than this."
    ),
]
_StepOption = Annotated[
    float,
    typer.Option(metavar="SECONDS", help="Recognise one face per track and this much time."),
]
_VideosOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Look for the videos here and in subfolders, by name and size.",
        show_default=False,
    ),
]
_DetectorOption = Annotated[
    str, typer.Option(help="Finds eyes, nose and mouth: auto, centerface, a pack or an .onnx file.")
]
_KeepOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Also write the embeddings, an .npz file. They identify people: protect it.",
        show_default=False,
        rich_help_panel=shared.OUTPUT_PANEL,
    ),
]
_ForceOption = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Accept a file other than the annotated one. Times and boxes are checked in any case.",
    ),
]


def identify(
    inputs: shared.ResultsArgument,
    out: _OutOption,
    recogniser: _RecogniserOption,
    references: _ReferencesOption = None,
    recursive: shared.RecursiveOption = False,
    threshold: _ThresholdOption = SAME_PERSON,
    alike: _AlikeOption = SAME_TRACK,
    step: _StepOption = 0.5,
    videos: _VideosOption = None,
    detector: _DetectorOption = "auto",
    force: _ForceOption = False,
    threads: shared.ThreadsOption = None,
    keep_embeddings: _KeepOption = None,
    overwrite: shared.OverwriteOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Find out who is who."""
    with errors_as_exit_codes(debug=debug):
        from jadfer_cli.analysis.people import output
        from jadfer_cli.analysis.people.identify import IdentifyOptions
        from jadfer_cli.analysis.people.identify import identify as find_people
        from jadfer_cli.analysis.people.references import read_references
        from jadfer_cli.analysis.source_video import VideoFinder

        _check(threshold, alike, step, keep_embeddings)
        options = IdentifyOptions(threshold, alike, step, force, keep_embeddings is not None)
        found = reading.found(inputs, recursive=recursive)
        paths = output.result_paths(found, out)
        output.check_targets(output.targets(paths, out, keep_embeddings), overwrite=overwrite)
        finder = VideoFinder(videos)
        embedder = _embedder(detector, recogniser, threads)
        people = None
        if references is not None:
            people = read_references(references, embedder, threshold)
            for text in people.warnings:
                print_warning(text)
        results = [result for result in found.results if result.path in paths]
        identified = find_people(
            results, finder, embedder, people, options,
            lambda results: reading.each(results, "recognising", quiet=quiet),
            # of several results, the bar counts results
            lambda frames, n: reading.tracked(
                frames, "recognising", total=n, quiet=quiet or len(results) > 1
            ),
        )  # fmt: skip
        counted = dict(zip(people.names, people.n_pictures, strict=True)) if people else None
        settings = output.settings_of(
            embedder.recogniser.info, embedder.detector.info.name, threshold, alike, step, counted
        )
        for _ in output.write_results(identified, paths, settings):
            pass
        if keep_embeddings is not None:
            n = output.write_vectors(identified, keep_embeddings)
            reading.wrote(keep_embeddings, count_text(n, "embedding"), quiet=quiet)
        _report(identified, out, quiet=quiet)


def _embedder(detector: str, recogniser: str, threads: int | None) -> Embedder:
    """Loads the detector and the recogniser."""
    from jadfer_cli.analysis.people.embedding import Embedder
    from jadfer_cli.faces.detect import load_detector
    from jadfer_cli.faces.recognise import Recogniser
    from jadfer_cli.options import FaceOptions
    from jadfer_cli.runtime import usable_cores

    threads = threads or usable_cores()
    recognising = Recogniser(recogniser, threads)
    # the result has decided already which faces are large enough
    finding = load_detector(FaceOptions(detector=detector, min_face_px=0), threads)
    return Embedder(finding, recognising)


def _check(threshold: float, alike: float, step: float, vectors: Path | None) -> None:
    for name, value in (("threshold", threshold), ("alike", alike)):
        if not -1 < value < 1:
            raise OptionError(f"--{name} must be a cosine between -1 and 1, not {value:g}.")
    if not step > 0:
        raise OptionError(f"--step must be more than 0 seconds, not {step:g}.")
    if vectors is not None and vectors.suffix != ".npz":
        raise OptionError(f"--keep-embeddings {vectors}: the name must end in .npz.")


def _report(identified: Identified, out: Path, *, quiet: bool) -> None:
    """Writes and prints who appears where, and what could not be read."""
    from jadfer_cli.analysis import tabular
    from jadfer_cli.analysis.people import output
    from jadfer_cli.results.paths import display_names

    seen = output.appearances(identified)
    table = output.appearance_table(seen)
    tabular.write_table(table, out / output.TABLE)
    names = display_names(each.result.path for each in identified.seen)
    show(_people(seen, list(dict.fromkeys(table["person"])), names))
    for text in () if quiet else _changes(seen, names):
        print_note(text)
    lost = sum(each.n_lost for each in identified.seen)
    if lost:
        print_note(f"In {count_text(lost, 'track')} no face was found again; they are unknown.")
    reading.wrote(
        out,
        f"{count_text(len(identified.seen), 'result')} with the columns person and person_score; "
        f"{output.TABLE}",
        quiet=quiet,
    )
    for result, error in identified.failures:
        print_warning(f"{result.path} was not identified: {error}")
    if identified.failures:
        raise typer.Exit(1)


def _people(seen: Sequence[Appearance], order: Sequence[str], names: dict[str, str]) -> Any:
    """One line per person: how often and how long seen, and in which results."""
    from jadfer_cli.results.schema import UNKNOWN

    lines = []
    for person in order:
        own = [each for each in seen if each.person == person]
        # of somebody unknown, a high score means that the person is elsewhere in the frame
        scores = [each.person_score for each in own if each.person_score is not None]
        scores = [] if person == UNKNOWN else scores
        results = list(dict.fromkeys(names[each.result] for each in own))
        more = f" and {len(results) - 3} more" if len(results) > 3 else ""
        lines.append([
            person, str(len(results)), str(len({(each.result, each.track_id) for each in own})),
            f"{sum(each.seen_s for each in own):.2f}",
            f"{min(scores):.2f}" if scores else "-", ", ".join(results[:3]) + more,
        ])  # fmt: skip
    head = ("person", "results", "tracks", "seconds", "lowest score", "in")
    return figures(head, lines, right=range(1, 5))


def _changes(seen: Sequence[Appearance], names: dict[str, str]) -> list[str]:
    """One sentence per place where a track changes its person."""
    return [
        f"{names[before.result]}: track {before.track_id} changes from {before.person} to "
        f"{after.person} at {after.start_s:.2f} s."
        for before, after in pairwise(seen)
        if (before.result, before.track_id) == (after.result, after.track_id)
    ]
