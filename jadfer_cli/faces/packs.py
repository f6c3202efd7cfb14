"""InsightFace model packs: the public ones, and those installed on this machine.

Of a pack, jadfer uses the face detector and the face recogniser. `jadfer models fetch` downloads
packs; this module never accesses the network.
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
        name: InsightFace's name of it, and the name of its folder.
        detector: File name of its face detector.
        url: Address of the zip file.
    """

    name: str
    detector: str
    url: str


# In the order in which `--detector auto` prefers them. InsightFace publishes no hashes.
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
    """A pack whose detector file exists on this machine; the file may still fail to load.

    Attributes:
        name: The pack's name.
        detector_path: Path of its face detector.
    """

    name: str
    detector_path: Path


def packs_folder() -> Path:
    """InsightFace's folder of packs: `~/.insightface/models`."""
    return Path("~/.insightface/models").expanduser()


def find_detector(name: str) -> Path | None:
    """Find the face detector of the pack `name`; None if it is not installed.

    An interrupted unzip leaves a folder without the file, or an empty file. Both count as not
    installed.
    """
    pack_folder = packs_folder() / name
    # The zip of antelopev2 contains a folder, so its files are one level deeper.
    for folder in (pack_folder, pack_folder / name):
        if (path := detector_in(folder)) is not None:
            return path
    return None


def detector_in(folder: Path) -> Path | None:
    """Find the face detector in the folder of a pack; None if there is none."""
    for pattern in ("det_*.onnx", "scrfd_*.onnx"):
        for path in sorted(folder.glob(pattern)):
            if path.is_file() and path.stat().st_size > 0:
                return path
    return None


def find_recogniser(name: str) -> Path | None:
    """Find the face recogniser of the pack `name`; None if it is not installed."""
    pack_folder = packs_folder() / name
    for folder in (pack_folder, pack_folder / name):
        for pattern in ("w600k_*.onnx", "glintr*.onnx"):
            for path in sorted(folder.glob(pattern)):
                if path.is_file() and path.stat().st_size > 0:
                    return path
    return None


def installed_packs() -> list[InstalledPack]:
    """List the installed packs: public ones first, in the order of `PACKS`, then others by name."""
    try:
        present = sorted(p.name for p in packs_folder().iterdir() if p.is_dir())
    except OSError:
        present = []
    names = [*PACKS, *(name for name in present if name not in PACKS)]
    found = ((name, find_detector(name)) for name in names)
    return [InstalledPack(name, path) for name, path in found if path is not None]
