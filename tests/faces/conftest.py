"""The photograph with six faces that insightface installs, and detectors loaded once."""

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from jadfer_cli.faces.detect import load_detector
from jadfer_cli.options import FaceOptions

# x1 y1 x2 y2 in px, checked by eye
SIX_BOXES = np.array(
    [
        (58, 262, 169, 396),
        (269, 147, 371, 266),
        (465, 265, 573, 416),
        (746, 339, 846, 481),
        (905, 54, 1013, 204),
        (1131, 271, 1226, 399),
    ],
    np.float64,
)


@pytest.fixture(scope="session")
def six_faces():
    """uint8 RGB (886, 1280, 3) with the faces of SIX_BOXES."""
    folder = Path(importlib.util.find_spec("insightface").origin).parent
    image_bgr = cv2.imread(str(folder / "data" / "images" / "t1.jpg"))
    assert image_bgr.shape == (886, 1280, 3)
    return np.ascontiguousarray(image_bgr[:, :, ::-1])


@pytest.fixture(scope="session")
def six_boxes():
    return SIX_BOXES


@pytest.fixture(scope="session")
def centerface():
    """The embedded detector with its defaults."""
    return load_detector(FaceOptions(detector="centerface"), threads=1)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home folder, so that no pack installed on this machine is found."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


@pytest.fixture
def install_pack(home):
    """Writes files into a pack's folder."""

    def install(pack, **files):
        folder = home / ".insightface" / "models" / pack
        folder.mkdir(parents=True)
        for name, content in files.items():
            (folder / f"{name}.onnx").write_bytes(content)
        return folder

    return install
