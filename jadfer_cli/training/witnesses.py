"""Labels of one annotator, combined with two further witnesses into soft targets.

One person's label is a weak vote. A trained network's scores are a second vote, and the geometry of
the face a third: blendshapes of MediaPipe's face landmarker, which never saw expression labels.
What two of the three agree on is kept. Where they contradict each other, the target leans towards
neutral, or the image is left out.

The rules follow a look at the 98 faces that a first version changed among 492 of `press_faces`.
Neutral geometry is only a lack of movement, and the blendshapes miss half of the sad and most of
the angry faces: of 36 press faces whose sadness, fear or anger it had turned into neutral, the
label fits 22. Such labels now keep half of their weight. Crying faces show the mouth of a smile, so
only neutral and contempt become smiles. Of 17 faces labelled surprise without raised brows or wide
eyes, 12 talk. Of 11 film stills whose label was outvoted, the new expression fits 8.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jadfer_cli.faces.landmarker import PRESENT, FaceMeshes
from jadfer_cli.labels import BLENDSHAPES, LABELS
from jadfer_cli.text import count_text

NEUTRAL, HAPPINESS, SURPRISE, SADNESS, ANGER = range(5)
_MAY_BE_SMILES = [LABELS.index(name) for name in ("neutral", "contempt")]
AGREED, LEFT_OUT = "two witnesses agree", "no two witnesses agree, doubted: left out"
_SMILE, _OUTVOTED = "a smile, with or without teeth", "network and geometry outvote the label"
_ONLY_JAW = "surprise without brows, wide eyes or the network: towards neutral"
_ALONE = "the label stands alone: half of its weight"


@dataclass(frozen=True)
class Thresholds:
    """From which blendshape values a movement counts, and from which score the network's vote.

    On 320 press photographs (`tests/bench/witnesses.py` prints their quantiles) geometry supports
    the label of 81 % of happy, 34 % of surprised, 47 % of sad and 34 % of angry faces. It supports
    these expressions in 8, 2, 10 and 9 % of the faces labelled neutral. The blendshapes of the nose
    stay at zero, so disgust is never supported.
    """

    smile: float = 0.4
    jaw: float = 0.15
    brow_outer: float = 0.2
    brow_inner: float = 0.15
    eyes_wide: float = 0.06
    frown: float = 0.05
    brow_down: float = 0.2
    smiling: float = 0.5  # the network's score of happiness, for a smile to replace a label
    sure: float = 0.6  # the network's highest score, to outvote the label


@dataclass(frozen=True)
class Combined:
    """Soft targets, and the rule that made each.

    Attributes:
        targets: float32 (n, K); zeros for images that are left out.
        rules: n names of rules.
        labels: (n,), the annotator's expressions.
    """

    targets: npt.NDArray[np.float32]
    rules: list[str]
    labels: npt.NDArray[np.intp]

    @property
    def changed(self) -> npt.NDArray[np.bool_]:
        """Images whose top expression is another than the label, or that are left out, (n,)."""
        left_out = self.targets.sum(1) == 0
        differs: npt.NDArray[np.bool_] = (self.targets.argmax(1) != self.labels) | left_out
        return differs

    def report(self) -> list[str]:
        """One line per rule: its images, and those whose top expression it changed."""
        lines = []
        for rule, n in Counter(self.rules).most_common():
            own = np.array([name == rule for name in self.rules]) & self.changed
            after = self.targets[own]
            moves = Counter(
                f"{LABELS[label]} to {LABELS[target.argmax()] if target.any() else 'none'}"
                for label, target in zip(self.labels[own], after, strict=True)
            )
            each = ", ".join(f"{move} {count:,}" for move, count in moves.most_common(6))
            lines.append(
                f"{rule}: {count_text(n, 'image')}, top expression changed in "
                f"{int(own.sum()):,}" + (f" ({each})" if each else "")
            )
        return lines


def supported(meshes: FaceMeshes, limits: Thresholds | None = None) -> npt.NDArray[np.bool_]:
    """Expressions that the blendshapes of each face allow, (n, K); none without a mesh.

    Surprise needs raised brows or wide eyes beside the open jaw; sadness a frown or raised inner
    brows with the jaw closed; anger lowered brows and an open jaw. A smile needs no teeth, and
    excludes surprise and sadness. Neutral is what shows none of these. Disgust, fear and contempt
    are never supported.
    """
    t = limits or Thresholds()

    def of(*names: str) -> npt.NDArray[np.float32]:
        found: npt.NDArray[np.float32] = meshes.blendshapes[
            :, [BLENDSHAPES.index(name) for name in names]
        ].max(1)
        return np.nan_to_num(found)

    found = np.zeros((len(meshes), len(LABELS)), bool)
    smile = of("mouthSmileLeft", "mouthSmileRight") >= t.smile
    raised = of("browOuterUpLeft", "browOuterUpRight") >= t.brow_outer
    inner = of("browInnerUp") >= t.brow_inner
    wide = of("eyeWideLeft", "eyeWideRight") >= t.eyes_wide
    jaw = of("jawOpen") >= t.jaw
    frown = of("mouthFrownLeft", "mouthFrownRight") >= t.frown
    found[:, HAPPINESS] = smile
    found[:, SURPRISE] = ~smile & jaw & (raised | inner | wide)
    found[:, SADNESS] = ~smile & ~jaw & (frown | inner)
    found[:, ANGER] = jaw & (of("browDownLeft", "browDownRight") >= t.brow_down)
    found[:, NEUTRAL] = ~found.any(1)
    found[~(meshes.presence >= PRESENT)] = False
    return found


def undecided(
    labels: npt.NDArray[np.intp], p: npt.NDArray[np.floating], limits: Thresholds | None = None
) -> npt.NDArray[np.bool_]:
    """Images whose target depends on the geometry, (n,); that of the others need not be found."""
    t = limits or Thresholds()
    smile = np.isin(labels, _MAY_BE_SMILES) & (p[:, HAPPINESS] >= t.smiling)
    found: npt.NDArray[np.bool_] = (p.argmax(1) != labels) | smile
    return found


def combine(
    labels: npt.NDArray[np.intp],
    p: npt.NDArray[np.floating],
    support: npt.NDArray[np.bool_],
    doubted: npt.NDArray[np.bool_] | None = None,
    limits: Thresholds | None = None,
) -> Combined:
    """Makes soft targets of three witnesses.

    Args:
        labels: (n,), the annotator's expressions.
        p: (n, K), a calibrated network's scores, the mean of several views.
        support: (n, K), from `supported`.
        doubted: (n,), images that are left out where no two witnesses agree, and in which
            network and geometry together may outvote the label with neutral; None for none.
        limits: The thresholds.

    Returns:
        Targets and rules. In "two witnesses agree" the label, if it is one of the two, keeps three
        quarters, and the network's scores are the rest.
    """
    t = limits or Thresholds()
    n = len(labels)
    doubted = np.zeros(n, bool) if doubted is None else doubted
    one = np.eye(len(LABELS))
    targets, rules = np.zeros((n, len(LABELS))), []
    for i, label in enumerate(labels):
        guess, seen = int(p[i].argmax()), support[i]
        crying = label == SADNESS and guess == HAPPINESS
        outvoted = bool(seen[guess]) and p[i, guess] >= t.sure and not crying
        smile = seen[HAPPINESS] and label in _MAY_BE_SMILES
        if smile and p[i, HAPPINESS] >= t.smiling:
            rule, target = _SMILE, 0.25 * one[label] + 0.5 * one[HAPPINESS] + 0.25 * p[i]
        elif guess == label or seen[label]:
            rule, target = AGREED, 0.75 * one[label] + 0.25 * p[i]
        elif outvoted and (guess != NEUTRAL or doubted[i]):
            rule, target = _OUTVOTED, 0.25 * one[label] + 0.75 * p[i]
        elif doubted[i]:
            rule, target = LEFT_OUT, np.zeros(len(LABELS))
        elif label == SURPRISE:
            rule, target = _ONLY_JAW, 0.5 * one[NEUTRAL] + 0.25 * one[label] + 0.25 * p[i]
        else:
            rule, target = _ALONE, 0.5 * one[label] + 0.25 * one[NEUTRAL] + 0.25 * p[i]
        targets[i] = target
        rules.append(rule)
    return Combined(targets.astype(np.float32), rules, labels)
