"""Several data sets in one training: how much each counts, and what it can say.

A joined set keeps the origin of each image. Its images are drawn by set and class; its labels are
smoothed by the set's own noise; expressions that the set cannot name are left out of the loss.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from jadfer_cli.errors import OptionError
from jadfer_cli.labels import LABELS
from jadfer_cli.training import soft_targets
from jadfer_cli.training.faceset import Counted, FaceSet, Mixture

LEFT_OUT = -1e4  # added to the logits of expressions that a set cannot name
_LEAST_PRIOR = 1e-4  # keeps the correction of an expression that a set never names finite


@dataclass(frozen=True)
class SetOptions:
    """How one of several data sets takes part.

    Attributes:
        weight: How often its images are drawn, relative to the other sets' images.
        class_weights: How often images of an expression are drawn, relative to the set's others.
        label_smoothing: Fraction of each label distributed evenly over the set's expressions;
            None for that of the run.
        expressions: Those that the set can name; empty for those that its layout says. Images
            with other labels are left out.
        protocol: Which training images count; empty for the widest protocol.
        prior_correction: Strength, 0 to 1, at which logits in the loss are shifted by the log
            ratio of the set's label frequencies to those of the first set (Menon et al. 2021,
            arXiv 2007.07314). The network then learns scores for the first set's frequencies.
        targets: File of soft targets that replace the labels; see `soft_targets`.
        witnesses: Model whose scores, with the geometry of the face, turn the labels of training
            images into soft targets; see `witnesses`. Empty for none.
        doubted: Protocols whose labels count only where another witness agrees.
        choice_weight: Weight of its score in the choice of the best epoch.

    Raises:
        OptionError: A value is out of range or unknown.
    """

    weight: float = 1.0
    class_weights: Mapping[str, float] = field(default_factory=dict)
    label_smoothing: float | None = None
    expressions: tuple[str, ...] = ()
    protocol: str = ""
    prior_correction: float = 0.0
    targets: Path | None = None
    witnesses: str = ""
    doubted: tuple[str, ...] = ()
    choice_weight: float = 1.0

    def __post_init__(self) -> None:
        named = {"weight": self.weight, "choice_weight": self.choice_weight}
        named |= {f"class_weights.{name}": value for name, value in self.class_weights.items()}
        for name, value in named.items():
            if not (math.isfinite(value) and value >= 0):
                raise OptionError(f"{name} must be at least 0, not {value}.")
        if not 0 <= self.prior_correction <= 1:
            raise OptionError(
                f"prior_correction must lie between 0 and 1, not {self.prior_correction}."
            )
        if not 0 <= (self.label_smoothing or 0) < 1:
            raise OptionError(f"label_smoothing must be below 1, not {self.label_smoothing}.")
        if self.targets is not None and self.witnesses:
            raise OptionError("targets and witnesses of a data set exclude each other.")
        for name in (*self.class_weights, *self.expressions):
            if name not in LABELS:
                raise OptionError(
                    f"{name} is not an expression.", f"Expressions: {', '.join(LABELS)}."
                )


def from_table(name: str, table: Mapping[str, Any]) -> SetOptions:
    """The options of a set from its table in the config, without those of its data.

    Raises:
        OptionError: An unknown name, or a value of the wrong type or range.
    """
    kinds: dict[str, tuple[type, ...]] = {
        "weight": (int, float), "class_weights": (dict,), "label_smoothing": (int, float),
        "expressions": (list,), "protocol": (str,), "prior_correction": (int, float),
        "targets": (str,), "witnesses": (str,), "doubted": (list,), "choice_weight": (int, float),
    }  # fmt: skip
    found: dict[str, Any] = {}
    for key, value in table.items():
        if key not in kinds:
            raise OptionError(
                f"data_sets.{name} has no option {key}.", f"It has: {', '.join(kinds)}."
            )
        if not isinstance(value, kinds[key]) or isinstance(value, bool):
            kind = " or ".join(k.__name__ for k in kinds[key])
            raise OptionError(f"data_sets.{name}.{key} must be of type {kind}, not {value!r}.")
        found[key] = value
    for key in {"expressions", "doubted"} & set(found):
        found[key] = tuple(map(str, found[key]))
    if "targets" in found:
        found["targets"] = Path(found["targets"])
    for key, value in found.get("class_weights", {}).items():
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise OptionError(f"data_sets.{name}.class_weights.{key} is no number: {value!r}.")
    try:
        return SetOptions(**found)
    except OptionError as error:
        raise OptionError(f"data_sets.{name}: {error.message}", error.hint) from error


def treated(faces: FaceSet, options: SetOptions, *, training: bool) -> FaceSet:
    """One set as its options want it: its expressions and, for training, its labels.

    Args:
        faces: One split of the set.
        options: Of the set.
        training: Whether it is the training split; the labels of others never change.

    Raises:
        OptionError: The set has no such protocol.
        TrainingError: The file of soft targets does not fit the set.
    """
    if options.expressions:
        faces = _naming(faces, tuple(LABELS.index(name) for name in options.expressions))
    if not training:
        return faces
    if options.targets is not None:
        return soft_targets.apply(faces, options.targets)
    if options.protocol:
        if options.protocol not in faces.protocols:
            raise OptionError(
                f"{faces.name}: protocol must be one of {', '.join(faces.protocols)}, not "
                f"{options.protocol}."
            )
        counted = {options.protocol: faces.protocols[options.protocol]}
        return dataclasses.replace(faces, protocols=counted)
    return faces


def _naming(faces: FaceSet, expressions: Sequence[int]) -> FaceSet:
    """The set among fewer expressions; images with other labels count no longer."""
    known = np.zeros(len(LABELS), bool)
    known[list(expressions)] = True
    targets = np.where(known, faces.targets, 0)
    targets /= np.maximum(targets.sum(1, keepdims=True), 1e-12)
    protocols = {}
    for name, counted in faces.protocols.items():
        own = counted.at(known[counted.classes])
        tied = None if own.tied is None else own.tied & known
        protocols[name] = own._replace(tied=tied)
    return dataclasses.replace(
        faces,
        targets=targets.astype(np.float32),
        protocols=protocols,
        expressions=tuple(sorted(expressions)),
    )


def join(sets: Mapping[str, FaceSet], options: Mapping[str, SetOptions]) -> FaceSet:
    """One set of all images, in the order of the sets.

    Its only protocol, "all", counts what the widest protocol of each set counts.

    Args:
        sets: Treated sets of one split, by name.
        options: Of each.
    """
    parts = tuple(sets.values())
    starts = np.cumsum([0, *map(len, parts)])
    which, classes = [], []
    for part, start in zip(parts, starts, strict=False):
        counted = part.widest
        which.append(counted.which + start)
        classes.append(counted.classes)
    source = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    marks = [part.landmarks_px for part in parts if part.landmarks_px is not None]
    split = parts[0].name.rpartition(" ")[2]
    return FaceSet(
        f"{' + '.join(sets)} {split}",
        [image for part in parts for image in part.images],
        [f"{name}/{image}" for name, part in sets.items() for image in part.image_names],
        np.concatenate([part.targets for part in parts]),
        {"all": Counted(np.concatenate(which), np.concatenate(classes))},
        tuple(sorted({k for part in parts for k in part.expressions})),
        np.concatenate(marks) if len(marks) == len(parts) else None,
        tuple(note for part in parts for note in part.notes),
        people=_people(sets),
        parts=dict(sets),
        mixture=_mixture(sets, options, source),
    )


def _people(sets: Mapping[str, FaceSet]) -> tuple[str, ...]:
    """The people of joined sets; those of two sets are different people."""
    if not any(part.people for part in sets.values()):
        return ()
    return tuple(
        f"{name}/{person}" if person else ""
        for name, part in sets.items()
        for person in part.people or [""] * len(part)
    )


def _mixture(
    sets: Mapping[str, FaceSet], options: Mapping[str, SetOptions], source: npt.NDArray[np.intp]
) -> Mixture:
    used = [options[name] for name in sets]
    known = np.zeros((len(used), len(LABELS)), bool)
    for row, part in zip(known, sets.values(), strict=True):
        row[list(part.expressions)] = True
    return Mixture(
        tuple(sets),
        source,
        weights=np.array([o.weight for o in used]),
        class_weights=np.array([[o.class_weights.get(k, 1.0) for k in LABELS] for o in used]),
        smoothing=np.array(
            [np.nan if o.label_smoothing is None else o.label_smoothing for o in used]
        ),
        known=known,
        correction=np.array([o.prior_correction for o in used]),
        choice_weights=np.array([o.choice_weight for o in used]),
    )


def draw_probabilities(
    mixture: Mixture, classes: npt.NDArray[np.intp], p: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """How often each image is drawn.

    Args:
        mixture: Of n labelled images.
        classes: (n,), their classes.
        p: (n,), probabilities that balance the classes within each set.

    Returns:
        (n,): each set's share is its weight times its number of images; within a set they are
        proportional to `p` times the weight of the class.

    Raises:
        OptionError: All weights are 0.
    """
    drawn = p * mixture.class_weights[mixture.source, classes]
    totals = np.bincount(mixture.source, drawn, len(mixture.names))
    counts = np.bincount(mixture.source, minlength=len(mixture.names))
    shares = mixture.weights * counts * (totals > 0)
    if not shares.sum():
        raise OptionError("All weights of the data sets are 0.", "Give one of them a weight.")
    factors = shares / shares.sum() / np.maximum(totals, 1e-300)
    found: npt.NDArray[np.float64] = drawn * factors[mixture.source]
    return found


def logit_offsets(
    mixture: Mixture, targets: npt.NDArray[np.floating], p: npt.NDArray[np.floating]
) -> npt.NDArray[np.float32]:
    """What is added to the logits of each set's images in the loss, (sets, K).

    Args:
        mixture: Of n labelled images.
        targets: (n, K), their label distributions.
        p: (n,), how often each is drawn: the frequencies that the network would learn.
    """
    found = np.zeros(mixture.known.shape)
    priors = np.stack([
        np.bincount(mixture.source, p * targets[:, k], len(mixture.names))
        for k in range(targets.shape[1])
    ], 1)  # fmt: skip
    priors = priors / np.maximum(priors.sum(1, keepdims=True), 1e-300)
    logs = np.log(np.maximum(priors, _LEAST_PRIOR))
    both = mixture.known & mixture.known[0]
    found[both] = (mixture.correction[:, None] * (logs - logs[0]))[both]
    found[~mixture.known] = LEFT_OUT
    return found.astype(np.float32)
