"""Download and install an InsightFace pack; only `jadfer models fetch` accesses the internet.

InsightFace's own downloader has no timeout, verifies no hash, and treats the folder left by an
interrupted unzip as an installed pack.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from jadfer_cli.errors import ModelError, OptionError
from jadfer_cli.faces.packs import PACKS, Pack, packs_folder
from jadfer_cli.installation.unpack import (
    Progress,
    by_hand,
    put_in_place,
    unpack,
    workspace,
    write_manifest,
)

TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 18


@dataclass(frozen=True)
class KnownZip:
    """The published zip of a pack.

    Attributes:
        size_bytes: Its size.
        sha256: Its hash.
    """

    size_bytes: int
    sha256: str


# InsightFace publishes no hashes. At least five independent public projects that downloaded the
# files of release v0.7 pin these.
KNOWN_ZIPS: dict[str, KnownZip] = {
    "buffalo_l": KnownZip(
        288_621_354, "80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f"
    ),
    "buffalo_m": KnownZip(
        275_951_529, "d98264bd8f2dc75cbc2ddce2a14e636e02bb857b3051c234b737bf3b614edca9"
    ),
    "buffalo_s": KnownZip(
        127_607_557, "d85a87f503f691807cd8bb97128bdf7a0660326cd9cd02657127fa978bab8b5e"
    ),
    "buffalo_sc": KnownZip(
        14_969_382, "57d31b56b6ffa911c8a73cfc1707c73cab76efe7f13b675a05223bf42de47c72"
    ),
    "antelopev2": KnownZip(
        360_662_982, "8e182f14fc6e80b3bfa375b33eb6cff7ee05d8ef7633e738d1c89021dcf0c5c5"
    ),
}


@dataclass(frozen=True)
class Fetched:
    """A pack that was installed.

    Attributes:
        folder: Its folder.
        source: The URL or file that it came from.
        sha256: Hash of the zip.
        expected: Expected hash of the zip; None if none is known.
    """

    folder: Path
    source: str
    sha256: str
    expected: str | None


def known_pack(name: str) -> Pack:
    """The pack of that name.

    Raises:
        ModelError: There is no such pack.
    """
    if name not in PACKS:
        raise ModelError(
            f"There is no InsightFace pack named {name}.", f"Packs: {', '.join(PACKS)}."
        )
    return PACKS[name]


def source_of(pack: Pack, given: str | None) -> str:
    """The URL or file of the zip; by default that of InsightFace's release.

    Args:
        pack: The pack.
        given: A URL or path of the zip, or of the folder that holds it.
    """
    place = given or pack.url
    return place if place.endswith(".zip") else f"{place.rstrip('/')}/{pack.name}.zip"


def fetch_pack(
    pack: Pack,
    source: str,
    *,
    sha256: str | None = None,
    timeout_s: float = TIMEOUT_S,
    progress: Progress = lambda stage, done, total: None,
) -> Fetched:
    """Downloads, checks, unpacks and installs a pack, replacing an earlier copy.

    Args:
        pack: The pack.
        source: URL or file of the zip, from `source_of`.
        sha256: Expected hash of the zip; None takes the known one.
        timeout_s: Give up when the server sends nothing for this long.
        progress: Called as bytes arrive.

    Raises:
        ModelError: It cannot be downloaded, or is damaged; nothing is left behind.
        OptionError: The source is neither a file nor an http(s) URL.
    """
    known = KNOWN_ZIPS.get(pack.name)
    expected = sha256.lower() if sha256 else known.sha256 if known else None
    target = packs_folder() / pack.name
    with workspace(pack) as work:
        zip_path = work / f"{pack.name}.zip.part"
        with (
            source_errors(pack.name, source, by_hand(pack)),
            opened(source, timeout_s) as (stream, total),
        ):
            digest = copy_stream(stream, zip_path, total, stage_of(source, pack.name), progress)
        if expected is not None and digest != expected:
            raise ModelError(
                f"The zip from {source} is not the known {pack.name}: sha256 is {digest}, "
                f"expected {expected}.",
                "Try again: the download may be damaged. If you trust this source, accept its "
                f"file with `sha256` {digest}",
            )
        unpacked = work / "unpacked"
        unpack(zip_path, unpacked, pack, source, progress)
        write_manifest(unpacked, pack, source, digest, expected)
        put_in_place(unpacked, target, work)
    return Fetched(target, source, digest, expected)


def is_address(source: str) -> bool:
    """Whether a source is an http(s) address, and not a file."""
    return source.lower().startswith(("http://", "https://"))


@contextlib.contextmanager
def opened(source: str, timeout_s: float) -> Iterator[tuple[IO[bytes], int | None]]:
    """A URL or file as a stream of bytes, and its size if the server sends it."""
    if is_address(source):
        request = urllib.request.Request(source, headers={"User-Agent": "jadfer"})
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            length = response.headers.get("Content-Length", "")
            yield response, int(length) if length.isdigit() else None
        return
    if "://" in source:
        raise OptionError(f"{source} is neither an http or https address nor a file.")
    path = Path(source).expanduser()
    with path.open("rb") as file:
        yield file, path.stat().st_size


@contextlib.contextmanager
def source_errors(name: str, source: str, hint: str) -> Iterator[None]:
    """Turns any failure of the source into one ModelError; a full disk raises OSError as before."""
    cause: Exception
    try:
        yield
        return
    except urllib.error.HTTPError as error:
        error.close()
        problem, cause = f"the server answered {error.code} {error.reason}", error
    except urllib.error.URLError as error:
        problem, cause = _network_problem(error.reason), error
    except (TimeoutError, ConnectionError, ssl.SSLError) as error:
        problem, cause = _network_problem(error), error
    except (http.client.HTTPException, ValueError) as error:
        problem, cause = f"the answer or the address is invalid ({error!r})", error
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        if error.filename is None or str(error.filename) != str(Path(source).expanduser()):
            raise
        problem, cause = (error.strerror or str(error)).lower(), error
    verb = "download" if is_address(source) else "copy"
    raise ModelError(f"Could not {verb} {name} from {source}: {problem}.", hint) from cause


def _network_problem(reason: object) -> str:
    """The reason for a failed connection, in words."""
    if isinstance(reason, TimeoutError):
        return "the server did not answer in time"
    if isinstance(reason, socket.gaierror):
        return "the host was not found; this machine may be offline"
    if isinstance(reason, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(reason, ssl.SSLError):
        return f"the secure connection failed ({reason.reason or reason})"
    if isinstance(reason, ConnectionError):
        return "the connection was lost"
    text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return f"no connection ({text})"


def stage_of(source: str, name: str) -> str:
    """What a progress bar says while a model comes from this source."""
    return f"downloading {name}" if is_address(source) else f"copying {name}"


def copy_stream(
    stream: IO[bytes], path: Path, total: int | None, stage: str, progress: Progress
) -> str:
    """Writes the stream to a file and returns its sha256.

    Raises:
        ConnectionError: It ended before its announced size.
    """
    digest, done = hashlib.sha256(), 0
    with path.open("wb") as file:
        progress(stage, 0, total)
        while chunk := stream.read(_CHUNK_BYTES):
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            progress(stage, done, total)
    if total is not None and done < total:
        raise ConnectionError(f"{done} of {total} bytes")
    return digest.hexdigest()
