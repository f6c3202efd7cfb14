"""Files for ELAN, Praat, BORIS and BIDS: read back, and checked against the rules of the format."""

import dataclasses
import json
import re
import xml.etree.ElementTree as etree
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made import Made, Track
from praatio import textgrid
from pympi.Elan import Eaf

from jadfer_cli.analysis import export
from jadfer_cli.analysis.event_rule import Rule
from jadfer_cli.analysis.events import find_events
from jadfer_cli.analysis.export import bids, boris, tiers
from jadfer_cli.analysis.export.paths import check_output, output_paths
from jadfer_cli.cli import app
from jadfer_cli.errors import OptionError, OutputError
from jadfer_cli.labels import LABELS
from jadfer_cli.results import load

RULE = Rule(min_duration_s=0.1)
TRACKS = [
    Track(0, list(range(20)), ["neutral"] * 5 + ["happiness"] * 5 + ["sadness"] * 5 + ["fear"] * 5),
    Track(1, list(range(8)), "anger"),
    Track(2, list(range(12, 20))),
]


def found(tmp_path, tracks=TRACKS, rule=RULE, name="clip", **how):
    made = Made(tracks, n_frames=20, **how).write(tmp_path / f"{name}.parquet")
    return find_events(load.load(made), rule)


def overlapping():
    """Happiness in frames 2 to 11, surprise in 8 to 17; never more than 1 in sum."""
    p = np.zeros((20, len(LABELS)), np.float32)
    p[2:12, 1], p[8:18, 2] = 0.45, 0.5
    p[:, 0] = 1 - p.sum(1)
    return Track(0, list(range(20)), p)


def write(kind, events, path):
    export.EXPORTERS[kind].write([events], path)
    return path


def test_an_elan_file_has_one_tier_per_track(tmp_path):
    video = tmp_path / "my clips" / "clip.mp4"
    video.parent.mkdir()
    video.touch()
    events = found(tmp_path, video="my clips/clip.mp4")
    path = write("eaf", events, tmp_path / "out" / "clip.eaf")
    eaf = Eaf(path)
    assert list(eaf.get_tier_names()) == ["track 0", "track 1", "track 2"]
    assert sorted(eaf.get_annotation_data_for_tier("track 0")) == [
        (200, 400, "happiness"), (400, 600, "sadness"), (600, 800, "fear"),
    ]  # fmt: skip
    assert eaf.get_annotation_data_for_tier("track 1") == [(0, 320, "anger")]
    assert eaf.get_annotation_data_for_tier("track 2") == []
    assert eaf.get_parameters_for_tier("track 1")["PARTICIPANT"] == "track 1"
    (media,) = eaf.get_linked_files()
    assert media["MEDIA_URL"] == "file://" + video.as_posix()
    assert media["RELATIVE_MEDIA_URL"] == "../my clips/clip.mp4"
    assert media["MIME_TYPE"] == "video/mp4"
    beside = Eaf(write("eaf", events, tmp_path / "clip.eaf")).get_linked_files()[0]
    assert beside["RELATIVE_MEDIA_URL"] == "./my clips/clip.mp4"
    (vocabulary,) = eaf.get_controlled_vocabulary_names()
    entries = eaf.get_cv_entries(vocabulary).values()
    assert [values[0][0] for values, _ in entries] == list(LABELS)
    assert dict(eaf.get_properties())["jadfer:on"] == "0.5"


def test_an_elan_file_follows_the_rules_of_its_format(tmp_path):
    events = found(tmp_path, [*TRACKS[1:], overlapping()], Rule(on=0.4, off=0.3))
    path = write("eaf", events, tmp_path / "clip.eaf")
    assert path.read_bytes().startswith(b"<?xml version")
    root = etree.parse(path).getroot()
    order = ["HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE", "LOCALE", "LANGUAGE", "CONSTRAINT",
             "CONTROLLED_VOCABULARY"]  # fmt: skip
    places = [order.index(child.tag) for child in root]
    assert places == sorted(places)
    times = [int(slot.get("TIME_VALUE")) for slot in root.iter("TIME_SLOT")]
    assert times == sorted(times) and times[-1] <= 800
    slots = {
        slot.get("TIME_SLOT_ID"): int(slot.get("TIME_VALUE")) for slot in root.iter("TIME_SLOT")
    }
    types = {kind.get("LINGUISTIC_TYPE_ID"): kind for kind in root.iter("LINGUISTIC_TYPE")}
    vocabularies = {cv.get("CV_ID") for cv in root.iter("CONTROLLED_VOCABULARY")}
    languages = {lang.get("LANG_ID") for lang in root.iter("LANGUAGE")}
    ids = [a.get("ANNOTATION_ID") for a in root.iter("ALIGNABLE_ANNOTATION")]
    assert len(ids) == len(set(ids)) == len(events.events)
    last = [p.text for p in root.iter("PROPERTY") if p.get("NAME") == "lastUsedAnnotationId"]
    assert int(last[0]) >= max(int(i[1:]) for i in ids)
    for tier in root.iter("TIER"):
        kind = types[tier.get("LINGUISTIC_TYPE_REF")]
        assert kind.get("CONTROLLED_VOCABULARY_REF") in vocabularies
        spans = sorted((slots[a.get("TIME_SLOT_REF1")], slots[a.get("TIME_SLOT_REF2")])
                       for a in tier.iter("ALIGNABLE_ANNOTATION"))  # fmt: skip
        assert all(a < b for a, b in spans)
        assert all(one[1] <= two[0] for one, two in pairwise(spans))
    assert {value.get("LANG_REF") for value in root.iter("CVE_VALUE")} <= languages
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", root.get("DATE"))


def test_overlapping_expressions_have_one_tier_each(tmp_path):
    events = found(tmp_path, [overlapping(), *TRACKS[1:]], Rule(on=0.4, off=0.3))
    path = write("eaf", events, tmp_path / "clip.eaf")
    eaf = Eaf(path)
    assert list(eaf.get_tier_names()) == [
        "track 0 happiness", "track 0 surprise", "track 1", "track 2",
    ]  # fmt: skip
    assert eaf.get_annotation_data_for_tier("track 0 surprise") == [(320, 720, "surprise")]
    assert eaf.get_parameters_for_tier("track 0 surprise")["PARTICIPANT"] == "track 0"
    grid = textgrid.openTextgrid(
        str(write("textgrid", events, tmp_path / "clip.TextGrid")), includeEmptyIntervals=False
    )
    assert grid.tierNames[:2] == ("track 0 happiness", "track 0 surprise")


def test_a_textgrid_has_no_gaps_or_slivers(tmp_path):
    # multiples of 1001/30000 s are not whole ms
    events = found(tmp_path, times_s=np.arange(20) * 1001 / 30000)
    path = write("textgrid", events, tmp_path / "clip.TextGrid")
    grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="error")
    assert grid.tierNames == ("track 0", "track 1", "track 2") and grid.minTimestamp == 0
    assert grid.maxTimestamp == pytest.approx(0.667)
    for tier in grid.tiers:
        entries = tier.entries
        assert entries[0].start == 0 and entries[-1].end == grid.maxTimestamp
        assert all(a.end == b.start for a, b in pairwise(entries))
        assert all(e.end - e.start >= 0.001 - 1e-9 for e in entries)
    assert [e.label for e in grid.getTier("track 0").entries] == [
        "",
        "happiness",
        "sadness",
        "fear",
    ]
    assert grid.getTier("track 0").entries[1].start == pytest.approx(5 * 1001 / 30000, abs=5e-4)
    assert [e.label for e in grid.getTier("track 2").entries] == [""]


def test_events_of_less_than_a_millisecond_have_no_interval(tmp_path):
    # a camera with 4000 frames per second
    tracks = [Track(0, list(range(20)), ["anger", "neutral"] * 10)]
    events = found(
        tmp_path, tracks, Rule(min_duration_s=0, merge_gap_s=0), times_s=np.arange(20) / 4000
    )
    assert len(events.events) == 10
    assert all(s.end_ms > s.start_ms for tier in tiers.tiers(events) for s in tier.intervals)
    write("textgrid", events, tmp_path / "clip.TextGrid")


def test_no_interval_ends_after_the_video(tmp_path):
    # 20 frames of 33.34 ms: the video ends at 666.8 ms, rounded down to 666 ms
    events = found(tmp_path, [Track(0, list(range(20)), "fear")], times_s=np.arange(20) * 0.03334)
    ((interval,),) = (tier.intervals for tier in tiers.tiers(events))
    assert (interval.start_ms, interval.end_ms, tiers.end_ms(events)) == (0, 666, 666)


def test_boris_files_have_the_columns_and_order_of_boris(tmp_path):
    path = tmp_path / "boris.csv"
    export.EXPORTERS["boris"].write([found(tmp_path), found(tmp_path, TRACKS[1:2], name="b")], path)
    table = pd.read_csv(path, keep_default_na=False)
    assert tuple(table.columns) == boris.COLUMNS and len(boris.COLUMNS) == 24
    assert table["Observation id"].tolist() == ["clip"] * 4 + ["b"]
    first = table.iloc[1].to_dict()
    assert first["Subject"] == "track 0" and first["Behavior"] == "sadness"
    assert first["Behavior type"] == "STATE" and first["Image file path start"] == "NA"
    assert (first["Start (s)"], first["Stop (s)"], first["Duration (s)"]) == (0.4, 0.6, 0.2)
    assert first["Observation duration by subject by observation"] == pytest.approx(0.6)
    assert first["Media duration (s)"] == 0.8 and first["FPS (frame/s)"] == 25
    assert first["Observation date"] == "2026-11-24 10:00:00"
    assert first["Comment start"] == "apex 0.400 s, p 0.900"
    turned = [Track(0, list(range(20)), ["sadness"] * 10 + ["happiness"] * 10)]
    table_2 = pd.read_csv(write("boris", found(tmp_path, turned, name="c"), tmp_path / "c.csv"))
    assert table_2["Behavior"].tolist() == ["happiness", "sadness"]  # in the order of the labels
    assert table["Comment stop"].tolist()[2:4] == ["truncated: end", "truncated: both"]


def test_bids_files_follow_the_specification(tmp_path):
    events = found(tmp_path, name="sub-01_task-talk_beh")
    path = write("bids", events, tmp_path / bids.file_name(events.result.name))
    assert path.name == "sub-01_task-talk_events.tsv"
    lines = path.read_text("utf-8").splitlines()
    head = lines[0].split("\t")
    assert head[:3] == ["onset", "duration", "trial_type"]
    assert all(len(line.split("\t")) == len(head) and "" not in line.split("\t") for line in lines)
    table = pd.read_csv(path, sep="\t", na_values="n/a", keep_default_na=False)
    assert table["onset"].is_monotonic_increasing and (table["duration"] > 0).all()
    assert table["truncated"].isna().tolist() == [False, True, True, False]
    assert lines[2].endswith("\tn/a")
    described = json.loads((tmp_path / "sub-01_task-talk_events.json").read_text("utf-8"))
    assert set(head) <= set(described)
    for name in head:
        assert described[name]["LongName"] and described[name]["Description"]
    assert set(table["trial_type"]) <= set(described["trial_type"]["Levels"])
    assert set(table["truncated"].dropna()) <= set(described["truncated"]["Levels"])
    assert described["onset"]["Units"] == described["duration"]["Units"] == "s"
    assert described["EventDetection"]["OnThreshold"] == 0.5
    assert all(re.fullmatch("[A-Z][A-Za-z]*", key) for key in set(described) - set(head))


@pytest.mark.parametrize(
    ("result", "name"),
    [
        ("clip", "clip_events.tsv"),
        ("my_clip", "my_clip_events.tsv"),
        ("sub-01_ses-2_task-x_video", "sub-01_ses-2_task-x_events.tsv"),
        ("sub-01_task-x", "sub-01_task-x_events.tsv"),
        ("sub-01_task-x_events", "sub-01_task-x_events.tsv"),
        ("sub-01", "sub-01_events.tsv"),
        ("sub-_x", "sub-_x_events.tsv"),
    ],
)
def test_bids_names(result, name):
    assert bids.file_name(result) == name


def test_without_a_face_or_event_every_file_is_valid(tmp_path):
    for name, tracks, tier in (("none", [], tiers.NO_TRACK), ("calm", TRACKS[2:], "track 2")):
        events = found(tmp_path, tracks, name=name)
        assert len(events.events) == 0
        eaf = Eaf(write("eaf", events, tmp_path / f"{name}.eaf"))
        assert list(eaf.get_tier_names()) == [tier]
        path = write("textgrid", events, tmp_path / f"{name}.TextGrid")
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True)
        assert grid.tierNames == (tier,) and grid.maxTimestamp == pytest.approx(0.8)
        table = pd.read_csv(write("boris", events, tmp_path / f"{name}_boris.csv"))
        assert tuple(table.columns) == boris.COLUMNS and table.empty
        table = pd.read_csv(write("bids", events, tmp_path / f"{name}_events.tsv"), sep="\t")
        assert list(table.columns[:2]) == ["onset", "duration"] and table.empty


def test_twenty_tracks_have_twenty_tiers(tmp_path):
    events = found(tmp_path, [Track(i, list(range(i, 20)), "fear") for i in range(20)])
    eaf = Eaf(write("eaf", events, tmp_path / "many.eaf"))
    assert list(eaf.get_tier_names()) == [f"track {i}" for i in range(20)]
    assert eaf.get_annotation_data_for_tier("track 13") == [(520, 800, "fear")]
    assert eaf.get_annotation_data_for_tier("track 19") == []  # 0.04 s


def test_a_result_and_its_sidecar_are_never_replaced(tmp_path):
    events = found(tmp_path, name="sub-1_events")
    for kind, path in (
        ("parquet", events.result.path), ("json", events.result.path.with_suffix(".json")),
        ("bids", tmp_path / "sub-1_events.tsv"),  # its sidecar would replace that of the result
    ):  # fmt: skip
        with pytest.raises(OutputError, match="is a result of jadfer annotate"):
            check_output(path, export.EXPORTERS[kind], overwrite=True)
    for kind in ("eaf", "textgrid", "boris", "bids"):
        path = tmp_path / export.EXPORTERS[kind].file_name_for("x")
        write(kind, events, path)
        with pytest.raises(OptionError, match="already exists"):
            check_output(path, export.EXPORTERS[kind], overwrite=False)
        check_output(path, export.EXPORTERS[kind], overwrite=True)
        write(kind, events, path)
    assert not [p.name for p in tmp_path.iterdir() if p.suffix in (".part", ".bak")]


EXCLAIM = """
from jadfer_cli.analysis.export.base import Exporter


def write(event_sets, out):
    events = [event for each in event_sets for event in each.records()]
    lines = [f"{event.expression.upper()}! at {event.onset_s:.2f} s" for event in events]
    out.write_text("\\n".join(lines))


EXPORTERS = (Exporter("exclaim", "Exclaim", (".shout",), "one exclamation per event", write),)
"""


def test_a_format_is_one_file(tmp_path, monkeypatch):
    """A module added to the package is found, listed in the help, and can write."""
    (tmp_path / "exclaim.py").write_text(EXCLAIM)
    monkeypatch.setattr(export, "__path__", [*export.__path__, str(tmp_path)])
    monkeypatch.setattr(export, "EXPORTERS", export.discover())
    out = tmp_path / "clip.shout"
    exporter = export.exporter_named("Exclaim")
    assert export.exporter_for(out) is exporter is export.EXPORTERS["exclaim"]
    assert "exclaim: one exclamation per event" in export.format_help()
    assert ".shout" in export.suffix_help()
    events = found(tmp_path, TRACKS[:2])
    check_output(out, exporter, overwrite=False)
    exporter.write([events], out)
    assert out.read_text().splitlines()[:2] == ["ANGER! at 0.00 s", "HAPPINESS! at 0.20 s"]
    with pytest.raises(OptionError, match="already exists"):
        check_output(out, exporter, overwrite=False)
    with pytest.raises(OptionError, match=r"Exclaim files \(`format` exclaim\) end in .shout"):
        check_output(tmp_path / "x.txt", exporter, overwrite=False)
    paths = output_paths([events.result], [str(tmp_path)], tmp_path / "folder", exporter)
    assert paths == {tmp_path / "folder" / "clip.shout": [events.result]}
    with pytest.raises(OptionError, match="about one video"):
        output_paths([events.result] * 2, [], out, exporter)


def test_every_format_has_a_help_text_and_its_own_name():
    exporters = list(export.EXPORTERS.values())
    assert {e.name for e in exporters} == {
        "csv", "tsv", "json", "jsonl", "parquet", "eaf", "textgrid", "boris", "bids",
        "csv.gz", "tsv.gz", "xlsx", "sav", "dta",
    }  # fmt: skip
    for each in exporters:
        assert each.help and each.title and each.name == each.name.lower()
        assert each.file_name_for("x").endswith(each.suffixes)
        assert each.help in export.format_help() and each.name in export.format_help()
        if each.chosen_by_suffix:
            assert all(suffix in export.suffix_help() for suffix in each.suffixes)
            assert export.exporter_for(Path("x" + each.suffixes[0])) is each
    help_of = {option.name: option.help for option in app.load("events").params}
    assert help_of["format_name"].startswith(f"{export.format_help()}. ")
    assert help_of["out"] == export.suffix_help()


def test_two_formats_cannot_claim_one_suffix(monkeypatch):
    csv = export.EXPORTERS["csv"]
    monkeypatch.setitem(export.EXPORTERS, "mine", dataclasses.replace(csv, name="mine"))
    with pytest.raises(ValueError, match=r"csv and mine both claim \.csv"):
        export.exporter_for(Path("x.csv"))
