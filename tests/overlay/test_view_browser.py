"""The page of jadfer view in a real browser: frames, keys, clicks, boxes, both sizes of window.

Set JADFER_CHROMIUM to a headless Chromium that plays H.264.
"""

import time
from fractions import Fraction

import numpy as np
import pytest
from browser import Browser, chromium_or_skip
from made import Track, options
from media import make_video, numbered_frames, read_number
from overlay.test_render import of_video, run, with_tone
from overlay.test_view import NASTY, UNEVEN_MS

from jadfer_cli.labels import LABELS

pytestmark = pytest.mark.slow
SIZES = [(1280, 800), (390, 844)]
N = len(UNEVEN_MS)
BOX = (40.0, 30.0, 100.0, 90.0)


@pytest.fixture(scope="module")
def browser():
    chromium_or_skip()
    with Browser() as opened:
        yield opened


def tracks(n):
    usable = [not 5 <= i < 8 for i in range(n)]
    return [Track(0, list(range(n)), "happiness", usable=usable, box_px=BOX)]


def page_of(video, folder, *more, **how):
    """The page of a numbered video with one track."""
    n = how.pop("n", N)
    result = of_video(video, folder / "r.parquet", tracks(n), **how)
    found = run("view", video, result, "-o", folder / "page.html", *more)
    assert found.exit_code == 0, found.output
    return folder / "page.html"


def shown_number(browser):
    """The number that is readable in the video; the boxes are taken off for it."""
    box = browser.rectangle("#video")
    browser.evaluate("boxes.style.visibility = 'hidden'")
    image = browser.screenshot(box)
    browser.evaluate("boxes.style.visibility = 'visible'")
    return read_number(image)


def settle(browser, frame):
    """Wait until the page says that it shows this frame, and the video agrees."""
    browser.wait(
        f"player.frame === {frame} && player.wanted === null && !video.seeking"
        f" && player.seen === {frame}"
    )
    time.sleep(0.1)


KINDS = {
    "h264": ("v.mp4", {}, ()),
    "h264, embedded": ("v.mp4", {}, ("--embed",)),
    "vp9": ("v.webm", {"codec": "libvpx-vp9"}, ()),
    "av1": ("v.mp4", {"codec": "libsvtav1"}, ()),
    "hevc, converted": ("v.mov", {"codec": "libx265"}, ()),
    "mkv, converted and embedded": ("v.mkv", {}, ("--embed",)),
    "rotated": ("v.mp4", {"rotation": 90}, ()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_is_the_one_that_the_page_says(browser, tmp_path, kind):
    name, how, more = KINDS[kind]
    frames = numbered_frames(N, 160, 120)
    if how.get("rotation"):  # stored lying down
        frames = [np.ascontiguousarray(np.rot90(frame)) for frame in frames]
    video = make_video(tmp_path / name, frames, pts=UNEVEN_MS, time_base=Fraction(1, 1000), **how)
    browser.open(page_of(video, tmp_path, *more))
    for frame in range(N):
        browser.evaluate(f"player.go({frame})")
        settle(browser, frame)
        assert shown_number(browser) == frame
    assert browser.problems == []


def test_frames_are_right_if_the_sound_begins_first(browser, tmp_path):
    silent = make_video(
        tmp_path / "s.mp4", numbered_frames(N, 160, 120), time_base=Fraction(1, 1000),
        pts=[stamp + 230 for stamp in UNEVEN_MS],
    )  # fmt: skip
    video = with_tone(silent, tmp_path / "v.mp4")
    browser.open(page_of(video, tmp_path))
    assert browser.evaluate("player.offset") == pytest.approx(0.23, abs=0.002)
    assert browser.evaluate("data.first_frame_s") == pytest.approx(0.23, abs=0.002)
    for frame in (0, 7, N - 1):
        browser.evaluate(f"player.go({frame})")
        settle(browser, frame)
        assert shown_number(browser) == frame


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A page of 100 numbered frames, 25 per second."""
    folder = tmp_path_factory.mktemp("plain")
    video = make_video(folder / "v.mp4", numbered_frames(100, 160, 120))
    return page_of(video, folder, n=100)


def test_keys_step_play_and_pause(browser, plain):
    browser.open(plain)
    at = 0
    for key, shift, to in [
        ("ArrowRight", False, 1), ("ArrowRight", True, 11), ("ArrowLeft", False, 10),
        ("ArrowLeft", True, 0), ("ArrowLeft", False, 0), ("End", False, 99), ("Home", False, 0),
    ]:  # fmt: skip
        browser.press(key, shift=shift)
        settle(browser, to)
        assert shown_number(browser) == to, (key, at)
        at = to
    for _ in range(30):  # faster than the video can seek
        browser.press("ArrowRight")
    settle(browser, 30)
    assert shown_number(browser) == 30
    browser.press(" ")
    browser.wait("!video.paused && player.frame > 40")
    assert browser.evaluate("document.getElementById('play').textContent") == "Pause"
    browser.press(" ")
    browser.wait("video.paused")
    time.sleep(0.3)
    frame = browser.evaluate("player.frame")
    assert shown_number(browser) == frame
    assert f"Frame {frame} " in browser.evaluate("document.getElementById('where').textContent")
    assert browser.problems == []


def test_keys_act_once_wherever_the_focus_is(browser, plain):
    browser.open(plain)
    at = 0
    for selector in ("#seek", "#next", "#tracks input", "#moments a"):
        browser.evaluate(f"document.querySelector('{selector}').focus()")
        browser.press("ArrowRight")
        at += 1
        settle(browser, at)
        assert shown_number(browser) == at, selector
    browser.evaluate("document.getElementById('speed').focus()")
    browser.press("ArrowRight")  # chooses a speed
    time.sleep(0.3)
    assert browser.evaluate("player.frame") == at


def test_frames_between_the_analysed_ones_say_whose_scores_they_show(browser, tmp_path):
    video = make_video(tmp_path / "v.mp4", numbered_frames(30, 160, 120))
    own = [5, 10, 15, 20]
    result = of_video(
        video, tmp_path / "r.parquet", [Track(0, own, box_px=BOX)], frames=own,
        options=options(every=5, start_s=0.2, end_s=1.0),
    )  # fmt: skip
    assert run("view", video, result).exit_code == 0
    browser.open(tmp_path / "r.html")
    said = {}
    for frame in (3, 5, 7, 24, 28):
        browser.evaluate(f"player.go({frame})")
        settle(browser, frame)
        where = browser.evaluate("document.getElementById('where').textContent")
        seen = browser.evaluate("document.querySelector('.now').textContent") != "not seen"
        said[frame] = where.split(", ")[2:], seen
    assert said[3] == (["not analysed"], False) and said[28] == (["not analysed"], False)
    assert said[5] == ([], True)
    assert said[7] == (["scores of frame 5"], True)
    assert said[24] == (["scores of frame 20"], True)


def test_the_cursor_runs_along_and_a_click_on_a_curve_jumps(browser, plain):
    browser.open(plain)
    left, top, width, height = browser.rectangle(".chart")
    inner = width - 38  # without the margins
    browser.click(left + 30 + inner * 0.505, top + height / 2)
    settle(browser, 50)
    assert shown_number(browser) == 50
    cursor = browser.rectangle(".cursor")
    assert cursor[0] + 1 == pytest.approx(left + 30 + inner * 0.5, abs=1.5)
    browser.press(" ")
    browser.wait("player.frame > 70")
    assert browser.rectangle(".cursor")[0] > cursor[0] + 0.15 * inner
    browser.press(" ")


def test_links_lead_to_doubtful_moments_and_tracks_can_be_hidden(browser, plain):
    browser.open(plain)
    text = browser.evaluate("document.querySelector('#moments a').textContent")
    assert text == "0:00.20–0:00.32"
    browser.evaluate("document.querySelector('#moments a').click()")
    settle(browser, 5)
    assert browser.evaluate("location.hash") == "#frame=5"
    assert "(not usable)" in browser.evaluate("document.querySelector('.now').textContent")
    browser.evaluate("document.querySelector('#tracks input').click()")
    assert browser.rectangle(".chart")[2] == 0
    browser.open(plain, fragment="#frame=33")
    settle(browser, 33)
    assert shown_number(browser) == 33


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rotation", [0, 90, 270])
def test_boxes_lie_on_the_displayed_picture(browser, tmp_path, rotation, size):
    # a white rectangle on grey where the box of the rows is, in displayed pixels
    picture = np.full((200, 160, 3), 110, np.uint8)
    x1, y1, x2, y2 = (int(v) for v in BOX)
    picture[y1:y2, x1:x2] = 255
    stored = np.ascontiguousarray(np.rot90(picture, rotation // 90))
    video = make_video(tmp_path / "v.mp4", [stored] * 10, rotation=rotation)
    browser.open(page_of(video, tmp_path, n=10), *size)
    settle(browser, 0)
    rectangle = browser.rectangle("#video")
    assert rectangle[2] / rectangle[3] == pytest.approx(160 / 200, abs=0.01)
    image = browser.screenshot(rectangle).astype(int)
    scale = rectangle[2] / 160
    orange = np.abs(image - (230, 159, 0)).sum(axis=2) < 60
    rows, columns = np.flatnonzero(orange.sum(1) > 20), np.flatnonzero(orange.sum(0) > 20)
    found = np.array([columns[0], rows[0], columns[-1], rows[-1]]) / scale
    np.testing.assert_allclose(found, BOX, atol=2.5)
    browser.evaluate("document.getElementById('show-boxes').click()")
    hidden = browser.screenshot(rectangle).astype(int)
    assert (np.abs(hidden - (230, 159, 0)).sum(axis=2) < 60).sum() < 20


@pytest.mark.parametrize("size", SIZES)
def test_nothing_is_wider_than_the_window_and_unusable_time_is_hatched(browser, plain, size):
    browser.open(plain, *size)
    assert browser.evaluate("document.documentElement.scrollWidth") <= size[0]
    left, _, width, _ = browser.rectangle(".chart")
    assert left >= 0 and left + width <= size[0] + 0.5
    browser.evaluate("document.getElementById('zoom-in').click()")
    browser.evaluate("setView(0.1, 0.4)")
    middle = browser.evaluate(
        "(c => [...c.getContext('2d').getImageData(c.width * 0.5, c.height * 0.3, 40, 20).data])"
        "(document.querySelector('.chart canvas'))"
    )
    grey = np.array(middle).reshape(-1, 4)[:, :3]
    assert (grey < 180).all(axis=1).any() and (grey > 240).all(axis=1).any()  # lines on white


def test_no_name_runs_as_code(browser, tmp_path):
    video = make_video(tmp_path / "v.mp4", numbered_frames(N, 160, 120))
    labels = tuple(NASTY if label == "neutral" else label for label in LABELS)
    result = of_video(video, tmp_path / "r.parquet", tracks(N), labels=labels)
    assert run("view", video, result, "-o", tmp_path / "p.html").exit_code == 0
    browser.open(tmp_path / "p.html")
    names = browser.evaluate("document.getElementById('labels').textContent")
    assert "<script>alert(1)</script>" in names
    assert browser.problems == []
    # the policy holds: code that came in some other way would not run
    browser.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=bad=1>')")
    time.sleep(0.2)
    assert browser.evaluate("typeof bad") == "undefined" and browser.problems
    browser.problems.clear()


def test_a_missing_video_is_reported_on_the_page(browser, tmp_path):
    video = make_video(tmp_path / "v.mp4", numbered_frames(N, 160, 120))
    page = page_of(video, tmp_path)
    video.unlink()
    browser.open(page)
    assert not browser.evaluate("document.getElementById('problem').hidden")
    browser.press("ArrowRight")  # the curves can still be read
    browser.wait("player.frame === 1")
    browser.problems.clear()
