"""Measures a model on a labelled data set: what `jadfer evaluate` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli._version import __version__
from jadfer_cli.common import atomic_write, explain_os_errors
from jadfer_cli.errors import OptionError, TrainingError
from jadfer_cli.expression.checkpoint import Checkpoint
from jadfer_cli.expression.networks.base import Network
from jadfer_cli.expression.scores import MAJORITY, Calibration
from jadfer_cli.runtime import Runtime
from jadfer_cli.text import count_text, json_text
from jadfer_cli.training import calibrate, charts
from jadfer_cli.training import start as starts
from jadfer_cli.training.data import AlignedData, DataOptions
from jadfer_cli.training.evaluate import figures, intervals, scored, untied
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.probe_chart import probe_chart
from jadfer_cli.training.probes import EXAMPLES, Probed, probe, require_maps
from jadfer_cli.training.reporting import Reporter
from jadfer_cli.training.scoring import logits_of
from jadfer_cli.training.twins import Twins
from jadfer_cli.training.vote_shares import compare


@dataclass(frozen=True)
class Measurement:
    """The figures of a model on one split.

    Attributes:
        figures: JSON-ready: those of the chosen protocol at the top, of all under "protocols".
        before: (n, K), probabilities without temperature, of the chosen protocol's n images.
        after: (n, K), with temperature.
        classes: (n,), the true classes.
        probed: What the probes found, if they were wanted; their figures are under "probes".
    """

    figures: dict[str, Any]
    before: npt.NDArray[np.float64]
    after: npt.NDArray[np.float64]
    classes: npt.NDArray[np.intp]
    probed: Probed | None = None


def measure(
    model: str,
    options: DataOptions,
    split: str,
    runtime: Runtime,
    *,
    protocol: str | None = None,
    refit_temperature: bool = False,
    probes: bool = False,
    report: Reporter,
) -> Measurement:
    """Scores a split and computes all figures.

    Args:
        model: A registered name or the path of a checkpoint.
        options: The data set.
        split: "train", "valid" or "test".
        runtime: Device, threads and batch size.
        protocol: The one to put first; None for the data set's main protocol.
        refit_temperature: Fit the temperature on the data set's valid split.
        probes: Also disturb the network's parts, as `probes.probe` does.
        report: Receives notes and progress.

    Raises:
        OptionError: An unknown protocol, too few images for a temperature, or no maps to probe.
        ModelError: The model cannot be loaded, or has other labels.
        TrainingError: The data set cannot be read.
    """
    loaded = starts.labelled(model)
    data = AlignedData(options, runtime.threads, report)
    network = _built(loaded, runtime, probes=probes)
    faces = data.load(split)
    order = _order(faces, protocol)
    twins = _twins(data, faces, split, runtime.device)
    clusters = None if twins is None else twins.draws(split)
    stored = _stored(loaded)
    calibration = _refitted(network, data, runtime, loaded) if refit_temperature else stored
    temperature = calibration["temperature"]
    raw = _logits(network, faces, runtime, report)
    logits = raw + _shift(loaded)
    scores = {**loaded.scores, MAJORITY: _calibration(loaded, temperature)}
    probed = _probed(network, faces, order[0], report) if probes else None
    by_protocol = _by_protocol(logits, faces, order, temperature, clusters)
    result = {
        **by_protocol[order[0]],
        "dataset": options.dataset,
        "split": split,
        "data_path": str(options.data),
        "data_notes": list(faces.notes),
        **calibration,
        "test_time_averaging": False,
        **_provenance(loaded, faces, data),
        "protocols": by_protocol,
        **_clean(logits, faces, split, order, temperature, twins),
        "votes": compare(raw, faces, scores, clusters),
        "probes": None if probed is None else probed.figures,
    }
    (before, classes), (after, _) = (scored(logits, faces, order[0], t) for t in (1.0, temperature))
    return Measurement(result, before, after, classes, probed)


def _built(loaded: Checkpoint, runtime: Runtime, *, probes: bool) -> Network:
    """The network on its device; with probes, one that has maps."""
    network = loaded.build().to(runtime.device)
    if probes:
        require_maps(network)
    return network


def _order(faces: FaceSet, first: str | None) -> list[str]:
    """All protocols, the wanted or main one first."""
    main = first or faces.main_protocol
    if main not in faces.protocols:
        raise OptionError(f"`protocol` must be one of {', '.join(faces.protocols)}, not {main}.")
    return [main, *(name for name in faces.protocols if name != main)]


def _by_protocol(
    logits: npt.NDArray[np.float32],
    faces: FaceSet,
    order: Sequence[str],
    temperature: float,
    clusters: npt.NDArray[np.intp] | None,
) -> dict[str, dict[str, Any]]:
    """The figures of each protocol, with intervals."""
    found = {}
    for name in order:
        found[name] = figures(logits, faces, name, temperature)
        found[name]["intervals_95"] = intervals(logits, faces, name, temperature, clusters=clusters)
        found[name]["ece_before_temperature"] = figures(logits, faces, name)["ece"]
    return found


def _twins(data: AlignedData, faces: FaceSet, split: str, device: str) -> Twins | None:
    """The data set's twins; None if another split of it cannot be read."""
    try:
        return data.twins({split: faces}, device)
    except TrainingError as error:
        data.report.warn(f"Twins in other splits are not known: {error.message}")
        return None


def _clean(
    logits: npt.NDArray[np.float32],
    faces: FaceSet,
    split: str,
    order: Sequence[str],
    temperature: float,
    twins: Twins | None,
) -> dict[str, Any]:
    """Makes "clean", the figures without images that have a twin in training, and "twins", numbers.

    "clean" is None if the data set has no other training split, or no image remains.
    """
    if twins is None:
        return {"clean": None, "twins": None}
    _, sizes = np.unique(twins.clusters(split), return_counts=True)
    counts: dict[str, Any] = {
        "threshold": twins.threshold,
        "splits_compared": sorted(twins.names),
        "images_with_twin_in_train": None,
        "images_with_twin_in_split": int(sizes[sizes > 1].sum()),
    }
    if split == "train" or "train" not in twins.names:
        return {"clean": None, "twins": counts}
    having = twins.having(split, ("train",))
    counts["images_with_twin_in_train"] = int(having.sum())
    kept = faces.take(~having)
    if not len(kept.protocols[order[0]].which):
        return {"clean": None, "twins": counts}
    clusters = twins.draws(split)[~having]
    found = _by_protocol(logits[~having], kept, order, temperature, clusters)
    return {"clean": found, "twins": counts}


def _shift(loaded: Checkpoint) -> npt.NDArray[np.float32]:
    """What the biases of a tuned model, added after the temperature, are before it."""
    bias = np.array(loaded.scores[MAJORITY].bias or 0.0, np.float32)
    shift: npt.NDArray[np.float32] = np.float32(loaded.temperature) * bias
    return shift


def _calibration(loaded: Checkpoint, temperature: float) -> Calibration:
    """A model's calibration with another temperature for its shifted logits."""
    if not loaded.scores[MAJORITY].bias:
        return Calibration(temperature)
    return Calibration(temperature, tuple((_shift(loaded) / temperature).tolist()))


def _stored(loaded: Checkpoint) -> dict[str, Any]:
    """The temperature that the model holds, and what it was fitted on."""
    keys = ("temperature_fitted_on", "temperature_kept_from")
    return {"temperature": loaded.temperature, **{key: loaded.metrics.get(key) for key in keys}}


def _refitted(
    network: Network, data: AlignedData, runtime: Runtime, loaded: Checkpoint
) -> dict[str, Any]:
    """A temperature fitted on the valid split, and a description of that set."""
    valid = data.load("valid")
    which, classes, left_out = untied(valid, valid.main_protocol)
    if len(classes) < calibrate.MIN_IMAGES:
        raise OptionError(
            f"`refit_temperature` needs {calibrate.MIN_IMAGES} labelled validation images; "
            f"{valid.name} has {len(classes)}."
        )
    logits = _logits(network, valid, runtime, data.report) + _shift(loaded)
    temperature = calibrate.fit_temperature(logits[which], classes)
    n = count_text(len(classes), "image")
    fitted_on = f"{valid.name}, {valid.main_protocol}{left_out}, {n}"
    return {
        "temperature": temperature,
        "temperature_fitted_on": fitted_on,
        "temperature_kept_from": None,
    }


def _logits(
    network: Network, faces: FaceSet, runtime: Runtime, report: Reporter
) -> npt.NDArray[np.float32]:
    with report.counting(f"scoring {faces.name}", len(faces)) as progress:
        done = 0

        def count(n: int) -> None:
            nonlocal done
            done += n
            progress(done)

        logits: npt.NDArray[np.float32] = logits_of(
            network, faces, runtime.batch_size, progress=count
        ).numpy()
        return logits


def _probed(network: Network, faces: FaceSet, protocol: str, report: Reporter) -> Probed:
    with report.counting(f"probing with {faces.name}", len(faces)) as progress:
        return probe(network, faces, protocol, progress=progress)


def _provenance(loaded: Checkpoint, faces: FaceSet, data: AlignedData) -> dict[str, Any]:
    """Images, detector, model and version of a measurement."""
    marks: Any = faces.landmarks_px
    info = data.detectors[0].info
    return {
        "images": len(faces),
        "images_without_face": int(np.isnan(marks[:, 0, 0, 0]).sum()),
        "detector": info.name,
        "detector_sha256": info.sha256,
        "model": loaded.entry.name,
        "model_sha256": loaded.sha256,
        "jadfer_version": __version__,
    }


def write(
    found: Measurement,
    json_file: Path | None,
    plots: Path | None,
    probe_figure: Path | None = None,
) -> list[Path]:
    """Writes the figures as JSON, and charts beside it or into a folder.

    Args:
        found: A measurement.
        json_file: Where the JSON goes; None for none.
        plots: Folder of the charts; None for beside the JSON.
        probe_figure: The chart of the probes; None for beside the other charts.

    Returns:
        The files written.

    Raises:
        OutputError: One cannot be written.
    """
    written: list[Path] = []
    if json_file is not None:
        with atomic_write(json_file) as part:
            part.write_text(json_text(found.figures, indent=1) + "\n", "utf-8", newline="\n")
        written.append(json_file)
    folder, prefix = plots, ""
    if folder is None and json_file is not None:
        folder, prefix = json_file.parent, f"{json_file.stem}-"
    if folder is not None:
        files = [folder / f"{prefix}{kind}.png" for kind in ("confusion", "reliability")]
        with explain_os_errors(folder):
            _draw(found, *files)
        written += files
    if found.probed is not None and (probe_figure or folder):
        target = probe_figure or Path(folder or "", f"{prefix}probes.png")
        f = found.figures
        head = f"{f['model']}, maps of {f['data']}: mean map, and its maps of {EXAMPLES} faces"
        with explain_os_errors(target):
            charts.write(probe_chart(found.probed, head), target)
        written.append(target)
    return written


def _draw(found: Measurement, confusion: Path, reliability: Path) -> None:
    f = found.figures
    head = f"{f['model']}, {f['data']}, {f['protocol']}, n = {f['n']:,}"
    accuracy = f"accuracy {f['accuracy']:.1%}, mean recall {f['mean_class_recall']:.1%}"
    charts.write(charts.confusion_chart(f, f"{head}\n{accuracy}"), confusion)
    ece = (f["ece_before_temperature"], f["ece"])
    chart = charts.reliability_chart(
        found.before, found.after, found.classes, f["temperature"], ece, head
    )
    charts.write(chart, reliability)
