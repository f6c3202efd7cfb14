"""jadfer overlay: frames, times and sound are kept; blurred faces cannot be recognised."""

import os
import signal
import subprocess
import time
from fractions import Fraction

import av
import numpy as np
import pytest
from conftest import DEMO, JADFER
from made import Made, Track, options, sure
from media import damage, make_video, numbered_frames, packet_spans, read_number, run_ffmpeg
from typer.testing import CliRunner

from jadfer_cli.analysis.frame_times import frame_spans
from jadfer_cli.cli.app import app
from jadfer_cli.common import file_sha256
from jadfer_cli.labels import LABELS
from jadfer_cli.overlay import regions
from jadfer_cli.overlay.painter import DrawnFace, Painter, blur, font_sizes
from jadfer_cli.results.load import load
from jadfer_cli.video.reader import VideoReader
from jadfer_cli.video.timeline import probe

# milliseconds at a variable rate, as phones record
UNEVEN_MS = np.cumsum([0] + [33, 33, 67, 20, 40] * 6)[:30]


def run(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


def of_video(video, out, tracks=(), **how):
    """Write a result whose metadata name this video."""
    info = probe(str(video))
    noted = {
        "path": str(video), "sha256": file_sha256(video), "bytes": video.stat().st_size,
        "duration_s": float(info.time_s[-1] + info.duration_s[-1]), "width_px": info.width_px,
        "height_px": info.height_px,
    }  # fmt: skip
    made = Made(list(tracks), n_frames=info.n_frames, times_s=info.time_s, video=str(video), **how)
    made.metadata = {"video": noted, **how.get("metadata", {})}
    return made.write(out)


def images(path, frames=None):
    info = probe(str(path))
    wanted = np.arange(info.n_frames) if frames is None else np.asarray(frames)
    return [frame.image_rgb for frame in VideoReader(info, wanted)]


def with_tone(video, out, codec="aac", start_ms=0):
    """Add one second of a tone to the video, starting at `start_ms`."""
    rate = 16000
    tone = np.sin(np.arange(rate) * 2 * np.pi * 440 / rate).astype(np.float32)[None]
    with av.open(str(video)) as source, av.open(str(out), "w") as target:
        given = source.streams.video[0]
        stream = target.add_stream_from_template(given)
        sound = target.add_stream(codec, rate=rate, layout="mono")
        for packet in source.demux(given):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
        kind = "flt" if codec.startswith("pcm_f") else "fltp"
        frame = av.AudioFrame.from_ndarray(tone, format=kind, layout="mono")
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = start_ms * rate // 1000
        target.mux(sound.encode(frame))
        target.mux(sound.encode(None))
    return out


def sound_of(path):
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(audio=0) if p.size]
        return [float(p.pts * p.time_base) for p in packets], [bytes(p) for p in packets]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """30 numbered frames of 160x120 at uneven times, and a tone from 0.2 s on."""
    folder = tmp_path_factory.mktemp("clip")
    silent = make_video(
        folder / "silent.mp4", numbered_frames(30, 160, 120), pts=UNEVEN_MS.tolist(),
        time_base=Fraction(1, 1000),
    )  # fmt: skip
    return with_tone(silent, folder / "clip.mp4", start_ms=200)


def test_frames_times_and_sound_are_kept(clip, tmp_path):
    track = Track(0, list(range(30)), "happiness", box_px=(120, 16, 140, 26))
    result = of_video(clip, tmp_path / "r.parquet", [track])
    found = run("overlay", clip, result, "-o", tmp_path / "o.mp4", "--labels", "0")
    assert found.exit_code == 0, found.output
    assert " ".join(found.stderr.split()).endswith("o.mp4: 30 frames"), found.stderr
    before, after = probe(str(clip)), probe(str(tmp_path / "o.mp4"))
    assert (after.codec, after.pixel_format, after.width_px) == ("h264", "yuv420p", 160)
    np.testing.assert_allclose(after.time_s, before.time_s, atol=after.time_base_s)
    np.testing.assert_allclose(after.time_s, UNEVEN_MS / 1000, atol=1e-9)
    assert after.duration_s.sum() == pytest.approx(before.duration_s.sum())
    (times, packets), (new_times, new_packets) = sound_of(clip), sound_of(tmp_path / "o.mp4")
    assert packets == new_packets and len(packets) > 10
    offset_s = before.start_offset_s - after.start_offset_s
    np.testing.assert_allclose(np.array(times) - new_times, offset_s, atol=1 / 16000)
    pictures = images(tmp_path / "o.mp4")
    assert [read_number(picture) for picture in pictures] == list(range(30))
    red, _, blue = pictures[3][17:25, 119:122].mean((0, 1))  # the left edge of an orange box
    assert red - blue > 70
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.mp4", "r.json", "r.parquet"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "codec", "out", "says"),
    [
        ("mkv", "libopus", "o.mp4", ""),
        ("mkv", "pcm_s16le", "o.mp4", "converted to AAC"),
        ("mkv", "pcm_s16le", "o.mkv", ""),
        ("mov", "aac", "o.mov", ""),
    ],
)
def test_other_sound_and_containers(clip, tmp_path, ending, codec, out, says):
    if codec == "pcm_s16le":
        source = tmp_path / f"s.{ending}"
        run_ffmpeg("-i", str(clip), "-c:v", "copy", "-c:a", "pcm_s16le", to=source)
    else:
        source = with_tone(clip, tmp_path / f"s.{ending}", codec="libopus"
                           if codec == "libopus" else "aac")  # fmt: skip
    result = of_video(source, tmp_path / "r.parquet")
    found = run("overlay", source, result, "-o", tmp_path / out)
    assert found.exit_code == 0 and says in found.stderr, found.output
    before, after = probe(str(source)), probe(str(tmp_path / out))
    np.testing.assert_allclose(after.time_s, before.time_s, atol=after.time_base_s + 1e-9)
    (times, packets), (new_times, new_packets) = sound_of(source), sound_of(tmp_path / out)
    if says:
        assert abs((new_times[-1] - new_times[0]) - (times[-1] - times[0])) < 0.15
    else:
        assert packets == new_packets
    # an encoder's own delay is at most two of its frames
    late = (new_times[0] - after.start_offset_s) - (times[0] - before.start_offset_s)
    assert abs(late) < (0.15 if says else 0.0015)


def test_turned_odd_and_repeated_stamps(tmp_path):
    images_rgb = [np.ascontiguousarray(np.rot90(i)) for i in numbered_frames(8, 128, 96)]
    source = make_video(tmp_path / "t.mov", images_rgb, rotation=90)
    result = of_video(source, tmp_path / "t.parquet")
    assert run("overlay", source, result, "-o", tmp_path / "t.mp4").exit_code == 0
    assert [read_number(i) for i in images(tmp_path / "t.mp4")] == list(range(8))
    assert images(tmp_path / "t.mp4")[0].shape == (96, 128, 3)
    odd = make_video(
        tmp_path / "odd.mkv", [f[:91, :125] for f in numbered_frames(8, 128, 96)], codec="ffv1",
        pix_fmt="bgr0", options={},
    )  # fmt: skip
    result = of_video(odd, tmp_path / "odd.parquet")
    found = run("overlay", odd, result, "-o", tmp_path / "odd.mp4")
    assert "125x91 became 126x92" in found.stderr and found.exit_code == 0, found.output
    written = images(tmp_path / "odd.mp4")
    assert written[0].shape == (92, 126, 3) and [read_number(i) for i in written] == list(range(8))


def naive_regions(sightings, analysed, times, last_end, side):
    """Return the blurred boxes of one track in each frame, following the rule in the help."""
    found = {}
    for frame, t in enumerate(times):
        boxes = []
        if frame in sightings:
            boxes = [(sightings[frame], 0.0)]
        else:
            before = max((f for f in sightings if f < frame), default=None)
            after = min((f for f in sightings if f > frame), default=None)
            place = {f: i for i, f in enumerate(analysed)}
            if before is not None and after is not None and (
                times[after] - times[before] <= 1 + 1e-12 or place[after] - place[before] == 1
            ):  # fmt: skip
                w = (t - times[before]) / (times[after] - times[before])
                box = (1 - w) * np.array(sightings[before]) + w * np.array(sightings[after])
                boxes = [(box, min(t - times[before], times[after] - t))]
            else:
                if before is not None:
                    i = place[before]
                    reach = times[analysed[i + 1]] if i + 1 < len(analysed) else last_end
                    if t <= max(times[before] + 0.5, reach) + 1e-9:
                        boxes.append((sightings[before], t - times[before]))
                if after is not None:
                    i = place[after]
                    reach = times[analysed[i - 1]] if i else times[after]
                    if t >= min(times[after] - 0.5, reach) - 1e-9:
                        boxes.append((sightings[after], times[after] - t))
        found[frame] = [
            np.array(box) + side * (0.25 + min(0.5 * d, 0.5)) * np.array([-1, -1, 1, 1])
            for box, d in boxes
        ]
    return found


@pytest.mark.parametrize("every", [1, 7])
def test_blurred_regions_equal_a_naive_loop(tmp_path, every):
    rng = np.random.default_rng(every)
    times = np.concatenate([[0], np.cumsum(rng.choice([0.02, 0.04, 0.11], 139))])
    analysed = list(range(0, 140, every))
    seen = [f for f in analysed if (30 <= f < 50 or 55 <= f < 80 or 100 <= f) and f % 3]
    boxes = [(100 + f, 80, 160 + f, 130) for f in seen]
    made = Made(
        [Track(4, seen, box_px=boxes)], n_frames=140, times_s=times, frames=analysed,
        options=options(every=every),
    )  # fmt: skip
    result = load(made.write(tmp_path / "a.parquet"))
    rows = result.rows().reset_index(drop=True)
    spans = frame_spans(rows, result.metadata)
    got = regions.blurred_regions(rows, spans, times)
    sightings = dict(zip(seen, boxes, strict=True))
    expected = naive_regions(sightings, analysed, times, spans["end_s"].iloc[-1], 60)
    for frame in range(140):
        mine = got.box_px[got.in_frame(frame)]
        assert len(mine) == len(expected[frame]), frame
        for a, b in zip(mine[np.argsort(mine[:, 0])], sorted(expected[frame], key=lambda b: b[0]),
                        strict=True):  # fmt: skip
            np.testing.assert_allclose(a, b, atol=1e-3)


def test_boxes_move_between_analysed_frames(tmp_path):
    track = Track(0, [0, 4, 12], box_px=[(0, 0, 10, 10), (40, 0, 50, 10), (0, 0, 10, 10)])
    made = Made([track], n_frames=16, frames=[0, 4, 8, 12], options=options(every=4))
    result = load(made.write(tmp_path / "a.parquet"))
    rows = result.rows().reset_index(drop=True)
    shown = regions.interpolated_boxes(rows, frame_spans(rows, result.metadata), np.arange(16) / 25)
    # it moves from 0 to 4; stays from 4 to 8, because frame 8 lacks the face; and is back from 12
    assert shown.frame.tolist() == [*range(8), *range(12, 16)]
    assert shown.box_px[:5, 0].tolist() == pytest.approx([0, 10, 20, 30, 40])
    assert shown.box_px[5:8, 0].tolist() == [40, 40, 40]


def test_a_blurred_region_keeps_no_detail_finer_than_a_fifth():
    image = np.random.default_rng(0).integers(0, 255, (100, 100, 3), np.uint8)
    before = image.copy()
    blur(image, np.array([[20.0, 20, 80, 80], [-50, -50, -10, -10], [90, 90, 130, 130]]))
    assert np.abs(np.diff(image[22:78, 22:78].astype(int), axis=1)).max() < 12
    assert (image[:20, :90] == before[:20, :90]).all()
    assert not (image[90:, 90:] == before[90:, 90:]).all()


def blurred(tmp_path, video, tracks, *more, **how):
    result = of_video(video, tmp_path / "r.parquet", tracks, **how)
    found = run("overlay", video, result, "-o", tmp_path / "b.mp4", "--blur", "--no-boxes", *more)
    assert found.exit_code == 0, found.output
    return " ".join(found.stderr.split())


def detail(image, box):
    x1, y1, x2, y2 = box
    return np.abs(np.diff(image[y1:y2, x1:x2].astype(int), axis=1)).mean()


@pytest.mark.slow
def test_frames_that_miss_the_face_are_blurred_and_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    video = make_video(tmp_path / "n.mp4", [noise] * 60, fps=10)
    # seen in 10-14, 20-22 (gap 0.6 s) and 50-52 (gap 2.8 s); another face in 20-55
    seen = [*range(10, 15), *range(20, 23), *range(50, 53)]
    tracks = [
        Track(0, seen, box_px=(20, 20, 40, 40)),
        Track(1, list(range(20, 56)), box_px=(100, 60, 110, 70)),
    ]
    said = blurred(tmp_path, video, tracks)
    assert "No face was found at 0.0-1.0 s, 1.5-2.0 s, 5.6-6.0 s: check this" in said
    assert "Track 0 was not found at 2.3-5.0 s: check this, too." in said
    inside = [detail(image, (22, 22, 38, 38)) < 8 for image in images(tmp_path / "b.mp4")]
    expected = [5 <= f <= 27 or 45 <= f <= 57 for f in range(60)]
    assert inside == expected


def test_a_damaged_frame_shows_the_blurred_one_before(tmp_path):
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(12)]
    whole = make_video(tmp_path / "w.mov", noise, codec="mjpeg", fps=5)
    offset, size, _ = packet_spans(whole)[6]
    video = damage(whole, tmp_path / "d.mov", offset, b"\0" * size)
    # the face was last seen before the damaged frame
    said = blurred(tmp_path, video, [Track(0, [5], box_px=(30, 30, 60, 60))], status={6: 1})
    written = images(tmp_path / "b.mp4")
    assert len(written) == 12
    assert "1 frame without an image of its own shows the previous one" in said
    assert all(detail(written[f], (34, 34, 56, 56)) < 8 for f in (5, 6))
    assert np.abs(written[6].astype(int) - written[5]).mean() < 3


def test_frames_outside_the_analysed_part_are_grey(tmp_path):
    video = make_video(tmp_path / "n.mp4", numbered_frames(20))
    said = blurred(
        tmp_path, video, [], frames=range(5, 10), options=options(start_s=0.2, end_s=0.4)
    )
    assert "15 frames outside the analysed part are plain grey" in said
    written = images(tmp_path / "b.mp4")
    grey = [bool(np.abs(image.astype(int) - 128).max() < 6) for image in written]
    assert grey == [not 5 <= f < 10 for f in range(20)]


def test_place_and_title_are_removed_only_when_blurring(tmp_path):
    video = tmp_path / "g.mov"
    plain = make_video(tmp_path / "p.mp4", numbered_frames(6))
    run_ffmpeg(
        "-i", str(plain), "-c", "copy", "-metadata", "title=Visit", "-metadata",
        "location=+52.5+013.4/", "-metadata", "creation_time=2026-01-01T10:00:00Z", to=video,
    )  # fmt: skip
    blurred(tmp_path, video, [])
    assert b"+52.5" in video.read_bytes()
    written = (tmp_path / "b.mp4").read_bytes()
    assert b"+52.5" not in written and b"Visit" not in written
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert "creation_time" not in container.metadata
    assert run("overlay", video, tmp_path / "r.parquet", "-o", tmp_path / "k.mov").exit_code == 0
    with av.open(str(tmp_path / "k.mov")) as container:
        assert container.metadata["title"] == "Visit"


@pytest.mark.slow
def test_no_detector_finds_a_face_in_the_blurred_demo(tmp_path):
    from jadfer_cli.faces.detect import load_detector
    from jadfer_cli.options import FaceOptions

    short = tmp_path / "short.mp4"
    shown = images(DEMO, range(0, 40, 8))
    make_video(short, shown, options={"crf": "18"})
    detector = load_detector(FaceOptions(detector="centerface"), threads=2)
    boxes = [detector.detect(image).boxes_px[0] for image in shown]
    blurred(tmp_path, short, [Track(0, list(range(5)), box_px=boxes)])
    written = images(tmp_path / "b.mp4")
    assert len(written) == 5
    for image in written:
        assert not (detector.detect(image).scores >= 0.5).any()


@pytest.mark.data
@pytest.mark.parametrize("name", ["asl_yes.mkv", "no_face.mp4"])
def test_real_clips_keep_times_and_sound(shared, tmp_path, name):
    video = shared / "clips" / name  # starts late; has an edit list and sound
    result = of_video(video, tmp_path / "r.parquet")
    out = tmp_path / "o.mp4"
    assert run("overlay", video, result, "-o", out, "--crf", "40").exit_code == 0
    before, after = probe(str(video)), probe(str(out))
    np.testing.assert_allclose(after.time_s, before.time_s, atol=after.time_base_s)
    np.testing.assert_allclose(after.duration_s, before.duration_s, atol=after.time_base_s)
    if name == "no_face.mp4":
        (times, packets), (new_times, new_packets) = sound_of(video), sound_of(out)
        assert packets == new_packets
        shift = before.start_offset_s - after.start_offset_s
        np.testing.assert_allclose(np.array(times) - new_times, shift, atol=1e-4)


def painted(face, n_bars=3, **how):
    image = np.full((240, 320, 3), 100, np.uint8)
    Painter(LABELS, n_bars, **{"unusable": False, **how}).paint(image, [face])
    return image


def test_bars_are_as_long_as_the_probabilities():
    p = sure("happiness", 0.75)
    face = DrawnFace(np.array([20.0, 40, 90, 120]), 7, True, p, 12)
    image = painted(face)
    orange = (image == (230, 159, 0)).all(2)
    bar = orange[:, 92:].sum(1).max()  # of 4 x 12 px
    assert bar == 36
    assert (painted(face, 0)[:, 100:] == 100).all()
    grey = DrawnFace(face.box_px, 7, False, p, 12)
    assert not (painted(grey) == (230, 159, 0)).all(2).any()
    assert (painted(grey)[:, 100:] == 100).all()  # no bars, unless asked for
    assert not (painted(grey, unusable=True)[:, 100:] == 100).all()
    edge = (painted(grey)[40, 20:90] == 170).all(1).mean()
    assert 0.3 < edge < 0.8  # dashed


def test_a_panel_hides_no_other_face():
    image = np.full((240, 320, 3), 100, np.uint8)
    boxes = np.array([[120.0, 80, 160, 130], [170.0, 80, 210, 130]])
    faces = [DrawnFace(b, i, True, sure("anger"), 9) for i, b in enumerate(boxes)]
    Painter(LABELS, 3, unusable=False).paint(image, faces)
    for x1, y1, x2, y2 in boxes.astype(int):
        assert (image[y1 + 4 : y2 - 4, x1 + 4 : x2 - 4] == 100).all()


def test_font_sizes_suit_small_and_large_images():
    assert font_sizes(np.array([60.0]), (176, 144)) == [9]
    assert font_sizes(np.array([20.0, 900.0]), (3840, 2160)) == [36, 72]
    for size in ((176, 144), (3840, 2160)):
        image = np.zeros((size[1], size[0], 3), np.uint8)
        boxes = np.array([[-9.0, -9, 60, 60], [*(np.array(size) - 50), *size]])
        fonts = font_sizes(boxes[:, 3] - boxes[:, 1], size)
        faces = [DrawnFace(b, i, True, sure("fear"), f)
                 for i, (b, f) in enumerate(zip(boxes, fonts, strict=True))]  # fmt: skip
        Painter(LABELS, 8, unusable=False).paint(image, faces)  # also at the edges


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A video with a result, another video, and a result that omits faces."""
    folder = tmp_path_factory.mktemp("inputs")
    video = make_video(folder / "v.mp4", numbered_frames(6))
    make_video(folder / "w.mp4", numbered_frames(4))
    of_video(video, folder / "r.parquet")
    few = {
        "counts": {"tracks_left_out": 2},
        "options": {"faces": {"max_faces": 1, "min_face_px": 80}},
    }
    of_video(video, folder / "few.parquet", metadata=few)
    (folder / "there.mp4").touch()
    return folder


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["r.parquet", "v.mp4", "-o", "o.mp4"], 2, "the video comes first"),
        (["r.parquet", "r.parquet", "-o", "o.mp4"], 2, "is not a video"),
        (["v.mp4", "r.parquet", "-o", "o.avi"], 2, "Known are .mp4, .mov, .mkv"),
        (["v.mp4", "r.parquet", "-o", "v.mp4", "--overwrite"], 1, "is the source"),
        (["v.mp4", "r.parquet", "-o", "there.mp4"], 2, "--overwrite"),
        (["w.mp4", "r.parquet", "-o", "o.mp4"], 1, "belongs to another video"),
        (["w.mp4", "r.parquet", "-o", "o.mp4", "--force"], 1, "frame 5, but w.mp4 shows only 4"),
        (["gone.mp4", "r.parquet", "-o", "o.mp4"], 1, "does not exist"),
        (["v.mp4", "r.parquet", "-o", "o.mp4", "--no-boxes"], 2, "draws nothing"),
        (["v.mp4", "r.parquet", "-o", "o.mp4", "--crf", "52"], 2, "--crf must be"),
        (["v.mp4", "r.parquet", "-o", "o.mp4", "--labels", "-1"], 2, "--labels must be"),
        (["v.mp4", "few.parquet", "-o", "o.mp4", "--blur"], 1, "(--max-faces 1, --min-face 80)"),
    ],
)
def test_wrong_arguments_are_refused(inputs, monkeypatch, arguments, code, says):
    monkeypatch.chdir(inputs)
    before = {path.name: path.read_bytes() for path in inputs.iterdir()}
    found = run("overlay", *arguments)
    assert found.exit_code == code and says in " ".join(found.stderr.split()), found.stderr
    assert {path.name: path.read_bytes() for path in inputs.iterdir()} == before


@pytest.mark.slow
def test_an_interrupt_leaves_no_trace(tmp_path):
    result = of_video(DEMO, tmp_path / "r.parquet")
    part = tmp_path / "stop.mp4.part"
    command = [str(JADFER), "overlay", str(DEMO), str(result), "-o", str(tmp_path / "stop.mp4")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not part.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "Interrupted" in said, said
    assert not part.exists() and not (tmp_path / "stop.mp4").exists()
