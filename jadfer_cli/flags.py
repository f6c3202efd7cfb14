"""How the command line spells the options that messages of the library name.

Below `cli`, a message names an option as Python does, in backticks: "`fps` must be a positive
number". `worded` turns that into "--fps must be a positive number" for a terminal.
"""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

from jadfer_cli.options import (
    AnnotateOptions,
    FaceOptions,
    ModelOptions,
    OverlayOptions,
    VideoOptions,
)

# What does not follow the rule of `flag`.
_SPELLED = {
    "out": "-o",
    "classes": "--class",
    "data_sets": "--data-set",
    "boxes=False": "--no-boxes",
    "if_exists='overwrite'": "--overwrite",
    "if_exists='skip'": "--skip-existing",
}
# Arguments of functions, and options of commands, that are in none of the dataclasses.
_MORE = frozenset(
    "action all_faces baseline by coder_from columns convert data data_sets dataset debug decimal "
    "degree each_clip_one_person embed end_to_end expression fer2013 ferplus format init jobs "
    "labelling lr map measure merge_gap_s method min_duration_s min_share min_usable mixed name "
    "neutral off on participants pictures protocol rate ray recipe recogniser recursive references "
    "refit_temperature relative scale scores seconds seeds set sha256 shard split stall start tier "
    "track trials twin_threshold uncoded videos views votes window workers".split()
)
_GROUPS = (AnnotateOptions, VideoOptions, FaceOptions, ModelOptions, OverlayOptions)
NAMES = frozenset(
    {field.name for group in _GROUPS for field in dataclasses.fields(group)}
    - {"video", "faces", "study"} | _MORE | _SPELLED.keys()
)  # fmt: skip
# A word of its own: `out`.mp4 is the name of a file.
_QUOTED = re.compile(r"(?<![^\s(])`([a-z0-9_]+(?:=[A-Za-z']+)?)`(?=[.,:;)]*(?:\s|$))")


def flag(name: str) -> str:
    """Return an option as the command line spells it: "--start" for start_s, "-o" for out."""
    plain = name.removesuffix("_s").removesuffix("_px").replace("_", "-")
    return _SPELLED.get(name, f"--{plain}")


def worded(text: str, *names: str | os.PathLike[str]) -> str:
    """Return a message with its options as the command line spells them.

    Args:
        text: The message.
        names: Paths that the message may contain; they, and their last parts, stay as they are.
    """
    quoted = {part for name in names for part in (os.fspath(name), Path(name).name) if "`" in part}
    if quoted:
        longest_first = sorted(quoted, key=len, reverse=True)
        pieces = re.split(f"({'|'.join(map(re.escape, longest_first))})", text)
        pieces[::2] = map(worded, pieces[::2])
        return "".join(pieces)
    return _QUOTED.sub(lambda m: flag(m[1]) if m[1] in NAMES else m[0], text)
