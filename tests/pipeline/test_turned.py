"""Videos that are upside down or on their side: a warning that says how to turn them."""

import av
import numpy as np
import pandas as pd
import pytest
from conftest import DEMO

from jadfer_cli.errors import OptionError
from jadfer_cli.options import AnnotateOptions, VideoOptions
from jadfer_cli.pipeline import annotator
from jadfer_cli.pipeline.counts import Counts
from jadfer_cli.pipeline.source import open_arrays


def turned(path, quarter_turns):
    """Thirty frames of the demo, stored turned counterclockwise, and without saying so."""
    with av.open(str(DEMO)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        stream.pix_fmt = "yuv420p"
        for index, frame in enumerate(source.decode(video=0)):
            if index == 30:
                break
            picture = np.ascontiguousarray(
                np.rot90(frame.to_ndarray(format="rgb24"), quarter_turns)
            )
            if index == 0:
                stream.height, stream.width = picture.shape[:2]
            target.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        target.mux(stream.encode())
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("quarter_turns", "rotate"), [(1, 90), (2, 180)])
def test_a_turned_video_warns_and_rotate_mends_it(invoke, tmp_path, quarter_turns, rotate):
    video = turned(tmp_path / "turned.mp4", quarter_turns)
    low = ("--detection-threshold", 0.2) if quarter_turns == 2 else ()
    result = invoke("annotate", video, "-o", tmp_path / "a.parquet", *low, width=500)
    assert result.exit_code == 0, result.stderr
    assert "Nearly all faces are" in result.stderr and f"{rotate}." in result.stderr

    out = tmp_path / "b.parquet"
    result = invoke("annotate", video, "-o", out, "--rotate", rotate)
    assert result.exit_code == 0 and "Nearly all" not in result.stderr
    rows = pd.read_parquet(out)
    metadata = rows.attrs["jadfer"]
    assert rows["face_detected"].all() and rows["roll_deg"].abs().max() < 45
    assert metadata["options"]["video"]["rotate"] == metadata["video"]["rotation_deg"] == rotate
    kept = invoke("annotate", video, "-o", out, "--skip-existing", width=500)
    assert kept.exit_code == 1 and "other settings" in kept.stderr and "rotate" in kept.stderr


def test_only_a_constant_roll_of_several_faces_counts():
    def turn(*roll_deg):
        counts = Counts()
        counts._add_roll(np.array(roll_deg, np.float32))
        return counts.turn_deg()

    assert turn(*[178, -176] * 5) == 180
    assert turn(*[-80] * 9, 3) == 270 and turn(*[91] * 5) == 90
    assert turn(*[91] * 4) == turn(*[91, 0] * 9) == turn(*[20, np.nan] * 9) == turn() == 0


def test_other_rotations_are_refused():
    with pytest.raises(OptionError, match="0, 90, 180 or 270, not 45"):
        VideoOptions(rotate=45)


def test_frames_in_memory_are_rotated_too():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    source = open_arrays([image], [0.0], VideoOptions(rotate=90), "frames")
    assert source.size_px == (2, 4) and source.info.rotation_deg == 90
    with source.read(1, 0) as frames:
        (frame,) = frames
    # what was at the lower left is displayed at the upper left
    assert frame.image_rgb.shape == (4, 2, 3) and (frame.image_rgb[0, 0] == image[1, 0]).all()


@pytest.mark.parametrize("rotate", [None, 90])
def test_every_method_that_takes_arrays_rotates(monkeypatch, rotate):
    monkeypatch.setattr(annotator, "annotate_to_table", lambda source, networks: source)
    one = annotator.Annotator.__new__(annotator.Annotator)
    one.options, one.networks = AnnotateOptions(video=VideoOptions(rotate=rotate)), None
    image = np.zeros((2, 4, 3), np.uint8)
    for source in (one.annotate_image(image), one.annotate_frames([image], fps=25)):
        assert source.info.rotation_deg == (rotate or 0)
