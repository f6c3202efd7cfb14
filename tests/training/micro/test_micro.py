"""Micro-expressions on made clips: tables, moments at 200 and 500 fps, folds, measures."""

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, recall_score

from jadfer_cli.errors import TrainingError, VideoError
from jadfer_cli.training.micro import manifest
from jadfer_cli.training.micro.folds import subject_folds, unweighted_f1, unweighted_recall
from jadfer_cli.training.micro.manifest import MicroClip
from jadfer_cli.training.micro.samplers import around_apex, frames_at, key, nearest, uniform

SECONDS = 0.5


def picture(time_s: float) -> np.ndarray:
    """Grey that rises by 400 per second: the picture says when it was taken."""
    return np.full((48, 64, 3), round(20 + 400 * time_s), np.uint8)


def moment(image: np.ndarray) -> float:
    """The time that a picture says."""
    return (float(image.mean()) - 20) / 400


def write_video(path, fps: int):
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=fps, options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        for i in range(int(SECONDS * fps)):
            frame = av.VideoFrame.from_ndarray(picture(i / fps), format="rgb24")
            target.mux(stream.encode(frame))
        target.mux(stream.encode())


def write_folder(path, fps: int, first: int):
    path.mkdir(parents=True)
    for i in range(int(SECONDS * fps)):
        cv2.imwrite(str(path / f"img{first + i}.png"), picture(i / fps))


def clip_of(path, fps=200.0, times=(0.1, 0.22, 0.4)):
    return MicroClip(path, "s", "fear", *times, fps)


def test_samplers_by_hand():
    clip = clip_of(None)
    assert uniform(4)(clip) == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert uniform(1)(clip) == pytest.approx([0.25])
    assert key(clip) == pytest.approx([0.1, 0.22, 0.4])
    assert around_apex(0.1)(clip) == pytest.approx([0.12, 0.22, 0.32])
    assert around_apex(0.3)(clip) == pytest.approx([0, 0.22, 0.52])
    assert around_apex(0.1, 1)(clip) == pytest.approx([0.22])
    for wrong in (lambda: uniform(0), lambda: around_apex(-1), lambda: around_apex(1, 0)):
        with pytest.raises(ValueError, match="must"):
            wrong()


def test_nearest_frames_by_hand():
    times = np.array([0, 0.005, 0.01])
    wanted = np.array([-1, 0.0024, 0.0026, 0.0075, 9])
    assert nearest(wanted, times).tolist() == [0, 0, 1, 1, 2]
    assert nearest(wanted, times[:1]).tolist() == [0] * 5


@pytest.mark.parametrize("kind", ["video", "folder"])
def test_the_same_seconds_at_200_and_500_fps_give_the_same_samples(kind, tmp_path):
    seen = {}
    for fps in (200, 500):
        path = tmp_path / f"{kind}{fps}{'.mp4' if kind == 'video' else ''}"
        if kind == "video":
            write_video(path, fps)
        else:
            write_folder(path, fps, first=46)
        clip = clip_of(path, fps)
        for name, sampler in (("uniform", uniform(5)), ("key", key), ("apex", around_apex(0.05))):
            times = sampler(clip)
            found = [moment(image) for image in frames_at(clip, times)]
            # half a frame of the clip, and half a grey level
            assert found == pytest.approx(times, abs=0.5 / fps + 0.6 / 400), (fps, name)
            seen[fps, name] = found
    for name in ("uniform", "key", "apex"):
        apart = np.subtract(seen[200, name], seen[500, name])
        assert np.abs(apart).max() <= 0.5 / 200 + 0.5 / 500 + 1.2 / 400


def test_frames_may_repeat_and_need_no_order(tmp_path):
    write_video(tmp_path / "a.mp4", 200)
    found = frames_at(clip_of(tmp_path / "a.mp4"), np.array([0.3, 0.1, 0.3]))
    assert [moment(image) for image in found] == pytest.approx([0.3, 0.1, 0.3], abs=0.004)


def test_a_damaged_picture_is_named(tmp_path):
    write_folder(tmp_path / "a", 200, 0)
    (tmp_path / "a" / "img20.png").write_bytes(b"x")
    with pytest.raises(VideoError, match=r"img20\.png is not a readable picture"):
        frames_at(clip_of(tmp_path / "a"), np.array([0.1]))


def test_a_plain_table(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    table = tmp_path / "dfme.csv"
    table.write_text(
        "clip,subject,emotion,onset,apex,offset,fps\n"
        "a.mp4,7,Happy,50,110,200,500\n\nb.mp4,x9,repression,4,,24,200\n"
    )
    a, b = manifest.read(table)
    assert a == MicroClip(tmp_path / "a.mp4", "7", "happiness", 0.1, 0.22, 0.4, 500)
    assert (b.emotion, b.onset_s, b.apex_s) == ("repression", 0.02, pytest.approx(0.07))


def test_the_tables_of_casme2_and_samm(tmp_path):
    """Frame numbers are those of the pictures: a clip that begins at picture 46 begins at 0 s."""
    write_folder(tmp_path / "sub01" / "EP02_01f", 200, first=46)
    table = tmp_path / "casme2.csv"
    table.write_text(
        "Subject;Filename;;OnsetFrame;ApexFrame;OffsetFrame;;Action Units;Estimated Emotion\n"
        "1;EP02_01f;;46;59;86;;12;happiness\n01;EP02_01f;;46;/;86;;4;others\n"
    )
    first, second = manifest.read(table, "casme2")
    assert (first.path.name, first.emotion, second.emotion) == ("EP02_01f", "happiness", "others")
    assert first.subject == second.subject == "1"  # Excel drops leading zeros
    assert (first.onset_s, first.apex_s, first.offset_s) == pytest.approx((0, 0.065, 0.2))
    assert second.apex_s == pytest.approx(0.1)  # not coded: the middle
    assert moment(frames_at(first, key(first))[1]) == pytest.approx(0.065, abs=0.002)
    write_folder(tmp_path / "samm" / "006" / "006_1_2", 200, first=562)
    table = tmp_path / "samm.csv"
    table.write_text(
        "Subject,Filename,Onset Frame,Apex Frame,Offset Frame,Estimated Emotion\n"
        "6,006_1_2,562,572,592,Anger\n"
    )
    (only,) = manifest.read(table, "samm", tmp_path / "samm")
    assert (only.emotion, only.subject, only.apex_s) == ("anger", "6", pytest.approx(0.05))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.mp4,1,fear,9,5,20,200", r"line 2: onset, apex and offset must be in this order"),
        ("a.mp4,1,fear,nine,9,20,200", r"line 2: onset is 'nine', not a number"),
        ("a.mp4,1,fear,1,9,20,0", r"line 2: fps must be positive"),
        ("a.mp4,,fear,1,9,20,200", r"line 2: subject and emotion must not be empty"),
        ("c.mp4,1,fear,1,9,20,200", r"line 2: there is no .*c\.mp4"),
        ("", r"lists no clip"),
    ],
)
def test_a_wrong_line_is_named(line, message, tmp_path):
    (tmp_path / "a.mp4").touch()
    table = tmp_path / "t.csv"
    table.write_text(f"clip,subject,emotion,onset,apex,offset,fps\n{line}\n")
    with pytest.raises(TrainingError, match=message):
        manifest.read(table)


def test_a_missing_column_or_table_is_named(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("clip,subject\n")
    with pytest.raises(TrainingError, match="has the columns clip, subject") as caught:
        manifest.read(table)
    assert "onset, apex, offset, emotion, fps" in caught.value.hint
    with pytest.raises(TrainingError, match="cannot be read"):
        manifest.read(tmp_path / "none.csv")
    with pytest.raises(TrainingError, match="no kind of table"):
        manifest.read(table, "smic")


@given(seed=st.integers(0, 10_000), n_subjects=st.integers(2, 12), data=st.data())
@settings(max_examples=40, deadline=None)
def test_no_subject_is_in_two_folds(seed, n_subjects, data):
    rng = np.random.default_rng(seed)
    subjects = [f"s{i}" for i in rng.permutation([*range(n_subjects),
                                                  *rng.integers(0, n_subjects, 60)])]  # fmt: skip
    n_folds = data.draw(st.one_of(st.none(), st.integers(2, n_subjects)))
    folds = subject_folds(subjects, n_folds, seed)
    assert len(folds) == (n_folds or n_subjects)
    assert sorted(np.concatenate(folds).tolist()) == list(range(len(subjects)))
    seen = [{subjects[i] for i in fold} for fold in folds]
    assert sum(map(len, seen)) == n_subjects and all(seen)


def test_folds_are_of_about_equal_size_and_need_subjects():
    subjects = [name for name, n in zip("abcdef", (30, 20, 20, 10, 10, 10), strict=True)
                for _ in range(n)]  # fmt: skip
    assert sorted(len(fold) for fold in subject_folds(subjects, 3)) == [30, 30, 40]
    assert [len(fold) for fold in subject_folds(subjects)] == [30, 20, 20, 10, 10, 10]
    for wrong in (1, 7):
        with pytest.raises(TrainingError, match=r"folds need as many subjects"):
            subject_folds(subjects, wrong)


def test_measures_by_hand():
    # class 0: 2 of 3 right, one false alarm; class 1: 1 of 2 right, one false alarm; class 2 absent
    classes, guesses = [0, 0, 0, 1, 1], [0, 0, 1, 1, 0]
    assert unweighted_f1(classes, guesses, 3) == pytest.approx((4 / 6 + 2 / 4) / 2)
    assert unweighted_recall(classes, guesses, 3) == pytest.approx((2 / 3 + 1 / 2) / 2)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 60))
@settings(max_examples=40, deadline=None)
def test_measures_are_those_of_scikit_learn(seed, n):
    rng = np.random.default_rng(seed)
    classes, guesses = rng.integers(0, 7, n), rng.integers(0, 7, n)
    either = sorted({*classes.tolist(), *guesses.tolist()})
    expected = f1_score(classes, guesses, labels=either, average="macro", zero_division=0)
    assert unweighted_f1(classes, guesses, 7) == pytest.approx(expected)
    present = sorted(set(classes.tolist()))
    expected = recall_score(classes, guesses, labels=present, average="macro", zero_division=0)
    assert unweighted_recall(classes, guesses, 7) == pytest.approx(expected)
