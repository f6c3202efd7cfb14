"""Damaged metadata, columns and rows: one clear error per file, from every command."""

import json

import fastjsonschema
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from made import Made, Track
from typer.testing import CliRunner

from jadfer_cli.cli.app import app
from jadfer_cli.errors import DamagedResult, ResultError
from jadfer_cli.results import load
from jadfer_cli.results import metadata_schema as metadata_schema_module
from jadfer_cli.results.metadata_schema import metadata_problem, metadata_schema


def run(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    tracks = [Track(0, [0, 1, 2], "happiness"), Track(1, [2, 3], "sadness")]
    made = Made(tracks, n_frames=6)
    return made.write(tmp_path_factory.mktemp("good") / "a.parquet")


def with_attrs(good, out, text):
    """Copy a result with other text under the key of the attrs."""
    table = pq.read_table(good)
    metadata = {**table.schema.metadata, b"PANDAS_ATTRS": text}
    pq.write_table(table.replace_schema_metadata(metadata), out)
    return out


def with_metadata(good, out, change):
    """Copy a result with changed metadata."""
    metadata = json.loads(json.dumps(load.load(good).metadata))
    return with_attrs(good, out, json.dumps({"jadfer": change(metadata)}).encode())


def without(*keys):
    """Remove an entry of nested metadata."""

    def change(metadata):
        inner = metadata
        for key in keys[:-1]:
            inner = inner[key]
        del inner[keys[-1]]
        return metadata

    return change


METADATA = {
    "null": (lambda m: None, "its content should be an object"),
    "list": (lambda m: [], "its content should be an object"),
    "text": (lambda m: "x", "its content should be an object"),
    "empty": (lambda m: {}, "schema_version, jadfer_version, labels, model"),
    "no labels": (without("labels"), "labels is missing"),
    "no model hash": (without("model", "sha256"), "model.sha256 is missing"),
    "no duration": (without("video", "duration_s"), "video.duration_s is missing"),
    "no options": (without("options", "video", "fps"), "options.video.fps is missing"),
    "labels null": (lambda m: m | {"labels": None}, "labels should be a list"),
    "label number": (lambda m: m | {"labels": [1, 2]}, "labels.0 should be text"),
    "label twice": (lambda m: m | {"labels": ["a", "a"]}, "labels has an entry twice"),
    "video list": (lambda m: m | {"video": []}, "video should be an object"),
    "counts text": (lambda m: m | {"counts": "many"}, "counts should be an object"),
    "duration text": (
        lambda m: m | {"video": m["video"] | {"duration_s": "long"}},
        "video.duration_s should be a number",
    ),
    "duration NaN": (
        lambda m: m | {"video": m["video"] | {"duration_s": float("nan")}},
        "video.duration_s should be a number",
    ),
    "warnings": (lambda m: m | {"warnings": [{}]}, "warnings.0 should be text"),
    "half a surrogate pair": (
        lambda m: m | {"video": m["video"] | {"path": "a\ud800.mp4"}},
        "'\\ud800' is not a character",
    ),
    "half a pair in a name": (
        lambda m: m | {"model": m["model"] | {"metrics": {"\udfff": 1}}},
        "'\\udfff' is not a character",
    ),
}


@pytest.mark.parametrize("name", METADATA)
def test_damaged_metadata_is_named(good, tmp_path, name):
    change, says = METADATA[name]
    path = with_metadata(good, tmp_path / "bad.parquet", change)
    with pytest.raises(DamagedResult) as caught:
        load.load(path)
    assert f"{path} is damaged or was changed: in its metadata, " in str(caught.value)
    assert says in str(caught.value), caught.value


def test_a_number_that_becomes_infinite_is_damage(good, tmp_path):
    text = json.dumps({"jadfer": load.load(good).metadata}).encode()
    text = text.replace(b'"wall_s": ', b'"wall_s": 1e999, "x": ')
    with pytest.raises(DamagedResult, match="a number is infinite"):
        load.load(with_attrs(good, tmp_path / "a.parquet", text))


@pytest.mark.parametrize("text", [b"", b"null", b"[]", b"{", b"\xff", b"[" * 100_000, b"{}"])
def test_attrs_that_are_no_metadata_make_no_result(good, tmp_path, text):
    with pytest.raises(ResultError, match="it has none of its metadata"):
        load.load(with_attrs(good, tmp_path / "bad.parquet", text))


def at(row, **values):
    """Set values of one row."""

    def change(rows):
        for name, value in values.items():
            rows.loc[row, name] = value
        return rows

    return change


ROWS = {
    "box NaN": (at(1, bbox_x1=np.nan), "in row 1 (frame 1), the face has no complete box"),
    "box turned": (at(1, bbox_x1=500), "in row 1 (frame 1), the box ends before it begins"),
    "box without a face": (at(5, bbox_x1=1.0), "there is a box, but no face"),
    "p NaN": (at(1, p_fear=np.nan), "in row 1 (frame 1), p_fear is not a probability"),
    "p 7": (at(1, p_fear=7.0), "p_fear is not a probability"),
    "time NaN": (at(1, time_s=np.nan), "in row 1 (frame 1), time_s is empty"),
    "time infinite": (at(6, time_s=np.inf), "time_s is not a possible time"),
    "time backwards": (at(4, time_s=0.01), "time_s is earlier than in the frame before"),
    "time twice": (at(3, time_s=0.09), "differs from that of another row of the same frame"),
    "no track": (at(1, track_id=pd.NA), "face_detected is true, but track_id is empty"),
    "track -1": (at(1, track_id=-1), "track_id is not a whole number from 0"),
    "flipped": (at(1, face_detected=False), "is false, but there is a track_id"),
    "frame -1": (at(0, frame=-1), "frame is not a possible index"),
    "duplicated": (lambda r: pd.concat([r, r]), "track_id occurs twice in one frame"),
    "usable null": (at(1, usable=pd.NA), "usable is empty"),
    "usable with a reason": (at(1, unusable_reason="blurred"), "but there is an unusable_reason"),
    "label": (
        lambda r: r.assign(expression=r["expression"].astype(object).replace("sadness", "woe")),
        "expression is none of the model's labels",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_impossible_rows_are_named(good, tmp_path, name):
    change, says = ROWS[name]
    change(pd.read_parquet(good)).to_parquet(tmp_path / "bad.parquet", index=False)
    with pytest.raises(DamagedResult) as caught:
        load.load(tmp_path / "bad.parquet").rows()
    assert says in str(caught.value) and "bad.parquet is damaged" in str(caught.value)


COLUMNS = {
    "frame text": (lambda r: r.assign(frame=r["frame"].astype(str)), "whole numbers"),
    "frame float": (lambda r: r.assign(frame=r["frame"] + 0.5), "whole numbers"),
    "time text": (lambda r: r.assign(time_s=r["time_s"].astype(str)), "and not numbers"),
    "face number": (lambda r: r.assign(face_detected=1), "and not true or false"),
    "expression number": (lambda r: r.assign(expression=1), "and not text"),
    "p dropped": (lambda r: r.drop(columns="p_fear"), "the column p_fear is missing"),
    "track dropped": (lambda r: r.drop(columns="track_id"), "the column track_id is missing"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_wrong_columns_are_named(good, tmp_path, name):
    change, says = COLUMNS[name]
    change(pd.read_parquet(good)).to_parquet(tmp_path / "bad.parquet", index=False)
    with pytest.raises(DamagedResult) as caught:
        load.load(tmp_path / "bad.parquet")
    assert says in str(caught.value)


def test_what_other_programs_change_without_harm_is_accepted(good, tmp_path):
    rows = pd.read_parquet(good)
    rows["video"] = rows["video"].astype(str)
    rows["expression"] = rows["expression"].astype(object)
    rows["track_id"] = rows["track_id"].astype("float64")
    rows["frame"] = rows["frame"].astype("int64")
    shuffled = rows.sort_values("track_id", ascending=False)
    shuffled.to_parquet(tmp_path / "other.parquet", index=False)
    read = load.load(tmp_path / "other.parquet").rows()
    assert read["frame"].tolist() == rows["frame"].tolist()
    assert read["expression"].tolist()[:5] == rows["expression"].tolist()[:5]
    shown = run("show", tmp_path / "other.parquet")
    assert shown.exit_code == 0, shown.output
    empty = rows[~rows["face_detected"]].assign(expression=None, track_id=None)
    empty.to_parquet(tmp_path / "empty.parquet", index=False)
    assert run("show", tmp_path / "empty.parquet").exit_code == 0


@pytest.mark.slow
def test_a_damaged_result_among_others_is_named_and_skipped(good, tmp_path):
    (tmp_path / "good.parquet").write_bytes(good.read_bytes())
    with_metadata(good, tmp_path / "bad.parquet", without("video", "duration_s"))
    for command in ("show", "summary"):
        more = ("-o", tmp_path / "s.csv") if command == "summary" else ()
        found = run(command, tmp_path, *more)
        said = " ".join(found.stderr.split())
        assert found.exit_code == 0, found.output
        assert "bad.parquet, which is damaged or was changed: in its metadata, video.dur" in said
    found = run("collect", tmp_path, "-o", tmp_path / "all.parquet")
    said = " ".join(found.stderr.split())
    assert found.exit_code == 1 and "Skipped results that are damaged or were changed" in said


@pytest.mark.slow
def test_skip_existing_refuses_damaged_metadata(good, tmp_path):
    from conftest import DEMO

    out = with_metadata(good, tmp_path / "demo.parquet", lambda m: None)
    found = run("annotate", DEMO, "-o", out, "--skip-existing", "--quiet")
    said = " ".join(found.stderr.split())
    assert found.exit_code == 1 and "is damaged or was changed: in its metadata" in said, said
    assert "--overwrite" in said and "bug in jadfer" not in said


def undescribed(metadata, schema, place=""):
    """Paths of the entries, at any depth, that the schema says nothing about."""
    for name, value in metadata.items():
        known = schema["properties"].get(name)
        if known is None:
            yield place + name
        elif isinstance(value, dict) and "additionalProperties" not in known:
            yield from undescribed(value, known, f"{place}{name}.")


def test_the_schema_is_a_published_json_schema_that_describes_what_is_written(good):
    schema = metadata_schema()
    assert schema["$schema"].startswith("http://json-schema.org/draft-07")
    metadata = json.loads(good.with_suffix(".json").read_text("utf-8"))["jadfer"]
    assert metadata_problem(metadata) is None
    assert list(undescribed(metadata, schema)) == []


def test_detailed_errors_are_compiled_only_for_what_is_wrong(good, monkeypatch):
    real, compiled = fastjsonschema.compile, []

    def compile_(schema, *, detailed_exceptions):
        compiled.append(detailed_exceptions)
        return real(schema, detailed_exceptions=detailed_exceptions)

    monkeypatch.setattr(fastjsonschema, "compile", compile_)
    metadata_schema_module._validator.cache_clear()
    metadata = json.loads(good.with_suffix(".json").read_text("utf-8"))["jadfer"]
    assert metadata_problem(metadata) is None
    assert compiled == [False]
    del metadata["model"]["sha256"]
    assert metadata_problem(metadata) == "model.sha256 is missing"
    assert compiled == [False, True]


@pytest.mark.slow
def test_the_schema_describes_every_entry_that_annotate_writes(demo_result):
    metadata = json.loads(demo_result.with_suffix(".json").read_text("utf-8"))["jadfer"]
    assert metadata_problem(metadata) is None
    assert list(undescribed(metadata, metadata_schema())) == []
