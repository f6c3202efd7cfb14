"""The data of a training with several data sets: each aligned, treated and joined."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from jadfer_cli.errors import OptionError, SplitMissing
from jadfer_cli.runtime import Runtime
from jadfer_cli.training import mixture, run_config, soft_targets, start, witnesses
from jadfer_cli.training.data import AlignedData, DataOptions, default_cache
from jadfer_cli.training.faceset import FaceSet
from jadfer_cli.training.reporting import Reporter
from jadfer_cli.training.teacher import six_looks


class JoinedData(AlignedData):
    """Splits of several data sets, each joined to one face set.

    Args:
        sets: Data set and options of each, by name, the main one first. They share detectors,
            cache and threshold of twins.
        threads: As of `AlignedData`.
        report: As of `AlignedData`.
        device: Where the networks of `witnesses` run.

    Raises:
        ModelError: A detector cannot be loaded.
    """

    def __init__(
        self,
        sets: Mapping[str, tuple[DataOptions, mixture.SetOptions]],
        threads: int,
        report: Reporter,
        device: str = "cpu",
    ) -> None:
        super().__init__(next(iter(sets.values()))[0], threads, report)
        self.sets = {
            name: AlignedData(options, threads, report, self.detectors)
            for name, (options, _) in sets.items()
        }
        self.device = device
        self._targets: dict[str, Path] = {}
        self.set_options = {name: options for name, (_, options) in sets.items()}

    def read(self, split: str) -> FaceSet:
        """One split of all sets that have it, without landmarks.

        Raises:
            SplitMissing: No set has it, or a set has no training images.
            OptionError: An option does not fit a data set.
            TrainingError: A data set is missing or unreadable.
        """
        return self._joined(split, lambda one: one.read(split))

    def load(self, split: str, *, first_only: bool = False) -> FaceSet:
        """One split of all sets that have it, with landmarks; as of `AlignedData.load`."""
        return self._joined(split, lambda one: one.load(split, first_only=first_only))

    def _joined(self, split: str, get: Callable[[AlignedData], FaceSet]) -> FaceSet:
        found, missing = {}, []
        for name, one in self.sets.items():
            try:
                faces = get(one)
            except SplitMissing as error:
                missing.append(error)
                continue
            options = self.set_options[name]
            if split == "train" and options.witnesses:
                options = dataclasses.replace(
                    options, witnesses="", targets=self._witnessed(name, one)
                )
            found[name] = mixture.treated(faces, options, training=split == "train")
        if missing and (split == "train" or not found):
            raise missing[0]
        return mixture.join(found, self.set_options)

    def _witnessed(self, name: str, one: AlignedData) -> Path:
        """The soft targets of a set's training images, made once; says what each rule changed."""
        if name not in self._targets:
            cache = self.options.cache or default_cache()
            found = soft_labels(one, self.set_options[name], cache, self.device)
            self._targets[name] = found.path
            self.report.say(f"{name}: labels, network and geometry combined ({found.path.name})")
            for line in found.combined.report():
                self.report.say(f"  {line}")
        return self._targets[name]


@dataclass(frozen=True)
class SoftLabels:
    """Soft targets of a training split, and how they came about.

    Attributes:
        path: Their file.
        faces: The images.
        p: (n, K), the network's scores.
        combined: Targets and rules.
    """

    path: Path
    faces: FaceSet
    p: npt.NDArray[np.float32]
    combined: witnesses.Combined


def soft_labels(
    data: AlignedData,
    options: mixture.SetOptions,
    cache: Path,
    device: str = "cpu",
    precision: str = "fp32",
) -> SoftLabels:
    """Combines the labels of a set's training split with a network and the face's geometry.

    Landmarks, meshes and scores are cached.

    Raises:
        ModelError: The model or the face landmarker is missing.
        OptionError: `doubted` names an unknown protocol.
        TrainingError: The set cannot be read.
        OutputError: The file cannot be written.
    """
    model = start.labelled(options.witnesses)
    aligned = data.load("train", first_only=True)
    unknown = set(options.doubted) - set(aligned.protocols)
    if unknown:
        raise OptionError(
            f"{aligned.name}: doubted must name protocols of {', '.join(aligned.protocols)}, "
            f"not {', '.join(sorted(unknown))}."
        )
    doubted = np.zeros(len(aligned), bool)
    for protocol in options.doubted:
        doubted[aligned.protocols[protocol].which] = True
    labels = aligned.targets.argmax(1)
    task = f"{model.entry.name} scores {aligned.name}, 6 views"
    with data.report.counting(task, 6 * len(aligned)) as count:
        p = six_looks(
            aligned, model, device=device, precision=precision, keep_in=cache, progress=count
        )
    undecided = witnesses.undecided(labels, p)
    faces = data.with_meshes(aligned.take(undecided))
    assert faces.meshes is not None
    support = np.zeros(p.shape, bool)
    support[undecided] = witnesses.supported(faces.meshes)
    combined = witnesses.combine(labels, p, support, doubted)
    digest = hashlib.sha256(combined.targets.tobytes() + aligned.content_key("").encode())
    path = cache / f"targets-{digest.hexdigest()[:16]}.npz"
    if not path.exists():
        soft_targets.write(path, aligned.image_names, combined.targets)
    return SoftLabels(path, aligned, p, combined)


def data_of(
    inputs: run_config.Config, cache: Path | None, runtime: Runtime, report: Reporter
) -> AlignedData:
    """The one data set, or all that are trained on together."""
    sets = run_config.sets_of(inputs, cache)
    if sets:
        return JoinedData(sets, runtime.threads, report, runtime.device)
    return AlignedData(run_config.data_of(inputs, cache), runtime.threads, report)
