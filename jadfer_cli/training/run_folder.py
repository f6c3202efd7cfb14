"""The files of a training run's folder: config, log, and the finished model."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jadfer_cli.common import atomic_write
from jadfer_cli.errors import OptionError
from jadfer_cli.expression import checkpoint, lineage
from jadfer_cli.expression.networks.base import Network
from jadfer_cli.expression.scores import MAJORITY, VOTE_SHARE, Calibration
from jadfer_cli.text import count_text
from jadfer_cli.training import calibrate
from jadfer_cli.training.evaluate import figures, split_rows, untied
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.scoring import logits_of
from jadfer_cli.training.source_calibration import by_source
from jadfer_cli.training.start import Start
from jadfer_cli.training.state import EpochRecord

CONFIG, LOG, MODEL, TWINS = "config.toml", "log.csv", "model.safetensors", "twins.csv"


def read_config(path: Path) -> dict[str, Any]:
    """Reads a config file.

    Raises:
        OptionError: It is missing or not TOML.
    """
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise OptionError(f"The config file {path} cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"The config file {path} is not TOML: {error}.") from error


def write_config(table: dict[str, Any], path: Path) -> None:
    """Writes a config file.

    Raises:
        OutputError: It cannot be written.
    """
    import tomli_w

    with atomic_write(path) as part:
        part.write_text(tomli_w.dumps(table), "utf-8", newline="\n")


def write_log(history: Sequence[EpochRecord], path: Path) -> None:
    """Writes one line per epoch: loss, learning rate, time, and the figures on validation.

    Raises:
        OutputError: It cannot be written.
    """
    names = [name for name in vars(history[0]) if name != "figures"]
    figure_names = list(history[0].figures)

    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*names, *(f"valid_{name}" for name in figure_names)])
        for record in history:
            values = [getattr(record, name) for name in names]
            writer.writerow([*values, *(record.figures[name] for name in figure_names)])


def finish(
    network: Network,
    valid: FaceSet,
    out: Path,
    history: dict[str, Any],
    start: Start,
    precision: str = "fp32",
) -> tuple[Path, dict[str, Any]]:
    """Fits the calibration of each definition of scores on validation and writes the model.

    Args:
        network: With its best weights.
        valid: The validation faces; of joined sets the first fits the temperature.
        out: Folder of the run.
        history: How it was trained; stored in the file's metrics as "training".
        start: Its temperature is kept if validation has fewer than calibrate.MIN_IMAGES images.
        precision: "fp32" or "bf16", of the scores on validation.

    Returns:
        The file and its metrics, "temperature" among them.

    Raises:
        OutputError: The file cannot be written.
    """
    sets = list(split_rows(logits_of(network, valid, precision=precision).numpy(), valid))
    _, main, logits = sets[0]
    which, classes, left_out = untied(main, main.main_protocol)
    temperature, source = start.temperature, {"temperature_kept_from": start.name}
    if len(classes) >= calibrate.MIN_IMAGES:
        # over all expressions, as `annotate` uses it, even if the data set names fewer
        temperature = calibrate.fit_temperature(logits[which], classes)
        source = {"temperature_fitted_on": f"{main.name}, {main.main_protocol}{left_out}"}
    scores = {MAJORITY: Calibration(temperature)}
    if main.votes is not None and len(main) >= calibrate.MIN_IMAGES:
        scores[VOTE_SHARE] = calibrate.fit_vote_share(logits, main.votes)
        source |= {"votes_fitted_on": f"{main.name}, {count_text(len(main), 'image')}"}
    metrics: dict[str, Any] = {
        "training": history,
        "temperature": temperature,
        **source,
    }
    for _, part, own in sets:
        for protocol in part.protocols:
            found = figures(own, part, protocol, temperature)
            found["ece_before_temperature"] = figures(own, part, protocol)["ece"]
            metrics[f"{part.name} {protocol}"] = found
    if len(sets) > 1:
        metrics["calibration_by_source"] = {
            name: by_source(own, part, scores[MAJORITY]) for name, part, own in sets
        }
    path = out / MODEL
    checkpoint.save(
        path, network, temperature=temperature, metrics=metrics, scores=scores,
        terms=lineage.inherited_terms(history),
    )  # fmt: skip
    return path, metrics
