"""By how much a video is rotated for display: as its file says, or as the user says."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from jadfer_cli.records import VideoInfo


def rotated(info: VideoInfo, rotate: int | None) -> VideoInfo:
    """Replace the rotation that a file states.

    Args:
        info: The video.
        rotate: Clockwise rotation of the stored pictures, degrees: 0, 90, 180 or 270. None keeps
            the file's.
    """
    if rotate is None or rotate == info.rotation_deg:
        return info
    width, height = info.width_px, info.height_px
    if (rotate - info.rotation_deg) % 180:
        width, height = height, width
    return dataclasses.replace(
        info, width_px=width, height_px=height, rotation_deg=rotate, rotation_overridden=True
    )


def displayed_rotation(picture: Any) -> tuple[int, bool, list[str]]:
    """Read the rotation from a decoded picture.

    Args:
        picture: PyAV's picture.

    Returns:
        Clockwise degrees (0, 90, 180 or 270); whether that is all that the file asks for; and
        warnings if it is not.
    """
    from av.sidedata.sidedata import Type

    data = picture.side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return 0, True, []
    return rotation_of_matrix(bytes(data))


def rotation_of_matrix(data: bytes) -> tuple[int, bool, list[str]]:
    """Read the rotation from a display matrix; returns as `displayed_rotation`.

    Args:
        data: Nine int32 in the machine's byte order. A picture's point (x, y) is displayed at
            (a x + c y, b x + d y), with a, b, c, d at the positions 0, 1, 3, 4.
    """
    if len(data) < 36:
        return 0, False, ["The display matrix is incomplete and is not applied."]
    a, b, c, d = (float(value) for value in np.frombuffer(data, np.int32)[[0, 1, 3, 4]])
    determinant = a * d - b * c
    if determinant == 0:
        return 0, False, ["The display matrix is invalid (it would hide the picture): ignored."]
    warnings = []
    if determinant < 0:  # mirrored left to right, then rotated
        a, b = -a, -b
        warnings.append("The video asks to be mirrored for display; that is not applied.")
    clockwise = round(math.degrees(math.atan2(b, a))) % 360
    if clockwise % 90:
        warnings.append(
            f"The rotation of {clockwise} degrees is not a multiple of 90 and is not applied."
        )
        clockwise = 0
    return clockwise, not warnings, warnings
