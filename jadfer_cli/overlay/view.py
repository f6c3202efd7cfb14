"""One HTML page with a video beside its curves, for `jadfer view`.

The page needs neither a server nor a network. Its content security policy makes the browser
refuse everything except the page's own script and style, by their hashes, and the one video.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any
from urllib.parse import quote

from jadfer_cli.analysis.tabular import check_target
from jadfer_cli.analysis.video_rows import check_same_video, rows_of_video
from jadfer_cli.common import atomic_write
from jadfer_cli.errors import OptionError, OutputError
from jadfer_cli.overlay.view_copy import Progress, write_copy
from jadfer_cli.overlay.view_data import page_data, script_json
from jadfer_cli.records import VideoInfo
from jadfer_cli.results.load import Result
from jadfer_cli.video.container import check_file
from jadfer_cli.video.playback import MEDIA_TYPES, first_frame_s, playback_problem
from jadfer_cli.video.rotation import rotated
from jadfer_cli.video.timeline import probe

ENDINGS = (".html",)
# Browsers hold an embedded video in memory, several times while they open the page.
MAX_EMBEDDED_BYTES = 100_000_000
_CHUNK_BYTES = 3 << 18  # base64 turns three bytes into four letters
_SCRIPTS = ("curves.js", "player.js", "main.js")
_MARKER = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True)
class ViewOptions:
    """How `jadfer view` writes its page."""

    embed: bool = False  # store the video inside the page
    convert: bool = False  # play an H.264 copy, even if browsers play the video
    force: bool = False  # accept another file than the one that was annotated
    overwrite: bool = False  # replace an existing page and its copy of the video


@dataclass(frozen=True)
class WrittenPage:
    """Summary of a page.

    Attributes:
        n_frames: Number of frames that the video shows.
        copy: The video that was written beside the page, if any.
        notes: What the user should know.
    """

    n_frames: int
    copy: Path | None
    notes: tuple[str, ...]


def copy_path(video: Path, page: Path) -> Path:
    """Return where the copy of a video that browsers do not play is written."""
    return page.with_name(f"{page.stem}_files") / f"{video.stem}.mp4"


def write_view(
    video: Path,
    result: Result,
    out: Path,
    options: ViewOptions,
    progress: Progress = lambda frames, total: frames,
) -> WrittenPage:
    """Write a page that shows a video beside its result, completely or not at all.

    If browsers do not play the video, they get an H.264 copy with the same frames at the same
    times: inside the page with `embed`, else in a folder beside it.

    Args:
        video: The video that was annotated.
        result: Its result.
        out: The .html file.
        options: How to write it.
        progress: Wraps the frames as they are copied; also gets their number.

    Raises:
        OptionError: A file exists, or the video is too large to be embedded.
        VideoError: The video cannot be read.
        ResultError: The result is of another video or was changed.
        OutputError: The page or the copy cannot be written.
    """
    check_target(out, overwrite=options.overwrite, endings=ENDINGS)
    check_file(str(video))
    if not options.force:
        check_same_video(video, result)
    # boxes are in pixels of the frames as they were annotated
    info = rotated(probe(str(video)), result.metadata["options"]["video"].get("rotate"))
    data = page_data(info, result, rows_of_video(result, info))
    problem = playback_problem(info)
    if options.embed and not (problem or options.convert):
        _check_size(video)
    copy = copy_path(video, out) if (problem or options.convert) and not options.embed else None
    for target in filter(None, (out, copy)):
        if target.exists() and os.path.samefile(target, video):
            raise OutputError(
                f"{target} is the source video and is not replaced.", "Choose another `out`."
            )
    if copy is not None:
        check_target(copy, overwrite=options.overwrite, endings=(".mp4",))
    notes: list[str] = []
    if not (problem or options.convert):
        _write_page(out, data, video, info, None if options.embed else _link(video, out))
        return WrittenPage(info.n_frames, None, ())
    if problem:
        notes.append(f"{video} was converted to H.264 for the page: {problem}.")
    with _copy_target(copy) as part:
        notes += write_copy(info, part, progress)
        if options.embed:
            _check_size(part)
        link = _link(copy, out) if copy else None
        _write_page(out, data, part, probe(str(part)), link)
    return WrittenPage(info.n_frames, copy, tuple(notes))


@contextmanager
def _copy_target(copy: Path | None) -> Iterator[Path]:
    """Yield where to write the copy; one that will be embedded is temporary."""
    if copy is not None:
        is_new = not copy.parent.exists()
        try:
            with atomic_write(copy) as part:
                yield part
        except BaseException:
            if is_new:
                with suppress(OSError):
                    copy.parent.rmdir()
            raise
    else:
        with TemporaryDirectory(prefix="jadfer-") as folder:
            yield Path(folder) / "copy.mp4"


def _check_size(video: Path) -> None:
    n_bytes = video.stat().st_size
    if n_bytes > MAX_EMBEDDED_BYTES:
        raise OptionError(
            f"The video of {n_bytes / 1e6:,.0f} MB is too large for `embed`: the limit is "
            f"{MAX_EMBEDDED_BYTES / 1e6:,.0f} MB.",
            "Leave it out, and keep the video beside the page.",
        )


def _link(video: Path, page: Path) -> str:
    """The URL of a video, relative to the page."""
    target = os.path.realpath(video)
    try:
        relative = os.path.relpath(target, os.path.realpath(page.parent))
    except ValueError:  # on another drive
        return Path(target).as_uri()
    return quote(os.fsencode(relative.replace(os.sep, "/")))


def _write_page(
    out: Path, data: dict[str, Any], video: Path, shown: VideoInfo, link: str | None
) -> None:
    """Write the page.

    Args:
        out: The .html file.
        data: What `page_data` returned.
        video: The file that browsers play.
        shown: The same file, probed.
        link: Its URL; None to embed it.
    """
    folder = files("jadfer_cli.overlay") / "page"
    read = {name: (folder / name).read_text(encoding="utf-8")
            for name in ("page.html", "page.css", *_SCRIPTS)}  # fmt: skip
    script = '"use strict";\n' + "\n".join(read[name] for name in _SCRIPTS)
    style = read["page.css"]
    kind = MEDIA_TYPES.get(video.suffix.lower(), "video/mp4")
    data = data | {
        "video": link, "media_type": kind, "first_frame_s": first_frame_s(shown),
        "shown_width_px": shown.width_px, "shown_height_px": shown.height_px,
    }  # fmt: skip
    texts = {
        "title": escape(data["title"]), "policy": _policy(script, style, embedded=link is None),
        "style": style, "script": script, "data": script_json(data),
    }  # fmt: skip
    with atomic_write(out) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        for i, piece in enumerate(_MARKER.split(read["page.html"])):
            if i % 2 == 0:
                file.write(piece)
            elif piece != "movie":
                file.write(texts[piece])
            elif link is None:
                _write_base64(video, file)


def _policy(script: str, style: str, *, embedded: bool) -> str:
    """The content security policy: nothing but this script, this style and the video."""
    script_hash, style_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (script, style)
    )
    media = "blob:" if embedded else "'self' file:"
    return (
        f"default-src 'none'; script-src 'sha256-{script_hash}'; style-src 'sha256-{style_hash}'; "
        f"media-src {media}; "
        "base-uri 'none'; form-action 'none'"
    )


def _write_base64(video: Path, file: IO[str]) -> None:
    with video.open("rb") as source:
        while chunk := source.read(_CHUNK_BYTES):
            file.write(base64.b64encode(chunk).decode("ascii"))


def default_page(result: Path) -> Path:
    """Return the page that is written if none is named: clip.html beside clip.parquet."""
    return result.with_suffix(ENDINGS[0])
