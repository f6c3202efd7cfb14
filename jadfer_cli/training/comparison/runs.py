"""One training of a comparison, and what is kept of it."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jadfer_cli._version import __version__
from jadfer_cli.common import atomic_write
from jadfer_cli.errors import TrainingError
from jadfer_cli.expression.networks.base import Network
from jadfer_cli.runtime import Runtime
from jadfer_cli.text import json_text, parsed_json
from jadfer_cli.training import cached, loop, recipes, run_folder
from jadfer_cli.training.cached import FineMaps
from jadfer_cli.training.comparison.labellings import Labelling
from jadfer_cli.training.comparison.plan import Job, Plan
from jadfer_cli.training.comparison.statistics import Scores
from jadfer_cli.training.evaluate import figures, intervals, scored
from jadfer_cli.training.options import TrainOptions
from jadfer_cli.training.recipe_options import as_table
from jadfer_cli.training.recipe_size import size_of_config
from jadfer_cli.training.scoring import logits_of
from jadfer_cli.training.start import Start
from jadfer_cli.training.state import BEST, STATE, EpochRecord

RESULT, SCORES = "result.json", "scores.npz"
_ECE_DRAWS = 500


@dataclass(frozen=True)
class Finished:
    """A finished training.

    Attributes:
        job: Which one.
        facts: Figures on test, size, options, digests of the images; JSON-ready.
        scores: What it did on each test image.
    """

    job: Job
    facts: Mapping[str, Any]
    scores: Scores

    @property
    def valid_score(self) -> float:
        """Its figure on validation, which chooses the learning rate."""
        return float(self.facts["valid_score"])

    @property
    def images(self) -> tuple[str, ...]:
        """Digests of its images; rows are ranked only if these are equal."""
        return tuple(self.facts["images"].values())


def load(folder: Path) -> Finished | None:
    """The finished training in a folder; None if there is none.

    Raises:
        TrainingError: Its files are damaged.
    """
    if not (folder / RESULT).is_file():
        return None
    try:
        facts = parsed_json((folder / RESULT).read_text("utf-8"))
        job = Job(**facts["job"])
        with np.load(folder / SCORES, allow_pickle=False) as kept:
            fields = (field.name for field in dataclasses.fields(Scores))
            scores = Scores(**{name: kept[name] for name in fields})
        finished = Finished(job, facts, scores)
        if not (finished.images and np.isfinite(finished.valid_score)):
            raise ValueError("figures are missing")
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise TrainingError(
            f"The result in {folder} is damaged ({type(error).__name__}: {error}).",
            "Remove this folder; the same command trains it again.",
        ) from error
    return finished


def train(
    plan: Plan,
    job: Job,
    labelling: Labelling,
    start: Start,
    out: Path,
    runtime: Runtime,
    maps: tuple[FineMaps, FineMaps] | None,
    callbacks: loop.Callbacks,
) -> Finished:
    """Trains one network, or resumes it, and measures it on the test images.

    Args:
        plan: The comparison.
        job: Which training.
        labelling: Its images.
        start: Weights to start from.
        out: The comparison's folder.
        runtime: Device and threads.
        maps: Of the training and validation images; None to train end to end.
        callbacks: As of `loop.train`.

    Raises: as of `loop.train`.
    """
    folder, options, history = job.folder(out), plan.options(job), list[EpochRecord]()

    def on_resume(records: list[EpochRecord]) -> None:
        history.extend(records)
        callbacks.on_resume(records)

    def on_epoch(record: EpochRecord) -> None:
        history.append(record)
        callbacks.on_epoch(record)

    calls = dataclasses.replace(callbacks, on_resume=on_resume, on_epoch=on_epoch)
    sets = labelling.sets
    if maps is None:
        network = loop.train(
            options, sets["train"], sets["valid"], folder, start=start, device=runtime.device,
            callbacks=calls,
        )  # fmt: skip
    else:
        network = cached.train(
            options, sets["train"], sets["valid"], folder, start=start, folder=out, maps=maps,
            device=runtime.device, callbacks=calls,
        )  # fmt: skip
    found = _finish(job, options, labelling, start, network, history, folder, runtime)
    for name in (STATE, BEST):  # model.safetensors holds what is needed
        (folder / name).unlink(missing_ok=True)
    return found


def _finish(
    job: Job,
    options: TrainOptions,
    labelling: Labelling,
    start: Start,
    network: Network,
    history: Sequence[EpochRecord],
    folder: Path,
    runtime: Runtime,
) -> Finished:
    """Writes the model, measures it on the test images, and writes the result."""
    sets, best = labelling.sets, max((r for r in history if r.best), key=lambda r: r.epoch)
    lineage = {
        "dataset": labelling.dataset,
        "labelling": labelling.name,
        "start": start.name,
        **({"start_model": start.origin} if start.origin else {}),
        "images": len(sets["train"]),
        "best_epoch": best.epoch,
        "method": recipes.facts(job.recipe),
        "options": as_table(options),
    }
    _, metrics = run_folder.finish(
        network, sets["valid"], folder, lineage, start, options.precision
    )
    scores, measured = _measured(
        network, labelling, metrics["temperature"], runtime, options.precision
    )
    facts = {
        "job": dataclasses.asdict(job),
        "valid_score": best.figures["score"],
        "best_epoch": best.epoch,
        "seconds": round(sum(record.seconds for record in history), 1),
        "device": runtime.device_name,
        "start": start.name,
        "temperature": metrics["temperature"],
        "images": labelling.digests(),
        "n": {split: len(faces) for split, faces in sets.items()},
        **dataclasses.asdict(size_of_config(network.config)),
        "options": as_table(options),
        "jadfer_version": __version__,
        **measured,
    }
    _write(folder, facts, scores)
    return Finished(job, facts, scores)


def _measured(
    network: Network, labelling: Labelling, temperature: float, runtime: Runtime, precision: str
) -> tuple[Scores, dict[str, Any]]:
    """Scores per test image in the training's precision, and ECE with its interval."""
    test = labelling.sets["test"]
    logits = logits_of(network, test, runtime.batch_size, precision=precision).numpy()
    protocol = test.main_protocol
    which = test.protocols[protocol].which
    p, classes = scored(logits, test, protocol, temperature)
    likelihood = np.log(np.maximum(p[np.arange(len(classes)), classes], 1e-12))
    scores = Scores(
        p.argmax(1) == classes, likelihood, classes, labelling.clean[which], labelling.draws[which]
    )
    ends = intervals(
        logits, test, protocol, temperature, clusters=labelling.draws, draws=_ECE_DRAWS
    )
    found = figures(logits, test, protocol, temperature)
    return scores, {"ece": found["ece"], "ece_interval": ends["ece"], "test": found}


def _write(folder: Path, facts: dict[str, Any], scores: Scores) -> None:
    """Writes the scores, then the facts, whose file says that the training is finished."""
    with atomic_write(folder / SCORES) as part, part.open("wb") as file:
        arrays: dict[str, Any] = dict(vars(scores))
        np.savez_compressed(file, **arrays)
    with atomic_write(folder / RESULT) as part:
        part.write_text(json_text(facts, indent=1) + "\n", "utf-8", newline="\n")
