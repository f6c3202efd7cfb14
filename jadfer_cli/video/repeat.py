"""Make a long video for benchmarks by repeating the packets of a short one, without decoding."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from jadfer_cli.errors import VideoError
from jadfer_cli.video.container import open_container


def repeat(clip: str, path: Path, n_frames: int) -> None:
    """Write a clip end to end until the result has at least `n_frames` packets.

    Args:
        clip: The video to repeat.
        path: Matroska file to write.
        n_frames: Minimum number of packets.

    Raises:
        VideoError: The clip cannot be read, or has no time stamps.
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
                    raise VideoError(f"{clip} cannot be repeated: its frames have no time stamps.")
                first = min(packet.pts for packet in packets)
                span = max(packet.pts + (packet.duration or 1) for packet in packets) - first
                for packet in packets:
                    packet.pts += shift - first
                    packet.dts += shift - first
                    packet.stream = stream_out
                    out.mux(packet)
                written += len(packets)
                shift += span
