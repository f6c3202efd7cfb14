"""This checkout against another one, in turn, so that a busy machine slows both alike.

    python tests/bench/versus.py OTHER CLIP [CLIP ...] --repeats 5 [-- OPTIONS OF ANNOTATE]

OTHER is a folder with another version of jadfer_cli and its weights; both run in this Python. The
wall time is that of the annotation, as the metadata state it, and of the whole command; core time
is that of the command and its children. Ratios are medians of pairs.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
CODE = "from jadfer_cli.cli import main; main()"


def once(tree, clip, options):
    """Seconds of the command, of its cores, and of the annotation."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.parquet"
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(
            [sys.executable, "-P", "-c", CODE, "annotate", str(clip), "-o", str(out), "-q",
             *options],
            env=dict(os.environ, PYTHONPATH=str(tree)), check=True,
        )  # fmt: skip
        wall = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cores = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        annotation = json.loads(out.with_suffix(".json").read_text())["jadfer"]["wall_s"]
    return {"command": wall, "cores": cores, "annotation": annotation}


def main():
    own, rest = sys.argv[1:], []
    if "--" in own:
        at = own.index("--")
        own, rest = own[:at], own[at + 1 :]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", type=Path)
    parser.add_argument("clip", type=Path, nargs="+")
    parser.add_argument("--repeats", type=int, default=5)
    a = parser.parse_args(own)
    for clip in a.clip:
        pairs = []
        for _ in range(a.repeats):
            pairs.append((once(a.other, clip, []), once(HERE, clip, rest)))
        print(clip.name)
        for name in pairs[0][0]:
            then, now = ([pair[i][name] for pair in pairs] for i in (0, 1))
            ratios = sorted(x / y for x, y in zip(then, now, strict=True))
            print(
                f"  {name}: {statistics.median(then):.2f} s, then {statistics.median(now):.2f} s; "
                f"{statistics.median(ratios):.2f} x ({ratios[0]:.2f} to {ratios[-1]:.2f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
