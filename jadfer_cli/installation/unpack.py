"""Install an InsightFace pack from its zip, all or nothing, and detect damage to it later.

The pack is unpacked into a temporary folder beside the other packs, and renamed at the end.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from jadfer_cli.common import file_sha256
from jadfer_cli.errors import ModelError
from jadfer_cli.faces.packs import Pack, detector_in, find_detector, packs_folder
from jadfer_cli.options import FaceOptions

Progress = Callable[[str, int, int | None], None]  # stage, bytes done, bytes in total

MANIFEST = "jadfer_pack.json"
_CHUNK_BYTES = 1 << 18
_MAX_UNPACKED_BYTES = 4 << 30  # far above the largest pack; guards against zip bombs


def read_manifest(name: str) -> dict[str, Any] | None:
    """What `fetch` recorded about an installed pack; None if something else installed it."""
    try:
        manifest = json.loads((packs_folder() / name / MANIFEST).read_text("utf-8"))
        return manifest if isinstance(manifest["files"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_files(name: str) -> list[str]:
    """Sentences about files of an installed pack that differ from its manifest."""
    manifest = read_manifest(name)
    problems = []
    for file, expected in (manifest["files"] if manifest else {}).items():
        path = packs_folder() / name / file
        try:
            found = file_sha256(path)
        except OSError as error:
            problems.append(f"{path} cannot be read ({error.strerror}).")
            continue
        if found != expected:
            problems.append(f"{path} is damaged: sha256 is {found}, expected {expected}.")
    return problems


def is_installed(name: str) -> bool:
    """Whether the pack is installed and agrees with its manifest, if it has one."""
    return find_detector(name) is not None and not check_files(name)


def write_manifest(
    unpacked: Path, pack: Pack, source: str, zip_sha256: str, expected: str | None
) -> None:
    """Records source and sha256 of the zip and of each file in the folder of the pack."""
    files = (path for path in sorted(unpacked.rglob("*")) if path.is_file())
    manifest = {
        "pack": pack.name,
        "source": source,
        "zip_sha256": zip_sha256,
        "zip_sha256_expected": expected,
        "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": {path.relative_to(unpacked).as_posix(): file_sha256(path) for path in files},
    }
    (unpacked / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8", newline="\n")


def by_hand(pack: Pack) -> str:
    """How to install a pack without a download by `fetch`."""
    return (
        f"By hand: download {pack.url} on any machine, then run "
        f"`jadfer models fetch {pack.name} --from /path/to/{pack.name}.zip`; "
        f"or unzip it into {packs_folder() / pack.name}."
    )


@contextlib.contextmanager
def workspace(pack: Pack) -> Iterator[Path]:
    """Yields a temporary folder on the disk of the packs, and removes it at the end.

    Raises:
        ModelError: The folder of packs cannot be written, the disk is full, or another run is
            fetching a pack.
    """
    packs = packs_folder()
    created = [f for f in (packs, *packs.parents) if not f.exists()]
    # A killed run may leave this folder. Its detector lies one level too deep to be mistaken for
    # an installed pack, and the next run removes it.
    work = packs / f".fetch-{pack.name}"
    try:
        packs.mkdir(parents=True, exist_ok=True)
        with _locked(packs):
            shutil.rmtree(work, ignore_errors=True)
            try:
                work.mkdir()
                yield work
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        reason = "the disk is full" if full else error.strerror or str(error)
        hint = "Free some space there" if full else "Make that folder writable"
        raise ModelError(
            f"{pack.name} cannot be written to {packs}: {reason}.",
            f"{hint}, or set HOME to a folder on another disk (also for `jadfer annotate`).",
        ) from error
    finally:
        for folder in created:
            with contextlib.suppress(OSError):
                folder.rmdir()  # fails, as intended, if it is not empty


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Allows one fetch at a time; the lock ends with the process, even if it is killed."""
    if os.name == "nt":  # folders cannot be opened there
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        locked = True
        with contextlib.suppress(OSError):  # some network disks do not support locks
            locked = lock_descriptor(handle, blocking=False)
        if not locked:
            raise ModelError(
                f"Another run of jadfer is fetching a pack into {folder}.", "Wait until it ends."
            )
        yield
    finally:
        os.close(handle)


def unpack(zip_path: Path, into: Path, pack: Pack, source: str, progress: Progress) -> None:
    """Unpacks the zip, checking names, sizes and checksums.

    Raises:
        ModelError: It is damaged, has unsafe names, or contains no face detector.
    """
    try:
        with zipfile.ZipFile(zip_path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            total = sum(m.file_size for m in members)
            names = [_safe_name(m) for m in members]
            if total > _MAX_UNPACKED_BYTES:
                raise zipfile.BadZipFile(f"it claims to contain {total} bytes")
            # antelopev2.zip has a top folder, which InsightFace does not expect.
            if all(name.startswith(f"{pack.name}/") for name in names):
                names = [name.removeprefix(f"{pack.name}/") for name in names]
            done = 0
            for member, name in zip(members, names, strict=True):
                path = into / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as packed, path.open("wb") as file:
                    shutil.copyfileobj(packed, file, _CHUNK_BYTES)
                done += member.file_size
                progress(f"unpacking {pack.name}", done, total)
    # zipfile raises these for damage, unknown compression, passwords and truncated files
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise ModelError(
            f"The file from {source} is damaged, or not a zip ({error}).", by_hand(pack)
        ) from error
    _check_detector(into, pack, source)


def _check_detector(unpacked: Path, pack: Pack, source: str) -> None:
    """Loads the face detector of an unpacked pack: the sha256 may be one that the user gave.

    Raises:
        ModelError: There is none, or it is not an SCRFD in ONNX.
    """
    from jadfer_cli.faces.detect import load_detector

    detector = detector_in(unpacked)
    if detector is None:
        raise ModelError(
            f"The zip from {source} contains no face detector (det_*.onnx).", by_hand(pack)
        )
    try:
        load_detector(FaceOptions(detector=str(detector)), threads=1)
    except ModelError as error:
        raise ModelError(
            f"{detector.name} in the zip from {source} is not a face detector in ONNX, or is "
            "damaged.",
            by_hand(pack),
        ) from error


def _safe_name(member: zipfile.ZipInfo) -> str:
    """The name of a member, if it stays inside the folder that it is unpacked into."""
    name = member.filename
    parts = name.split("/")
    linked = stat.S_ISLNK(member.external_attr >> 16)
    if linked or "\\" in name or ":" in name or "\0" in name or {"", ".", ".."} & set(parts):
        raise zipfile.BadZipFile(f"it contains the unsafe name {name!r}")
    return name


def put_in_place(unpacked: Path, target: Path, work: Path) -> None:
    """Renames the unpacked folder to that of the pack, and keeps the user's own files in it."""
    old = work / "old"
    if target.exists() or target.is_symlink():
        target.rename(old)
    try:
        unpacked.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    if old.is_dir() and not old.is_symlink():
        for path in old.iterdir():
            if not (target / path.name).exists():
                path.rename(target / path.name)
