"""jadfer view: one safe page with the right data, and a copy of the video where one is needed."""

import base64
import hashlib
import json
import re
import shutil
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from made import Track, sure
from media import make_video, numbered_frames
from overlay.test_render import of_video, run

from jadfer_cli.labels import LABELS
from jadfer_cli.overlay import view
from jadfer_cli.video.timeline import probe

UNEVEN_MS = np.cumsum([0] + [33, 33, 67, 20, 40] * 4)[:20].tolist()
NASTY = "</script><script>alert(1)</script><!-- \u2028 & \" ' {{script}}"


def words(result):
    return " ".join(result.output.replace("│", " ").split())


def data_of(page):
    """The JSON inside a page."""
    (text,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8"), re.S
    )
    return json.loads(text)


def array(text, kind):
    return np.frombuffer(base64.b64decode(text), kind)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """20 numbered frames at uneven times with two tracks, and their result."""
    folder = tmp_path_factory.mktemp("uneven")
    video = make_video(
        folder / "v.mp4", numbered_frames(20, 160, 120), pts=UNEVEN_MS, time_base=Fraction(1, 1000)
    )
    shows = np.stack([sure("happiness", 0.4 if i in (3, 4) else 0.9) for i in range(12)])
    first = Track(
        0, list(range(12)), shows, usable=[i not in (6, 7) for i in range(12)],
        box_px=[(10 + i, 20, 60 + i, 90) for i in range(12)],
    )  # fmt: skip
    second = Track(5, [2, 3, 9, 10], "sadness", box_px=(90, 20, 140, 90))
    return video, of_video(video, folder / "r.parquet", [first, second], status={15: 1, 17: 2})


def test_the_page_holds_times_scores_and_boxes_of_the_rows(uneven, tmp_path):
    video, result = uneven
    found = run("view", video, result, "-o", tmp_path / "page.html")
    assert found.exit_code == 0, found.output
    data, rows = data_of(tmp_path / "page.html"), pd.read_parquet(result)
    times = array(data["frame_start_s"], "<f8")
    np.testing.assert_allclose(times, np.array(UNEVEN_MS) / 1000, atol=1e-9)
    np.testing.assert_allclose(array(data["frame_end_s"], "<f8")[:-1], times[1:], atol=1e-9)
    assert [track["id"] for track in data["tracks"]] == [0, 5]
    for track in data["tracks"]:
        own = rows[rows["track_id"] == track["id"]]
        assert array(track["frame"], "<i4").tolist() == own["frame"].tolist()
        p = array(track["p"], "<f4").reshape(-1, len(LABELS))
        np.testing.assert_array_equal(p, own[[f"p_{label}" for label in LABELS]].to_numpy())
        box = array(track["box_px"], "<f4").reshape(-1, 4)
        np.testing.assert_array_equal(box, own[["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]])
        assert array(track["usable"], "u1").astype(bool).tolist() == own["usable"].tolist()
    assert data["tracks"][1]["run_stops"] == [2, 4]


def test_the_doubtful_moments_are_listed(uneven, tmp_path):
    video, result = uneven
    run("view", video, result, "-o", tmp_path / "page.html")
    kinds = data_of(tmp_path / "page.html")["moments"]
    found = {kind["title"]: [(m["frame"], m["text"]) for m in kind["moments"]] for kind in kinds}
    assert found == {
        "Low probability: the top expression is below 50%": [(3, "track 0: happiness 40%")],
        "Face not usable": [(6, "track 0")],
        "Tracks begin, end or are interrupted": [
            (2, "track 5 begins"),
            # frame 4 begins at 0.153 s, frame 9 at 0.346 s
            (3, "track 5 is not seen for 0.19 s"),
            (10, "track 5 ends"),
            (11, "track 0 ends"),
        ],
        "Frames damaged or repeated": [(15, "1 corrupt frame"), (17, "1 repeated frame")],
    }


def test_moments_end_where_the_track_is_not_seen(tmp_path):
    video = make_video(tmp_path / "v.mp4", numbered_frames(30, 160, 120))
    seen = [*range(5), *range(20, 30)]  # a gap of 0.6 s between two unusable spells
    track = Track(0, seen, usable=[i not in (3, 4, 20, 21) for i in seen], box_px=(9, 9, 60, 60))
    run("view", video, of_video(video, tmp_path / "r.parquet", [track]))
    (kind,) = (
        k for k in data_of(tmp_path / "r.html")["moments"] if k["title"] == "Face not usable"
    )
    spans = [(m["start_s"], m["end_s"]) for m in kind["moments"]]
    np.testing.assert_allclose(spans, [(0.12, 0.2), (0.8, 0.88)])


def test_no_name_can_break_out_of_the_page(tmp_path):
    name = NASTY.replace("/", "\N{FRACTION SLASH}")[:60]
    video = make_video(tmp_path / "v.mp4", numbered_frames(5, 160, 120))
    labels = tuple(NASTY if label == "neutral" else label for label in LABELS)
    track = Track(0, [0, 1], "happiness", box_px=(9, 9, 60, 60))
    out = of_video(video, tmp_path / f"{name}.parquet", [track], labels=labels)
    hostile = video.rename(tmp_path / f"{name}.mp4")
    found = run("view", hostile, out, "-o", tmp_path / "page.html")
    assert found.exit_code == 0, found.output
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "alert(1)" in text and "<script>alert" not in text
    assert text.count("<script") == text.count("</script") == 3
    assert not set("\u2028\u2029") & set(text)
    assert "</script><script>alert(1)" in data_of(tmp_path / "page.html")["labels"][0]
    assert "{{" not in re.sub(r"(?s)<script.*?</script>|<h1>.*?</h1>|<title>.*?</title>", "", text)


def test_the_policy_allows_the_pages_own_script_and_style_and_no_network(uneven, tmp_path):
    video, result = uneven
    for more, media in (((), "media-src 'self' file:"), (("--embed",), "media-src blob:")):
        page = tmp_path / f"{len(more)}.html"
        assert run("view", video, result, "-o", page, *more).exit_code == 0
        text = page.read_text("utf-8")
        (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', text)
        assert policy.startswith("default-src 'none'; ") and media in policy
        assert "unsafe" not in policy and "http" not in policy and "*" not in policy
        for kind in ("script", "style"):
            inside = re.findall(rf"(?s)<{kind}>(.*?)</{kind}>", text)[-1]
            digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
            assert f"{kind}-src 'sha256-{digest}'" in policy
        assert not re.search(r"https?:|\bon\w+=|style=", text.split('id="data">')[0])


def test_embedded_is_the_very_file_and_linked_is_relative(uneven, tmp_path):
    video, result = uneven
    assert run("view", video, result, "-o", tmp_path / "e.html", "--embed").exit_code == 0
    text = (tmp_path / "e.html").read_text("utf-8")
    (movie,) = re.findall(r'id="movie">(.*?)</script>', text)
    assert base64.b64decode(movie) == video.read_bytes()
    assert data_of(tmp_path / "e.html")["video"] is None

    clip = shutil.copy(video, tmp_path / "100% ü#?.mp4")
    assert run("view", clip, result, "-o", tmp_path / "pages" / "l.html").exit_code == 0
    assert data_of(tmp_path / "pages" / "l.html")["video"] == "../100%25%20%C3%BC%23%3F.mp4"
    assert str(tmp_path) not in (tmp_path / "pages" / "l.html").read_text("utf-8")
    assert sorted(p.name for p in (tmp_path / "pages").iterdir()) == ["l.html"]


def test_the_result_of_another_video_is_refused(uneven, tmp_path):
    _, result = uneven
    other = make_video(tmp_path / "o.mp4", numbered_frames(20, 160, 120))
    found = run("view", other, result, "-o", tmp_path / "p.html")
    assert found.exit_code == 1 and "belongs to another video" in words(found)
    found = run("view", other, result, "-o", tmp_path / "p.html", "--force")
    assert found.exit_code == 1 and "are not those of" in words(found)  # its times differ
    assert not (tmp_path / "p.html").exists()


def test_result_and_video_in_the_wrong_order(uneven):
    video, result = uneven
    found = run("view", result, video)
    assert found.exit_code == 2 and "the video comes first" in words(found)


def test_a_page_is_replaced_only_on_request_and_a_result_never(uneven, tmp_path):
    video, result = uneven
    page = tmp_path / "p.html"
    assert run("view", video, result, "-o", page).exit_code == 0
    before = page.read_bytes()
    found = run("view", video, result, "-o", page, "--embed")
    assert found.exit_code == 2 and "--overwrite" in words(found) and page.read_bytes() == before
    assert run("view", video, result, "-o", page, "--embed", "--overwrite").exit_code == 0
    assert page.read_bytes() != before
    found = run("view", video, result, "-o", tmp_path / "p.htm")
    assert found.exit_code == 2 and ".html" in words(found)


@pytest.mark.slow
def test_a_video_that_browsers_do_not_play_gets_a_copy_with_the_same_frames(tmp_path):
    video = make_video(
        tmp_path / "v.mkv", numbered_frames(20, 160, 120), codec="mpeg4", pts=UNEVEN_MS,
        time_base=Fraction(1, 1000),
    )  # fmt: skip
    track = Track(0, [0], box_px=(9, 9, 60, 60))
    result = of_video(video, tmp_path / "r.parquet", [track])
    page, copy = tmp_path / "p.html", tmp_path / "p_files" / "v.mp4"
    found = run("view", video, result, "-o", page)
    assert found.exit_code == 0 and "browsers do not play .mkv" in words(found)
    assert data_of(page)["video"] == "p_files/v.mp4"
    before, after = probe(str(video)), probe(str(copy))
    assert after.codec == "h264"
    np.testing.assert_allclose(after.time_s, before.time_s, atol=1e-6)
    # a copy is not replaced unasked, even if its page is gone
    page.unlink()
    found = run("view", video, result, "-o", page)
    assert found.exit_code == 2 and "v.mp4 already exists" in words(found) and not page.exists()
    assert run("view", video, result, "-o", page, "--overwrite").exit_code == 0
    # embedded, it leaves nothing beside the page
    inside = tmp_path / "inside" / "p.html"
    assert run("view", video, result, "-o", inside, "--embed").exit_code == 0
    assert [p.name for p in inside.parent.iterdir()] == ["p.html"]
    (movie,) = re.findall(r'id="movie">(.*?)</script>', inside.read_text("utf-8"))
    (tmp_path / "inside.mp4").write_bytes(base64.b64decode(movie))
    assert probe(str(tmp_path / "inside.mp4")).n_frames == 20


def test_the_copy_never_replaces_the_video_itself(uneven, tmp_path):
    video, result = uneven
    (tmp_path / "p_files").mkdir()
    clip = tmp_path / "p_files" / "v.mp4"
    shutil.copy(video, clip)
    found = run("view", clip, result, "-o", tmp_path / "p.html", "--convert", "--overwrite")
    assert found.exit_code == 1 and "is the source video" in words(found)
    assert clip.read_bytes() == video.read_bytes()


def test_an_interrupted_conversion_leaves_nothing(uneven, tmp_path, monkeypatch):
    video, result = uneven

    def interrupted(info, part, progress):
        part.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(view, "write_copy", interrupted)
    for more in ((), ("--embed",)):
        found = run("view", video, result, "-o", tmp_path / "p.html", "--convert", *more)
        assert found.exit_code == 130 and not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_video_too_large_to_embed_is_refused_before_anything_is_written(
    uneven, tmp_path, monkeypatch
):
    video, result = uneven
    monkeypatch.setattr(view, "MAX_EMBEDDED_BYTES", 100)
    for more in ((), ("--convert",)):
        found = run("view", video, result, "-o", tmp_path / "p.html", "--embed", *more)
        assert found.exit_code == 2 and "too large for --embed" in words(found)
    assert not list(tmp_path.iterdir())


def test_a_video_without_a_face_has_a_page(tmp_path):
    video = make_video(tmp_path / "v.mp4", numbered_frames(5, 160, 120))
    assert run("view", video, of_video(video, tmp_path / "r.parquet")).exit_code == 0
    data = data_of(tmp_path / "r.html")
    assert data["tracks"] == [] and data["moments"] == []


@pytest.mark.parametrize(
    ("codec", "suffix", "how", "why"),
    [
        ("libx264", ".mp4", {}, None),
        ("libx264", ".mov", {}, None),
        ("libvpx-vp9", ".webm", {}, None),
        ("libsvtav1", ".mp4", {}, None),
        ("libx264", ".mkv", {}, "do not play .mkv"),
        ("libx265", ".mp4", {}, "plays hevc"),
        ("libx264", ".mp4", {"pix_fmt": "yuv444p"}, "pixel format yuv444p"),
        ("mpeg4", ".avi", {}, "do not play .avi"),
    ],
)
def test_which_videos_browsers_play(tmp_path, codec, suffix, how, why):
    from jadfer_cli.video.playback import playback_problem

    info = probe(str(make_video(tmp_path / f"v{suffix}", numbered_frames(5), codec=codec, **how)))
    found = playback_problem(info)
    assert found is None if why is None else why in found
