"""jadfer identify: who is who in results."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from made import Made, Track, sure
from people import (
    SETTINGS,
    SIX,
    box_at,
    panned,
    reference_pictures,
    result_of,
    tiny_recogniser,
    window,
)

from jadfer_cli.analysis.people.match import NOBODY, conflicts, to_groups, to_people
from jadfer_cli.analysis.people.parts import Part, best_cut, first_of_parts
from jadfer_cli.analysis.plots import timelines
from jadfer_cli.common import file_sha256
from jadfer_cli.faces import recognise
from jadfer_cli.faces.recognise import unit
from jadfer_cli.results import load

# The window moves right, then left: everybody leaves, and comes back in another part.
PARTS = ([0, 80, 160, 240], [320, 400, 480, 560], [640, 480, 320, 160])


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The panned picture in three parts with results, who their tracks show, and a recogniser."""
    folder = tmp_path_factory.mktemp("study")
    truth = {
        f"part{n}": panned(folder / f"part{n}.mp4", folder / "results" / f"part{n}.parquet", xs)
        for n, xs in enumerate(PARTS)
    }
    reference_pictures(folder / "faces")
    tiny_recogniser(folder / "tiny.onnx")
    return folder, truth


def names_in(path):
    """The person of each track, and all of them if it changes."""
    rows = pd.read_parquet(path)
    faces = rows[rows["face_detected"]]
    return {int(t): " ".join(dict.fromkeys(g["person"])) for t, g in faces.groupby("track_id")}


@pytest.mark.slow
def test_people_are_recognised_by_reference_pictures(study, invoke, tmp_path):
    folder, truth = study
    before = {p: file_sha256(p) for p in (folder / "results").iterdir()}
    done = invoke("identify", folder / "results", "--recogniser", folder / "tiny.onnx",
                  "--references", folder / "faces", *SETTINGS, "-o", tmp_path / "named",
                  )  # fmt: skip
    assert done.exit_code == 0, done.output
    for part, expected in truth.items():
        assert names_in(tmp_path / "named" / f"{part}.parquet") == expected
    assert before == {p: file_sha256(p) for p in (folder / "results").iterdir()}
    rows = pd.read_parquet(tmp_path / "named" / "part0.parquet")
    assert rows["person"].dtype == "category" and rows["person_score"].dtype == np.float32
    assert (rows.loc[rows["face_detected"], "person_score"] >= 0.8).all()
    settings = rows.attrs["jadfer"]["people"]
    assert settings["method"] == "references" and settings["threshold"] == 0.8
    assert settings["recogniser"]["sha256"] == file_sha256(folder / "tiny.onnx")
    sidecar = json.loads((tmp_path / "named" / "part0.json").read_text())
    assert list(sidecar)[-2:] == ["person", "person_score"] and "path" not in settings["recogniser"]
    # everything else is as it was, and embeddings are nowhere
    original = pd.read_parquet(folder / "results" / "part0.parquet")
    pd.testing.assert_frame_equal(rows[original.columns], original)
    assert len(rows.columns) == len(original.columns) + 2
    assert {p.suffix for p in (tmp_path / "named").iterdir()} == {".parquet", ".json", ".csv"}
    # other programs get the names and what they mean
    path = tmp_path / "named" / "part0.parquet"
    assert invoke("convert", path, "-o", tmp_path / "part0.csv").exit_code == 0
    assert pd.read_csv(tmp_path / "part0.csv")["person"].tolist() == rows["person"].tolist()
    described = json.loads((tmp_path / "part0.json").read_text())
    assert described["person"] == sidecar["person"]
    shown = invoke("show", path, width=200)
    assert "People       ann, bob, cat" in shown.output
    written = " ".join(invoke("methods", tmp_path / "named").output.split())
    assert "reference pictures, at a cosine of at least 0.8." in written and "ArcFace" in written
    # one person per row of the summary, with the tracks of that person joined
    summed = invoke("summary", tmp_path / "named", "--by", "person", "-o", tmp_path / "s.csv")
    assert summed.exit_code == 0, summed.output
    table = pd.read_csv(tmp_path / "s.csv")
    assert sorted(table["person"]) == sorted(n for names in truth.values() for n in names.values())


@pytest.mark.slow
def test_without_references_tracks_are_grouped_across_clips(study, invoke, tmp_path):
    folder, truth = study
    done = invoke("identify", folder / "results", "--recogniser", folder / "tiny.onnx",
                  "-o", tmp_path, "--keep-embeddings", tmp_path / "v.npz", *SETTINGS)  # fmt: skip
    assert done.exit_code == 0, done.output
    called = {}
    for part, expected in truth.items():
        for track, name in names_in(tmp_path / f"{part}.parquet").items():
            called.setdefault(expected[track], set()).add(name)
    assert sorted(map(len, called.values())) == [1] * 6
    assert {name for names in called.values() for name in names} == {
        f"person_{n}" for n in range(1, 7)
    }
    with np.load(tmp_path / "v.npz") as file:
        kept = {name: file[name] for name in file.files}
    assert len(kept["embedding"]) == len(kept["frame"]) == len(kept["track_id"]) > 20
    assert np.allclose(np.linalg.norm(kept["embedding"], axis=1), 1, atol=1e-5)
    table = pd.read_csv(tmp_path / "people.csv")
    assert len(table) == sum(map(len, truth.values())) and not table["changes"].any()


@pytest.mark.slow
def test_a_track_that_changes_from_one_person_to_another_is_divided_there(study, invoke, tmp_path):
    folder, _ = study
    # ann and cat are both in the window; the tracks swap them at frame 9
    n, x = 16, 0
    first, second = box_at("ann", x), box_at("cat", x)
    boxes = [first] * 9 + [second] * (n - 9)
    swapped = [second] * 9 + [first] * (n - 9)
    tracks = [Track(0, list(range(n)), box_px=boxes), Track(1, list(range(n)), box_px=swapped)]
    result_of(tmp_path / "swap.mp4", [window(x)] * n, tracks, tmp_path / "in" / "swap.parquet")
    done = invoke("identify", tmp_path / "in", "--recogniser", folder / "tiny.onnx",
                  "--references", folder / "faces", *SETTINGS, "-o", tmp_path / "named",
                  )  # fmt: skip
    assert done.exit_code == 0, done.output
    rows = pd.read_parquet(tmp_path / "named" / "swap.parquet")
    for track, names in ((0, ("ann", "cat")), (1, ("cat", "ann"))):
        person = rows.loc[rows["track_id"] == track, "person"].tolist()
        assert person == [names[0]] * 9 + [names[1]] * (n - 9)
    said = " ".join(done.output.split())
    assert "track 0 changes from ann to cat at 1.80 s." in said
    assert pd.read_csv(tmp_path / "named" / "people.csv")["changes"].all()
    # the swapped tracks are joined again, person by person
    summed = invoke("summary", tmp_path / "named", "--by", "person", "-o", tmp_path / "s.csv")
    assert summed.exit_code == 0, summed.output
    table = pd.read_csv(tmp_path / "s.csv").set_index("person")
    assert table.loc["ann", "seconds_seen"] == table.loc["cat", "seconds_seen"] == n / 5
    assert table["tracks"].tolist() == [2, 2]


@pytest.mark.slow
def test_seconds_are_those_in_which_a_person_is_seen(study, invoke, tmp_path):
    folder, _ = study
    frames, n = [*range(6), *range(9, 15)], 15
    tracks = [Track(0, frames, box_px=[box_at("ann", 0)] * len(frames))]
    result_of(tmp_path / "gap.mp4", [window(0)] * n, tracks, tmp_path / "in" / "gap.parquet")
    done = invoke("identify", tmp_path / "in", "--recogniser", folder / "tiny.onnx",
                  *SETTINGS, "-o", tmp_path / "named")  # fmt: skip
    assert done.exit_code == 0, done.output
    (row,) = pd.read_csv(tmp_path / "named" / "people.csv").itertuples()
    assert row.end_s - row.start_s == pytest.approx(n / 5)
    assert row.seen_s == pytest.approx(12 / 5)
    assert "person_1 1 1 2.40" in " ".join(done.output.split())


@pytest.mark.slow
def test_results_are_replaced_only_on_request_and_may_be_identified_again(study, invoke, tmp_path):
    folder, truth = study
    for suffix in (".parquet", ".json"):
        path = folder / "results" / f"part1{suffix}"
        (tmp_path / path.name).write_bytes(path.read_bytes())
    command = ("identify", tmp_path, "--recogniser", folder / "tiny.onnx", "-o", tmp_path)
    assert invoke(*command).exit_code == 2
    for names in ({"person_1", "person_2", "person_3"}, set(truth["part1"].values())):
        how = ["--references", folder / "faces"] if "person_1" not in names else []
        done = invoke(*command, *how, "--overwrite", *SETTINGS)
        assert done.exit_code == 0, done.output
        assert set(names_in(tmp_path / "part1.parquet").values()) == names
    # a folder of new results inside is not an input of the next run
    for _ in range(2):
        inside = ("-r", "-o", tmp_path / "named", "--overwrite", *SETTINGS)
        assert invoke(*command[:4], *inside).exit_code == 0
    assert [p.name for p in (tmp_path / "named").iterdir() if p.is_dir()] == []
    columns = pd.read_parquet(tmp_path / "part1.parquet").columns
    assert [*columns][-2:] == ["person", "person_score"] and columns.is_unique


@pytest.mark.slow
def test_somebody_without_references_is_unknown_and_a_missing_video_stops_nothing(
    study, invoke, tmp_path
):
    folder, truth = study
    some = reference_pictures(tmp_path / "some", ("ann", "bob"))
    (tmp_path / "in").mkdir()
    for suffix in (".parquet", ".json"):
        path = folder / "results" / f"part0{suffix}"
        (tmp_path / "in" / path.name).write_bytes(path.read_bytes())
    Made([Track(0, [0])], video="nowhere/lost.mp4").write(tmp_path / "in" / "lost.parquet")
    done = invoke("identify", tmp_path / "in", "--recogniser", folder / "tiny.onnx", "--references",
                  some, "-o", tmp_path / "named", *SETTINGS)  # fmt: skip
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert "lost.parquet was not identified" in said and "--videos" in said
    found = names_in(tmp_path / "named" / "part0.parquet")
    known = {t: n if n in ("ann", "bob") else "unknown" for t, n in truth["part0"].items()}
    assert found == known and not (tmp_path / "named" / "lost.parquet").exists()


@pytest.mark.slow
def test_what_exists_is_kept_and_wrong_recognisers_are_named(study, invoke, tmp_path, monkeypatch):
    folder, _ = study
    monkeypatch.setenv("HOME", str(tmp_path))
    results, tiny = folder / "results", folder / "tiny.onnx"
    done = invoke("identify", results, "--recogniser", tiny, "-o", results, *SETTINGS)
    assert done.exit_code == 2 and "already exists" in done.output
    other = tiny_recogniser(tmp_path / "other.onnx", side=64)
    (tmp_path / "damaged.onnx").write_bytes(b"no model")
    for named, text in (
        (other, "is not a face recogniser"),
        (tmp_path / "damaged.onnx", "cannot be loaded"),
        ("buffalo_l", "jadfer models fetch buffalo_l"),
        ("nonsense", "There is no recogniser nonsense"),
    ):
        done = invoke("identify", results, "--recogniser", named, "-o", tmp_path / "x", width=400)
        assert done.exit_code == 1 and text in done.output, named
    for faces, text in (
        (tmp_path / "none", "is not a folder"),
        (tmp_path, "has no picture with one clear face"),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        done = invoke("identify", results, "--recogniser", tiny, "-o", tmp_path / "x",
                      "--references", faces, width=400)  # fmt: skip
        assert done.exit_code == 2 and text in done.output
    assert not (tmp_path / "x").exists()


def test_a_recogniser_is_a_file_a_model_of_jadfer_or_a_pack(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(recognise, "models_folder", lambda: tmp_path / "models")
    tiny = tiny_recogniser(tmp_path / "tiny.onnx")
    assert recognise.find_weights(str(tiny))[:2] == ("tiny.onnx", tiny)
    (tmp_path / "models").mkdir()
    mine = tiny_recogniser(tmp_path / "models" / "mine.onnx")
    assert recognise.find_weights("mine")[1] == recognise.find_weights("mine.onnx")[1] == mine
    # the zip of antelopev2 holds a folder of its own
    for inside in ("antelopev2/antelopev2/glintr100.onnx", "buffalo_s/w600k_mbf.onnx"):
        path = tmp_path / ".insightface" / "models" / inside
        path.parent.mkdir(parents=True)
        tiny_recogniser(path)
        name, found, terms = recognise.find_weights(inside.split("/")[0])
        assert found == path and name == inside.split("/")[0] and "non-commercial" in terms
    assert recognise.Recogniser("buffalo_s", 1).info.dimensions == 14 * 14 * 3


def test_networks_that_scale_their_input_themselves_get_plain_pixels(tmp_path):
    """InsightFace's rule: Sub and Mul among the first nodes."""
    from onnx import TensorProto, helper

    def network(*names):
        crop = helper.make_tensor_value_info("crop", TensorProto.FLOAT, ["n", 3, 112, 112])
        out = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 3, 1, 1])
        steps = ["crop", *(f"x{i}" for i in range(len(names)))]
        nodes = [helper.make_node("Identity", [a], [b], name=name)
                 for name, (a, b) in zip(names, pairwise(steps), strict=True)]  # fmt: skip
        nodes.append(helper.make_node("GlobalAveragePool", [steps[-1]], ["embedding"]))
        graph = helper.make_graph(nodes, "tiny", [crop], [out])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path = tmp_path / f"{'_'.join(names)}.onnx"
        path.write_bytes(model.SerializeToString())
        return recognise.Recogniser(str(path), 1)

    crop = np.zeros((1, 112, 112, 3), np.uint8)
    crop[..., 0], crop[..., 1] = 255, 51  # red is the first channel
    scaled = unit([[1.0, -0.6, -1.0]])
    assert network("Conv_0").embed_crops(crop) == pytest.approx(scaled, abs=1e-4)
    plain = unit([[255.0, 51.0, 0.0]])
    assert network("Sub_0", "Mul_1").embed_crops(crop) == pytest.approx(plain, abs=1e-4)


def test_a_summary_by_person_needs_people(invoke, tmp_path):
    path = Made([Track(0, [0, 1])]).write(tmp_path / "a.parquet")
    done = invoke("summary", path, "--by", "person", width=300)
    assert done.exit_code == 1 and "no column person" in done.output
    assert "jadfer identify" in done.output


def identified(path, tracks, persons, **how):
    """A result with a column `person`, one value per face and frame, by track."""
    Made(tracks, **how).write(path)
    rows = pd.read_parquet(path)
    named = [persons[t].pop(0) if pd.notna(t) else None for t in rows["track_id"]]
    rows.assign(person=named, person_score=0.7).to_parquet(path)
    return path


def passing(path):
    """Ann is track 0, then track 1, which had been Bob's; tracks 2 and 3 are unknown."""
    smile = sure("happiness", 0.9)
    tracks = [
        Track(0, list(range(10)), np.stack([smile] * 10)),
        Track(1, list(range(20)), np.stack([sure("neutral", 0.9)] * 10 + [smile] * 10)),
        Track(2, list(range(5)), np.stack([smile] * 5)),
        Track(3, list(range(6, 11)), np.stack([smile] * 5)),
    ]
    persons = {0: ["ann"] * 10, 1: ["bob"] * 10 + ["ann"] * 10, 2: ["unknown"] * 5,
               3: ["unknown"] * 5}  # fmt: skip
    return identified(path, tracks, persons, n_frames=20)


def test_events_of_people_bridge_a_change_of_track(invoke, tmp_path):
    path = passing(tmp_path / "a.parquet")
    command = ("events", path, "--expression", "happiness", "--min-duration", "0")
    by_track = invoke(*command, "-o", tmp_path / "t.csv")
    by_person = invoke(*command, "--by", "person", "-o", tmp_path / "p.csv")
    assert by_track.exit_code == by_person.exit_code == 0, by_person.output
    assert "3 events of 4 people." in by_person.output
    names = ["track_id", "onset_frame", "offset_frame"]
    tracks, people = pd.read_csv(tmp_path / "t.csv"), pd.read_csv(tmp_path / "p.csv")
    assert "person" not in tracks
    assert tracks[names].to_numpy().tolist() == [[0, 0, 9], [2, 0, 4], [3, 6, 10], [1, 10, 19]]
    # ann's is one event, and the unknown are two; track_id is that of the onset
    assert people[["person", *names]].to_numpy().tolist() == [
        ["ann", 0, 0, 19], ["unknown", 2, 0, 4], ["unknown", 3, 6, 10],
    ]  # fmt: skip
    # ann and bob are the same people in both results, the unknown are not
    (tmp_path / "more").mkdir()
    passing(tmp_path / "more" / "b.parquet")
    both = invoke(*command, tmp_path / "more", "--by", "person", "-o", tmp_path / "both.csv")
    assert "6 events of 6 people in 2 results." in both.output
    # tiers are named after people, also after those without events
    for name, expected in (
        ("a.eaf", ["ann", "bob", "unknown, track 2", "unknown, track 3"]),
        ("a.TextGrid", ["ann", "bob", "unknown, track 2", "unknown, track 3"]),
    ):
        assert invoke(*command, "--by", "person", "-o", tmp_path / name).exit_code == 0
        text = (tmp_path / name).read_text("utf-8")
        assert [who for who in expected if f'"{who}"' not in text] == []
    boris = invoke(*command, "--by", "person", "-o", tmp_path / "b.csv", "--format", "boris")
    assert boris.exit_code == 0
    assert pd.read_csv(tmp_path / "b.csv")["Subject"].tolist() == [
        "ann", "unknown, track 2", "unknown, track 3",
    ]  # fmt: skip
    bids = invoke(*command, "--by", "person", "-o", tmp_path / "bids", "--format", "bids")
    assert bids.exit_code == 0, bids.output
    (table,) = (tmp_path / "bids").rglob("*.tsv")
    assert pd.read_csv(table, sep="\t")["person"].tolist() == ["ann", "unknown", "unknown"]
    assert "person" in json.loads(table.with_suffix(".json").read_text())


def test_actions_of_people_are_found_by_their_tracks(invoke, tmp_path):
    opens, closes = np.r_[np.zeros(5), np.full(5, 0.9)], np.r_[np.full(5, 0.9), np.zeros(5)]
    tracks = [Track(0, list(range(10)), actions={"a_jaw_open": opens}),
              Track(1, list(range(10, 20)), actions={"a_jaw_open": closes})]  # fmt: skip
    path = identified(tmp_path / "a.parquet", tracks, {0: ["ann"] * 10, 1: ["ann"] * 10},
                      n_frames=20)  # fmt: skip
    done = invoke(
        "events", path, "--by", "person", "--action", "jaw_open", "-o", tmp_path / "e.csv"
    )
    assert done.exit_code == 0, done.output
    (event,) = pd.read_csv(tmp_path / "e.csv").to_dict("records")
    assert (event["person"], event["onset_frame"], event["offset_frame"]) == ("ann", 5, 14)
    done = invoke("summary", path, "--by", "person", "-o", tmp_path / "s.csv")
    assert done.exit_code == 0, done.output
    (row,) = pd.read_csv(tmp_path / "s.csv").to_dict("records")
    assert (row["person"], row["blinks"]) == ("ann", 0)
    assert row["actions_s"] == pytest.approx(0.8)


@pytest.mark.slow
def test_a_plot_by_person_joins_tracks(invoke, tmp_path):
    path = passing(tmp_path / "a.parquet")
    found = timelines.chart(load.load(path), by="person")
    assert [t.name for t in found.tracks] == ["ann", "bob", "unknown, track 2", "unknown, track 3"]
    assert [len(t.frame) for t in found.tracks] == [20, 10, 5, 5]
    done = invoke("plot", path, "--by", "person", "-o", tmp_path / "a.svg")
    assert done.exit_code == 0 and "4 people" in done.output, done.output
    text = (tmp_path / "a.svg").read_text()
    assert "ann: seen" in text and "person not seen" in text
    assert invoke("plot", path, "--by", "person", "--track", "0", "-o", tmp_path / "b.svg",
                  ).exit_code == 2  # fmt: skip


def test_a_folder_of_results_lists_its_people(invoke, tmp_path):
    how = {"recogniser": {"name": "r", "sha256": "0" * 64}, "method": "groups", "threshold": 0.5}
    for name in "abcd":
        metadata = {"people": how | {"persons": ["ann", f"only {name}"]}}
        Made([Track(0, [0, 1])], metadata=metadata).write(tmp_path / f"{name}.parquet")
    shown = " ".join(invoke("show", tmp_path, width=120).output.split())
    assert "ann 4 a, b, c and 1 more" in shown or "ann 4 a, b, c, d" in shown, shown
    assert "only b 1 b" in shown
    assert invoke("show", tmp_path, "-o", tmp_path / "o.csv").exit_code == 0
    assert pd.read_csv(tmp_path / "o.csv")["people"][0] == "ann; only a"


def test_the_tracks_of_one_result_are_shown_with_their_people(invoke, tmp_path):
    shown = invoke("show", passing(tmp_path / "a.parquet"), width=80)
    assert shown.exit_code == 0, shown.output
    lines = [line.split() for line in shown.stdout.splitlines() if " s - " in line]
    assert [line[:2] for line in lines[:4]] == [
        ["0", "ann"], ["1", "bob,"], ["2", "unknown"], ["3", "unknown"],
    ]  # fmt: skip
    assert lines[1][2] == "ann"


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("person", [None, None], "person is empty"),
        ("person_score", [0.5, 3.0], "person_score is not a cosine"),
        ("person", [1, 2], "the column person holds int64"),
    ],
)
def test_columns_of_people_are_checked(tmp_path, column, values, problem):
    path = Made([Track(0, [0, 1])], n_frames=2).write(tmp_path / "a.parquet")
    rows = pd.read_parquet(path)
    good = rows.assign(person="ann", person_score=0.5)
    good.to_parquet(path)
    assert load.load(path).rows()["person"].tolist() == ["ann", "ann"]
    good.assign(**{column: values}).to_parquet(path)
    with pytest.raises(load.DamagedResult, match=problem):
        load.load(path).rows()


# Calculations by hand.


def towards(*angles_deg):
    """Embeddings in the plane."""
    a = np.radians(angles_deg)
    return np.column_stack([np.cos(a), np.sin(a)]).astype(np.float32)


def test_a_track_is_divided_where_its_faces_stop_being_alike():
    person = [0, 5, -5, 3, 0, 2]
    assert first_of_parts(towards(*person, *(90 + x for x in person)), 0.2) == [0, 6]
    back = [*person, *(90 + x for x in person), *person]
    assert first_of_parts(towards(*back), 0.2) == [0, 6, 12]
    assert first_of_parts(towards(*person, *(60 + x for x in person)), 0.2) == [0]  # cos 60 = 0.5
    assert first_of_parts(towards(*person, 90, *person), 0.2) == [0]  # one odd face
    assert first_of_parts(towards(0), 0.2) == [0]


def test_the_cut_is_where_both_sides_agree_best():
    before, after = towards(0)[0], towards(90)[0]
    assert best_cut(towards(5, 10, 80, 85), before, after) == 2
    assert best_cut(towards(5, 10, 20), before, after) == 3
    assert best_cut(np.full((2, 2), np.nan, np.float32), before, after) == 0


def part(result, track, rows, angle, clear=True, n=8):
    return Part(result, track, np.array(rows), towards(angle)[0], n, clear, 0.0, 1.0, 1.0)


def test_nobody_is_twice_in_one_frame():
    frames = [np.repeat(np.arange(10), 2)]  # two faces in each of ten frames
    even, odd = range(0, 20, 2), range(1, 20, 2)
    parts = [part(0, 0, even, 0), part(0, 1, odd, 10)]
    apart = conflicts(parts, frames)
    assert apart.tolist() == [[False, True], [True, False]]
    groups = to_groups(parts, apart, 0.5)
    assert groups.person.tolist() == [0, 1]
    known = to_people(np.stack([p.vector for p in parts]), towards(2), apart, 0.5)
    assert known.person.tolist() == [0, NOBODY]  # 2 degrees are nearer than 8
    assert known.score == pytest.approx(np.cos(np.radians([2, 8])), abs=1e-6)
    # tracks that meet in three frames only may be one person whose track IDs changed
    touching = [part(0, 0, range(0, 12, 2), 0), part(0, 1, range(7, 20, 2), 10)]
    assert not conflicts(touching, frames).any()
    assert to_groups(touching, conflicts(touching, frames), 0.5).person.tolist() == [0, 0]


def test_groups_are_numbered_in_order_and_unclear_faces_found_nobody():
    parts = [part(0, 0, [0], 90), part(1, 0, [0], 0), part(2, 0, [0], 85),
             part(3, 0, [0], 5, clear=False), part(4, 0, [0], 200, clear=False)]  # fmt: skip
    found = to_groups(parts, np.zeros((5, 5), bool), 0.8)
    assert found.person.tolist() == [0, 1, 0, 1, NOBODY]
    cosines = np.cos(np.radians([5, 5, 5, 5, 112.5]))  # 200 degrees: nearest is 87.5
    assert found.score == pytest.approx(cosines, abs=1e-5, nan_ok=True)
    # a short part that cannot be the person it resembles keeps nobody apart
    long = [part(0, 0, [0, 2, 4, 6], 0), part(1, 0, [0], 5), part(0, 1, [1, 3, 5, 7], 3, n=2)]
    apart = conflicts(long, [np.repeat(np.arange(8), 2), np.arange(8)])
    assert apart.sum() == 2
    assert to_groups(long, apart, 0.8).person.tolist() == [0, 0, NOBODY]
    only_unclear = to_groups(parts[3:], np.zeros((2, 2), bool), 0.8)
    assert only_unclear.person.tolist() == [NOBODY, NOBODY]


@pytest.mark.slow  # scikit-learn takes seconds to import
def test_clusters_agree_with_scikit_learn():
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(0)
    centres = unit(rng.normal(size=(6, 32)))
    vectors = unit(centres[rng.integers(0, 6, 40)] + 0.15 * rng.normal(size=(40, 32)))
    parts = [Part(i, 0, np.array([0]), v, 8, True, 0.0, 1.0, 1.0) for i, v in enumerate(vectors)]
    found = to_groups(parts, np.zeros((40, 40), bool), 0.35).person
    other = AgglomerativeClustering(
        n_clusters=None, metric="cosine", linkage="average", distance_threshold=0.65
    ).fit_predict(vectors)
    assert adjusted_rand_score(found, other) == 1.0 and len(set(SIX)) == found.max() + 1
