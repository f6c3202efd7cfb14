"""A longer video from a short one, for benchmarks: its packets again and again, not decoded."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from jadfer_cli.errors import VideoError
from jadfer_cli.video.container import open_container


def repeat(clip: str, path: Path, n_frames: int) -> None:
    """Writes the clip's video end to end until it has at least so many packets.

    Args:
        clip: The video.
        path: To write, Matroska.
        n_frames: Packets wanted.

    Raises:
        VideoError: The clip cannot be read.
    """
    av: Any = importlib.import_module("av")
    written, shift = 0, 0
    with av.open(str(path), "w", format="matroska") as out:
        stream_out = None
        while written < n_frames:
            with open_container(clip) as (container, stream):
                if stream_out is None:
                    stream_out = out.add_stream_from_template(stream)
                packets = [p for p in container.demux(stream) if None not in (p.dts, p.pts)]
                if not packets:
                    raise VideoError(f"{clip} has no time stamps, so it cannot be repeated.")
                first = min(packet.pts for packet in packets)
                span = max(packet.pts + (packet.duration or 1) for packet in packets) - first
                for packet in packets:
                    packet.pts += shift - first
                    packet.dts += shift - first
                    packet.stream = stream_out
                    out.mux(packet)
                written += len(packets)
                shift += span
