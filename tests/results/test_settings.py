"""Comparing the settings of results: what counts as one, and what --skip-existing keeps."""

import dataclasses
import json

import pytest
from made import Made, Track, options

from jadfer_cli.common import file_sha256
from jadfer_cli.errors import OutputError, VideoError
from jadfer_cli.expression import checkpoint
from jadfer_cli.options import AnnotateOptions, FaceOptions
from jadfer_cli.results import settings
from jadfer_cli.results.revision import RESULTS_REVISION


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
    assert found["file-names"] is found["relative-paths"] is False and found["revision"]


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
    with pytest.raises(OutputError, match=r"min-face \(then 16, now 99\)\..*overwrite"):
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
    with pytest.raises(OutputError, match=r"not a readable result.*overwrite"):
        settings.read_metadata(tmp_path / "a.parquet")


def test_an_older_result_is_kept_only_if_the_rows_have_not_changed_since(tmp_path, monkeypatch):
    video, out = tmp_path / "clip.mp4", tmp_path / "clip.parquet"
    video.write_bytes(b"frames")
    known = {"bytes": 6, "sha256": file_sha256(video), "path": str(video)}

    def write(version, revision=None, **more):
        """As another version wrote it; those without revisions had no option file_names."""
        recorded = metadata(metadata={"jadfer_version": version, "video": known, **more})
        del recorded["results_revision"]
        if revision is None:
            del recorded["options"]["file_names"]
        else:
            recorded["results_revision"] = revision
        made = Made(n_frames=2)
        made.described = lambda frames: recorded
        made.write(out, overwrite=True)

    def keep(*args, **more):
        write(*args, **more)
        return settings.keep(out, str(video), metadata())

    assert keep("0.6.1", revision=RESULTS_REVISION) is None
    assert settings.kept_text(out) == "same settings, made by jadfer 0.6.1"
    for version in ("0.5.0", "0.4.1"):
        why = keep(version)
        assert why.startswith(f"made by jadfer {version}, whose rows differ: usable faces are")
        assert "smaller squares" not in why
    why = keep("0.3.0")
    assert why.startswith("made by jadfer 0.3.0, whose rows differ: ") and "smaller squares" in why
    with pytest.raises(OutputError, match=r"model \(then jadfer-compact, SHA-256 9{12}, now j"):
        keep("0.3.0", model=metadata()["model"] | {"sha256": "9" * 64})
    # versions without revisions, before the rows changed again
    monkeypatch.setattr(settings, "RESULTS_REVISION", 4)
    at_four = metadata(metadata={"results_revision": 4})
    for version in ("0.5.0", "0.4.1"):
        write(version)
        assert settings.keep(out, str(video), at_four) is None
    assert settings.kept_text(out) == "same settings, made by jadfer 0.4.1"
    monkeypatch.undo()
    newer = metadata(metadata={"results_revision": 99, "jadfer_version": "9.0", "video": known})
    Made(n_frames=2, metadata=newer).write(out, overwrite=True)
    with pytest.raises(OutputError, match=r"jadfer 9\.0, whose rows are newer.*Update jadfer"):
        settings.keep(out, str(video), metadata())


@pytest.fixture
def earlier(tmp_path):
    """Writes a result as jadfer 0.5.0 did, and returns what differs from a run of now."""
    video, out = tmp_path / "clip.mp4", tmp_path / "clip.parquet"
    video.write_bytes(b"frames")
    known = {"bytes": 6, "sha256": file_sha256(video), "path": str(video)}

    def differences(wanted, **more):
        recorded = metadata(metadata={"jadfer_version": "0.5.0", "video": known, **more})
        del recorded["results_revision"]
        made = Made(n_frames=2)
        made.described = lambda frames: recorded
        made.write(out, overwrite=True)
        return settings.differences(out, str(video), wanted, checkpoint.current_hashes())

    return differences


def test_an_earlier_file_of_the_same_weights_is_the_same_model(earlier):
    old = "e36c12c5bd633656d4bb553759169cd1b2b8d1bfd18d06b41cec57360b3dc571"  # up to 0.5.0
    named = checkpoint.registry()["jadfer-compact-0.4"].sha256
    model = metadata()["model"]
    wanted = metadata(model_sha256=named)
    assert earlier(wanted, model=model | {"sha256": old}) == []
    assert len(earlier(wanted, model=model | {"sha256": "9" * 64})) == 1


def test_the_other_default_of_redetect_on_a_gpu_is_no_changed_option(earlier):
    unset = {"faces": {"redetect_s": None}}  # as 0.5.0 recorded it
    assert earlier(metadata(), redetect_s=0.0, options=unset) == []
    chosen = metadata(options=AnnotateOptions(faces=FaceOptions(redetect_s=0.5)))
    chosen["redetect_s"] = 0.5
    assert earlier(chosen, redetect_s=0.0, options=unset) == ["redetect (then 0, now 0.5)"]
    assert earlier(metadata(), redetect_s=0.0) == ["redetect (then 0, now 0.3)"]


def test_a_result_of_this_version_is_kept_without_naming_it(tmp_path):
    out = Made(n_frames=2).write(tmp_path / "clip.parquet")
    assert settings.kept_text(out) == "same settings"


def test_until_0_5_0_relative_paths_meant_file_names():
    old = metadata(options=AnnotateOptions(relative_paths=True))
    del old["options"]["file_names"]
    now = metadata(options=AnnotateOptions(file_names=True))
    assert settings.fingerprint(old) == settings.fingerprint(now)


def test_changes_are_told_with_both_values():
    told = settings.then_and_now
    assert told("fps", None, 5.0) == "fps (then none, now 5)"
    assert told("landmarks", False, True) == "landmarks (then off, now on)"
    assert told("the video itself", "8 bytes", "9 bytes") == "the video itself"
    versions = {"torch": "2.4", "av": "14"}, {"torch": "2.5", "av": "14"}
    assert told("versions", *versions) == "versions (torch 2.4, now 2.5)"
