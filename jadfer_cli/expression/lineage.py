"""Where weights come from: start weights, data and terms, and what their figures are worth.

A checkpoint's metrics hold under "training" how it was trained. There, "start_model" and
"teacher_models" say the same of the weights that it learned from, and so on to the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jadfer_cli.text import count_text

if TYPE_CHECKING:
    from jadfer_cli.expression.checkpoint import Checkpoint

OWN_IMAGES = "the users' own images"
DATASET_TITLES = {
    "ferplus": "FER+",
    "rafdb": "RAF-DB",
    "affectnet7": "AffectNet (7 classes)",
    "affectnet8": "AffectNet (8 classes)",
    "press_faces": "press photographs and film stills (muxspace/facial_expressions)",
    "ms-celeb-1m": "MS-Celeb-1M",
    "codes": "human codes of the user's own videos",
}
_PROTOCOL_TITLES = {("press_faces", "press"): "press photographs (muxspace/facial_expressions)"}
MIN_QUOTED_IMAGES = 100  # a share of fewer is off by 10 points or more (95 % interval)
_MAX_ANCESTORS = 20
_KEPT = (
    "dataset",
    "data",
    "data_sets",
    "images",
    "start",
    "start_model",
    "teacher",
    "teacher_models",
)
NOT_RECORDED = "not recorded; ask the author of the file"


@dataclass(frozen=True)
class Ancestor:
    """A model, and what it was trained on.

    Attributes:
        name: Its name.
        sha256: Hash of its file; None if not recorded.
        part: "whole", or "stem" if the next model took only that.
        data_sets: Each as `jadfer train` names it, and in words; empty if not recorded.
        images: Number of training images; None if not recorded.
    """

    name: str
    sha256: str | None
    part: str
    data_sets: tuple[tuple[str, str], ...]
    images: int | None

    @property
    def dataset(self) -> str:
        """All data sets in words."""
        return " and ".join(title for _, title in self.data_sets)


def origin(weights: Checkpoint, part: str = "whole") -> dict[str, Any]:
    """What a model trained from these weights records about them, JSON-ready.

    Args:
        weights: Start weights or a teacher.
        part: "whole", "stem" or "teacher".
    """
    training = _mapping(weights.metrics.get("training"))
    return {
        "name": weights.entry.name,
        "sha256": weights.sha256,
        "part": part,
        "architecture": weights.architecture,
        "terms": weights.entry.terms,
        "training": {key: training[key] for key in _KEPT if key in training},
    }


def inherited_terms(training: Mapping[str, Any]) -> str:
    """The terms of a model by those of the weights that it learned from; empty without any."""
    teachers = training.get("teacher_models")
    sources = [training.get("start_model"), *(teachers if isinstance(teachers, list) else ())]
    found: dict[str, str] = {}
    for source in map(_mapping, sources):
        if source:
            found[str(source.get("name"))] = str(source.get("terms") or NOT_RECORDED)
    return "; ".join(
        # terms that already name their own source are passed on as they are
        terms if terms.startswith(_INHERITED) else f"{_INHERITED} {name}, whose terms hold: {terms}"
        for name, terms in found.items()
    )


_INHERITED = "derived from"


def ancestors(name: str, sha256: str | None, metrics: Mapping[str, Any]) -> list[Ancestor]:
    """A model, its start weights, theirs, and so on.

    Args:
        name: The model's name.
        sha256: Hash of its file.
        metrics: Those of its checkpoint.
    """
    found: list[Ancestor] = []
    current: Mapping[str, Any] = {
        "name": name, "sha256": sha256, "training": _mapping(metrics).get("training"),
    }  # fmt: skip
    while current and len(found) < _MAX_ANCESTORS:
        training = _mapping(current.get("training"))
        found.append(_ancestor(current, training))
        following = _mapping(training.get("start_model"))
        start = training.get("start")
        if not following and isinstance(start, str) and start != "scratch":
            following = {"name": start}  # jadfer up to 0.5 recorded the name alone
        current = following
    return found


def _ancestor(model: Mapping[str, Any], training: Mapping[str, Any]) -> Ancestor:
    images, sha256 = training.get("images"), model.get("sha256")
    sets = {"": {"layout": training.get("dataset")}, **_mapping(training.get("data_sets"))}
    data_sets: list[tuple[str, str]] = []
    for name, table in sets.items():
        key, protocol = _mapping(table).get("layout", name), _mapping(table).get("protocol")
        if isinstance(key, str) and key:
            title = DATASET_TITLES.get(key, OWN_IMAGES)
            data_sets.append((key, _PROTOCOL_TITLES.get((key, str(protocol)), title)))
    return Ancestor(
        name=str(model.get("name", "a model")),
        sha256=sha256 if isinstance(sha256, str) else None,
        part=str(model.get("part", "whole")),
        data_sets=tuple(data_sets),
        images=images if isinstance(images, int) else None,
    )


def text(name: str, sha256: str | None, metrics: Mapping[str, Any]) -> str:
    """The lineage in one line: "trained on FER+ (27,698 images), from mobilefacenet.pt: ..."."""
    parts = []
    for i, model in enumerate(ancestors(name, sha256, metrics)):
        images = "" if model.images is None else f" ({count_text(model.images, 'image')})"
        data = f"trained on {model.dataset}{images}" if model.dataset else "data not recorded"
        file = f", sha256 {model.sha256[:12]}" if model.sha256 else ""
        stem = "the stem of " if model.part == "stem" else ""
        parts.append(f"{data}" if i == 0 else f"from {stem}{model.name}{file}: {data}")
    return "; ".join(parts)


def calibrated_on(metrics: Mapping[str, Any]) -> str:
    """The images that the temperature was fitted on, in words; empty if on none."""
    fitted_on = _mapping(metrics).get("temperature_fitted_on")
    # jadfer up to 0.5 wrote "nothing: 8 validation images are too few (100)"
    if not isinstance(fitted_on, str) or fitted_on.startswith("nothing"):
        return ""
    return fitted_on


def votes_fitted_on(metrics: Mapping[str, Any]) -> str:
    """The images whose votes the vote shares were fitted to, in words; empty if to none."""
    fitted_on = _mapping(metrics).get("votes_fitted_on")
    return fitted_on if isinstance(fitted_on, str) else ""


def temperature_text(temperature: float, metrics: Mapping[str, Any]) -> str:
    """One sentence about the temperature and where it comes from."""
    if fitted_on := calibrated_on(metrics):
        return f"Temperature {temperature:.3f}, fitted on {fitted_on}."
    kept = _mapping(metrics).get("temperature_kept_from")
    source = f"kept from {kept}" if isinstance(kept, str) and kept else "not fitted"
    return f"Temperature {temperature:.3f}, {source}: the probabilities are not calibrated."


def measured(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The sets that the model was measured on, "ferplus test majority", with their figures."""
    for name, value in _mapping(metrics).items():
        if isinstance(value, Mapping) and {"accuracy", "n"} <= set(value):
            yield name.replace("_", " "), value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
