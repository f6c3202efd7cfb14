"""Percentage of frames whose top expression is the one judged by eye, on the developers' clips.

    python tests/bench/clips.py --clips ../shared/clips [--model MODEL] [--json FILE]

The ranges were fixed by eye before any model had scored the clips. Each clip is annotated with
the default options.
"""

import argparse
import json
from pathlib import Path

import jadfer_cli
from jadfer_cli.options import AnnotateOptions, ModelOptions

# clip, first and last frame (0-based, inclusive), expression by eye
RANGES = (
    ("pexels_sad_to_joy.mp4", 0, 59, "sadness"),
    ("pexels_sad_to_joy.mp4", 60, 130, "sadness"),  # a hand in front of mouth and nose
    ("pexels_sad_to_joy.mp4", 250, 471, "happiness"),
    ("single_face.mp4", 0, 15, "neutral"),
    ("single_face.mp4", 24, 71, "happiness"),
    ("face_noface.mov", 0, 15, "neutral"),
    ("face_noface.mov", 24, 71, "happiness"),
    ("carphone.mp4", 56, 62, "surprise"),
    ("carphone.mp4", 108, 119, "surprise"),
    ("carphone.mp4", 0, 50, "neutral"),  # talking
    ("asl_thanks.mkv", 0, None, "neutral"),  # mostly
    ("asl_yes.mkv", 0, None, "neutral"),  # mostly
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--model", default="default")
    parser.add_argument("--json", type=Path)
    a = parser.parse_args()
    results, table = {}, []
    print("| clip, frames | by eye | frames % | n | most frequent |\n|---|---|---|---|---|")
    for name, first, last, expression in RANGES:
        if name not in results:
            results[name] = jadfer_cli.annotate(
                a.clips / name, AnnotateOptions(model=ModelOptions(model=a.model))
            )
        rows = results[name]
        last = int(rows["frame"].max()) if last is None else last
        rows = rows[rows["frame"].between(first, last)]
        n = rows["frame"].nunique()
        rows = (
            rows[rows["face_detected"]]
            .sort_values("det_score")
            .drop_duplicates("frame", keep="last")
        )
        share = float((rows["expression"] == expression).sum() / n)  # a missed face counts as wrong
        top = rows["expression"].value_counts()
        counts = {str(k): int(v) for k, v in top[top > 0].items()}
        if n > len(rows):
            counts["no face"] = n - len(rows)
        words = ", ".join(f"{k} {v}" for k, v in counts.items())
        place = f"{name} {first}-{last}"
        print(f"| {place} | {expression} | {100 * share:.1f} | {n} | {words} |",
              flush=True)  # fmt: skip
        table.append({"clip": name, "first": first, "last": last, "expression": expression,
                      "share": share, "n": n, "counts": counts})  # fmt: skip
    if a.json:
        a.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
