"""Data sets in their own layouts: what is read, how it is split, and the errors."""

import cv2
import numpy as np
import pytest

from jadfer_cli.errors import JadferError, OptionError, SplitMissing
from jadfer_cli.flags import worded
from jadfer_cli.labels import LABELS
from jadfer_cli.training.datasets import load
from jadfer_cli.training.layouts import SPLITS


def picture(path, value: int = 100, side: int = 20):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((side, side, 3), value, np.uint8))
    return path


def labels_of(faces):
    return [LABELS[i] for i in faces.targets.argmax(1)]


def test_rafdb_basic(tmp_path):
    root = tmp_path / "basic"
    lines = [f"train_{i:05}.jpg {i % 7 + 1}" for i in range(1, 71)]
    lines += [f"test_{i:04}.jpg {i}" for i in range(1, 8)]
    (root / "EmoLabel").mkdir(parents=True)
    (root / "EmoLabel" / "list_patition_label.txt").write_text("\n".join(lines) + "\n")
    for line in lines:
        picture(root / "Image" / "aligned" / f"{line.split('.')[0]}_aligned.jpg")
    test = load("rafdb", tmp_path, "test")
    # RAF-DB's readme: 1 surprise, 2 fear, 3 disgust, 4 happiness, 5 sadness, 6 anger, 7 neutral
    assert labels_of(test) == [
        "surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"
    ]  # fmt: skip
    assert test.expressions == (0, 1, 2, 3, 4, 5, 6) and test.main_protocol == "all"
    assert test.image_rgb(0).shape == (20, 20, 3)
    train, valid = load("rafdb", root, "train"), load("rafdb", root, "valid")
    assert sorted(train.image_names + valid.image_names) == [line.split()[0] for line in lines[:70]]
    assert 1 <= len(valid) <= 20

    (root / "Image" / "aligned" / "test_0003_aligned.jpg").unlink()
    with pytest.raises(JadferError, match=r"test_0003_aligned\.jpg is listed in list_patition"):
        load("rafdb", root, "test")
    (root / "EmoLabel" / "list_patition_label.txt").write_text("test_0001.jpg 9\n")
    with pytest.raises(JadferError, match=r"line 1: 'test_0001.jpg 9' is not `NAME.jpg 1..7`"):
        load("rafdb", root, "test")
    with pytest.raises(JadferError, match=r"no EmoLabel/list_patition_label\.txt"):
        load("rafdb", tmp_path / "basic" / "Image", "test")


def test_affectnet_with_annotations(tmp_path):
    for part in ("train_set", "val_set"):
        (tmp_path / part / "annotations").mkdir(parents=True)
        for i in range(40):
            picture(tmp_path / part / "images" / f"{i}.jpg")
            np.save(tmp_path / part / "annotations" / f"{i}_exp.npy", np.array(str(i % 8)))
    eight, seven = load("affectnet8", tmp_path, "test"), load("affectnet7", tmp_path, "test")
    by_name = dict(zip(eight.image_names, labels_of(eight), strict=True))
    # Mollahosseini et al. 2017: 0 neutral, 1 happy, 2 sad, 3 surprise, 4 fear, 5 disgust, 6 anger
    assert [by_name[f"{i}.jpg"] for i in range(8)] == [
        "neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt"
    ]  # fmt: skip
    assert (len(eight), len(seven)) == (40, 35) and 7 not in seven.expressions
    parts = [load("affectnet8", tmp_path, split).image_names for split in ("train", "valid")]
    assert len(parts[0]) + len(parts[1]) == 40 and not set(parts[0]) & set(parts[1])
    (tmp_path / "val_set" / "annotations" / "3_exp.npy").unlink()
    with pytest.raises(JadferError, match=r"3_exp\.npy cannot be read"):
        load("affectnet8", tmp_path, "test")


def test_affectnet_with_lists(tmp_path):
    lines = ["subDirectory_filePath,face_x,expression"]
    for i in range(11):  # 8 none, 9 uncertain and 10 no face are skipped, and may be missing
        lines.append(f"{i}/face.jpg,0,{i}")
        if i < 8:
            picture(tmp_path / "Manually_Annotated_Images" / str(i) / "face.jpg")
    (tmp_path / "validation.csv").write_text("\n".join(lines))
    assert len(load("affectnet8", tmp_path, "test")) == 8
    assert len(load("affectnet7", tmp_path, "test")) == 7
    with pytest.raises(JadferError, match=r"neither train_set/ nor training\.csv"):
        load("affectnet8", tmp_path, "train")
    (tmp_path / "Manually_Annotated_Images" / "2" / "face.jpg").unlink()
    with pytest.raises(JadferError, match=r"face\.jpg is listed in validation\.csv but missing"):
        load("affectnet8", tmp_path, "test")
    (tmp_path / "validation.csv").write_text("name,label\na.jpg,1\n")
    with pytest.raises(JadferError, match="no usable subDirectory_filePath and expression"):
        load("affectnet8", tmp_path, "test")


def test_folder_with_split_folders_and_synonyms(tmp_path):
    picture(tmp_path / "Train" / "Happy" / "a.jpg", 1)
    picture(tmp_path / "Train" / "angry" / "b.PNG", 2)
    picture(tmp_path / "val" / "joy" / "c.png", 3)
    (tmp_path / "Train" / "angry" / "notes.txt").write_text("no picture")
    assert labels_of(load("folder", tmp_path, "train")) == ["happiness", "anger"]
    assert labels_of(load("folder", tmp_path, "valid")) == ["happiness"]
    with pytest.raises(JadferError, match="holds no test folder"):
        load("folder", tmp_path, "test")
    picture(tmp_path / "Train" / "3" / "d.png")
    with pytest.raises(JadferError, match="class '3' is none of the eight") as caught:
        load("folder", tmp_path, "train")
    assert "`classes` 3=EXPRESSION" in caught.value.hint
    assert "--class 3=EXPRESSION" in worded(caught.value.hint)
    faces = load("folder", tmp_path, "train", classes={"3": "fear"})
    assert sorted(labels_of(faces)) == ["anger", "fear", "happiness"]


def test_folder_without_splits_is_split_by_a_hash_of_the_name(tmp_path):
    for i in range(200):
        picture(tmp_path / ("sad" if i % 2 else "neutral") / f"{i}.png", side=4)
    parts = {split: load("folder", tmp_path, split).image_names for split in SPLITS}
    names = [name for part in parts.values() for name in part]
    assert len(names) == len(set(names)) == 200
    assert 140 <= len(parts["train"]) <= 180 and min(map(len, parts.values())) >= 8
    for i in range(200, 220):  # new pictures do not move the others
        picture(tmp_path / "sad" / f"{i}.png", side=4)
    again = load("folder", tmp_path, "test").image_names
    assert [n for n in again if int(n.split("/")[1][:-4]) < 200] == parts["test"]


def test_a_tenth_of_a_single_train_folder_becomes_validation(tmp_path):
    for i in range(100):
        picture(tmp_path / "train" / "sad" / f"{i}.png", side=4)
    train, valid = load("folder", tmp_path, "train"), load("folder", tmp_path, "valid")
    assert len(train) + len(valid) == 100 and 3 <= len(valid) <= 20


def test_csv_with_labels_and_with_votes(tmp_path):
    for i in range(4):
        picture(tmp_path / "faces" / f"{i}.png")
    table = tmp_path / "labels.csv"
    table.write_text(
        "file,label,split\nfaces/0.png,happy,train\nfaces/1.png,sad,valid\nfaces/2.png,9,test\n"
    )
    for split, label in (("train", "happiness"), ("valid", "sadness"), ("test", "contempt")):
        assert labels_of(load("csv", table, split, classes={"9": "contempt"})) == [label]
    with pytest.raises(JadferError, match="class '9' is none of the eight"):
        load("csv", table, "test")
    table.write_text("file,Neutral,happy,sad,split\nfaces/3.png,3,1,,test\n")
    assert load("csv", table, "test").targets[0, :4].tolist() == [0.75, 0.25, 0, 0]
    for text, message in (
        ("file,Neutral,split\nfaces/3.png,many,test\n", "neutral is 'many', not a number"),
        ("file,Neutral,split\nfaces/3.png,0,test\n", "votes are not positive"),
        ("file,label,split\nfaces/9.png,sad,test\n", r"line 2: the file .*9\.png is missing"),
        ("file,label,split\nfaces/3.png,sad,later\n", "'later' is not train, valid or test"),
        ("image,emotion\nfaces/3.png,sad\n", "has the columns image, emotion"),
        ("file,label,split\nfaces/3.png,sad,train\n", "has no images in the split 'test'"),
    ):
        table.write_text(text)
        with pytest.raises(JadferError, match=message):
            load("csv", table, "test")
    with pytest.raises(JadferError, match="cannot be read as CSV"):
        load("csv", tmp_path, "test")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("imagenet", "test", {}), "--dataset must be one of ferplus, rafdb"),
        (("folder", "dev", {}), "--split must be one of train, valid, test, not dev"),
        (("folder", "test", {"votes": 1}), "--votes belongs to --dataset ferplus"),
        (("ferplus", "test", {"classes": {"1": "fear"}}), "--class belongs to"),
    ],
)
def test_invalid_options_are_refused(tmp_path, arguments, message):
    dataset, split, more = arguments
    with pytest.raises(OptionError) as caught:
        load(dataset, tmp_path, split, **more)
    assert message in worded(caught.value.message) and "--" not in caught.value.message


def test_missing_folder_and_unreadable_picture(tmp_path):
    with pytest.raises(JadferError, match="There is no"):
        load("folder", tmp_path / "nowhere", "test")
    (tmp_path / "test" / "sad").mkdir(parents=True)
    (tmp_path / "test" / "sad" / "a.png").write_bytes(b"no picture")
    faces = load("folder", tmp_path, "test")
    with pytest.raises(JadferError, match=r"a\.png is not a readable picture"):
        faces.image_rgb(0)


def test_what_a_set_can_name_does_not_depend_on_the_split(tmp_path):
    for name in ("happy", "sad", "fear"):
        picture(tmp_path / "train" / name / "a.png")
        picture(tmp_path / "valid" / name / "a.png", 3)
    picture(tmp_path / "test" / "happy" / "a.png", 5)
    assert load("folder", tmp_path, "test").expressions == (1, 3, 6)
    lines = ["file,label,split", "a.png,sad,train", "b.png,happy,test"]
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    assert load("csv", tmp_path / "labels.csv", "test").expressions == (1, 3)


def test_hidden_files_are_skipped_and_other_types_reported(tmp_path):
    picture(tmp_path / "test" / "sad" / "a.JPG")
    (tmp_path / "test" / "sad" / "._a.jpg").write_bytes(b"Finder")
    picture(tmp_path / "test" / "sad" / ".ipynb_checkpoints" / "a-checkpoint.png")
    picture(tmp_path / "test" / "__MACOSX" / "a.png")
    (tmp_path / "test" / "sad" / "b.heic").write_bytes(b"phone")
    (tmp_path / "test" / "sad" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "test" / "happy").mkdir()
    faces = load("folder", tmp_path, "test")
    assert faces.image_names == ["test/sad/a.JPG"]
    notes = " ".join(faces.notes)
    assert "1 .heic" in notes and "happy holds no picture" in notes
    assert faces.take([0]).notes == faces.notes


def test_csv_from_excel_and_votes_under_other_names(tmp_path):
    picture(tmp_path / "a.png")
    table = tmp_path / "labels.csv"
    table.write_bytes("\ufeffFile;Label;Split\na.png;sad;test\n".encode())
    assert labels_of(load("csv", table, "test")) == ["sadness"]
    table.write_text("file,happy,sad,überraschung,split\na.png,1,0,9,test\n", "utf-8")
    faces = load("csv", table, "test", classes={"überraschung": "surprise"})
    assert faces.targets[0, :4].tolist() == pytest.approx([0, 0.1, 0.9, 0])
    table.write_bytes("file,label\nä.png,sad\n".encode("cp1252"))
    with pytest.raises(JadferError, match="is not UTF-8") as caught:
        load("csv", table, "test")
    assert "CSV UTF-8" in caught.value.hint


def test_a_missing_split_is_not_confused_with_a_damaged_one(tmp_path):
    picture(tmp_path / "train" / "sad" / "a.png")
    with pytest.raises(SplitMissing):
        load("folder", tmp_path, "test")
    picture(tmp_path / "test" / "7" / "a.png")
    with pytest.raises(JadferError) as caught:
        load("folder", tmp_path, "test")
    assert not isinstance(caught.value, SplitMissing)
    with pytest.raises(SplitMissing):
        load("ferplus", tmp_path, "test")
    with pytest.raises(JadferError, match="is not a folder"):
        load("folder", tmp_path / "train" / "sad" / "a.png", "test")
    (tmp_path / "faces.zip").write_bytes(b"no zip")
    with pytest.raises(JadferError, match="neither a folder nor a readable zip"):
        load("ferplus", tmp_path / "faces.zip", "test")


def test_broken_lists_of_ferplus(tmp_path):
    folder = tmp_path / "FER2013Test"
    picture(folder / "a.png")
    (folder / "label.csv").write_text('a.png,"(0, 0, 48, 48)",many,0,0,0,0,0,0,0,0,0\n')
    with pytest.raises(JadferError, match="does not have a name, a box and ten votes"):
        load("ferplus", tmp_path, "test")
    (folder / "label.csv").write_text('a.png,"(0, 0, 48, 48)",9,0,0,0,0,0,0,0,1,0\n\n')
    faces = load("ferplus", tmp_path, "test")
    assert len(faces) == 1 and "votes from label.csv" in faces.notes[0]
    (folder / "a.png").write_bytes(b"")
    with pytest.raises(JadferError, match=r"a\.png is not a readable image"):
        load("ferplus", tmp_path, "test")
    picture(folder / "a.png")
    with pytest.raises(JadferError, match=r"The votes .* cannot be read"):
        load("ferplus", tmp_path, "test", votes=tmp_path)


def test_rafdb_without_pictures(tmp_path):
    (tmp_path / "EmoLabel").mkdir()
    (tmp_path / "EmoLabel" / "list_patition_label.txt").write_text("test_0001.jpg 1\n")
    with pytest.raises(JadferError, match=r"no Image/aligned"):
        load("rafdb", tmp_path, "test")
    picture(tmp_path / "Image" / "original" / "test_0001.jpg")
    assert labels_of(load("rafdb", tmp_path, "test")) == ["surprise"]


def test_csv_votes_tie_and_count_those_for_no_expression(tmp_path):
    for name in ("a", "b"):
        picture(tmp_path / f"{name}.png")
    (tmp_path / "votes.csv").write_text(
        "file,split,happy,sad,unknown,NF\na.png,test,4,4,1,1\nb.png,test,1,3,0,6\n"
    )
    faces = load("csv", tmp_path / "votes.csv", "test")
    names = ("happiness", "sadness")
    columns = [LABELS.index(name) for name in names]
    assert faces.votes[:, columns].tolist() == [[4, 4], [1, 3]]
    assert faces.votes[:, -1].tolist() == [2, 6] and faces.targets[1].sum() == 1
    assert faces.protocols["all"].tied[:, columns].tolist() == [[True, True], [False, True]]
    assert faces.take([1]).votes.shape == (1, 9)
    (tmp_path / "labels.csv").write_text("file,label,split\na.png,sad,test\n")
    assert load("csv", tmp_path / "labels.csv", "test").votes is None
