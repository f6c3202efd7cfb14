"""What a training run leaves behind: recipe, log, and the finished model."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jadfer_cli.common import atomic_write
from jadfer_cli.errors import OptionError
from jadfer_cli.expression import checkpoint
from jadfer_cli.expression.networks.jadfer import Jadfer
from jadfer_cli.training import calibrate
from jadfer_cli.training.evaluate import figures
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.loop import logits_of
from jadfer_cli.training.state import EpochRecord

CONFIG, LOG, MODEL = "config.toml", "log.csv", "model.safetensors"


def read_config(path: Path) -> dict[str, Any]:
    """A recipe from TOML.

    Raises:
        OptionError: It is missing or no TOML.
    """
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise OptionError(f"The recipe {path} cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"The recipe {path} is not TOML: {error}.") from error


def write_config(table: dict[str, Any], path: Path) -> None:
    """A recipe as TOML."""
    import tomli_w

    with atomic_write(path) as part:
        part.write_text(tomli_w.dumps(table), "utf-8")


def write_log(history: Sequence[EpochRecord], path: Path) -> None:
    """One line an epoch: losses, learning rate, time, and the figures on validation."""
    names = [name for name in vars(history[0]) if name != "figures"]
    figure_names = list(history[0].figures)

    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*names, *(f"valid_{name}" for name in figure_names)])
        for record in history:
            values = [getattr(record, name) for name in names]
            writer.writerow([*values, *(record.figures[name] for name in figure_names)])


def finish(
    network: Jadfer, valid: FaceSet, out: Path, history: dict[str, Any], temperature: float
) -> tuple[Path, dict[str, Any]]:
    """Fits the temperature on validation and writes the model.

    Args:
        network: With its best weights.
        valid: The validation faces.
        out: Folder of the run.
        history: What made it; goes into the file's metrics as "training".
        temperature: Kept where validation has fewer than calibrate.FEWEST images.

    Returns:
        The file and its metrics, "temperature" among them.
    """
    logits = logits_of(network, valid).numpy()
    which, classes = valid.protocols[valid.main_protocol]
    fitted_on = f"nothing: {len(classes)} validation images are too few ({calibrate.FEWEST})"
    if len(classes) >= calibrate.FEWEST:
        # over all expressions, as `annotate` uses it, also where the data set names fewer
        temperature = calibrate.fit_temperature(logits[which], classes)
        fitted_on = f"{valid.name}, {valid.main_protocol}"
    metrics: dict[str, Any] = {
        "training": history,
        "temperature": temperature,
        "temperature_fitted_on": fitted_on,
    }
    for protocol in valid.protocols:
        found = figures(logits, valid, protocol, temperature)
        found["ece_before_temperature"] = figures(logits, valid, protocol)["ece"]
        metrics[f"{valid.name} {protocol}"] = found
    path = out / MODEL
    checkpoint.save(path, network, temperature=temperature, metrics=metrics)
    return path, metrics
