"""Swap the two tracks of a result at some frames, to see whether `jadfer identify` notices.

    python tests/bench/identity_swap.py two_faces_speech.parquet swapped/one.parquet --at 53
    jadfer identify swapped/ --recogniser FILE -o named/

The command should report a change of both tracks at each of these frames.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("result", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--at", type=int, nargs="+", required=True)
    given = parser.parse_args()
    rows = pd.read_parquet(given.result)
    swapped = np.searchsorted(sorted(given.at), rows["frame"], side="right") % 2 == 1
    rows["track_id"] = rows["track_id"].where(~swapped, 1 - rows["track_id"])
    attrs = rows.attrs
    rows = rows.sort_values(["frame", "track_id"], kind="stable", ignore_index=True)
    rows.attrs = attrs
    given.out.parent.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(given.out, index=False)


if __name__ == "__main__":
    main()
