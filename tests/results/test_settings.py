"""Comparing the settings of results: what counts as one, and what --skip-existing keeps."""

import dataclasses
import json

import pytest
from made import Made, Track, options

from jadfer_cli.common import file_sha256
from jadfer_cli.errors import OutputError, VideoError
from jadfer_cli.options import AnnotateOptions, FaceOptions
from jadfer_cli.results import settings


def metadata(**how):
    made = Made([Track(0, [0, 1])], n_frames=2, **how)
    return json.loads(json.dumps(made.described(made.annotated()), default=float))


def test_settings_have_the_names_of_their_options():
    found = settings.fingerprint(metadata(options=options(every=2)))
    assert found["every"] == 2 and found["model"] == "1" * 64 and found["redetect"] == 0.3
    assert {"start", "min-face", "relative-paths"} <= set(found)
    assert not {"device", "threads", "batch-size", "engine", "redetect_s"} & set(found)
    labels = [settings.setting_label(name) for name in ("schema", "model", "every")]
    assert labels == ["schema", "model", "--every"]


def test_the_machine_decides_no_setting():
    plain = AnnotateOptions()
    other = dataclasses.replace(plain.model, device="cuda", threads=7, batch_size=3)
    moved = dataclasses.replace(plain, model=other)
    assert settings.fingerprint(metadata()) == settings.fingerprint(metadata(options=moved))


def test_differing_settings_are_named_with_the_value_of_each():
    prints = [{"a": 1, "b": None, "c": 2}, {"a": 1, "b": 3}, {"a": 1, "b": 3, "d": 4}]
    found = settings.differing(prints)
    assert found == {"b": [None, 3, 3], "c": [2, None, None], "d": [None, None, 4]}
    assert list(found) == ["b", "c", "d"]
    assert settings.differing(prints[:1]) == settings.differing([]) == {}
    # an option that this version no longer has does not make a result another one
    assert settings.changed({"a": 1, "c": 2}, {"a": 1, "b": 3}) == ["c"]


def test_a_result_is_kept_only_where_a_run_would_write_the_same(tmp_path):
    video, out = tmp_path / "clip.mp4", tmp_path / "clip.parquet"
    video.write_bytes(b"frames")
    known = {"bytes": 6, "sha256": file_sha256(video), "path": str(video)}
    Made(n_frames=2, metadata={"video": known}).write(out)
    settings.keep(out, str(video), metadata())
    small = AnnotateOptions(faces=FaceOptions(min_face_px=99.0))
    with pytest.raises(OutputError, match=r"other settings: min-face\..*--overwrite"):
        settings.keep(out, str(video), metadata(options=small))
    video.write_bytes(b"FRAMES")
    assert settings.differences(out, str(video), metadata()) == ["the video itself"]
    video.unlink()
    assert settings.differences(out, str(video), metadata()) == ["the video itself"]
    with pytest.raises(VideoError, match="can no longer be read: No such file"):
        settings.key(metadata(), str(video))


def test_the_key_of_a_run_changes_with_the_video_but_not_with_its_name(tmp_path):
    video = tmp_path / "clip.mp4"
    video.write_bytes(b"frames")
    key = settings.key(metadata(), str(video))
    moved = video.rename(tmp_path / "moved.mp4")
    assert settings.key(metadata(), str(moved)) == key
    moved.write_bytes(b"other frames")
    assert settings.changed(settings.key(metadata(), str(moved)), key) == ["the video itself"]


def test_what_is_no_result_has_no_settings(tmp_path):
    (tmp_path / "a.parquet").write_text("text")
    with pytest.raises(OutputError, match=r"not a readable result.*--overwrite"):
        settings.read_metadata(tmp_path / "a.parquet")
