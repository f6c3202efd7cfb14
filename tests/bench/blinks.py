"""Blinks of `jadfer events --blinks` against blinks counted by eye.

    jadfer annotate clips/* -o results/ --actions
    python tests/bench/blinks.py sheet clip.mp4 results/clip.parquet sheet.png
    python tests/bench/blinks.py count results/

`sheet` draws the eyes in every frame, numbered, without any use of the actions. On these sheets
one viewer counted COUNTED: the first and the last frame in which both eyes are closed or nearly.
Lids lowered for long (pexels_sad_to_joy, 0 to 139 and from 439 on) are no blinks.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

COUNTED = {
    "single_face": [(26, 28)],
    "pexels_sad_to_joy": [(153, 154), (201, 202), (248, 249), (288, 289), (385, 387), (425, 431)],
    "grid_bbaf2n": [(43, 45), (50, 55)],
    "grid_brbk7n": [(21, 24)],
    "grid_lbax4n": [(28, 30)],
    "grid_lbbc2a": [],
    "asl_yes": [(56, 58)],
}
WIDTH_PX, HEIGHT_PX, COLUMNS = 150, 64, 10


def sheet(video: str, result: Path, out: Path) -> None:
    """Draw the strip of the eyes of the longest track, by its boxes."""
    import av
    import cv2

    rows = pd.read_parquet(result).dropna(subset="track_id")
    rows = rows[rows["track_id"] == rows["track_id"].mode()[0]].set_index("frame")
    boxes, tiles = rows[["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"]].astype(int), []
    with av.open(video) as container:
        for index, frame in enumerate(container.decode(video=0)):
            tile = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.uint8)
            if index in boxes.index:
                x1, y1, x2, y2 = boxes.loc[index]
                top, bottom = y1 + 0.18 * (y2 - y1), y1 + 0.55 * (y2 - y1)
                image = frame.to_ndarray(format="bgr24")
                eyes = image[max(int(top), 0) : int(bottom), max(x1, 0) : x2]
                tile = cv2.resize(eyes, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA)
            cv2.putText(tile, str(index), (2, 11), 0, 0.38, (0, 255, 255), 1)
            tiles.append(tile)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
    lines = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    cv2.imwrite(str(out), np.vstack(lines))


def count(results: Path) -> None:
    """Compare the events of each clip with what was counted: they agree if they overlap."""
    from jadfer_cli.analysis.blinks import BlinkRule, find_blinks
    from jadfer_cli.results.load import load

    n_counted = n_found = n_hits = 0
    for name, counted in COUNTED.items():
        events = find_blinks(load(results / f"{name}.parquet"), BlinkRule()).events
        found = list(zip(events["onset_frame"], events["offset_frame"], strict=True))
        hits = sum(any(a <= last and first <= b for a, b in found) for first, last in counted)
        false = [(a, b) for a, b in found
                 if not any(a <= last and first <= b for first, last in counted)]  # fmt: skip
        print(f"{name:20s} by eye {len(counted)}, found {hits}, false {len(false)} {false or ''}")
        n_counted, n_found, n_hits = n_counted + len(counted), n_found + len(found), n_hits + hits
    print(f"sensitivity {n_hits} of {n_counted}, precision {n_hits} of {n_found}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("sheet", "count"))
    parser.add_argument("paths", nargs="+")
    given = parser.parse_args()
    if given.what == "sheet":
        sheet(given.paths[0], *map(Path, given.paths[1:]))
    else:
        count(Path(given.paths[0]))
