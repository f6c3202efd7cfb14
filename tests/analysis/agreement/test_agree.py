"""Agreement of made results with made codes: by hand, and against other packages."""

import csv

import numpy as np
import pandas as pd
import pytest
from made import Made, Track
from PIL import Image
from sklearn.metrics import cohen_kappa_score, confusion_matrix, precision_recall_fscore_support

from jadfer_cli.analysis.agreement.matching import match
from jadfer_cli.labels import LABELS

FPS = 25


def store(path, shows, **how):
    """A result with one face that shows one label per frame."""
    frames = list(range(len(shows)))
    usable = how.pop("usable", True)
    tracks = how.pop("tracks", [Track(0, frames, list(shows), usable=usable)])
    return Made(tracks, n_frames=len(shows), video=f"clips/{path.stem}.mp4", **how).write(path)


def write(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


HEADER = ("clip", "coder", "start_s", "end_s", "label")


@pytest.fixture
def study(tmp_path):
    """Five clips of 8 s in spells of 1 s; the machine is wrong in a fifth, Ben in a tenth."""
    rng = np.random.default_rng(3)
    rows, frames = [], []
    (tmp_path / "results").mkdir()
    for clip in range(5):
        truth = rng.choice(["neutral", "happiness", "sadness"], 8)
        shown = np.where(rng.random(8) < 0.8, truth, rng.choice(LABELS, 8))
        ben = np.where(rng.random(8) < 0.9, truth, "neutral")
        usable = np.repeat(rng.random(8) < 0.9, FPS)
        store(tmp_path / f"results/p{clip}.parquet", np.repeat(shown, FPS), usable=usable)
        for second in range(8):
            for coder, label in (("Anna", truth[second]), ("Ben", ben[second])):
                rows.append((f"p{clip}.mp4", coder, second, second + 1, label))
        frames += [
            (clip, truth[i // FPS], ben[i // FPS], shown[i // FPS] if usable[i] else None)
            for i in range(8 * FPS)
        ]
    write(tmp_path / "codes.csv", HEADER, rows)
    return tmp_path, pd.DataFrame(frames, columns=["clip", "Anna", "Ben", "jadfer"])


def measures(invoke, folder, *options):
    result = invoke(
        "agree", folder / "results", folder / "codes.csv", "-o", folder / "out.csv", "--overwrite",
        "--draws", "20", *options,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    table = pd.read_csv(folder / "out.csv", dtype={"group": str, "rater_b": str})
    table[["group", "rater_b"]] = table[["group", "rater_b"]].fillna("")
    return table, result


def one(table, a, b, level, measure, cls="all", group=""):
    where = (table["rater_a"] == a) & (table["group"] == group) & (table["class"] == cls)
    where &= table["rater_b"] == b
    (row,) = table[where & (table["level"] == level) & (table["measure"] == measure)].index
    return table.loc[row]


@pytest.mark.slow
def test_frame_level_equals_scikit_learn(study, invoke):
    folder, frames = study
    table, _ = measures(invoke, folder)
    for a, b in (("Anna", "jadfer"), ("Ben", "jadfer"), ("Anna", "Ben")):
        both = frames[frames[a].notna() & frames[b].notna()]
        kappa = one(table, a, b, "frame", "kappa")
        assert kappa["value"] == pytest.approx(cohen_kappa_score(both[a], both[b]))
        assert kappa["n"] == len(both)
        agreed = one(table, a, b, "frame", "agreement")["value"]
        assert agreed == pytest.approx((both[a] == both[b]).mean())
        for cls in ("happiness", "sadness"):
            yes = (both[a] == cls, both[b] == cls)
            precision, recall, f1, _ = precision_recall_fscore_support(*yes, average="binary")
            for name, value in (
                ("precision", precision), ("sensitivity", recall), ("f1", f1),
                ("kappa", cohen_kappa_score(*yes)),
            ):  # fmt: skip
                assert one(table, a, b, "frame", name, cls)["value"] == pytest.approx(value)


@pytest.mark.slow
def test_intervals_hold_the_value_and_blocks_are_narrower_than_frames_would_be(study, invoke):
    folder, _ = study
    table, _ = measures(invoke, folder, "--block", "2", "--draws", "300")
    kappa = one(table, "coders", "jadfer", "frame", "kappa")
    for kind in ("blocks", "clips"):
        low, high = kappa[f"{kind}_low"], kappa[f"{kind}_high"]
        assert low < kappa["value"] < high
        # 900 independent frames would give about +- 0.05
        assert high - low > 0.1
    assert one(table, "coders", "", "frame", "alpha")["value"] > kappa["value"]


@pytest.mark.slow
def test_confusion_by_group_and_text_and_figure(study, invoke):
    folder, frames = study
    write(folder / "people.csv", ("clip", "group"),
          [(f"p{i}", "old" if i < 2 else "young") for i in range(5)])  # fmt: skip
    table, result = measures(
        invoke, folder, "--participants", folder / "people.csv", "--by", "group", "--confusion",
        folder / "confusion.csv", "--figure", folder / "f.png", "--text", folder / "t.md",
    )  # fmt: skip
    old = frames[(frames["clip"] < 2) & frames["jadfer"].notna()]
    value = one(table, "Anna", "jadfer", "frame", "kappa", group="old")["value"]
    assert value == pytest.approx(cohen_kappa_score(old["Anna"], old["jadfer"]))
    assert "group old" in result.stdout and "group young" in result.stdout
    counts = pd.read_csv(folder / "confusion.csv", keep_default_na=False)
    own = counts[(counts["rater_a"] == "Anna") & (counts["rater_b"] == "jadfer")]
    own = own[own["group"] == ""].pivot(index="class_a", columns="class_b", values="samples")
    both = frames[frames["jadfer"].notna()]
    expected = confusion_matrix(both["Anna"], both["jadfer"], labels=list(LABELS))
    assert own.loc[list(LABELS), list(LABELS)].to_numpy().tolist() == expected.tolist()
    with Image.open(folder / "f.png") as picture:
        assert picture.size[0] > 1000
    text = (folder / "t.md").read_text()
    for words in (
        "2 coders annotated 5 clips", "Cohen's kappa = ", "old: ", "@article{Cohen1960",
        "Time without a code was left out", "saw no usable face", "ICC(2,1)",
    ):  # fmt: skip
        assert words in text, words


def test_events_by_hand(tmp_path, invoke):
    # machine: happiness 1-2 s, 3-3.4 s, 3.8-5 s, sadness 6-7 s; ends at 8 s
    shown = np.array(["neutral"] * 200, object)
    for label, begin, end in (
        ("happiness", 1, 2), ("happiness", 3, 3.4), ("happiness", 3.8, 5), ("sadness", 6, 7),
    ):  # fmt: skip
        shown[int(begin * FPS) : int(end * FPS)] = label
    (tmp_path / "results").mkdir()
    store(tmp_path / "results/a.parquet", shown)
    # coder: happiness 0.2-0.6 s (0.4 s before), 3-5 s (two pieces), surprise 6-7 s
    codes = [("a", "", 0.2, 0.6, "joy"), ("a", "", 3, 5, "joy"), ("a", "", 6, 7, "surprise")]
    write(tmp_path / "codes.csv", HEADER, codes)
    table, _ = measures(invoke, tmp_path, "--uncoded", "neutral")
    args = ("coder", "jadfer", "event")
    assert one(table, *args, "sensitivity", "happiness")["value"] == pytest.approx(2 / 2)
    assert one(table, *args, "precision", "happiness")["value"] == pytest.approx(2 / 3)
    assert one(table, *args, "sensitivity", "surprise")["value"] == 0
    assert one(table, *args, "sensitivity")["value"] == pytest.approx(2 / 3)
    assert one(table, *args, "precision")["value"] == pytest.approx(2 / 4)
    table, _ = measures(invoke, tmp_path, "--uncoded", "neutral", "--tolerance", "0.3")
    assert one(table, *args, "sensitivity", "happiness")["value"] == pytest.approx(1 / 2)


def test_no_interval_of_a_share_leaves_0_to_1(tmp_path, invoke):
    # every event of the machine begins just before a block of 1 s, every coded one just after
    shows = ["neutral"] * 200
    spans = []
    for second in range(1, 8):
        start = 25 * second
        shows[start - 2 : start + 8] = ["happiness"] * 10
        spans.append(f"clip.mp4,Mia,{second + 0.04},{second + 0.32},happiness")
    store(tmp_path / "clip.parquet", shows)
    codes = tmp_path / "codes.csv"
    codes.write_text("\n".join(["clip,coder,start_s,end_s,label", *spans]) + "\n")
    done = invoke("agree", tmp_path / "clip.parquet", codes, "--uncoded", "neutral", "--block", "1",
                  "-o", tmp_path / "a.csv", "--draws", "200")  # fmt: skip
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "a.csv")
    shares = table[(table["level"] == "event") & (table["class"] == "happiness")]
    assert (shares["value"] == 1).all() and len(shares) == 3
    ends = shares.filter(like="block").to_numpy()
    assert ends.size and (ends == 1).all()


def test_most_pairs_come_before_the_longest_overlap():
    # greedy by overlap would pair (0, 0) and leave two events alone
    first, second = np.array([[0.0, 10.0], [9.0, 30.0]]), np.array([[1.0, 12.0], [0.0, 1.5]])
    i, j = match(first, second, 0.0)
    assert sorted(zip(i.tolist(), j.tolist(), strict=True)) == [(0, 1), (1, 0)]
    assert not len(match(np.empty((0, 2)), second, 1.0)[0])
    # nor do long gaps within a long tolerance: the pairs (0, 0) and (1, 1), not (1, 0) alone
    first, second = np.array([[0.0, 0.1], [0.2, 0.3]]), np.array([[8.0, 8.1], [8.2, 8.3]])
    assert len(match(first, second, 8.0)[0]) == 2
    # a gap of exactly the tolerance counts, a longer one does not
    gap = (np.array([[0.0, 1.0]]), np.array([[1.5, 2.0]]))
    assert len(match(*gap, 0.5)[0]) == 1 and not len(match(*gap, 0.49)[0])


def test_what_the_other_could_not_see_is_neither_found_nor_missed(tmp_path, invoke):
    (tmp_path / "results").mkdir()
    usable = np.ones(100, bool)
    usable[50:] = False
    store(tmp_path / "results/a.parquet", ["happiness"] * 100, usable=usable)
    codes = [("a", "", 0, 1, "joy"), ("a", "", 2.2, 3, "joy"), ("a", "", 1, 2.2, "neutral")]
    write(tmp_path / "codes.csv", HEADER, codes)
    table, _ = measures(invoke, tmp_path)
    found = one(table, "coder", "jadfer", "event", "sensitivity", "happiness")
    assert (found["value"], found["n"]) == (1.0, 1)
    table, _ = measures(invoke, tmp_path, "--all-faces")
    assert one(table, "coder", "jadfer", "event", "sensitivity", "happiness")["n"] == 2


def test_the_coded_person_is_the_one_compared(tmp_path, invoke):
    (tmp_path / "results").mkdir()
    frames = list(range(100))
    tracks = [Track(0, frames, "happiness"), Track(1, frames[:90], "sadness")]
    store(tmp_path / "results/a.parquet", frames, tracks=tracks)
    header = (*HEADER, "subject")
    write(tmp_path / "codes.csv", header,
          [("a", "", 0, 4, "happy", "track 0"), ("a", "", 0, 4, "happy", "1")])  # fmt: skip
    table, _ = measures(invoke, tmp_path, "--uncoded", "missing")
    agreed = one(table, "coder", "jadfer", "frame", "agreement")
    assert (agreed["value"], agreed["n"]) == (pytest.approx(100 / 190), 190)
    write(tmp_path / "codes.csv", HEADER, [("a", "", 0, 4, "happy")])
    table, result = measures(invoke, tmp_path, "--uncoded", "missing")
    assert one(table, "coder", "jadfer", "frame", "agreement")["value"] == 1  # seen longest
    assert "in 90% of the frames several faces count" in result.stderr.replace("\n", " ")
    write(tmp_path / "codes.csv", header,
          [("a", "", 0, 4, "happy", "mother"), ("a", "", 0, 4, "sad", "child")])  # fmt: skip
    refused = invoke("agree", tmp_path / "results", tmp_path / "codes.csv", "--uncoded", "missing")
    assert refused.exit_code == 1 and "the coders name several people" in refused.stderr


def test_a_coder_who_names_the_person_is_compared_with_one_who_does_not(tmp_path, invoke):
    (tmp_path / "results").mkdir()
    store(tmp_path / "results/a.parquet", ["happiness"] * 100)
    write(tmp_path / "codes.csv", (*HEADER, "subject"),
          [("a", "Mia", 0, 4, "joy", "track 0"), ("a", "Noa", 0, 2, "joy", ""),
           ("a", "Noa", 2, 4, "fear", "")])  # fmt: skip
    table, _ = measures(invoke, tmp_path, "--uncoded", "missing")
    assert one(table, "Mia", "Noa", "frame", "agreement")["value"] == 0.5


def test_groups_by_a_column_of_the_results(tmp_path, invoke):
    (tmp_path / "results").mkdir()
    for name, shows in (("a", "happiness"), ("b", "sadness")):
        store(tmp_path / f"results/{name}.parquet", [shows] * 100)
    codes = [("a", "", 0, 4, "joy"), ("b", "", 0, 4, "joy")]
    write(tmp_path / "codes.csv", HEADER, codes)
    table, _ = measures(invoke, tmp_path, "--uncoded", "missing", "--by", "video")
    for group, value in (("clips/a.mp4", 1.0), ("clips/b.mp4", 0.0), ("", 0.5)):
        found = one(table, "coder", "jadfer", "frame", "agreement", group=group)
        assert found["value"] == value


def test_two_codes_at_once_are_left_out_and_reported(tmp_path, invoke):
    (tmp_path / "results").mkdir()
    store(tmp_path / "results/a.parquet", ["happiness"] * 100)
    write(tmp_path / "codes.csv", HEADER, [("a", "", 0, 4, "joy"), ("a", "", 3, 4, "fear")])
    table, result = measures(invoke, tmp_path, "--uncoded", "missing")
    assert one(table, "coder", "jadfer", "frame", "agreement")["n"] == 75
    assert "two codes at once in 25% of the time" in result.stderr.replace("\n", " ")


def test_no_intervals_if_none_are_wanted(tmp_path, invoke):
    (tmp_path / "results").mkdir()
    for name in "abc":
        store(tmp_path / f"results/{name}.parquet", ["happiness"] * 50 + ["neutral"] * 50)
    write(tmp_path / "codes.csv", HEADER, [(n, "", 0, 2, "joy") for n in "abc"])
    table, result = measures(invoke, tmp_path, "--uncoded", "neutral", "--draws", "0")
    assert one(table, "coder", "jadfer", "frame", "kappa")["value"] == 1
    assert table[["blocks_low", "clips_high"]].isna().to_numpy().all()
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ((), 2, "No code stands for neutral"),
        (("--uncoded", "perhaps"), 2, "--uncoded must be neutral or missing"),
        (("--uncoded", "missing", "--by", "group"), 2, "has no such column"),
        (("--uncoded", "missing", "--block", "0"), 2, "--block takes seconds"),
        (("--uncoded", "missing", "--tolerance", "-1"), 2, "--tolerance takes seconds"),
        (("--uncoded", "missing", "--draws", "-1"), 2, "--draws takes a number"),
        (("--uncoded", "missing", "--step", "0"), 2, "--step takes seconds"),
        (("--uncoded", "missing", "-o", "x.csv", "--confusion", "x.csv"), 2, "the same file"),
        (("--map", "joy=bliss"), 2, "bliss is not an expression"),
    ],
)
def test_usage_errors(tmp_path, invoke, monkeypatch, options, code, message):
    monkeypatch.chdir(tmp_path)
    store(tmp_path / "a.parquet", ["happiness"] * 10)
    write(tmp_path / "codes.csv", HEADER, [("a", "", 0, 0.4, "joy")])
    result = invoke("agree", "a.parquet", "codes.csv", *options, width=300)
    assert result.exit_code == code and message in result.stderr
    assert "Hint:" in result.stderr or code == 2


def test_codes_that_do_not_fit_the_results(tmp_path, invoke):
    store(tmp_path / "a.parquet", ["happiness"] * 10)
    codes = write(tmp_path / "codes.csv", HEADER, [("b", "", 0, 0.4, "joy")])
    result = invoke("agree", tmp_path / "a.parquet", codes, "--uncoded", "missing", width=300)
    assert result.exit_code == 1 and "No result fits the coded clips: b." in result.stderr
    write(codes, HEADER, [("a", "", 5, 6, "joy")])
    result = invoke("agree", tmp_path / "a.parquet", codes, "--uncoded", "missing", width=300)
    assert result.exit_code == 1 and "never rated the same moment" in result.stderr
