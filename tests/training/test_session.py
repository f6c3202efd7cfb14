"""What `jadfer train` checks before any picture is aligned."""

import cv2
import numpy as np
import pytest

from jadfer_cli.errors import OptionError, SplitMissing
from jadfer_cli.runtime import Runtime
from jadfer_cli.training import align, session, tensor_file
from jadfer_cli.training.reporting import Reporter
from jadfer_cli.training.state import identity

CPU = Runtime("cpu", "CPU", "fp32", 1)
pytestmark = pytest.mark.slow  # loads a detector


class Heard(Reporter):
    def __init__(self):
        self.said = []

    def say(self, text):
        self.said.append(text)


@pytest.fixture
def aligning_fails(monkeypatch):
    """Aligning must not have begun when the checks end."""

    def begun(*_, **__):
        raise AssertionError("a picture was aligned")

    monkeypatch.setattr(align, "find_landmarks", begun)
    monkeypatch.setattr("jadfer_cli.training.data.find_landmarks", begun)


def faces(root, **counts):
    rng = np.random.default_rng(0)
    for split, n in counts.items():
        for i in range(n):
            folder = root / split / ("happy", "sad")[i % 2]
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"{i}.png"), rng.integers(0, 255, (48, 48), np.uint8))
    return root


def prepared(tmp_path, data, **config):
    heard = Heard()
    config = {"dataset": "folder", "data": str(data), "detectors": ["centerface"]} | config
    found = session.prepare(tmp_path / "run", config, CPU, cache=tmp_path / "cache", report=heard)
    return found, heard.said


@pytest.mark.parametrize(("n", "batch"), [(33, 8), (4, 2), (70, 64)])
def test_a_batch_is_chosen_that_fits_the_images(tmp_path, aligning_fails, n, batch):
    data = faces(tmp_path / "faces", train=n, valid=4)
    found, said = prepared(tmp_path, data)
    assert found.options.batch_size == batch
    line = f"batches of {batch} instead of 64, to fit {n} labelled training images"
    assert any(line in text for text in said) == (batch < 64)


def test_a_batch_that_the_user_chose_is_refused_before_the_work(tmp_path, aligning_fails):
    data = faces(tmp_path / "faces", train=33, valid=4)
    with pytest.raises(OptionError, match="fewer than one batch of 64") as caught:
        prepared(tmp_path, data, batch_size=64)
    assert "Set `batch_size` to 8, or leave it out" in caught.value.hint


def test_sets_that_are_too_small_are_refused_before_the_work(tmp_path, aligning_fails):
    with pytest.raises(OptionError, match=r"1 labelled image without .*than one batch of 2") as one:
        prepared(tmp_path, faces(tmp_path / "one", train=1, valid=4))
    assert "`batch_size`" not in one.value.hint and "add labelled images" in one.value.hint
    with pytest.raises(SplitMissing):
        prepared(tmp_path, faces(tmp_path / "none", test=4))
    labels = tmp_path / "labels.csv"  # of training and test only
    # relative to the table: its name decides by which half it counts, whatever the folder is
    picture = faces(tmp_path / "one", train=1).relative_to(tmp_path) / "train" / "happy" / "0.png"
    labels.write_text(f"file,label,split\n{picture},happy,train\n{picture},happy,test\n")
    with pytest.raises(SplitMissing, match="has no images in the split 'valid'"):
        prepared(tmp_path, labels, dataset="csv")
    data = faces(tmp_path / "same", train=4)
    (data / "train").rename(data / "valid")
    faces(data, train=4)  # the same pictures
    with pytest.raises(OptionError, match="no labelled image without a twin in validation or test"):
        prepared(tmp_path, data)


def test_repeats_do_not_count_for_the_batch(tmp_path, aligning_fails):
    data = faces(tmp_path / "faces", train=40)
    (data / "train").rename(data / "valid")
    faces(data, train=70)  # 40 of them also in validation
    found, said = prepared(tmp_path, data)
    assert found.options.batch_size == 4 and found.chosen.n_labelled == 30
    assert any("dropped 40 training images" in text for text in said)
    assert (tmp_path / "run" / "twins.csv").read_text().count("train,") == 40


def test_a_run_with_other_options_is_refused_before_the_search(tmp_path, monkeypatch):
    data = faces(tmp_path / "faces", train=8, valid=4)
    found, _ = prepared(tmp_path, data)
    run = {"run": 1, "options": identity(found.options), "network": {}}
    tensor_file.write(run, tmp_path / "run" / "state.pt")
    prepared(tmp_path, data, batch_size=found.options.batch_size)
    monkeypatch.setattr("jadfer_cli.training.data.find", compared)
    with pytest.raises(OptionError, match="belongs to a run with other options"):
        prepared(tmp_path, data, batch_size=4, lr=0.5)


def compared(*_, **__):
    raise AssertionError("pictures were compared")
