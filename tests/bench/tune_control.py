"""How often `jadfer tune` claims a gain from shuffled codes, and finds a planted error.

    .venv/bin/python tests/bench/tune_control.py

Made studies of 6, 10 and 20 people, 60 faces each; the machine sees too much sadness. With
shuffled codes any claim is false.
"""

from __future__ import annotations

import argparse

import numpy as np

from jadfer_cli.analysis.agreement.coded_faces import CodedFaces
from jadfer_cli.analysis.agreement.gain import gain
from jadfer_cli.labels import LABELS
from jadfer_cli.training import recalibrate

K, SADNESS, SPELL = len(LABELS), LABELS.index("sadness"), 5
PRIOR = (0.5, 0.25, 0, 0.25, 0, 0, 0, 0)  # neutral, happiness, sadness


def study(
    rng: np.random.Generator, people: int, planted: float, *, shuffled: bool, faces: int = 60
) -> CodedFaces:
    """One made study; spells of five faces show one expression."""
    n = people * faces
    truth = np.repeat(rng.choice(K, n // SPELL, p=PRIOR), SPELL)
    z = rng.normal(0, 1, (n, K)) + np.repeat(rng.normal(0, 0.5, (people, K)), faces, 0)
    z[np.arange(n), truth] += 3
    z[:, SADNESS] += planted
    p = np.exp(z)
    if shuffled:
        truth = np.repeat(truth[::SPELL][rng.permutation(n // SPELL)], SPELL)
    zeros = np.zeros(n, np.int64)
    names = np.repeat([f"P{i}" for i in range(people)], faces)
    p /= p.sum(1, keepdims=True)
    return CodedFaces(LABELS, p, truth[:, None].astype(np.int8), names, zeros, zeros, zeros, ())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=50)
    studies = parser.parse_args().studies
    for people in (6, 10, 20):
        for planted, shuffled in ((2.5, False), (2.5, True), (0.0, True)):
            claimed = interval_alone = 0
            for seed in range(studies):
                faces = study(np.random.default_rng(seed), people, planted, shuffled=shuffled)
                after = recalibrate.held_out(faces.p, faces.votes, faces.person.tolist())
                found = gain(faces, faces.p.argmax(1), after.argmax(1), draws=100)
                claimed += found.is_shown
                interval_alone += found.overall.interval[0] > 0
            print(
                f"{people} people, planted {planted:g}, {'shuffled' if shuffled else 'true'} "
                f"codes: {claimed} of {studies} claims, {interval_alone} by the interval alone",
                flush=True,
            )


if __name__ == "__main__":
    main()
