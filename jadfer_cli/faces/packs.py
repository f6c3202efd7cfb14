"""InsightFace model packs: which there are, and which are installed on this machine.

Only the pack's face detector is used. `jadfer models fetch` brings a pack; nothing here
touches the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

INSIGHTFACE_TERMS = "non-commercial research only (InsightFace)"
_RELEASE = "https://github.com/deepinsight/insightface/releases/download/v0.7"


@dataclass(frozen=True)
class Pack:
    """One public pack.

    Attributes:
        name: As InsightFace names it, and the folder's name.
        detector: File name of the face detector inside.
        url: Where the zip lies.
    """

    name: str
    detector: str
    url: str


# In the order in which `--detector auto` prefers them. No hashes: InsightFace publishes none.
PACKS: dict[str, Pack] = {
    name: Pack(name, detector, f"{_RELEASE}/{name}.zip")
    for name, detector in (
        ("buffalo_l", "det_10g.onnx"),
        ("buffalo_m", "det_2.5g.onnx"),
        ("buffalo_s", "det_500m.onnx"),
        ("buffalo_sc", "det_500m.onnx"),
        ("antelopev2", "scrfd_10g_bnkps.onnx"),
    )
}


@dataclass(frozen=True)
class InstalledPack:
    """A pack whose detector file is on this machine (whether it loads is not known yet).

    Attributes:
        name: The pack's name.
        detector_path: Its face detector.
    """

    name: str
    detector_path: Path


def packs_folder() -> Path:
    """Where InsightFace keeps packs: `~/.insightface/models`."""
    return Path("~/.insightface/models").expanduser()


def find_detector(name: str) -> Path | None:
    """The face detector of the pack `name`, or None where no file of one is installed.

    A broken unzip leaves a folder without it, or an empty file; both count as not installed.
    """
    folder = packs_folder() / name
    # The zip of antelopev2 holds a folder of its own, so its files lie one level deeper.
    for place in (folder, folder / name):
        for pattern in ("det_*.onnx", "scrfd_*.onnx"):
            for path in sorted(place.glob(pattern)):
                if path.is_file() and path.stat().st_size > 0:
                    return path
    return None


def installed_packs() -> list[InstalledPack]:
    """The packs installed here, known ones first in the order of `PACKS`, others by name."""
    try:
        present = sorted(p.name for p in packs_folder().iterdir() if p.is_dir())
    except OSError:
        present = []
    names = [*PACKS, *(name for name in present if name not in PACKS)]
    found = ((name, find_detector(name)) for name in names)
    return [InstalledPack(name, path) for name, path in found if path is not None]
