"""The selection of frames, on hand-written timelines and on those of real containers."""

from fractions import Fraction
from itertools import chain, pairwise
from typing import Any

import media
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jadfer_cli.errors import VideoError
from jadfer_cli.options import VideoOptions
from jadfer_cli.records import VideoInfo
from jadfer_cli.video.timeline import probe, select


def info(time_s: list[float], time_base_s: float = 1e-6) -> VideoInfo:
    """A hand-written timeline; each frame is shown until the next, the last for 0.1 s."""
    times = np.array(time_s, np.float64)
    return VideoInfo(
        path="clip.mp4",
        container="mp4",
        codec="h264",
        pixel_format="yuv420p",
        width_px=64,
        height_px=48,
        rotation_deg=0,
        time_s=times,
        duration_s=np.append(np.diff(times), 0.1),
        pts=np.round(times / time_base_s).astype(np.int64),
        time_base_s=time_base_s,
        start_offset_s=0.0,
        n_packets=len(times),
        nominal_fps=0.0,
        file_bytes=1,
    )


TENTHS = [k / 10 for k in range(20)]  # 2 s at 10 frames per second


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (VideoOptions(), list(range(20))),
        (VideoOptions(every=7), [0, 7, 14]),
        (VideoOptions(start_s=0.5, every=4), [5, 9, 13, 17]),
        (VideoOptions(start_s=0.5, end_s=0.9), [5, 6, 7, 8]),  # the end is exclusive
        (VideoOptions(fps=5), list(range(0, 20, 2))),
        (VideoOptions(fps=10), list(range(20))),
        (VideoOptions(fps=100), list(range(20))),
        # slots of 0.4 s begin at 0, 0.4, 0.8, 1.2, 1.6
        (VideoOptions(fps=2.5), [0, 4, 8, 12, 16]),
        # slots of 1/3 s begin at 0.3, 0.633, 0.967, 1.3, 1.633
        (VideoOptions(fps=3, start_s=0.25), [3, 7, 10, 13, 17]),
    ],
)
def test_select(options: VideoOptions, expected: list[int]) -> None:
    assert select(info(TENTHS), options).tolist() == expected


def test_select_by_fps_follows_the_times_of_a_variable_rate() -> None:
    # slots of 0.5 s: [0, .1, .4] [.55] [] [1.6] [2.0, 2.1, 2.49]
    assert select(info([0, 0.1, 0.4, 0.55, 1.6, 2.0, 2.1, 2.49]), VideoOptions(fps=2)).tolist() == [
        *(0, 3, 4, 5)
    ]


def test_select_loses_no_frame_to_rounded_stamps() -> None:
    rounded = [round(k / 30, 3) for k in range(90)]  # 30 frames per second, in milliseconds
    assert len(select(info(rounded, 0.001), VideoOptions(fps=30))) == 90


@given(
    gaps=st.lists(st.floats(0.001, 2.0), min_size=1, max_size=60),
    fps=st.floats(0.2, 60),
)
def test_select_by_fps_never_selects_more_than_requested(gaps: list[float], fps: float) -> None:
    times = np.concatenate([[0.0], np.cumsum(gaps)])
    taken = select(info(times.tolist()), VideoOptions(fps=fps))
    assert taken[0] == 0 and (np.diff(taken) > 0).all()
    assert len(taken) <= np.floor((times[-1] + 1e-6) * fps) + 1
    # a frame is omitted only if one was selected less than a slot before it
    for index in set(range(len(times))) - set(taken.tolist()):
        assert times[index] - times[taken[taken < index][-1]] < 1 / fps + 1e-6


def test_the_error_for_an_empty_range_states_the_length() -> None:
    with pytest.raises(VideoError, match=r"clip\.mp4 has no frame within `start_s` 9.*2\.000 s"):
        select(info(TENTHS), VideoOptions(start_s=9))
    with pytest.raises(VideoError, match=r"`start_s` 0\.51 `end_s` 0\.59"):
        select(info(TENTHS), VideoOptions(start_s=0.51, end_s=0.59))


# --- segments ---

N = 60
NTSC = Fraction(30000, 1001)
CONTAINERS: list[tuple[str, dict[str, Any]]] = [
    ("25.mp4", {}),
    ("25.mkv", {}),
    ("25.avi", {"codec": "mpeg4"}),  # in AVI a tick is a frame, 0.04 s
    ("25b.avi", {}),
    ("ntsc.mp4", {"fps": NTSC}),
    ("ntsc.mkv", {"fps": NTSC}),  # rounded to milliseconds
    ("ntsc.avi", {"codec": "mjpeg", "fps": NTSC}),
    ("varying.mkv", {"pts": [500 + 40 * k + 13 * (k % 3) for k in range(N)]}),
]


@pytest.fixture(scope="module")
def infos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, VideoInfo]:
    folder, frames = tmp_path_factory.mktemp("containers"), media.numbered_frames(N, 64, 48)
    return {n: probe(str(media.make_video(folder / n, frames, **how))) for n, how in CONTAINERS}


def segment(video: VideoInfo, start_s: float | None, end_s: float | None) -> list[int]:
    try:
        return select(video, VideoOptions(start_s=start_s, end_s=end_s)).tolist()
    except VideoError:
        return []  # no frame within


@pytest.mark.parametrize("name", ["25.mp4", "25.mkv", "25.avi", "25b.avi"])
def test_one_second_at_25_frames_per_second_is_frame_25(
    infos: dict[str, VideoInfo], name: str
) -> None:
    assert segment(infos[name], None, 1.0) == list(range(25))
    assert segment(infos[name], 1.0, None) == list(range(25, N))
    # frame 24 is shown at 0.99 s but began earlier, so frame 25 is the first
    assert segment(infos[name], 0.99, 1.01) == [25]


@pytest.mark.parametrize("name", ["ntsc.mp4", "ntsc.mkv", "ntsc.avi"])
def test_the_exact_time_of_a_frame_finds_it_among_rounded_stamps(
    infos: dict[str, VideoInfo], name: str
) -> None:
    for k in range(1, N - 1):
        assert segment(infos[name], k * 1001 / 30000, (k + 1) * 1001 / 30000) == [k]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, _ in CONTAINERS])
@given(data=st.data())
def test_adjacent_segments_neither_share_nor_omit_a_frame(
    infos: dict[str, VideoInfo], name: str, data: st.DataObject
) -> None:
    video = infos[name]
    # any times, and critical ones: time stamps as rounded, as exact values, as typed by users
    stamps = [*video.time_s.tolist(), *(k * 1001 / 30000 for k in range(N))]
    near = st.builds(lambda t, d: max(t + d, 0.0), st.sampled_from(stamps), st.floats(-2e-3, 2e-3))
    typed = st.sampled_from(stamps).map(lambda t: round(t, 3))
    times = st.floats(0, 3) | st.sampled_from(stamps) | near | typed
    cuts = sorted(data.draw(st.lists(times, min_size=3, max_size=5, unique=True)))
    parts = [segment(video, a, b) for a, b in pairwise(cuts)]
    assert list(chain(*parts)) == segment(video, cuts[0], cuts[-1])  # ascending, so disjoint too
    start, rest = segment(video, None, cuts[1]), segment(video, cuts[1], None)
    assert start + rest == list(range(N))


def test_segments_of_frames_with_equal_stamps_and_of_a_single_frame() -> None:
    doubled = info([0.0, 0.0, 0.0, 0.5, 0.5], 0.5)  # the median gap is 0
    assert segment(doubled, None, 0.5) == [0, 1, 2]
    assert segment(doubled, 0.5, None) == [3, 4]
    assert segment(info([0.0]), 0.0, 0.05) == [0]
