"""Draws on images: blurred faces, boxes, track IDs, and the top expressions as bars."""

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
from jadfer_cli.overlay import placement
from jadfer_cli.records import ImageArray

Floats = npt.NDArray[np.floating[Any]]
Rgb = tuple[int, int, int]

_GREY: Rgb = (170, 170, 170)
_WHITE: Rgb = (255, 255, 255)
_BAR_BACKGROUND: Rgb = (95, 95, 95)
_MIN_FONT_PX = 9  # still legible
_BAR_FONTS = 4  # length of a bar, in units of the font size
# Cells along the longer side of a blurred region, which leaves three across the face.
_CELLS = 5


@dataclass(frozen=True)
class DrawnFace:
    """One face to draw.

    Attributes:
        box_px: float (4,), x1 y1 x2 y2.
        track_id: Its track ID.
        usable: Whether its expression can be rated.
        probabilities: float (K,), one per label.
        font_px: Font size, see `font_sizes`.
    """

    box_px: Floats
    track_id: int
    usable: bool
    probabilities: Floats
    font_px: int


def blur(image: ImageArray, boxes_px: Floats) -> None:
    """Make regions of an image unrecognisable, in place.

    Each region is averaged into cells, 5 along its longer side, with smooth transitions between
    them. Colours remain visible, but nobody can be identified.

    Args:
        image: uint8 RGB (height, width, 3).
        boxes_px: float (n, 4), x1 y1 x2 y2; may extend beyond the image.
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


def font_sizes(heights_px: Floats, image_px: tuple[int, int]) -> list[int]:
    """Choose one font size per track, so that it does not change from frame to frame.

    Args:
        heights_px: Typical height of each track's face.
        image_px: Width and height of the video.
    """
    side = min(image_px)
    low, high = max(_MIN_FONT_PX, side / 60), max(_MIN_FONT_PX, side / 30)
    return [round(float(np.clip(height / 9, low, high))) for height in heights_px]


class Painter:
    """Draws faces with their expressions.

    Args:
        labels: The model's labels, in the order of the probabilities.
        n_bars: Number of expressions shown as bars, the most probable first.
        unusable: Also show bars for faces that are not usable.
    """

    def __init__(self, labels: Sequence[str], n_bars: int, *, unusable: bool) -> None:
        self._labels = tuple(labels)
        self._n_bars = min(n_bars, len(self._labels))
        self._unusable = unusable
        self._sides: dict[int, int] = {}  # the side on which each track's panel was last
        self._colours = [_rgb(colour) for colour in colours_of(self._labels).values()]

    def paint(self, image: ImageArray, faces: Sequence[DrawnFace]) -> None:
        """Draw the faces of one frame, in place.

        Args:
            image: uint8 RGB (height, width, 3).
            faces: All faces of the frame.
        """
        for face in faces:  # all boxes first, so that none crosses a bar
            self._draw_box(image, face)
        size = image.shape[1], image.shape[0]
        tags = [placement.tag_places(f.box_px, self._tag_px(f), size)[0] for f in faces]
        heads = [placement.head_box(face.box_px) for face in faces]
        panels: list[Floats] = []
        for face in faces:
            if self._n_bars and (face.usable or self._unusable):
                place = self._panel_place(face, size, [*heads, *tags, *panels])
                self._draw_bars(image, face, place)
                panels.append(place)
        for face in faces:
            places = placement.tag_places(face.box_px, self._tag_px(face), size)
            x, y = placement.least_hidden(places, panels)[1][:2]
            _draw_track_id(image, face, self._colour(face), round(float(x)), round(float(y)))

    def _colour(self, face: DrawnFace) -> Rgb:
        return self._colours[int(face.probabilities.argmax())] if face.usable else _GREY

    def _draw_box(self, image: ImageArray, face: DrawnFace) -> None:
        x1, y1, x2, y2 = (round(float(v)) for v in face.box_px)
        thick = _line_px(face.font_px)
        if face.usable:
            cv2.rectangle(image, (x1, y1), (x2, y2), self._colour(face), thick)
            return
        dash = 3 * thick + 2
        for a, b in (((x1, y1), (x2, y1)), ((x2, y1), (x2, y2)), ((x2, y2), (x1, y2)),
                     ((x1, y2), (x1, y1))):  # fmt: skip
            _draw_dashed_line(image, a, b, dash, thick)

    def _tag_px(self, face: DrawnFace) -> tuple[int, int]:
        """Return width and height of a track's tag."""
        text, pad = _text_mask(_tag_text(face), face.font_px), max(face.font_px // 4, 1)
        return text.shape[1] + 2 * pad, round(1.3 * face.font_px)

    def _panel_px(self, font: int) -> tuple[int, int, int]:
        """Return width and height of a panel, and the width of its column of names."""
        pad = _pad_px(font)
        names_px = max(_text_mask(label, font).shape[1] for label in self._labels)
        number_px = _text_mask(_number_text(1.0), font).shape[1]
        width = names_px + _BAR_FONTS * font + number_px + 4 * pad
        return width, round(1.4 * font) * self._n_bars + pad, names_px

    def _panel_place(
        self, face: DrawnFace, size_px: tuple[int, int], taken: Sequence[Floats]
    ) -> Floats:
        """Choose where a panel hides least; it stays on its side unless another is far better."""
        width, height, _ = self._panel_px(face.font_px)
        places = placement.panel_places(
            placement.head_box(face.box_px), (width, height), size_px, _pad_px(face.font_px)
        )
        last = self._sides.get(face.track_id)
        side, place = placement.least_hidden(places, taken, keep=last)
        self._sides[face.track_id] = side
        return place

    def _draw_bars(self, image: ImageArray, face: DrawnFace, place: Floats) -> None:
        """Draw a dark panel with the name, the bar and the value of each expression."""
        font, pad = face.font_px, _pad_px(face.font_px)
        line, bar_px = round(1.4 * font), _BAR_FONTS * font
        _, _, names_px = self._panel_px(font)
        x, y = round(float(place[0])), round(float(place[1]))
        panel = image[y : round(float(place[3])), x : round(float(place[2]))]
        panel[:] = (panel * np.float32(0.3)).astype(np.uint8)
        for k, label in enumerate(np.argsort(-face.probabilities, kind="stable")[: self._n_bars]):
            p = float(face.probabilities[label])
            top = y + pad // 2 + k * line
            text = _text_mask(self._labels[label], font)
            middle = top + (line - text.shape[0]) // 2
            _draw_text(image, text, x + pad, middle, _WHITE)
            left, thin = x + names_px + 2 * pad, max(line // 4, 1)
            _fill(image, left, top + thin, bar_px, line - 2 * thin, _BAR_BACKGROUND)
            colour = self._colours[label] if face.usable else _GREY
            _fill(image, left, top + thin, round(bar_px * p), line - 2 * thin, colour)
            number = _text_mask(_number_text(p), font)
            _draw_text(image, number, left + bar_px + pad, middle, _WHITE)


def _tag_text(face: DrawnFace) -> str:
    return f"track {face.track_id}"


def _number_text(p: float) -> str:
    return f"{p:.2f}"


def _pad_px(font_px: int) -> int:
    return max(font_px // 3, 2)


def _draw_track_id(image: ImageArray, face: DrawnFace, colour: Rgb, x: int, y: int) -> None:
    """Draw the track ID with its top left corner at x, y."""
    text, pad = _text_mask(_tag_text(face), face.font_px), max(face.font_px // 4, 1)
    width, height = text.shape[1] + 2 * pad, round(1.3 * face.font_px)
    _fill(image, x, y, width, height, colour)
    bright = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2] > 130
    _draw_text(
        image, text, x + pad, y + (height - text.shape[0]) // 2, (0, 0, 0) if bright else _WHITE
    )


def _draw_dashed_line(
    image: ImageArray, a: tuple[int, int], b: tuple[int, int], dash: int, thick: int
) -> None:
    """Draw a dashed grey line."""
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


def _draw_text(image: ImageArray, text: ImageArray, x: int, y: int, colour: Rgb) -> None:
    """Blend a text mask into the image, as far as it lies within it."""
    x, y = max(x, 0), max(y, 0)
    target = image[y : y + text.shape[0], x : x + text.shape[1]]
    alpha = text[: target.shape[0], : target.shape[1], None].astype(np.float32) / 255
    target[:] = (target * (1 - alpha) + np.array(colour, np.float32) * alpha).astype(np.uint8)


@lru_cache(maxsize=512)
def _text_mask(text: str, font_px: int) -> ImageArray:
    """Return the coverage of a text, uint8 (height, width); the height depends on the size only."""
    from PIL import Image, ImageDraw

    font = _font(font_px)
    ascent, descent = font.getmetrics()
    mask = Image.new("L", (max(int(np.ceil(font.getlength(text))), 1), ascent + descent))
    ImageDraw.Draw(mask).text((0, 0), text, fill=255, font=font)
    return np.asarray(mask)


@lru_cache(maxsize=32)
def _font(font_px: int) -> Any:
    """Load DejaVu Sans, which comes with matplotlib and covers most alphabets."""
    import matplotlib
    from PIL import ImageFont

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), font_px)


def _line_px(font_px: int) -> int:
    return max(round(font_px / 6), 1)


def _rgb(colour: str) -> Rgb:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue
