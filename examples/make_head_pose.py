"""Draws examples/head_pose.png, which shows the signs of yaw, pitch and roll.

The heads are drawn from the five-point face model that jadfer uses. The angle below each head is
measured from its drawn points, so the picture cannot contradict the program.

Run:  python examples/make_head_pose.py
"""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np

from jadfer_cli.faces.quality import FACE_MODEL_MM, head_pose

CELL_PX, SCALE = 230, 1.0
PANELS = [
    ("yaw_deg > 0", "turns to the image's right", (35, 0, 0)),
    ("yaw_deg < 0", "turns to the image's left", (-35, 0, 0)),
    ("pitch_deg > 0", "looks up", (0, 28, 0)),
    ("pitch_deg < 0", "looks down", (0, -28, 0)),
    ("roll_deg > 0", "tilts clockwise in the image", (0, 0, 25)),
    ("roll_deg < 0", "tilts counter-clockwise", (0, 0, -25)),
]
INK, SOFT, LINE = (40, 40, 40), (205, 205, 205), (160, 80, 20)


def rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> np.ndarray:
    """Rotation matrix (3, 3): Rz(roll) Ry(-yaw) Rx(-pitch), as in jadfer_cli.faces.quality."""
    y, p, r = (math.radians(a) for a in (-yaw_deg, -pitch_deg, roll_deg))
    rx = [[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]]
    ry = [[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]]
    rz = [[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]]
    return np.array(rz) @ np.array(ry) @ np.array(rx)


def head(turn: np.ndarray, centre: np.ndarray, canvas: np.ndarray) -> np.ndarray:
    """Draws one head, and returns its five landmarks (5, 2) in pixels of the canvas."""
    radii, middle = np.array([68.0, 92.0, 75.0]), np.array([0.0, -14.0, 52.0])

    def place(points_mm: np.ndarray) -> np.ndarray:
        return (points_mm @ turn.T)[:, :2] * SCALE + centre

    around = np.linspace(0, 2 * math.pi, 73)
    for t in np.linspace(0, math.pi, 7)[:-1]:  # meridians; only the front half is visible
        ring = (
            np.stack(
                [np.sin(around) * math.cos(t), np.cos(around), np.sin(around) * math.sin(t)], 1
            )
            * radii
            + middle
        )
        front = (ring - middle) @ turn.T[:, 2] < 0
        dots = place(ring)
        for i in range(len(dots) - 1):
            if front[i] and front[i + 1]:
                ends = [tuple(int(v) for v in dots[j]) for j in (i, i + 1)]
                cv2.line(canvas, *ends, SOFT, 1, cv2.LINE_AA)
    u = np.stack([np.cos(around), np.sin(around), np.zeros(73)], 1)
    ball = [
        place((u @ rotation(0, a, b).T) * radii + middle)
        for a in range(0, 180, 15)
        for b in range(0, 180, 30)
    ]
    hull = cv2.convexHull(np.concatenate(ball).astype(np.float32)).astype(np.int32)
    cv2.polylines(canvas, [hull], True, INK, 2, cv2.LINE_AA)

    marks = place(FACE_MODEL_MM)
    for eye in marks[:2]:
        cv2.circle(canvas, tuple(int(v) for v in eye), 7, INK, -1, cv2.LINE_AA)
    left, right = FACE_MODEL_MM[3], FACE_MODEL_MM[4]
    s = np.linspace(0, 1, 20)[:, None]
    mouth = left + (right - left) * s + np.array([0, 9.0, -4.0]) * np.sin(math.pi * s)
    cv2.polylines(canvas, [place(mouth).astype(np.int32)], False, INK, 2, cv2.LINE_AA)
    bridge = np.array([0.0, FACE_MODEL_MM[0, 1], FACE_MODEL_MM[0, 2]])
    root, tip = place(np.stack([bridge, FACE_MODEL_MM[2]]))
    cv2.line(canvas, tuple(root.astype(int)), tuple(tip.astype(int)), INK, 2, cv2.LINE_AA)
    ahead = place(FACE_MODEL_MM[2:3] + np.array([[0, 0, -60.0]]))[0]
    cv2.arrowedLine(
        canvas,
        tuple(tip.astype(int)),
        tuple(ahead.astype(int)),
        LINE,
        3,
        cv2.LINE_AA,
        tipLength=0.3,
    )
    return marks


def main(out: Path) -> None:
    """Writes the picture, two rows of three heads."""
    canvas = np.full((2 * (CELL_PX + 62), 3 * (CELL_PX + 20), 3), 255, np.uint8)
    for index, (title, words, angles) in enumerate(PANELS):
        column, row = divmod(index, 2)
        x, y = column * (CELL_PX + 20), row * (CELL_PX + 62)
        centre = np.array([x + (CELL_PX + 20) / 2, y + CELL_PX / 2 + 16])
        marks = head(rotation(*angles), centre, canvas)
        # a huge frame means a distant camera: the drawing has no perspective
        pose = head_pose(marks[None], (100_000, 100_000))[0]
        measured = pose[column]
        for i, text in enumerate((f"{title}   ({measured:+.0f})", words)):
            size = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.46, 1)[0]
            where = (int(centre[0] - size[0] / 2), y + CELL_PX + 24 + 20 * i)
            cv2.putText(canvas, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.46, INK, 1, cv2.LINE_AA)
    cv2.imwrite(str(out), canvas, [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main(Path(__file__).with_name("head_pose.png"))
