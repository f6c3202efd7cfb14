"""From a zip to an installed InsightFace pack, all or nothing, and whether it is still whole.

Nothing shows under the pack's name until all of it is there: the work is done in a folder of
its own beside the packs and renamed at the end.
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

from jadfer_cli.common import file_sha256
from jadfer_cli.errors import ModelError
from jadfer_cli.faces.packs import Pack, find_detector, packs_folder

Progress = Callable[[str, int, int | None], None]  # stage, bytes done, bytes in all

MANIFEST = "jadfer_pack.json"
_PIECE_BYTES = 1 << 18
_MAX_UNPACKED_BYTES = 4 << 30  # far above the largest pack; a zip that claims more is none


def read_manifest(name: str) -> dict[str, Any] | None:
    """What `fetch` wrote down about an installed pack; None where something else installed it."""
    try:
        manifest = json.loads((packs_folder() / name / MANIFEST).read_text())
        return manifest if isinstance(manifest["files"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_files(name: str) -> list[str]:
    """What is wrong with an installed pack's files, one sentence each, by its manifest."""
    manifest = read_manifest(name)
    wrong = []
    for file, expected in (manifest["files"] if manifest else {}).items():
        path = packs_folder() / name / file
        try:
            found = file_sha256(path)
        except OSError as error:
            wrong.append(f"{path} cannot be read ({error.strerror}).")
            continue
        if found != expected:
            wrong.append(f"{path} is damaged: sha256 is {found}, expected {expected}.")
    return wrong


def is_installed(name: str) -> bool:
    """Whether the pack is there and, as far as its manifest tells, undamaged."""
    return find_detector(name) is not None and not check_files(name)


def write_manifest(
    unpacked: Path, pack: Pack, source: str, zip_sha256: str, expected: str | None
) -> None:
    """Writes down in the pack's folder what it is: source, and sha256 of the zip and each file."""
    files = (path for path in sorted(unpacked.rglob("*")) if path.is_file())
    manifest = {
        "pack": pack.name,
        "source": source,
        "zip_sha256": zip_sha256,
        "zip_sha256_expected": expected,
        "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": {path.relative_to(unpacked).as_posix(): file_sha256(path) for path in files},
    }
    (unpacked / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def by_hand(pack: Pack) -> str:
    """How to get a pack without `fetch`'s download."""
    return (
        f"By hand: download {pack.url} on any machine and run "
        f"`jadfer models fetch {pack.name} --from /path/to/{pack.name}.zip`; "
        f"or unzip it into {packs_folder() / pack.name}."
    )


@contextlib.contextmanager
def workspace(pack: Pack) -> Iterator[Path]:
    """A folder for the work, on the disk of the packs; removed at the end, however that comes.

    Raises:
        ModelError: The packs' folder cannot be written, the disk is full, or another run
            is fetching.
    """
    packs = packs_folder()
    made = [f for f in (packs, *packs.parents) if not f.exists()]
    # A detector one level down is not taken for an installed pack, so a killed run misleads
    # nobody; the next run clears what it left.
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
        hint = "Make room there" if full else "Make that folder writable"
        raise ModelError(
            f"{pack.name} cannot be written to {packs}: {reason}.",
            f"{hint}, or set HOME to a folder on another disk (for `jadfer annotate`, too).",
        ) from error
    finally:
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()  # only those that are still empty go


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One fetch at a time; the lock ends with the process, however that ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ModelError(
                f"Another run of jadfer is fetching a pack into {folder} now.", "Wait for it."
            ) from error
        except OSError:
            pass  # some network disks know no locks
        yield
    finally:
        os.close(handle)


def unpack(zip_path: Path, into: Path, pack: Pack, source: str, progress: Progress) -> None:
    """Unpacks the zip, checking names, sizes and checksums.

    Raises:
        ModelError: It is broken, not to be trusted, or holds no face detector.
    """
    try:
        with zipfile.ZipFile(zip_path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            total = sum(m.file_size for m in members)
            names = [_safe_name(m) for m in members]
            if total > _MAX_UNPACKED_BYTES:
                raise zipfile.BadZipFile(f"it claims to hold {total} bytes")
            # antelopev2.zip holds a folder of its own; InsightFace wants its files outside.
            if all(name.startswith(f"{pack.name}/") for name in names):
                names = [name.removeprefix(f"{pack.name}/") for name in names]
            done = 0
            for member, name in zip(members, names, strict=True):
                path = into / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as packed, path.open("wb") as file:
                    shutil.copyfileobj(packed, file, _PIECE_BYTES)
                done += member.file_size
                progress(f"unpacking {pack.name}", done, total)
    # what zipfile raises for damage, unknown compression, passwords and a short file
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise ModelError(
            f"What came from {source} is a broken zip, or none ({error}).", by_hand(pack)
        ) from error
    if not any(into.glob("det_*.onnx")) and not any(into.glob("scrfd_*.onnx")):
        raise ModelError(
            f"The zip from {source} holds no face detector (det_*.onnx).", by_hand(pack)
        )


def _safe_name(member: zipfile.ZipInfo) -> str:
    """A member's name, if it stays inside the folder it is unpacked into."""
    name = member.filename
    parts = name.split("/")
    linked = stat.S_ISLNK(member.external_attr >> 16)
    if linked or "\\" in name or ":" in name or "\0" in name or {"", ".", ".."} & set(parts):
        raise zipfile.BadZipFile(f"it holds the unsafe name {name!r}")
    return name


def put_in_place(unpacked: Path, target: Path, work: Path) -> None:
    """Renames the unpacked folder to the pack's; files of the user's own there are kept."""
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
