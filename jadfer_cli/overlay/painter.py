"""Drawing on pictures: blurred faces, boxes, ids, and the top expressions as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from jadfer_cli.analysis.plots.colours import colours_of
from jadfer_cli.records import ImageArray

Floats = npt.NDArray[np.floating[Any]]
Rgb = tuple[int, int, int]

_GREY: Rgb = (170, 170, 170)
_WHITE: Rgb = (255, 255, 255)
_TROUGH: Rgb = (95, 95, 95)
_MIN_FONT_PX = 9  # what can still be read
# Of a covered region this many cells along its longer side remain: three across the face.
_CELLS = 5


@dataclass(frozen=True)
class DrawnFace:
    """One face as it is drawn.

    Attributes:
        box_px: float (4,), x1 y1 x2 y2.
        track_id: Its id.
        usable: Whether it can be judged.
        probabilities: float (K,).
        font_px: Size of its letters, see `font_sizes`.
    """

    box_px: Floats
    track_id: int
    usable: bool
    probabilities: Floats
    font_px: int


def blur(image: ImageArray, boxes_px: Floats) -> None:
    """Makes regions of a picture unrecognisable, in place.

    A region becomes 5 cells along its longer side, the mean colour of each flowing into the
    next. What is left says that something of that colour is there, not who.

    Args:
        image: uint8 RGB (height, width, 3).
        boxes_px: float (n, 4), x1 y1 x2 y2, may reach beyond the picture.
    """
    height, width = image.shape[:2]
    for box in boxes_px:
        x1, y1 = max(int(np.floor(box[0])), 0), max(int(np.floor(box[1])), 0)
        x2, y2 = min(int(np.ceil(box[2])), width), min(int(np.ceil(box[3])), height)
        if x2 <= x1 or y2 <= y1:
            continue
        cell = max(max(box[2] - box[0], box[3] - box[1]) / _CELLS, 1.0)
        cells = (max(round((x2 - x1) / cell), 1), max(round((y2 - y1) / cell), 1))
        small = cv2.resize(image[y1:y2, x1:x2], cells, interpolation=cv2.INTER_AREA)
        image[y1:y2, x1:x2] = cv2.resize(small, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR)


def font_sizes(heights_px: Floats, picture_px: tuple[int, int]) -> list[int]:
    """Letters that suit faces of these heights in a picture of this (width, height), px.

    One size a track, or the letters would change from frame to frame.
    """
    side = min(picture_px)
    low, high = max(_MIN_FONT_PX, side / 60), max(_MIN_FONT_PX, side / 30)
    return [round(float(np.clip(height / 9, low, high))) for height in heights_px]


class Painter:
    """Draws faces with their expressions.

    Args:
        labels: The model's labels, in the order of the probabilities.
        n_bars: How many expressions are shown as bars, the most probable first.
        unusable: Show bars of faces that cannot be judged, too.
    """

    def __init__(self, labels: Sequence[str], n_bars: int, *, unusable: bool) -> None:
        self._labels = tuple(labels)
        self._n_bars = min(n_bars, len(self._labels))
        self._unusable = unusable
        self._colours = [_rgb(colour) for colour in colours_of(self._labels).values()]

    def paint(self, image: ImageArray, faces: Sequence[DrawnFace]) -> None:
        """Draws the faces of one frame, in place; boxes first, so that no bar is crossed.

        Args:
            image: uint8 RGB (height, width, 3).
            faces: What is in it.
        """
        for face in faces:
            self._box(image, face)
        taken = [face.box_px for face in faces]
        for face in faces:
            if self._n_bars and (face.usable or self._unusable):
                taken.append(self._bars(image, face, taken))
        for face in faces:
            _tag(image, face, self._colour(face))

    def _colour(self, face: DrawnFace) -> Rgb:
        return self._colours[int(face.probabilities.argmax())] if face.usable else _GREY

    def _box(self, image: ImageArray, face: DrawnFace) -> None:
        x1, y1, x2, y2 = (round(float(v)) for v in face.box_px)
        thick = _line_px(face.font_px)
        if face.usable:
            cv2.rectangle(image, (x1, y1), (x2, y2), self._colour(face), thick)
            return
        dash = 3 * thick + 2
        for a, b in (((x1, y1), (x2, y1)), ((x2, y1), (x2, y2)), ((x2, y2), (x1, y2)),
                     ((x1, y2), (x1, y1))):  # fmt: skip
            _dashes(image, a, b, dash, thick)

    def _bars(self, image: ImageArray, face: DrawnFace, taken: Sequence[Floats]) -> Floats:
        """A dark panel beside the box: name and bar of each expression; gives its place."""
        font, pad = face.font_px, max(face.font_px // 3, 2)
        line, bar_px = round(1.4 * font), 4 * font
        names_px = max(_letters(label, font).shape[1] for label in self._labels)
        width, height = names_px + bar_px + 3 * pad, line * self._n_bars + pad
        x, y = _beside(face.box_px, (width, height), image, pad, taken)
        panel = image[y : y + height, x : x + width]
        panel[:] = (panel * np.float32(0.3)).astype(np.uint8)
        for k, label in enumerate(np.argsort(-face.probabilities, kind="stable")[: self._n_bars]):
            top = y + pad // 2 + k * line
            text = _letters(self._labels[label], font)
            _write(image, text, x + pad, top + (line - text.shape[0]) // 2, _WHITE)
            left, thin = x + names_px + 2 * pad, max(line // 4, 1)
            _fill(image, left, top + thin, bar_px, line - 2 * thin, _TROUGH)
            share = round(bar_px * float(face.probabilities[label]))
            colour = self._colours[label] if face.usable else _GREY
            _fill(image, left, top + thin, share, line - 2 * thin, colour)
        return np.array([x, y, x + width, y + height], np.float64)


def _tag(image: ImageArray, face: DrawnFace, colour: Rgb) -> None:
    """The track's id above the box, or inside it at the picture's top."""
    text, pad = _letters(f"track {face.track_id}", face.font_px), max(face.font_px // 4, 1)
    width, height = text.shape[1] + 2 * pad, round(1.3 * face.font_px)
    x = int(np.clip(round(float(face.box_px[0])), 0, max(image.shape[1] - width, 0)))
    y = round(float(face.box_px[1])) - height
    if y < 0:
        y = max(round(float(face.box_px[1])), 0)
    _fill(image, x, y, width, height, colour)
    bright = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 130
    _write(image, text, x + pad, y + (height - text.shape[0]) // 2, (0, 0, 0) if bright else _WHITE)


def _beside(
    box_px: Floats, size: tuple[int, int], image: ImageArray, gap: int, taken: Sequence[Floats]
) -> tuple[int, int]:
    """Where a panel goes: right of the box, left, below or above, where it hides least.

    Args:
        box_px: The face's box.
        size: Width and height of the panel, px.
        image: The picture that must hold it.
        gap: To the box, px.
        taken: Other boxes and panels.
    """
    x1, y1, x2, y2 = (round(float(v)) for v in box_px)
    (width, height), (picture_h, picture_w) = size, image.shape[:2]
    right, bottom = max(picture_w - width, 0), max(picture_h - height, 0)
    places = [
        (min(max(x, 0), right), min(max(y, 0), bottom))
        for x, y in (
            (x2 + gap, y1), (x1 - gap - width, y1), (x1, y2 + gap), (x1, y1 - 2 * gap - height),
            (x1, bottom),  # the last way out: over the lower edge
        )
    ]  # fmt: skip
    hidden = np.array([*taken, box_px], np.float64)

    def hides(place: tuple[int, int]) -> float:
        x, y = place
        wide = np.minimum(x + width, hidden[:, 2]) - np.maximum(x, hidden[:, 0])
        high = np.minimum(y + height, hidden[:, 3]) - np.maximum(y, hidden[:, 1])
        return float((np.maximum(wide, 0) * np.maximum(high, 0)).sum())

    return min(places, key=hides)  # the first of the best


def _dashes(
    image: ImageArray, a: tuple[int, int], b: tuple[int, int], dash: int, thick: int
) -> None:
    """A dashed line in grey."""
    length = max(abs(b[0] - a[0]), abs(b[1] - a[1]))
    for start in range(0, max(length, 1), 2 * dash):
        stop = min(start + dash, length)
        ends = [
            (round(a[0] + (b[0] - a[0]) * t / max(length, 1)),
             round(a[1] + (b[1] - a[1]) * t / max(length, 1)))
            for t in (start, stop)
        ]  # fmt: skip
        cv2.line(image, ends[0], ends[1], _GREY, thick)


def _fill(image: ImageArray, x: int, y: int, width: int, height: int, colour: Rgb) -> None:
    image[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] = colour


def _write(image: ImageArray, text: ImageArray, x: int, y: int, colour: Rgb) -> None:
    """Puts letters (coverage, 0 to 255) on the picture, as far as they lie within it."""
    x, y = max(x, 0), max(y, 0)
    there = image[y : y + text.shape[0], x : x + text.shape[1]]
    share = text[: there.shape[0], : there.shape[1], None].astype(np.float32) / 255
    there[:] = (there * (1 - share) + np.array(colour, np.float32) * share).astype(np.uint8)


@lru_cache(maxsize=512)
def _letters(text: str, font_px: int) -> ImageArray:
    """A text's coverage, uint8 (height, width); all texts of one size have one height."""
    from PIL import Image, ImageDraw

    font = _font(font_px)
    ascent, descent = font.getmetrics()
    mask = Image.new("L", (max(int(np.ceil(font.getlength(text))), 1), ascent + descent))
    ImageDraw.Draw(mask).text((0, 0), text, fill=255, font=font)
    return np.asarray(mask)


@lru_cache(maxsize=32)
def _font(font_px: int) -> Any:
    """DejaVu Sans, which comes with matplotlib and has the letters of most languages."""
    import matplotlib
    from PIL import ImageFont

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), font_px)


def _line_px(font_px: int) -> int:
    return max(round(font_px / 6), 1)


def _rgb(colour: str) -> Rgb:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue
