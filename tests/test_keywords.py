"""Options as keywords: what they set, what help and completion show; examples of docstrings run."""

import dataclasses
import doctest
import inspect
import rlcompleter
import shutil

import pandas as pd
import pytest

import jadfer_cli
from jadfer_cli.options import AnnotateOptions, FaceOptions, OptionKeywords, combined
from jadfer_cli.pipeline import annotator as annotators

FUNCTIONS = (jadfer_cli.annotate, jadfer_cli.iter_annotate, jadfer_cli.Annotator)


def test_keywords_are_all_options_with_their_types():
    groups = (AnnotateOptions, jadfer_cli.VideoOptions, FaceOptions, jadfer_cli.ModelOptions)
    fields = [field for group in groups for field in dataclasses.fields(group)]
    types = {field.name: field.type for field in fields if field.name not in ("video", "faces")}
    types["model"] = "str"  # the name of the network, not the group
    named = {name: kind.__forward_arg__ for name, kind in OptionKeywords.__annotations__.items()}
    assert named == types


def test_keywords_replace_single_options():
    given = AnnotateOptions(faces=FaceOptions(min_face_px=30), landmarks=True)
    found = combined(given, {"fps": 5, "max_faces": 1, "model": "x", "landmarks": False})
    assert (found.video.fps, found.model.model, found.landmarks) == (5, "x", False)
    assert found.faces == FaceOptions(min_face_px=30, max_faces=1)
    assert combined(None, {}) == AnnotateOptions() and combined(given, {}) is not None


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_keyword_that_is_no_option_is_refused_before_the_networks_load(function, monkeypatch):
    monkeypatch.setattr(annotators, "_load", None)
    inputs = () if function is jadfer_cli.Annotator else ("clip.mp4",)
    for name, hint in (("start", "start_s"), ("detctor", "detector"), ("xyzzy", "Options are ")):
        with pytest.raises(jadfer_cli.OptionError, match=f"no option {name}") as caught:
            function(*inputs, **{name: 1})
        assert hint in caught.value.hint
    with pytest.raises(jadfer_cli.OptionError, match="`fps` must be a positive number, not -5"):
        function(*inputs, fps=-5)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_help_and_completion_show_the_options(function):
    parameters = inspect.signature(function).parameters
    assert parameters["fps"].default is None and parameters["track_gap_s"].default == 1.0
    assert parameters["model"].default == "default" and "keywords" not in parameters
    assert "fps" in str(inspect.signature(function))


def test_names_are_completed():
    complete = rlcompleter.Completer({"jadfer_cli": jadfer_cli}).complete
    found = [complete("jadfer_cli.it", i) for i in range(2)]
    assert found[0].startswith("jadfer_cli.iter_annotate") and found[1] is None
    assert {"Annotator", "Pieces", "annotate"} <= set(dir(jadfer_cli))


@pytest.mark.slow
def test_the_metadata_of_pieces_are_those_of_annotate(short_clip):
    options = {"detector": "centerface", "fps": 12.5}
    whole = jadfer_cli.annotate(short_clip, **options)
    pieces = jadfer_cli.iter_annotate(short_clip, **options)
    assert pieces.metadata is None
    assert pd.concat(pieces)["frame"].tolist() == whole["frame"].tolist() == [0, 2, 4, 6]
    expected = whole.attrs["jadfer"]
    times = ("created", "wall_s", "frames_per_s")
    assert pieces.metadata | {name: expected[name] for name in times} == expected
    assert expected["options"]["video"]["fps"] == 12.5 and expected["video"]["sha256"]
    early = jadfer_cli.iter_annotate(short_clip, **options)
    next(early)
    early.close()
    assert early.metadata is None and list(early) == []


@pytest.mark.slow
@pytest.mark.parametrize("module", [jadfer_cli, annotators], ids=lambda module: module.__name__)
def test_examples_in_docstrings_run(module, short_clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("clip.mp4", "other.mp4"):
        shutil.copy(short_clip, name)
    found = doctest.testmod(module, extraglobs={"jadfer_cli": jadfer_cli})
    assert found.attempted >= 4 and found.failed == 0
