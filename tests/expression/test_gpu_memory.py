"""When GPU memory runs out, batches are halved and results stay the same.

No GPU is needed: the network is a stub that raises what PyTorch raises.
"""

import numpy as np
import pytest
import torch

from jadfer_cli.errors import DeviceError
from jadfer_cli.explain import explain
from jadfer_cli.expression import checkpoint
from jadfer_cli.expression.predict import Predictor
from jadfer_cli.faces.detector import Detector
from jadfer_cli.flags import worded
from jadfer_cli.options import FaceOptions, ModelOptions
from jadfer_cli.records import DetectorInfo, Faces
from jadfer_cli.runtime import BatchLimiter, settle


class Card:
    """A network whose GPU holds at most `room` items; records the batch sizes it was given."""

    def __init__(self, room, network=lambda some: list(some)):
        self.room, self.network, self.given = room, network, []

    def __call__(self, some, *more):
        self.given.append(len(some))
        if len(some) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.network(some, *more)


def joined(parts):
    return [item for part in parts for item in part]


def test_batches_stay_halved_and_one_warning_is_given():
    card, batches = Card(5), BatchLimiter(16, "faces")
    assert joined(batches.over(card, range(20))) == list(range(20))
    # neither 16 nor 8 fit; 4 do, five times
    assert card.given == [16, 8, 4, 4, 4, 4, 4] and batches.size == 4
    assert joined(batches.over(card, range(3))) == [0, 1, 2]
    assert batches.warnings == [
        "16 faces at once exceeded the GPU's memory; batches were reduced to 4."
    ]
    assert (
        BatchLimiter(16, "faces").warnings == [] and BatchLimiter(16, "faces").over(card, []) == []
    )


def test_an_incomplete_batch_is_halved_from_its_own_size():
    card, batches = Card(2), BatchLimiter(64, "faces")
    assert joined(batches.over(card, range(6))) == list(range(6))
    assert card.given == [6, 3, 1] + [1] * 5


def test_a_single_item_that_does_not_fit_is_an_error():
    with pytest.raises(DeviceError, match="too small for even one of the faces") as caught:
        BatchLimiter(4, "faces").over(Card(0), range(8))
    assert "or use `device` cpu" in caught.value.hint
    assert "--device cpu" in worded(caught.value.hint)
    assert explain(caught.value) is caught.value


@pytest.mark.parametrize(
    ("error", "halves"),
    [
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("wrong shape"), False),
    ],
)
def test_other_errors_are_not_mistaken_for_it(error, halves):
    def network(some):
        if len(some) > 1:
            raise error
        return some

    batches = BatchLimiter(2, "faces")
    if halves:
        assert len(batches.over(network, [1, 2])) == 2
        assert explain(error).message == "The GPU's memory is exhausted."
    else:
        with pytest.raises(type(error)):
            batches.over(network, [1, 2])


@pytest.mark.slow
def test_probabilities_are_the_same():
    model, runtime = checkpoint.load(), settle(ModelOptions(engine="torch", batch_size=8))
    crops = np.random.default_rng(0).integers(0, 256, (11, *[model.crop_px] * 2, 3), np.uint8)
    whole, halved = (Predictor(model, runtime) for _ in range(2))
    card = halved.engine = Card(3, halved.engine)
    np.testing.assert_allclose(halved.probabilities(crops), whole.probabilities(crops), atol=1e-5)
    assert card.given == [8, 4, 2, 2, 2, 2, 2, 1] and not whole.batch_limiter.warnings


def test_faces_are_the_same():
    """The grey value of a picture is the position of its only face."""

    def network(pictures_rgb, threshold):
        places = pictures_rgb[:, 0, 0, 0].astype(np.float32)
        return [
            Faces(np.array([[x, 8, x + 40, 60]], np.float32), np.array([0.9], np.float32),
                  np.full((1, 5, 2), x + 9, np.float32))
            for x in places
        ]  # fmt: skip

    info = DetectorInfo("stub", "scrfd", "stub.onnx", "0" * 64, "none", "stub")
    frames = [np.full((128, 128, 3), value, np.uint8) for value in range(0, 80, 10)]
    options = FaceOptions(detection_size=128)
    expected = Detector(info, network, options, prefers_batches=True).detect_all(frames)
    detector = Detector(info, Card(2, network), options, prefers_batches=True)
    for a, b in zip(detector.detect_all(frames), expected, strict=True):
        np.testing.assert_array_equal(a.boxes_px, b.boxes_px)
    assert (
        detector.batch_limiter.size == 2
        and "16 pictures at once" in detector.batch_limiter.warnings[0]
    )
    with pytest.raises(DeviceError) as caught:
        Detector(info, Card(0, network), options, prefers_batches=True).detect(frames[0])
    assert "a smaller `detection_size`" in caught.value.hint
    assert "--detection-size" in worded(caught.value.hint)
