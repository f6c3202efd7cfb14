"""Which moments of a clip a network sees: always times, never frame numbers.

A sampler gives seconds from the clip's first frame, so a clip recorded at 500 frames per second
shows the same moments as one recorded at 200.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from jadfer_cli.errors import OptionError, VideoError
from jadfer_cli.records import ImageArray
from jadfer_cli.training.micro.manifest import MicroClip, pictures

Times = npt.NDArray[np.float64]
Sampler = Callable[[MicroClip], Times]


def uniform(n: int) -> Sampler:
    """N moments at equal distances from onset to offset; a single one lies in the middle.

    Raises:
        ValueError: n is below 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")

    def sample(clip: MicroClip) -> Times:
        if n == 1:
            return np.array([(clip.onset_s + clip.offset_s) / 2])
        return np.linspace(clip.onset_s, clip.offset_s, n)

    return sample


def key(clip: MicroClip) -> Times:
    """Onset, apex and offset."""
    return np.array([clip.onset_s, clip.apex_s, clip.offset_s])


def around_apex(seconds: float, n: int = 3) -> Sampler:
    """N moments from `seconds` before the apex to `seconds` after it, not before the clip.

    Raises:
        ValueError: `seconds` is negative, or n below 1.
    """
    if seconds < 0 or n < 1:
        raise ValueError(f"seconds must not be negative, n at least 1, got {seconds} and {n}")

    def sample(clip: MicroClip) -> Times:
        offsets = np.linspace(-seconds, seconds, n) if n > 1 else np.zeros(1)
        return np.maximum(clip.apex_s + offsets, 0.0)

    return sample


def named(name: str, frames: int = 8, seconds: float = 0.1) -> Sampler:
    """A sampler by its name: "uniform", "key" or "apex".

    Args:
        name: Its name.
        frames: Number of moments of "uniform" and "apex".
        seconds: Before and after the apex, of "apex".

    Raises:
        OptionError: There is no such sampler, or a number is out of range.
    """
    made: dict[str, Callable[[], Sampler]] = {
        "uniform": lambda: uniform(frames), "key": lambda: key,
        "apex": lambda: around_apex(seconds, frames),
    }  # fmt: skip
    if name not in made:
        raise OptionError(f"sampler must be one of {', '.join(made)}, not {name}.")
    try:
        return made[name]()
    except ValueError as error:
        raise OptionError(f"sampler {name}: {error}.") from error


def nearest(times_s: Times, frame_times_s: Times) -> npt.NDArray[np.int64]:
    """Indices of the frames shown nearest to given times; of two, the earlier.

    Args:
        times_s: (n,).
        frame_times_s: (m,), ascending.
    """
    after = np.searchsorted(frame_times_s, times_s).clip(1, max(len(frame_times_s) - 1, 1))
    if len(frame_times_s) == 1:
        return np.zeros(len(times_s), np.int64)
    before = after - 1
    sooner = times_s - frame_times_s[before] <= frame_times_s[after] - times_s + 1e-9
    return np.where(sooner, before, after).astype(np.int64)


def frames_at(clip: MicroClip, times_s: Times) -> list[ImageArray]:
    """The pictures, uint8 (H, W, 3) RGB, shown nearest to given times of a clip.

    Raises:
        VideoError: A frame or picture cannot be read.
    """
    return (_from_folder if clip.path.is_dir() else _from_video)(clip, times_s)


def _from_folder(clip: MicroClip, times_s: Times) -> list[ImageArray]:
    import cv2

    files = pictures(clip.path)
    shown = np.array([number - files[0][0] for number, _ in files]) / clip.fps
    images = []
    for index in nearest(times_s, shown):
        file = files[index][1]
        data = np.fromfile(file, np.uint8)  # cv2.imread cannot open all paths on Windows
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
        if image is None:
            raise VideoError(f"{file} is not a readable picture.")
        images.append(np.ascontiguousarray(image[:, :, ::-1]))
    return images


def _from_video(clip: MicroClip, times_s: Times) -> list[ImageArray]:
    from jadfer_cli.video import timeline
    from jadfer_cli.video.reader import VideoReader

    info = timeline.probe(str(clip.path))
    wanted = nearest(times_s, info.time_s)
    unique = np.unique(wanted)
    found = {}
    with VideoReader(info, unique, 1) as frames:
        for frame in frames:
            if frame.image_rgb is None:
                raise VideoError(f"{clip.path}: frame {frame.index} cannot be decoded.")
            found[frame.index] = frame.image_rgb
    return [found[int(index)] for index in wanted]
