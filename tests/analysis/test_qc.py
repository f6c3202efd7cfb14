"""Quality control on made results: measures by hand, each finding, rule files, order, outputs."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from made import Made, Track, options

from jadfer_cli.analysis.find import find_results
from jadfer_cli.analysis.qc.checks import CHECKS
from jadfer_cli.analysis.qc.clip import MEASURES, measured, read_clip
from jadfer_cli.analysis.qc.report import check_names, report
from jadfer_cli.analysis.qc.rules import read_rules
from jadfer_cli.errors import OptionError
from jadfer_cli.labels import LABELS
from jadfer_cli.results.load import load

BOX, OTHER = np.array([100.0, 80, 180, 180]), np.array([400.0, 90, 480, 190])


def moving(n, box=BOX, seed=0):
    """Boxes (n, 4) of a face that moves a little, as real ones do."""
    return box + np.random.default_rng(seed).normal(0, 1.0, (n, 1)).cumsum(axis=0) * 0.5


def shows(n, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(len(LABELS)), n)


def track(i, frames, box=BOX, **how):
    n = len(frames)
    return Track(i, frames, shows(n, i), box_px=moving(n, box, i), **how)


def good(n=100):
    return [track(0, list(range(n)))]


def clip_of(folder, tracks, n_frames=100, **how):
    path = Made(tracks, n_frames=n_frames, **how).write(folder / "clip.parquet")
    return read_clip(load(path), "clip")


def found_in(clip):
    return {finding.check: finding for check in CHECKS for finding in check.find(clip)}


def test_a_good_clip_raises_nothing(tmp_path):
    clip = clip_of(tmp_path, good())
    assert found_in(clip) == {}
    values = measured(clip, 0)
    assert list(values) == list(MEASURES)
    assert values["face_share"] == values["usable_share"] == values["usable_share_of_video"] == 1
    assert values["analysed_s"] == pytest.approx(4) and values["frames_per_s"] == pytest.approx(25)
    assert values["tracks"] == values["most_faces"] == 1 and values["suspected_switches"] == 0


def test_measures_by_hand(tmp_path):
    # 100 frames of 0.04 s. Face in 0-39 and 60-99: a dropout of 0.8 s. Of 80 faces, 20 are blurred
    # and 4 too small. Frame 70 is corrupt, frames 80 and 81 are repeated.
    frames = [*range(40), *range(60, 100)]
    reason = [""] * 10 + ["blurred"] * 20 + ["too_small"] * 4 + [""] * 46
    clip = clip_of(
        tmp_path, [track(0, frames, reason=reason)], status={70: 1, 80: 2, 81: 2}
    )  # fmt: skip
    values = measured(clip, 0)
    assert values["face_share"] == pytest.approx(0.8)
    assert values["usable_share"] == pytest.approx(55 / 80)
    assert values["usable_share_of_video"] == pytest.approx(0.55)
    assert values["blurred_share"] == pytest.approx(0.25)
    assert values["too_small_share"] == pytest.approx(0.05)
    assert values["dropouts"] == 1 and values["longest_dropout_s"] == pytest.approx(0.8)
    assert values["corrupt_share"] == pytest.approx(0.01)
    assert values["repeated_share"] == pytest.approx(0.02)
    found = found_in(clip)
    assert set(found) == {"blurred", "dropout", "corrupt"}
    assert found["blurred"].at_s == pytest.approx(0.4) and "25%" in found["blurred"].text
    assert found["dropout"].at_s == pytest.approx(1.6) and "0.80 s" in found["dropout"].text


def test_face_that_leaves_or_comes_late_is_no_dropout(tmp_path):
    clip = clip_of(tmp_path, [track(0, list(range(30, 70)))])
    assert clip.gaps == [] and set(found_in(clip)) == {"few_faces"}
    assert "40%" in found_in(clip)["few_faces"].brief


def test_no_face_at_all(tmp_path):
    clip = clip_of(tmp_path, [])
    assert set(found_in(clip)) == {"few_faces"}
    values = measured(clip, 0)
    assert values["face_share"] == 0 and values["usable_share"] is None
    assert values["too_small_share"] is None and values["longest_dropout_s"] == 0


def test_frames_that_the_decoder_reports_as_repeated(tmp_path):
    clip = clip_of(tmp_path, good(), status={i: 2 for i in range(40, 60)})
    assert measured(clip, 0)["repeated_share"] == pytest.approx(0.2)
    found = found_in(clip)
    assert set(found) == {"repeated"} and found["repeated"].at_s == pytest.approx(1.6)


def test_a_video_that_is_missing_is_a_warning(invoke, tmp_path):
    Made(good(), n_frames=100).write(tmp_path / "clip.parquet")
    shown = invoke("qc", tmp_path, "--videos")
    assert shown.exit_code == 0 and "clips/clip.mp4 does not exist" in shown.stderr


def test_variable_rate_late_start_and_low_rate(tmp_path):
    times = np.cumsum([0, *([0.02, 0.06] * 50)])[:100]
    clip = clip_of(
        tmp_path, good(), times_s=times, metadata={"video": {"start_offset_s": 0.48}}
    )  # fmt: skip
    found = found_in(clip)
    assert set(found) == {"variable_frame_rate", "start_offset"}
    assert "20 to 60 ms" in found["variable_frame_rate"].text
    assert "0.480 s" in found["start_offset"].text
    slow = clip_of(tmp_path / "b", good(), times_s=np.arange(100) / 5)
    assert set(found_in(slow)) == {"few_frames"}
    # Matroska has whole milliseconds: steps of 33 and 34 ms are 30 frames per second, not 30.3
    rounded = clip_of(tmp_path / "c", good(), times_s=np.round(np.arange(100) / 30, 3))
    assert measured(rounded, 0)["frames_per_s"] == 30


def test_two_tracks_that_change_places(tmp_path):
    a, b = moving(100), moving(100, OTHER, 1)
    swapped = [np.r_[a[:60], b[60:]], np.r_[b[:60], a[60:]]]
    tracks = [Track(i, list(range(100)), shows(100, i), box_px=box)
              for i, box in enumerate(swapped)]  # fmt: skip
    clip = clip_of(tmp_path, tracks)
    found = found_in(clip)
    assert set(found) == {"identity_switch"}
    assert "Tracks 0 and 1 change places at 2.40 s" in found["identity_switch"].text
    (entry,) = report(find_results([str(tmp_path)])).entries
    assert entry.measures["suspected_switches"] == 1


@pytest.mark.parametrize("kind", ["jump", "size"])
def test_one_track_that_jumps_or_changes_its_size(kind, tmp_path):
    box = moving(100)
    box[30:] = box[30:] + 70 if kind == "jump" else box[30:] * [1, 1, 1.4, 1.4]
    found = found_in(clip_of(tmp_path, [Track(0, list(range(100)), shows(100), box_px=box)]))
    assert set(found) == {"identity_switch"} and found["identity_switch"].at_s == 1.2


def test_a_fast_face_after_a_gap_is_no_switch(tmp_path):
    box = moving(100)
    box[50:, [0, 2]] += 90  # one box size, 0.4 s later
    frames = [*range(50), *range(59, 109)]
    tracks = [Track(0, frames, shows(100), box_px=box)]
    assert found_in(clip_of(tmp_path, tracks, n_frames=109)) == {}


def test_tracks_that_overlap_and_tracks_in_pieces(tmp_path):
    near = BOX + np.array([30, 0, 30, 0])
    clip = clip_of(tmp_path, [*good(), track(1, list(range(40, 60)), near)])
    assert set(found_in(clip)) == {"overlap"}
    pieces = [track(0, list(range(50))), track(1, list(range(50, 100)))]
    found = found_in(clip_of(tmp_path / "b", pieces))
    assert set(found) == {"fragments"} and "2 tracks" in found["fragments"].text


def named(clip, people):
    """The clip as `jadfer identify` leaves it."""
    path = clip.result.path
    rows = pd.read_parquet(path)
    attrs = rows.attrs
    rows["person"] = people(rows)
    rows.attrs = attrs
    rows.to_parquet(path, index=False)
    return read_clip(load(path), "clip")


def test_after_identify_a_change_of_person_is_a_switch_and_one_person_is_no_fragment(tmp_path):
    clip = clip_of(tmp_path / "a", good())
    found = found_in(named(clip, lambda rows: np.where(rows["frame"] < 60, "anna", "ben")))
    assert set(found) == {"identity_switch"}
    assert found["identity_switch"].text == (
        "Track 0 passes from anna to ben at 2.40 s: `jadfer identify` saw it, so use the column "
        "person."
    )
    assert found_in(named(clip, lambda rows: "anna")) == {}
    pieces = [track(0, list(range(50))), track(1, list(range(52, 100)))]
    clip = clip_of(tmp_path / "b", pieces)
    assert set(found_in(clip)) == {"fragments"}
    assert found_in(named(clip, lambda rows: rows["track_id"].map({0: "anna", 1: "anna"}))) == {}
    apart = named(clip, lambda rows: rows["track_id"].map({0: "unknown", 1: "unknown"}))
    assert set(found_in(apart)) == {"fragments"}


def test_results_without_reasons_open(tmp_path):
    made = Made([track(0, list(range(100)), usable=[False] * 30 + [True] * 70)], n_frames=100)
    path = made.write(tmp_path / "clip.parquet")
    rows = pd.read_parquet(path)
    old = rows.drop(columns=["unusable_reason", "light", "clipped"])
    old.attrs = rows.attrs
    old.to_parquet(path, index=False)
    clip = read_clip(load(path), "clip")
    assert measured(clip, 0)["unexplained_share"] == pytest.approx(0.3)
    assert set(found_in(clip)) == {"unexplained"}


def folder_of_results(tmp_path):
    """Six results: good, good, blurred, of other settings, damaged, and a video that failed."""
    folder = tmp_path / "results"
    for i in range(2):
        Made(good(), n_frames=100, video=f"v/good{i}.mp4").write(folder / f"good{i}.parquet")
    blurred = [track(0, list(range(100)), reason=["blurred"] * 60 + [""] * 40)]
    Made(blurred, n_frames=100, video="v/blurred.mp4").write(folder / "blurred.parquet")
    Made(good(), n_frames=100, video="v/odd.mp4", options=options(every=2)).write(
        folder / "odd.parquet"
    )
    broken = Made(good(), n_frames=100, video="v/cut.mp4").write(folder / "cut.parquet")
    broken.write_bytes(broken.read_bytes()[:-100])
    failure = {"video": "v/none.mp4", "error": "v/none.mp4: it is empty.", "hint": "",
               "message": "v/none.mp4: it is empty.",
               "result": str(folder / "none.parquet")}  # fmt: skip
    (folder / "failures.jsonl").write_text(json.dumps(failure) + "\n")
    return folder


def test_what_needs_attention_comes_first(tmp_path):
    made = report(find_results([str(folder_of_results(tmp_path))]))
    decisions = [(entry.name, entry.decision) for entry in made.entries]
    assert decisions[:4] == [
        ("cut", "exclude"), ("none", "exclude"), ("blurred", "look"), ("odd", "look"),
    ]  # fmt: skip
    assert decisions[4:] == [("good0", "keep"), ("good1", "keep")]
    by_name = {entry.name: entry for entry in made.entries}
    assert by_name["cut"].findings[0].text.startswith("It is ")
    (odd,) = by_name["odd"].findings
    assert odd.check == "other_settings" and "--every 2 (most: 1)" in odd.text
    commands = {name: [entry.command(f) for f in entry.findings] for name, entry in by_name.items()}
    assert (
        commands["odd"][0].startswith("jadfer diff ") and commands["odd"][0].count(".parquet") == 2
    )
    assert commands["none"][0].endswith("v/none.mp4")
    # the video is not there, so no command needs it
    assert commands["blurred"][0].startswith("jadfer plot ")


def test_rules_decide_with_every_reason(tmp_path):
    folder = folder_of_results(tmp_path)
    rules = tmp_path / "qc.toml"
    rules.write_text(
        "[keep]\nusable_share_of_video = { min = 0.7 }\ntracks = { min = 1, max = 1 }\n"
        'blurred_share = { max = 0.5 }\n[exclude]\nfindings = ["other_settings"]\n'
    )
    made = report(find_results([str(folder)]), read_rules(rules, check_names()))
    table = made.table().set_index(made.table()["result"].map(lambda p: p.rsplit("/", 1)[1]))
    assert table["decision"].to_dict() == {
        "blurred.parquet": "exclude", "cut.parquet": "exclude", "good0.parquet": "keep",
        "good1.parquet": "keep", "none.parquet": "exclude", "odd.parquet": "exclude",
    }  # fmt: skip
    assert table.loc["blurred.parquet", "reason"] == (
        "usable_share_of_video is 0.4, below 0.7; blurred_share is 0.6, above 0.5"
    )
    assert table.loc["odd.parquet", "reason"] == "finding other_settings"
    assert table.loc["good0.parquet", "reason"] == ""
    assert "empty" in table.loc["none.parquet", "reason"]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[keep]\nusable = {min=1}", "there is no measure usable", "Did you mean usable_share?"),
        ("[kep]\n", "there is no entry kep", "Did you mean keep?"),
        ("[keep]\ntracks = 1", "tracks needs a number as min, max or both", "tracks = { min"),
        ("[keep]\ntracks = {max = true}", "tracks needs a number", "tracks = { min"),
        ("[keep]\ntracks = {min = 2, max = 1}", "min is 2 and above max, 1", ""),
        ("[keep]\nusable_share = {min = 70}", "a share from 0 to 1, not 70", "Write 0.7 for 70 %."),
        ("[keep]\nblurred_share = {max = -1}", "a share from 0 to 1, not -1", ""),
        ('[exclude]\nfindings = ["blur"]', "there is no finding blur", "Did you mean blurred?"),
        ('[exclude]\nfindings = "blurred"', "findings must be a list", "findings = ["),
        ("", "has no rule", "usable_share_of_video"),
        ("[keep", "is not a TOML file", ""),
    ],
)
def test_rule_files_that_mean_nothing_are_refused(text, message, hint, tmp_path):
    path = tmp_path / "qc.toml"
    path.write_text(text)
    with pytest.raises(OptionError) as caught:
        read_rules(path, check_names())
    assert message in caught.value.message and str(path) in caught.value.message
    assert hint in (caught.value.hint or "")


def test_a_missing_measure_excludes(tmp_path):
    Made([], n_frames=10).write(tmp_path / "r" / "clip.parquet")
    (tmp_path / "qc.toml").write_text("[keep]\nusable_share = { min = 0.5 }\n")
    rules = read_rules(tmp_path / "qc.toml", check_names())
    (entry,) = report(find_results([str(tmp_path / "r")]), rules).entries
    assert entry.decision == "exclude" and entry.reasons == ("usable_share is missing",)


@pytest.mark.slow
def test_the_command_prints_writes_and_fits_80_columns(invoke, tmp_path):
    folder = folder_of_results(tmp_path)
    shown = invoke("qc", folder)
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert lines[0] == "2 clips without a finding, 2 to look at, 2 not readable or not annotated."
    assert [line.split()[0] for line in lines[3:9]] == [
        "cut", "none", "blurred", "odd", "good0", "good1",
    ]  # fmt: skip
    assert "Warning: Skipped" in shown.stderr and "1 failed" in shown.stderr
    commands = [line for line in lines if line.startswith("  jadfer ")]
    assert all(len(line) <= 80 for line in lines if line not in commands)
    # commands are not wrapped: they can be pasted
    assert any(re.fullmatch(r"  jadfer diff \S+\.parquet \S+odd\.parquet", c) for c in commands)

    page, table = tmp_path / "qc.html", tmp_path / "exclusions.csv"
    written = invoke("qc", folder, "-o", page, "-o", table, "--quiet")
    assert written.exit_code == 0 and written.stdout == ""
    assert len(pd.read_csv(table)) == 6
    html = page.read_text()
    assert "<script" not in html and "http" not in html.replace("http-equiv", "")
    assert html.count("<h2 id=") == 4 and "data:image" not in html
    assert "cut off" in html or "blurred 60%" in html

    facts = json.loads(invoke("qc", folder, "--json").stdout)
    assert [each["decision"] for each in facts][:3] == ["exclude", "exclude", "look"]
    assert facts[2]["findings"][0]["check"] == "blurred"

    rules = tmp_path / "qc.toml"
    rules.write_text("[keep]\nusable_share = { min = 0.7 }\n")
    loud = invoke("qc", folder, "-o", tmp_path / "ruled.csv", "--rules", rules)
    assert "By the rules, 3 clips kept, 3 excluded." in loud.stderr
    again = invoke("qc", folder, "-o", table)
    assert again.exit_code == 2 and "already exists" in again.stderr
    alone = invoke("qc", folder, "--thumbnails")
    assert alone.exit_code == 2 and "--thumbnails needs a page" in alone.stderr


def test_names_from_files_do_not_become_html(invoke, tmp_path):
    name = "<b>x<script>alert(1)"
    Made([track(0, list(range(100)), reason="blurred")], n_frames=100, video=f"v/{name}.mp4").write(
        tmp_path / "r" / f"{name.replace('/', '')}.parquet"
    )
    page = tmp_path / "qc.html"
    assert invoke("qc", tmp_path / "r", "-o", page).exit_code == 0
    assert "<script" not in page.read_text() and "<b>" not in page.read_text()
